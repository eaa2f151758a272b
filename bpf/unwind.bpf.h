/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_BPF_H
#define UNFREED_UNWIND_BPF_H

/*
 * Walking a stack by the unwind tables: x86-64.
 *
 * The state of a frame is pc, rsp and rbp. Rows say where the caller's are.
 * rbp is mostly saved and restored unused, so it is followed as the address
 * where it was saved, and read only when a rule needs it.
 */

/* Frame pointers are only followed this far up the stack: code without CFI need not have any. */
#define MAX_FP_FRAME_BYTES (1 << 20)

struct walk {
	__u64 pc, sp, bp;
	__u64 bp_at;       /* where bp was saved; 0: bp is known */
	__u64 trampoline;  /* of return probes; 0: none on the stack */
	__u64 frame;       /* the current frame, as it is stored */
	struct mapping mapping;
	struct stack_window window;
	uf_image_id image;
	__u32 after_call;  /* pc is a return address: the call is the byte before */
	__u32 busy_cnt;    /* times that the mappings could not be looked at */
	__u32 is_sound;    /* every frame so far is a place in a file */
	/* For bpf/stack_memo.bpf.h: */
	__u64 first_pc, first_sp, first_fp; /* where the walk began */
	__u32 bp_is_first; /* bp, if known, is first_fp */
	__u32 fp_counts;   /* it was used */
	__u32 mapping_generation, memo_generation; /* as of then */
	struct stack_reads reads;
};

/* At a return address, with the stack and frame pointer that its caller has then. */
static __always_inline void walk_begin(struct walk *walk, __u64 pc, __u64 sp, __u64 fp)
{
	walk->trampoline = return_trampoline();
	walk->pc = pc;
	walk->sp = sp;
	walk->bp = fp;
	walk->bp_at = 0;
	walk->mapping.start = 0;
	walk->mapping.end = 0;
	walk->window.at = 0;
	walk->after_call = 1;
	walk->is_sound = 1;
	walk->busy_cnt = 0;
	walk->first_pc = pc;
	walk->first_sp = sp;
	walk->first_fp = fp;
	walk->bp_is_first = 1;
	walk->fp_counts = 0;
	walk->reads.cnt = READS_NOT_KEPT;
}

static __always_inline bool walk_read(struct walk *walk, __u64 address, __u64 *out)
{
	if (!window_read(&walk->window, address, out))
		return false;
	reads_note(&walk->reads, walk->first_sp, address, *out);
	return true;
}

/* Makes walk->bp known. */
static __always_inline bool read_bp(struct walk *walk)
{
	if (!walk->bp_at) {
		walk->fp_counts |= walk->bp_is_first;
		return true;
	}
	if (!walk_read(walk, walk->bp_at, &walk->bp))
		return false;
	walk->bp_at = 0;
	walk->bp_is_first = 0;
	return true;
}

static __always_inline __u64 *unwind_word(__u32 word)
{
	__u32 chunk = word >> UF_CHUNK_WORD_BITS, i = word & (UF_CHUNK_WORDS - 1);
	void *map = bpf_map_lookup_elem(&unwind_chunks, &chunk);

	return map ? bpf_map_lookup_elem(map, &i) : NULL;
}

/* log2 of the most rows in a granule: one a byte. */
#define MAX_ROW_STEPS (UF_GRANULE_BITS + 1)

