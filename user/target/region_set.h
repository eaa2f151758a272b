/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_REGION_SET_H
#define UNFREED_TARGET_REGION_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What is left of the regions that a process has mapped: disjoint intervals of addresses, in order.
 *
 * A region is what one call mapped. An unmap may leave pieces of it; it is one region until the last
 * of them is gone. Each of the ways in which memory goes is told to one function, piece by piece, in
 * ascending order: how many bytes, and whether they were the last of their region.
 *
 * An unmap is told twice: what it will unmap is taken when a thread enters the call, and goes, or
 * comes back, when the call returns. A thread is in one call at a time.
 *
 * Work for each call: O(log pieces) and the pieces that it meets. All addresses and bytes are whole
 * pages; an interval that wraps around is cut.
 */

struct region {
	uint32_t site, epoch; /* the caller's */
	uint64_t bytes;       /* still mapped, those that are taken included */
	bool is_copied;       /* from another set */
	struct region *copy;  /* while a set is copied */
};

struct region_set;

typedef void (*region_gone_fn)(void *arg, const struct region *region, uint64_t bytes, bool is_last);

/* fn is called with arg. NULL with errno ENOMEM. */
struct region_set *region_set__new(region_gone_fn fn, void *arg);
/* Takes NULL. Tells nobody. */
void region_set__free(struct region_set *set);

/*
 * A new region in place of all that was there. Bytes that had to go, without those of copied
 * regions; -ENOMEM: nothing was mapped.
 */
int64_t region_set__map(struct region_set *set, uint64_t start, uint64_t bytes, uint32_t site,
			uint32_t epoch);
/* Goes at once. 0 or -ENOMEM: the memory that a hole takes; then more went than should. */
int region_set__unmap(struct region_set *set, uint64_t start, uint64_t bytes);
/* Is taken by a thread; what it had taken before goes. 0 or -ENOMEM, as above. */
int region_set__take(struct region_set *set, pid_t tid, uint64_t start, uint64_t bytes);
/* What the thread has taken goes. */
void region_set__settle(struct region_set *set, pid_t tid);
/* Or comes back, but for what has been mapped over meanwhile. True: there was something. */
bool region_set__restore(struct region_set *set, pid_t tid);
/* What lies outside of the intervals goes: cnt pairs of start and end, ascending. 0 or -ENOMEM. */
int region_set__keep(struct region_set *set, const uint64_t (*intervals)[2], uint32_t cnt);

/*
 * A copy, with what threads have taken back in it. site_fn gives each region its site in the copy;
 * below 0: leave it out. NULL with errno ENOMEM.
 */
typedef int64_t (*region_site_fn)(void *arg, const struct region *region);
struct region_set *region_set__copy(const struct region_set *set, region_site_fn site_fn,
				    void *site_arg, region_gone_fn fn, void *arg);

/* Nothing in it, and nothing taken? */
bool region_set__is_empty(const struct region_set *set);
/* Calls fn for each piece, in ascending order. */
typedef void (*region_piece_fn)(void *arg, uint64_t start, uint64_t end,
				const struct region *region);
void region_set__for_each(const struct region_set *set, region_piece_fn fn, void *arg);

#endif
