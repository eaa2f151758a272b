/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_LINES_H
#define UNFREED_SYM_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <elfutils/libdw.h>
#include "sym/str_pool.h"

/* The line table of a compilation unit: rows by address, and its file names by index. */

struct lines;

/*
 * NULL with errno: ENOENT if the unit has no line table, EFBIG if its line
 * program is longer than limit_bytes.
 */
struct lines *lines__new(Dwarf_Die *cudie, size_t limit_bytes);
/* Takes NULL. */
void lines__free(struct lines *lines);

/* File index and line at vaddr. -ENOENT if no row covers it. */
int lines__find(const struct lines *lines, uint64_t vaddr, uint32_t *file, uint32_t *line);
/* Name of a file of the table, made absolute, interned; "" if there is none. */
const char *lines__file(struct lines *lines, struct str_pool *pool, uint32_t file);

/* These rows and what libdw holds behind them, estimated. */
size_t lines__bytes(const struct lines *lines);

#endif
