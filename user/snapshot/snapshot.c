/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * Strings, frames and ages lie in the arena; sites, targets and losses are arrays of their own, as
 * an arena cannot grow a piece.
 *
 * An array of n elements has room for at least the next power of two >= n (so none has a capacity
 * field): it grows when n is 0 or a power of two. That stays true when snapshot__select makes n
 * smaller.
 */
#include "snapshot/snapshot.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/arena.h"
#include "snapshot/order.h"

/* Of each array; past it, ENOMEM. Four times the largest --max-sites. */
#define MAX_ELEMENTS (1u << 22)

struct snapshot *snapshot__new(void)
{
	struct snapshot *snap = arena__realloc(NULL, sizeof(*snap));

	if (!snap)
		return NULL;
	memset(snap, 0, sizeof(*snap));
	snap->cost.cpu_share = snap->cost.foreign_cpu_share = snap->cost.tool_cpu_share = NAN;
	snap->cost.max_cpu_share = NAN;
	snap->cost.on_share = 1;
	snap->arena = arena__new();
	if (!snap->arena) {
		snapshot__free(snap);
		errno = ENOMEM;
		return NULL;
	}
	return snap;
}

void snapshot__free(struct snapshot *snap)
{
	if (!snap)
		return;
	free(snap->sites);
	free(snap->targets);
	free(snap->losses);
	free(snap->groups);
	arena__free(snap->arena);
	free(snap);
}

void *snapshot__alloc(struct snapshot *snap, size_t size_bytes)
{
	return arena__alloc(snap->arena, size_bytes);
}

const char *snapshot__strdup(struct snapshot *snap, const char *str)
{
	size_t size_bytes;
	char *copy;

	if (!str || !*str)
		return "";
	size_bytes = strlen(str) + 1;
	copy = arena__alloc(snap->arena, size_bytes);
	if (!copy)
		return NULL;
	memcpy(copy, str, size_bytes);
	return copy;
}

/* Returns the array, perhaps moved, with element cnt zeroed; NULL leaves the old one as it was. */
static void *make_room(void *array, uint32_t cnt, size_t element_bytes)
{
	if (cnt >= MAX_ELEMENTS) {
		errno = ENOMEM;
		return NULL;
	}
	if ((cnt & (cnt - 1)) == 0) {
		array = arena__realloc(array, (cnt ? 2 * (size_t)cnt : 1) * element_bytes);
		if (!array)
			return NULL;
	}
	memset((char *)array + cnt * element_bytes, 0, element_bytes);
	return array;
}

struct snapshot_site *snapshot__add_site(struct snapshot *snap)
{
	struct snapshot_site *sites = make_room(snap->sites, snap->site_cnt, sizeof(*sites));
	struct snapshot_site *site;

	if (!sites)
		return NULL;
	snap->sites = sites;
	site = &sites[snap->site_cnt++];
	site->comm = site->verdict = site->why = site->stack_end = "";
	site->growth_bytes_per_s = NAN;
	return site;
}

struct snapshot_target *snapshot__add_target(struct snapshot *snap)
{
	struct snapshot_target *targets, *target;

	targets = make_room(snap->targets, snap->target_cnt, sizeof(*targets));
	if (!targets)
		return NULL;
	snap->targets = targets;
	target = &targets[snap->target_cnt++];
	target->comm = target->exe = target->container = target->cgroup = target->note = "";
	target->container_id = target->pod = target->pod_namespace = target->unit = "";
	target->program = "";
	return target;
}

struct snapshot_group *snapshot__add_group(struct snapshot *snap)
{
	struct snapshot_group *groups, *group;

	groups = make_room(snap->groups, snap->group_cnt, sizeof(*groups));
	if (!groups)
		return NULL;
	snap->groups = groups;
	group = &groups[snap->group_cnt++];
	group->growth_bytes_per_s = NAN;
	return group;
}

/* NULL if there is none of that name yet. */
static struct snapshot_loss *find_loss(struct snapshot *snap, const char *name)
{
	for (uint32_t i = 0; i < snap->loss_cnt; i++) {
		if (strcmp(snap->losses[i].name, name) == 0)
			return &snap->losses[i];
	}
	return NULL;
}

