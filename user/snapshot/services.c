/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "snapshot/services.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/arena.h"
#include "snapshot/site_id.h"
#include "snapshot/slot_table.h"
#include "snapshot/snapshot.h"

/* Where in snap->sites the joined ones are. */
struct site_table {
	struct slot_table by_id;
	bool per_process;
};

/* The slot of the sites that are to be one with this one. */
static uint32_t *find_slot(const struct site_table *table, const struct snapshot_site *sites,
			   const struct snapshot_site *site)
{
	uint64_t hash = site_id__add(site_id__add(SITE_ID_NEW, site->id), site->group);
	uint32_t i = (uint32_t)(table->per_process ? site_id__add(hash, site->pid) : hash);

	for (;; i++) {
		uint32_t *slot = &table->by_id.slots[i & table->by_id.mask];
		const struct snapshot_site *other;

		if (!*slot)
			return slot;
		other = &sites[*slot - 1];
		if (other->id == site->id && other->group == site->group &&
		    (!table->per_process || other->pid == site->pid))
			return slot;
	}
}

/* Room for one more, doubled when cnt is a power of two. */
static int add_pid(struct snapshot *snap, struct snapshot_site *site, uint32_t pid)
{
	uint32_t cnt = site->pid_cnt;

	if ((cnt & (cnt - 1)) == 0) {
		uint32_t *pids =
			snapshot__alloc(snap, (cnt ? 2 * (size_t)cnt : 1) * sizeof(*pids));

		if (!pids)
			return -ENOMEM;
		if (cnt)
			memcpy(pids, site->pids, cnt * sizeof(*pids));
		site->pids = pids;
	}
	site->pids[site->pid_cnt++] = pid;
	return 0;
}

/*
 * Ages are steps: what is at least as old as a bound that a site does not list
 * is what it has at its next one. Both are walked from the oldest bound down.
 */
static int add_ages(struct snapshot *snap, struct snapshot_site *into,
		    const struct snapshot_site *site)
{
	uint32_t max = into->age_cnt + site->age_cnt, i = into->age_cnt, j = site->age_cnt;
	struct snapshot_age *ages, none = {0};
	uint32_t at = max;

	if (!site->age_cnt)
		return 0;
	ages = snapshot__alloc(snap, max * sizeof(*ages));
	if (!ages)
		return -ENOMEM;
	while (i || j) {
		double one = i ? into->ages[i - 1].older_than_s : -1;
		double other = j ? site->ages[j - 1].older_than_s : -1;
		double bound = one > other ? one : other;
		const struct snapshot_age *a, *b;

		i -= one == bound;
		j -= other == bound;
		a = i < into->age_cnt ? &into->ages[i] : &none;
		b = j < site->age_cnt ? &site->ages[j] : &none;
		ages[--at] = (struct snapshot_age){
			.older_than_s = bound,
			.bytes = a->bytes + b->bytes,
			.count = a->count + b->count,
		};
	}
	into->ages = ages + at;
	into->age_cnt = max - at;
	return 0;
}

static bool is_live(const struct snapshot_site *site)
{
	return site->live_count || site->live_bytes;
}

static int join(struct snapshot *snap, struct snapshot_site *into,
		const struct snapshot_site *site)
{
	if (!is_live(into) && is_live(site)) {
		into->pid = site->pid;
		into->comm = site->comm;
		into->ref = site->ref;
	}
	into->live_bytes += site->live_bytes;
	into->live_count += site->live_count;
	into->unused_bytes += site->unused_bytes;
	into->foreign_bytes += site->foreign_bytes;
	into->alloc_bytes += site->alloc_bytes;
	into->alloc_count += site->alloc_count;
	into->free_bytes += site->free_bytes;
	into->free_count += site->free_count;
	snapshot_sample__add(&into->sample, &site->sample);
	if (into->oldest_s < site->oldest_s)
		into->oldest_s = site->oldest_s;
	into->growth_bytes_per_s += site->growth_bytes_per_s;
	return add_ages(snap, into, site);
}

static int join_one(struct snapshot *snap, struct site_table *table, const struct snapshot_site *site,
		    uint32_t *kept)
{
	uint32_t *slot = find_slot(table, snap->sites, site);
	struct snapshot_site *into;
	int err = 0;

	if (*slot) {
		into = &snap->sites[*slot - 1];
		err = join(snap, into, site);
	} else {
		into = &snap->sites[*kept];
		*slot = ++*kept;
		*into = *site;
		into->pids = NULL;
		into->pid_cnt = 0;
	}
	return err || !is_live(site) ? err : add_pid(snap, into, site->pid);
}

static int ascending(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* A process may have had several of the sites. */
static void sort_pids(struct snapshot_site *site)
{
	uint32_t kept = 0;

	if (site->pid_cnt < 2)
		return;
	qsort(site->pids, site->pid_cnt, sizeof(*site->pids), ascending);
	for (uint32_t i = 0; i < site->pid_cnt; i++)
		if (!i || site->pids[i] != site->pids[i - 1])
			site->pids[kept++] = site->pids[i];
	site->pid_cnt = kept;
}

int snapshot__join_services(struct snapshot *snap, bool per_process)
{
	struct site_table table = {.per_process = per_process};
	uint32_t kept = 0;
	int err = slot_table__init(&table.by_id, snap->site_cnt);

	if (err)
		return err;
	for (uint32_t i = 0; !err && i < snap->site_cnt; i++) {
		struct snapshot_site site = snap->sites[i]; /* its place may be taken */

		err = join_one(snap, &table, &site, &kept);
	}
	snap->site_cnt = kept;
	for (uint32_t i = 0; i < kept; i++)
		sort_pids(&snap->sites[i]);
	free(table.by_id.slots);
	return err;
}
