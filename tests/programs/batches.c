/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * batches A SIZE B SIZE C SIZE: three sites with as many blocks of such a size
 * as the test asks for, one gate each; then all of a and b are freed, one gate
 * each; then c again.
 */
#include "gate.h"

#define MAX_BLOCKS 65536

static void *a_blocks[MAX_BLOCKS];
static void *b_blocks[MAX_BLOCKS];

static NOINLINE void batch_a(long count, size_t size)
{
	for (long i = 0; i < count; i++)
		a_blocks[i] = malloc(size);
}

static NOINLINE void batch_b(long count, size_t size)
{
	for (long i = 0; i < count; i++)
		b_blocks[i] = malloc(size);
}

static NOINLINE void batch_c(long count, size_t size)
{
	for (long i = 0; i < count; i++)
		sink = malloc(size);
}

static void free_blocks(void **blocks, long count)
{
	for (long i = 0; i < count; i++)
		free(blocks[i]);
}

int main(int argc, char **argv)
{
	long counts[3], sizes[3];

	for (int i = 0; i < 3; i++) {
		counts[i] = gate_arg(argc, argv, 1 + 2 * i, 0);
		sizes[i] = gate_arg(argc, argv, 2 + 2 * i, 0);
		if (counts[i] < 0 || counts[i] > MAX_BLOCKS || sizes[i] < 0)
			gate_die("arguments");
	}
	gate("READY");
	batch_a(counts[0], (size_t)sizes[0]);
	gate("DONE a");
	batch_b(counts[1], (size_t)sizes[1]);
	gate("DONE b");
	batch_c(counts[2], (size_t)sizes[2]);
	gate("DONE c");
	free_blocks(a_blocks, counts[0]);
	gate("DONE free a");
	free_blocks(b_blocks, counts[1]);
	gate("DONE free b");
	batch_c(counts[2], (size_t)sizes[2]);
	gate("DONE c again");
	return 0;
}
