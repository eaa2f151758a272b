/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_CONTRACT_H
#define UNFREED_CONTRACT_H

/*
 * The contract between bpf/ and user/: everything that both sides of the
 * kernel boundary must agree on, once. Fixed-width types, explicit padding,
 * sizes asserted. Included by both; on the BPF side after vmlinux.h, which
 * brings the __uNN types.
 */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/*
 * What an allocator function does, told to the probe by its cookie. The names
 * say where the size, the alignment and the old block are among the arguments.
 * realloc's family comes last: those calls also end an old block's life.
 */
enum uf_func {
	UF_FUNC_NONE,
	UF_MALLOC,         /* p = f(size); also valloc */
	UF_CALLOC,         /* p = f(n, size) */
	UF_ALIGNED,        /* p = f(align, size): memalign, aligned_alloc */
	UF_POSIX_MEMALIGN, /* err = f(&p, align, size) */
	UF_PVALLOC,        /* p = f(size), size rounded up to whole pages */
	UF_REALLOC,        /* p = f(old, size) */
	UF_REALLOCARRAY,   /* p = f(old, n, size) */
	UF_REALLOCF,       /* p = f(old, size), which frees old if it fails */
	UF_XALLOCX,        /* real size = f(old, size, extra): in place; less than size if it fails */
	UF_XALLOCX_EXTRA,  /* the same with extra > 0 (told by the probe): the real size is taken */
	UF_FREE,           /* f(p): free, cfree, free_sized, free_aligned_sized, operator delete */
	UF_FUNC_CNT,
};

/*
 * A probe's cookie: the function, how it differs from what the table above says, and the slot of
 * the file that it was placed in.
 */
#define UF_COOKIE_HEAP_FIRST  (1u << 5) /* a heap comes before the arguments */
#define UF_COOKIE_MAY_THROW   (1u << 6) /* operator new: its returns are probed one by one */
#define UF_COOKIE_MAY_FORWARD (1u << 7) /* this free often calls another that is probed; of others:
				 * it may end with a jump to one */
#define UF_COOKIE_STEPPED     (1u << 16) /* the kernel single-steps the instruction: it costs more */
#define UF_COOKIE_FILE_SHIFT  8 /* 8 bits */
#define UF_COOKIE(func, flags, file_slot)                                                          \
	((__u64)(func) | (__u64)(flags) | ((__u64)(file_slot) << UF_COOKIE_FILE_SHIFT))
#define UF_COOKIE_FUNC(cookie) ((__u32)(cookie) & (UF_COOKIE_HEAP_FIRST - 1))
#define UF_COOKIE_FILE(cookie) ((__u32)((cookie) >> UF_COOKIE_FILE_SHIFT) & (UF_MAX_FILES - 1))

#define UF_MAX_FILES   256 /* files with probes at a time; power of two */
#define UF_MAX_FRAMES  127 /* as the kernel's own PERF_MAX_STACK_DEPTH */
#define UF_MAX_COHORTS 64  /* age buckets a site has; power of two */
#define UF_EPOCH_RING  65536 /* epochs told apart; older blocks are all "oldest". Power of two */
#define UF_EPOCH_RING_GUARD 64 /* of those, left alone: to be cleared before new epochs use them */
#define UF_MAX_HEIRS   64  /* living forked children that may inherit a process's blocks */
#define UF_MAX_LINEAGE 16  /* ancestors searched for an inherited block */
#define UF_MAX_POOL_FILES 16 /* interpreters whose function that opens pools is probed; power of two */
#define UF_MAX_POOLS   (1u << 17) /* Python's pools at a time: 2 GiB of 16 KiB ones */

/*
 * An address space's life from fork or exec to exec or exit. A tgid is not
 * enough: it survives exec and is used again. Numbers start at 1.
 */
typedef __u32 uf_image_id;

/* Key of the live table. */
struct uf_block_key {
	__u64 address;
	uf_image_id image;
	__u32 pad;
};

/* A live block. */
struct uf_block {
	__u64 size_bytes; /* as asked for */
	__u32 site;       /* index into the site table, or UF_SITE_TOMBSTONE */
	__u32 epoch;      /* of its birth */
	__u32 fork_gen : 31; /* forks its image had made at its birth */
	__u32 inherited_address : 1; /* this address also names a block inherited from a parent and freed here */
	__u32 weight;     /* how many blocks it stands for: 1, or by include/sampling.h */
};

