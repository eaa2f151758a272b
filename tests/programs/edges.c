/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* Calls that allocate nothing, blocks of no bytes, aligned blocks that are freed. */
#include <malloc.h>
#include <stdint.h>
#include "gate.h"

#define MAX_BLOCKS 512

static void *blocks[MAX_BLOCKS];
static volatile size_t huge = PTRDIFF_MAX - 4096;
static volatile size_t half = SIZE_MAX / 2 + 2;
static volatile size_t zero;

/* 7 calls that must fail. */
static NOINLINE void failing(void)
{
	void *block = NULL;
	int failed = 0;

	failed += malloc(huge) == NULL;
	failed += calloc(half, 2) == NULL;
	failed += calloc(1, huge) == NULL;
	failed += reallocarray(NULL, half, 2) == NULL;
	failed += aligned_alloc(64, huge) == NULL;
	failed += posix_memalign(&block, 64, huge) == ENOMEM;
	failed += posix_memalign(&block, 3, 100) == EINVAL;
	if (failed != 7)
		gate_die("a call that must fail did not");
}

/* n * size is 0 in a machine word, and still an overflow: the blocks stay. */
static NOINLINE void overflow_to_zero(void)
{
	for (int i = 0; i < 41; i++) {
		void *volatile block = malloc(53);

		if (reallocarray(block, half - 1, 2))
			gate_die("an overflowing reallocarray succeeded");
		if (i >= 17)
			free(block);
	}
}

static NOINLINE void free_null(void)
{
	for (int i = 0; i < 23; i++)
		free((void *)zero);
}

static NOINLINE void zero_bytes(void)
{
	for (int i = 0; i < 29; i++)
		sink = malloc(zero);
}

static NOINLINE void zero_bytes_calloc(void)
{
	for (int i = 0; i < 31; i++)
		sink = calloc(zero, 5);
}

static NOINLINE void aligned_alloc_all(void)
{
	for (int i = 0; i < 307; i++) {
		size_t align = 16u << (i % 8);
		int err = 0;

		if (i % 3 == 0)
			blocks[i] = memalign(align, 100 + (size_t)i);
		else if (i % 3 == 1)
			blocks[i] = aligned_alloc(align, 100 + (size_t)i);
		else
			err = posix_memalign(&blocks[i], align, 100 + (size_t)i);
		if (err || !blocks[i])
			gate_die("an aligned allocation failed");
	}
}

/* All but the last 37, which are of 370 to 406 bytes: 14,356 in all. */
static NOINLINE void aligned_free_most(void)
{
	for (int i = 0; i < 307 - 37; i++)
		free(blocks[i]);
}

int main(void)
{
	gate("READY");
	failing();
	gate("DONE failing");
	free_null();
	gate("DONE free_null");
	zero_bytes();
	zero_bytes_calloc();
	gate("DONE zero");
	aligned_alloc_all();
	aligned_free_most();
	gate("DONE aligned");
	overflow_to_zero();
	gate("DONE overflow");
	return 0;
}
