/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_KERNEL_BPF_H
#define UNFREED_KERNEL_BPF_H

/*
 * The kernel's own memory: objects of kmalloc and of slab caches, pages, per-CPU memory. Loaded
 * with --kernel, and then alone (user/agent/tracer_kernel.c).
 *
 * Blocks are in the live table as a process's are; in place of the image their key has the kind,
 * and for pages the order. An allocation of several pages may be freed as others of smaller orders,
 * page by page: it then keeps its entry, with what is left of it, until nothing is. Its pages may
 * be allocated again meanwhile, alone, which is another key; a free looks at the smallest order
 * first, and that is the newest.
 *
 * Where these run: anywhere in the kernel, interrupts included, within an allocator, on behalf of
 * whoever is there. So nothing here may allocate (the live table is preallocated in this mode), and
 * a tracepoint's program that is interrupted does not run again within itself: the kernel counts
 * that (recursion_misses). A missed allocation is one block less in the report; a missed free would
 * be a leak that is none. Each free is therefore seen by two programs of the same code: the second
 * finds nothing, unless the first was missed.
 *
 * Raw tracepoints give their arguments as numbers, so that one program can do for kernels that
 * differ in their order; where arguments are is found out by user space. Only arguments that all
 * supported kernels have may be read (the kernel refuses to attach otherwise), hence two programs
 * for percpu_alloc_percpu.
 */

/* What is read of the kernel's own types. */
struct kmem_cache {
	unsigned int size; /* of an object, with what the allocator adds */
} __attribute__((preserve_access_index));

struct page {
	unsigned long flags;
} __attribute__((preserve_access_index));

const volatile bool cfg_kernel_by_process = false; /* only what the processes in "processes" allocate */
const volatile __u32 cfg_kmalloc_bytes_arg = 3;	   /* 3 or 4: bytes_alloc of kmalloc */
/* kmem_cache_alloc: 3: bytes_alloc there, likewise 4; 2: the cache there, which knows its size. */
const volatile __u32 cfg_cache_bytes_arg = 2;
const volatile __u32 cfg_possible_cpu_cnt = 1;

#define MAX_PAGE_ORDER	24    /* more than any kernel has */
#define MAX_BULK	1024  /* objects of one call that are looked at */
#define MIN_ADDRESS	4096  /* below: NULL, and kmalloc(0)'s pointer to nothing */
#define ALLOC_NESTING	4     /* task, softirq, interrupt, NMI */
#define GFP_MOVABLE	0x08u /* memory of processes and files, which the kernel may move about */

/*
 * How many allocations of several pages are live, by order: nobody looks for a page in one of an
 * order that there is none of.
 */
__s64 kernel_order_cnt[MAX_PAGE_ORDER + 1];

/*
 * What an allocation needs while its stack is looked at. Per CPU, one for each level at which
 * programs can interrupt each other; taken and given back by is_busy.
 */
struct kernel_scratch {
	__u32 is_busy;
	__u32 pad;
	struct thread_state state;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ALLOC_NESTING);
	__type(key, __u32);
	__type(value, struct kernel_scratch);
} kernel_scratches SEC(".maps");

static __always_inline struct kernel_scratch *kernel_scratch_take(void)
{
	for (__u32 i = 0; i < ALLOC_NESTING; i++) {
		__u32 level = i;
		struct kernel_scratch *scratch = bpf_map_lookup_elem(&kernel_scratches, &level);

		if (scratch && !__sync_val_compare_and_swap(&scratch->is_busy, 0, 1))
			return scratch;
	}
	loss_add(KERNEL_NESTING, 1);
	return NULL;
}

/* Are allocations that are made now, of this size, to be recorded? */
static __always_inline bool kernel_wants(__u64 size_bytes)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	if (tgid == cfg_host_tgid || size_bytes < cfg_min_size_bytes ||
	    size_bytes > cfg_max_size_bytes)
		return false;
	return !cfg_kernel_by_process || bpf_map_lookup_elem(&processes, &tgid);
}

/* Hash of the stack and of what kind of memory it allocates. */
__noinline int kernel_hash_stack(struct thread_state *state, __u32 kind)
{
	__u64 hash = hash_mix(0x9e3779b97f4a7c15ULL, kind);

	if (!state)
		return 0;
	for (__u32 i = 0; i < UF_MAX_FRAMES; i++) {
		if (i >= state->frame_cnt)
			break;
		hash = hash_mix(hash, state->frames[i]);
	}
	state->stack_id = hash | 1;
	return 0;
}

