/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_POOL_BPF_H
#define UNFREED_POOL_BPF_H

/*
 * CPython's pools of small objects.
 *
 * Objects of up to 512 bytes come from pools of 4 or 16 KiB, each for blocks of
 * one size, cut from arenas that are mapped: no allocator function is called.
 * A probe on every small object would cost more than the program; one on the
 * function that opens a pool (allocate_from_new_pool in CPython) is hit once in
 * tens to a thousand objects. So memory is accounted by pool: charged in full
 * to the stack that opened it. That a pool was closed nobody calls a function
 * for; user space looks (user/agent/pools.c), and a pool that is opened again
 * was closed before.
 *
 * Where that function is may have been found by decoding. So what it returns is
 * believed only if it is the first block of a pool that has no other in use; if
 * that is not so time and again, the probe is on something else and is given up.
 *
 * The function may allocate (an arena, the table of arenas): those calls are
 * probed as any other. Nothing here touches a thread's pending calls.
 */

/* The size class of the pool that address is the only block of; -1: it is not. */
static __always_inline int pool_class_if_new(__u64 address, __u32 pool_bytes)
{
	__u64 at = address & -(__u64)pool_bytes;
	struct uf_pool_header header;
	__u32 block_bytes, offset = address - at;

	if (bpf_probe_read_user(&header, sizeof(header), (void *)at) || header.block_cnt != 1 ||
	    header.size_class >= UF_POOL_SIZE_CLASSES || offset < sizeof(header))
		return -1;
	block_bytes = UF_POOL_BLOCK_BYTES(&header);
	if (header.max_next_offset + block_bytes != pool_bytes || header.next_offset > pool_bytes ||
	    (offset - sizeof(header)) % block_bytes)
		return -1;
	return header.size_class;
}

/* An index for a pool that has none. False: there is no room (counted). */
static __always_inline bool pool_new(const struct uf_block_key *key, __u32 *out)
{
	struct uf_pool *pool;
	__u32 i;

	if (!index_take(&pool_spares, &next_pool, UF_MAX_POOLS, &i))
		goto full;
	pool = bpf_map_lookup_elem(&pools, &i);
	if (!pool)
		goto full;
	pool->image = key->image;
	pool->address = key->address;
	/* An allocator opens a pool in one thread at a time: nobody else enters this one. */
	if (!bpf_map_update_elem(&pool_index, key, &i, BPF_NOEXIST)) {
		*out = i;
		return true;
	}
	pool->address = 0;
	bpf_map_push_elem(&pool_spares, &i, 0);
full:
	loss_add(POOL_TABLE_FULL, 1);
	return false;
}

static __always_inline void pool_debit(const struct uf_pool *pool, __u64 tenant)
{
	struct uf_block block = {
		.size_bytes = pool->bytes,
		.site = UF_POOL_SITE(tenant),
		.epoch = pool->epoch,
	};

	site_remove_counted(&block, 1);
}

__u64 next_pool_serial;

/* Charges the pool at key to block's site, in place of whoever had it before. True: it is. */
__noinline int pool_open(struct uf_block_key *at, struct uf_block *opened, __u32 size_class,
			 __u64 left)
{
	struct uf_block_key key;
	struct uf_pool *pool;
	struct uf_block block;
	__u64 tenant;
	__u32 *known, i = 0;

	if (!at || !opened)
		return false;
	key = *at;
	block = *opened;
	if (block.site >= (1u << UF_POOL_SITE_BITS) - 1)
		return false;
	known = bpf_map_lookup_elem(&pool_index, &key);
	if (known)
		i = *known;
	else if (!pool_new(&key, &i))
		return false;
	pool = bpf_map_lookup_elem(&pools, &i);
	if (!pool)
		return false;
	tenant = __sync_lock_test_and_set(&pool->tenant, 0);
	if (tenant)
		pool_debit(pool, tenant);
	pool->bytes = block.size_bytes;
	pool->epoch = block.epoch;
	pool->size_class = size_class;
	pool->left = left;
	pool->opened_ns = bpf_ktime_get_ns();
	site_add_counted(&block, 1);
	tenant = __sync_fetch_and_add(&next_pool_serial, 1);
	__sync_lock_test_and_set(&pool->tenant, UF_POOL_TENANT(block.site, tenant));
	return true;
}

/* ---- who keeps what is in a pool ---- */

