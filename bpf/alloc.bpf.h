/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_ALLOC_BPF_H
#define UNFREED_ALLOC_BPF_H

/*
 * The probes on allocator functions.
 *
 * An allocation counts when it returns: only then is there a block. free counts
 * at its entry: after it the address may be somebody else's. realloc does both:
 * the old block leaves the table at entry, for the same reason, and is settled
 * at return - counted as freed, or put back if realloc failed.
 *
 * How entry and return reach us depends on the kernel (user/probe/attach.c): one
 * session program that is told apart here, or an entry and a return program.
 *
 * A function that may throw can have no return probe: the unwinder cannot pass the
 * kernel's trampoline, and the program would end. Its entry is probed, and each ret
 * that it may reach (user/probe/exits.c).
 *
 * A trace that samples (bpf/sample.bpf.h) is done with most calls at their entry: neither is their
 * return seen, nor what the thread is doing.
 */

static __always_inline struct uf_process *current_process(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct uf_process *process = bpf_map_lookup_elem(&processes, &tgid);

	if (!process || process->flags & UF_PROC_WAITS_EXEC)
		return NULL;
	if (process->flags & UF_PROC_SHARED_MM) {
		/* In its parent's memory the parent's forks count. */
		uf_image_id id = process->image;
		struct uf_image *image = bpf_map_lookup_elem(&images, &id);

		if (!image)
			return NULL;
		tgid = image->tgid;
		process = bpf_map_lookup_elem(&processes, &tgid);
		if (process && process->image != id)
			return NULL;
	}
	return process;
}

/* What a hit costs is known by its kind (user/agent/cost_meter.h). */
static __always_inline void count_hit(__u64 cookie, bool is_foreign)
{
	if (is_foreign) {
		stats_add(foreign_cnt, 1);
		if (cookie & UF_COOKIE_STEPPED)
			stats_add(foreign_stepped_cnt, 1);
		return;
	}
	stats_add(event_cnt, 1);
	if (cookie & UF_COOKIE_STEPPED)
		stats_add(stepped_cnt, 1);
}

static __always_inline void count_return(bool is_foreign)
{
	if (is_foreign)
		stats_add(foreign_return_cnt, 1);
	else
		stats_add(return_cnt, 1);
}

static __always_inline bool file_is_on(__u64 cookie)
{
	return *(volatile __u8 *)&file_on[UF_COOKIE_FILE(cookie)];
}

/* Reads size and addresses of a call from its arguments. */
static __always_inline void call_read_arguments(struct pending_call *call, struct pt_regs *ctx,
						__u64 cookie)
{
	__u64 a = PT_REGS_PARM1(ctx), b = PT_REGS_PARM2(ctx), c = PT_REGS_PARM3(ctx);
	__u64 page = cfg_page_size_bytes, size;

	if (cookie & UF_COOKIE_HEAP_FIRST) {
		a = b;
		b = c;
		c = PT_REGS_PARM4(ctx);
	}

	/* A product that overflows is of no interest: that call fails. But it must not be taken for
	 * realloc(p, 0), which frees. */
	switch (call->func) {
	case UF_MALLOC:
		call->size_bytes = a;
		break;
	case UF_CALLOC:
		call->size_bytes = a * b;
		break;
	case UF_ALIGNED:
		call->size_bytes = b;
		break;
	case UF_POSIX_MEMALIGN:
		call->address = a;
		call->size_bytes = c;
		break;
	case UF_PVALLOC:
		call->size_bytes = (a + page - 1) & -page;
		break;
	case UF_XALLOCX:
		if (c)
			call->func = UF_XALLOCX_EXTRA;
		/* fallthrough */
	case UF_REALLOC:
	case UF_REALLOCF:
		call->address = a;
		call->size_bytes = b;
		break;
	case UF_REALLOCARRAY:
		call->address = a;
		size = b * c;
		/* Hidden from the compiler, which would make a 128-bit product of the check. */
		barrier_var(size);
		call->size_bytes = b && size / b != c ? ~0ULL : size;
		break;
	}
}

static __always_inline bool func_frees(__u32 func)
{
	return func >= UF_REALLOC && func < UF_FREE;
}

static __always_inline bool size_is_wanted(__u64 size_bytes)
{
	return size_bytes >= cfg_min_size_bytes && size_bytes <= cfg_max_size_bytes;
}

/* Does the call end the life of a block, which must be settled when it returns? */
static __always_inline bool call_takes_old(const struct pending_call *call)
{
	return func_frees(call->func) && call->address;
}

/* A trace that samples is done with most calls where they are entered. But with --mmap it must know
 * what an allocator maps inside them. */
static __always_inline bool ends_at_entry(void)
{
	return cfg_sampled && !cfg_mmap;
}

/* A call that has returned while the probes were out. What it was to resize is most likely gone. */
static __always_inline void leave_paused_call(struct thread_state *thread, __u32 i)
{
	struct pending_call *call = thread_call(thread, i);
	struct uf_block old;

	if (i >= thread->depth || call->is_unwanted)
		return;
	loss_add(CALL_PAUSED, 1);
	if (!call->has_old)
		return;
	old = call->old;
	site_remove_block(&old);
}

