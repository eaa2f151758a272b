/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_SERVICES_H
#define UNFREED_SNAPSHOT_SERVICES_H

#include <stdbool.h>

/*
 * A service is several processes that do the same: workers that one master
 * forked, or that were started one by one. A leak in its code is one leak,
 * though each of them has a share of it; and it stays the same one while
 * workers end and others take their place.
 */

struct snapshot;

/*
 * Joins the sites of one id: of all processes of a group, or, if per_process,
 * within each one. Bytes, counts, ages and growth add up (growth is unknown if it is of one
 * of them); oldest_s is the oldest's; pids are the processes that have something
 * live there. Call it before snapshot__sum. O(sites). 0 or -ENOMEM, and then
 * the snapshot is good for nothing but snapshot__free.
 */
int snapshot__join_services(struct snapshot *snap, bool per_process);

#endif
