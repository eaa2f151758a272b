// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
// Threads that allocate by operator new, catch what it throws, and hand each other blocks to
// delete, all at once.
#include <atomic>
#include <cstdint>
#include <new>
#include <thread>

#include "gate.h"

static const int THREADS = 4, ROUNDS = 2003, SLOTS = 64;
static std::atomic<void *> slots[SLOTS];
static volatile size_t huge = SIZE_MAX / 4;

NOINLINE static void fail(int depth)
{
	volatile char frame[48];

	frame[0] = 0;
	if (depth)
		fail(depth - 1);
	else
		sink = ::operator new(huge);
	frame[1] = 0;
}

// One block of each round stays.
NOINLINE static void work(int seed)
{
	for (int i = 0; i < ROUNDS; i++) {
		try {
			if ((i + seed) % 7 == 0)
				fail(i % 5);
		} catch (const std::bad_alloc &) {
		}
		::operator delete(slots[(i * 31 + seed) % SLOTS].exchange(::operator new(307)));
		sink = ::operator new[](311);
		free(malloc(i % 3000));
	}
}

int main()
{
	std::thread threads[THREADS];

	try { // libstdc++ allocates for its first exception
		fail(0);
	} catch (const std::bad_alloc &) {
	}
	gate("READY");
	for (int i = 0; i < THREADS; i++)
		threads[i] = std::thread(work, i);
	for (auto &thread : threads)
		thread.join();
	gate("DONE storm");
	for (auto &slot : slots)
		::operator delete(slot.exchange(nullptr));
	gate("DONE all");
	return 0;
}
