/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_THREAD_BPF_H
#define UNFREED_THREAD_BPF_H

/*
 * What a thread is doing: the allocator calls that it has entered and not yet
 * returned from.
 *
 * Only the outermost call counts: malloc called by calloc, or by a wrapper that
 * is probed too, hands out no block of its own. One pending call would do, but
 * for two things that real programs do:
 *
 *  - A signal handler interrupts a call and allocates. Its block is its own.
 *    The signal tracepoint raises the thread's signal level; a call is nested
 *    only in a call of its own level. So calls pend on a small stack. That the
 *    handler has ended nobody tells; but its signal is blocked while it runs
 *    (unless it has SA_NODEFER, or unblocks it: then a call that the interrupted
 *    one makes afterwards is taken for the handler's, and corrected as
 *    MISSED_FREE when both return the same block).
 *  - siglongjmp (or exit) leaves a call for good. A later call that is not
 *    below the pending one on the stack (sp >= its sp) proves that: the pending
 *    call is dropped and counted as CALL_ABANDONED. A handler on an alternate
 *    stack cannot be compared and is not. A call below the pending one is made
 *    by it, or, after a handler, possibly by somebody else further down the
 *    stack: then the stack is walked to see.
 *
 * A call with the same sp as the pending one is either a tail call (glibc's
 * reallocarray jumps to realloc) or the same caller again after a longjmp: both
 * times the new call takes the old one's place.
 */

#define MAX_PENDING_CALLS 4

struct pending_call {
	__u64 sp; /* at entry */
	__u64 size_bytes;
	__u64 address;	     /* realloc: the old block; posix_memalign: where the result goes */
	struct uf_block old; /* realloc: the old block, taken out of the live table */
	uf_image_id image;
	__u32 func;  /* enum uf_func */
	__u16 level; /* signal level that it was made at */
	__u16 has_old;
	__u16 is_suspect; /* a handler that ended may have left it by siglongjmp */
	__u16 is_unwanted; /* its size is not: it only shows what is done inside */
};

/* Of the system calls that bpf/region.bpf.h looks at. */
enum system_call_state { CALL_UNKNOWN, CALL_ENTERED, CALL_RETURNED };

struct thread_state {
	__u32 depth; /* calls in use */
	__u32 level; /* signal handlers entered since the outermost pending call */
	__u8 signals[MAX_PENDING_CALLS]; /* of the handler at each level; 0: not known to be blocked
					  */
	__u32 pad;
	struct pending_call calls[MAX_PENDING_CALLS];
	/* Scratch of the stack walk. Task storage because a per-CPU one can be
	 * overwritten by a task that preempts this one. */
	__u32 frame_cnt;
	__u32 stack_end;
	__u64 stack_id;
	__u64 frames[UF_MAX_FRAMES + 1]; /* one more, so that an index can be masked */
	struct walk walk;
	struct python_walk python;
	__u32 is_interrupted; /* the walk begins at an instruction, not at a return address */
	/* The last page fault that may be a pool's (bpf/pool_fault.bpf.h); address 0: none. */
	uf_image_id fault_image;
	__u64 fault_address;
	struct uf_block fault_pool;
	/* --mmap: a free() that has not returned, by its sp; 0: none. */
	__u64 free_sp;
	/* What the system call that runs found at its entry (bpf/region.bpf.h). */
	__u64 brk_before;
	__u32 remaps_anonymous;
	__u32 system_call; /* enum system_call_state */
};

/* Inserted by a thread's first call; gone with the task. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread_state);
} threads SEC(".maps");

#if defined(__TARGET_ARCH_x86)
#define RETURN_SP_DELTA 8 /* ret pops the return address */
#else
#define RETURN_SP_DELTA 0
#endif

static __always_inline struct thread_state *thread_state_get(bool create)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0,
				    create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
}

/* The verifier wants every index masked; MAX_PENDING_CALLS is a power of two. */
static __always_inline struct pending_call *thread_call(struct thread_state *thread, __u32 i)
{
	return &thread->calls[i & (MAX_PENDING_CALLS - 1)];
}

static __always_inline bool on_alternate_stack(__u64 sp)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 start = task->sas_ss_sp;

	return sp > start && sp - start <= task->sas_ss_size;
}

/* Is the signal that brought the thread to its level blocked no more? */
static __always_inline bool handler_has_ended(const struct thread_state *thread)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u8 sig = thread->signals[thread->level & (MAX_PENDING_CALLS - 1)];

	return sig && !(task->blocked.sig[0] >> ((sig - 1) & 63) & 1);
}

/* The call will never return. A block that it had taken out to resize is most likely still there.
 */
__noinline int pending_call_abandon(struct pending_call *call)
{
	struct uf_block_key key = {};
	struct uf_block old;

	if (!call)
		return 0;
	loss_add(CALL_ABANDONED, 1);
	if (!call->has_old)
		return 0;
	key.address = call->address;
	key.image = call->image;
	old = call->old;
	bpf_map_update_elem(&live, &key, &old, BPF_NOEXIST);
	return 0;
}

/*
 * Does the walk that has begun meet the call whose return address lies in slot? If it cannot tell,
 * true if the slot still holds the return probe's trampoline.
 */
static __always_inline int walk_meets_call(struct walk *walk, __u64 slot)
{
	__u64 value = 0;

	for (int i = 0; cfg_stack_mode != UF_STACK_FP && i < UF_MAX_FRAMES; i++) {
		int end = unwind_step(walk);

		if (walk->sp - RETURN_SP_DELTA == slot)
			return 1;
		if (end == UF_END_COMPLETE)
			return 0;
		if (end >= 0)
			break;
	}
	if (bpf_probe_read_user(&value, sizeof(value), (void *)slot))
		return 0;
	return value == walk->trampoline;
}