/* The site of the kernel's stack as it is. call_site: the only frame of a stack that is not to be had. */
static __always_inline bool kernel_site_here(void *ctx, struct thread_state *state, __u32 kind,
					     __u64 call_site, __u32 *out)
{
	struct uf_site_key key = {.image = kind};
	__u32 *known, stack = 0;
	int bytes = bpf_get_stack(ctx, state->frames, UF_MAX_FRAMES * sizeof(__u64), 0);

	if (bytes > 0) {
		state->frame_cnt = (__u32)bytes / sizeof(__u64);
		state->stack_end = state->frame_cnt < UF_MAX_FRAMES ? UF_END_COMPLETE : UF_END_DEPTH;
	} else {
		state->frames[0] = call_site;
		state->frame_cnt = call_site != 0;
		state->stack_end = UF_END_READ_FAULT;
	}
	kernel_hash_stack(state, kind);
	key.stack_id = state->stack_id;
	known = bpf_map_lookup_elem(&site_index, &key);
	if (known) {
		*out = *known;
		return true;
	}
	return stack_intern(state, kind, &stack) && site_new(&key, stack, kind, out);
}

static __always_inline __u64 kernel_count(const struct uf_block_key *key,
					  const struct uf_block *block)
{
	return key->image == UF_SITE_KERNEL_PAGES ? block->size_bytes / cfg_page_size_bytes : 1;
}

static __always_inline void kernel_count_order(const struct uf_block_key *key, __s64 n)
{
	if (key->pad && key->pad <= MAX_PAGE_ORDER)
		__sync_fetch_and_add(&kernel_order_cnt[key->pad], n);
}

/*
 * Kernels since 6.1 tell of an allocation that is too large for a slab cache twice. fork_gen has
 * the thread.
 */
static __always_inline bool kernel_is_told_twice(const struct uf_block *old,
						 const struct uf_block *new)
{
	return new->size_bytes > 2 * cfg_page_size_bytes && old->size_bytes == new->size_bytes &&
	       old->fork_gen == new->fork_gen && new->epoch - old->epoch <= 1;
}

/* Enters a new block and counts it at its site. */
__noinline int kernel_add(struct uf_block_key *at, struct uf_block *new)
{
	struct uf_block *old, gone, block;
	struct uf_block_key key;
	int err;

	if (!at || !new)
		return 0;
	key = *at;
	block = *new;
	err = bpf_map_update_elem(&live, &key, &block, BPF_NOEXIST);
	if (err == -EEXIST) {
		old = bpf_map_lookup_elem(&live, &key);
		if (old) {
			gone = *old;
			if (key.image == UF_SITE_KERNEL_SLAB && kernel_is_told_twice(&gone, &block))
				return 0;
			site_remove_counted(&gone, kernel_count(&key, &gone));
			kernel_count_order(&key, -1);
			loss_add(MISSED_FREE, 1);
		}
		err = bpf_map_update_elem(&live, &key, &block, BPF_ANY);
	}
	if (err) {
		loss_add(LIVE_TABLE_FULL, 1);
		return 0;
	}
	kernel_count_order(&key, 1);
	site_add_counted(&block, kernel_count(&key, &block));
	return 0;
}

/* An allocation of any kind. order: of pages. */
static __always_inline int kernel_allocated(void *ctx, __u32 kind, __u64 address, __u32 order,
					    __u64 size_bytes, __u64 call_site)
{
	struct uf_block_key key = {.address = address, .image = kind, .pad = order};
	struct uf_block block = {
		.size_bytes = size_bytes,
		.fork_gen = bpf_get_current_pid_tgid(),
	};
	struct kernel_scratch *scratch;

	if (!kernel_wants(size_bytes))
		return 0;
	stats_add(event_cnt, 1);
	if (address < MIN_ADDRESS) {
		if (!address)
			stats_add(failed_alloc_cnt, 1);
		return 0;
	}
	scratch = kernel_scratch_take();
	if (!scratch)
		return 0;
	if (kernel_site_here(ctx, &scratch->state, kind, call_site, &block.site)) {
		block.epoch = *(volatile __u32 *)&current_epoch;
		kernel_add(&key, &block);
	}
	scratch->is_busy = 0;
	return 0;
}

/* All of a block is freed. False: none is known there. */
__noinline int kernel_free(__u64 address, __u32 kind, __u32 order)
{
	struct uf_block_key key = {.address = address, .image = kind, .pad = order};
	struct uf_block *block, gone;

	if (address < MIN_ADDRESS)
		return false;
	block = bpf_map_lookup_elem(&live, &key);
	if (!block)
		return false;
	gone = *block;
	if (bpf_map_delete_elem(&live, &key))
		return false;
	kernel_count_order(&key, -1);
	site_remove_counted(&gone, kernel_count(&key, &gone));
	stats_add(event_cnt, 1);
	return true;
}