/* In uf_block.site: inherited from a parent by fork and freed here since. */
#define UF_SITE_TOMBSTONE 0xffffffffu

/* Key of the index of sites. */
struct uf_site_key {
	__u64 stack_id;
	uf_image_id image;
	__u32 pad;
};

/* Outstanding blocks of one age bucket. Transiently negative while a bucket is retired. */
struct uf_cohort {
	__s64 live_bytes;
	__s64 live_cnt;
};

enum uf_site_state { UF_SITE_UNUSED, UF_SITE_READY };

/* What a site's blocks are. Sites of two kinds are two, even with the same stack. */
enum uf_site_kind {
	UF_SITE_MALLOC,   /* blocks of the allocator's functions */
	UF_SITE_PYMALLOC, /* CPython's pools of small objects */
	UF_SITE_MMAP,     /* regions mapped by the program itself: mmap, mremap, brk */
	UF_SITE_KERNEL_SLAB,   /* --kernel: objects of kmalloc and of slab caches */
	UF_SITE_KERNEL_PAGES,  /* pages; what is counted is pages, not allocations */
	UF_SITE_KERNEL_PERCPU, /* per-CPU memory */
	UF_SITE_KIND_CNT,
};

/*
 * Of a site whose blocks are sampled. All else there are estimates then: each block counts with its
 * weight. The variances are those of what is live, see include/sampling.h.
 */
struct uf_sampled {
	__u64 alloc_cnt, free_cnt; /* of sampled blocks, as they are */
	__s64 live_bytes; /* what they have, as it is */
	__u64 bytes_variance; /* in bytes^2 >> UF_VARIANCE_SHIFT */
	__u64 cnt_variance;
};

#define UF_VARIANCE_SHIFT 10

/*
 * Counters of one site. Written with atomic adds by the probes; user space
 * reads them through mmap without a system call. Counts only rise; live =
 * alloc - free. The cohorts add up to live.
 */
struct uf_site {
	__u64 stack_id;
	uf_image_id image;
	__u32 stack;      /* index into the stack table */
	__u32 state;      /* enum uf_site_state, stored last */
	__u32 kind;       /* enum uf_site_kind */
	__u64 alloc_bytes;
	__u64 alloc_cnt;
	__u64 free_bytes; /* frees of this site's blocks */
	__u64 free_cnt;
	__u64 inherited_bytes; /* part of alloc_*: copied from the parent at fork */
	__u64 inherited_cnt;
	struct uf_sampled sampled;
	/* --max-cost: part of free_*, blocks that were seen freed in a later window (bpf/window.bpf.h). */
	__u64 late_bytes;
	__u64 late_cnt;
	struct uf_cohort cohorts[UF_MAX_COHORTS];
};

/* How stacks are walked: --stack. */
enum uf_stack_mode {
	UF_STACK_AUTO,  /* by the unwind tables; frame pointers where code has no CFI (JITs) */
	UF_STACK_DWARF, /* by the unwind tables only */
	UF_STACK_FP,    /* by frame pointers only */
	UF_STACK_MODE_CNT,
};

/* Why a stack has no further frame: X(identifier, "name in the report"). */
#define UF_STACK_ENDS(X)                                                                           \
	X(COMPLETE, "complete")       /* the outermost frame was reached */                        \
	X(DEPTH, "depth")             /* UF_MAX_FRAMES reached */                                  \
	X(READ_FAULT, "read-fault")   /* stack memory could not be read */                         \
	X(BAD_CHAIN, "bad-chain")     /* the frame pointer does not point up the stack */          \
	X(NO_CFI, "no-cfi")           /* code without unwind information, and no frame pointer */  \
	X(NO_MAPPING, "no-mapping")   /* the return address is in no mapping */                    \
	X(NO_TABLE, "no-table")       /* the file's table was not built yet, or does not fit */    \
	X(NO_ALL_ROWS, "no-all-rows") /* interrupted by a signal where the table has calls only */ \
	X(UNSUPPORTED, "unsupported") /* an unwind rule that the tables cannot express */          \
	X(STUCK, "stuck")             /* the caller's frame would not lie above */                 \
	X(BUSY, "busy")               /* the mappings were being changed */

