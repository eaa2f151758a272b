/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PRIVATE_STACK_BPF_H
#define UNFREED_PRIVATE_STACK_BPF_H

/*
 * Since 6.13 the kernel gives programs of this type, on x86-64, a private stack: one per CPU. That
 * is right for kprobes, which nothing preempts. A uprobe's program can be preempted by another
 * task that hits the same probe on the same CPU, and then both run on the one stack: on Linux 7.2
 * with lazy preemption one free of 10,000 was counted with somebody else's block.
 *
 * The kernel gives no private stack to a program with a tail call, however dead: it looks for the
 * instruction before it knows what can be reached. The program must then do with 512 bytes, which
 * it must on older kernels anyway (tests/build/stack_depth.py).
 */
const volatile bool cfg_never = false;

/* Programs of different kinds cannot share such a table. Nothing is ever in it. */
struct empty_program_array {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};

struct empty_program_array no_programs SEC(".maps"), no_session_programs SEC(".maps");

/* First of all in each uprobe program. */
#define refuse_private_stack(ctx, no_programs_of_its_kind)                                         \
	do {                                                                                       \
		if (cfg_never)                                                                     \
			bpf_tail_call(ctx, &no_programs_of_its_kind, 0);                           \
	} while (0)

#endif