/*
 * A pool is opened when the others are full: by whoever wants one more block just then. That may
 * be a line which frees all it has a moment later, when others that keep theirs have put them into
 * the same pool. So the block that a pool was opened for is watched while it is young, at calls of
 * malloc() and free(), as many pools at a time as the time since the last call allows. If it is
 * seen on the pool's list of free blocks, its line does not keep what it allocates; user space then
 * gives the pool to a line that does (user/agent/pool_keepers.c). The block may have been freed and
 * handed out again between two looks: that is missed.
 */
#define YOUNG_NS         2000000000ULL
#define LOOK_EACH_NS     4000 /* one pool in so much time; it takes 100 ns */
#define FREE_LIST_LOOKED 8   /* blocks, and as many as were freed since the last look */
#define FREE_LIST_MAX    256
#define PY_TYPE_AT       8     /* in an object: its type */
#define MAX_SMALL        65535 /* less than any pointer */

static __always_inline void young_pool_add(const struct uf_block_key *key, __u64 first)
{
	static const struct young_pools none = {};
	__u32 *index = bpf_map_lookup_elem(&pool_index, key);
	struct young_pools *young;
	uf_image_id image = key->image;
	struct young_pool *slot;
	struct uf_pool *pool;

	pool = index ? bpf_map_lookup_elem(&pools, index) : NULL;
	if (!pool)
		return;
	young = bpf_map_lookup_elem(&young_pools, &image);
	if (!young) {
		bpf_map_update_elem(&young_pools, &image, &none, BPF_NOEXIST);
		young = bpf_map_lookup_elem(&young_pools, &image);
		if (!young)
			return;
	}
	slot = &young->pools[young->next++ % YOUNG_POOLS];
	slot->tenant = 0;
	slot->first = first;
	slot->index = *index;
	slot->block_cnt = 1;
	slot->tenant = *(volatile __u64 *)&pool->tenant;
}

/* Is the block among the first of a list of free ones, the newest first? */
__noinline int is_on_free_list(__u64 block, __u64 list, __u32 depth)
{
	for (__u32 i = 0; i < FREE_LIST_MAX; i++) {
		if (!list || i >= depth)
			return false;
		if (list == block)
			return true;
		if (bpf_probe_read_user(&list, sizeof(list), (void *)list))
			return false;
	}
	return false;
}

/* Is there a type whose type is "type", as the built-in ones are? */
static __always_inline bool is_plain_type(__u64 address)
{
	__u64 meta, meta_meta;

	return !bpf_probe_read_user(&meta, sizeof(meta), (void *)(address + PY_TYPE_AT)) &&
	       !bpf_probe_read_user(&meta_meta, sizeof(meta_meta), (void *)(meta + PY_TYPE_AT)) &&
	       meta == meta_meta;
}

/*
 * Is in the block something that nobody holds? CPython keeps some freed objects for who wants one
 * next (free lists: of dicts and of their keys 80 each), and the pool knows nothing of that. What
 * looks otherwise is held.
 */
static __noinline bool is_unheld(__u64 block, __u32 block_bytes)
{
	/* Objects: a count of references and a type; before it, if collected, two links. */
	__u64 words[4];

	if (block_bytes < sizeof(words) || bpf_probe_read_user(words, sizeof(words), (void *)block))
		return false;
	/* A float in its free list has a link in place of the type. */
	if (block_bytes == sizeof(words))
		return !words[0] && words[1] > MAX_SMALL;
	if (!words[2] && words[3])
		return is_plain_type(words[3]);
	/* Keys: a count of references, then 8 (up to 3.10) or log2 of 8 twice and a kind. */
	return !words[0] && (words[1] == 8 ||
			     ((__u16)words[1] == 0x0303 && (__u8)(words[1] >> 16) <= 2));
}

/* Is the pool still what it was opened as, and held by who opened it? */
static __always_inline bool young_pool_is_left(struct young_pool *slot, const struct uf_pool *pool,
					       __u64 now, bool *is_gone)
{
	struct uf_pool_header header;
	__u32 freed;

	*is_gone = now - pool->opened_ns > YOUNG_NS ||
		   bpf_probe_read_user(&header, sizeof(header),
				       (void *)(slot->first & -(__u64)pool->bytes)) ||
		   header.size_class != pool->size_class || !header.block_cnt;
	if (*is_gone)
		return false;
	freed = header.block_cnt < slot->block_cnt ? slot->block_cnt - header.block_cnt : 0;
	slot->block_cnt = header.block_cnt;
	return is_unheld(slot->first, UF_POOL_BLOCK_BYTES(&header)) ||
	       is_on_free_list(slot->first, header.free_block, FREE_LIST_LOOKED + freed);
}

