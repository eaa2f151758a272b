/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_TRACER_INTERNAL_H
#define UNFREED_AGENT_TRACER_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "agent/tracer.h"
#include "probe/uprobe_link.h"
#include "unfreed.skel.h"

/* Shared by tracer.c (life, probes, reading), tracer_tables.c (unwind tables, mappings),
 * tracer_programs.c (programs that few need), tracer_pools.c (Python's pools), tracer_regions.c (mapped
 * memory), tracer_pause.c (probes out and in again), tracer_kernel.c (the kernel's own memory),
 * tracer_places.c (are the probes where they should be?) and tracer_reclaim.c (what the dead leave
 * behind). */

#define REGION_PROGRAMS 6 /* of bpf/region.bpf.h */

/* The places of a file by what is attached there, in the order of attachment. */
enum place_kind {
	PLACES_FREE,
	PLACES_ALLOC, /* entry and return */
	PLACES_RET,   /* of functions that may throw */
	PLACES_THROW, /* their entries */
	PLACE_KIND_CNT,
};

/* Those of one kind, as the link wants them. */
struct place_list {
	uint64_t *offsets, *cookies;
	uint32_t cnt;
};

/* The probes of one file; the links by their keepers' numbers, in the order of attachment. */
struct probed_file {
	int *links;
	uint32_t link_cnt;
	uint32_t point_cnt; /* 0: the slot is free */
	/* Where probes are paused (tracer_pause.c): the file, and what goes where. */
	bool keeps_places;
	int fd;
	struct place_list lists[PLACE_KIND_CNT];
};

struct tracer {
	struct unfreed_bpf *skel;
	struct tracer_opts opts;
	enum attach_mode mode;
	struct link_keepers *keepers; /* of the uprobes' links */
	struct bpf_link *process_links[4];
	struct bpf_link *kernel_links[32]; /* of --kernel */
	uint32_t kernel_link_cnt;
	bool kernel_lacks_bulk;
	struct ring_buffer *events;
	tracer_event_fn event_fn; /* during tracer__poll_events */
	tracer_code_fn code_fn;
	tracer_region_fn region_fn;
	void *event_arg;
	struct uf_site *sites;
	struct uf_stack *stacks;
	struct uf_unwind_file *unwind_files;
	size_t sites_size, stacks_size, unwind_files_size;
	uint64_t *chunks[UF_MAX_CHUNKS]; /* mapped; NULL: not made yet */
	int first_chunk_fd;              /* -1: not made yet */
	struct probed_file files[UF_MAX_FILES];
	struct probed_file python; /* code_dealloc() of all interpreters, _exit() of their libcs */
	struct probed_file new_pool[UF_MAX_POOL_FILES]; /* their allocate_from_new_pool() */
	uint32_t new_pool_cnt;
	/* NULL until needed: programs for Python's pools over the same maps. */
	struct unfreed_bpf *pool_skel, *fault_skel;
	struct unfreed_bpf *region_skel; /* NULL without --mmap: likewise */
	struct bpf_link *region_links[REGION_PROGRAMS];
	uint32_t region_link_cnt;
	struct unfreed_bpf *gate_skel;  /* likewise, for libunfreed-gate.so */
	struct unfreed_bpf *throw_skel; /* likewise, for functions that may throw */
	struct unfreed_bpf *place_skel; /* likewise, for places that are being verified */
	struct probed_file place_checks[UF_MAX_PLACE_CHECKS]; /* no links: the number is free */
	struct uf_pool *pools;
	size_t pools_size;
	uint32_t file_cnt, probe_cnt;    /* now */
	struct pause *pause; /* NULL: the probes are in */
	bool has_probed;
	int cpu_cnt;
	struct uf_stats *cpu_stats; /* scratch, one a CPU */
};

/* Opens the object, configured but for which programs are loaded. 0 or -errno. */
int tracer__open(struct tracer *tracer);
/* Opens and loads what --kernel needs. 0 or -errno, see tracer__new. */
int tracer__load_kernel(struct tracer *tracer);
/* Before loading: how a program is going to be attached. */
void tracer__set_attach_type(struct bpf_program *prog, enum attach_mode mode, bool is_session);
/*
 * Programs cannot be added to a loaded object. The object once more with none of them marked for
 * loading, NULL with errno; and with those loaded that are by then, over the maps of the first:
 * frees it on failure. 0 or -errno.
 */
struct unfreed_bpf *tracer__open_again(void);
int tracer__load_marked(struct tracer *tracer, struct unfreed_bpf *skel);
/* Loads what functions that may throw need. 0 or -errno. */
int tracer__load_throw(struct tracer *tracer);
/* Puts in the probes of a file. 0 or -errno. */
int tracer__attach_lists(struct tracer *tracer, struct probed_file *file, int fd,
			 const struct place_list *lists);
/* Waits for the probes to be out, if they are being taken out, and forgets that they are. */
void tracer__end_pause(struct tracer *tracer);

/* Loads what libunfreed-gate.so needs. 0 or -errno. */
int tracer__load_gate(struct tracer *tracer);
/* Attaches to one place of an interpreter's file, in all targets. 0 or -errno. */
int tracer__attach_place(struct tracer *tracer, struct probed_file *links,
			 const struct bpf_program *prog, bool is_return, int fd, uint64_t offset);
/* The same at several places, with cookies; their path and pid are filled in. */
int tracer__attach_in_file(struct tracer *tracer, struct probed_file *links,
			  const struct bpf_program *prog, bool is_return, int fd,
			  const struct uprobe_places *in_file);
/* The same, in so many of the targets at most. */
int tracer__attach_in_some(struct tracer *tracer, struct probed_file *links,
			   const struct bpf_program *prog, bool is_return, int fd,
			   const struct uprobe_places *in_file, uint32_t max_pids);
/* After a change to what stacks lead to: they are walked anew (bpf/stack_memo.bpf.h). */
void tracer__forget_walks(struct tracer *tracer);
/* Gives the site's place back, once no probe can reach it. */
void tracer__clear_site(struct tracer *tracer, uint32_t i);
/* The programs for mapped memory, REGION_PROGRAMS: unmapping first, as of probes; one of a kind, then
 * those that stand by for it. */
void tracer__region_programs(const struct unfreed_bpf *skel, struct bpf_program **out);
/* Undoes tracer__attach_regions, whatever of it was done. */
void tracer__detach_regions(struct tracer *tracer);
/* Takes the probes of a file out. */
void tracer__detach(struct tracer *tracer, struct probed_file *file);

#endif
