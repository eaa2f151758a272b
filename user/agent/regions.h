/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_REGIONS_H
#define UNFREED_AGENT_REGIONS_H

#include <stdint.h>
#include <sys/types.h>
#include "contract.h"

/*
 * The memory that processes have mapped themselves (--mmap), by the events of bpf/region.bpf.h:
 * an interval set an image (target/region_set.h). The probes have counted a region at its site when
 * it was mapped; here its bytes are taken from the site as they are unmapped.
 *
 * Where events were lost, or a call failed half-way, /proc/PID/maps says what is mapped no more.
 * Looking is safe at any time: what is not mapped now has been unmapped, and an event of that which
 * is still on the way then finds nothing. What is mapped may be in an event that has yet to come,
 * and is left to that.
 */

struct regions;
struct snapshot;
struct tracees;
struct tracer;

/* Borrowed. NULL with errno ENOMEM. */
struct regions *regions__new(struct tracer *tracer, const struct tracees *tracees);
/* Takes NULL. */
void regions__free(struct regions *regions);

void regions__handle(struct regions *regions, const struct uf_region_event *event);
/* The child begins with what its parent has mapped. */
void regions__fork(struct regions *regions, uf_image_id parent, uf_image_id child, pid_t pid);
/* No event of the image will come any more. What it had stays at its sites. */
void regions__forget(struct regions *regions, uf_image_id image);
/* After events were taken in, and before a report: looks where events were lost. */
void regions__check(struct regions *regions);
/* 0 or -ENOMEM. */
int regions__add_losses(const struct regions *regions, struct snapshot *snap);

#endif
