/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_TRUTH_H
#define UNFREED_TESTS_TRUTH_H

#include <stdbool.h>
#include <stdint.h>
#include "contract.h"
#include "truth_sample.h"

/*
 * An independent walk of a copied stack: libdw's unwinder, with the CFI that
 * libdw itself reads from the files. Of ours it only takes what was mapped
 * where and when (target/mapping_log.h).
 */

struct truth;
struct mapping_log;

/* One more than the probe can have, so that an overlong walk shows. */
#define TRUTH_MAX_FRAMES (UF_MAX_FRAMES + 1)

struct truth_frame {
	uint64_t pc;
	bool is_interrupted; /* by a signal: pc is the place itself, not a return address */
};

struct truth_stack {
	uint32_t cnt;
	bool is_cut;       /* the walk needed memory beyond the copy */
	const char *error; /* why libdw found no further frame; NULL: the outermost was reached */
	struct truth_frame frames[TRUTH_MAX_FRAMES];
};

/* The log is borrowed. NULL with errno. */
struct truth *truth__new(const struct mapping_log *log);
/* Takes NULL. */
void truth__free(struct truth *truth);

/* Walks the sample's stack. */
void truth__walk(struct truth *truth, const struct truth_sample *sample, struct truth_stack *out);
/* libdw's name for an address in the process of the last walk; NULL: none. Until the next walk. */
const char *truth__symbol(struct truth *truth, uint64_t address);

#endif