/* Pages at page, of the given order, are a part of a larger allocation: what is left of it stays. */
__noinline int kernel_free_part(__u64 page, __u32 order)
{
	const __u64 page_struct_bytes = bpf_core_type_size(struct page);
	const __u64 freed_bytes = cfg_page_size_bytes << (order & 31);

	/* Pages are found by their alignment, and so are their structs if that is a power of two. */
	if (page_struct_bytes & (page_struct_bytes - 1))
		return false;
	for (__u32 i = 1; i <= MAX_PAGE_ORDER; i++) {
		struct uf_block_key key = {.image = UF_SITE_KERNEL_PAGES, .pad = i};
		struct uf_block *block, part;
		__u64 before;

		if (i <= order || *(volatile __s64 *)&kernel_order_cnt[i] <= 0)
			continue;
		key.address = page & ~((page_struct_bytes << i) - 1);
		block = bpf_map_lookup_elem(&live, &key);
		if (!block)
			continue;
		part = *block;
		part.size_bytes = freed_bytes;
		before = __sync_fetch_and_add(&block->size_bytes, -freed_bytes);
		site_remove_counted(&part, kernel_count(&key, &part));
		stats_add(event_cnt, 1);
		if (before <= freed_bytes && !bpf_map_delete_elem(&live, &key))
			kernel_count_order(&key, -1);
		return true;
	}
	return false;
}

static __always_inline bool kernel_knows_page(__u64 page, __u32 order)
{
	return kernel_free(page, UF_SITE_KERNEL_PAGES, order) || kernel_free_part(page, order);
}

/* ---- allocations ---- */

typedef __u64 kernel_args; /* of a raw tracepoint, one after the other */

static __always_inline int kmalloc_done(kernel_args *ctx)
{
	__u64 third = ctx[3], fourth = ctx[4];

	return kernel_allocated(ctx, UF_SITE_KERNEL_SLAB, ctx[1], 0,
				cfg_kmalloc_bytes_arg == 3 ? third : fourth, ctx[0]);
}

static __always_inline int cache_alloc_done(kernel_args *ctx)
{
	__u64 cache = ctx[2], third = ctx[3], fourth = ctx[4];
	__u64 bytes = cfg_cache_bytes_arg == 3 ? third : fourth;

	if (cfg_cache_bytes_arg == 2)
		bytes = BPF_CORE_READ((struct kmem_cache *)cache, size);
	return kernel_allocated(ctx, UF_SITE_KERNEL_SLAB, ctx[1], 0, bytes, ctx[0]);
}

SEC("?raw_tp/kmalloc")
int kernel_kmalloc(kernel_args *ctx)
{
	return kmalloc_done(ctx);
}

/* Until 6.0. */
SEC("?raw_tp/kmalloc_node")
int kernel_kmalloc_node(kernel_args *ctx)
{
	return kmalloc_done(ctx);
}

SEC("?raw_tp/kmem_cache_alloc")
int kernel_cache_alloc(kernel_args *ctx)
{
	return cache_alloc_done(ctx);
}

/* Until 6.0. */
SEC("?raw_tp/kmem_cache_alloc_node")
int kernel_cache_alloc_node(kernel_args *ctx)
{
	return cache_alloc_done(ctx);
}

SEC("?raw_tp/mm_page_alloc")
int kernel_page_alloc(kernel_args *ctx)
{
	__u32 order = ctx[1];

	if (ctx[2] & GFP_MOVABLE || order > MAX_PAGE_ORDER)
		return 0;
	return kernel_allocated(ctx, UF_SITE_KERNEL_PAGES, ctx[0], order,
				cfg_page_size_bytes << (order & 31), 0);
}

/* (call_site, reserved, is_atomic, size, align, base_addr, off, ptr, bytes_alloc, gfp) */
SEC("?raw_tp/percpu_alloc_percpu")
int kernel_percpu_alloc(kernel_args *ctx)
{
	return kernel_allocated(ctx, UF_SITE_KERNEL_PERCPU, ctx[7], 0, ctx[8],
				ctx[0]);
}

/* Until 5.18: (reserved, is_atomic, size, align, base_addr, off, ptr) */
SEC("?raw_tp/percpu_alloc_percpu")
int kernel_percpu_alloc_old(kernel_args *ctx)
{
	return kernel_allocated(ctx, UF_SITE_KERNEL_PERCPU, ctx[6], 0,
				ctx[2] * cfg_possible_cpu_cnt, 0);
}

