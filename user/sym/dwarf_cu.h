/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_DWARF_CU_H
#define UNFREED_SYM_DWARF_CU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <elfutils/libdw.h>
#include "sym/str_pool.h"
#include "sym/symbolizer.h"

/*
 * One compilation unit, indexed: its line rows by address, and for each address
 * the chain of inlined calls around it up to the function.
 */

struct elf_layout;
struct dwarf_cu;

/* The function that holds the place, as opposed to what was inlined into it. */
struct dwarf_func {
	uint64_t vaddr;	 /* start of its contiguous part that holds the place */
	bool is_found;	 /* else no subprogram covers the place: vaddr is unset */
	bool is_mangled; /* its name came mangled, so it is complete */
};

/*
 * cudie is the unit's DIE. line_limit_bytes bounds the line program that is
 * given to libdw. Returns NULL with errno.
 */
struct dwarf_cu *dwarf_cu__new(Dwarf_Die *cudie, const struct elf_layout *layout,
			       size_t line_limit_bytes);
/* Takes NULL. */
void dwarf_cu__free(struct dwarf_cu *cu);

/*
 * Frames at vaddr as symbolizer__resolve() gives them, offsets left 0. Returns
 * how many, 0 if the unit knows nothing of the place.
 */
int dwarf_cu__resolve(struct dwarf_cu *cu, struct str_pool *pool, uint64_t vaddr,
		      struct sym_frame *frames, int max, struct dwarf_func *func);

/* This index and what libdw holds for it, estimated. */
size_t dwarf_cu__bytes(const struct dwarf_cu *cu);

#endif
