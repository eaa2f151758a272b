/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_PLACES_H
#define UNFREED_AGENT_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "contract.h"

/*
 * Are the probes where they should be? A place inside a function was chosen by decoding a build
 * that nobody has seen before (probe/placement.h). Its first calls are compared with the
 * function's entry, in the targets themselves: until enough have agreed both have another, small
 * probe, which costs nobody anything afterwards. At a disagreement the file's probes are placed
 * anew, with that function's at its entry, and the user is told.
 *
 * A function that is not called is not verified; its calls are, whenever they come.
 */

struct agent;
struct places;
struct probe_points;

enum place_verdict { PLACE_UNDECIDED, PLACE_AGREES, PLACE_DISAGREES };

/* What the calls of a check say. */
enum place_verdict place_verdict(const struct uf_place_check *check);

/* agent is borrowed: it has the tracer and the user. NULL with errno ENOMEM. */
struct places *places__new(struct agent *agent);
/* Takes NULL. */
void places__free(struct places *places);

/*
 * The points of the file open at fd, which may be closed afterwards, are probed in a slot of the
 * tracer. They are taken over (and empty then) if there is something to verify. Without memory
 * nothing is verified.
 */
void places__add(struct places *places, int fd, const char *path, uint32_t slot,
		 struct probe_points *points);
/* The slot's probes are out. */
void places__forget(struct places *places, uint32_t slot);

/* Begins with what was added since. Not before the trace runs: the targets wait for that. */
void places__begin(struct places *places);
/* Settles the check of that number, or any that is decided (UF_MAX_PLACE_CHECKS). */
void places__settle(struct places *places, uint32_t number);
/* Now and then: takes out what was replaced. */
void places__tick(struct places *places);
/* Says, under -v, what has not been verified. */
void places__say_rest(const struct places *places);

#endif