/*
 * Objects allocated in bulk make no event. (cache, flags, size, p); what it returns is their
 * number, in newer kernels whether there are any: all or none.
 */
SEC("?fexit/kmem_cache_alloc_bulk")
int kernel_alloc_bulk(__u64 *ctx)
{
	__u64 cache = ctx[0], cnt = ctx[2], objects = ctx[3], bytes, address;
	struct uf_block_key key = {.image = UF_SITE_KERNEL_SLAB};
	struct uf_block block = {};
	struct kernel_scratch *scratch;

	bytes = BPF_CORE_READ((struct kmem_cache *)cache, size);
	if (!(__u8)ctx[4] || !kernel_wants(bytes))
		return 0;
	scratch = kernel_scratch_take();
	if (!scratch)
		return 0;
	block.size_bytes = bytes;
	block.epoch = *(volatile __u32 *)&current_epoch;
	if (kernel_site_here(ctx, &scratch->state, UF_SITE_KERNEL_SLAB, 0, &block.site)) {
		for (__u32 i = 0; i < MAX_BULK; i++) {
			if (i >= cnt ||
			    bpf_probe_read_kernel(&address, sizeof(address),
						  (void *)(objects + i * sizeof(address))))
				break;
			key.address = address;
			stats_add(event_cnt, 1);
			kernel_add(&key, &block);
		}
		if (cnt > MAX_BULK)
			loss_add(BULK_CUT, 1);
	}
	scratch->is_busy = 0;
	return 0;
}

/* ---- frees: each twice, see above ---- */

static __always_inline void kernel_freed(__u64 address, __u32 kind, bool is_first)
{
	/* Which of them are older than the trace is not known where some are not recorded. */
	if (!kernel_free(address, kind, 0) && is_first && !cfg_kernel_by_process &&
	    address >= MIN_ADDRESS)
		stats_add(unknown_free_cnt, 1);
}

static __always_inline void kernel_freed_bulk(__u64 cnt, __u64 objects)
{
	__u64 address;

	for (__u32 i = 0; i < MAX_BULK; i++) {
		if (i >= cnt || bpf_probe_read_kernel(&address, sizeof(address),
						      (void *)(objects + i * sizeof(address))))
			return;
		kernel_free(address, UF_SITE_KERNEL_SLAB, 0);
	}
	if (cnt > MAX_BULK)
		loss_add(BULK_CUT, 1);
}

#define TWO_PROGRAMS(section, name, statement)                                                     \
	SEC("?" section) int name##_1(__u64 *ctx)                                                  \
	{                                                                                          \
		const bool is_first = true;                                                        \
		statement;                                                                         \
		return 0;                                                                          \
	}                                                                                          \
	SEC("?" section) int name##_2(__u64 *ctx)                                                  \
	{                                                                                          \
		const bool is_first = false;                                                       \
		statement;                                                                         \
		return 0;                                                                          \
	}

/* (call_site, ptr) */
TWO_PROGRAMS("raw_tp/kfree", kernel_kfree, kernel_freed(ctx[1], UF_SITE_KERNEL_SLAB, is_first))

/* (call_site, ptr, name or cache) */
TWO_PROGRAMS("raw_tp/kmem_cache_free", kernel_cache_free,
	     kernel_freed(ctx[1], UF_SITE_KERNEL_SLAB, is_first))

/* (base_addr, off, ptr) */
TWO_PROGRAMS("raw_tp/percpu_free_percpu", kernel_percpu_free,
	     kernel_freed(ctx[2], UF_SITE_KERNEL_PERCPU, is_first))

/* (page, order). Most pages are nobody's here: processes' and files'. */
TWO_PROGRAMS("raw_tp/mm_page_free", kernel_page_free, (void)is_first;
	     kernel_knows_page(ctx[0], ctx[1]))

/* (cache, size, p). Freed in bulk makes no event: kfree_rcu() and the network do it. */
TWO_PROGRAMS("fentry/kmem_cache_free_bulk", kernel_free_bulk, (void)is_first;
	     kernel_freed_bulk(ctx[1], ctx[2]))

/*
 * (cache, object), since 6.18: kfree_rcu() into a sheaf, from where the object is given out again
 * without ever having been freed. If it does not fit the object is freed in bulk, later.
 */
TWO_PROGRAMS("fentry/__kfree_rcu_sheaf", kernel_free_sheaf, (void)is_first;
	     kernel_free(ctx[1], UF_SITE_KERNEL_SLAB, 0))

#endif
