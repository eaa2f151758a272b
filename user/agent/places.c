/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/internal.h"
#include "agent/tracer.h"
#include "probe/catalog.h"

enum point_state {
	POINT_NEW,
	POINT_AT_ENTRY, /* nothing to verify */
	POINT_CHECKED,  /* by the check of that number */
	POINT_VERIFIED,
	POINT_MOVED,	/* to the entry */
	POINT_LEFT,	/* cannot be checked */
};

struct point {
	enum point_state state;
	uint32_t check;
};

/* A file, as long as something in it is not verified. */
struct placed_file {
	char *path;
	int fd; /* our own */
	uint32_t slot;
	struct probe_points points;
	struct point *states; /* one a point */
	struct placed_file *next;
};

struct places {
	struct agent *agent;
	struct placed_file *files;
	bool is_begun; /* all that are there have been looked at */
	/* Slots that others have replaced; their last calls may yet return. */
	uint32_t muted[UF_MAX_FILES];
	uint32_t muted_cnt;
};

enum place_verdict place_verdict(const struct uf_place_check *check)
{
	uint32_t strays = check->missing_cnt + check->stray_cnt;

	if (check->changed_cnt || strays >= UF_PLACE_STRAYS)
		return PLACE_DISAGREES;
	return check->agreed_cnt >= UF_PLACE_CALLS * (1 + strays) ? PLACE_AGREES : PLACE_UNDECIDED;
}

struct places *places__new(struct agent *agent)
{
	struct places *places = calloc(1, sizeof(*places));

	if (places)
		places->agent = agent;
	return places;
}