/* Looks at the next young pools of the process. */
static __always_inline void young_pools_look(uf_image_id image)
{
	struct young_pools *young = bpf_map_lookup_elem(&young_pools, &image);
	__u64 now, cnt;

	if (!young)
		return;
	now = bpf_ktime_get_ns();
	cnt = 1 + (now - young->looked_ns) / LOOK_EACH_NS;
	young->looked_ns = now;
	for (__u32 n = 0; n < YOUNG_POOLS; n++) {
		struct young_pool *slot = &young->pools[young->turn++ % YOUNG_POOLS];
		__u64 tenant = *(volatile __u64 *)&slot->tenant;
		struct uf_pool *pool;
		__u32 i = slot->index;
		bool is_gone;

		if (n >= cnt)
			break;
		if (!tenant)
			continue;
		pool = bpf_map_lookup_elem(&pools, &i);
		if (!pool)
			return;
		if (*(volatile __u64 *)&pool->tenant != tenant) {
			slot->tenant = 0;
			continue;
		}
		if (young_pool_is_left(slot, pool, now, &is_gone)) {
			pool->left = tenant;
			slot->tenant = 0;
		} else if (is_gone) {
			slot->tenant = 0;
		}
	}
}

/* At malloc() and free(), beside the program that counts. */
SEC("uprobe")
int pool_watch(struct pt_regs *ctx)
{
	struct uf_process *process = current_process();

	refuse_private_stack(ctx, no_programs);
	if (process)
		young_pools_look(process->image);
	return 0;
}

#define MAX_UNSOUND_POOLS 64

/* By file, which the cookie tells. */
__u32 unsound_pool_cnt[UF_MAX_POOL_FILES];
__u32 pools_are_off[UF_MAX_POOL_FILES]; /* the probe is not where it should be: user space takes it out */

static __always_inline __u32 pool_file(struct pt_regs *ctx)
{
	return bpf_get_attach_cookie(ctx) & (UF_MAX_POOL_FILES - 1);
}

/* True if the return must be seen. */
static __always_inline bool pool_enter(struct pt_regs *ctx)
{
	return !*(volatile __u32 *)&pools_are_off[pool_file(ctx)] && current_process();
}

static __always_inline void pool_is_unsound(struct pt_regs *ctx)
{
	__u32 file = pool_file(ctx);

	loss_add(POOL_UNSOUND, 1);
	if (__sync_fetch_and_add(&unsound_pool_cnt[file], 1) >= MAX_UNSOUND_POOLS)
		pools_are_off[file] = 1;
}

static __noinline int pool_return(struct pt_regs *ctx)
{
	__u64 result = PT_REGS_RC(ctx);
	struct uf_process *process;
	struct thread_state *thread;
	struct uf_block_key key = {};
	struct uf_block block = {};
	int size_class;

	if (!result || !pool_enter(ctx))
		return 0;
	process = current_process();
	if (!process)
		return 0;
	stats_add(event_cnt, 1);
	/* 3.10 and later have pools of 16 KiB, unless built without the radix tree of arenas. */
	block.size_bytes = 16384;
	size_class = pool_class_if_new(result, 16384);
	if (size_class < 0) {
		block.size_bytes = 4096;
		size_class = pool_class_if_new(result, 4096);
	}
	if (size_class < 0) {
		pool_is_unsound(ctx);
		return 0;
	}
	key.address = result & -block.size_bytes;
	key.image = process->image;
	thread = thread_state_get(true);
	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return 0;
	}
	if (!size_is_wanted(block.size_bytes) ||
	    !site_here(ctx, thread, key.image, UF_SITE_PYMALLOC, &block.site))
		return 0;
	block.epoch = *(volatile __u32 *)&current_epoch;
	if (pool_open(&key, &block, size_class, 0))
		young_pool_add(&key, result);
	return 0;
}

/* Sessions: 0 has the return called, 1 skips it. */
SEC("uprobe")
int pool_session(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_session_programs);
	if (bpf_get_func_ip(ctx) != PT_REGS_IP(ctx)) {
		pool_return(ctx);
		return 0;
	}
	return !pool_enter(ctx);
}

