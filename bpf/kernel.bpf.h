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
 * whoever is there. So nothing here may allocate: the live table is preallocated in this mode. And
 * an event that comes while its program runs, on the same CPU, does not run it once more: a missed
 * allocation would be a block less in the report, a missed free a leak that is none. So each event
 * has two programs of the same code, and the second one does what the first one has missed. What
 * the first one misses the kernel counts (recursion_misses), what the second one does we do.
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

/* Only what the processes in "processes" allocate. */
const volatile bool cfg_kernel_by_process = false;
const volatile __u32 cfg_kmalloc_bytes_arg = 3; /* 3 or 4: bytes_alloc of kmalloc */
/* kmem_cache_alloc: 3: bytes_alloc there, likewise 4; 2: the cache there, which knows its size. */
const volatile __u32 cfg_cache_bytes_arg = 2;
const volatile __u32 cfg_possible_cpu_cnt = 1;

#define MAX_PAGE_ORDER 31    /* more than any kernel has; a power of two, less one */
#define MAX_BULK       1024  /* objects of one call that are looked at */
#define BULK_STEP      32    /* so many at once: older verifiers are slow with long loops */
#define MIN_ADDRESS    4096  /* below: NULL, and kmalloc(0)'s pointer to nothing */
#define ALLOC_NESTING  4     /* task, softirq, interrupt, NMI */
#define GFP_MOVABLE    0x08u /* memory of processes and files, which the kernel may move about */

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

/* By enum uf_kernel_event, per CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, UF_KERNEL_EVENT_CNT);
	__type(key, __u32);
	__type(value, struct uf_kernel_running);
} kernel_running SEC(".maps");

static __always_inline struct uf_kernel_running *kernel_running_of(__u32 event)
{
	return bpf_map_lookup_elem(&kernel_running, &event);
}

/*
 * Both programs of an event, which is about an address. The first one leaves word of what it has
 * done; where the second one does not find that, it does it. (Word may be overwritten by an event
 * that comes in between. And before 6.1 a program does run once more within itself. So what the
 * second one does has to bear that it was done before.)
 */
#define TWO_PROGRAMS(event, section, name, address, do_it)                                         \
	SEC("?" section) int name##_1(__u64 *ctx)                                                  \
	{                                                                                          \
		struct uf_kernel_running *running = kernel_running_of(event);                      \
                                                                                                   \
		do_it(ctx, true);                                                                  \
		if (running)                                                                       \
			*(volatile __u64 *)&running->done = (address) + 1;                         \
		return 0;                                                                          \
	}                                                                                          \
	SEC("?" section) int name##_2(__u64 *ctx)                                                  \
	{                                                                                          \
		struct uf_kernel_running *running = kernel_running_of(event);                      \
                                                                                                   \
		if (!running)                                                                      \
			return 0;                                                                  \
		if (*(volatile __u64 *)&running->done == (address) + 1) {                          \
			*(volatile __u64 *)&running->done = 0;                                     \
			return 0;                                                                  \
		}                                                                                  \
		__sync_fetch_and_add(&running->stood_in_cnt, 1);                                   \
		do_it(ctx, false);                                                                 \
		return 0;                                                                          \
	}

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

/* The site of the kernel's stack as it is. call_site: the only frame of a stack that is not to be
 * had. */
