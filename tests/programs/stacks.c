/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* stacks COUNT ROUNDS: one block a round from each of COUNT different stacks. */
#include "gate.h"

static NOINLINE void alloc_at_depth(long depth)
{
	if (depth > 0)
		alloc_at_depth(depth - 1);
	else
		sink = malloc(907);
	__asm__ volatile("" ::: "memory"); /* no tail call */
}

int main(int argc, char **argv)
{
	long count = gate_arg(argc, argv, 1, 101);
	long rounds = gate_arg(argc, argv, 2, 1);

	gate("READY");
	for (long round = 0; round < rounds; round++)
		for (long depth = 0; depth < count; depth++)
			alloc_at_depth(depth);
	gate("DONE stacks");
	return 0;
}
