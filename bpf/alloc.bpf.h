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

static __always_inline bool file_is_on(__u64 cookie)
{
	return *(volatile __u8 *)&file_on[UF_COOKIE_FILE(cookie)];
}

/* Reads size and addresses of a call from its arguments. */
static __always_inline void call_read_arguments(struct pending_call *call, struct pt_regs *ctx)
{
	__u64 a = PT_REGS_PARM1(ctx), b = PT_REGS_PARM2(ctx), c = PT_REGS_PARM3(ctx);
	__u64 page = cfg_page_size_bytes, size;

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
	case UF_REALLOC:
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
	return func == UF_REALLOC || func == UF_REALLOCARRAY;
}

static __always_inline bool size_is_wanted(__u64 size_bytes)
{
	return size_bytes >= cfg_min_size_bytes && size_bytes <= cfg_max_size_bytes;
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
	process = current_process();
	if (!process)
		return false;
	stats_add(event_cnt, 1);
	thread = thread_state_get(true);
	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return false;
	}
	call.sp = PT_REGS_SP(ctx);
	call.image = process->image;
	call.func = UF_COOKIE_FUNC(cookie);
	call_read_arguments(&call, ctx);
	if (thread->depth && thread_call_is_nested(thread, ctx, &replaced))
		return false;

	if (func_frees(call.func) && call.address) {
		struct uf_block_key key = {.address = call.address, .image = call.image};

		/* A tail call resizes the block that the jumping function has taken. */
		if (replaced && replaced->has_old && replaced->address == call.address) {
			call.old = replaced->old;
			call.has_old = 1;
			replaced->has_old = 0;
		} else if (live_take(process, &key, &call.old)) {
			call.has_old = 1;
		} else {
			stats_add(unknown_free_cnt, 1);
		}
	} else if (!size_is_wanted(call.size_bytes)) {
		if (!cfg_mmap)
			return false;
		/* What it maps is the allocator's all the same. */
		call.is_unwanted = 1;
	}
	if (replaced && replaced->has_old)
		pending_call_abandon(replaced);
	slot = thread_push_call(thread);
	call.level = slot->level;
	*slot = call;
	return true;
}

/* The old block of a realloc that has returned. */
static __always_inline void settle_old_block(struct pending_call *call, __u64 result)
{
	struct uf_block_key key = {.address = call->address, .image = call->image};

	if (!call->has_old)
		return;
	/* NULL means failure, except that glibc's realloc(p, 0) frees p. */
	if (result || !call->size_bytes)
		site_remove_block(&call->old);
	else
		live_put_back(&key, &call->old);
}

static __noinline int alloc_return(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_state_get(false);
	struct pending_call *call;
	struct uf_process *process;
	struct uf_block_key key = {};
	struct uf_block block = {};
	__u64 result = PT_REGS_RC(ctx);

	if (!thread || !thread->depth)
		return 0;
	call = thread_pop_call(thread, PT_REGS_SP(ctx));
	if (!call || call->is_unwanted)
		return 0;
	if (call->func == UF_POSIX_MEMALIGN) {
		bool failed = (__u32)result;

		result = 0;
		if (!failed && bpf_probe_read_user(&result, sizeof(result), (void *)call->address))
			loss_add(RESULT_UNREADABLE, 1);
	}
	settle_old_block(call, result);
	if (!result) {
		if (!call->has_old || call->size_bytes)
			stats_add(failed_alloc_cnt, 1);
		return 0;
	}
	process = current_process();
	if (!process || process->image != call->image || !size_is_wanted(call->size_bytes))
		return 0;
	if (!site_here(ctx, thread, call->image, UF_SITE_MALLOC, &block.site))
		return 0;
	key.address = result;
	key.image = call->image;
	block.size_bytes = call->size_bytes;
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
		alloc_return(ctx);
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
	alloc_return(ctx);
	return 0;
}

/* True if the return is of interest. */
static __always_inline bool free_enter(struct pt_regs *ctx)
{
	struct uf_block_key key = {.address = PT_REGS_PARM1(ctx)};
	struct pending_call *replaced = NULL;
	struct uf_block block = {};
	struct uf_process *process;
	struct thread_state *thread;
	bool nested = false;

	if (!key.address || !file_is_on(bpf_get_attach_cookie(ctx)))
		return false;
	process = current_process();
	if (!process)
		return false;
	stats_add(event_cnt, 1);
	thread = thread_state_get(cfg_mmap);
	if (thread && thread->depth)
		nested = thread_call_is_nested(thread, ctx, &replaced);
	if (replaced && replaced->has_old)
		pending_call_abandon(replaced);
	/* What an allocation in progress frees of its own is in no table; what else, is. */
	key.image = process->image;
	if (live_take(process, &key, &block))
		site_remove_block(&block);
	else if (!nested)
		stats_add(unknown_free_cnt, 1);
	return cfg_mmap && thread && !nested && thread_enter_free(thread, PT_REGS_SP(ctx));
}

static __always_inline void free_return(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_state_get(false);

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
