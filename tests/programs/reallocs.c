/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * What realloc does to a block: its size and site become those of the call
 * that succeeded, a call that fails changes nothing, size 0 frees (glibc).
 * Every origin_X allocates the blocks that X then changes.
 */
#include <stdint.h>
#include "gate.h"

#define MAX_BLOCKS 64

static void *blocks[MAX_BLOCKS];
static void *neighbours[MAX_BLOCKS];
static volatile size_t huge = PTRDIFF_MAX / 2;
static volatile size_t zero;

#define ORIGIN(name, count, size)                                                                  \
	static NOINLINE void origin_##name(void)                                                   \
	{                                                                                          \
		for (int i = 0; i < (count); i++) {                                                \
			blocks[i] = malloc(size);                                                  \
			neighbours[i] = malloc(neighbour_size);                                    \
		}                                                                                  \
	}

/* A block behind each one, so that growing means moving. Freed at the end of a case. */
static size_t neighbour_size = 503;

ORIGIN(grow, 11, 101)
ORIGIN(shrink, 13, 10007)
ORIGIN(zero, 17, 103)
ORIGIN(fail, 19, 107)
ORIGIN(array_fail, 23, 109)
ORIGIN(free, 29, 113)
ORIGIN(ping_pong, 31, 127)

static void free_neighbours(int count)
{
	for (int i = 0; i < count; i++)
		free(neighbours[i]);
}

/* Returns how many moved: all, with a neighbour behind each. */
static NOINLINE int grow(void)
{
	int moved = 0;

	for (int i = 0; i < 11; i++) {
		void *volatile old = blocks[i];

		blocks[i] = realloc(old, 20011);
		moved += blocks[i] != old;
	}
	return moved;
}

/* Returns how many moved: none with glibc. */
static NOINLINE int shrink(void)
{
	int moved = 0;

	for (int i = 0; i < 13; i++) {
		void *volatile old = blocks[i];

		blocks[i] = realloc(old, 211);
		moved += blocks[i] != old;
	}
	return moved;
}

static NOINLINE void to_zero(void)
{
	for (int i = 0; i < 17; i++)
		if (realloc(blocks[i], zero))
			gate_die("realloc to 0 did not free");
}

static NOINLINE void fail(void)
{
	for (int i = 0; i < 19; i++)
		if (realloc(blocks[i], huge))
			gate_die("a huge realloc succeeded");
}

static NOINLINE void array_fail(void)
{
	for (int i = 0; i < 23; i++)
		if (reallocarray(blocks[i], huge, 16))
			gate_die("an overflowing reallocarray succeeded");
}

/* The moved blocks are freed under their new address. */
static NOINLINE void grow_and_free(void)
{
	for (int i = 0; i < 29; i++) {
		blocks[i] = realloc(blocks[i], 30011);
		free(blocks[i]);
	}
}

/* Up and down again and again: each block counts once, for the last call. */
static NOINLINE void ping_pong(void)
{
	for (int round = 0; round < 41; round++)
		for (int i = 0; i < 31; i++)
			blocks[i] = realloc(blocks[i], round % 2 ? 127 : 4001);
}

static NOINLINE void *alloc_before_ready(void)
{
	return malloc(131);
}

/* Blocks that are older than the trace: the new ones are its first sight of them. */
static NOINLINE void grow_unknown(void **unknown, int count)
{
	for (int i = 0; i < count; i++)
		sink = realloc(unknown[i], 4003);
}

int main(void)
{
	void *unknown[37];
	int grown, shrunk;

	for (int i = 0; i < 37; i++)
		unknown[i] = alloc_before_ready();
	gate("READY");
	origin_grow();
	grown = grow();
	free_neighbours(11);
	origin_shrink();
	shrunk = shrink();
	free_neighbours(13);
	origin_zero();
	to_zero();
	free_neighbours(17);
	origin_fail();
	fail();
	free_neighbours(19);
	origin_array_fail();
	array_fail();
	free_neighbours(23);
	origin_free();
	grow_and_free();
	free_neighbours(29);
	origin_ping_pong();
	ping_pong();
	free_neighbours(31);
	grow_unknown(unknown, 37);
	gate("DONE reallocs %d %d", grown, shrunk);
	return 0;
}
