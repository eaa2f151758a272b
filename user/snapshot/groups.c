/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "snapshot/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/arena.h"
#include "snapshot/order.h"
#include "snapshot/site_id.h"
#include "snapshot/slot_table.h"

/* The same in each report of a trace; those of containers and services in the next trace too. */
static uint64_t group_id(const struct snapshot_target *target, enum snapshot_grouping grouping)
{
	uint64_t id = site_id__add(SITE_ID_NEW, grouping);

	switch (grouping) {
	case BY_CONTAINER:
		id = site_id__add_text(id, target->container);
		return site_id__add_text(id, target->container_id);
	case BY_SERVICE:
		id = site_id__add_text(id, target->cgroup);
		/* Of a process that ended before it was looked at there is at best the name. */
		return site_id__add_text(id, *target->program ? target->program : target->comm);
	case BY_PROCESS:
		return site_id__add(id, target->id);
	case BY_SITE:
		break;
	}
	return id;
}

static uint32_t *find_slot(const struct slot_table *table, const struct snapshot *snap,
			   uint64_t id)
{
	uint32_t i = (uint32_t)id & table->mask;

	while (table->slots[i] && snap->groups[table->slots[i] - 1].id != id)
		i = (i + 1) & table->mask;
	return &table->slots[i];
}

static struct snapshot_group *add_group(struct snapshot *snap, uint64_t id, uint32_t target)
{
	struct snapshot_group *group = snapshot__add_group(snap);

	if (!group)
		return NULL;
	group->id = id;
	group->target = target;
	return group;
}

static void count_target(struct snapshot_group *group, const struct snapshot_target *target)
{
	group->process_cnt++;
	group->exited_cnt += target->exited;
	group->untraced_cnt += target->is_untraced;
}

static int group_target(struct snapshot *snap, const struct slot_table *table, uint32_t i)
{
	struct snapshot_target *target = &snap->targets[i];
	uint64_t id = group_id(target, snap->grouping);
	uint32_t *slot = find_slot(table, snap, id);

	if (!*slot) {
		if (!add_group(snap, id, i))
			return -ENOMEM;
		*slot = snap->group_cnt;
	}
	target->group = *slot - 1;
	count_target(&snap->groups[target->group], target);
	return 0;
}

int snapshot__group(struct snapshot *snap, enum snapshot_grouping grouping)
{
	struct slot_table table;
	int err;

	snap->grouping = grouping;
	if (grouping == BY_SITE)
		return 0;
	err = slot_table__init(&table, snap->target_cnt);
	if (err)
		return err;
	for (uint32_t i = 0; !err && i < snap->target_cnt; i++)
		err = group_target(snap, &table, i);
	for (uint32_t i = 0; !err && i < snap->site_cnt; i++)
		snap->sites[i].group = snap->targets[snap->sites[i].target].group;
	free(table.slots);
	return err;
}

/* Ids are all different, so they end all ties. */
static int by_size(const void *left, const void *right)
{
	const struct snapshot_group *a = left, *b = right;
	int order = larger_first(a->rank_bytes, b->rank_bytes);

	if (!order)
		order = larger_first(a->rank_count, b->rank_count);
	if (!order)
		order = larger_first(a->totals.alloc_count, b->totals.alloc_count);
	return order ? order : larger_first(a->id, b->id);
}

static int by_count(const void *left, const void *right)
{
	const struct snapshot_group *a = left, *b = right;
	int order = larger_first(a->rank_count, b->rank_count);

	return order ? order : by_size(a, b);
}

static int by_growth(const void *left, const void *right)
{
	const struct snapshot_group *a = left, *b = right;
	int order = larger_known_first(a->growth_bytes_per_s, b->growth_bytes_per_s);

	return order ? order : by_size(a, b);
}

static int by_age(const void *left, const void *right)
{
	const struct snapshot_group *a = left, *b = right;
	int order = larger_known_first(a->oldest_s, b->oldest_s);

	return order ? order : by_size(a, b);
}

int snapshot__order_groups(struct snapshot *snap, enum snapshot_sort sort)
{
	static int (*const orders[])(const void *, const void *) = {
		[SORT_SIZE] = by_size,
		[SORT_COUNT] = by_count,
		[SORT_GROWTH] = by_growth,
		[SORT_AGE] = by_age,
	};
	uint32_t *new_index;

	if (!snap->group_cnt)
		return 0;
	new_index = snapshot__alloc(snap, snap->group_cnt * sizeof(*new_index));
	if (!new_index)
		return -ENOMEM;
	qsort(snap->groups, snap->group_cnt, sizeof(*snap->groups), orders[sort]);
	for (uint32_t i = 0; i < snap->group_cnt; i++)
		new_index[snap->targets[snap->groups[i].target].group] = i;
	for (uint32_t i = 0; i < snap->target_cnt; i++)
		snap->targets[i].group = new_index[snap->targets[i].group];
	for (uint32_t i = 0; i < snap->site_cnt; i++)
		snap->sites[i].group = new_index[snap->sites[i].group];
	return 0;
}