static void file__free(struct placed_file *file)
{
	probe_points__release(&file->points);
	free(file->states);
	free(file->path);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

void places__free(struct places *places)
{
	struct placed_file *next;

	if (!places)
		return;
	for (struct placed_file *file = places->files; file; file = next) {
		next = file->next;
		file__free(file);
	}
	free(places);
}

static bool has_inner_place(const struct probe_points *points)
{
	for (uint32_t i = 0; i < points->cnt; i++)
		if (points->points[i].placement.offset)
			return true;
	return false;
}

void places__add(struct places *places, int fd, const char *path, uint32_t slot,
		 struct probe_points *points)
{
	struct placed_file *file = has_inner_place(points) ? calloc(1, sizeof(*file)) : NULL;

	if (!file)
		return;
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	file->path = strdup(path);
	file->states = calloc(points->cnt, sizeof(*file->states));
	file->slot = slot;
	if (file->fd < 0 || !file->path || !file->states) {
		file__free(file);
		return;
	}
	file->points = *points;
	*points = (struct probe_points){0};
	file->next = places->files;
	places->files = file;
	places->is_begun = false;
}

/* -- checks -- */

static void begin_point(struct places *places, struct placed_file *file, uint32_t i)
{
	const struct probe_point *point = &file->points.points[i];
	struct point *state = &file->states[i];
	int number;

	if (!point->placement.offset) {
		state->state = POINT_AT_ENTRY;
		return;
	}
	number = tracer__check_place(places->agent->tracer, file->fd, point->func_offset,
				     point->probe_offset, point->arg_cnt);
	state->check = number;
	state->state = number < 0 ? POINT_LEFT : POINT_CHECKED;
	if (number < 0)
		agent__say(places->agent, 1, "%s: %s cannot be verified: %s", file->path,
			   point->name, strerror(-number));
}

void places__begin(struct places *places)
{
	if (places->is_begun)
		return;
	places->is_begun = true;
	for (struct placed_file *file = places->files; file; file = file->next)
		for (uint32_t i = 0; i < file->points.cnt; i++)
			if (file->states[i].state == POINT_NEW)
				begin_point(places, file, i);
}

static void end_point(struct places *places, struct point *point, enum point_state state)
{
	if (point->state == POINT_CHECKED)
		tracer__end_place_check(places->agent->tracer, point->check);
	point->state = state;
}

static void end_points(struct places *places, struct placed_file *file)
{
	for (uint32_t i = 0; i < file->points.cnt; i++)
		end_point(places, &file->states[i], POINT_LEFT);
}

/* -- at a disagreement -- */

static void warn(const struct places *places, const struct placed_file *file,
		 const struct probe_point *point, const struct uf_place_check *check)
{
	agent__say(places->agent, 0, "%s: %s was not as expected at its place +%u: %u calls came by "
		   "unentered, %u never did, %u changed what they were called with, %u were right; it "
		   "is probed at its entry from here on, counts from before may be wrong", file->path,
		   point->name, point->placement.offset, check->stray_cnt, check->missing_cnt,
		   check->changed_cnt, check->agreed_cnt);
}

/*
 * With the point at its entry. All of the file's probes are there twice for a moment: then what is
 * allocated counts once, and a free that counts twice is one of an unknown block. The old ones
 * see the calls return that they have seen entered.
 */
static int place_anew(struct places *places, struct placed_file *file, struct probe_point *point)
{
	struct tracer *tracer = places->agent->tracer;
	int slot;

	point->placement.offset = 0;
	point->placement.emulated = false;
	point->probe_offset = point->func_offset;
	slot = tracer__attach_file(tracer, file->fd, &file->points);
	if (slot < 0)
		return slot;
	tracer__mute_file(tracer, file->slot);
	agent__file_has_moved(places->agent, file->slot, slot);
	if (places->muted_cnt < UF_MAX_FILES)
		places->muted[places->muted_cnt++] = file->slot;
	file->slot = slot;
	return 0;
}

static void refute(struct places *places, struct placed_file *file, uint32_t i,
		   const struct uf_place_check *check)
{
	struct probe_point *point = &file->points.points[i];
	int err;

	warn(places, file, point, check);
	end_point(places, &file->states[i], POINT_MOVED);
	err = place_anew(places, file, point);
	if (err)
		agent__say(places->agent, -1, "cannot probe %s at its entry: %s", point->name,
			   strerror(-err));
}

void places__tick(struct places *places)
{
	while (places->muted_cnt)
		tracer__detach_file(places->agent->tracer, places->muted[--places->muted_cnt]);
}

/* -- settling -- */

static void settle_point(struct places *places, struct placed_file *file, uint32_t i)
{
	struct uf_place_check check =
		tracer__place_check(places->agent->tracer, file->states[i].check);
	const struct probe_point *point = &file->points.points[i];

	switch (place_verdict(&check)) {
	case PLACE_UNDECIDED:
		break;
	case PLACE_AGREES:
		end_point(places, &file->states[i], POINT_VERIFIED);
		agent__say(places->agent, 1, "%s: %s+%u verified by %u calls: arguments, stack and "
			   "return address are as at the entry", file->path, point->name,
			   point->placement.offset, check.agreed_cnt);
		break;
	case PLACE_DISAGREES:
		refute(places, file, i, &check);
		break;
	}
}

static bool is_settled(const struct placed_file *file)
{
	for (uint32_t i = 0; i < file->points.cnt; i++)
		if (file->states[i].state == POINT_NEW || file->states[i].state == POINT_CHECKED)
			return false;
	return true;
}

void places__settle(struct places *places, uint32_t number)
{
	struct placed_file **at = &places->files, *file;

	while ((file = *at)) {
		for (uint32_t i = 0; i < file->points.cnt; i++)
			if (file->states[i].state == POINT_CHECKED &&
			    (number == UF_MAX_PLACE_CHECKS || file->states[i].check == number))
				settle_point(places, file, i);
		if (!is_settled(file)) {
			at = &file->next;
			continue;
		}
		*at = file->next;
		file__free(file);
	}
}

void places__forget(struct places *places, uint32_t slot)
{
	struct placed_file **at = &places->files, *file;

	while ((file = *at) && file->slot != slot)
		at = &file->next;
	if (!file)
		return;
	end_points(places, file);
	*at = file->next;
	file__free(file);
}

/* " free+3 (12 of 256)" for each. */
static void list_rest(const struct places *places, const struct placed_file *file, char *text,
		      size_t size)
{
	size_t used = 0;

	for (uint32_t i = 0; i < file->points.cnt && used < size; i++) {
		const struct probe_point *point = &file->points.points[i];
		const struct point *state = &file->states[i];
		uint32_t calls = 0;

		if (state->state == POINT_CHECKED)
			calls = tracer__place_check(places->agent->tracer, state->check).agreed_cnt;
		if (state->state == POINT_NEW || state->state == POINT_CHECKED ||
		    state->state == POINT_LEFT)
			used += snprintf(text + used, size - used, "%s %s+%u (%u of %u)",
					 used ? "," : "", point->name, point->placement.offset,
					 calls, UF_PLACE_CALLS);
	}
}

void places__say_rest(const struct places *places)
{
	char text[4096] = "";

	for (const struct placed_file *file = places->files; file; file = file->next) {
		list_rest(places, file, text, sizeof(text));
		agent__say(places->agent, 1, "%s: not verified, for want of calls:%s", file->path,
			   text);
	}
}
