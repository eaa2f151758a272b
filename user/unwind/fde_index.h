/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_FDE_INDEX_H
#define UNFREED_UNWIND_FDE_INDEX_H

#include <stdint.h>
#include "unwind/cfi.h"
#include "unwind/unwind_source.h"

/*
 * Where the pieces of code of a file begin and end, as its .eh_frame says: functions, parts of
 * functions that the compiler put elsewhere, linkage tables; without any symbols.
 */
struct fde_index {
	struct unwind_source source;
	struct source_bytes section;
	struct cfi cfi; /* its fdes sorted by start */
};

/* Of an x86-64 ELF file; fd stays the caller's. NULL with errno: ENODATA: no .eh_frame; others. */
struct fde_index *fde_index__new(int fd);
/* Takes NULL. */
void fde_index__free(struct fde_index *index);

/* The FDE that holds a virtual address, or NULL. */
const struct cfi_fde *fde_index__find(const struct fde_index *index, uint64_t vaddr);

#endif
