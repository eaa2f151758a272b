/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_VERIFY_H
#define UNFREED_PYTHON_VERIFY_H

#include <stdint.h>
#include "python/memory.h"
#include "python/threads.h"

/*
 * Does a layout fit a live process? Walks the frames of its threads as the probe will and
 * looks at what they lead to: code objects with a file name, a function name, a line
 * table, and an instruction within the code.
 */
struct python_evidence {
	uint32_t idle_cnt;  /* threads without a Python frame */
	uint32_t good_cnt;  /* all frames, or the first many, were as they have to be */
	uint32_t bad_cnt;
	char what[64];      /* was wrong with the last bad one */
};

/*
 * code_type: address of PyCode_Type, 0 if unknown. The threads run on meanwhile: a bad
 * one may have been caught in motion, a good one is no accident.
 */
void python_verify__frames(const struct python_memory *mem, const struct uf_python *layout,
			   const struct python_threads *threads, uint64_t code_type,
			   struct python_evidence *out);

#endif
