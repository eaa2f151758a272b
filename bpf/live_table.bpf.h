/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_LIVE_TABLE_BPF_H
#define UNFREED_LIVE_TABLE_BPF_H

/*
 * Entries of the table of live blocks come and go by these functions, but for those of --kernel.
 * (bpf/live.bpf.h knows what they mean.)
 *
 * In a trace that samples nearly every free is of a block that is not in the table. Entries are
 * counted by a hash of their address, so that most look-ups end at a zero. Each is counted before
 * it is inserted and until it is deleted; one that replaces another is counted once more, which
 * costs look-ups in vain, no more.
 */
static __always_inline __u32 *address_cnt(__u64 address)
{
	/* Fibonacci hashing; blocks are aligned to 16 bytes. */
	return &address_cnts[(address >> 4) * 0x9e3779b97f4a7c15ULL >> (64 - ADDRESS_CNT_BITS)];
}

/* False: no process has a block there. */
static __always_inline bool live_may_have(__u64 address)
{
	return !cfg_sampled || *(volatile __u32 *)address_cnt(address);
}

static __always_inline int live_insert(const struct uf_block_key *key, const struct uf_block *block,
				       __u64 flags)
{
	int err;

	if (cfg_sampled)
		__sync_fetch_and_add(address_cnt(key->address), 1);
	err = bpf_map_update_elem(&live, key, block, flags);
	if (cfg_sampled && err)
		__sync_fetch_and_add(address_cnt(key->address), -1);
	return err;
}

/* False: it is not there. */
static __always_inline bool live_delete(const struct uf_block_key *key)
{
	if (bpf_map_delete_elem(&live, key))
		return false;
	if (cfg_sampled)
		__sync_fetch_and_add(address_cnt(key->address), -1);
	return true;
}

#endif
