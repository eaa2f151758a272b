/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_NESTED_CALLS_H
#define UNFREED_AGENT_NESTED_CALLS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * In a trace that samples, the kernel side cannot tell a call that an allocator function makes of
 * another (calloc of malloc) from one of the program's: see bpf/sample.bpf.h. Their stacks can: they
 * have the allocator function on them.
 */

struct frame_names;
struct probe_points;
struct uf_stack;

/* Where the probed functions of a file are, by file offset. */
struct code_ranges {
	uint32_t cnt;
	struct code_range {
		uint64_t start, end;
	} ranges[];
};

/* NULL with errno ENOMEM; free() it. */
struct code_ranges *code_ranges__new(const struct probe_points *points);

/*
 * Was the stack's call made by an allocator function? What a signal handler allocates that has
 * interrupted one is the program's own.
 */
bool stack__is_nested(const struct frame_names *names, const struct uf_stack *stack);

#endif
