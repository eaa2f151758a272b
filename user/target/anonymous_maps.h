/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_ANONYMOUS_MAPS_H
#define UNFREED_TARGET_ANONYMOUS_MAPS_H

#include <stdint.h>
#include <stdio.h>

/*
 * The anonymous mappings in a text like /proc/PID/maps, shared ones and the heap among them: pairs
 * of start and end, ascending; neighbours are one. The caller frees *out. 0 or -ENOMEM.
 */
int anonymous_maps__read(FILE *maps, uint64_t (**out)[2], uint32_t *cnt);

#endif
