/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_FRAME_NAMES_H
#define UNFREED_AGENT_FRAME_NAMES_H

#include "snapshot/snapshot.h"

/*
 * Frames of a stack of the kernel's table, with names: address -> mapping of
 * that process at that time -> file -> symbols.
 */

struct mapping_log;
struct symbolizer;
struct uf_stack;

/*
 * Fills site->frames, allocated from the snapshot. A place that nobody knows
 * is a frame all the same. 0 or -ENOMEM.
 */
int frame_names__resolve(struct snapshot *snap, struct snapshot_site *site,
			 const struct uf_stack *stack, const struct mapping_log *mappings,
			 struct symbolizer *symbolizer);

#endif
