/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_ARRAY_H
#define UNFREED_SYM_ARRAY_H

#include <stddef.h>

/*
 * The array with room for one more than cnt elements, doubled when it is full.
 * *cap is the room in elements. NULL with errno (ENOSPC: max elements reached);
 * the array is then as it was.
 */
void *array__grow(void *array, size_t elem_bytes, size_t cnt, size_t *cap, size_t max);

#endif