/* (No loop: see thread_abandon_calls.) */
__noinline int leave_past_window(struct thread_state *thread)
{
	if (!thread)
		return 0;
	_Static_assert(MAX_PENDING_CALLS == 4, "each is named here");
	leave_paused_call(thread, 0);
	leave_paused_call(thread, 1);
	leave_paused_call(thread, 2);
	leave_paused_call(thread, 3);
	thread->window = *(volatile __u32 *)&window;
	thread->depth = 0;
	thread->level = 0;
	return 0;
}

/* True if the return must be seen. (A call: entry and return share no stack of a session.) */
static __noinline bool alloc_enter(struct pt_regs *ctx)
{
	struct pending_call call = {}, *replaced = NULL, *slot;
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct uf_process *process;
	struct thread_state *thread;

	if (!file_is_on(cookie))
		return false;
	call.sp = PT_REGS_SP(ctx);
	call.ip = PT_REGS_IP(ctx);
	call.func = UF_COOKIE_FUNC(cookie);
	call_read_arguments(&call, ctx, cookie);
	if (call_takes_old(&call) || size_is_wanted(call.size_bytes))
		call.weight = sample(ctx, &call, cookie & UF_COOKIE_MAY_FORWARD);
	if (ends_at_entry() && !call.weight &&
	    !(call_takes_old(&call) && live_may_have(call.address))) {
		count_hit(cookie, false);
		return false;
	}
	process = current_process();
	count_hit(cookie, !process);
	if (!process)
		return false;
	call.image = process->image;
	call.may_throw = !!(cookie & UF_COOKIE_MAY_THROW);
	thread = thread_state_get(true);
	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return false;
	}
	if (!window_is_same(thread))
		leave_past_window(thread);
	thread->forwarded = 0;
	if (thread->depth && thread_call_is_nested(thread, ctx, &replaced))
		return false;

	if (call_takes_old(&call)) {
		struct uf_block_key key = {.address = call.address, .image = call.image};

		/* A tail call resizes the block that the jumping function has taken. */
		if (replaced && replaced->has_old && replaced->address == call.address) {
			call.old = replaced->old;
			call.has_old = 1;
			replaced->has_old = 0;
		} else if (live_take(process, &key, &call.old)) {
			call.has_old = 1;
		} else if (!cfg_sampled) {
			stats_add(unknown_free_cnt, 1);
		} else if (ends_at_entry() && !call.weight) {
			return false;
		}
	} else if (!call.weight) {
		if (!cfg_mmap)
			return false;
		/* What it maps is the allocator's all the same. */
		call.is_unwanted = 1;
	}
	if (replaced && replaced->has_old)
		pending_call_abandon(replaced);
	/* What is jumped to is not sampled by itself. */
	if (replaced && cfg_sampled && !call.weight) {
		call.weight = replaced->weight;
		call.is_unwanted = replaced->is_unwanted;
	}
	slot = thread_push_call(thread);
	call.level = slot->level;
	*slot = call;
	if (slot->may_throw)
		bpf_probe_read_user(&slot->return_address, sizeof(slot->return_address),
				    (void *)slot->sp);
	return true;
}

/*
 * The block that a call has returned; 0: none. Of xallocx, and the size that the block has now.
 */
static __always_inline __u64 call_result(struct pending_call *call, __u64 result)
{
	__u64 block = 0;

	switch (call->func) {
	case UF_POSIX_MEMALIGN:
		if (!(__u32)result &&
		    bpf_probe_read_user(&block, sizeof(block), (void *)call->address))
			loss_add(RESULT_UNREADABLE, 1);
		return block;
	case UF_XALLOCX:
	case UF_XALLOCX_EXTRA:
		if (result < call->size_bytes)
			return 0;
		/* Who asks for more if possible is told how much he got. */
		if (call->func == UF_XALLOCX_EXTRA)
			call->size_bytes = result;
		return call->address;
	}
	return result;
}

/* The old block of a realloc that has returned. */
static __always_inline void settle_old_block(struct pending_call *call, __u64 result)
{
	struct uf_block_key key = {.address = call->address, .image = call->image};

	if (!call->has_old)
		return;
	/* NULL means failure, except that glibc's realloc(p, 0) frees p. */
	if (result || !call->size_bytes || call->func == UF_REALLOCF)
		site_remove_block(&call->old);
	else
		live_put_back(&key, &call->old);
}

/* The call that the return, or at_ret the ret that comes next, is of. */
static __always_inline struct pending_call *returning_call(struct pt_regs *ctx,
							   struct thread_state *thread, bool at_ret,
							   __u64 *pc, __u64 *sp)
{
	__u64 in_slot = 0;

	*sp = PT_REGS_SP(ctx);
	*pc = PT_REGS_IP(ctx);
	if (!at_ret)
		return thread_pop_call(thread, *sp, 0, 0);
	if (bpf_probe_read_user(&in_slot, sizeof(in_slot), (void *)*sp) || !in_slot)
		return NULL;
	*pc = in_slot;
	if (in_slot == return_trampoline())
		*pc = original_return_address(*sp);
	*sp += RETURN_SP_DELTA;
	return thread_pop_call(thread, *sp, in_slot, *pc ? *pc : in_slot);
}

