/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_POOLS_H
#define UNFREED_AGENT_POOLS_H

#include <stdbool.h>
#include <stdint.h>
#include "contract.h"

/*
 * The pools of CPython's small objects that the probes saw opened (bpf/pool.bpf.h). Nobody is
 * called when a pool is closed; so before a report the header of each is read from the process's
 * memory, and a pool that is empty, unmapped or no pool any more leaves its site.
 *
 * The process runs on meanwhile. A pool is taken from its tenant only if it is still the tenant
 * that was there before the header was read: if it was opened again since, it has another. A pool
 * that is being opened right now was empty before, and gets its tenant when that is done.
 */

struct pools;
struct tracees;
struct tracer;

/* Borrowed. NULL with errno ENOMEM. */
struct pools *pools__new(struct tracer *tracer, const struct tracees *tracees);
/* Takes NULL. */
void pools__free(struct pools *pools);

/*
 * Looks at every pool of the processes that run. (The probes look at those of one that ends by
 * _exit().) 0, or -ENOTRECOVERABLE once if the probe was not where it should have been and was
 * taken out.
 */
int pools__look(struct pools *pools);

/* Of a site's pools, in bytes. */
struct pool_use {
	uint64_t unused_bytes; /* no object is there */
	/* Whole pools whose objects are not the line's: see agent/pool_keepers.h. */
	uint64_t foreign_bytes;
};
/*
 * As of the last look, by site, for the first site_cnt of them. A pool counts if its opening falls
 * into one of the cohorts; UF_MAX_COHORTS of them. The caller's; NULL: out of memory, or there is
 * no pool (errno 0).
 */
struct pool_use *pools__use(const struct pools *pools, const bool *cohorts, uint32_t site_cnt);
/* Gives back the pools of an image that is gone. */
void pools__forget(struct pools *pools, uf_image_id image);

#endif
