/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_GATE_SETTINGS_H
#define UNFREED_GATE_SETTINGS_H

#include <stdint.h>

/*
 * The interval that the environment asks for, the standard one if it does not or if what it says is
 * not a size. Read from /proc/self/environ: the C library may not know its environment yet.
 */
uint64_t settings__interval_bytes(void);

/* A size like 512K, or otherwise if it is none. */
uint64_t settings__parse_size(const char *text, uint64_t otherwise);

#endif