static __noinline int alloc_return(struct pt_regs *ctx, bool at_ret)
{
	struct thread_state *thread = thread_state_get(false);
	struct pending_call *call;
	struct uf_process *process;
	struct uf_block_key key = {};
	struct uf_block block = {};
	__u64 result, pc, sp;

	if (at_ret)
		stats_add(ret_cnt, 1);
	else
		count_return(!thread);
	if (!thread || !thread->depth || !window_is_same(thread))
		return 0;
	call = returning_call(ctx, thread, at_ret, &pc, &sp);
	if (!call || call->is_unwanted)
		return 0;
	result = call_result(call, PT_REGS_RC(ctx));
	settle_old_block(call, result);
	if (!result) {
		if (!call->has_old || call->size_bytes)
			stats_add(failed_alloc_cnt, call->weight);
		return 0;
	}
	process = current_process();
	if (!process || process->image != call->image || !size_is_wanted(call->size_bytes) ||
	    !call->weight)
		return 0;
	if (!site_at(ctx, thread, call->image, UF_SITE_MALLOC, pc, sp, &block.site))
		return 0;
	key.address = result;
	key.image = call->image;
	block.size_bytes = call->size_bytes;
	block.weight = call->weight;
	block.epoch = *(volatile __u32 *)&current_epoch;
	block.fork_gen = process->fork_gen;
	live_add(&key, &block);
	return 0;
}

/* Sessions: 0 has the return called, 1 skips it. */
SEC("uprobe")
int alloc_session(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_session_programs);
	/* At a return the program counter is the caller's. */
	if (bpf_get_func_ip(ctx) != PT_REGS_IP(ctx)) {
		alloc_return(ctx, false);
		return 0;
	}
	return !alloc_enter(ctx);
}

SEC("uprobe")
int alloc_entry(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_programs);
	alloc_enter(ctx);
	return 0;
}

SEC("uretprobe")
int alloc_exit(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_programs);
	alloc_return(ctx, false);
	return 0;
}

/* On a ret of a function that may throw, or of one that it may jump to. */
SEC("uprobe")
int alloc_ret(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_programs);
	alloc_return(ctx, true);
	return 0;
}

/* Is this free called by another, a wrapper of it or operator delete, that has been told of the
 * block? */
static __always_inline bool is_forwarded(const struct thread_state *thread, __u64 address, __u64 sp)
{
	return thread && thread->forwarded == address && sp <= thread->forwarded_sp;
}

/* True if the return is of interest. */
static __always_inline bool free_enter(struct pt_regs *ctx)
{
	struct uf_block_key key = {.address = PT_REGS_PARM1(ctx)};
	__u64 cookie = bpf_get_attach_cookie(ctx), sp = PT_REGS_SP(ctx);
	struct pending_call *replaced = NULL;
	struct uf_block block = {};
	struct uf_process *process;
	struct thread_state *thread = NULL;
	bool nested = false;

	/* Or some compilers read it later, through a pointer that the verifier does not allow. */
	barrier_var(sp);
	if (!key.address || !file_is_on(cookie))
		return false;
	if (ends_at_entry() && !live_may_have(key.address)) {
		count_hit(cookie, false);
		return false;
	}
	process = current_process();
	count_hit(cookie, !process);
	if (!process)
		return false;
	/* Where most blocks are unknown it does not matter who else knows of this one. */
	if (!ends_at_entry())
		thread = thread_state_get(cfg_mmap || cookie & UF_COOKIE_MAY_FORWARD);
	if (thread && thread->depth)
		nested = thread_call_is_nested(thread, ctx, &replaced);
	if (replaced && replaced->has_old)
		pending_call_abandon(replaced);
	/* What an allocation in progress frees of its own is in no table; what else, is. */
	key.image = process->image;
	if (live_take(process, &key, &block))
		site_remove_block(&block);
	else if (!cfg_sampled && !nested && !is_forwarded(thread, key.address, sp))
		stats_add(unknown_free_cnt, 1);
	if (thread) {
		thread->forwarded = key.address;
		thread->forwarded_sp = sp;
	}
	return cfg_mmap && thread && !nested && thread_enter_free(thread, sp);
}

static __always_inline void free_return(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_state_get(false);

	count_return(!thread);
	if (thread)
		thread_leave_free(thread, PT_REGS_SP(ctx));
}

SEC("uprobe")
int free_entry(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_programs);
	free_enter(ctx);
	return 0;
}

/* With --mmap: what is mapped inside free() is the allocator's. */
SEC("uretprobe")
int free_exit(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_programs);
	free_return(ctx);
	return 0;
}

SEC("uprobe")
int free_session(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_session_programs);
	if (bpf_get_func_ip(ctx) != PT_REGS_IP(ctx)) {
		free_return(ctx);
		return 0;
	}
	return !free_enter(ctx);
}

#endif
