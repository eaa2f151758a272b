/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TRUTH_BPF_H
#define UNFREED_TRUTH_BPF_H

/*
 * For tests/stacks, and only with -DUNFREED_TRUTH: copies registers and stack
 * memory in the very hit in which a stack was walked, so that user space can
 * walk the same stack with another unwinder.
 */
#include "truth_sample.h"

/* By user space: takes every Nth hit and each stack that is new, but so many and no more. */
__u32 truth_every = 1;
__s64 truth_quota;
__u64 truth_hit_cnt;
__u64 truth_lost_cnt; /* samples that found no room */

/* struct truth_sample. Full: the sample is lost and counted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 26);
} truth_samples SEC(".maps");

static __always_inline void truth_copy_regs(struct truth_sample *sample, struct pt_regs *ctx)
{
	sample->regs[0] = ctx->ax;
	sample->regs[1] = ctx->dx;
	sample->regs[2] = ctx->cx;
	sample->regs[3] = ctx->bx;
	sample->regs[4] = ctx->si;
	sample->regs[5] = ctx->di;
	sample->regs[TRUTH_RBP] = ctx->bp;
	sample->regs[TRUTH_RSP] = ctx->sp;
	sample->regs[8] = ctx->r8;
	sample->regs[9] = ctx->r9;
	sample->regs[10] = ctx->r10;
	sample->regs[11] = ctx->r11;
	sample->regs[12] = ctx->r12;
	sample->regs[13] = ctx->r13;
	sample->regs[14] = ctx->r14;
	sample->regs[15] = ctx->r15;
	sample->regs[TRUTH_RIP] = ctx->ip;
}

static __always_inline void truth_copy_slots(struct truth_sample *sample)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct return_instance *instance;
	__u32 cnt = 0;

	sample->slot_cnt = 0;
	if (!task->utask)
		return;
	instance = task->utask->return_instances;
	for (int i = 0; instance && i < TRUTH_MAX_SLOTS; i++) {
		sample->slots[i].at = instance->stack;
		sample->slots[i].address = instance->orig_ret_vaddr;
		instance = instance->next;
		cnt++;
	}
	sample->slot_cnt = cnt;
}

static __always_inline void truth_copy_stack(struct truth_sample *sample, __u64 sp)
{
	__u64 at = sp & -TRUTH_PAGE_BYTES;
	__u32 pages = 0;

	sample->stack_at = at;
	for (int i = 0; i < TRUTH_PAGES; i++) {
		if (bpf_probe_read_user(&sample->stack[i * TRUTH_PAGE_BYTES], TRUTH_PAGE_BYTES,
					(void *)(at + i * TRUTH_PAGE_BYTES)))
			break;
		pages++;
	}
	sample->stack_bytes = pages * TRUTH_PAGE_BYTES;
}

/* The stack in thread->frames. */
static __always_inline void truth_take(struct pt_regs *ctx, struct thread_state *thread,
				       bool is_new, bool is_recalled)
{
	__u32 every = *(volatile __u32 *)&truth_every;
	struct truth_sample *sample;

	if (*(volatile __s64 *)&truth_quota <= 0 ||
	    (__sync_fetch_and_add(&truth_hit_cnt, 1) % every && !is_new) ||
	    __sync_fetch_and_add(&truth_quota, -1) <= 0)
		return;
	sample = bpf_ringbuf_reserve(&truth_samples, sizeof(*sample), 0);
	if (!sample) {
		__sync_fetch_and_add(&truth_lost_cnt, 1);
		return;
	}
	sample->time_ns = bpf_ktime_get_ns();
	sample->stack_id = thread->stack_id;
	sample->tgid = bpf_get_current_pid_tgid() >> 32;
	sample->frame_cnt = thread->frame_cnt;
	sample->end = thread->stack_end;
	sample->is_recalled = is_recalled;
	bpf_probe_read_kernel(sample->frames, sizeof(sample->frames), thread->frames);
	truth_copy_regs(sample, ctx);
	truth_copy_slots(sample);
	truth_copy_stack(sample, ctx->sp);
	bpf_ringbuf_submit(sample, 0);
}

/* The stack of a site that was not walked now. */
static __always_inline void truth_take_recalled(struct pt_regs *ctx, struct thread_state *thread,
						__u32 site_i)
{
	struct uf_site *site = bpf_map_lookup_elem(&sites, &site_i);
	struct uf_stack *stack;
	__u32 i;

	if (!site)
		return;
	i = site->stack;
	stack = bpf_map_lookup_elem(&stacks, &i);
	if (!stack)
		return;
	thread->stack_id = stack->id;
	thread->frame_cnt = stack->frame_cnt;
	thread->stack_end = stack->end;
	bpf_probe_read_kernel(thread->frames, sizeof(stack->frames), stack->frames);
	truth_take(ctx, thread, false, true);
}

#endif
