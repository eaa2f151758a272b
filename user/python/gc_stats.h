/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_GC_STATS_H
#define UNFREED_PYTHON_GC_STATS_H

#include <stdbool.h>
#include <stdint.h>
#include "python.h"
#include "python/memory.h"
#include "python/offsets.h"

/*
 * What CPython's garbage collector says of itself - gc.get_stats(), gc.get_threshold(),
 * gc.get_count(), gc.isenabled() - read from outside. Nothing is believed before the collector's
 * state was seen to be as known: its lists, what surrounds them, and where.
 */

/* Where the state of a process's collector is, as far as a version's table tells. */
struct python_gc_place {
	uint64_t state;             /* of all interpreters together (3.8); 0: each has its own */
	uint64_t interpreters_head; /* address of the pointer to the first one */
	uint32_t interp_next, interp_gc;
	bool is_incremental;        /* 3.14.0 - 3.14.4: a young and two old generations */
	/* Into the state; 0 until python_gc_place__verify has found them. */
	uint16_t generations, permanent;
	uint16_t candidate, seen; /* what it has found so far */
};

struct python_gc_generation {
	int32_t threshold, count;     /* of the main interpreter */
	uint64_t collections;         /* all of the process's life, a parent's before fork included */
	uint64_t collected, uncollectable; /* objects */
};

struct python_gc_stats {
	bool is_enabled;              /* automatic collections, in the main interpreter */
	struct python_gc_generation generations[UF_PYTHON_GENERATIONS];
};

/* Not verified yet. state and interpreters_head are both 0 where the version is not known. */
struct python_gc_place python_gc_place__init(uint64_t runtime_address,
					     const struct python_offsets *offsets);
static inline bool python_gc_place__is_known(const struct python_gc_place *place)
{
	return place->state || place->interpreters_head;
}
static inline bool python_gc_place__is_verified(const struct python_gc_place *place)
{
	return place->generations;
}

/*
 * Looks for the lists in the live process. 0: found. -EAGAIN: they seem to be there but were in
 * motion (a collection runs, an object was just made): what was seen is kept, call again. -EINVAL:
 * they are not there; or an error of reading.
 */
int python_gc_place__verify(struct python_gc_place *place, const struct python_memory *mem);

/* Reads the statistics at a verified place. 0; -ESRCH: no interpreter lives; -EINVAL: they are
 * not plausible; or an error of reading. *out changes only on success. */
int python_gc_stats__read(const struct python_gc_place *place, const struct python_memory *mem,
			  struct python_gc_stats *out);

#endif
