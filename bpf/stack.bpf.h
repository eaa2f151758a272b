/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_STACK_BPF_H
#define UNFREED_STACK_BPF_H

/*
 * The stack of an allocator's caller, and the table that keeps each distinct
 * stack once.
 *
 * The walk starts where the allocator returns to, with the registers that the
 * caller has then: pc is the return address, the stack pointer is the CFA,
 * the frame pointer the caller's.
 */

/* Mixes one frame into the hash of a stack (the finalizer of a 64-bit multiply-xorshift hash). */
static __always_inline __u64 hash_mix(__u64 hash, __u64 value)
{
	hash ^= value;
	hash *= 0xff51afd7ed558ccdULL;
	hash ^= hash >> 32;
	hash *= 0xc4ceb9fe1a85ec53ULL;
	return hash ^ (hash >> 29);
}

/* The same hash for the same places in files, in whatever process and wherever mapped. */
static __always_inline void stack_add_frame(struct thread_state *thread, __u32 i, __u64 frame)
{
	thread->frames[i & UF_MAX_FRAMES] = frame;
	thread->stack_id = hash_mix(thread->stack_id, frame);
}

/* A Python frame means nothing in another process, nor once its code object is another. */
static __always_inline void stack_add_python(struct thread_state *thread, __u32 i, __u64 frame)
{
	__u64 code = UF_PYTHON_FRAME_CODE(frame);

	thread->walk.is_sound = 0;
	stack_add_frame(thread, i, frame);
	thread->stack_id = hash_mix(thread->stack_id, *code_generation_of(code));
}

#define MAX_BUSY_TRIES 64

/*
 * One step of the walk: the next frame, native or Python, is added. -1: go on;
 * otherwise the end. A function of its own, with all its state in memory, for
 * the verifier's sake: it sees one step, not all ways through 127 of them.
 */
__noinline int walk_one_step(struct thread_state *thread, struct uf_python *python)
{
	__u32 n, was_sound;
	__u64 frame;

	if (!thread)
		return UF_END_STUCK;
	n = thread->frame_cnt;
	was_sound = thread->walk.is_sound;
	if (n >= UF_MAX_FRAMES)
		return UF_END_DEPTH;
	if (python && thread->python.in_eval) {
		frame = python_step(&thread->python, python);
		if (frame) {
			stack_add_python(thread, n, frame);
			thread->frame_cnt = n + 1;
		}
		return -1;
	}
	if (thread->stack_end != UF_END_CNT) {
		if (!python || !thread->python.frame || thread->stack_end == UF_END_COMPLETE)
			return thread->stack_end;
		/* Cut short, but the interpreter knows all of its frames. */
		thread->python.in_eval = 1;
		return -1;
	}
	/* The end is kept: Python frames may still come in its place. */
	thread->stack_end = unwind_step(&thread->walk);
	/* Whoever changes the mappings is done in microseconds, mostly on another CPU. */
	if (thread->stack_end == UF_END_BUSY && thread->walk.busy_cnt < MAX_BUSY_TRIES) {
		thread->walk.busy_cnt++;
		thread->walk.is_sound = was_sound;
		thread->stack_end = UF_END_CNT;
		return -1;
	}
	if ((int)thread->stack_end < 0)
		thread->stack_end = UF_END_CNT;
	frame = thread->walk.frame;
	/* The address alone might be two libraries', one after the other. */
	if (thread->walk.mapping.unnumbered)
		thread->stack_id = hash_mix(thread->stack_id, thread->walk.mapping.unnumbered);
	if (python && thread->python.frame && is_eval_loop(python, frame)) {
		thread->python.in_eval = 1;
		return -1;
	}
	stack_add_frame(thread, n, frame);
	thread->frame_cnt = n + 1;
	return -1;
}

static __always_inline int walk_by_tables(struct thread_state *thread, struct uf_python *python)
{
	thread->python.frame = python ? python_first_frame(python) : 0;
	thread->python.in_eval = 0;
	thread->stack_end = UF_END_CNT;
	/* More steps than frames: the eval loop's shims give none, nor do tries in vain. */
	for (int i = 0; i < 2 * UF_MAX_FRAMES + MAX_BUSY_TRIES; i++) {
		int end = walk_one_step(thread, python);

		if (end >= 0)
			return end;
	}
	return UF_END_DEPTH;
}

