/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/collector.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/cohorts.h"
#include "agent/frame_names.h"
#include "agent/gc_watch.h"
#include "agent/growth.h"
#include "agent/kernel_names.h"
#include "agent/nested_calls.h"
#include "agent/pools.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "agent/unwinder.h"
#include "snapshot/groups.h"
#include "snapshot/services.h"
#include "snapshot/site_id.h"
#include "target/clock.h"
#include "target/container.h"
#include "target/mapping_log.h"
#include "target/proc_info.h"

/* What a stack of the kernel's table adds to its sites' ids; by its index there. */
struct place {
	uint64_t stack_id, time_ns; /* of the stack that it was made for; 0: none */
	uint64_t hash;
	bool is_final;
	bool is_nested; /* made by an allocator function, in a trace that samples */
};

struct collector {
	struct collector_opts opts;
	struct tracer *tracer;
	struct tracees *tracees;
	struct cohorts *cohorts;
	const struct gc_watch *gc_watch;
	const struct pools *pools;
	const struct frame_names *names;
	struct kernel_names *kernel; /* NULL: processes are traced */
	uint64_t start_ns;
	struct growth *growth;
	struct place *places;
	uint32_t place_cnt;
	struct snapshot_totals retired; /* of the kernel's sites that made room */
};

struct collector *collector__new(const struct collector_opts *opts, struct tracer *tracer,
				 struct tracees *tracees, struct cohorts *cohorts,
				 const struct gc_watch *gc_watch, const struct pools *pools,
				 const struct frame_names *names, struct kernel_names *kernel)
{
	struct collector *collector = calloc(1, sizeof(*collector));

	if (!collector)
		return NULL;
	collector->opts = *opts;
	collector->tracer = tracer;
	collector->tracees = tracees;
	collector->cohorts = cohorts;
	collector->gc_watch = gc_watch;
	collector->pools = pools;
	collector->names = names;
	collector->kernel = kernel;
	collector->start_ns = monotonic_ns();
	collector->growth = growth__new(opts->per_process);
	if (!collector->growth) {
		collector__free(collector);
		errno = ENOMEM;
		return NULL;
	}
	return collector;
}

