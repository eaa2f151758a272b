/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_POOL_KEEPERS_H
#define UNFREED_AGENT_POOL_KEEPERS_H

#include <stdbool.h>
#include <stdint.h>
#include "contract.h"

/*
 * Whose objects are in CPython's pools?
 *
 * The line that opened a pool wanted one block when all pools for blocks of that size were full. If
 * it frees what it has a moment later, the pool is there for others. The probes tell of a pool
 * whether the block that it was opened for was freed soon (bpf/pool.bpf.h), which is a sample of
 * what its line does. So a pool that its line has left is given to the lines that keep theirs: to
 * one of those that opened pools for blocks of that size at about the same time.
 */

struct pool_view {
	uf_image_id image;
	uint32_t size_class;
	uint64_t opened_ns;
	uint32_t opener, holder; /* sites; the same unless it was given away already */
	bool is_left;		 /* its line has freed what it opened the pool for */
	bool is_old;		 /* and if not, it has had the time to */
};

struct pool_fate {
	uint32_t site;	 /* the one that it is to be charged to from now on */
	bool is_foreign; /* that one is its opener, who does not keep it: nobody is known who does
			  */
};

/* fates: one a pool. turn: kept from call to call. 0 or -ENOMEM. */
int pool_keepers__find(const struct pool_view *pools, uint32_t cnt, struct pool_fate *fates,
		       uint32_t *turn);

#endif
