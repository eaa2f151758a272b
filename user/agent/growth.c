/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/growth.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "snapshot/site_id.h"
#include "snapshot/snapshot.h"

/* What a site had. Key 0: a free slot. */
struct last_seen {
	uint64_t key;
	uint64_t live_bytes;
};

struct growth {
	bool per_process;
	uint64_t time_ns; /* of the last snapshot; 0: none yet */
	struct last_seen *slots; /* open addressing; what is not there had nothing */
	uint32_t mask;
};

struct growth *growth__new(bool per_process)
{
	struct growth *growth = calloc(1, sizeof(*growth));

	if (growth)
		growth->per_process = per_process;
	return growth;
}

void growth__free(struct growth *growth)
{
	if (!growth)
		return;
	free(growth->slots);
	free(growth);
}

static uint64_t key_of_group(const struct snapshot_group *group)
{
	uint64_t key = site_id__add(SITE_ID_NEW, group->id);

	return key + !key;
}

static uint64_t key_of(const struct growth *growth, const struct snapshot *snap,
		       const struct snapshot_site *site)
{
	uint64_t key = snap->group_cnt ? key_of_group(&snap->groups[site->group]) : SITE_ID_NEW;

	key = site_id__add(key, site->id);
	if (growth->per_process)
		key = site_id__add(key, site->pid);
	return key + !key;
}

/* The key's slot, or the free one that it would take. */
static struct last_seen *find_slot(struct last_seen *slots, uint32_t mask, uint64_t key)
{
	uint32_t i = (uint32_t)key & mask;

	while (slots[i].key && slots[i].key != key)
		i = (i + 1) & mask;
	return &slots[i];
}

static double bytes_per_s(const struct growth *growth, const struct last_seen *now,
			  uint64_t now_ns)
{
	const struct last_seen *last;

	if (!growth->slots || now_ns <= growth->time_ns)
		return NAN;
	last = find_slot(growth->slots, growth->mask, now->key);
	return ((double)now->live_bytes - (double)last->live_bytes) /
	       ((now_ns - growth->time_ns) / 1e9);
}

int growth__update(struct growth *growth, struct snapshot *snap, uint64_t now_ns)
{
	uint32_t slot_cnt = 2;
	struct last_seen *slots;

	while (slot_cnt / 2 < snap->site_cnt + snap->group_cnt)
		slot_cnt *= 2;
	slots = calloc(slot_cnt, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		struct snapshot_site *site = &snap->sites[i];
		struct last_seen now = {key_of(growth, snap, site), site->live_bytes};

		site->growth_bytes_per_s = bytes_per_s(growth, &now, now_ns);
		*find_slot(slots, slot_cnt - 1, now.key) = now;
	}
	for (uint32_t i = 0; i < snap->group_cnt; i++) {
		struct snapshot_group *group = &snap->groups[i];
		struct last_seen now = {key_of_group(group), group->totals.live_bytes};

		group->growth_bytes_per_s = bytes_per_s(growth, &now, now_ns);
		*find_slot(slots, slot_cnt - 1, now.key) = now;
	}
	free(growth->slots);
	growth->slots = slots;
	growth->mask = slot_cnt - 1;
	growth->time_ns = now_ns;
	return 0;
}
