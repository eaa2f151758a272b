/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_SNAPSHOT_H
#define UNFREED_SNAPSHOT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "snapshot/estimate.h"

/*
 * The model in the centre: what was outstanding at one moment, by site. Knows
 * nothing of BPF, terminals or HTTP. A snapshot owns all it points to: strings
 * and frames lie in its own arena and go with it.
 *
 * Invariant: totals are the sums over all the sites, those left out by
 * snapshot__select included, and those that had nothing live and made room. No number is made of
 * estimated and of counted ones.
 */

enum snapshot_frame_kind { FRAME_NATIVE, FRAME_PYTHON, FRAME_KERNEL };

enum snapshot_site_kind {
	SITE_MALLOC,   /* blocks of the allocator's functions */
	SITE_PYMALLOC, /* CPython's pools of small objects */
	SITE_MMAP,     /* regions that the program has mapped itself */
	SITE_KERNEL_SLAB,   /* the kernel's own memory: objects of kmalloc and slab caches */
	SITE_KERNEL_PAGES,  /* counted one by one, whatever the allocation's order */
	SITE_KERNEL_PERCPU,
};

/* Strings are never NULL: unknown is "". */
struct snapshot_frame {
	enum snapshot_frame_kind kind;
	bool inlined;         /* into the next frame */
	bool is_interpreter;  /* native: in the file that a Python interpreter is in */
	uint32_t line;        /* 0: unknown */
	uint64_t offset;      /* native: file offset in the module; kernel: the address */
	uint64_t function_offset; /* bytes from the function's start */
	const char *module;   /* path, "[vdso]", "[kernel]", a kernel module's "[ext4]", or "" */
	const char *build_id;
	const char *function;
	const char *file;
};

/* Blocks at least this old. */
struct snapshot_age {
	double older_than_s;
	uint64_t bytes;
	uint64_t count;
};

/*
 * What is live, where it is estimated from a sample: of that sample, and how far off the estimate
 * may be. All 0 where every block is counted.
 */
struct snapshot_sample {
	uint64_t count, bytes; /* of sampled blocks that are live, as they are */
	double bytes_variance, count_variance;
};

struct snapshot_site {
	uint64_t id;          /* of the place in the program: see snapshot/site_id.h */
	uint32_t target;      /* index of its process's; meaningless once joined */
	uint32_t group;       /* index; 0 if there are no groups */
	enum snapshot_site_kind kind;
	uint32_t pid;         /* its process; of several (pid_cnt > 1) one that has something live */
	uint32_t *pids;       /* ascending, all that have something live; see snapshot/services.h */
	uint32_t pid_cnt;     /* 0: not joined, pid says it all */
	const char *comm;
	uint64_t live_bytes;  /* with --older: only blocks at least that old */
	uint64_t live_count;
	uint64_t unused_bytes; /* of live_bytes, and of pools only: what no object is in; */
	uint64_t foreign_bytes; /* and pools that other lines' objects are in, nobody knows which */
	uint64_t alloc_bytes; /* since the trace began */
	uint64_t alloc_count;
	uint64_t free_bytes;
	uint64_t free_count;
	struct snapshot_sample sample;
	double oldest_s;      /* the oldest outstanding block is at least this old */
	double growth_bytes_per_s; /* NaN: unknown, as in a first report */
	const char *verdict;
	const char *why;
	const char *stack_end; /* complete|depth|read-fault|bad-chain|... */
	struct snapshot_age *ages; /* youngest bound first: older_than_s ascending */
	uint32_t age_cnt;
	struct snapshot_frame *frames; /* innermost first; NULL until somebody symbolized them */
	uint32_t frame_cnt;
	uint32_t ref;         /* the collector's own index, to symbolize the site later */
};

/* Numbers below 0 (and NaN) are unknown. */
struct snapshot_gc_generation {
	int64_t threshold, count;           /* as gc.get_threshold() and gc.get_count() */
	int64_t collections;                /* of the process's life, a parent's before fork included */
	int64_t collected, uncollectable;   /* objects, likewise */
	int64_t trace_collections;          /* since unfreed watches the process */
	int64_t trace_unreachable;          /* objects that these found: collected or not */
	double pause_s, longest_pause_s;    /* of these */
};

#define SNAPSHOT_GENERATIONS 3

/* The CPython interpreter in a process. */
struct snapshot_python {
	const char *version;  /* "3.11.2" */
	const char *frames;   /* "ok", or why there are no Python frames */
	const char *gc_source; /* of what is since unfreed watches: usdt|polling|none */
	const char *gc_why;   /* why something is unknown, or old; "" */
	int gc_enabled;       /* below 0: unknown */
	struct snapshot_gc_generation generations[SNAPSHOT_GENERATIONS];
};

struct snapshot_target {
	uint64_t id;               /* another for each program that a pid runs, in one trace */
	uint32_t pid;
	uint32_t group;            /* index; 0 if there are no groups */
	const char *comm;
	const char *exe;
	const char *program;       /* exe without the kernel's mark of a file that is gone */
	const char *container;     /* what people call it */
	const char *container_id;
	const char *pod;
	const char *pod_namespace;
	const char *unit;          /* systemd's: "nginx.service" */
	const char *cgroup;
	uint64_t rss_bytes;
	bool has_rss;
	bool exited;
	bool is_untraced;          /* it has no allocator that is known: nothing of it is seen */
	const char *note;     /* what a reader must know: "static binary: nothing is traced"; "" */
	const struct snapshot_python *python; /* NULL: none found in it */
};

struct snapshot_loss {
	const char *name;     /* as in the JSON report */
	const char *meaning;
	uint64_t count;
};