/* The rule at a file offset; UF_CFA_NONE (0) where there is none. */
static __always_inline __u32 unwind_rule(const volatile struct uf_unwind_file *file, __u64 offset)
{
	__u32 granule = (offset >> UF_GRANULE_BITS) - file->first_granule, low, high;
	__u32 cnt = file->granule_cnt, first_word = file->first_word;
	__u64 *word;

	if (granule >= cnt)
		return 0;
	word = unwind_word(first_word + granule);
	if (!word)
		return 0;
	low = *word;
	high = *word >> 32;
	for (int i = 0; i < MAX_ROW_STEPS && low < high; i++) {
		__u32 middle = low + (high - low) / 2;

		word = unwind_word(first_word + cnt + middle);
		if (!word)
			return 0;
		if ((__u32)*word <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return 0;
	word = unwind_word(first_word + cnt + low - 1);
	return word ? *word >> 32 : 0;
}

/* A return address just read from slot, or what a trampoline stands for; 0: unknown. */
static __always_inline __u64 real_return_address(struct walk *walk, __u64 address, __u64 slot)
{
	if (!walk->trampoline || address != walk->trampoline)
		return address;
	walk->reads.cnt = READS_NOT_KEPT;
	return original_return_address(slot);
}

/* Goes on at a return address just read from slot. -1, or the end. */
static __always_inline int return_to(struct walk *walk, __u64 address, __u64 slot)
{
	walk->pc = real_return_address(walk, address, slot);
	walk->after_call = 1;
	if (walk->pc)
		return -1;
	return address ? UF_END_READ_FAULT : UF_END_COMPLETE;
}

/* The caller's frame by frame pointer. -1, or the end. */
static __always_inline int step_by_fp(struct walk *walk, int otherwise)
{
	__u64 bp, pc;
	int end;

	if (cfg_stack_mode != UF_STACK_AUTO)
		return otherwise;
	if (!read_bp(walk))
		return UF_END_READ_FAULT;
	if (walk->bp < walk->sp || walk->bp & 7 || walk->bp - walk->sp > MAX_FP_FRAME_BYTES)
		return otherwise;
	if (!walk_read(walk, walk->bp, &bp) || !walk_read(walk, walk->bp + 8, &pc))
		return UF_END_READ_FAULT;
	end = return_to(walk, pc, walk->bp + 8);
	walk->sp = walk->bp + 16;
	walk->bp = bp;
	walk->bp_is_first = 0;
	return end;
}

/* From a signal trampoline's frame to the interrupted one: rsp is at the ucontext. */
#define UCONTEXT_RBP 120
#define UCONTEXT_RSP 160
#define UCONTEXT_RIP 168

static __always_inline int step_by_signal(struct walk *walk)
{
	__u64 context = walk->sp;

	if (!walk_read(walk, context + UCONTEXT_RBP, &walk->bp) ||
	    !walk_read(walk, context + UCONTEXT_RIP, &walk->pc) ||
	    !walk_read(walk, context + UCONTEXT_RSP, &walk->sp))
		return UF_END_READ_FAULT;
	walk->bp_at = 0;
	walk->bp_is_first = 0;
	walk->after_call = 0;
	return -1;
}

static __always_inline int find_cfa(struct walk *walk, __u32 rule, __u64 *cfa)
{
	__u64 base;

	switch (UF_RULE_CFA(rule)) {
	case UF_CFA_RSP:
		*cfa = walk->sp + UF_RULE_CFA_N(rule);
		return 0;
	case UF_CFA_RBP:
		if (!read_bp(walk))
			return UF_END_READ_FAULT;
		*cfa = walk->bp + UF_RULE_CFA_N(rule);
		return 0;
	case UF_CFA_PLT:
		*cfa = walk->sp + 8 + ((walk->pc & 15) >= UF_RULE_CFA_N(rule) / 8 ? 8 : 0);
		return 0;
	case UF_CFA_DEREF_RSP:
	case UF_CFA_DEREF_RBP:
		base = walk->sp;
		if (UF_RULE_CFA(rule) == UF_CFA_DEREF_RBP) {
			if (!read_bp(walk))
				return UF_END_READ_FAULT;
			base = walk->bp;
		}
		return walk_read(walk, base + UF_RULE_CFA_S(rule), cfa) ? 0 : UF_END_READ_FAULT;
	}
	return UF_END_UNSUPPORTED;
}

static __always_inline int find_caller_bp(struct walk *walk, __u32 rule, __u64 cfa)
{
	switch (UF_RULE_RBP(rule)) {
	case UF_RBP_AT_CFA:
		walk->bp_at = cfa + UF_RULE_RBP_M(rule);
		break;
	case UF_RBP_AT_RBP:
		if (!read_bp(walk))
			return UF_END_READ_FAULT;
		walk->bp_at = walk->bp + UF_RULE_RBP_M(rule);
		break;
	case UF_RBP_UNDEFINED:
		walk->bp_at = 0;
		walk->bp = 0;
		walk->bp_is_first = 0;
		break;
	}
	return 0;
}

static __always_inline int step_by_rule(struct walk *walk, __u32 rule)
{
	__u64 cfa, pc;
	int end;

	switch (UF_RULE_CFA(rule)) {
	case UF_CFA_NONE:
		return step_by_fp(walk, UF_END_NO_CFI);
	case UF_CFA_END:
		return UF_END_COMPLETE;
	case UF_CFA_SIGNAL:
		return step_by_signal(walk);
	}
	end = find_cfa(walk, rule, &cfa);
	if (!end)
		end = find_caller_bp(walk, rule, cfa);
	if (end)
		return end;
	if (cfa <= walk->sp)
		return UF_END_STUCK;
	if (!walk_read(walk, cfa - 8, &pc))
		return UF_END_READ_FAULT;
	walk->sp = cfa;
	return return_to(walk, pc, cfa - 8);
}

/* Asks user space for the rows between calls, where a signal interrupted the mapping's code. */
static __always_inline void want_all_rows(const struct walk *walk)
{
	const struct uf_file_key none = {};

	want_file(&none, walk->pc, true);
}

/*
 * Names the current frame (walk->frame) and goes to its caller. -1: there is one;
 * otherwise the end, an enum uf_stack_end.
 */
__noinline int unwind_step(struct walk *walk)
{
	volatile struct uf_unwind_file *file;
	__u64 at;
	__u32 number;
	int err;

	if (!walk)
		return UF_END_STUCK;
	at = walk->pc - !!walk->after_call;
	walk->frame = walk->pc | (walk->after_call ? 0 : UF_FRAME_INTERRUPTED);
	if (at < walk->mapping.start || at >= walk->mapping.end) {
		err = mapping_find(&walk->mapping, walk->image, at);
		if (err) {
			walk->mapping.end = 0;
			walk->is_sound = 0;
			return -err;
		}
	}
	number = walk->mapping.file;
	if (!number) {
		walk->is_sound = 0;
		return walk->mapping.is_anonymous ? step_by_fp(walk, UF_END_NO_CFI)
						  : UF_END_NO_TABLE;
	}
	walk->frame = UF_FRAME(number, walk->pc - walk->mapping.bias) |
		      (walk->after_call ? 0 : UF_FRAME_INTERRUPTED);
	file = bpf_map_lookup_elem(&unwind_files, &number);
	if (!file || !file->granule_cnt)
		return UF_END_NO_TABLE;
	if (!walk->after_call && !file->has_all_rows) {
		want_all_rows(walk);
		return UF_END_NO_ALL_ROWS;
	}
	return step_by_rule(walk, unwind_rule(file, at - walk->mapping.bias));
}

#endif
