/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_TRACER_H
#define UNFREED_AGENT_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "contract.h"
#include "probe/features.h"
#include "python.h"

/*
 * The life of the BPF side: open -> configure -> load -> attach -> read ->
 * free, and the only place that knows the skeleton. What others see are the
 * tables of include/contract.h.
 *
 * Order matters: probes on free go in first, as a block recorded while its free cannot be seen would
 * be reported for ever. And probes of a file count only while all of them are in (file_on), so that
 * no realloc is missed between the first probe and the last; they come out all at once, after that
 * (probe/link_keepers.h).
 */

struct tracer;
struct probe_points;

struct tracer_opts {
	uint64_t min_size_bytes, max_size_bytes; /* of allocations that count */
	bool pauses;          /* tracer__pause will be called */
	uint64_t sample_bytes; /* between two samples, at first; 0: all are recorded */
	uint32_t max_blocks;  /* size of the live table */
	uint32_t max_sites;   /* size of the site and stack tables */
	bool follow;          /* forked children are traced */
	bool every_process;   /* probes in every process; else only in those of opts.pids */
	bool whole_host;      /* what forks or executes becomes a target, but for ourselves; a
			       * forked child begins with no blocks */
	bool is_kernel;       /* the kernel's own memory; of the rest only sizes and pids count:
			       * what they allocate, or (pid_cnt 0) everybody */
	const pid_t *pids;    /* borrowed while the tracer lives */
	uint32_t pid_cnt;
	bool no_pools;        /* Python's small objects are of no interest */
	enum attach_mode attach;
	enum uf_stack_mode stack_mode;
	bool mmap;            /* tracer__attach_regions will be called */
	uint64_t huge_page_bytes; /* of a MAP_HUGETLB without a size; 0: the usual */
	bool debug;           /* libbpf's messages to stderr */
};

/*
 * Opens and loads. NULL with errno: EPERM without the privilege, ENOSYS without BPF,
 * ENOMEM, ENODEV for a kernel without the tracepoints of --kernel, EOPNOTSUPP for an attach mode that the kernel lacks, or what the kernel said (details on stderr).
 */
struct tracer *tracer__new(const struct tracer_opts *opts);
/* Takes NULL. Detaches and frees everything in the kernel. */
void tracer__free(struct tracer *tracer);

/* Attaches to the process tracepoints; before any target is added. 0 or -errno. */
int tracer__attach_process(struct tracer *tracer);
/*
 * Probes the points of the file open at fd, at once in all targets. The file's slot, or -errno;
 * -ENOSPC past UF_MAX_FILES.
 */
int tracer__attach_file(struct tracer *tracer, int fd, const struct probe_points *points);
/* The same of libunfreed-gate.so, whose functions of include/gate.h are at these file offsets. */
int tracer__attach_gate(struct tracer *tracer, int fd, uint64_t alloc_offset, uint64_t tell_offset);
/* Takes the probes of a slot out, which is free then: only of a file that no target has mapped. */
void tracer__detach_file(struct tracer *tracer, uint32_t slot);
/* Nothing in that slot counts from here on, but for calls that have been entered. */
void tracer__mute_file(struct tracer *tracer, uint32_t slot);
/* How the probes are placed: "uprobe session", "uprobe multi", "perf uprobe". */
const char *tracer__mode(const struct tracer *tracer);
enum attach_mode tracer__attach_mode(const struct tracer *tracer);
/* Functions probed and files that they are in. */
uint32_t tracer__probe_cnt(const struct tracer *tracer);
uint32_t tracer__file_cnt(const struct tracer *tracer);
/* Was any file ever probed? */
bool tracer__has_probed(const struct tracer *tracer);

/*
 * Takes the allocator's probes out of all files, and returns before they are: that takes some ten
 * milliseconds, waiting for all that may run them a good deal more. From now on no block is
 * recorded, and new files get no probes until they are put in again. 0 or -errno with the probes in.
 */
int tracer__pause(struct tracer *tracer);
/* When they were out (CLOCK_MONOTONIC), 0: not yet, or they are in. */
uint64_t tracer__paused_since(const struct tracer *tracer);
/* Waits until they are out. */
void tracer__wait_paused(struct tracer *tracer);
/* Puts them in again: a new window, which begins with the present epoch. 0 or -errno. */
int tracer__resume(struct tracer *tracer, uint64_t sample_bytes);
/* From now on, in bytes on average. */
void tracer__set_sample_bytes(struct tracer *tracer, uint64_t sample_bytes);

/* Around what replaces an unwind table that probes may be reading (bpf/stack_memo.bpf.h). */
void tracer__begin_replacing(struct tracer *tracer);
void tracer__end_replacing(struct tracer *tracer);

