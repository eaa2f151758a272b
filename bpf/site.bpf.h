/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SITE_BPF_H
#define UNFREED_SITE_BPF_H

/*
 * Sites: the counters of one stack in one image. Atomic adds only, so that any
 * number of CPUs may count at one site; nothing is ever reset while its image
 * lives.
 */

/* A new site in the table, not yet in use by anybody else. False: full (counted). */
static __always_inline bool site_new(const struct uf_site_key *key, __u32 stack, __u32 kind,
				     __u32 *out)
{
	struct uf_site *site;
	__u32 *known, i;

	if (!index_take(&site_spares, &next_site, cfg_max_sites, &i))
		goto full;
	site = bpf_map_lookup_elem(&sites, &i);
	if (!site)
		goto full;
	site->stack_id = key->stack_id;
	site->image = key->image;
	site->stack = stack;
	site->kind = kind;
	if (!bpf_map_update_elem(&site_index, key, &i, BPF_NOEXIST)) {
		/* A full barrier: whoever sees READY sees the rest. */
		__sync_lock_test_and_set(&site->state, UF_SITE_READY);
		*out = i;
		return true;
	}
	bpf_map_push_elem(&site_spares, &i, 0);
	known = bpf_map_lookup_elem(&site_index, key);
	if (known) {
		*out = *known;
		return true;
	}
full:
	loss_add(SITE_TABLE_FULL, 1);
	return false;
}

/* The site of the stack that has been walked. False: it could not be kept (counted). */
static __always_inline bool site_of_walk(struct pt_regs *ctx, struct thread_state *thread,
					 __u32 kind, __u32 *out)
{
	struct uf_site_key key = {.image = thread->walk.image};
	__u32 *known, stack = 0;

	if (kind)
		thread->stack_id = hash_mix(thread->stack_id, kind) | 1;
	key.stack_id = thread->stack_id;
	known = bpf_map_lookup_elem(&site_index, &key);
#ifdef UNFREED_TRUTH
	truth_take(ctx, thread, !known, false);
#endif
	if (known) {
		*out = *known;
		return true;
	}
	return stack_intern(thread, key.image, &stack) && site_new(&key, stack, kind, out);
}

/*
 * The site of the stack that thread is at when it has returned to pc. False: it could not be kept
 * (counted).
 */
static __always_inline bool site_at(struct pt_regs *ctx, struct thread_state *thread,
				    uf_image_id image, __u32 kind, __u64 pc, __u64 sp, __u32 *out)
{
	__s64 recalled;

	stack_begin(thread, image, pc, sp, PT_REGS_FP(ctx));
	recalled = stack_recall(thread, kind);
	if (recalled >= 0) {
		*out = recalled;
#ifdef UNFREED_TRUTH
		truth_take_recalled(ctx, thread, *out);
#endif
		return true;
	}
	stack_walk(thread);
	if (!site_of_walk(ctx, thread, kind, out))
		return false;
	stack_keep(thread, kind, *out);
	return true;
}

/* The same of the stack that thread is at now. */
static __always_inline bool site_here(struct pt_regs *ctx, struct thread_state *thread,
				      uf_image_id image, __u32 kind, __u32 *out)
{
	return site_at(ctx, thread, image, kind, PT_REGS_IP(ctx), PT_REGS_SP(ctx), out);
}

/* The cohort that holds the blocks of an epoch. */
static __always_inline struct uf_cohort *site_cohort(struct uf_site *site, __u32 epoch)
{
	__u32 age = *(volatile __u32 *)&current_epoch - epoch;
	__u32 i = age < UF_EPOCH_RING - UF_EPOCH_RING_GUARD ? epoch_cohort[epoch % UF_EPOCH_RING]
							 : oldest_cohort;

	return &site->cohorts[i & (UF_MAX_COHORTS - 1)];
}

