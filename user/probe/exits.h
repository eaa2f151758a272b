/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_EXITS_H
#define UNFREED_PROBE_EXITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where functions return: each ret that they reach by jumps, in themselves or in functions that
 * they end with a jump to. For functions that may throw, which can have no return probe.
 */
struct elf_image;
struct exits;

/* Does a jump to this function's entry, a virtual address, end the search? It is probed itself. */
typedef bool (*exits_is_probed_fn)(void *arg, uint64_t vaddr);

/*
 * Of an x86-64 file; img is borrowed. NULL with errno: ENODATA: no .eh_frame, which says where
 * functions are; or another.
 */
struct exits *exits__new(const struct elf_image *img, exits_is_probed_fn is_probed, void *arg);
/* Takes NULL. */
void exits__free(struct exits *exits);

/*
 * Adds those of the function at vaddr. 0; -EOPNOTSUPP: not all could be found, why is in words, and
 * none was added; or another -errno.
 */
int exits__add(struct exits *exits, uint64_t vaddr, char *why, size_t why_size);

/* File offsets, each once; as long as exits. */
const uint64_t *exits__offsets(const struct exits *exits, uint32_t *cnt);

/*
 * Where a function that does nothing but jump elsewhere jumps to: in this file through the linkage
 * table, else to that. False: it is none.
 */
bool exits__forwards(const struct exits *exits, uint64_t vaddr, uint64_t *target);

#endif
