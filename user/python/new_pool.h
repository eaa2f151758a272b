/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_NEW_POOL_H
#define UNFREED_PYTHON_NEW_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include "probe/elf_image.h"
#include "python/memory.h"

/*
 * CPython's function that opens a pool of small objects and returns the pool's first free block:
 * allocate_from_new_pool() in its sources of 3.9 and later, a static function.
 */
#define NEW_POOL_PLACES_MAX 4 /* the compiler may have made several of it */

struct new_pool {
	uint64_t offsets[NEW_POOL_PLACES_MAX]; /* in the file: where a return probe may stand */
	uint32_t cnt;
	bool by_symbol;                        /* else by what its code does */
};

/*
 * Finds it in an interpreter's file. mem and bias: a process that runs it, whose pointers to
 * functions are followed as well; mem may be NULL. Returns 0; -ENOENT: it is not there, or not to
 * be told from others; other errors of reading.
 */
int new_pool__find(const struct elf_image *img, int fd, const struct python_memory *mem,
		   uint64_t bias, struct new_pool *out);

#endif
