/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_PYTHONS_H
#define UNFREED_AGENT_PYTHONS_H

#include <stdbool.h>
#include <stdint.h>
#include "contract.h"
#include "python.h"

/*
 * The CPython interpreters among the traced processes: finds them as they come
 * up, tells the probe how to read their frames, and keeps the names and lines
 * of the code objects that stacks were seen with.
 */

struct pythons;
struct gc_watch;
struct mapping_log;
struct tracees;
struct tracer;
struct unwinder;

/* All borrowed. NULL with errno ENOMEM. */
struct pythons *pythons__new(struct tracer *tracer, const struct mapping_log *mappings,
			     struct unwinder *unwinder, struct gc_watch *gc_watch);
/* Takes NULL. */
void pythons__free(struct pythons *pythons);

/*
 * Looks at the processes whose interpreter is not known yet. Cheap when there is nothing new: call
 * it whenever something was mapped and once an epoch. What cannot be read is said in the tracee's
 * note.
 */
void pythons__look(struct pythons *pythons, struct tracees *tracees);
/* Is an interpreter known to be coming up, so that it pays to look again soon? */
bool pythons__is_waiting(const struct pythons *pythons);

/* Keeps a code object that the probe sent; the latest of its address counts from then on. */
void pythons__add_code(struct pythons *pythons, const struct uf_python_code *sent);
/* Forgets an image's code objects. */
void pythons__forget(struct pythons *pythons, uf_image_id image);

/* Names for a Python frame; strings live until forget or free. */
struct python_place {
	const char *function; /* qualified name; "" if unknown */
	const char *file;
	uint32_t line;        /* 0: unknown */
};

/* frame: UF_FRAME_PYTHON, of a stack of that image first seen at time_ns. */
struct python_place pythons__place(const struct pythons *pythons, uf_image_id image,
				   uint64_t frame, uint64_t time_ns);

#endif
