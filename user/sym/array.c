/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "sym/array.h"

#include <errno.h>
#include <stdlib.h>

#define INITIAL_ELEMENTS 64

void *array__grow(void *array, size_t elem_bytes, size_t cnt, size_t *cap, size_t max)
{
	size_t want = *cap ? *cap * 2 : INITIAL_ELEMENTS;
	void *grown;

	if (cnt < *cap)
		return array;
	if (cnt >= max) {
		errno = ENOSPC;
		return NULL;
	}
	grown = realloc(array, want * elem_bytes);
	if (grown)
		*cap = want;
	return grown;
}
