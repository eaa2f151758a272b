/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_RUNTIME_H
#define UNFREED_PYTHON_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "python.h"
#include "python/gc_stats.h"
#include "python/memory.h"

/*
 * Recognises a CPython interpreter in a process, from outside: its version,
 * and where its structures keep what a stack walk needs - from a table of
 * known layouts, or from the interpreter's own _Py_DebugOffsets (3.13 on) -
 * and then checks the findings against the live process. On any doubt it says
 * why and gives nothing.
 */

/* A file of the process that may hold the interpreter (the executable or libpython). */
struct python_file {
	int fd;              /* open for reading */
	const char *path;
	uint64_t bias;       /* what to add to an ELF vaddr of the file for its address here */
};

enum python_status {
	PYTHON_ABSENT,       /* no interpreter in this file */
	PYTHON_NOT_YET,      /* there is one, but it is not initialised: try again later */
	PYTHON_UNAVAILABLE,  /* there is one that we cannot read: why says why */
	PYTHON_FOUND,
};

struct python_runtime {
	struct uf_python layout;   /* all but eval_file */
	uint64_t runtime_address;  /* of _PyRuntime */
	uint64_t code_dealloc_address; /* the function that frees code objects; 0: not known */
	struct python_gc_place gc; /* not verified; also of one whose frames are UNAVAILABLE */
	char version[32];          /* "3.11.2" */
	char why[160];             /* for UNAVAILABLE: "Python 3.15 frames unavailable: ..." */
};

/*
 * Is it worth a closer look? By the names in the file only (quick): does it define _PyRuntime?
 */
bool python_file__may_be_python(int fd);

/* Looks for an interpreter in one file of a running process. Always writes *out. */
enum python_status python_runtime__find(const struct python_file *file, python_read_fn read,
					void *arg, struct python_runtime *out);

#endif
