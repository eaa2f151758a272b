/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/* The groups of a report for people: see snapshot/groups.h. */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "render/emit.h"
#include "render/text_parts.h"

/* Clean groups listed; the rest is counted. */
#define MAX_CLEAN 20

bool text__is_found(const struct snapshot_group *group)
{
	return group->totals.sites || group->pools.sites || group->regions.sites;
}

static void put_service(FILE *out, const struct snapshot_target *target)
{
	const char *slash = strrchr(target->program, '/');
	const char *dot = strrchr(target->unit, '.');
	bool is_unit = dot && !strcmp(dot, ".service");

	fputs("service ", out);
	emit__text(out, slash ? slash + 1 : target->comm, MAX_NAME);
	text__put_place(out, target);
	if (*target->container || is_unit || !*target->cgroup)
		return;
	fputs(" in ", out);
	emit__text(out, target->cgroup, MAX_NAME);
}

static void put_container(FILE *out, const struct snapshot_target *target)
{
	if (!*target->container) {
		fputs("host", out);
		return;
	}
	fputs("container ", out);
	emit__text(out, target->container, MAX_NAME);
	text__put_pod(out, target);
}

static void put_name(FILE *out, const struct snapshot *snap, const struct snapshot_group *group)
{
	const struct snapshot_target *target = &snap->targets[group->target];

	switch (snap->grouping) {
	case BY_CONTAINER:
		put_container(out, target);
		break;
	case BY_SERVICE:
		put_service(out, target);
		break;
	case BY_PROCESS:
		fprintf(out, "pid %" PRIu32 " ", target->pid);
		emit__text(out, target->comm, MAX_NAME);
		text__put_place(out, target);
		break;
	case BY_SITE:
		break;
	}
}

/* "3 processes, 1 exited, 2 without a known allocator"; of one process its pid says how many. */
static void put_members(FILE *out, const struct snapshot *snap, const struct snapshot_group *group)
{
	if (snap->grouping == BY_PROCESS) {
		fputs(group->exited_cnt ? "exited" : "running", out);
		return;
	}
	text__put_processes(out, group->process_cnt);
	if (group->exited_cnt)
		fprintf(out, ", %s exited", COUNT(group->exited_cnt));
	if (group->untraced_cnt)
		fprintf(out, ", %s without a known allocator", COUNT(group->untraced_cnt));
}

void text__put_group(FILE *out, const struct snapshot *snap, const struct snapshot_group *group)
{
	const struct snapshot_totals *totals = &group->totals;

	put_name(out, snap, group);
	fputs(": ", out);
	put_blocks(out, totals->live_bytes, totals->live_count);
	fprintf(out, " (%s) at %s site%s",
		human__share(totals->live_bytes, snap->totals.live_bytes).text,
		COUNT(totals->sites), plural(totals->sites));
	if (snap->sample_bytes) {
		fprintf(out, ", %s in Python's small objects", BYTES(group->pools.live_bytes));
		fprintf(out, ", %s mapped", BYTES(group->regions.live_bytes));
	}
	if (!isnan(group->growth_bytes_per_s))
		fprintf(out, ", growth %s", human__rate(group->growth_bytes_per_s).text);
	fputs("; ", out);
	put_members(out, snap, group);
	putc('\n', out);
}

static void put_clean_group(FILE *out, const struct snapshot *snap,
			    const struct snapshot_group *group)
{
	fputs("  ", out);
	put_name(out, snap, group);
	fputs(": ", out);
	if (group->untraced_cnt == group->process_cnt)
		fputs("not seen, it has no allocator that is known", out);
	else if (!group->totals.alloc_count)
		fputs("nothing allocated since the start", out);
	else
		fprintf(out, "%s block%s allocated, none outstanding",
			COUNT(group->totals.alloc_count), plural(group->totals.alloc_count));
	if (group->totals.alloc_count)
		text__put_age_filter(out, snap);
	fputs("; ", out);
	put_members(out, snap, group);
	putc('\n', out);
}

void text__put_clean_groups(FILE *out, const struct snapshot *snap)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < snap->group_cnt; i++) {
		if (text__is_found(&snap->groups[i]))
			continue;
		if (!cnt++)
			fputs("\nnothing outstanding of\n", out);
		if (cnt <= MAX_CLEAN || snap->wants_all)
			put_clean_group(out, snap, &snap->groups[i]);
	}
	if (cnt > MAX_CLEAN && !snap->wants_all)
		fprintf(out, "  and %s more (-v lists them)\n", COUNT(cnt - MAX_CLEAN));
}
