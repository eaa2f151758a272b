/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/collector.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "agent/cohorts.h"
#include "agent/frame_names.h"
#include "agent/gc_watch.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "agent/unwinder.h"
#include "target/mapping_log.h"
#include "target/proc_info.h"

/* What a site had at the last report, for its growth. */
struct last_seen {
	uint64_t stack_id; /* 0: nothing */
	uf_image_id image;
	uint64_t live_bytes;
};

struct collector {
	struct collector_opts opts;
	struct tracer *tracer;
	struct tracees *tracees;
	struct cohorts *cohorts;
	const struct gc_watch *gc_watch;
	const struct frame_names *names;
	uint64_t start_ns, last_ns; /* last_ns 0: no report yet */
	struct last_seen *last;
	uint32_t last_cnt;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

struct collector *collector__new(const struct collector_opts *opts, struct tracer *tracer,
				 struct tracees *tracees, struct cohorts *cohorts,
				 const struct gc_watch *gc_watch,
				 const struct frame_names *names)
{
	struct collector *collector = calloc(1, sizeof(*collector));

	if (!collector)
		return NULL;
	collector->opts = *opts;
	collector->tracer = tracer;
	collector->tracees = tracees;
	collector->cohorts = cohorts;
	collector->gc_watch = gc_watch;
	collector->names = names;
	collector->start_ns = now_ns(CLOCK_MONOTONIC);
	return collector;
}

void collector__free(struct collector *collector)
{
	if (!collector)
		return;
	free(collector->last);
	free(collector);
}

/* A cohort's numbers; below zero only for the moment in which it is being merged. */
static uint64_t cohort_number(const __s64 *number)
{
	int64_t n = __atomic_load_n(number, __ATOMIC_RELAXED);

	return n > 0 ? n : 0;
}

/* Reads the counters, frees before allocations: live never comes out below zero. */
static void read_counters(const struct uf_site *from, struct snapshot_site *site)
{
	site->free_bytes = __atomic_load_n(&from->free_bytes, __ATOMIC_ACQUIRE);
	site->free_count = __atomic_load_n(&from->free_cnt, __ATOMIC_ACQUIRE);
	site->alloc_bytes = __atomic_load_n(&from->alloc_bytes, __ATOMIC_ACQUIRE);
	site->alloc_count = __atomic_load_n(&from->alloc_cnt, __ATOMIC_ACQUIRE);
	site->live_bytes = site->alloc_bytes - site->free_bytes;
	site->live_count = site->alloc_count - site->free_count;
}

/* Fills ages, oldest_s and, under --older, what is live. */
static int read_ages(const struct collector *collector, struct snapshot *snap,
		     const struct uf_site *from, struct snapshot_site *site,
		     const struct cohort_age *ages, uint32_t age_cnt)
{
	uint64_t bytes = 0, count = 0, old_bytes = 0, old_count = 0;

	site->ages = snapshot__alloc(snap, age_cnt * sizeof(*site->ages));
	if (!site->ages)
		return -ENOMEM;
	/* From the oldest on; the array is filled from its end. */
	for (uint32_t i = age_cnt; i-- > 0;) {
		const struct uf_cohort *cohort = &from->cohorts[ages[i].slot];
		uint64_t n = cohort_number(&cohort->live_cnt);

		if (!n)
			continue;
		count += n;
		bytes += cohort_number(&cohort->live_bytes);
		if (count == n)
			site->oldest_s = ages[i].min_age_ns / 1e9;
		site->age_cnt++;
		site->ages[age_cnt - site->age_cnt] = (struct snapshot_age){
			.older_than_s = ages[i].min_age_ns / 1e9,
			.bytes = bytes,
			.count = count,
		};
		if (ages[i].min_age_ns >= collector->opts.older_ns) {
			old_bytes = bytes;
			old_count = count;
		}
	}
	site->ages += age_cnt - site->age_cnt;
	if (collector->opts.older_ns) {
		site->live_bytes = old_bytes;
		site->live_count = old_count;
	}
	return 0;
}

static void read_growth(struct collector *collector, const struct uf_site *from, uint32_t i,
			struct snapshot_site *site, uint64_t now)
{
	struct last_seen *last = &collector->last[i];
	double seconds = (now - collector->last_ns) / 1e9;
	double before = 0; /* a site that is new had nothing */