enum uf_stack_end {
#define X(id, name) UF_END_##id,
	UF_STACK_ENDS(X)
#undef X
	UF_END_CNT,
};

/*
 * A frame: a place in a file, the same in every process that maps it, or (in
 * code of no known file) an address of one process.
 */
#define UF_FRAME_IN_FILE       (1ULL << 63)
#define UF_FRAME_INTERRUPTED   (1ULL << 62) /* by a signal: the place itself; else a call returns to it */
#define UF_FRAME_PYTHON        (1ULL << 61) /* a code object of one process, and where in it */
#define UF_FRAME_OFFSET_BITS   40
#define UF_FRAME(file, offset) (UF_FRAME_IN_FILE | (__u64)(file) << UF_FRAME_OFFSET_BITS | (offset))
#define UF_FRAME_FILE(frame)   ((__u32)((frame) >> UF_FRAME_OFFSET_BITS) & (UF_MAX_UNWIND_FILES - 1))
#define UF_FRAME_OFFSET(frame) ((frame) & ((1ULL << UF_FRAME_OFFSET_BITS) - 1))

/* Python: the code object's address (a multiple of 16 below 2^47) and the instruction, in code
 * units of 2 bytes; UF_PYTHON_AT_START: before the first, or past what 16 bits can say. */
#define UF_PYTHON_AT_START 0xffffu
#define UF_PYTHON_FRAME(code, unit)                                                                \
	(UF_FRAME_PYTHON | (__u64)(unit) << 43 | ((code) >> 4 & ((1ULL << 43) - 1)))
#define UF_PYTHON_FRAME_CODE(frame) (((frame) & ((1ULL << 43) - 1)) << 4)
#define UF_PYTHON_FRAME_UNIT(frame) ((__u32)((frame) >> 43) & 0xffffu)

struct uf_stack {
	__u64 id;      /* hash of the frames; 0: unused */
	__u64 time_ns; /* CLOCK_MONOTONIC of its first sight */
	uf_image_id image; /* of its first sight; addresses are this image's */
	__u32 tgid;
	__u16 frame_cnt;
	__u16 end; /* enum uf_stack_end */
	__u32 pad;
	__u64 frames[UF_MAX_FRAMES]; /* innermost first: [0] is in the allocator's caller */
};

/* ---- unwind tables (include/unwind_row.h has their rows) ---- */

#define UF_MAX_UNWIND_FILES 65536 /* numbers given to files in a trace, 0 to none; power of two */

/* A file as the kernel tells files apart. The vDSO, which is none, has dev 0 and this inode. */
#define UF_VDSO_INODE 1
struct uf_file_key {
	__u64 inode;
	__u32 dev;        /* as in the kernel: major << 20 | minor */
	__u32 generation;
};

/* All tables lie in one space of 8-byte words, made of chunks that are added as needed. */
#define UF_CHUNK_WORD_BITS 16
#define UF_CHUNK_WORDS     (1u << UF_CHUNK_WORD_BITS)
#define UF_MAX_CHUNKS      256 /* 128 MiB */

/*
 * Where a file's table is: one word a granule (UF_GRANULE_BYTES of the file),
 * then one a row. A granule's word has the number of its first row in the low
 * half, that of the first row past it in the high half; in a granule without
 * rows, where both are the same, the row before holds.
 *
 * Probes read while user space writes: granule_cnt is set last and zeroed
 * first; a table is replaced (by one with all rows) by writing first_word,
 * then has_all_rows.
 */
struct uf_unwind_file {
	__u32 first_granule;
	__u32 granule_cnt; /* 0: no table */
	__u32 first_word;
	__u32 has_all_rows;
};

#define UF_GRANULE_BITS  9
#define UF_GRANULE_BYTES (1u << UF_GRANULE_BITS)

/* An executable mapping, as the BPF iterator lists them. */
struct uf_mapping {
	__u64 start, end;
	__u64 file_offset;
	struct uf_file_key file;
	__u32 tgid;
	__u32 pad;
	char path[4096];
};

/*
 * What was not seen or could not be kept, by name. Every entry is shown in the
 * report when it is not zero: X(identifier, "name in the report", "meaning").
 */