struct snapshot_totals {
	uint64_t live_bytes, live_count;
	uint64_t alloc_bytes, alloc_count;
	uint64_t free_bytes, free_count;
	uint64_t sites;       /* with something live */
	struct snapshot_sample sample;
};

/* Of sites that had nothing live any more and are gone. */
struct snapshot_retired {
	uint64_t bytes, count;           /* allocated, and freed */
	uint64_t pool_bytes, pool_count; /* of these, at sites of kind SITE_PYMALLOC */
	uint64_t region_bytes, region_count; /* and of kind SITE_MMAP */
};

/* What the report is divided by: see snapshot/groups.h. */
enum snapshot_grouping { BY_SITE, BY_PROCESS, BY_SERVICE, BY_CONTAINER };

struct snapshot_group {
	uint64_t id;          /* the same in each report */
	uint32_t target;      /* index of one of its processes, which says what they share */
	uint32_t process_cnt, exited_cnt, untraced_cnt;
	/* Of its sites, as those of the whole report. */
	struct snapshot_totals totals, pools, regions;
	/* Live of all its sites, to order groups by: no number to show, some of it may be estimated. */
	uint64_t rank_bytes, rank_count;
	double oldest_s;
	double growth_bytes_per_s; /* NaN: unknown */
};

struct snapshot_cost {
	uint64_t event_count; /* probe hits */
	uint64_t bpf_ns;      /* run time of the BPF programs, if has_bpf_ns */
	bool has_bpf_ns;
	double cpu_share;     /* of one CPU since the last report; NaN: unknown */
};

struct snapshot {
	struct timespec time; /* CLOCK_REALTIME */
	double elapsed_s;     /* since tracing began */
	double older_s;       /* the --older filter that live_* is under; 0: none */
	bool is_last;         /* the trace ends with this one */
	bool is_kernel;       /* of the kernel's own memory: sites have no processes */
	struct snapshot_target *targets;
	uint32_t target_cnt;
	enum snapshot_grouping grouping;
	struct snapshot_group *groups; /* each has a process; none for BY_SITE */
	uint32_t group_cnt;
	bool wants_all;       /* of targets and groups, where a view would list some and count the rest */
	struct snapshot_site *sites;
	uint32_t site_cnt;    /* sites still listed */
	uint64_t sample_bytes; /* of the allocator's blocks one in so many bytes is recorded, and their
				* numbers are estimates; 0: all are */
	struct snapshot_totals totals; /* of blocks only, if these are sampled: else of everything */
	struct snapshot_totals pools; /* of sites of kind SITE_PYMALLOC, each of which is counted */
	struct snapshot_totals regions; /* and of kind SITE_MMAP, likewise */
	struct snapshot_loss *losses;
	uint32_t loss_cnt;
	struct snapshot_cost cost;
	uint64_t unknown_free_count; /* frees of blocks older than the trace */
	uint64_t failed_alloc_count;
	uint32_t probe_cnt;   /* functions probed, in probe_file_cnt files */
	uint32_t probe_file_cnt;
	struct arena *arena;  /* owns the rest */
};

enum snapshot_sort { SORT_SIZE, SORT_COUNT, SORT_GROWTH, SORT_AGE };

/* Empty, with an unknown cpu_share. Returns NULL with errno ENOMEM. */
struct snapshot *snapshot__new(void);
/* Takes NULL. */
void snapshot__free(struct snapshot *snap);

/* Zeroed memory that lives as long as the snapshot; NULL with errno ENOMEM (also past
 * ARENA_MAX_BYTES of arena.h in all). */
void *snapshot__alloc(struct snapshot *snap, size_t size_bytes);
/* A copy of str (NULL gives ""), as long-lived; NULL with errno ENOMEM. */
const char *snapshot__strdup(struct snapshot *snap, const char *str);

/* Appends a zeroed element with its strings set to "" (and a growth unknown). NULL with errno
 * ENOMEM. The pointer is valid until the next append. */
struct snapshot_site *snapshot__add_site(struct snapshot *snap);
struct snapshot_target *snapshot__add_target(struct snapshot *snap);
struct snapshot_group *snapshot__add_group(struct snapshot *snap);
int snapshot__add_loss(struct snapshot *snap, const char *name, const char *meaning,
		       uint64_t count); /* 0 or -ENOMEM; a zero count is not added, a name that is
					 * there already is added to, both strings are copied */

/* Is the site's part of snap->totals? Not if those are of sampled blocks, and it has none. */
bool snapshot__is_in_totals(const struct snapshot *snap, const struct snapshot_site *site);

/* With 95 % confidence what is live is within these; both ends are the number if it is counted. */
struct range snapshot_site__bytes_range(const struct snapshot_site *site);
struct range snapshot_site__count_range(const struct snapshot_site *site);
struct range snapshot_totals__bytes_range(const struct snapshot_totals *totals);
struct range snapshot_totals__count_range(const struct snapshot_totals *totals);

/* Adds up two samples. */
void snapshot_sample__add(struct snapshot_sample *to, const struct snapshot_sample *sample);

/* Live bytes that something is in that the line has put there. */
uint64_t snapshot_site__used_bytes(const struct snapshot_site *site);

/* Fills totals from the sites, those of the groups too. Call before snapshot__select. */
void snapshot__sum(struct snapshot *snap);

/* Adds what was allocated and freed again at sites of a target that made room. */
void snapshot__add_retired(struct snapshot *snap, const struct snapshot_target *target,
			   const struct snapshot_retired *retired);

/*
 * Orders the sites by group, and within one the largest first (ties by used bytes, then live_count,
 * then id, pid and ref, so that the order is total), and keeps the first top of each group that have
 * something live. Unknown growth sorts last. Call it after snapshot__order_groups.
 */
void snapshot__select(struct snapshot *snap, enum snapshot_sort sort, uint32_t top);

#endif
