/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * The targets at the head of the report for people. Of a whole host there are hundreds, and what
 * matters comes after them: of more than a screen can take only their number is said.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "render/emit.h"
#include "render/text_parts.h"

/* Targets listed; if there are more, none is. */
#define MAX_TARGETS 20

static void put_pause(FILE *out, double seconds)
{
	if (seconds < 0.1)
		fprintf(out, "%.1fms", seconds * 1e3);
	else
		fputs(DURATION(seconds), out);
}

/* "131 collections in 8.1ms (longest 0.4ms)"; of the later generations "11 in ..." */
static void put_generation(FILE *out, const struct snapshot_gc_generation *generation, bool is_first)
{
	int64_t cnt = generation->trace_collections;

	if (cnt < 0)
		putc('?', out);
	else
		fputs(COUNT((uint64_t)cnt), out);
	if (is_first)
		fprintf(out, " collection%s", cnt == 1 ? "" : "s");
	if (cnt <= 0 || isnan(generation->pause_s))
		return;
	fputs(" in ", out);
	put_pause(out, generation->pause_s);
	fputs(" (longest ", out);
	put_pause(out, generation->longest_pause_s);
	putc(')', out);
}

static void put_python(FILE *out, const struct snapshot_python *python)
{
	bool is_known = strcmp(python->gc_source, "none") != 0;
	bool is_polled = strcmp(python->gc_source, "polling") == 0;

	fputs("      python ", out);
	emit__text(out, *python->version ? python->version : "?", MAX_NAME);
	for (int i = 0; is_known && i < SNAPSHOT_GENERATIONS; i++) {
		fprintf(out, "%s %d: ", i ? "," : ": gc", i);
		put_generation(out, &python->generations[i], !i);
	}
	fputs(!is_known ? ": gc unknown" : is_polled ? " (by polling)" : "", out);
	if (*python->gc_why) {
		fputs(": ", out);
		emit__text(out, python->gc_why, MAX_SENTENCE);
	}
	if (!python->gc_enabled)
		fputs("; automatic ones are off", out);
	putc('\n', out);
}

void text__put_pod(FILE *out, const struct snapshot_target *target)
{
	if (!*target->pod)
		return;
	fputs(" of pod ", out);
	emit__text(out, target->pod_namespace, MAX_NAME);
	fputs(*target->pod_namespace ? "/" : "", out);
	emit__text(out, target->pod, MAX_NAME);
}

void text__put_place(FILE *out, const struct snapshot_target *target)
{
	const char *dot = strrchr(target->unit, '.');

	if (*target->container) {
		fputs(" in container ", out);
		emit__text(out, target->container, MAX_NAME);
	}
	text__put_pod(out, target);
	/* Scopes are sessions and the like, and say little. */
	if (!*target->pod && dot && strcmp(dot, ".service") == 0) {
		fputs(" of ", out);
		emit__text(out, target->unit, MAX_NAME);
	}
}

static void put_target(FILE *out, const struct snapshot_target *target)
{
	fprintf(out, "  pid %" PRIu32 " ", target->pid);
	emit__text(out, target->comm, MAX_NAME);
	text__put_place(out, target);
	if (target->exited)
		fputs(", exited", out);
	else if (target->has_rss)
		fprintf(out, ", rss %s", BYTES(target->rss_bytes));
	putc('\n', out);
	if (target->python)
		put_python(out, target->python);
	if (*target->note) {
		fputs("      note: ", out);
		emit__text(out, target->note, MAX_SENTENCE);
		putc('\n', out);
	}
}

void text__put_processes(FILE *out, uint32_t cnt)
{
	fprintf(out, "%s process%s", COUNT(cnt), cnt == 1 ? "" : "es");
}

/* Is it in a container, and the first of it in the list? */
static bool is_first_of_container(const struct snapshot *snap, uint32_t index)
{
	const struct snapshot_target *target = &snap->targets[index];

	if (!*target->container)
		return false;
	for (uint32_t i = 0; i < index; i++) {
		const struct snapshot_target *other = &snap->targets[i];

		if (!strcmp(other->container, target->container) &&
		    !strcmp(other->container_id, target->container_id))
			return false;
	}
	return true;
}

/* "137 processes, 3 of them exited, 12 in 2 containers; 7 have no known allocator (-v lists them)" */
static void put_summary(FILE *out, const struct snapshot *snap)
{
	uint32_t exited = 0, contained = 0, containers = 0, untraced = 0, noted = 0;

	for (uint32_t i = 0; i < snap->target_cnt; i++) {
		const struct snapshot_target *target = &snap->targets[i];

		exited += target->exited;
		contained += *target->container != 0;
		containers += is_first_of_container(snap, i);
		untraced += target->is_untraced;
		noted += !target->is_untraced && *target->note;
	}
	fputs("  ", out);
	text__put_processes(out, snap->target_cnt);
	if (exited)
		fprintf(out, ", %s of them exited", COUNT(exited));
	if (contained)
		fprintf(out, ", %s in %s container%s", COUNT(contained), COUNT(containers),
			plural(containers));
	fputs(" (-v lists them)\n", out);
	if (untraced)
		fprintf(out, "      note: %s %s no allocator that is known: nothing of %s is seen\n",
			COUNT(untraced), untraced == 1 ? "has" : "have",
			untraced == 1 ? "it" : "them");
	if (noted)
		fprintf(out, "      note: %s %s notes of %s own\n", COUNT(noted),
			noted == 1 ? "has" : "have", noted == 1 ? "its" : "their");
}

void text__put_targets(FILE *out, const struct snapshot *snap)
{
	if (snap->target_cnt > MAX_TARGETS && !snap->wants_all) {
		put_summary(out, snap);
		return;
	}
	for (uint32_t i = 0; i < snap->target_cnt; i++)
		put_target(out, &snap->targets[i]);
}
