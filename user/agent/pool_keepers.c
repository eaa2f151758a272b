/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/pool_keepers.h"

#include <errno.h>
#include <stdlib.h>

/* A line that has left so many of its pools, and so many times as many as it has not, leaves all:
 * of some the probes have missed it. */
#define LEAVER_POOLS 4
#define LEAVER_TIMES 3

/* Fewer kept pools than this part of the left ones may be such misses: who keeps is not known. */
#define FEWEST_KEPT_PART 8

/* So many of the kept pools were opened at about the same time as another. What a program keeps as
 * it starts is not what it keeps an hour later. */
#define NEIGHBOURS 16

/* Of one site. */
struct opener {
	uint32_t left_cnt, kept_cnt;
};

/* A pool that its line keeps, or has left. */
struct judged_pool {
	uf_image_id image;
	uint32_t size_class;
	uint64_t opened_ns;
	uint32_t site;
};

struct pool_list {
	struct judged_pool *pools; /* by_place */
	uint32_t cnt;
};

static int by_place(const void *left, const void *right)
{
	const struct judged_pool *a = left, *b = right;

	if (a->image != b->image)
		return a->image < b->image ? -1 : 1;
	if (a->size_class != b->size_class)
		return a->size_class < b->size_class ? -1 : 1;
	return (a->opened_ns > b->opened_ns) - (a->opened_ns < b->opened_ns);
}

static bool is_foreign(const struct pool_view *pool, const struct opener *openers)
{
	const struct opener *opener = &openers[pool->opener];

	return pool->is_left || (pool->is_old && opener->left_cnt >= LEAVER_POOLS &&
				 opener->left_cnt >= LEAVER_TIMES * opener->kept_cnt);
}

/* How many come, in by_place's order, before key. */
static uint32_t count_before(const struct pool_list *list, struct judged_pool key)
{
	uint32_t low = 0, high = list->cnt;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (by_place(&list->pools[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* How many are of that process and for blocks of that size; *first: where they begin. */
static uint32_t count_alike(const struct pool_list *list, const struct pool_view *pool,
			    uint32_t *first)
{
	struct judged_pool key = {.image = pool->image, .size_class = pool->size_class};

	*first = count_before(list, key);
	key.size_class++;
	return count_before(list, key) - *first;
}

/* Of a pool that its opener has left. */
static struct pool_fate fate_of(const struct pool_list *kept, const struct pool_list *left,
				const struct pool_view *pool, uint32_t *turn)
{
	const struct judged_pool key = {
		.image = pool->image,
		.size_class = pool->size_class,
		.opened_ns = pool->opened_ns,
	};
	uint32_t first, kept_cnt = count_alike(kept, pool, &first), other, next;

	if (pool->holder != pool->opener)
		return (struct pool_fate){pool->holder, false};
	if (!kept_cnt || kept_cnt < count_alike(left, pool, &other) / FEWEST_KEPT_PART)
		return (struct pool_fate){pool->holder, true};
	if (kept_cnt > NEIGHBOURS) {
		uint32_t last = first + kept_cnt - NEIGHBOURS;

		next = count_before(kept, key);
		next = next > NEIGHBOURS / 2 ? next - NEIGHBOURS / 2 : 0;
		first = next < first ? first : next > last ? last : next;
		kept_cnt = NEIGHBOURS;
	}
	/* Each line has as many turns as it has pools. */
	return (struct pool_fate){kept->pools[first + (*turn)++ % kept_cnt].site, false};
}

/* By site. NULL: no memory. */
static struct opener *count_by_opener(const struct pool_view *pools, uint32_t cnt)
{
	uint32_t max = 0;
	struct opener *openers;

	for (uint32_t i = 0; i < cnt; i++)
		max = pools[i].opener > max ? pools[i].opener : max;
	openers = calloc((size_t)max + 1, sizeof(*openers));
	for (uint32_t i = 0; openers && i < cnt; i++) {
		openers[pools[i].opener].left_cnt += pools[i].is_left;
		openers[pools[i].opener].kept_cnt += !pools[i].is_left && pools[i].is_old;
	}
	return openers;
}

static void append(struct pool_list *list, const struct pool_view *pool)
{
	list->pools[list->cnt++] =
		(struct judged_pool){pool->image, pool->size_class, pool->opened_ns, pool->opener};
}

int pool_keepers__find(const struct pool_view *pools, uint32_t cnt, struct pool_fate *fates,
		       uint32_t *turn)
{
	struct opener *openers = count_by_opener(pools, cnt);
	struct pool_list kept = {.pools = calloc((size_t)cnt + 1, sizeof(*kept.pools))};
	struct pool_list left = {.pools = calloc((size_t)cnt + 1, sizeof(*left.pools))};
	int err = openers && kept.pools && left.pools ? 0 : -ENOMEM;

	for (uint32_t i = 0; !err && i < cnt; i++) {
		fates[i] = (struct pool_fate){pools[i].holder, is_foreign(&pools[i], openers)};
		if (fates[i].is_foreign)
			append(&left, &pools[i]);
		else if (pools[i].is_old)
			append(&kept, &pools[i]);
	}
	/* Mostly no line has left any. */
	if (!err && left.cnt) {
		qsort(kept.pools, kept.cnt, sizeof(*kept.pools), by_place);
		qsort(left.pools, left.cnt, sizeof(*left.pools), by_place);
	}
	for (uint32_t i = 0; !err && i < cnt; i++)
		if (fates[i].is_foreign)
			fates[i] = fate_of(&kept, &left, &pools[i], turn);
	free(kept.pools);
	free(left.pools);
	free(openers);
	return err;
}