static __always_inline struct uf_site *site_add(const struct uf_block *block, __u64 bytes, __u64 cnt)
{
	__u32 i = block->site;
	struct uf_site *site = bpf_map_lookup_elem(&sites, &i);
	struct uf_cohort *cohort;

	if (!site)
		return NULL;
	cohort = site_cohort(site, block->epoch);
	__sync_fetch_and_add(&cohort->live_bytes, bytes);
	__sync_fetch_and_add(&cohort->live_cnt, cnt);
	__sync_fetch_and_add(&site->alloc_bytes, bytes);
	__sync_fetch_and_add(&site->alloc_cnt, cnt);
	return site;
}

static __always_inline struct uf_site *site_remove(const struct uf_block *block, __u64 bytes,
						   __u64 cnt)
{
	__u32 i = block->site;
	struct uf_site *site = bpf_map_lookup_elem(&sites, &i);
	struct uf_cohort *cohort;

	if (!site)
		return NULL;
	cohort = site_cohort(site, block->epoch);
	__sync_fetch_and_add(&cohort->live_bytes, -bytes);
	__sync_fetch_and_add(&cohort->live_cnt, -cnt);
	__sync_fetch_and_add(&site->free_bytes, bytes);
	__sync_fetch_and_add(&site->free_cnt, cnt);
	return site;
}

/* What is never sampled. The block counts as cnt: kernel pages are counted one by one. */
static __always_inline void site_add_counted(const struct uf_block *block, __u64 cnt)
{
	site_add(block, block->size_bytes, cnt);
}

static __always_inline void site_remove_counted(const struct uf_block *block, __u64 cnt)
{
	site_remove(block, block->size_bytes, cnt);
}

/* What a block adds to the variance of its site: weight * (weight - 1), and that of its bytes. */
static __always_inline __u64 count_variance(const struct uf_block *block)
{
	__u64 weight = block->weight;

	return weight * (weight - 1);
}

static __always_inline __u64 bytes_variance(const struct uf_block *block)
{
	__u64 weight = block->weight, size = block->size_bytes;

	return (size * weight >> UF_VARIANCE_SHIFT / 2) *
	       (size * (weight - 1) >> UF_VARIANCE_SHIFT / 2);
}

/* A block of the allocator's. */
static __always_inline void site_add_block(const struct uf_block *block)
{
	struct uf_site *site;

	if (!cfg_sampled) {
		site_add_counted(block, 1);
		return;
	}
	site = site_add(block, block->size_bytes * block->weight, block->weight);
	if (!site)
		return;
	__sync_fetch_and_add(&site->sampled.alloc_cnt, 1);
	__sync_fetch_and_add(&site->sampled.live_bytes, block->size_bytes);
	__sync_fetch_and_add(&site->sampled.bytes_variance, bytes_variance(block));
	__sync_fetch_and_add(&site->sampled.cnt_variance, count_variance(block));
}

static __always_inline void site_remove_block(const struct uf_block *block)
{
	struct uf_site *site;

	if (!cfg_sampled) {
		site_remove_counted(block, 1);
		return;
	}
	site = site_remove(block, block->size_bytes * block->weight, block->weight);
	if (!site)
		return;
	__sync_fetch_and_add(&site->sampled.free_cnt, 1);
	__sync_fetch_and_add(&site->sampled.live_bytes, -block->size_bytes);
	__sync_fetch_and_add(&site->sampled.bytes_variance, -bytes_variance(block));
	__sync_fetch_and_add(&site->sampled.cnt_variance, -count_variance(block));
}

/* The site of image with the stack of another image's site. False: there is none. */
static __always_inline bool site_of_heir(__u32 site_i, uf_image_id image, __u32 *out)
{
	struct uf_site *site = bpf_map_lookup_elem(&sites, &site_i);
	struct uf_site_key key = {.image = image};
	__u32 *known;

	if (!site)
		return false;
	key.stack_id = site->stack_id;
	known = bpf_map_lookup_elem(&site_index, &key);
	if (known)
		*out = *known;
	return known;
}

#endif