struct frame_record {
	__u64 next; /* the caller's frame pointer */
	__u64 return_address;
};

/*
 * Why not bpf_get_stack(): it starts inside the allocator and misses its direct
 * caller, and it does not say why it ended.
 */
static __always_inline int walk_by_fp(struct thread_state *thread)
{
	__u64 floor = thread->walk.sp, fp = thread->walk.bp, pc = thread->walk.pc;

	thread->walk.is_sound = 0;
	for (__u32 i = 0; i < UF_MAX_FRAMES; i++) {
		struct frame_record record;

		stack_add_frame(thread, i, pc);
		thread->frame_cnt = i + 1;
		if (!fp)
			return UF_END_COMPLETE;
		/* Each frame lies above the one that it called. */
		if (fp < floor || fp & 7)
			return UF_END_BAD_CHAIN;
		if (bpf_probe_read_user(&record, sizeof(record), (void *)fp))
			return UF_END_READ_FAULT;
		if (!record.return_address)
			return UF_END_COMPLETE;
		pc = real_return_address(&thread->walk, record.return_address, fp + 8);
		if (!pc)
			return UF_END_READ_FAULT;
		floor = fp + sizeof(record);
		fp = record.next;
	}
	return UF_END_DEPTH;
}

/* A walk from a pc that is a return address and the caller's stack and frame pointer. */
static __always_inline void stack_begin(struct thread_state *thread, uf_image_id image, __u64 pc,
					__u64 sp, __u64 fp)
{
	walk_begin(&thread->walk, pc, sp, fp);
	thread->walk.after_call = !thread->is_interrupted;
	thread->walk.image = image;
}

/*
 * The site of the stack, if it is the one that was walked from there before; then it is not walked.
 * -1: it must be, and may be kept (stack_keep) if walk->reads.cnt is 0.
 */
__noinline __s64 stack_recall(struct thread_state *thread, __u32 kind)
{
	struct stack_memo *memo;
	struct walk *walk;

	if (!thread)
		return -1;
	walk = &thread->walk;
	if (!walk->after_call || cfg_stack_mode == UF_STACK_FP)
		return -1;
	/* Before anything that they are about. */
	walk->mapping_generation = mapping_generation(bpf_get_current_task_btf()->mm);
	walk->memo_generation = *(volatile __u32 *)&memo_generation;
	if (!walk->mapping_generation || walk->memo_generation & 1)
		return -1;
	walk->reads.cnt = 0;
	memo = &thread->memos[memo_slot(walk->first_pc, walk->first_sp)];
	if (memo->pc != walk->first_pc || memo->sp != walk->first_sp ||
	    memo->image != walk->image || memo->kind != kind ||
	    memo->mapping_generation != walk->mapping_generation ||
	    memo->memo_generation != walk->memo_generation ||
	    (memo->fp_counts && memo->fp != walk->first_fp))
		return -1;
	for (__u32 i = 0; i < MEMO_WORDS; i++) {
		__u64 value = 0;

		if (i >= memo->reads.cnt)
			return memo->site;
		if (!window_read(&walk->window, memo->sp + memo->reads.at[i] * 8, &value) ||
		    value != memo->reads.values[i])
			return -1;
	}
	return memo->site;
}

/* Keeps what stack_walk() has found and what site it was. */
static __always_inline void stack_keep(struct thread_state *thread, __u32 kind, __u32 site)
{
	const struct walk *walk = &thread->walk;
	struct stack_memo *memo;

	if (walk->reads.cnt > MEMO_WORDS || !walk->is_sound || thread->stack_end != UF_END_COMPLETE)
		return;
	memo = &thread->memos[memo_slot(walk->first_pc, walk->first_sp)];
	memo->pc = walk->first_pc;
	memo->sp = walk->first_sp;
	memo->fp = walk->first_fp;
	memo->fp_counts = walk->fp_counts;
	memo->image = walk->image;
	memo->kind = kind;
	memo->mapping_generation = walk->mapping_generation;
	memo->memo_generation = walk->memo_generation;
	memo->site = site;
	memo->reads = walk->reads;
}