void collector__free(struct collector *collector)
{
	if (!collector)
		return;
	growth__free(collector->growth);
	free(collector->places);
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

/* Below zero for the moment between two of its numbers. */
static uint64_t sample_number(const __u64 *number)
{
	int64_t n = (int64_t)__atomic_load_n(number, __ATOMIC_RELAXED);

	return n > 0 ? (uint64_t)n : 0;
}

/* Of a site whose blocks are sampled. Under --older: the part that is live by ages. */
static void read_sample(const struct uf_site *from, struct snapshot_site *site)
{
	uint64_t freed = __atomic_load_n(&from->sampled.free_cnt, __ATOMIC_ACQUIRE);
	uint64_t live_bytes = site->alloc_bytes - site->free_bytes;
	uint64_t live_count = site->alloc_count - site->free_count;
	double bytes_part = live_bytes ? (double)site->live_bytes / live_bytes : 0;
	double count_part = live_count ? (double)site->live_count / live_count : 0;
	uint64_t cnt = __atomic_load_n(&from->sampled.alloc_cnt, __ATOMIC_ACQUIRE) - freed;

	site->sample = (struct snapshot_sample){
		.count = (uint64_t)(cnt * count_part),
		.bytes = (uint64_t)(sample_number((const __u64 *)&from->sampled.live_bytes) *
				    bytes_part),
		.bytes_variance = (double)sample_number(&from->sampled.bytes_variance) *
				  (1 << UF_VARIANCE_SHIFT) * bytes_part,
		.count_variance = (double)sample_number(&from->sampled.cnt_variance) * count_part,
	};
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

/* Where a stack's place is kept; NULL: no memory for that, which costs time only. */
static struct place *place_at(struct collector *collector, uint32_t stack)
{
	uint32_t cnt = collector->place_cnt ? collector->place_cnt : 1024;
	struct place *places;

	if (stack < collector->place_cnt)
		return &collector->places[stack];
	while (cnt <= stack)
		cnt *= 2;
	places = reallocarray(collector->places, cnt, sizeof(*places));
	if (!places)
		return NULL;
	memset(places + collector->place_cnt, 0, (cnt - collector->place_cnt) * sizeof(*places));
	collector->places = places;
	collector->place_cnt = cnt;
	return &places[stack];
}

/*
 * Looking at all frames of all sites for each report would be most of its cost. What has no name
 * at the first look may get one: its mapping's record may have been on the way. By the second it
 * has come, or never will.
 */
static struct place look_at_stack(struct collector *collector, const struct uf_site *from)
{
	const struct uf_stack *stack = tracer__stack(collector->tracer, from->stack);
	struct place *known = stack ? place_at(collector, from->stack) : NULL;
	struct place place = {.hash = from->stack_id};
	bool is_known;

	if (!stack)
		return place;
	is_known = known && known->stack_id == stack->id && known->time_ns == stack->time_ns;
	if (is_known && known->is_final)
		return *known;
	place.stack_id = stack->id;
	place.time_ns = stack->time_ns;
	if (collector->kernel) {
		place.hash = kernel_names__hash(collector->kernel, stack);
		place.is_final = true;
	} else {
		place.is_final =
			frame_names__hash(collector->names, stack, &place.hash) || is_known;
		place.is_nested = collector->opts.sample_bytes &&
				  stack__is_nested(collector->names, stack);
	}
	if (known)
		*known = place;
	return place;
}

/* See snapshot/site_id.h. */
static uint64_t site_id(const struct place *place, const struct uf_site *from, const char *program)
{
	return site_id__add(site_id__add_text(place->hash, program), from->kind);
}

static enum snapshot_site_kind kind_of(const struct uf_site *site)
{
	static const enum snapshot_site_kind kinds[UF_SITE_KIND_CNT] = {
		[UF_SITE_MALLOC] = SITE_MALLOC,
		[UF_SITE_PYMALLOC] = SITE_PYMALLOC,
		[UF_SITE_MMAP] = SITE_MMAP,
		[UF_SITE_KERNEL_SLAB] = SITE_KERNEL_SLAB,
		[UF_SITE_KERNEL_PAGES] = SITE_KERNEL_PAGES,
		[UF_SITE_KERNEL_PERCPU] = SITE_KERNEL_PERCPU,
	};

	return site->kind < UF_SITE_KIND_CNT ? kinds[site->kind] : SITE_MALLOC;
}

/* One look at the kernel's tables, for all sites. */
struct sites_look {
	struct cohort_age ages[UF_MAX_COHORTS];
	uint32_t age_cnt;
	struct pool_use *pools; /* by site; NULL: none */
	const struct tracee *tracee; /* of the last site */
};

/* 0 or -ENOMEM. */
static int look(const struct collector *collector, uint64_t now, uint32_t site_cnt,
		struct sites_look *look)
{
	bool counts[UF_MAX_COHORTS] = {false};

	*look = (struct sites_look){0};
	look->age_cnt = cohorts__ages(collector->cohorts, now, look->ages);
	for (uint32_t i = 0; i < look->age_cnt; i++)
		counts[look->ages[i].slot] = look->ages[i].min_age_ns >= collector->opts.older_ns;
	if (collector->kernel)
		return 0;
	look->pools = pools__use(collector->pools, counts, site_cnt);
	return look->pools ? 0 : -errno;
}

/*
 * The id of a site that is to be shown, and whose it is (none in the kernel); 0: not shown. Pages of
 * the kernel's that are counted as what lies in them are not, nor calls within others that were
 * sampled as if they were the program's.
 */
static uint64_t identify(struct collector *collector, const struct snapshot *snap,
			 struct sites_look *look, const struct uf_site *from)
{
	struct place place;

	if (__atomic_load_n(&from->state, __ATOMIC_ACQUIRE) != UF_SITE_READY)
		return 0;
	if (collector->kernel) {
		place = look_at_stack(collector, from);
		return place.hash ? site_id__add(place.hash, from->kind) : 0;
	}
	if (!look->tracee || look->tracee->image != from->image)
		look->tracee = tracees__find(collector->tracees, from->image);
	if (!look->tracee || look->tracee->is_dropped)
		return 0;
	place = look_at_stack(collector, from);
	if (place.is_nested && from->kind == UF_SITE_MALLOC)
		return 0;
	return site_id(&place, from, snap->targets[look->tracee->target].program);
}

/* 0 or -ENOMEM. */
static int add_site(struct collector *collector, struct snapshot *snap, struct sites_look *look,
		    const struct uf_site *from, uint32_t index)
{
	uint64_t id = identify(collector, snap, look, from);
	struct snapshot_site *site = id ? snapshot__add_site(snap) : NULL;
	int err;

	if (!id)
		return 0;
	if (!site)
		return -ENOMEM;
	site->kind = kind_of(from);
	site->id = id;
	site->pid = look->tracee ? look->tracee->pid : 0;
	site->target = look->tracee ? look->tracee->target : 0;
	site->comm = snapshot__strdup(snap, look->tracee ? look->tracee->comm : "");
	site->ref = from->stack;
	if (!site->comm)
		return -ENOMEM;
	read_counters(from, site);
	if (look->pools) {
		site->unused_bytes = look->pools[index].unused_bytes;
		site->foreign_bytes = look->pools[index].foreign_bytes;
	}
	err = read_ages(collector, snap, from, site, look->ages, look->age_cnt);
	if (!err && collector->opts.sample_bytes && site->kind == SITE_MALLOC)
		read_sample(from, site);
	return err;
}

static int add_sites(struct collector *collector, struct snapshot *snap, uint64_t now)
{
	struct sites_look at;
	uint32_t cnt;
	const struct uf_site *sites = tracer__sites(collector->tracer, &cnt);
	int err = look(collector, now, cnt, &at);

	for (uint32_t i = 0; !err && i < cnt; i++)
		err = add_site(collector, snap, &at, &sites[i], i);
	free(at.pools);
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

/* The one that matters most. */
static const char *note_of(const struct tracee *tracee)
{
	if (tracee->note[0])
		return tracee->note;
	return tracee->python_note[0] ? tracee->python_note : tracee->pool_note;
}

/* A file that is replaced goes on running under its old name. NULL: out of memory. */
static const char *program_of(struct snapshot *snap, const struct tracee *tracee)
{
	size_t length = mapped_file__name_length(tracee->exe, strlen(tracee->exe));
	char *program = snapshot__alloc(snap, length + 1);

	if (program)
		memcpy(program, tracee->exe, length);
	return program;
}

static int add_targets(const struct collector *collector, struct snapshot *snap)
{
	containers__look_again(tracees__containers(collector->tracees));
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
		tracee->target = snap->target_cnt - 1;
		target->id = tracee->image;
		target->pid = tracee->pid;
		target->program = program_of(snap, tracee);
		target->is_untraced = tracee->note[0];
		target->comm = snapshot__strdup(snap, tracee->comm);
		target->exe = snapshot__strdup(snap, tracee->exe);
		target->cgroup = snapshot__strdup(snap, tracee->cgroup);
		target->container = snapshot__strdup(snap, tracee->container);
		target->container_id = snapshot__strdup(snap, tracee->container_id);
		target->pod = snapshot__strdup(snap, tracee->pod);
		target->pod_namespace = snapshot__strdup(snap, tracee->pod_namespace);
		target->unit = snapshot__strdup(snap, tracee->unit);
		target->note = snapshot__strdup(snap, note_of(tracee));
		target->exited = tracee->has_ended;
		target->has_rss = !tracee->has_ended &&
				  proc_info__rss_bytes(tracee->pid, &target->rss_bytes);
		if (!target->comm || !target->exe || !target->program || !target->cgroup || !target->note ||
		    !target->container || !target->container_id || !target->pod ||
		    !target->pod_namespace || !target->unit ||
		    add_python(collector, snap, tracee, target))
			return -ENOMEM;
	}
	return 0;
}

static int add_kernel_losses(const struct collector *collector, struct snapshot *snap)
{
	uint64_t alloc_cnt, free_cnt;
	int err = tracer__kernel_misses(collector->tracer, &alloc_cnt, &free_cnt);

	if (!err)
		err = snapshot__add_loss(snap, "kernel_alloc_missed",
					 "kernel allocations not recorded: made within others",
					 alloc_cnt);
	if (err)
		return err;
	return snapshot__add_loss(snap, "kernel_free_missed",
				  "kernel frees not seen: what they freed is shown until its address "
				  "is used again", free_cnt);
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
	if (collector->kernel)
		return add_kernel_losses(collector, snap);
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
	snap->totals.alloc_bytes += collector->retired.alloc_bytes;
	snap->totals.alloc_count += collector->retired.alloc_count;
	snap->totals.free_bytes += collector->retired.free_bytes;
	snap->totals.free_count += collector->retired.free_count;
	for (const struct tracee *tracee = tracees__first(collector->tracees); tracee;
	     tracee = tracee->next)
		if (!tracee->is_dropped)
			snapshot__add_retired(snap, &snap->targets[tracee->target],
					      &tracee->retired);
}

/*
 * The allocator's own frames are not part of a stack, and the C library's around a system call are
 * as little worth showing: the first frame is their caller.
 */
static void skip_system_call(struct snapshot_site *site)
{
	static const char *const names[] = {
		"mmap", "mmap64", "__mmap", "__mmap64", "__GI___mmap64", "mremap", "__mremap",
		"__GI___mremap", "brk", "__brk", "__brk_call", "__GI___brk", "sbrk", "__sbrk",
		"__GI___sbrk", "syscall", "__syscall_cp_asm",
	};
	bool is_known = true;

	while (is_known && site->frame_cnt > 1) {
		is_known = false;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			is_known |= !strcmp(site->frames[0].function, names[i]);
		site->frames += is_known;
		site->frame_cnt -= is_known;
	}
}

void collector__retire_kernel(struct collector *collector, const struct uf_site *site)
{
	if (!look_at_stack(collector, site).hash)
		return;
	collector->retired.alloc_bytes += site->alloc_bytes;
	collector->retired.alloc_count += site->alloc_cnt;
	collector->retired.free_bytes += site->free_bytes;
	collector->retired.free_count += site->free_cnt;
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
		err = collector->kernel
			      ? kernel_names__resolve(collector->kernel, snap, site, stack)
			      : frame_names__resolve(collector->names, snap, site, stack);
		if (err)
			return err;
		if (site->kind == SITE_MMAP)
			skip_system_call(site);
	}
	return 0;
}

struct snapshot *collector__take(struct collector *collector, bool is_last)
{
	struct snapshot *snap = snapshot__new();
	uint64_t now = monotonic_ns();
	int err;

	if (!snap)
		return NULL;
	clock_gettime(CLOCK_REALTIME, &snap->time);
	snap->elapsed_s = (now - collector->start_ns) / 1e9;
	snap->older_s = collector->opts.older_ns / 1e9;
	snap->is_last = is_last;
	snap->wants_all = collector->opts.wants_all;
	snap->cost.cpu_share = NAN;
	snap->probe_cnt = tracer__probe_cnt(collector->tracer);
	snap->probe_file_cnt = tracer__file_cnt(collector->tracer);
	snap->is_kernel = collector->kernel;
	snap->sample_bytes = collector->opts.sample_bytes;
	err = add_targets(collector, snap);
	if (!err)
		err = add_sites(collector, snap, now);
	if (!err)
		err = add_losses(collector, snap);
	if (err)
		goto free_snapshot;
	err = snapshot__group(snap, collector->opts.grouping);
	if (!err)
		err = snapshot__join_services(snap, collector->opts.per_process);
	if (err)
		goto free_snapshot;
	snapshot__sum(snap);
	add_retired(collector, snap);
	err = growth__update(collector->growth, snap, now);
	if (!err)
		err = snapshot__order_groups(snap, collector->opts.sort);
	if (err)
		goto free_snapshot;
	snapshot__select(snap, collector->opts.sort, collector->opts.top);
	err = resolve_sites(collector, snap);
	if (err)
		goto free_snapshot;
	return snap;

free_snapshot:
	snapshot__free(snap);
	errno = -err;
	return NULL;
}
