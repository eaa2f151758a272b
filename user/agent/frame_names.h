/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_FRAME_NAMES_H
#define UNFREED_AGENT_FRAME_NAMES_H

#include "snapshot/snapshot.h"

/*
 * Frames of a stack of the kernel's table, with names. A frame is a place in a
 * numbered file, or an address, which the mappings of that process at that
 * time lead to a file; the file has symbols.
 */

struct mapped_file;
struct mapping_log;
struct pythons;
struct symbolizer;
struct uf_stack;
struct unwinder;

/* Where names come from; all borrowed. */
struct frame_names {
	struct symbolizer *symbolizer;
	const struct unwinder *unwinder;    /* number -> file */
	const struct mapping_log *mappings; /* address -> file */
	const struct pythons *pythons;      /* code object -> function, line */
};

/*
 * The file that a frame of the stack lies in, NULL if none is known, and where: *offset in the file,
 * or else its address. Of a Python frame NULL and 0.
 */
struct mapped_file *frame_names__file(const struct frame_names *names,
				      const struct uf_stack *stack, uint64_t frame,
				      uint64_t *offset);

/*
 * Fills site->frames, allocated from the snapshot. A place that nobody knows
 * is a frame all the same. 0 or -ENOMEM.
 */
int frame_names__resolve(const struct frame_names *names, struct snapshot *snap,
			 struct snapshot_site *site, const struct uf_stack *stack);

/*
 * Sets *id to a hash of what the stack's frames name and of how it ends: the same for the same
 * place in any process (snapshot/site_id.h). False: a frame has no name yet, and another look may
 * give another hash.
 */
bool frame_names__hash(const struct frame_names *names, const struct uf_stack *stack,
		       uint64_t *id);

#endif