#define UF_LOSSES(X)                                                                              \
	X(LIVE_TABLE_FULL, "live_table_full", "blocks not recorded: the live table was full")      \
	X(REALLOC_NO_ROOM, "realloc_no_room",                                                      \
	  "blocks given up when their realloc failed: the live table was full")                    \
	X(TOMBSTONE_NO_ROOM, "tombstone_no_room",                                                  \
	  "frees of inherited blocks not recorded: the live table was full")                       \
	X(SITE_TABLE_FULL, "site_table_full", "blocks not recorded: the site table was full")      \
	X(STACK_TABLE_FULL, "stack_table_full", "blocks not recorded: the stack table was full")   \
	X(THREAD_STATE, "thread_state", "calls not recorded: no memory for the thread's state")    \
	X(CALL_ABANDONED, "call_abandoned", "allocator calls that never returned (longjmp, exit)") \
	X(MISSED_FREE, "missed_free", "blocks whose address came back without a free")             \
	X(HEIRS_FULL, "heirs_full", "forked children not followed exactly: too many at a time")    \
	X(RESULT_UNREADABLE, "result_unreadable", "blocks not recorded: posix_memalign's result could not be read") \
	X(LINEAGE_DEPTH, "lineage_depth", "frees not resolved: forked through too many generations")  \
	X(IMAGES_FULL, "images_full", "processes not followed: the process table was full")        \
	X(GC_NOT_COUNTED, "gc_not_counted",                                                        \
	  "garbage collections not counted: no room, or the probe could not be read")              \
	X(EVENTS_FULL, "events_full", "process events lost: the event buffer was full")            \
	X(BULK_CUT, "bulk_cut",                                                                    \
	  "calls that allocated or freed more kernel objects than can be looked at: some are missing or wrongly shown") \
	X(KERNEL_NESTING, "kernel_nesting",                                                        \
	  "kernel allocations not recorded: made within four others")                              \
	X(POOL_TABLE_FULL, "pool_table_full", "Python pools not recorded: the table of pools was full") \
	X(POOL_UNSOUND, "pool_unsound",                                                            \
	  "Python pools not recorded: what the interpreter returned is not a new pool as known")      \
	X(CALL_PAUSED, "call_paused",                                                              \
	  "blocks not recorded: the probes were paused before their allocator call returned")        \
	X(GATE_FULL, "gate_full",                                                                  \
	  "sampled blocks not recorded: libunfreed-gate.so's table of them was full")                \
	X(REGION_EVENTS_FULL, "region_events_full",                                                \
	  "calls of mmap, munmap, mremap or brk not recorded: the event buffer was full")            \
	X(REGION_CALL_MISSED, "region_call_missed",                                                \
	  "calls of mmap, munmap, mremap or brk not seen: the kernel left the program out")

enum uf_loss {
#define X(id, name, meaning) UF_LOSS_##id,
	UF_LOSSES(X)
#undef X
	UF_LOSS_CNT,
};

/*
 * A pool of CPython's small objects: its memory is charged to the site that opened it, which is
 * its tenant until the pool is found empty (user/agent/pools.c) or opened again. Whoever takes the
 * tenant out, atomically, debits its site. Tenants are numbered, so that none is taken for another;
 * the rest is the tenant's and is written before it.
 */
struct uf_pool {
	__u64 address;  /* 0: unused */
	__u64 tenant;   /* UF_POOL_TENANT; 0: nobody */
	__u64 left;     /* the tenant whose first object was seen freed soon; UF_POOL_INHERITED */
	__u64 opened_ns; /* CLOCK_MONOTONIC */
	uf_image_id image;
	__u32 bytes;
	__u32 epoch;    /* of the opening */
	__u32 size_class; /* of the pool's blocks */
};

#define UF_POOL_INHERITED ((__u64)-1) /* was left, or given to another site, before a fork */

#define UF_POOL_SITE_BITS 24
#define UF_POOL_TENANT(site, serial) ((__u64)(serial) << UF_POOL_SITE_BITS | ((site) + 1))
#define UF_POOL_SITE(tenant)         (((__u32)(tenant) & ((1u << UF_POOL_SITE_BITS) - 1)) - 1)

