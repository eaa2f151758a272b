/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_COHORTS_H
#define UNFREED_AGENT_COHORTS_H

#include <stdint.h>
#include "contract.h"

/*
 * How old are a site's blocks, without looking at any block.
 *
 * Time is cut into epochs. A block remembers the epoch of its birth; a site
 * keeps its live bytes and count in cohorts, each for a range of epochs, and
 * the probes find the cohort of an epoch in a table that user space writes.
 * When cohorts run short, two neighbours are merged into one: young ones stay
 * fine, old ones become coarse relative to their age. Work per epoch: O(sites)
 * at most.
 *
 * What is known of the blocks older than an age A, in a trace of T epochs, is
 * how many are older than some age between A and A * (1 + p) + an epoch. p grows
 * with log(T): 0.1 at 256 epochs, 1/3 at the ring's 65,536, and up to 0.6 if
 * cohorts are spent on older_ns. An epoch is 1 s (20 ms to 1 s if older_ns is
 * under 16 s). Blocks older than the ring reaches (18 hours of 1 s, 22 minutes
 * of 20 ms) are told apart no more: they are in the oldest cohort.
 *
 * The probes run all the time and take no lock. Merging Y into X therefore
 * goes in two steps: the table sends Y's epochs to X, then Y's numbers are
 * added to X's and taken from Y's. A probe that had read the table before may
 * still count at Y: Y rests for one epoch at least, then what came late is
 * moved too, and only then is it used again. Sums over all cohorts are exact
 * throughout.
 */

struct cohorts;

/* What the probes share with us, in mapped memory that outlives the object. */
struct cohorts_shared {
	struct uf_site *sites;
	const uint32_t *next_site; /* sites from here on were never used */
	uint32_t max_sites;
	uint32_t *current_epoch;
	uint32_t *oldest_cohort;
	uint8_t *epoch_cohort;     /* UF_EPOCH_RING entries */
};

/* The cohort that holds what was born in an epoch, as the probes choose it (bpf/site.bpf.h). */
uint32_t cohorts_shared__slot(const struct cohorts_shared *shared, uint32_t epoch);
/*
 * Counts what was born in an epoch at a site, as the probes do it: as allocated, as inherited by
 * fork, or as freed. A site past the table is none.
 */
void cohorts_shared__alloc(const struct cohorts_shared *shared, uint32_t site, uint32_t epoch,
			   uint64_t bytes, uint64_t cnt);
void cohorts_shared__inherit(const struct cohorts_shared *shared, uint32_t site, uint32_t epoch,
			     uint64_t bytes, uint64_t cnt);
void cohorts_shared__free(const struct cohorts_shared *shared, uint32_t site, uint32_t epoch,
			  uint64_t bytes, uint64_t cnt);

/*
 * older_ns: the age that will be asked for (0: none in particular), known to within 1/16 of
 * itself or 20 ms, or the longest time between two ticks. NULL with errno ENOMEM.
 */
struct cohorts *cohorts__new(const struct cohorts_shared *shared, uint64_t older_ns,
			     uint64_t now_ns);
/* Takes NULL. */
void cohorts__free(struct cohorts *c);

/* Length of an epoch: how often cohorts__tick wants to be called. */
uint64_t cohorts__epoch_ns(const struct cohorts *c);
/* Begins the next epoch at now_ns (CLOCK_MONOTONIC). */
void cohorts__tick(struct cohorts *c, uint64_t now_ns);

/* One age bucket; all its blocks are older than min_age_ns and at most max_age_ns old. */
struct cohort_age {
	uint64_t min_age_ns, max_age_ns;
	uint8_t slot; /* index into uf_site.cohorts */
};

/* The buckets, youngest first; ages at least UF_MAX_COHORTS long. Returns how many. */
uint32_t cohorts__ages(const struct cohorts *c, uint64_t now_ns, struct cohort_age *ages);

#endif