	if (last->stack_id == from->stack_id && last->image == from->image)
		before = last->live_bytes;
	site->growth_bytes_per_s = collector->last_ns && seconds > 0
					   ? ((double)site->live_bytes - before) / seconds
					   : NAN;
	*last = (struct last_seen){
		.stack_id = from->stack_id,
		.image = from->image,
		.live_bytes = site->live_bytes,
	};
}

static int grow_last_seen(struct collector *collector, uint32_t cnt)
{
	struct last_seen *last;

	if (cnt <= collector->last_cnt)
		return 0;
	last = reallocarray(collector->last, cnt, sizeof(*last));
	if (!last)
		return -ENOMEM;
	for (uint32_t i = collector->last_cnt; i < cnt; i++)
		last[i] = (struct last_seen){0};
	collector->last = last;
	collector->last_cnt = cnt;
	return 0;
}

static int add_sites(struct collector *collector, struct snapshot *snap, uint64_t now)
{
	struct cohort_age ages[UF_MAX_COHORTS];
	uint32_t age_cnt = cohorts__ages(collector->cohorts, now, ages), cnt;
	const struct uf_site *sites = tracer__sites(collector->tracer, &cnt);
	const struct tracee *tracee = NULL;
	int err = grow_last_seen(collector, cnt);

	for (uint32_t i = 0; !err && i < cnt; i++) {
		const struct uf_site *from = &sites[i];
		struct snapshot_site *site;

		if (__atomic_load_n(&from->state, __ATOMIC_ACQUIRE) != UF_SITE_READY)
			continue;
		if (!tracee || tracee->image != from->image)
			tracee = tracees__find(collector->tracees, from->image);
		if (!tracee || tracee->is_dropped)
			continue;
		site = snapshot__add_site(snap);
		if (!site)
			return -ENOMEM;
		site->id = from->stack_id;
		site->pid = tracee->pid;
		site->comm = snapshot__strdup(snap, tracee->comm);
		site->ref = from->stack;
		if (!site->comm)
			return -ENOMEM;
		read_counters(from, site);
		err = read_ages(collector, snap, from, site, ages, age_cnt);
		read_growth(collector, from, i, site, now);
	}
	return err;
}

/* 0 or -ENOMEM. */
static int add_python(const struct collector *collector, struct snapshot *snap,
		      const struct tracee *tracee, struct snapshot_target *target)
{
	const char *frames = tracee->python_note[0] ? tracee->python_note : "ok";
	struct snapshot_python *python;

	if (!tracee->gc.has_interpreter)
		return 0;
	python = snapshot__alloc(snap, sizeof(*python));
	if (!python)
		return -ENOMEM;
	python->version = snapshot__strdup(snap, tracee->python_version);
	python->frames = snapshot__strdup(snap, frames);
	if (!python->version || !python->frames)
		return -ENOMEM;
	gc_watch__describe(collector->gc_watch, tracee, python);
	target->python = python;
	return 0;
}

static int add_targets(const struct collector *collector, struct snapshot *snap)
{
	for (struct tracee *tracee = tracees__first(collector->tracees); tracee;
	     tracee = tracee->next) {
		struct snapshot_target *target;

		if (tracee->is_dropped)
			continue;
		target = snapshot__add_target(snap);
		if (!target)
			return -ENOMEM;
		if (!tracee->has_ended)
			tracee__refresh(collector->tracees, tracee);
		target->pid = tracee->pid;
		target->comm = snapshot__strdup(snap, tracee->comm);
		target->exe = snapshot__strdup(snap, tracee->exe);
		target->cgroup = snapshot__strdup(snap, tracee->cgroup);
		target->container = snapshot__strdup(snap, tracee->container);
		target->container_id = snapshot__strdup(snap, tracee->container_id);
		target->pod = snapshot__strdup(snap, tracee->pod);
		target->pod_namespace = snapshot__strdup(snap, tracee->pod_namespace);
		target->unit = snapshot__strdup(snap, tracee->unit);
		target->note = snapshot__strdup(snap, tracee->note[0] ? tracee->note : tracee->python_note);
		target->exited = tracee->has_ended;
		target->has_rss = !tracee->has_ended &&
				  proc_info__rss_bytes(tracee->pid, &target->rss_bytes);
		if (!target->comm || !target->exe || !target->cgroup || !target->note ||
		    !target->container || !target->container_id || !target->pod ||
		    !target->pod_namespace || !target->unit ||
		    add_python(collector, snap, tracee, target))
			return -ENOMEM;
	}
	return 0;
}

static int add_losses(const struct collector *collector, struct snapshot *snap)
{
	static const struct {
		const char *name, *meaning;
	} losses[UF_LOSS_CNT] = {
#define X(id, name, meaning) {name, meaning},
		UF_LOSSES(X)
#undef X
	};
	struct uf_stats stats;
	int err = tracer__stats(collector->tracer, &stats);

	for (int i = 0; !err && i < UF_LOSS_CNT; i++)
		err = snapshot__add_loss(snap, losses[i].name, losses[i].meaning, stats.loss_cnt[i]);
	if (err)
		return err;
	snap->cost.event_count = stats.event_cnt;
	snap->unknown_free_count = stats.unknown_free_cnt;
	snap->failed_alloc_count = stats.failed_alloc_cnt;
	err = snapshot__add_loss(snap, "unwind_tables_full",
				 "unwind tables that had no room: their stacks are cut",
				 unwinder__lost_cnt(collector->names->unwinder));
	if (err)
		return err;
	return snapshot__add_loss(snap, "mapping_records",
				  "records of mappings lost: frames may lack names",
				  mapping_log__lost_cnt(collector->names->mappings));
}

/* What was allocated and freed at sites that are gone. */
static void add_retired(const struct collector *collector, struct snapshot *snap)
{
	for (const struct tracee *tracee = tracees__first(collector->tracees); tracee;
	     tracee = tracee->next) {
		if (tracee->is_dropped)
			continue;
		snap->totals.alloc_bytes += tracee->retired_bytes;
		snap->totals.alloc_count += tracee->retired_cnt;
		snap->totals.free_bytes += tracee->retired_bytes;
		snap->totals.free_count += tracee->retired_cnt;
	}
}

static int resolve_sites(struct collector *collector, struct snapshot *snap)
{
	static const char *const ends[UF_END_CNT] = {
#define X(id, name) [UF_END_##id] = name,
		UF_STACK_ENDS(X)
#undef X
	};

	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		struct snapshot_site *site = &snap->sites[i];
		const struct uf_stack *stack = tracer__stack(collector->tracer, site->ref);
		int err;

		if (!stack)
			continue;
		site->stack_end = ends[stack->end < UF_END_CNT ? stack->end : UF_END_STUCK];
		err = frame_names__resolve(collector->names, snap, site, stack);
		if (err)
			return err;
	}
	return 0;
}

struct snapshot *collector__take(struct collector *collector, bool is_last)
{
	struct snapshot *snap = snapshot__new();
	uint64_t now = now_ns(CLOCK_MONOTONIC);
	int err;

	if (!snap)
		return NULL;
	clock_gettime(CLOCK_REALTIME, &snap->time);
	snap->elapsed_s = (now - collector->start_ns) / 1e9;
	snap->older_s = collector->opts.older_ns / 1e9;
	snap->is_last = is_last;
	snap->cost.cpu_share = NAN;
	snap->probe_cnt = tracer__probe_cnt(collector->tracer);
	snap->probe_file_cnt = tracer__file_cnt(collector->tracer);
	err = add_targets(collector, snap);
	if (!err)
		err = add_sites(collector, snap, now);
	if (!err)
		err = add_losses(collector, snap);
	if (err)
		goto free_snapshot;
	snapshot__sum(snap);
	add_retired(collector, snap);
	snapshot__select(snap, collector->opts.sort, collector->opts.top);
	err = resolve_sites(collector, snap);
	if (err)
		goto free_snapshot;
	collector->last_ns = now;
	return snap;

free_snapshot:
	snapshot__free(snap);
	errno = -err;
	return NULL;
}
