/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_MAPS_BPF_H
#define UNFREED_MAPS_BPF_H

/*
 * Every map and every global of the BPF object, in one place. For each map:
 * what it holds, who inserts, who deletes, what happens when it is full.
 * Sizes marked "user" are set before loading from the command line.
 */

/* ---- configuration: constant after loading ---- */

const volatile __u64 cfg_min_size_bytes = 0;
const volatile __u64 cfg_max_size_bytes = ~0ULL;
const volatile __u64 cfg_page_size_bytes = 4096;
const volatile bool cfg_follow = false; /* forked children become targets */
const volatile __u32 cfg_host_tgid = 0; /* not 0: every process is a target but this one, unfreed */
/* A forked child has its parent's live blocks as well. If not, it begins with none: under a trace
 * of the whole host, where the parent has them, and shells fork all the time. */
const volatile bool cfg_inherit = true;

const volatile __u32 cfg_stack_mode = UF_STACK_AUTO;
const volatile bool cfg_sampled = false; /* not every allocation is recorded */
const volatile bool cfg_mmap = false; /* regions that the program maps itself count */

/* ---- shared with user space through mmap ---- */

/* The probes of file slot i count only while file_on[i]: set when all of them are in place. */
__u8 file_on[UF_MAX_FILES];

/*
 * Bytes between two sample points, on average; 0: none. User space may change it at any time: each
 * block keeps the weight that it was drawn with.
 */
__u64 sample_interval_bytes;

/*
 * Birth epochs. User space advances current_epoch; epoch_cohort says which
 * cohort of every site holds the blocks of an epoch (user/agent/cohorts.c
 * merges and retires them). Epochs that the ring no longer tells apart are in
 * oldest_cohort.
 */
__u32 current_epoch;
__u32 oldest_cohort;
__u8 epoch_cohort[UF_EPOCH_RING];

__u32 next_site;  /* first index of the site table never used; may run past its end */
__u32 next_stack; /* likewise of the stack table */
__u32 room_is_wanted; /* an event says so; cleared by user space */
__u32 next_image; /* images are numbered from 1 */
__u32 next_pool;  /* like next_site, of the table of pools */
__u32 regions_are_lost; /* the same of events of mapped memory; cleared by user space */

/* Raised by user space when stacks may have to be walked anew (bpf/stack_memo.bpf.h); odd while a
 * table of theirs is being replaced. */
__u32 memo_generation;

/* ---- maps ---- */

/*
 * Live blocks. Inserted by a returning allocation (and pushed to a forked child when the
 * parent frees a block that both have), deleted by free, realloc and purge_images.
 * Full: the block is not recorded, LIVE_TABLE_FULL counts it, all else stays right.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20); /* user */
	__type(key, struct uf_block_key);
	__type(value, struct uf_block);
} live SEC(".maps");

/* How many entries live has, by a hash of their address: bpf/live_table.bpf.h. Used if cfg_sampled. */
#define ADDRESS_CNT_BITS 16

__u32 address_cnts[1 << ADDRESS_CNT_BITS];

/* Counters by site index. Never deleted; user space clears the sites of dead images. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << 14); /* user */
	__type(key, __u32);
	__type(value, struct uf_site);
} sites SEC(".maps");

/*
 * (image, stack) -> site index. Inserted by the first allocation of a site and by fork;
 * deleted by user space when the image is gone. As large as the site table.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 14); /* user */
	__type(key, struct uf_site_key);
	__type(value, __u32);
} site_index SEC(".maps");

/* Site indexes given back. Pushed by user space and by the loser of a race for a new site. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1 << 14); /* user */
	__type(value, __u32);
} site_spares SEC(".maps");

/* Stacks by stack index: written once by the first allocation that has it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << 14); /* user */
	__type(key, __u32);
	__type(value, struct uf_stack);
} stacks SEC(".maps");

/* Stack id -> stack index; inserted, deleted and sized like site_index. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 14); /* user */
	__type(key, __u64);
	__type(value, __u32);
} stack_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1 << 14); /* user */
	__type(value, __u32);
} stack_spares SEC(".maps");

/*
 * tgid -> traced process. Inserted by user space (targets) and fork; deleted at exit.
 * Full: the child is not followed, IMAGES_FULL counts it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 14);
	__type(key, __u32);
	__type(value, struct uf_process);
} processes SEC(".maps");

/*
 * Pools by pool index: entered by the probe that sees a pool opened and by fork, read and emptied
 * by user space, which also gives unused ones back.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, UF_MAX_POOLS);
	__type(key, __u32);
	__type(value, struct uf_pool);
} pools SEC(".maps");

/*
 * Pool -> pool index. Inserted with the pool, deleted by user space. Full, or no index left: the
 * pool is not recorded, POOL_TABLE_FULL counts it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, UF_MAX_POOLS);
	__type(key, struct uf_block_key);
	__type(value, __u32);
} pool_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, UF_MAX_POOLS);
	__type(value, __u32);
} pool_spares SEC(".maps");

/*
 * Pools that were opened a moment ago, by process. Inserted by the probe that sees a pool opened,
 * deleted by user space when the image is gone. Full: pools stay with who opened them.
 */
struct young_pool {
	__u64 tenant;    /* 0: none */
	__u64 first;     /* address of the block that it was opened for */
	__u32 index;
	__u32 block_cnt; /* in use, when last looked at */
};

#define YOUNG_POOLS 32

struct young_pools {
	__u32 next, turn;
	__u64 looked_ns; /* CLOCK_MONOTONIC */
	struct young_pool pools[YOUNG_POOLS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 12);
	__type(key, uf_image_id);
	__type(value, struct young_pools);
} young_pools SEC(".maps");

/* Image number -> image. Inserted with its process; deleted by user space after its last heir. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 15);
	__type(key, uf_image_id);
	__type(value, struct uf_image);
} images SEC(".maps");

/* Images whose blocks purge_images deletes. Inserted and deleted by user space around the purge. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 12);
	__type(key, uf_image_id);
	__type(value, __u8);
} purged_images SEC(".maps");

/* The chunks of the space that the unwind tables lie in. All by user space. */
struct uf_chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, UF_CHUNK_WORDS);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, UF_MAX_CHUNKS);
	__type(key, __u32);
	__array(values, struct uf_chunk);
} unwind_chunks SEC(".maps");

/*
 * File -> its number. Inserted by user space; by the walk with number 0 for a file that it
 * does not know, so that user space is told once. Full: such files have no tables.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, UF_MAX_UNWIND_FILES);
	__type(key, struct uf_file_key);
	__type(value, __u32);
} file_numbers SEC(".maps");

/* File number -> table. All by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, UF_MAX_UNWIND_FILES);
	__type(key, __u32);
	__type(value, struct uf_unwind_file);
} unwind_files SEC(".maps");

/* Process life and the walk's wishes, in order. Full: the event is lost, EVENTS_FULL counts it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct uf_stats);
} stats SEC(".maps");

#endif
