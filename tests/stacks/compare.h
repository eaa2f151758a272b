/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_COMPARE_H
#define UNFREED_TESTS_COMPARE_H

#include <stdbool.h>
#include <stdint.h>
#include "truth_sample.h"

/*
 * Compares the probe's stacks with libdw's, frame by frame, and counts. A
 * frame is equal if it is the same offset of the same file (or the same
 * address in no file) and both say alike whether a signal interrupted it.
 * Python frames are not looked at, but for that they stand where the
 * interpreter's evaluation loop is.
 */

struct agent;
struct compare;

struct compare_counts {
	uint64_t stacks;
	uint64_t distinct;   /* among them, by the probe's id */
	uint64_t complete;   /* by the probe's own words, and with all of the stack copied */
	uint64_t equal;      /* of the complete ones */
	uint64_t different;
	uint64_t cut;        /* complete, but reaching beyond the copy: not judged */
	uint64_t wrong_part; /* of those neither complete nor cut: no beginning of libdw's */
	uint64_t frames;     /* of the complete ones */
	uint64_t deepest;
	uint64_t interrupted; /* complete ones with a frame interrupted by a signal */
	uint64_t recalled;   /* complete ones that the probe had not walked anew */
	uint64_t python;     /* complete ones with Python frames */
	uint64_t ends[UF_END_CNT];
};

/* The agent is borrowed. NULL with errno. */
struct compare *compare__new(const struct agent *agent);
/* Takes NULL. */
void compare__free(struct compare *compare);

/* Compares one sample; the first differences are printed. */
void compare__add(struct compare *compare, const struct truth_sample *sample);
const struct compare_counts *compare__counts(const struct compare *compare);
/* The counts, and by which ends the other stacks ended. */
void compare__print(const struct compare *compare);

#endif
