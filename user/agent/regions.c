/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/regions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/cohorts.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "snapshot/snapshot.h"
#include "target/anonymous_maps.h"
#include "target/proc_info.h"
#include "target/region_set.h"

#define BUCKETS 1024 /* power of two */

struct image_regions {
	uf_image_id image;
	pid_t pid;
	struct region_set *set;
	struct image_regions *next; /* in its hash bucket */
};

struct regions {
	struct tracer *tracer;
	const struct tracees *tracees;
	struct cohorts_shared shared;
	struct image_regions *by_image[BUCKETS];
	uint64_t missed_unmap_cnt; /* regions mapped where another was known */
	uint64_t no_site_cnt;      /* of forked children's: the table was full */
	uint64_t no_memory_cnt;
};

struct regions *regions__new(struct tracer *tracer, const struct tracees *tracees)
{
	struct regions *regions = calloc(1, sizeof(*regions));

	if (!regions)
		return NULL;
	regions->tracer = tracer;
	regions->tracees = tracees;
	regions->shared = tracer__cohorts_shared(tracer);
	return regions;
}

void regions__free(struct regions *regions)
{
	if (!regions)
		return;
	for (int i = 0; i < BUCKETS; i++)
		while (regions->by_image[i])
			regions__forget(regions, regions->by_image[i]->image);
	free(regions);
}

/* Where the image's entry is linked in, or would be. */
static struct image_regions **link_of(struct regions *regions, uf_image_id image)
{
	struct image_regions **link = &regions->by_image[image & (BUCKETS - 1)];

	while (*link && (*link)->image != image)
		link = &(*link)->next;
	return link;
}

static void piece_gone(void *arg, const struct region *region, uint64_t bytes, bool is_last)
{
	const struct regions *regions = arg;

	cohorts_shared__free(&regions->shared, region->site, region->epoch, bytes, is_last);
}

/* Takes the set, also on failure. */
static struct region_set *add(struct regions *regions, uf_image_id image, pid_t pid,
			      struct region_set *set)
{
	struct image_regions **link = link_of(regions, image), *added = calloc(1, sizeof(*added));

	if (!set || !added) {
		region_set__free(set);
		free(added);
		return NULL;
	}
	added->image = image;
	added->pid = pid;
	added->set = set;
	*link = added;
	return set;
}

/* The image's set, made for its first region. NULL: it has none, or it is no target any more. */
static struct region_set *set_for(struct regions *regions, const struct uf_region_event *event)
{
	struct image_regions *known = *link_of(regions, event->image);
	const struct tracee *tracee;

	if (known)
		return known->set;
	if (event->op != UF_REGION_MAPPED)
		return NULL;
	tracee = tracees__find(regions->tracees, event->image);
	if (!tracee || tracee->has_ended || tracee->is_dropped)
		return NULL;
	return add(regions, event->image, tracee->pid, region_set__new(piece_gone, regions));
}

void regions__forget(struct regions *regions, uf_image_id image)
{
	struct image_regions **link = link_of(regions, image), *gone = *link;

	if (!gone)
		return;
	*link = gone->next;
	region_set__free(gone->set);
	free(gone);
}

/* What is not mapped any more goes. */
static void look(struct regions *regions, uf_image_id image)
{
	struct image_regions *known = *link_of(regions, image);
	uint64_t(*intervals)[2] = NULL;
	uint32_t cnt = 0;
	FILE *maps;

	if (!known || region_set__is_empty(known->set))
		return;
	maps = proc_info__open(known->pid, "maps");
	/* Of a process that has ended nothing is known, nor of one that ends: it has no mappings. */
	if (!maps)
		return;
	if (anonymous_maps__read(maps, &intervals, &cnt) ||
	    (cnt && region_set__keep(known->set, (const uint64_t(*)[2])intervals, cnt)))
		regions->no_memory_cnt++;
	free(intervals);
	fclose(maps);
}

static void map(struct regions *regions, struct region_set *set,
		const struct uf_region_event *event)
{
	int64_t gone = region_set__map(set, event->start, event->bytes, event->site, event->epoch);

	if (gone < 0) {
		regions->no_memory_cnt++;
		cohorts_shared__free(&regions->shared, event->site, event->epoch, event->bytes, 1);
	} else if (gone && !event->is_fixed) {
		/* Of what was copied for a child, MADV_DONTFORK may have left a part out. */
		regions->missed_unmap_cnt++;
	}
}

void regions__handle(struct regions *regions, const struct uf_region_event *event)
{
	struct region_set *set = set_for(regions, event);
	int err = 0;

	if (!set)
		return;
	switch (event->op) {
	case UF_REGION_MAPPED:
		map(regions, set, event);
		break;
	case UF_REGION_COVERED:
		err = region_set__unmap(set, event->start, event->bytes);
		break;
	case UF_REGION_TAKEN:
		err = region_set__take(set, event->tid, event->start, event->bytes);
		break;
	case UF_REGION_SETTLED:
		region_set__settle(set, event->tid);
		break;
	case UF_REGION_RESTORED:
		if (region_set__restore(set, event->tid))
			look(regions, event->image);
		break;
	case UF_REGION_DOUBTED:
		look(regions, event->image);
		break;
	}
	regions->no_memory_cnt += err != 0;
}

struct heritage {
	struct regions *regions;
	uf_image_id child;
};

static int64_t site_of_child(void *arg, const struct region *region)
{
	const struct heritage *heritage = arg;
	struct regions *regions = heritage->regions;
	int64_t site = tracer__copy_site(regions->tracer, region->site, heritage->child);

	if (site < 0)
		regions->no_site_cnt++;
	else
		cohorts_shared__inherit(&regions->shared, site, region->epoch, region->bytes, 1);
	return site;
}

void regions__fork(struct regions *regions, uf_image_id parent, uf_image_id child, pid_t pid)
{
	struct heritage heritage = {regions, child};
	struct image_regions *known = *link_of(regions, parent);

	if (!known || region_set__is_empty(known->set))
		return;
	if (!add(regions, child, pid,
		 region_set__copy(known->set, site_of_child, &heritage, piece_gone, regions)))
		regions->no_memory_cnt++;
	/* Not all that the parent has may have been given to the child: MADV_DONTFORK. */
	look(regions, child);
}

void regions__check(struct regions *regions)
{
	if (!tracer__regions_are_lost(regions->tracer))
		return;
	for (int i = 0; i < BUCKETS; i++)
		for (const struct image_regions *known = regions->by_image[i]; known;
		     known = known->next)
			look(regions, known->image);
}

int regions__add_losses(const struct regions *regions, struct snapshot *snap)
{
	int err = snapshot__add_loss(snap, "missed_unmap",
				     "mapped regions whose addresses came back without an unmap",
				     regions->missed_unmap_cnt);

	if (!err)
		err = snapshot__add_loss(snap, "site_table_full",
					 "blocks not recorded: the site table was full",
					 regions->no_site_cnt);
	if (!err)
		err = snapshot__add_loss(snap, "region_no_memory",
					 "changes of mapped regions not recorded: out of memory",
					 regions->no_memory_cnt);
	return err;
}