static __always_inline bool kernel_site_here(void *ctx, struct thread_state *state, __u32 kind,
					     __u64 call_site, __u32 *out)
{
	struct uf_site_key key = {.image = kind};
	__u32 *known, stack = 0;
	int bytes = bpf_get_stack(ctx, state->frames, UF_MAX_FRAMES * sizeof(__u64), 0);

	if (bytes > 0) {
		state->frame_cnt = (__u32)bytes / sizeof(__u64);
		state->stack_end =
			state->frame_cnt < UF_MAX_FRAMES ? UF_END_COMPLETE : UF_END_DEPTH;
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
	__u32 order = key->pad;

	if (!order)
		return;
	/* Where the verifier sees it, and before the compiler knows better. */
	asm volatile("%0 &= 31" : "+r"(order));
	__sync_fetch_and_add(&kernel_order_cnt[order], n);
}

/*
 * Kernels since 6.1 tell of an allocation that is too large for a slab cache twice. fork_gen has
 * the thread.
 */
static __always_inline bool kernel_is_told_twice(const struct uf_block *old,
						 const struct uf_block *new)
{
	return new->size_bytes > 2 * cfg_page_size_bytes && old->size_bytes == new->size_bytes &&
	       old->fork_gen == new->fork_gen &&new->epoch - old->epoch <= 1;
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
static __always_inline void kernel_allocated(void *ctx, bool is_first, __u32 kind, __u64 address,
					     __u32 order, __u64 size_bytes, __u64 call_site)
{
	struct uf_block_key key = {.address = address, .image = kind, .pad = order};
	struct uf_block block = {
		.size_bytes = size_bytes,
		.fork_gen = bpf_get_current_pid_tgid(),
	};
	struct kernel_scratch *scratch;

	if (!kernel_wants(size_bytes) || (!is_first && bpf_map_lookup_elem(&live, &key)))
		return;
	stats_add(event_cnt, 1);
	if (address < MIN_ADDRESS) {
		if (!address)
			stats_add(failed_alloc_cnt, 1);
		return;
	}
	scratch = kernel_scratch_take();
	if (!scratch)
		return;
	if (kernel_site_here(ctx, &scratch->state, kind, call_site, &block.site)) {
		block.epoch = *(volatile __u32 *)&current_epoch;
		kernel_add(&key, &block);
	}
	scratch->is_busy = 0;
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

/* Pages at page, of the given order, are a part of a larger allocation: what is left of it stays.
 */
__noinline int kernel_free_part(__u64 page, __u32 order)
{
	const __u64 page_struct_bytes = bpf_core_type_size(struct page);
	const __u64 freed_bytes = cfg_page_size_bytes << (order & MAX_PAGE_ORDER);

	/* Pages are found by their alignment, and so are their structs if that is a power of two.
	 */
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

static __always_inline void kernel_kmalloc(__u64 *ctx, bool is_first)
{
	__u64 third = ctx[3], fourth = ctx[4];

	kernel_allocated(ctx, is_first, UF_SITE_KERNEL_SLAB, ctx[1], 0,
			 cfg_kmalloc_bytes_arg == 3 ? third : fourth, ctx[0]);
}

static __always_inline void kernel_cache_alloc(__u64 *ctx, bool is_first)
{
	__u64 cache = ctx[2], third = ctx[3], fourth = ctx[4];
	__u64 bytes = cfg_cache_bytes_arg == 3 ? third : fourth;

	if (cfg_cache_bytes_arg == 2)
		bytes = BPF_CORE_READ((struct kmem_cache *)cache, size);
	kernel_allocated(ctx, is_first, UF_SITE_KERNEL_SLAB, ctx[1], 0, bytes, ctx[0]);
}

/* (page, order, gfp_flags, migratetype) */
static __always_inline void kernel_page_alloc(__u64 *ctx, bool is_first)
{
	__u32 order = ctx[1];

	if (ctx[2] & GFP_MOVABLE || order > MAX_PAGE_ORDER)
		return;
	kernel_allocated(ctx, is_first, UF_SITE_KERNEL_PAGES, ctx[0], order,
			 cfg_page_size_bytes << (order & MAX_PAGE_ORDER), 0);
}

/* (call_site, reserved, is_atomic, size, align, base_addr, off, ptr, bytes_alloc, gfp) */
static __always_inline void kernel_percpu_alloc(__u64 *ctx, bool is_first)
{
	kernel_allocated(ctx, is_first, UF_SITE_KERNEL_PERCPU, ctx[7], 0, ctx[8], ctx[0]);
}

/* Until 5.18: (reserved, is_atomic, size, align, base_addr, off, ptr) */
static __always_inline void kernel_percpu_alloc_old(__u64 *ctx, bool is_first)
{
	kernel_allocated(ctx, is_first, UF_SITE_KERNEL_PERCPU, ctx[6], 0,
			 ctx[2] * cfg_possible_cpu_cnt, 0);
}

/* A function's argument that is a pointer to pointers: older verifiers do not let us read those. */
static __always_inline __u64 pointer_arg(const __u64 *ctx, __u32 i)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + i);
	return value;
}

/* One pointer of an array of cnt. False: past its end. */
static __always_inline bool read_object(__u64 array, __u64 cnt, __u32 i, __u64 *out)
{
	return i < cnt && !bpf_probe_read_kernel(out, sizeof(*out), (void *)(array + i * 8));
}

/* Adds some of the objects allocated in bulk, from the first on. */
__noinline int kernel_add_some(__u64 objects, __u64 cnt, __u32 first, bool is_first,
			       struct uf_block *block)
{
	struct uf_block_key key = {.image = UF_SITE_KERNEL_SLAB};

	if (!block)
		return 0;
	for (__u32 i = 0; i < BULK_STEP; i++) {
		if (!read_object(objects, cnt, first + i, &key.address))
			break;
		if (!is_first && bpf_map_lookup_elem(&live, &key))
			continue;
		stats_add(event_cnt, 1);
		kernel_add(&key, block);
	}
	return 0;
}

/*
 * Objects allocated in bulk make no event. (cache, flags, size, p); what it returns is their
 * number, in newer kernels whether there are any: all or none.
 */
static __always_inline void kernel_alloc_bulk(__u64 *ctx, bool is_first)
{
	__u64 cnt = ctx[2], objects = pointer_arg(ctx, 3);
	struct uf_block block = {.fork_gen = bpf_get_current_pid_tgid()};
	struct kernel_scratch *scratch;

	block.size_bytes = BPF_CORE_READ((struct kmem_cache *)ctx[0], size);
	if (!(__u8)ctx[4] || !kernel_wants(block.size_bytes))
		return;
	scratch = kernel_scratch_take();
	if (!scratch)
		return;
	block.epoch = *(volatile __u32 *)&current_epoch;
	if (kernel_site_here(ctx, &scratch->state, UF_SITE_KERNEL_SLAB, 0, &block.site)) {
		for (__u32 i = 0; i < MAX_BULK && i < cnt; i += BULK_STEP)
			kernel_add_some(objects, cnt, i, is_first, &block);
		if (cnt > MAX_BULK)
			loss_add(BULK_CUT, 1);
	}
	scratch->is_busy = 0;
}

TWO_PROGRAMS(UF_ON_KMALLOC, "raw_tp/kmalloc", kernel_kmalloc, ctx[1], kernel_kmalloc)
/* Until 6.0. */
TWO_PROGRAMS(UF_ON_KMALLOC_NODE, "raw_tp/kmalloc_node", kernel_kmalloc_node, ctx[1], kernel_kmalloc)
TWO_PROGRAMS(UF_ON_CACHE_ALLOC, "raw_tp/kmem_cache_alloc", kernel_cache_alloc, ctx[1],
	     kernel_cache_alloc)
/* Until 6.0. */
TWO_PROGRAMS(UF_ON_CACHE_ALLOC_NODE, "raw_tp/kmem_cache_alloc_node", kernel_cache_alloc_node,
	     ctx[1], kernel_cache_alloc)
TWO_PROGRAMS(UF_ON_ALLOC_BULK, "fexit/kmem_cache_alloc_bulk", kernel_alloc_bulk,
	     pointer_arg(ctx, 3), kernel_alloc_bulk)
TWO_PROGRAMS(UF_ON_PAGE_ALLOC, "raw_tp/mm_page_alloc", kernel_page_alloc, ctx[0], kernel_page_alloc)
TWO_PROGRAMS(UF_ON_PERCPU_ALLOC, "raw_tp/percpu_alloc_percpu", kernel_percpu_alloc, ctx[7],
	     kernel_percpu_alloc)
TWO_PROGRAMS(UF_ON_PERCPU_ALLOC, "raw_tp/percpu_alloc_percpu", kernel_percpu_alloc_old, ctx[6],
	     kernel_percpu_alloc_old)

/* ---- frees ---- */

static __always_inline void kernel_freed(__u64 address, __u32 kind, bool is_first)
{
	/* Which of them are older than the trace is not known where some are not recorded. */
	if (!kernel_free(address, kind, 0) && is_first && !cfg_kernel_by_process &&
	    address >= MIN_ADDRESS)
		stats_add(unknown_free_cnt, 1);
}

/* kfree: (call_site, ptr); kmem_cache_free: (call_site, ptr, name or cache) */
static __always_inline void kernel_object_free(__u64 *ctx, bool is_first)
{
	kernel_freed(ctx[1], UF_SITE_KERNEL_SLAB, is_first);
}

/* (base_addr, off, ptr) */
static __always_inline void kernel_percpu_free(__u64 *ctx, bool is_first)
{
	kernel_freed(ctx[2], UF_SITE_KERNEL_PERCPU, is_first);
}

/* (page, order). Most pages are nobody's here: processes' and files'. */
static __always_inline void kernel_page_free(__u64 *ctx, bool is_first)
{
	if (!kernel_free(ctx[0], UF_SITE_KERNEL_PAGES, ctx[1]))
		kernel_free_part(ctx[0], ctx[1]);
}

__noinline int kernel_free_some(__u64 objects, __u64 cnt, __u32 first)
{
	__u64 address = 0;

	for (__u32 i = 0; i < BULK_STEP; i++) {
		if (!read_object(objects, cnt, first + i, &address))
			break;
		kernel_free(address, UF_SITE_KERNEL_SLAB, 0);
	}
	return 0;
}

/* (cache, size, p). Freed in bulk makes no event: kfree_rcu() and the network do it. */
static __always_inline void kernel_free_bulk(__u64 *ctx, bool is_first)
{
	__u64 cnt = ctx[1], objects = pointer_arg(ctx, 2);

	for (__u32 i = 0; i < MAX_BULK && i < cnt; i += BULK_STEP)
		kernel_free_some(objects, cnt, i);
	if (cnt > MAX_BULK)
		loss_add(BULK_CUT, 1);
}

/*
 * (cache, object), since 6.18: kfree_rcu() into a sheaf, from where the object is given out again
 * without ever having been freed. If it does not fit the object is freed in bulk, later.
 */
static __always_inline void kernel_free_sheaf(__u64 *ctx, bool is_first)
{
	kernel_free(ctx[1], UF_SITE_KERNEL_SLAB, 0);
}

TWO_PROGRAMS(UF_ON_KFREE, "raw_tp/kfree", kernel_kfree, ctx[1], kernel_object_free)
TWO_PROGRAMS(UF_ON_CACHE_FREE, "raw_tp/kmem_cache_free", kernel_cache_free, ctx[1],
	     kernel_object_free)
TWO_PROGRAMS(UF_ON_FREE_BULK, "fentry/kmem_cache_free_bulk", kernel_free_bulk, pointer_arg(ctx, 2),
	     kernel_free_bulk)
TWO_PROGRAMS(UF_ON_FREE_SHEAF, "fentry/__kfree_rcu_sheaf", kernel_free_sheaf, ctx[1],
	     kernel_free_sheaf)
TWO_PROGRAMS(UF_ON_PAGE_FREE, "raw_tp/mm_page_free", kernel_page_free, ctx[0], kernel_page_free)
TWO_PROGRAMS(UF_ON_PERCPU_FREE, "raw_tp/percpu_free_percpu", kernel_percpu_free, ctx[2],
	     kernel_percpu_free)

#endif