/* What CPython 3.8 - 3.14 keep at the start of a pool. */
struct uf_pool_header {
	__u32 block_cnt; /* in use */
	__u32 pad;
	__u64 free_block, next_pool, prev_pool;
	__u32 arena_index;
	__u32 size_class; /* blocks of (size_class + 1) * 16 bytes */
	__u32 next_offset, max_next_offset; /* of the next block never used; of the last block */
};

#define UF_POOL_SIZE_CLASSES 32
#define UF_POOL_BLOCK_BYTES(header) (((header)->size_class + 1) * 16)

/* Counters of the whole trace, one of these per CPU, added up by user space. */
struct uf_stats {
	__u64 event_cnt;        /* probe hits in targets, nested and uncounted ones included; not returns */
	__u64 call_cnt;         /* likewise, of system calls and page faults, which trap nowhere */
	__u64 foreign_cnt;      /* hits in processes that are no targets; a trace that samples is done
				 * with most hits before it knows whose they are: event_cnt has those */
	__u64 stepped_cnt;      /* of event_cnt, on an instruction that is single-stepped */
	__u64 foreign_stepped_cnt; /* of foreign_cnt, likewise */
	__u64 return_cnt;       /* hits of return probes in targets */
	__u64 foreign_return_cnt; /* and in other processes */
	__u64 ret_cnt;          /* hits on a ret, which is single-stepped */
	__u64 unknown_free_cnt; /* frees of blocks that were never seen: older than the trace */
	__u64 failed_alloc_cnt; /* allocations that returned NULL or an error */
	__u64 loss_cnt[UF_LOSS_CNT];
	__u64 pad[8 - (10 + UF_LOSS_CNT) % 8];
};

/* --kernel: what the kernel tells of its own memory. */
enum uf_kernel_event {
	UF_ON_KMALLOC,
	UF_ON_KMALLOC_NODE,
	UF_ON_CACHE_ALLOC,
	UF_ON_CACHE_ALLOC_NODE,
	UF_ON_ALLOC_BULK,
	UF_ON_PAGE_ALLOC,
	UF_ON_PERCPU_ALLOC,
	UF_ON_KFREE, /* frees from here on */
	UF_ON_CACHE_FREE,
	UF_ON_FREE_BULK,
	UF_ON_FREE_SHEAF,
	UF_ON_PAGE_FREE,
	UF_ON_PERCPU_FREE,
	UF_KERNEL_EVENT_CNT,
};

/* The two programs of such an event, on one CPU. */
struct uf_kernel_running {
	__u64 done;         /* the first one's last address, and 1, until the second one has seen it */
	__u64 stood_in_cnt; /* events that the second one has done in place of the first */
};

/* In uf_process.flags. */
#define UF_PROC_WAITS_EXEC 1u /* launched, not yet executing its command: not traced until exec */
#define UF_PROC_SHARED_MM  2u /* vfork child: its allocations are the parent's */
#define UF_PROC_INHERITS   4u /* forked: it may free blocks that an ancestor has allocated */

/* A traced process, by tgid. */
struct uf_process {
	uf_image_id image;
	__u32 flags;
	__u32 fork_gen; /* forks of this image so far */
	__u32 heir_cnt; /* living images that may still inherit from it */
};

/*
 * An image, by its number, kept while it or any of its heirs lives. The heirs
 * of an image were forked from it and share its blocks until either frees
 * them: a block of the image that was born before the fork is the heir's too.
 */
struct uf_image {
	__u32 tgid;
	uf_image_id parent;    /* 0: none, or unknown */
	__u32 parent_fork_gen; /* it inherited the parent's blocks of fork_gen < this */
	__u32 is_dead;
	uf_image_id heirs[UF_MAX_HEIRS]; /* 0: empty slot */
};

enum uf_event_type {
	UF_EVENT_FORK = 1,
	UF_EVENT_EXEC,
	UF_EVENT_EXIT,
	UF_EVENT_FILE_WANTED, /* a stack met a file without a table, or without all rows */
	UF_EVENT_TABLE_FILLS, /* half of the site or the stack table has been used */
	UF_EVENT_PYTHON_CODE, /* struct uf_python_code (include/python.h) */
	UF_EVENT_REGION,      /* struct uf_region_event */
	UF_EVENT_PLACE_CHECKED, /* enough is known of a place: address is the number of the check */
};

