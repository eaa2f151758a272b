/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* Leaks through operator new, as sites.c does through the C functions. */
#include <new>
#include "gate.h"

struct alignas(64) aligned_thing {
	char bytes[192];
};

struct thing {
	char bytes[1039];
};

static NOINLINE void leak_new()
{
	for (int i = 0; i < 157; i++)
		sink = new thing; /* LINE: leak_new */
}

static NOINLINE void leak_new_array()
{
	for (int i = 0; i < 163; i++)
		sink = new char[1049]; /* LINE: leak_new_array */
}

static NOINLINE void leak_new_nothrow()
{
	for (int i = 0; i < 167; i++)
		sink = new (std::nothrow) char[1051];
}

/* C++17: operator new with an alignment, which calls aligned_alloc. */
static NOINLINE void leak_new_aligned()
{
	for (int i = 0; i < 173; i++)
		sink = new aligned_thing;
}

namespace demo
{
struct leaker {
	NOINLINE void leak_member(int count);
};

void leaker::leak_member(int count)
{
	for (int i = 0; i < count; i++)
		sink = malloc(1061); /* LINE: leak_member */
}
} // namespace demo

static void deleted()
{
	for (int i = 0; i < 179; i++) {
		char *volatile array = new char[71];
		thing *volatile one = new thing;
		aligned_thing *volatile aligned = new aligned_thing;

		delete[] array;
		delete one;
		delete aligned;
	}
}

int main()
{
	demo::leaker leaker;

	gate("READY");
	leak_new();
	leak_new_array();
	leak_new_nothrow();
	leak_new_aligned();
	leaker.leak_member(181);
	deleted();
	gate("DONE leaks");
	return 0;
}
