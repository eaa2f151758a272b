/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_DWARF_INDEX_H
#define UNFREED_SYM_DWARF_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sym/dwarf_cu.h"
#include "sym/str_pool.h"

/*
 * The debug information of one module: its compilation units by address range,
 * each indexed when the first address in it is looked up.
 */

struct elf_handle;
struct elf_layout;
struct dwarf_index;

/*
 * Takes over both files, on failure too. alt is the supplementary file of
 * .gnu_debugaltlink, NULL if there is none or it was not found. layout stays the
 * caller's and must live longer. Returns NULL with errno: ENOENT without DWARF,
 * EFBIG if the debug sections alone exceed limit_bytes.
 */
struct dwarf_index *dwarf_index__new(struct elf_handle *file, struct elf_handle *alt,
				     const struct elf_layout *layout, size_t limit_bytes);
/* Takes NULL. */
void dwarf_index__free(struct dwarf_index *index);

/* As dwarf_cu__resolve(). */
int dwarf_index__resolve(struct dwarf_index *index, struct str_pool *pool, uint64_t vaddr,
			 struct sym_frame *frames, int max, struct dwarf_func *func);

/* Is everything parsed that a look-up of vaddr needs? */
bool dwarf_index__is_ready(const struct dwarf_index *index, uint64_t vaddr);

size_t dwarf_index__bytes(const struct dwarf_index *index);

#endif