/*
 * A place inside a function that is compared with the function's entry (bpf/place.bpf.h): each call
 * must come by once, with what it was entered with. The cookie of both probes is the number, with
 * a bit for the entry.
 */
#define UF_MAX_PLACE_CHECKS 512 /* at a time; power of two */
#define UF_PLACE_ENTRY      (1u << 16)
#define UF_PLACE_ARGS       4
#define UF_PLACE_CALLS      256 /* that agree are enough, if there were no others */
#define UF_PLACE_STRAYS     3   /* that do not are too many; a signal may look like one */
struct uf_place_check {
	__u32 is_on;       /* set when both probes are in */
	__u32 is_decided;  /* an event was sent */
	__u32 arg_cnt;     /* argument registers that the probe reads */
	__u32 agreed_cnt;  /* calls that came by as they were entered */
	__u32 changed_cnt; /* with other arguments, stack pointer or return address */
	__u32 missing_cnt; /* that never came by */
	__u32 stray_cnt;   /* came by without having been entered */
	__u32 pad;
};

/* Process life, in order, through the ring buffer. */
struct uf_event {
	__u32 type; /* enum uf_event_type */
	__u32 tgid;
	uf_image_id image;     /* after the event (of the ended one for exit) */
	uf_image_id old_image; /* exec: the dropped one; fork: the parent's */
	__u64 time_ns;         /* CLOCK_MONOTONIC */
	__u32 parent_tgid;     /* fork */
	__s32 exit_code;       /* exit: as wait(2) encodes it */
	struct uf_file_key file; /* file wanted */
	__u64 address;         /* file wanted: in one of its mappings */
	__u32 want_all_rows;   /* file wanted */
	__u32 pad;
};

/* What became of mapped memory: --mmap (bpf/region.bpf.h). */
enum uf_region_op {
	UF_REGION_MAPPED,   /* at site; its bytes are counted there already */
	UF_REGION_COVERED,  /* by a mapping that does not count */
	UF_REGION_TAKEN,    /* the thread has entered a call that unmaps it */
	UF_REGION_SETTLED,  /* that call has returned */
	UF_REGION_RESTORED, /* that call has failed */
	UF_REGION_DOUBTED,  /* a call failed that may have unmapped before */
};

/* In order, through the same ring buffer. */
struct uf_region_event {
	__u32 type; /* UF_EVENT_REGION */
	__u32 tgid;
	uf_image_id image;
	__u32 tid;
	__u32 op;       /* enum uf_region_op */
	__u32 site;     /* mapped */
	__u32 epoch;    /* mapped: of its birth */
	__u32 is_fixed; /* mapped: in place of whatever was there */
	__u64 start, bytes; /* whole pages; none in settled, restored, doubted */
};

_Static_assert(UF_FUNC_CNT <= UF_COOKIE_HEAP_FIRST, "functions fit into a cookie");
_Static_assert(UF_MAX_FILES << UF_COOKIE_FILE_SHIFT <= UF_COOKIE_STEPPED, "and so do files");
_Static_assert(sizeof(struct uf_block_key) == 16, "padding would be part of the key");
_Static_assert(sizeof(struct uf_block) == 24, "live table value");
_Static_assert(sizeof(struct uf_site_key) == 16, "padding would be part of the key");
_Static_assert(sizeof(struct uf_site) == 1152, "a multiple of a cache line");
_Static_assert(sizeof(struct uf_site) % 64 == 0, "a multiple of a cache line");
_Static_assert(sizeof(struct uf_stack) == 1048, "stack table value");
_Static_assert(sizeof(struct uf_stats) % 64 == 0, "a multiple of a cache line");
_Static_assert(sizeof(struct uf_file_key) == 16, "padding would be part of the key");
_Static_assert(sizeof(struct uf_unwind_file) == 16, "table of files");
_Static_assert(sizeof(struct uf_process) == 16, "process table value");
_Static_assert(sizeof(struct uf_event) == 64, "event");
_Static_assert(sizeof(struct uf_region_event) == 48, "event");
_Static_assert(sizeof(struct uf_place_check) == 32, "table of checks");
_Static_assert(sizeof(struct uf_pool) == 48, "table of pools");
_Static_assert(sizeof(struct uf_pool_header) == 48, "CPython's");

#endif
