/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_GROWTH_H
#define UNFREED_AGENT_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How fast sites grow from one report to the next. What a site had is kept by
 * its id, so a service's site goes on when its workers are others: what a
 * worker takes with it when it ends is a loss, what the next one brings a gain.
 */

struct growth;
struct snapshot;

/* per_process: a site is one process's, as snapshot__join_services had it. NULL with errno ENOMEM. */
struct growth *growth__new(bool per_process);
/* Takes NULL. */
void growth__free(struct growth *growth);

/*
 * Sets growth_bytes_per_s of all sites of a joined snapshot taken at now_ns, and remembers them. A
 * site that is new had nothing; with the first snapshot all is unknown. 0 or -ENOMEM.
 */
int growth__update(struct growth *growth, struct snapshot *snap, uint64_t now_ns);

#endif
