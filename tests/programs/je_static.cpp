// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
// Two allocators in one executable: jemalloc, whose names begin with je_, with C++'s operators, and
// the C library's malloc. Compiled by the test, with a jemalloc whose symbols it has renamed.
#include "gate.h"

extern "C" {
void *je_malloc(size_t);
void *je_calloc(size_t, size_t);
void *je_realloc(void *, size_t);
void je_free(void *);
void *je_mallocx(size_t, int);
void je_sdallocx(void *, size_t, int);
}

NOINLINE static void leak_malloc()
{
	for (int i = 0; i < 101; i++)
		sink = malloc(103);
}

NOINLINE static void leak_je()
{
	for (int i = 0; i < 107; i++)
		sink = je_malloc(109);
}

NOINLINE static void leak_je_realloc()
{
	for (int i = 0; i < 113; i++)
		sink = je_realloc(je_calloc(3, 5), 4001);
}

NOINLINE static void leak_je_mallocx()
{
	for (int i = 0; i < 127; i++) {
		void *p = je_mallocx(131, 0);

		if (i < 31)
			je_sdallocx(p, 131, 0);
	}
}

NOINLINE static void leak_new()
{
	for (int i = 0; i < 137; i++)
		sink = ::operator new(139);
	for (int i = 0; i < 41; i++)
		::operator delete(::operator new(149));
}

int main()
{
	gate("READY");
	leak_malloc();
	leak_je();
	leak_je_realloc();
	leak_je_mallocx();
	leak_new();
	je_free(je_malloc(151));
	sink = malloc(157);
	free(sink);
	gate("DONE leaks");
	return 0;
}
