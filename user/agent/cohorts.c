/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/cohorts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EPOCH_NS   1000000000ULL
#define MIN_EPOCH_NS   20000000ULL
#define OLDER_FRACTION 16 /* --older is answered to within this part of itself */
/*
 * Ticks before a merged cohort's slot is used again. Ticks that come late are followed by one
 * that comes early: of two intervals only one is sure to have passed.
 */
#define REST_EPOCHS    2
/* Kept free or resting: a tick takes one and rests one at most, so two stay free. */
#define SPARE_SLOTS    (REST_EPOCHS + 2)
/* Epochs that the probes may still look up in the ring; less than bpf/site.bpf.h's guard allows. */
#define RING_EPOCHS    (UF_EPOCH_RING - 128)

struct cohort {
	uint32_t first_epoch;
	uint64_t begin_ns; /* it ends where the next one begins */
	uint8_t slot;
};

struct resting {
	uint8_t slot, into;
	uint32_t until_epoch;
};

struct cohorts {
	struct cohorts_shared shared;
	uint64_t older_ns, epoch_ns;
	struct cohort cohorts[UF_MAX_COHORTS]; /* oldest first */
	uint32_t cohort_cnt;
	struct resting resting[UF_MAX_COHORTS];
	uint32_t resting_cnt;
	uint8_t free_slots[UF_MAX_COHORTS];
	uint32_t free_cnt;
};

static void put_epoch(struct cohorts *c, uint32_t epoch, uint8_t slot)
{
	__atomic_store_n(&c->shared.epoch_cohort[epoch % UF_EPOCH_RING], slot, __ATOMIC_RELEASE);
}

static void begin_cohort(struct cohorts *c, uint32_t epoch, uint64_t now_ns)
{
	struct cohort *cohort = &c->cohorts[c->cohort_cnt++];

	*cohort = (struct cohort){
		.first_epoch = epoch,
		.begin_ns = now_ns,
		.slot = c->free_slots[--c->free_cnt],
	};
	put_epoch(c, epoch, cohort->slot);
	__atomic_store_n(c->shared.current_epoch, epoch, __ATOMIC_RELEASE);
}

static uint64_t choose_epoch_ns(uint64_t older_ns)
{
	if (older_ns && older_ns < MIN_EPOCH_NS * OLDER_FRACTION)
		return MIN_EPOCH_NS;
	if (older_ns && older_ns < MAX_EPOCH_NS * OLDER_FRACTION)
		return older_ns / OLDER_FRACTION;
	/* The ring must reach well beyond the age that will be asked for. */
	if (older_ns / (RING_EPOCHS / 2) > MAX_EPOCH_NS)
		return older_ns / (RING_EPOCHS / 2);
	return MAX_EPOCH_NS;
}

uint32_t cohorts_shared__slot(const struct cohorts_shared *shared, uint32_t epoch)
{
	uint32_t age = *shared->current_epoch - epoch;
	uint32_t slot = age < UF_EPOCH_RING - UF_EPOCH_RING_GUARD
				? shared->epoch_cohort[epoch % UF_EPOCH_RING]
				: *shared->oldest_cohort;

	return slot % UF_MAX_COHORTS;
}

/* The site, with what lives there changed; NULL: none. */
static struct uf_site *count_live(const struct cohorts_shared *shared, uint32_t site, uint32_t epoch,
				  int64_t bytes, int64_t cnt)
{
	struct uf_cohort *cohort;

	if (site >= shared->max_sites)
		return NULL;
	cohort = &shared->sites[site].cohorts[cohorts_shared__slot(shared, epoch)];
	__atomic_fetch_add(&cohort->live_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&cohort->live_cnt, cnt, __ATOMIC_RELAXED);
	return &shared->sites[site];
}

void cohorts_shared__alloc(const struct cohorts_shared *shared, uint32_t site, uint32_t epoch,
			   uint64_t bytes, uint64_t cnt)
{
	struct uf_site *at = count_live(shared, site, epoch, (int64_t)bytes, (int64_t)cnt);

	if (!at)
		return;
	__atomic_fetch_add(&at->alloc_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&at->alloc_cnt, cnt, __ATOMIC_RELAXED);
}

void cohorts_shared__inherit(const struct cohorts_shared *shared, uint32_t site, uint32_t epoch,
			     uint64_t bytes, uint64_t cnt)
{
	cohorts_shared__alloc(shared, site, epoch, bytes, cnt);
	if (site >= shared->max_sites)
		return;
	__atomic_fetch_add(&shared->sites[site].inherited_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&shared->sites[site].inherited_cnt, cnt, __ATOMIC_RELAXED);
}

void cohorts_shared__free(const struct cohorts_shared *shared, uint32_t site, uint32_t epoch,
			  uint64_t bytes, uint64_t cnt)
{
	struct uf_site *at = count_live(shared, site, epoch, -(int64_t)bytes, -(int64_t)cnt);

	if (!at)
		return;
	__atomic_fetch_add(&at->free_bytes, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&at->free_cnt, cnt, __ATOMIC_RELAXED);
}

struct cohorts *cohorts__new(const struct cohorts_shared *shared, uint64_t older_ns,
			     uint64_t now_ns)
{
	struct cohorts *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->shared = *shared;
	c->older_ns = older_ns;
	c->epoch_ns = choose_epoch_ns(older_ns);
	for (int slot = UF_MAX_COHORTS - 1; slot >= 0; slot--)
		c->free_slots[c->free_cnt++] = slot;
	begin_cohort(c, 0, now_ns);
	*shared->oldest_cohort = c->cohorts[0].slot;
	return c;
}