/* A number for a process that is about to become a target, for tables that must be there before;
 * or -errno. */
int64_t tracer__new_image(struct tracer *tracer, pid_t pid);
/*
 * Makes it a target; waits_exec: only from its next exec on. 0, or -errno, and the image is gone:
 * -EEXIST if the process is a target already (as the child of one), -ESRCH if it has ended.
 */
int tracer__add_process(struct tracer *tracer, pid_t pid, uf_image_id image, bool waits_exec);

/* It is no target any more: it has ended unseen, or the filter does not want it. */
void tracer__drop_process(struct tracer *tracer, pid_t pid, uf_image_id image);

/* Process events: a descriptor to poll, and their delivery in order. */
typedef void (*tracer_event_fn)(void *arg, const struct uf_event *event);
int tracer__events_fd(const struct tracer *tracer);
/* A code object that a stack had for the first time, among them. */
typedef void (*tracer_code_fn)(void *arg, const struct uf_python_code *code);
/* What became of mapped memory, among them. */
typedef void (*tracer_region_fn)(void *arg, const struct uf_region_event *event);
int tracer__poll_events(struct tracer *tracer, tracer_event_fn fn, tracer_code_fn code_fn,
			tracer_region_fn region_fn, void *arg);

/* Watches for freed code objects: the function at a file offset, in all targets. 0 or -errno. */
int tracer__attach_code_dealloc(struct tracer *tracer, int fd, uint64_t offset);
/* Places of a USDT probe, as user/probe/usdt.h has them, in arrays of cnt. */
#define GC_PLACES_MAX 16
struct gc_places {
	uint64_t offsets[GC_PLACES_MAX], semaphores[GC_PLACES_MAX];
	uint64_t args[GC_PLACES_MAX]; /* the first argument: UF_USDT_ARG */
	uint32_t cnt;
};
/*
 * Watches garbage collections of the interpreter in the file open at fd: its probes at the
 * beginning and at the end of one, in all targets. 0 or -errno with none of them attached.
 */
int tracer__attach_gc(struct tracer *tracer, int fd, const struct gc_places *starts,
		      const struct gc_places *dones);
/* The collections that were watched in an image; zeros if there were none. 0 or -errno. */
int tracer__read_gc(const struct tracer *tracer, uf_image_id image, struct uf_python_gc *out);
/* Not if no_pools: then none of the next functions is to be called. */
bool tracer__wants_pools(const struct tracer *tracer);
/* Loads what tracer__attach_new_pool needs, where a Python is about to run. 0 or -errno. */
int tracer__load_pools(struct tracer *tracer);
/*
 * Watches for opened pools: CPython's allocate_from_new_pool() in the file open at fd, at its entry
 * or places that a return probe may stand at, in all targets. Once a file. 0 or -errno; -ENOSPC past
 * UF_MAX_POOL_FILES.
 */
int tracer__attach_new_pool(struct tracer *tracer, int fd, const uint64_t *offsets, uint32_t cnt);
/* An image's interpreter as the walk knows it. 0, -ENOENT or another -errno. */
int tracer__get_python(const struct tracer *tracer, uf_image_id image, struct uf_python *python);
/* Is the code object the one still that was sent last, as far as is known? */
bool tracer__knows_code(const struct tracer *tracer, uf_image_id image, uint64_t address);
/* Has pools looked at when a Python calls the function at a file offset, _exit(), in all targets.
 * 0 or -errno. */
int tracer__attach_exit(struct tracer *tracer, int fd, uint64_t offset);
/* Has young pools looked at when a Python calls a function at one of the file offsets, malloc() and
 * the like, in all targets. 0 or -errno. */
int tracer__attach_pool_watch(struct tracer *tracer, int fd, const uint64_t *offsets, uint32_t cnt);
/* Watches for opened pools by page faults, in all images whose uf_python says where. 0 or -errno:
 * -ESRCH where the kernel has no such tracepoint. */
int tracer__attach_pool_fault(struct tracer *tracer);
/* Has the walk read an image's Python frames. 0 or -errno. */
int tracer__set_python(struct tracer *tracer, uf_image_id image, const struct uf_python *python);

/* The tables, mapped; live as long as the tracer. Sites up to *cnt may be in use. */
struct uf_site *tracer__sites(const struct tracer *tracer, uint32_t *cnt);
const struct uf_stack *tracer__stack(const struct tracer *tracer, uint32_t stack);
struct cohorts_shared tracer__cohorts_shared(const struct tracer *tracer);

/* ---- for agent/places.c ---- */

/*
 * Compares a place in a function, of which the probe reads arg_cnt arguments, with the function's
 * entry, call by call, in a few of the targets; UF_EVENT_PLACE_CHECKED tells when enough is known.
 * Both are offsets in the file open at fd. The number of the check, or -errno: -ENOSPC past
 * UF_MAX_PLACE_CHECKS.
 */
