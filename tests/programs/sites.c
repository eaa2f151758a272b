/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Leaks through every allocator function of the C library, each at its own
 * site, with its own prime number of blocks and its own size, so that no
 * mix-up of two sites adds up. test_accounting.py has the same numbers.
 * "LINE:" marks are where the tests look line numbers up.
 */
#include <malloc.h>
#include "gate.h"

static volatile size_t balanced_cnt = 1009;

static NOINLINE void leak_malloc(void)
{
	for (int i = 0; i < 101; i++)
		sink = malloc(1009); /* LINE: leak_malloc */
}

static NOINLINE void leak_calloc(void)
{
	for (int i = 0; i < 103; i++)
		sink = calloc(7, 149); /* LINE: leak_calloc */
}

static NOINLINE void leak_realloc_of_null(void)
{
	for (int i = 0; i < 107; i++)
		sink = realloc(NULL, 1013); /* LINE: leak_realloc_of_null */
}

static NOINLINE void *first_of_realloc(void)
{
	return malloc(11);
}

static NOINLINE void leak_realloc(void)
{
	for (int i = 0; i < 109; i++) {
		void *first = first_of_realloc();

		sink = realloc(first, 2003); /* LINE: leak_realloc */
	}
}

static NOINLINE void leak_reallocarray(void)
{
	for (int i = 0; i < 113; i++)
		sink = reallocarray(NULL, 11, 97); /* LINE: leak_reallocarray */
}

static NOINLINE void leak_posix_memalign(void)
{
	void *block;

	for (int i = 0; i < 127; i++) {
		if (posix_memalign(&block, 64, 1019)) /* LINE: leak_posix_memalign */
			gate_die("posix_memalign");
		sink = block;
	}
}

static NOINLINE void leak_aligned_alloc(void)
{
	for (int i = 0; i < 131; i++)
		sink = aligned_alloc(64, 64 * 17); /* LINE: leak_aligned_alloc */
}

static NOINLINE void leak_memalign(void)
{
	for (int i = 0; i < 137; i++)
		sink = memalign(256, 1021); /* LINE: leak_memalign */
}

static NOINLINE void leak_valloc(void)
{
	for (int i = 0; i < 139; i++)
		sink = valloc(1031); /* LINE: leak_valloc */
}

/* Counts as what was asked for rounded up to whole pages: one page here. */
static NOINLINE void leak_pvalloc(void)
{
	for (int i = 0; i < 149; i++)
		sink = pvalloc(1033); /* LINE: leak_pvalloc */
}

/* 37 bytes with the end of the string. */
static NOINLINE void leak_strdup(void)
{
	for (int i = 0; i < 151; i++)
		sink = strdup("thirty-six characters are written..."); /* LINE: leak_strdup */
}

/* Nothing of this stays. */
static NOINLINE void balanced(void)
{
	for (size_t i = 0; i < balanced_cnt; i++) {
		sink = malloc(61);
		free(sink);
	}
}

int main(void)
{
	gate("READY");
	leak_malloc();
	leak_calloc();
	leak_realloc_of_null();
	leak_realloc();
	leak_reallocarray();
	leak_posix_memalign();
	leak_aligned_alloc();
	leak_memalign();
	leak_valloc();
	leak_pvalloc();
	leak_strdup();
	balanced();
	gate("DONE leaks");
	return 0;
}
