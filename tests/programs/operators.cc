// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
// Every operator new and delete, each kind in a function of its own; then exceptions out of
// operator new, and what is allocated after them: by the same place, by deeper ones, by ones whose
// frames lie over the stack that the exception has left; and by the new handler.
//
// operators [throws [handler_allocates]]
#include <cstdint>
#include <new>

#include "gate.h"

static const auto ALIGNMENT = std::align_val_t(256);
static const size_t HUGE_SIZE = SIZE_MAX / 4;
static void *blocks[1024];

#define KIND(name, cnt, size, ...)                                                                 \
	NOINLINE static void name()                                                                \
	{                                                                                          \
		for (int i = 0; i < cnt; i++)                                                      \
			blocks[i] = __VA_ARGS__(size);                                             \
	}

#define WITH(op, ...) [](size_t n) { return ::op(n, __VA_ARGS__); }
#define PLAIN(op)     [](size_t n) { return ::op(n); }

KIND(new_plain, 101, 103, PLAIN(operator new))
KIND(new_array, 107, 109, PLAIN(operator new[]))
KIND(new_nothrow, 113, 127, WITH(operator new, std::nothrow))
KIND(new_array_nothrow, 131, 137, WITH(operator new[], std::nothrow))
KIND(new_aligned, 139, 149, WITH(operator new, ALIGNMENT))
KIND(new_array_aligned, 151, 157, WITH(operator new[], ALIGNMENT))
KIND(new_aligned_nothrow, 163, 167, WITH(operator new, ALIGNMENT, std::nothrow))
KIND(new_array_aligned_nothrow, 173, 179, WITH(operator new[], ALIGNMENT, std::nothrow))
KIND(new_large, 11, 3 << 20, PLAIN(operator new))

static void delete_all(int cnt, void (*how)(void *))
{
	for (int i = 0; i < cnt; i++)
		how(blocks[i]);
}

// Of 10 kinds, each deletes what a kind of new has left; the numbers that stay are told.
NOINLINE static void deletes()
{
	new_plain();
	delete_all(2, [](void *p) { ::operator delete(p); });
	for (int i = 2; i < 5; i++)
		::operator delete(blocks[i], size_t(103));
	for (int i = 5; i < 12; i++)
		::operator delete(blocks[i], std::nothrow);
	new_array();
	for (int i = 0; i < 3; i++)
		::operator delete[](blocks[i]);
	for (int i = 3; i < 8; i++)
		::operator delete[](blocks[i], size_t(109));
	for (int i = 8; i < 9; i++)
		::operator delete[](blocks[i], std::nothrow);
	new_nothrow();
	new_array_nothrow();
	new_aligned();
	for (int i = 0; i < 3; i++)
		::operator delete(blocks[i], ALIGNMENT);
	for (int i = 3; i < 7; i++)
		::operator delete(blocks[i], size_t(149), ALIGNMENT);
	for (int i = 7; i < 9; i++)
		::operator delete(blocks[i], ALIGNMENT, std::nothrow);
	new_array_aligned();
	for (int i = 0; i < 5; i++)
		::operator delete[](blocks[i], ALIGNMENT);
	for (int i = 5; i < 6; i++)
		::operator delete[](blocks[i], size_t(157), ALIGNMENT);
	for (int i = 6; i < 8; i++)
		::operator delete[](blocks[i], ALIGNMENT, std::nothrow);
	new_aligned_nothrow();
	new_array_aligned_nothrow();
	new_large();
	for (int i = 0; i < 4; i++)
		::operator delete(blocks[i]);
}

static volatile size_t huge = HUGE_SIZE;
static int caught, handled;
static void *reserves[64];

NOINLINE static void throw_deep(int depth)
{
	volatile char frame[64];

	frame[0] = 0;
	if (depth)
		throw_deep(depth - 1);
	else
		sink = ::operator new(huge);
	frame[1] = 0;
}

NOINLINE static void alloc_deep(int depth)
{
	volatile char frame[4096]; // not written but for its end: the left stack stays in it

	frame[sizeof(frame) - 1] = 0;
	if (depth)
		alloc_deep(depth - 1);
	else
		sink = malloc(199);
	frame[sizeof(frame) - 1] = 1;
}

NOINLINE static void new_deep(int depth)
{
	volatile char frame[1024];

	frame[sizeof(frame) - 1] = 0;
	if (depth)
		new_deep(depth - 1);
	else
		sink = ::operator new(211);
	frame[sizeof(frame) - 1] = 1;
}

NOINLINE static void try_huge(int depth)
{
	try {
		throw_deep(depth);
	} catch (const std::bad_alloc &) {
		caught++;
	}
}

// The same call, whether it throws or not.
NOINLINE static void try_here(size_t size)
{
	try {
		sink = ::operator new(size);
	} catch (const std::bad_alloc &) {
		caught++;
	}
}

NOINLINE static void after_throws()
{
	for (int i = 0; i < 31; i++) {
		try_huge(i % 7);
		alloc_deep(i % 5);
		try_huge(5);
		new_deep(i % 11);
		try_huge(3);
		sink = malloc(223);
		try_here(i % 3 ? 227 : huge);
		try_huge(11);
		free(malloc(229));
		try_huge(1);
		::operator delete(::operator new(233));
	}
}

static bool handler_allocates;

NOINLINE static void handler_alloc()
{
	sink = malloc(241);
}

static void give_up()
{
	if (handler_allocates)
		handler_alloc();
	if (++handled % 3 == 0)
		throw std::bad_alloc();
	free(reserves[handled % 64]); // as handlers do
	reserves[handled % 64] = nullptr;
}

NOINLINE static void with_handler()
{
	for (void *&reserve : reserves)
		reserve = malloc(239);
	std::set_new_handler(give_up);
	for (int i = 0; i < 37; i++) {
		try_huge(i % 7);
		alloc_deep(i % 13);
		new_deep(i % 3);
	}
	std::set_new_handler(nullptr);
	sink = ::operator new(huge, std::nothrow);
}

int main(int argc, char **argv)
{
	bool throws = gate_arg(argc, argv, 1, 1);

	handler_allocates = gate_arg(argc, argv, 2, 0);
	// libstdc++ allocates for its first exception.
	if (throws)
		try_huge(0);
	gate("READY");
	deletes();
	gate("DONE deletes");
	caught = 0;
	if (throws)
		after_throws();
	gate("DONE throws %d", caught);
	if (throws)
		with_handler();
	gate("DONE handler %d", handled);
	return 0;
}