int snapshot__add_loss(struct snapshot *snap, const char *name, const char *meaning, uint64_t count)
{
	struct snapshot_loss *losses, *loss;

	if (!count)
		return 0;
	loss = find_loss(snap, name);
	if (loss) {
		loss->count += count;
		return 0;
	}
	name = snapshot__strdup(snap, name);
	meaning = snapshot__strdup(snap, meaning);
	if (!name || !meaning)
		return -ENOMEM;
	losses = make_room(snap->losses, snap->loss_cnt, sizeof(*losses));
	if (!losses)
		return -ENOMEM;
	snap->losses = losses;
	losses[snap->loss_cnt++] = (struct snapshot_loss){
		.name = name,
		.meaning = meaning,
		.count = count,
	};
	return 0;
}

/* malloc(0) leaves a block that must be freed too, so bytes alone do not say it. */
static bool site__is_live(const struct snapshot_site *site)
{
	return site->live_count || site->live_bytes;
}

uint64_t snapshot_site__used_bytes(const struct snapshot_site *site)
{
	uint64_t others = site->unused_bytes + site->foreign_bytes;

	return site->live_bytes > others ? site->live_bytes - others : 0;
}

bool snapshot__is_in_totals(const struct snapshot *snap, const struct snapshot_site *site)
{
	return !snap->sample_bytes || (site->kind != SITE_PYMALLOC && site->kind != SITE_MMAP);
}

void snapshot_sample__add(struct snapshot_sample *to, const struct snapshot_sample *sample)
{
	to->count += sample->count;
	to->bytes += sample->bytes;
	to->bytes_variance += sample->bytes_variance;
	to->count_variance += sample->count_variance;
	to->unresolved_bytes += sample->unresolved_bytes;
	to->unresolved_count += sample->unresolved_count;
	to->late_count += sample->late_count;
	to->undecided_bytes += sample->undecided_bytes;
	to->undecided_sites += sample->undecided_sites;
	to->doubt_bytes += sample->doubt_bytes;
	to->doubt_count += sample->doubt_count;
}

/*
 * Of a sample, and where the probes were paused: of live so much is in doubt, and it is a part of
 * what is unresolved.
 */
static struct range range_of(uint64_t live, double variance, uint64_t certain, double doubt,
			     uint64_t unresolved)
{
	struct range range = estimate__range(live, live ? variance / (double)live : 0, certain);

	range.low = doubt < (double)range.low ? range.low - (uint64_t)doubt : 0;
	if (unresolved > live)
		range.high += unresolved - live;
	return range;
}

static struct range bytes_range(uint64_t live, const struct snapshot_sample *sample)
{
	return range_of(live, sample->bytes_variance, sample->bytes, sample->doubt_bytes,
			sample->unresolved_bytes);
}

static struct range count_range(uint64_t live, const struct snapshot_sample *sample)
{
	return range_of(live, sample->count_variance, sample->count, sample->doubt_count,
			sample->unresolved_count);
}

struct range snapshot_site__bytes_range(const struct snapshot_site *site)
{
	return bytes_range(site->live_bytes, &site->sample);
}

struct range snapshot_site__count_range(const struct snapshot_site *site)
{
	return count_range(site->live_count, &site->sample);
}

struct range snapshot_totals__bytes_range(const struct snapshot_totals *totals)
{
	return bytes_range(totals->live_bytes, &totals->sample);
}

struct range snapshot_totals__count_range(const struct snapshot_totals *totals)
{
	return count_range(totals->live_count, &totals->sample);
}

static void add_to_totals(struct snapshot_totals *totals, const struct snapshot_site *site)
{
	totals->live_bytes += site->live_bytes;
	totals->live_count += site->live_count;
	totals->alloc_bytes += site->alloc_bytes;
	totals->alloc_count += site->alloc_count;
	totals->free_bytes += site->free_bytes;
	totals->free_count += site->free_count;
	totals->sites += site__is_live(site);
	snapshot_sample__add(&totals->sample, &site->sample);
}

/* A site, to the totals of the whole or of a group. */
static void add_by_kind(const struct snapshot *snap, const struct snapshot_site *site,
			struct snapshot_totals *totals, struct snapshot_totals *pools,
			struct snapshot_totals *regions)
{
	if (snapshot__is_in_totals(snap, site))
		add_to_totals(totals, site);
	if (site->kind == SITE_PYMALLOC)
		add_to_totals(pools, site);
	else if (site->kind == SITE_MMAP)
		add_to_totals(regions, site);
}

static void add_to_group(struct snapshot *snap, const struct snapshot_site *site)
{
	struct snapshot_group *group;

	if (!snap->group_cnt)
		return;
	group = &snap->groups[site->group];
	add_by_kind(snap, site, &group->totals, &group->pools, &group->regions);
	group->rank_bytes += site->live_bytes;
	group->rank_count += site->live_count;
	if (group->oldest_s < site->oldest_s)
		group->oldest_s = site->oldest_s;
}