int tracer__check_place(struct tracer *tracer, int fd, uint64_t entry, uint64_t place, int arg_cnt);
/* What was seen so far; is_decided: enough. */
struct uf_place_check tracer__place_check(const struct tracer *tracer, uint32_t number);
/* Takes the two probes out; the number is free. */
void tracer__end_place_check(struct tracer *tracer, uint32_t number);

/* ---- for agent/pools.c ---- */

/* Pools up to *cnt may be in use. */
struct uf_pool *tracer__pools(const struct tracer *tracer, uint32_t *cnt);
/*
 * Gives back pools without a tenant, marked in is_idle (one a pool, as many as tracer__pools said).
 * One that gets a tenant meanwhile is kept, or told to fn if there is another of its address by
 * now: then nobody is in it any more. 0 or -errno.
 */
typedef void (*tracer_pool_fn)(void *arg, struct uf_pool *pool);
int tracer__free_pools(struct tracer *tracer, const bool *is_idle, uint32_t cnt, tracer_pool_fn fn,
		       void *arg);
/* The image is gone. */
void tracer__forget_young_pools(struct tracer *tracer, uf_image_id image);
/* Has the probe in a file given up? Then it is taken out; true once for each. */
bool tracer__pools_failed(struct tracer *tracer);

/* ---- for agent/regions.c ---- */

/*
 * Watches mmap, munmap, mremap and brk of all targets; before any is added. 0 or -errno.
 */
int tracer__attach_regions(struct tracer *tracer);
/* Were events of mapped memory lost since it was last asked? */
bool tracer__regions_are_lost(struct tracer *tracer);
/* The site of an image with the kind and the stack of another's: its index, or -ENOSPC. */
int64_t tracer__copy_site(struct tracer *tracer, uint32_t site, uf_image_id image);
/* ---- the kernel's own memory (is_kernel): no process, file or pool is known to these ---- */

/* Attaches to what the kernel has. 0 or -errno. */
int tracer__attach_kernel(struct tracer *tracer);
/* Are objects that are allocated and freed in bulk not seen here? */
bool tracer__kernel_lacks_bulk(const struct tracer *tracer);
/* How many events neither of their programs has seen, as they came within others. 0 or -ENOMEM. */
int tracer__kernel_misses(const struct tracer *tracer, uint64_t *alloc_cnt, uint64_t *free_cnt);

/* ---- for agent/unwinder.c: unwind tables in the kernel ---- */

/* Gives the file its number. 0 or -errno. */
int tracer__number_file(struct tracer *tracer, const struct uf_file_key *key, uint32_t number);
/* The place of a number's table, mapped. number < UF_MAX_UNWIND_FILES. */
struct uf_unwind_file *tracer__unwind_file(const struct tracer *tracer, uint32_t number);
/* Writes into the words that the tables lie in, adding chunks as needed. 0 or -errno. */
int tracer__write_words(struct tracer *tracer, uint32_t first, const uint64_t *words,
			uint32_t cnt);

/*
 * Lists the executable file mappings of a process as the kernel has them. 0, or -errno: then /proc
 * must do.
 */
typedef void (*tracer_mapping_fn)(void *arg, const struct uf_mapping *mapping);
int tracer__list_mappings(struct tracer *tracer, pid_t pid, tracer_mapping_fn fn, void *arg);

/* Sums over the CPUs. 0 or -errno. */
int tracer__stats(const struct tracer *tracer, struct uf_stats *out);

/* Runs of all our programs that the kernel has timed: while somebody has its statistics on. */
struct tracer_runs {
	uint64_t ns, cnt;
};
void tracer__read_runs(const struct tracer *tracer, struct tracer_runs *out);

/*
 * Frees what dead images hold in the kernel: blocks, sites, stacks. Images with living
 * heirs are left alone and kept in the array; *cnt is how many remain. 0 or -errno.
 */
int tracer__reclaim(struct tracer *tracer, uf_image_id *images, uint32_t *cnt);

/* Is the site or the stack table more than half full? */
bool tracer__wants_room(const struct tracer *tracer);
/*
 * When the site or the stack table is more than half full: frees sites with nothing live, and
 * stacks that no site has. fn is told of each site before it goes, so that its totals are not
 * lost. 0 or -errno.
 */
typedef void (*tracer_retired_fn)(void *arg, const struct uf_site *site);
int tracer__make_room(struct tracer *tracer, tracer_retired_fn fn, void *arg);

/* Waits until every probe that runs now has ended. 0 or -errno. */
int tracer__synchronize(struct tracer *tracer);

#endif
