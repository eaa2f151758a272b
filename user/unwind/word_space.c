/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "unwind/word_space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct range {
	uint32_t first, cnt;
};

struct word_space {
	struct range *ranges; /* free ones, ascending, none touching the next */
	uint32_t range_cnt, capacity;
	uint32_t free_cnt;
};

struct word_space *word_space__new(uint32_t word_cnt)
{
	struct word_space *space = calloc(1, sizeof(*space));

	if (space && word_space__give(space, 0, word_cnt)) {
		word_space__free(space);
		errno = ENOMEM;
		return NULL;
	}
	return space;
}

void word_space__free(struct word_space *space)
{
	if (!space)
		return;
	free(space->ranges);
	free(space);
}

static void remove_range(struct word_space *space, uint32_t i)
{
	memmove(&space->ranges[i], &space->ranges[i + 1],
		(space->range_cnt - i - 1) * sizeof(space->ranges[0]));
	space->range_cnt--;
}

int64_t word_space__take(struct word_space *space, uint32_t cnt)
{
	for (uint32_t i = 0; i < space->range_cnt; i++) {
		struct range *range = &space->ranges[i];
		uint32_t first = range->first;

		if (range->cnt < cnt)
			continue;
		range->first += cnt;
		range->cnt -= cnt;
		space->free_cnt -= cnt;
		if (!range->cnt)
			remove_range(space, i);
		return first;
	}
	return -ENOSPC;
}

/* Opens a place for a range at i. */
static int insert_range(struct word_space *space, uint32_t i, uint32_t first, uint32_t cnt)
{
	if (space->range_cnt == space->capacity) {
		uint32_t capacity = space->capacity ? space->capacity * 2 : 16;
		struct range *ranges = reallocarray(space->ranges, capacity, sizeof(*ranges));

		if (!ranges)
			return -ENOMEM;
		space->ranges = ranges;
		space->capacity = capacity;
	}
	memmove(&space->ranges[i + 1], &space->ranges[i],
		(space->range_cnt - i) * sizeof(space->ranges[0]));
	space->ranges[i] = (struct range){first, cnt};
	space->range_cnt++;
	return 0;
}

int word_space__give(struct word_space *space, uint32_t first, uint32_t cnt)
{
	uint32_t i = 0;
	int err = 0;

	while (i < space->range_cnt && space->ranges[i].first < first)
		i++;
	if (i && space->ranges[i - 1].first + space->ranges[i - 1].cnt == first)
		space->ranges[--i].cnt += cnt;
	else
		err = insert_range(space, i, first, cnt);
	if (err)
		return err;
	space->free_cnt += cnt;
	if (i + 1 < space->range_cnt &&
	    space->ranges[i].first + space->ranges[i].cnt == space->ranges[i + 1].first) {
		space->ranges[i].cnt += space->ranges[i + 1].cnt;
		remove_range(space, i + 1);
	}
	return 0;
}

uint32_t word_space__free_cnt(const struct word_space *space)
{
	return space->free_cnt;
}
