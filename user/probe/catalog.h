/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_CATALOG_H
#define UNFREED_PROBE_CATALOG_H

#include <stdbool.h>
#include <stdint.h>
#include "contract.h"
#include "probe/elf_image.h"

/*
 * The catalogue of allocator functions: which symbols of a file to probe, and
 * what each one does. One table; names in include/contract.h's enum uf_func.
 */

/* One place to probe. */
struct probe_point {
	char name[64];          /* symbol, prefix included: "je_malloc" */
	enum uf_func func;
	uint32_t flags;         /* UF_COOKIE_...; with MAY_THROW its returns are among the exits */
	uint64_t func_offset;   /* file offset of the function's entry */
	uint64_t func_bytes;    /* its length, or a bound of it */
	uint64_t probe_offset;  /* file offset of the chosen instruction */
	int arg_cnt;            /* argument registers that the probe reads */
	struct placement placement;
};

/* Which allocator a file holds, by its tell-tale symbols. */
enum allocator {
	ALLOCATOR_NONE,
	ALLOCATOR_GLIBC,
	ALLOCATOR_MUSL,
	ALLOCATOR_JEMALLOC,
	ALLOCATOR_TCMALLOC,
	ALLOCATOR_MIMALLOC,
	ALLOCATOR_OTHER, /* malloc and free of nobody we know */
};

const char *allocator__name(enum allocator allocator);

struct probe_points {
	struct probe_point *points; /* sorted by probe_offset, no offset twice */
	uint32_t cnt;
	enum allocator allocator;   /* what the file looks like */
	bool has_alloc;             /* malloc or the like is among the points */
	bool has_free;
	uint64_t *exits;            /* file offsets of each ret of the functions that may throw */
	uint32_t exit_cnt;
	uint32_t refused_cnt;       /* functions that may throw and cannot be probed safely: not here */
	char refused[160];          /* one of them, and why */
};

/*
 * Finds the allocator functions of an image: malloc, calloc, realloc, ... each
 * with the prefix. Without one ("", NULL): the plain names, those of every allocator that is
 * recognized by its own symbols under whatever prefix (je_, tc_, mi_, _rjem_), and operators new
 * and delete if such an allocator is there. (Over glibc's and musl's they call malloc.) Aliases at
 * one address are one point; functions that only jump to another point are none.
 * Functions that are not there are left out; a file with none gives cnt 0.
 * Returns 0 or -errno. Release with probe_points__release.
 */
int probe_points__find(const struct elf_image *img, const char *prefix, struct probe_points *out);
/* Takes a zeroed struct. */
void probe_points__release(struct probe_points *points);

/*
 * Which allocator an image contains under whatever prefix, to tell the user
 * what to try: e.g. jemalloc with the prefix "je_" (copied to prefix, size >= 16).
 * ALLOCATOR_NONE if there is none.
 */
enum allocator allocator__recognize(const struct elf_image *img, char *prefix, size_t prefix_size);

#endif
