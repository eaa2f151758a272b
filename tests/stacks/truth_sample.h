/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_TRUTH_SAMPLE_H
#define UNFREED_TESTS_TRUTH_SAMPLE_H

/*
 * What bpf/truth.bpf.h copies in one probe hit: the stack that the probe has
 * just walked, and everything that another unwinder needs to walk it again.
 * Included by both sides, after include/contract.h.
 */

/* From the page of rsp upwards: enough for all but the deepest recursions. */
#define TRUTH_PAGE_BYTES  4096
#define TRUTH_PAGES       17
#define TRUTH_STACK_BYTES (TRUTH_PAGES * TRUTH_PAGE_BYTES)
#define TRUTH_MAX_SLOTS   64

/* The registers in DWARF's order for x86-64; the last is the return address: rip. */
#define TRUTH_RBP     6
#define TRUTH_RSP     7
#define TRUTH_RIP     16
#define TRUTH_REG_CNT 17

/* A return address on the stack that a return probe has replaced. */
struct truth_slot {
	__u64 at;
	__u64 address; /* what belongs there */
};

struct truth_sample {
	__u64 time_ns;
	__u64 stack_id;
	__u32 tgid;
	__u32 frame_cnt;
	__u32 end; /* enum uf_stack_end */
	__u32 slot_cnt;
	__u32 is_recalled; /* not walked: the frames are those of the site that the probe took */
	__u32 pad;
	__u64 regs[TRUTH_REG_CNT];
	__u64 frames[UF_MAX_FRAMES + 1]; /* as in struct uf_stack */
	struct truth_slot slots[TRUTH_MAX_SLOTS];
	__u64 stack_at;    /* address of stack[0] */
	__u64 stack_bytes; /* readable ones */
	__u8 stack[TRUTH_STACK_BYTES];
};

#endif
