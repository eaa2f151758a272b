/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_OFFSETS_H
#define UNFREED_PYTHON_OFFSETS_H

#include <stddef.h>
#include <stdint.h>
#include "python.h"
#include "python/memory.h"

/*
 * Where CPython keeps things, by minor version: bytes into its structures, as
 * DWARF of its own builds tells (x86-64, with the GIL). What the probe needs is in
 * layout; the rest is what finding and checking need.
 */
struct python_offsets {
	/* _PyRuntimeState */
	uint32_t runtime_initialized;       /* int: Py_Initialize() is through */
	uint32_t runtime_interpreters_head;
	uint32_t runtime_tss_key;           /* Py_tss_t; 0: unknown, to be searched */
	uint32_t runtime_gc;                /* the collector's state (3.8); 0: interpreters have one each */
	/* PyInterpreterState */
	uint32_t interp_next;
	uint32_t interp_threads_head;
	uint32_t interp_gc;
	/* PyThreadState */
	uint32_t tstate_next;
	uint32_t tstate_interp;
	uint32_t tstate_thread_id;          /* what pthread_self() says */
	/* all but eval, eval_file and the key; version_hex has only major and minor */
	struct uf_python layout;
};

/* The table's entry for a version (PY_VERSION_HEX; major and minor count), or NULL. */
const struct python_offsets *python_offsets__for_version(uint32_t version_hex);

/*
 * Fills *out from _Py_DebugOffsets, which _PyRuntime begins with from 3.13 on, and what it does
 * not tell from what we know of the version. Where the table knows the version, both must agree.
 * 0; -errno of reading; -EINVAL with why, of size why_size.
 */
int python_offsets__from_debug(const struct python_memory *mem, uint64_t runtime_address,
			       uint32_t version_hex, struct python_offsets *out, char *why,
			       size_t why_size);

#endif
