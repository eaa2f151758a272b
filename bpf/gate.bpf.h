/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_GATE_BPF_H
#define UNFREED_GATE_BPF_H

/*
 * What libunfreed-gate.so tells (include/gate_contract.h), in processes that were started with it: of the
 * blocks that it has sampled, and of them only. There are no probes on the allocator then, no returns
 * and no pending calls. unfreed_gate_alloc() is entered with the stack that the application's call
 * returns with, so the walk begins where alloc_return() begins it.
 */
#include "gate_contract.h"

static __noinline int gate_take_in(struct pt_regs *ctx)
{
	struct uf_block_key key = {.address = PT_REGS_PARM1(ctx)};
	struct uf_block block = {.size_bytes = PT_REGS_PARM2(ctx)};
	struct uf_process *process = current_process();
	__u64 interval = PT_REGS_PARM3(ctx), pc;
	struct thread_state *thread;

	if (!process)
		return 0;
	stats_add(event_cnt, 1);
	/* The interval is the process's word. */
	if (!size_is_wanted(block.size_bytes) || interval < UF_GATE_SAMPLE_MIN ||
	    interval > UF_GATE_SAMPLE_MAX)
		return 0;
	thread = thread_state_get(true);
	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return 0;
	}
	key.image = process->image;
	pc = return_address_at_entry(ctx);
	if (!site_at(ctx, thread, key.image, UF_SITE_MALLOC, pc, PT_REGS_SP(ctx) + RETURN_SP_DELTA,
		     &block.site))
		return 0;
	block.weight = sample_weight(block.size_bytes, interval);
	block.epoch = *(volatile __u32 *)&current_epoch;
	block.fork_gen = process->fork_gen;
	live_add(&key, &block);
	return 0;
}

static __always_inline bool gate_take_out(struct uf_process *process, __u64 address,
					  struct uf_block *out)
{
	struct uf_block_key key = {.address = address, .image = process->image};

	return live_take(process, &key, out);
}

/* A realloc has begun: what came of the last one is not known, if a signal handler left it so. */
static __always_inline void gate_resize(struct uf_process *process, __u64 address)
{
	struct thread_state *thread = thread_state_get(true);

	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return;
	}
	if (thread->resized_address)
		site_remove_block(&thread->resized);
	thread->resized_address = gate_take_out(process, address, &thread->resized) ? address : 0;
}

static __always_inline void gate_settle(struct uf_process *process, __u64 address, bool is_kept)
{
	struct uf_block_key key = {.address = address, .image = process->image};
	struct thread_state *thread = thread_state_get(false);

	if (!thread || !thread->resized_address || thread->resized_address != address)
		return;
	thread->resized_address = 0;
	if (is_kept)
		live_put_back(&key, &thread->resized);
	else
		site_remove_block(&thread->resized);
}

SEC("uprobe")
int gate_alloc(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_programs);
	if (file_is_on(bpf_get_attach_cookie(ctx)))
		gate_take_in(ctx);
	return 0;
}

SEC("uprobe")
int gate_tell(struct pt_regs *ctx)
{
	__u64 op = PT_REGS_PARM1(ctx), value = PT_REGS_PARM2(ctx);
	struct uf_process *process;
	struct uf_block block = {};

	refuse_private_stack(ctx, no_programs);
	if (!file_is_on(bpf_get_attach_cookie(ctx)))
		return 0;
	process = current_process();
	if (!process)
		return 0;
	stats_add(event_cnt, 1);
	if (op == UF_GATE_FREE) {
		if (gate_take_out(process, value, &block))
			site_remove_block(&block);
	} else if (op == UF_GATE_RESIZE) {
		gate_resize(process, value);
	} else if (op == UF_GATE_GONE || op == UF_GATE_KEPT) {
		gate_settle(process, value, op == UF_GATE_KEPT);
	} else if (op == UF_GATE_LOST && size_is_wanted(value)) {
		loss_add(GATE_FULL, 1);
	}
	return 0;
}

#endif
