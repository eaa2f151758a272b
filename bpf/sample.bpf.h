/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SAMPLE_BPF_H
#define UNFREED_SAMPLE_BPF_H

/*
 * Which allocations are recorded in a trace that samples (--sample): see include/sampling.h. Each
 * thread counts down the bytes to its next sample point.
 *
 * Only outermost calls make blocks (bpf/thread.bpf.h), but of a call that is not sampled nobody
 * sees the end, so a call inside it looks like one of its own. It gets sample points of its own;
 * they do not change those of the others, as the points are independent. Its stack has the
 * allocator function on it, and so it is left out of reports (user/agent/nested_calls.c).
 *
 * A call that is jumped to (glibc's reallocarray ends so, in realloc) cannot be told by its stack.
 * But it has the stack pointer and the return address of the call before it, the head, which was to
 * another function: two calls from one place in the program go to the same one. (Unless it calls by
 * a pointer that takes turns.) Then the head's sample points are those that count.
 */

struct sampler {
	__u64 until_bytes;    /* to the next sample point */
	__u64 interval_bytes; /* that it was drawn with; 0: not yet */
	/* The last call to a function that may end with a jump to another. */
	__u64 head_ip, head_sp, head_return;
};

/* Inserted by a thread's first call; gone with the task. Small, not to be paged in for a countdown. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sampler);
} samplers SEC(".maps");

__noinline int sampler_draw(struct sampler *sampler, __u64 interval_bytes)
{
	if (!sampler)
		return 0;
	sampler->interval_bytes = interval_bytes;
	sampler->until_bytes = uf_sample_distance(interval_bytes, bpf_get_prandom_u32());
	return 0;
}

/* A function of its own: the verifier looks at the arithmetic once. */
__noinline __u32 sample_weight(__u64 size_bytes, __u64 interval_bytes)
{
	return uf_sample_weight(size_bytes, interval_bytes, bpf_get_prandom_u32());
}

/* The weight of a block of size_bytes that is about to be allocated; 0: it is not sampled. */
static __always_inline __u32 sampler_pass(struct sampler *sampler, __u64 size_bytes,
					  __u64 interval)
{
	/* What is left of a distance is distributed as a new one, so either may be taken. */
	if (sampler->interval_bytes != interval)
		sampler_draw(sampler, interval);
	size_bytes += !size_bytes;
	if (sampler->until_bytes >= size_bytes) {
		sampler->until_bytes -= size_bytes;
		return 0;
	}
	sampler_draw(sampler, interval);
	return sample_weight(size_bytes, interval);
}

/* Was the call jumped to by the head? If not it may be the next head. */
static __always_inline bool sampler_is_tail(struct pt_regs *ctx, struct sampler *sampler,
					    const struct pending_call *call, bool may_forward)
{
	__u64 return_address = return_address_at_entry(ctx);

	if (!return_address)
		return false;
	if (sampler->head_sp == call->sp && sampler->head_return == return_address &&
	    sampler->head_ip != call->ip)
		return true;
	if (may_forward) {
		sampler->head_ip = call->ip;
		sampler->head_sp = call->sp;
		sampler->head_return = return_address;
	}
	return false;
}

/* The weight of the block that a call is about to return; 0: it is not sampled. */
static __always_inline __u32 sample(struct pt_regs *ctx, const struct pending_call *call,
				    bool may_forward)
{
	__u64 interval = *(volatile __u64 *)&sample_interval_bytes;
	struct sampler *sampler;
	__u32 weight;

	if (!cfg_sampled)
		return 1;
	if (!interval)
		return 0;
	sampler = bpf_task_storage_get(&samplers, bpf_get_current_task_btf(), 0,
				       BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!sampler) {
		loss_add(THREAD_STATE, 1);
		return 0;
	}
	weight = sampler_pass(sampler, call->size_bytes, interval);
	if ((weight || may_forward) && sampler_is_tail(ctx, sampler, call, may_forward))
		return 0;
	return weight;
}

#endif
