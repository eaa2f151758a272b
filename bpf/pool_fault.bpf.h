/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_POOL_FAULT_BPF_H
#define UNFREED_POOL_FAULT_BPF_H

/*
 * Pools of an interpreter whose function that opens them could not be found (bpf/pool.bpf.h):
 * CPython 3.8 has none, and not every build can be decoded.
 *
 * The first thing that is written into a fresh pool is its header, by the interpreter's own code,
 * and where the memory is fresh that is a page fault: of a write, of a page that is not there, at
 * the start of a pool. So is many another write. Whether it was a pool can only be seen
 * afterwards: a thread's fault is kept until its next one, and counts if there is the header of a
 * pool by then. A pool that is opened again in memory that is there already is not seen; that it
 * was, shows if it has blocks of another size then.
 *
 * Loaded only when it is needed: every page fault of the machine comes this way.
 */

#define FAULT_PRESENT 1 /* in the error code: the page is there, but may not be written */
#define FAULT_WRITE   2

/* A pool that is charged already came back from swap, or was moved to another node. */
static __always_inline bool is_charged(const struct uf_block_key *key)
{
	__u32 *known = bpf_map_lookup_elem(&pool_index, key);
	struct uf_pool *pool = known ? bpf_map_lookup_elem(&pools, known) : NULL;

	return pool && *(volatile __u64 *)&pool->tenant;
}

static __always_inline void count_last_fault(struct thread_state *thread, uf_image_id image)
{
	struct uf_block_key key = {.address = thread->fault_address, .image = image};
	struct uf_block block = thread->fault_pool;
	int size_class;

	if (!key.address || thread->fault_image != image)
		return;
	thread->fault_address = 0;
	size_class = pool_class_if_used(key.address, block.size_bytes);
	if (size_class >= 0 && !is_charged(&key))
		pool_open(&key, &block, size_class, 0);
}

SEC("tp_btf/page_fault_user")
int BPF_PROG(pool_fault, unsigned long address, struct pt_regs *regs, unsigned long error_code)
{
	struct uf_process *process;
	struct thread_state *thread;
	struct uf_python *python;
	__u64 ip = PT_REGS_IP(regs);
	struct uf_block block = {};
	uf_image_id image;

	if ((error_code & (FAULT_PRESENT | FAULT_WRITE)) != FAULT_WRITE)
		return 0;
	process = current_process();
	if (!process)
		return 0;
	image = process->image;
	python = bpf_map_lookup_elem(&pythons, &image);
	if (!python || ip < python->fault_code_start || ip >= python->fault_code_end)
		return 0;
	block.size_bytes = python->fault_pool_bytes;
	/* The header is what is written first. */
	if (!size_is_wanted(block.size_bytes) ||
	    (address & (block.size_bytes - 1)) >= sizeof(struct uf_pool_header))
		return 0;
	thread = thread_state_get(true);
	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return 0;
	}
	stats_add(call_cnt, 1);
	count_last_fault(thread, image);
	thread->is_interrupted = 1;
	if (site_here(regs, thread, image, UF_SITE_PYMALLOC, &block.site)) {
		block.epoch = *(volatile __u32 *)&current_epoch;
		thread->fault_pool = block;
		thread->fault_image = image;
		thread->fault_address = address & -block.size_bytes;
	}
	thread->is_interrupted = 0;
	return 0;
}

#endif
