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
 *
 * An exception leaves a call of operator new, at any time, and so every call that
 * seems to be made by it is looked at like one after a handler; its return address
 * says besides whether the stack there is still its own. What the new handler
 * allocates meanwhile, or what throws the exception, does so by itself: a call from
 * another file than the operator's is none of its calls.
 */

#define MAX_PENDING_CALLS 4

struct pending_call {
	__u64 sp; /* at entry */
	__u64 ip; /* at entry */
	__u64 return_address; /* of a call that may throw, and so is told by its ret; else 0 */
	__u64 size_bytes;
	__u64 address;	     /* realloc: the old block; posix_memalign: where the result goes */
	struct uf_block old; /* realloc: the old block, taken out of the live table */
	uf_image_id image;
	__u32 weight; /* of the block that it is going to return; 0: that is not sampled */
	__u16 level; /* signal level that it was made at */
	__u8 func;   /* enum uf_func */
	__u8 has_old : 1;
	__u8 may_throw : 1;
	__u8 is_suspect : 1; /* a handler that ended may have left it by siglongjmp */
	__u8 is_unwanted : 1; /* its size is not: it only shows what is done inside */
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
	struct stack_memo memos[MEMO_CNT]; /* by memo_slot() */
	__u32 is_interrupted; /* the walk begins at an instruction, not at a return address */
	/* The last block that was freed, and where the call was; 0: none since the last allocation. */
	__u64 forwarded, forwarded_sp;
	/* The last page fault that may be a pool's (bpf/pool_fault.bpf.h); address 0: none. */
	uf_image_id fault_image;
	__u64 fault_address;
	struct uf_block fault_pool;
	/* A sampled block that is being reallocated (bpf/gate.bpf.h); address 0: none. */
	__u64 resized_address;
	struct uf_block resized;
	/* --mmap: a free() that has not returned, by its sp; 0: none. */
	__u64 free_sp;
	/* What the system call that runs found at its entry (bpf/region.bpf.h). */
	__u64 brk_before;
	__u32 window; /* in which the thread was seen last, where there is more than one */
	__u32 remaps_anonymous;
	__u32 system_call; /* enum system_call_state */
};

_Static_assert(sizeof(struct thread_state) <= 8000, "with what the kernel adds, 8 KiB of a slab");

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

	if (!call || call->is_unwanted)
		return 0;
	/* One that threw has handed out nothing. */
	if (call->may_throw)
		stats_add(failed_alloc_cnt, 1);
	else
		loss_add(CALL_ABANDONED, 1);
	if (!call->has_old)
		return 0;
	key.address = call->address;
	key.image = call->image;
	old = call->old;
	live_insert(&key, &old, BPF_NOEXIST);
	return 0;
}

/* Is there what must be while the call is: its return address, or what stands for that? */
static __always_inline bool slot_is_intact(const struct walk *walk, const struct pending_call *call)
{
	__u64 value = 0;

	if (bpf_probe_read_user(&value, sizeof(value), (void *)call->sp))
		return false;
	return value == walk->trampoline || (value && value == call->return_address);
}

enum pending_state { CALL_IS_GONE, CALL_IS_CALLER, CALL_IS_ABOVE };

/*
 * Is a pending call still on the stack that the walk begins in? It is if the walk
 * meets its return address; if the walk cannot tell, if that is as it was. Then it is
 * the other's caller, or (of a call that may throw) merely above, if the direct caller is in
 * another file.
 */
static __always_inline int walk_to_call(struct walk *walk, const struct pending_call *call)
{
	int state = CALL_IS_CALLER;

	if (call->return_address && !slot_is_intact(walk, call))
		return CALL_IS_GONE;
	for (int i = 0; i < UF_MAX_FRAMES; i++) {
		/* Without tables it names the mapping, and ends. */
		int end = unwind_step(walk);

		if (!i && call->may_throw && walk->mapping.end &&
		    call->ip - walk->mapping.start >= walk->mapping.end - walk->mapping.start)
			state = CALL_IS_ABOVE;
		if (walk->sp - RETURN_SP_DELTA == call->sp)
			return state;
		if (end == UF_END_COMPLETE)
			return CALL_IS_GONE;
		if (end >= 0)
			break;
	}
	return slot_is_intact(walk, call) ? state : CALL_IS_GONE;
}

/* Of a call entered at sp. */
__noinline int call_is_on_stack(struct thread_state *thread, __u64 sp, __u64 fp,
				struct pending_call *call)
{
	__u64 value = 0;

	if (!thread || !call || bpf_probe_read_user(&value, sizeof(value), (void *)sp))
		return CALL_IS_GONE;
	walk_begin(&thread->walk, value, sp + RETURN_SP_DELTA, fp);
	return walk_to_call(&thread->walk, call);
}

/* Of a thread that is in a system call. */
__noinline int call_is_below(struct thread_state *thread, __u64 pc, __u64 sp, __u64 fp,
			     struct pending_call *call)
{
	if (!thread || !call)
		return CALL_IS_GONE;
	walk_begin(&thread->walk, pc, sp, fp);
	return walk_to_call(&thread->walk, call);
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
		int state;

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
			if (!top->is_suspect && !top->may_throw)
				return true;
			thread->walk.image = top->image;
			state = call_is_on_stack(thread, sp, PT_REGS_FP(ctx), top);
			if (state != CALL_IS_GONE) {
				top->is_suspect = 0;
				return state == CALL_IS_CALLER;
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
	if (top->level == thread->level && !top->is_suspect && !top->may_throw)
		return true;
	thread->walk.image = top->image;
	return call_is_below(thread, PT_REGS_IP(regs), sp, PT_REGS_FP(regs), top) != CALL_IS_GONE;
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
 * next.) At a ret: in_slot is what that finds, return_address what stands for it; else both 0.
 */
static __always_inline struct pending_call *thread_pop_call(struct thread_state *thread, __u64 sp,
							    __u64 in_slot, __u64 return_address)
{
	for (int i = MAX_PENDING_CALLS - 1; i >= 0; i--) {
		struct pending_call *call = thread_call(thread, i);

		if ((__u32)i >= thread->depth || call->sp + RETURN_SP_DELTA != sp)
			continue;
		if (call->return_address != in_slot && call->return_address != return_address)
			continue;
		thread_abandon_calls(thread, i + 1);
		thread->depth = i;
		thread->level = i ? call->level : 0;
		return call;
	}
	return NULL;
}

#endif