/* After stack_begin(): fills thread->frames, frame_cnt, stack_end and stack_id (never 0). */
__noinline int stack_walk(struct thread_state *thread)
{
	struct uf_python *python = NULL;
	uf_image_id image;

	if (!thread)
		return 0;
	image = thread->walk.image;
	if (python_cnt)
		python = bpf_map_lookup_elem(&pythons, &image);
	if (python)
		thread->walk.reads.cnt = READS_NOT_KEPT;
	thread->stack_id = 0x9e3779b97f4a7c15ULL;
	thread->frame_cnt = 0;
	thread->stack_end =
		cfg_stack_mode == UF_STACK_FP ? walk_by_fp(thread) : walk_by_tables(thread, python);
	thread->stack_id = hash_mix(thread->stack_id, thread->stack_end);
	/* Addresses mean nothing in another process. */
	if (!thread->walk.is_sound)
		thread->stack_id = hash_mix(thread->stack_id, image);
	thread->stack_id |= !thread->stack_id;
	return 0;
}

/*
 * Has user space free what is idle (user/agent/tracer_reclaim.c): once until it has. (A function
 * of its own: the event would take a sixth of the stack of whoever needs a site.)
 */
__noinline int want_room(void)
{
	struct uf_event event = {.type = UF_EVENT_TABLE_FILLS};

	if (!__sync_lock_test_and_set(&room_is_wanted, 1))
		bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}

/* A free index of a table of max entries: one given back, or the next never used. False: full. */
static __always_inline bool index_take(void *spares, __u32 *next, __u32 max, __u32 *out)
{
	__u32 i;

	if (!bpf_map_pop_elem(spares, out))
		return true;
	if (*(volatile __u32 *)next >= max) {
		want_room();
		return false;
	}
	i = __sync_fetch_and_add(next, 1);
	*out = i;
	if (i == max / 2)
		want_room();
	return i < max;
}

const volatile __u32 cfg_max_sites = 1 << 14; /* entries of the site and stack tables */

/* Has every code object of the walked stack copied for user space, while it is there. */
static __always_inline void stack_send_codes(const struct thread_state *thread, uf_image_id image)
{
	struct uf_python *python = bpf_map_lookup_elem(&pythons, &image);

	for (__u32 i = 0; python && i < UF_MAX_FRAMES; i++) {
		__u64 frame = thread->frames[i];

		if (i >= thread->frame_cnt)
			break;
		if ((frame & UF_FRAME_PYTHON) && !(frame & UF_FRAME_IN_FILE))
			python_send_code(python, UF_PYTHON_FRAME_CODE(frame), image);
	}
}

/* Index of the walked stack, kept from now on. False: it could not be kept (counted). */
__noinline int stack_intern(struct thread_state *thread, uf_image_id image, __u32 *out)
{
	struct uf_stack *stack;
	__u32 *known, i;
	__u64 id;

	if (!thread || !out)
		return false;
	id = thread->stack_id;
	known = bpf_map_lookup_elem(&stack_index, &id);
	if (known) {
		*out = *known;
		return true;
	}
	if (python_cnt)
		stack_send_codes(thread, image);
	if (!index_take(&stack_spares, &next_stack, cfg_max_sites, &i))
		goto full;
	stack = bpf_map_lookup_elem(&stacks, &i);
	if (!stack)
		goto full;
	stack->id = id;
	stack->time_ns = bpf_ktime_get_ns();
	stack->image = image;
	stack->tgid = bpf_get_current_pid_tgid() >> 32;
	stack->frame_cnt = thread->frame_cnt;
	stack->end = thread->stack_end;
	bpf_probe_read_kernel(stack->frames, sizeof(stack->frames), thread->frames);

	if (!bpf_map_update_elem(&stack_index, &id, &i, BPF_NOEXIST)) {
		*out = i;
		return true;
	}
	/* Another CPU was first, or there is no room. */
	stack->id = 0;
	bpf_map_push_elem(&stack_spares, &i, 0);
	known = bpf_map_lookup_elem(&stack_index, &id);
	if (known) {
		*out = *known;
		return true;
	}
full:
	loss_add(STACK_TABLE_FULL, 1);
	return false;
}

#endif
