/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_GROUPS_H
#define UNFREED_SNAPSHOT_GROUPS_H

#include "snapshot/snapshot.h"

/*
 * What a report is divided by: containers (and the host, which is all that is
 * in none), services, processes. Every target is in one group, and so is every
 * site; a group of which nothing is outstanding is there too, as "seen and
 * clean" is an answer.
 */

/*
 * Makes the groups of the targets and gives each site, whose target must be
 * set, the group of its target. Does nothing for BY_SITE. Call it before
 * snapshot__join_services, which then joins within groups only. O(targets +
 * sites). 0 or -ENOMEM.
 */
int snapshot__group(struct snapshot *snap, enum snapshot_grouping grouping);

/*
 * Orders the groups, the largest first by what sites are ordered by; the order is total. Call it
 * after snapshot__sum. 0 or -ENOMEM.
 */
int snapshot__order_groups(struct snapshot *snap, enum snapshot_sort sort);

#endif