SEC("uretprobe")
int pool_exit(struct pt_regs *ctx)
{
	refuse_private_stack(ctx, no_programs);
	pool_return(ctx);
	return 0;
}

/* The size class of the pool at address if it is in use; -1: it is not, or none. */
static __always_inline int pool_class_if_used(__u64 address, __u32 pool_bytes)
{
	struct uf_pool_header header;
	__u32 block_bytes;

	if (bpf_probe_read_user(&header, sizeof(header), (void *)address) ||
	    header.size_class >= UF_POOL_SIZE_CLASSES || !header.block_cnt)
		return -1;
	block_bytes = UF_POOL_BLOCK_BYTES(&header);
	if (header.max_next_offset + block_bytes != pool_bytes || header.next_offset > pool_bytes ||
	    header.block_cnt > pool_bytes / block_bytes)
		return -1;
	return header.size_class;
}

/* ---- exit ---- */

struct pool_look {
	uf_image_id image;
};

/* As user/agent/pools.c looks. */
static long look_at_pool(void *map, struct uf_block_key *key, __u32 *index, struct pool_look *look)
{
	struct uf_pool *pool, seen;
	__u32 i = *index;

	if (key->image != look->image)
		return 0;
	pool = bpf_map_lookup_elem(&pools, &i);
	if (!pool)
		return 0;
	seen.tenant = *(volatile __u64 *)&pool->tenant;
	if (!seen.tenant)
		return 0;
	seen.bytes = pool->bytes;
	seen.epoch = pool->epoch;
	if (pool_class_if_used(key->address, seen.bytes) == (int)pool->size_class)
		return 0;
	if (__sync_val_compare_and_swap(&pool->tenant, seen.tenant, 0) == seen.tenant)
		pool_debit(&seen, seen.tenant);
	return 0;
}

/*
 * At _exit(): the last moment at which the pools of a process that ends in good order can be
 * looked at. The interpreter has freed what it frees by then, and nobody has seen it.
 */
SEC("uprobe")
int pools_at_exit(struct pt_regs *ctx)
{
	struct uf_process *process = current_process();
	struct pool_look look = {};

	refuse_private_stack(ctx, no_programs);
	if (!process)
		return 0;
	look.image = process->image;
	if (bpf_map_lookup_elem(&pythons, &look.image))
		bpf_for_each_map_elem(&pool_index, look_at_pool, &look, 0);
	return 0;
}

/* ---- fork ---- */

struct site_copy {
	uf_image_id from, to;
};

/* The child's site with the stack of the parent's. */
static __always_inline bool pool_site_of_child(__u32 site_i, uf_image_id image, __u32 *out)
{
	struct uf_site *site = bpf_map_lookup_elem(&sites, &site_i);
	struct uf_site_key key = {.image = image};

	if (!site)
		return false;
	if (site_of_heir(site_i, image, out))
		return true;
	key.stack_id = site->stack_id;
	return site_new(&key, site->stack, UF_SITE_PYMALLOC, out);
}

/*
 * Copies one pool of the parent's for the child. Unlike blocks, pools are few, and unlike blocks'
 * theirs, a pool's end is seen in memory that each of the two has of its own.
 */
static long copy_pool(void *map, struct uf_block_key *key, __u32 *index, struct site_copy *copy)
{
	struct uf_block_key child_key = {.address = key->address};
	struct uf_block block = {};
	struct uf_pool *pool;
	struct uf_site *site;
	__u32 i = *index;
	__u64 tenant;

	if (key->image != copy->from)
		return 0;
	pool = bpf_map_lookup_elem(&pools, &i);
	if (!pool)
		return 0;
	block.size_bytes = pool->bytes;
	block.epoch = pool->epoch;
	tenant = *(volatile __u64 *)&pool->tenant;
	child_key.image = copy->to;
	if (!tenant || !pool_site_of_child(UF_POOL_SITE(tenant), copy->to, &block.site) ||
	    !pool_open(&child_key, &block, pool->size_class, pool->left ? UF_POOL_INHERITED : 0))
		return 0;
	i = block.site;
	site = bpf_map_lookup_elem(&sites, &i);
	if (site) {
		__sync_fetch_and_add(&site->inherited_bytes, block.size_bytes);
		__sync_fetch_and_add(&site->inherited_cnt, 1);
	}
	return 0;
}

#endif
