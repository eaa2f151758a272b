/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_GATE_CONTRACT_H
#define UNFREED_GATE_CONTRACT_H

/*
 * What libunfreed-gate.so (gate/) tells the probes, and where. It samples inside the process and
 * calls one of two functions of its own, which do nothing but wait for a probe on their first
 * instruction:
 *
 *	unfreed_gate_alloc(block, size_bytes, interval_bytes, result)
 *		A block was allocated and sampled. It is called last of all, by a jump from the
 *		interposed function: at its entry the stack and the registers are those that
 *		the application's call of malloc() returns with, so the walk begins at the caller.
 *	unfreed_gate_tell(op, value)
 *		enum uf_gate_op. A free before the allocator's, so that the address is nobody
 *		else's yet.
 *
 * For both sides of the kernel boundary and for the library; sizes in bytes.
 */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define UF_GATE_ALLOC   "unfreed_gate_alloc"
#define UF_GATE_TELL    "unfreed_gate_tell"
#define UF_GATE_STATE   "unfreed_gate_state" /* of type struct uf_gate_state */
#define UF_GATE_LIBRARY "libunfreed-gate.so"
#define UF_GATE_SAMPLE  "UNFREED_GATE_SAMPLE" /* environment: bytes, with K, M or G */

/* At 512 KiB a Flask application that does little but allocate paid a tenth for its samples. */
#define UF_GATE_SAMPLE_STANDARD (4ULL << 20)
#define UF_GATE_SAMPLE_MIN      1ULL
#define UF_GATE_SAMPLE_MAX      (256ULL << 20)

enum uf_gate_op {
	UF_GATE_FREE,   /* value: a sampled block that is about to be freed */
	UF_GATE_RESIZE, /* value: a sampled block that is about to be reallocated */
	UF_GATE_GONE,   /* it was; the new block, if sampled, is told of after that */
	UF_GATE_KEPT,   /* it was not: realloc has failed; value: the block */
	UF_GATE_LOST,   /* value: the size of a block that was to be sampled and could not be kept */
};

#define UF_GATE_VERSION 1

/* Readable in the process's memory, from before main() on. */
struct uf_gate_state {
	__u32 version; /* 0: not the process's malloc() */
	__u32 pad;
	__u64 interval_bytes;
};

#endif