/* Is the call whose return address lies in slot still on the stack of a call entered at sp? */
__noinline int call_is_on_stack(struct thread_state *thread, __u64 sp, __u64 fp, __u64 slot)
{
	__u64 pc = 0;

	if (!thread || bpf_probe_read_user(&pc, sizeof(pc), (void *)sp))
		return 0;
	walk_begin(&thread->walk, pc, sp + RETURN_SP_DELTA, fp);
	return walk_meets_call(&thread->walk, slot);
}

/* Likewise, of a thread that is in a system call. */
__noinline int call_is_below(struct thread_state *thread, __u64 pc, __u64 sp, __u64 fp, __u64 slot)
{
	if (!thread)
		return 0;
	walk_begin(&thread->walk, pc, sp, fp);
	return walk_meets_call(&thread->walk, slot);
}

/*
 * Is a call entered at sp made by the pending call (and so no block of its own)?
 * Drops pending calls that sp proves to be gone; *replaced is the last one dropped with the very
 * same sp, NULL if there was none: readable until a call is pushed.
 */
static __always_inline bool thread_call_is_nested(struct thread_state *thread, struct pt_regs *ctx,
						  struct pending_call **replaced)
{
	__u64 sp = PT_REGS_SP(ctx);

	*replaced = NULL;
	for (int i = 0; i < MAX_PENDING_CALLS; i++) {
		struct pending_call *top;

		if (!thread->depth)
			break;
		top = thread_call(thread, thread->depth - 1);
		if (top->level != thread->level && handler_has_ended(thread)) {
			thread->level = top->level;
			top->is_suspect = 1;
		}
		if (top->level != thread->level && on_alternate_stack(sp))
			return false;
		if (sp < top->sp) {
			if (top->level != thread->level)
				return false;
			if (!top->is_suspect)
				return true;
			thread->walk.image = top->image;
			if (call_is_on_stack(thread, sp, PT_REGS_FP(ctx), top->sp)) {
				top->is_suspect = 0;
				return true;
			}
		}
		if (sp == top->sp)
			*replaced = top;
		else
			pending_call_abandon(top);
		thread->depth--;
		thread->level = top->level;
	}
	thread->level = 0;
	return false;
}

/*
 * Is the thread, in a system call with these registers, inside a probed allocator function? (In a
 * handler that interrupted free() it is taken to be.)
 */
static __always_inline bool thread_is_in_allocator(struct thread_state *thread,
						   const struct pt_regs *regs)
{
	__u64 sp = PT_REGS_SP(regs);
	struct pending_call *top;

	if (thread->free_sp && sp <= thread->free_sp &&
	    on_alternate_stack(sp) == on_alternate_stack(thread->free_sp))
		return true;
	if (!thread->depth)
		return false;
	top = thread_call(thread, thread->depth - 1);
	if (top->level != thread->level && !handler_has_ended(thread))
		return false;
	if (sp > top->sp)
		return false;
	if (top->level == thread->level && !top->is_suspect)
		return true;
	thread->walk.image = top->image;
	return call_is_below(thread, PT_REGS_IP(regs), sp, PT_REGS_FP(regs), top->sp);
}

/* free() is entered with sp. False: inside another one. */
static __always_inline bool thread_enter_free(struct thread_state *thread, __u64 sp)
{
	if (thread->free_sp && sp < thread->free_sp &&
	    on_alternate_stack(sp) == on_alternate_stack(thread->free_sp))
		return false;
	thread->free_sp = sp;
	return true;
}

static __always_inline void thread_leave_free(struct thread_state *thread, __u64 sp)
{
	if (thread->free_sp + RETURN_SP_DELTA == sp)
		thread->free_sp = 0;
}

/* The new outermost call of the current level. */
static __always_inline struct pending_call *thread_push_call(struct thread_state *thread)
{
	struct pending_call *call;

	if (thread->depth >= MAX_PENDING_CALLS) {
		/* Most likely all of them were left by siglongjmp from an alternate stack. */
		for (int i = 0; i < MAX_PENDING_CALLS; i++)
			pending_call_abandon(&thread->calls[i]);
		thread->depth = 0;
		thread->level = 0;
	}
	call = thread_call(thread, thread->depth);
	call->level = thread->level;
	thread->depth++;
	return call;
}

static __always_inline void thread_abandon_call(struct thread_state *thread, __u32 i)
{
	if (i < thread->depth)
		pending_call_abandon(&thread->calls[i]);
}

/*
 * All from the first on, which is at least 1. (No loop: 5.15's verifier refuses one whose last
 * instruction falls through to its first, and clang 14 makes one of it.)
 */
static __always_inline void thread_abandon_calls(struct thread_state *thread, __u32 first)
{
	_Static_assert(MAX_PENDING_CALLS == 4, "each is named here");
	if (first <= 1)
		thread_abandon_call(thread, 1);
	if (first <= 2)
		thread_abandon_call(thread, 2);
	if (first <= 3)
		thread_abandon_call(thread, 3);
}

/*
 * The pending call that returns with sp, taken off with all above it; NULL if there is none. It
 * stays readable until the thread's next call. (Not copied: the stack is short, and a walk is
 * next.)
 */
static __always_inline struct pending_call *thread_pop_call(struct thread_state *thread, __u64 sp)
{
	for (int i = MAX_PENDING_CALLS - 1; i >= 0; i--) {
		struct pending_call *call = thread_call(thread, i);

		if ((__u32)i >= thread->depth || call->sp + RETURN_SP_DELTA != sp)
			continue;
		thread_abandon_calls(thread, i + 1);
		thread->depth = i;
		thread->level = i ? call->level : 0;
		return call;
	}
	return NULL;
}

#endif
