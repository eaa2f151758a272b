/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_CALL_SITES_H
#define UNFREED_UNWIND_CALL_SITES_H

#include "unwind/row_list.h"
#include "unwind/unwind_source.h"

/*
 * Drops the rows that no return address can hit. The walker looks up the byte
 * before a return address, which is the last one of a call; a row without any
 * byte that could be that is merged into the one before it. Kept in any case:
 * UF_CFA_NONE (an address in a gap must stay one), UF_CFA_SIGNAL (the handler
 * "returns" to the trampoline without having been called by it) and UF_CFA_END.
 * end: where the last row ends. 0, -ENOMEM, or read's error.
 */
int call_sites__filter(struct row_list *list, const struct unwind_source *source, uint64_t end);

#endif
