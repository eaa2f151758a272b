/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/* A library of swap.c: -DFRAME_BYTES says what tells one from the other. */
#include <stdlib.h>

void work(int depth);

__attribute__((noinline, noipa)) static void step(int depth)
{
	volatile char frame[FRAME_BYTES];

	frame[0] = 1;
	if (depth) {
		step(depth - 1);
	} else {
		void *volatile block = malloc(100);

		free(block);
	}
	frame[sizeof(frame) - 1] = frame[0];
}

void work(int depth)
{
	step(depth);
	__asm__ volatile("");
}