void snapshot__sum(struct snapshot *snap)
{
	const struct snapshot_totals none = {0};

	snap->totals = snap->pools = snap->regions = none;
	for (uint32_t i = 0; i < snap->group_cnt; i++) {
		struct snapshot_group *group = &snap->groups[i];

		group->totals = group->pools = group->regions = none;
		group->oldest_s = 0;
		group->rank_bytes = group->rank_count = 0;
	}
	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		add_by_kind(snap, &snap->sites[i], &snap->totals, &snap->pools, &snap->regions);
		add_to_group(snap, &snap->sites[i]);
	}
}

static void add_gone(struct snapshot_totals *totals, uint64_t bytes, uint64_t count)
{
	totals->alloc_bytes += bytes;
	totals->alloc_count += count;
	totals->free_bytes += bytes;
	totals->free_count += count;
}

static void add_retired(const struct snapshot *snap, const struct snapshot_retired *retired,
			struct snapshot_totals *totals, struct snapshot_totals *pools,
			struct snapshot_totals *regions)
{
	uint64_t bytes = retired->bytes, count = retired->count;

	if (snap->sample_bytes) {
		bytes -= retired->pool_bytes + retired->region_bytes;
		count -= retired->pool_count + retired->region_count;
	}
	add_gone(totals, bytes, count);
	add_gone(pools, retired->pool_bytes, retired->pool_count);
	add_gone(regions, retired->region_bytes, retired->region_count);
}

void snapshot__add_retired(struct snapshot *snap, const struct snapshot_target *target,
			   const struct snapshot_retired *retired)
{
	struct snapshot_group *group;

	add_retired(snap, retired, &snap->totals, &snap->pools, &snap->regions);
	if (!snap->group_cnt)
		return;
	group = &snap->groups[target->group];
	add_retired(snap, retired, &group->totals, &group->pools, &group->regions);
}

/* Stacks of forked processes have the same id, so pid and ref end the ties. */
static int break_tie(const struct snapshot_site *a, const struct snapshot_site *b)
{
	int order = larger_first(snapshot_site__used_bytes(a), snapshot_site__used_bytes(b));

	if (!order)
		order = larger_first(a->live_count, b->live_count);
	if (!order)
		order = larger_first(a->id, b->id);
	if (!order)
		order = larger_first(a->pid, b->pid);
	if (!order)
		order = larger_first(a->ref, b->ref);
	return order;
}

/* Groups come in their order; within one decides the order, then the rest. */
static int in_group(const struct snapshot_site *a, const struct snapshot_site *b, int order)
{
	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	return order ? order : break_tie(a, b);
}

static int by_size(const void *a, const void *b)
{
	return in_group(a, b, 0);
}

static int by_count(const void *left, const void *right)
{
	const struct snapshot_site *a = left, *b = right;

	return in_group(a, b, larger_first(a->live_count, b->live_count));
}

static int by_growth(const void *left, const void *right)
{
	const struct snapshot_site *a = left, *b = right;

	return in_group(a, b, larger_known_first(a->growth_bytes_per_s, b->growth_bytes_per_s));
}

static int by_age(const void *left, const void *right)
{
	const struct snapshot_site *a = left, *b = right;

	return in_group(a, b, larger_known_first(a->oldest_s, b->oldest_s));
}

static void drop_dead_sites(struct snapshot *snap)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		if (site__is_live(&snap->sites[i]))
			snap->sites[kept++] = snap->sites[i];
	}
	snap->site_cnt = kept;
}

/* The first top of each group; a group's are in a row. */
static void keep_top(struct snapshot *snap, uint32_t top)
{
	uint32_t kept = 0, group = 0, n = 0;

	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		n = i && snap->sites[i].group == group ? n + 1 : 1;
		group = snap->sites[i].group;
		if (n <= top)
			snap->sites[kept++] = snap->sites[i];
	}
	snap->site_cnt = kept;
}

void snapshot__select(struct snapshot *snap, enum snapshot_sort sort, uint32_t top)
{
	static int (*const orders[])(const void *, const void *) = {
		[SORT_SIZE] = by_size,
		[SORT_COUNT] = by_count,
		[SORT_GROWTH] = by_growth,
		[SORT_AGE] = by_age,
	};

	drop_dead_sites(snap);
	if (snap->site_cnt > 1)
		qsort(snap->sites, snap->site_cnt, sizeof(*snap->sites), orders[sort]);
	keep_top(snap, top);
}