void cohorts__free(struct cohorts *c)
{
	free(c);
}

uint64_t cohorts__epoch_ns(const struct cohorts *c)
{
	return c->epoch_ns;
}

static void move_number(__s64 *from, __s64 *to)
{
	__s64 n = __atomic_exchange_n(from, 0, __ATOMIC_ACQ_REL);

	if (n)
		__atomic_fetch_add(to, n, __ATOMIC_ACQ_REL);
}

static void move_counts(struct cohorts *c, uint8_t from, uint8_t to)
{
	uint32_t cnt = __atomic_load_n(c->shared.next_site, __ATOMIC_ACQUIRE);

	if (cnt > c->shared.max_sites)
		cnt = c->shared.max_sites;
	for (uint32_t i = 0; i < cnt; i++) {
		struct uf_cohort *cohorts = c->shared.sites[i].cohorts;

		move_number(&cohorts[from].live_bytes, &cohorts[to].live_bytes);
		move_number(&cohorts[from].live_cnt, &cohorts[to].live_cnt);
	}
}

static uint64_t end_ns(const struct cohorts *c, uint32_t i, uint64_t now_ns)
{
	return i + 1 < c->cohort_cnt ? c->cohorts[i + 1].begin_ns : now_ns;
}

/* Merges cohort i + 1 into i. */
static void merge_pair(struct cohorts *c, uint32_t i)
{
	struct cohort *into = &c->cohorts[i], gone = c->cohorts[i + 1];
	uint32_t current = *c->shared.current_epoch;
	uint32_t last = i + 2 < c->cohort_cnt ? c->cohorts[i + 2].first_epoch - 1 : current;
	uint32_t first = gone.first_epoch;

	if (current - first >= UF_EPOCH_RING)
		first = current - UF_EPOCH_RING + 1;
	for (uint32_t epoch = first; (int32_t)(epoch - last) <= 0; epoch++)
		put_epoch(c, epoch, into->slot);
	move_counts(c, gone.slot, into->slot);
	memmove(&c->cohorts[i + 1], &c->cohorts[i + 2],
		(c->cohort_cnt - i - 2) * sizeof(c->cohorts[0]));
	c->cohort_cnt--;
	/* What was to go to the merged cohort later goes where it went. */
	for (uint32_t r = 0; r < c->resting_cnt; r++)
		if (c->resting[r].into == gone.slot)
			c->resting[r].into = into->slot;
	c->resting[c->resting_cnt++] = (struct resting){
		.slot = gone.slot,
		.into = into->slot,
		.until_epoch = current + REST_EPOCHS,
	};
}

/* The pair whose merging costs the least precision relative to its age. */
static uint32_t cheapest_pair(const struct cohorts *c, uint64_t now_ns)
{
	uint32_t best = 0;
	double best_cost = 0;

	for (uint32_t i = 0; i + 2 < c->cohort_cnt; i++) {
		uint64_t end = end_ns(c, i + 1, now_ns);
		uint64_t span = end - c->cohorts[i].begin_ns;
		double cost = (double)span / (double)(now_ns - end + c->epoch_ns);

		/* Around the age that will be asked for, stay fine. */
		if (now_ns - end < c->older_ns && span > c->older_ns / OLDER_FRACTION)
			cost += 1e9;
		if (!i || cost < best_cost) {
			best = i;
			best_cost = cost;
		}
	}
	return best;
}

static void wake_rested(struct cohorts *c, uint32_t epoch)
{
	uint32_t kept = 0;

	for (uint32_t r = 0; r < c->resting_cnt; r++) {
		struct resting *resting = &c->resting[r];

		if ((int32_t)(epoch - resting->until_epoch) < 0) {
			c->resting[kept++] = *resting;
			continue;
		}
		move_counts(c, resting->slot, resting->into);
		c->free_slots[c->free_cnt++] = resting->slot;
	}
	c->resting_cnt = kept;
}

void cohorts__tick(struct cohorts *c, uint64_t now_ns)
{
	uint32_t epoch = *c->shared.current_epoch + 1;

	/* First of all: moving counts takes time, and now_ns should be when the epoch begins. */
	if (c->free_cnt)
		begin_cohort(c, epoch, now_ns);
	wake_rested(c, epoch);
	/* Epochs about to fall out of the ring must be in the oldest cohort by then. */
	while (c->cohort_cnt > 2 && epoch - c->cohorts[1].first_epoch > RING_EPOCHS)
		merge_pair(c, 0);
	while (c->free_cnt + c->resting_cnt < SPARE_SLOTS)
		merge_pair(c, cheapest_pair(c, now_ns));
}

uint32_t cohorts__ages(const struct cohorts *c, uint64_t now_ns, struct cohort_age *ages)
{
	uint32_t n = 0;

	for (uint32_t i = c->cohort_cnt; i-- > 0;)
		ages[n++] = (struct cohort_age){
			.min_age_ns = now_ns - end_ns(c, i, now_ns),
			.max_age_ns = now_ns - c->cohorts[i].begin_ns,
			.slot = c->cohorts[i].slot,
		};
	return n;
}
