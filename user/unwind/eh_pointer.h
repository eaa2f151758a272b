/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_EH_POINTER_H
#define UNFREED_UNWIND_EH_POINTER_H

#include <stdint.h>
#include "unwind/cursor.h"

/*
 * The encoded addresses of .eh_frame and .eh_frame_hdr (DW_EH_PE_*; LSB 5.0,
 * "DWARF Exception Header Encoding").
 */
#define EH_POINTER_FORMAT(encoding) ((encoding)&0x0f)

/*
 * Reads one that stands at vaddr. Makes the cursor bad for what is refused: indirect ones (they
 * are filled in by the dynamic linker), aligned ones, and those relative to text, data or the
 * function, which have no base on x86-64.
 */
uint64_t eh_pointer__read(struct cursor *c, uint8_t encoding, uint64_t vaddr);
/* Steps over one of any base; only for those whose value does not matter. */
void eh_pointer__skip(struct cursor *c, uint8_t encoding);

#endif
