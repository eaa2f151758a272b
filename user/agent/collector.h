/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_COLLECTOR_H
#define UNFREED_AGENT_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include "snapshot/snapshot.h"

/*
 * From the kernel's tables to a snapshot: reads the sites (O(sites), whatever
 * the number of live blocks), applies the age filter, joins the sites of a
 * service's processes, selects, and puts names to the frames of the sites that
 * are left.
 */

struct collector;
struct tracer;
struct tracees;
struct cohorts;
struct gc_watch;
struct frame_names;
struct kernel_names;
struct pools;
struct uf_site;

struct collector_opts {
	uint64_t older_ns;
	uint64_t sample_bytes; /* the trace samples; 0: it records all */
	enum snapshot_sort sort;
	uint32_t top;
	enum snapshot_grouping grouping;
	bool wants_all;   /* see snapshot.h */
	bool per_process; /* sites of different processes stay apart */
};

/* All the others are borrowed. Of the kernel's own memory (kernel not NULL) gc_watch and names may
 * be NULL, tracees empty. NULL with errno ENOMEM. */
struct collector *collector__new(const struct collector_opts *opts, struct tracer *tracer,
				 struct tracees *tracees, struct cohorts *cohorts,
				 const struct gc_watch *gc_watch, const struct pools *pools,
				 const struct frame_names *names, struct kernel_names *kernel);
/* Takes NULL. */
void collector__free(struct collector *collector);

/* A site of the kernel's with nothing live is about to go: its totals stay. */
void collector__retire_kernel(struct collector *collector, const struct uf_site *site);

/* A snapshot of now, the caller's; NULL with errno. */
struct snapshot *collector__take(struct collector *collector, bool is_last);

#endif
