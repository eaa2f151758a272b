/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_LIVE_BPF_H
#define UNFREED_LIVE_BPF_H

/*
 * The table of live blocks, and what fork does to it.
 *
 * fork gives the child a copy of every live block. Copying the table would
 * stall the parent for as long as it has blocks; instead the child's sites are
 * copied (bpf/process.bpf.h) and its blocks are resolved when somebody frees
 * one:
 *
 *  - The child frees a block it inherited: it is not in the child's table but
 *    in the parent's, with a fork_gen from before the fork. The child's site
 *    is debited, and a tombstone in the child's table says that the child's
 *    copy is gone.
 *  - The parent frees a block that living children (heirs) inherited: each gets
 *    an entry of its own first, unless its tombstone (or a newer block at that
 *    address) is there. The parent's free is never the child's.
 *
 * fork_gen 0 in a handed-down entry makes it older than all forks of its new
 * owner, so grandchildren find it as well.
 *
 * Keys and values that come as arguments of a global function are copied to the
 * stack before a map helper gets them: before 6.2 the verifier takes no other
 * memory of unknown origin there.
 *
 * Errors of map updates are looked at as int: before 6.4 (kernel commit d7ba4cc900bf)
 * the upper half of what the helper returns is undefined when it fails.
 */

/* Hands the block at key->address, about to leave its image, to the heirs that have it too. */
__noinline int live_hand_down(struct uf_block_key *key, struct uf_block *block)
{
	struct uf_image *image;
	uf_image_id id;

	if (!key || !block)
		return 0;
	id = key->image;
	image = bpf_map_lookup_elem(&images, &id);
	if (!image)
		return 0;
	for (int i = 0; i < UF_MAX_HEIRS; i++) {
		struct uf_block copy = {
			.size_bytes = block->size_bytes,
			.epoch = block->epoch,
			.weight = block->weight,
		};
		struct uf_block_key heir_key = {.address = key->address};
		struct uf_image *heir;
		int err;

		heir_key.image = image->heirs[i];
		if (!heir_key.image)
			continue;
		heir = bpf_map_lookup_elem(&images, &heir_key.image);
		if (!heir || block->fork_gen >= heir->parent_fork_gen)
			continue;
		if (!site_of_heir(block->site, heir_key.image, &copy.site))
			continue;
		err = live_insert(&heir_key, &copy, BPF_NOEXIST);
		if (err == -E2BIG)
			loss_add(LIVE_TABLE_FULL, 1);
	}
	return 0;
}

/* Looks for key's block among those inherited from ancestors; *out has key->image's site. */
__noinline int live_find_inherited(struct uf_block_key *key, struct uf_block *out)
{
	struct uf_block_key ancestor_key = {};
	struct uf_image *image;
	uf_image_id id;

	if (!key || !out)
		return false;
	id = key->image;
	ancestor_key.address = key->address;
	image = bpf_map_lookup_elem(&images, &id);
	for (int i = 0; i < UF_MAX_LINEAGE; i++) {
		struct uf_block *block;
		__u32 fork_gen, site;

		if (!image || !image->parent)
			return false;
		fork_gen = image->parent_fork_gen;
		ancestor_key.image = image->parent;
		block = bpf_map_lookup_elem(&live, &ancestor_key);
		if (block) {
			/* A tombstone, or a block from after the fork, ends the search. */
			if (block->site == UF_SITE_TOMBSTONE || block->fork_gen >= fork_gen)
				return false;
			*out = *block;
			if (!site_of_heir(block->site, id, &site))
				return false;
			out->site = site;
			return true;
		}
		image = bpf_map_lookup_elem(&images, &ancestor_key.image);
	}
	if (image && image->parent)
		loss_add(LINEAGE_DEPTH, 1);
	return false;
}

/* False: there is no room (counted). */
static __always_inline bool live_put_tombstone(const struct uf_process *process,
					       const struct uf_block_key *key)
{
	struct uf_block tombstone = {.site = UF_SITE_TOMBSTONE, .fork_gen = process->fork_gen};

	if (!live_insert(key, &tombstone, BPF_ANY))
		return true;
	loss_add(TOMBSTONE_NO_ROOM, 1);
	return false;
}

static __always_inline bool live_take_own(struct uf_process *process, struct uf_block_key *key,
					  struct uf_block *out)
{
	struct uf_block *block = bpf_map_lookup_elem(&live, key);

	if (!block || block->site == UF_SITE_TOMBSTONE)
		return false;
	*out = *block;
	if (process->heir_cnt && out->fork_gen < process->fork_gen)
		live_hand_down(key, out);
	if (out->inherited_address) {
		live_put_tombstone(process, key);
		return true;
	}
	/* If two threads free it at once, one of them wins. */
	return live_delete(key);
}

static __always_inline bool live_take_inherited(struct uf_process *process,
						struct uf_block_key *key, struct uf_block *out)
{
	struct uf_block *own = bpf_map_lookup_elem(&live, key);

	if (own || !live_find_inherited(key, out))
		return false;
	/* Ours since before any fork of ours. */
	out->fork_gen = 0;
	out->inherited_address = 1;
	if (process->heir_cnt)
		live_hand_down(key, out);
	/* Without it the block would be found again whenever its address is used again. */
	return live_put_tombstone(process, key);
}

/*
 * Takes the block at key out of the table, before its address can be used
 * again. The site still counts it: site_remove_block, or live_put_back.
 * False: no such block is known.
 */
static __always_inline bool live_take(struct uf_process *process, struct uf_block_key *key,
				      struct uf_block *out)
{
	if (live_take_own(process, key, out))
		return true;
	if (!(process->flags & UF_PROC_INHERITS))
		return false;
	/* Between two looks the parent may free the block and hand it to us: the first again. */
	return live_take_inherited(process, key, out) || live_take_own(process, key, out);
}

/* Enters a new block and counts it at its site. */
__noinline int live_add(struct uf_block_key *at, struct uf_block *new)
{
	struct uf_block *old, gone, block;
	struct uf_block_key key;
	int err;

	if (!at || !new)
		return 0;
	key = *at;
	block = *new;
	err = live_insert(&key, &block, BPF_NOEXIST);
	if (err == -EEXIST) {
		old = bpf_map_lookup_elem(&live, &key);
		if (old) {
			gone = *old;
			if (gone.site == UF_SITE_TOMBSTONE) {
				block.inherited_address = 1;
			} else {
				/* The allocator handed it out again, so it was freed unseen. */
				block.inherited_address = gone.inherited_address;
				site_remove_block(&gone);
				loss_add(MISSED_FREE, 1);
			}
		}
		err = live_insert(&key, &block, BPF_ANY);
	}
	if (err) {
		loss_add(LIVE_TABLE_FULL, 1);
		return 0;
	}
	site_add_block(&block);
	return 0;
}

/* Undoes live_take: the block was not freed after all. */
__noinline int live_put_back(struct uf_block_key *at, struct uf_block *taken)
{
	struct uf_block_key key;
	struct uf_block block;

	if (!at || !taken)
		return 0;
	key = *at;
	block = *taken;
	/* Another block may have taken its place in a full table. */
	if (live_insert(&key, &block, BPF_ANY)) {
		loss_add(REALLOC_NO_ROOM, 1);
		site_remove_block(&block);
	}
	return 0;
}

#endif
