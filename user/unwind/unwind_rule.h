/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_UNWIND_RULE_H
#define UNFREED_UNWIND_UNWIND_RULE_H

#include <stdint.h>
#include "unwind/cfi.h"
#include "unwind/unwind_table.h"

/*
 * The table's rule for a row of CFI. What the rule cannot say becomes UF_CFA_UNSUPPORTED,
 * counted by kind in stats, never something near it.
 */
uint32_t unwind_rule__from_state(const struct cfi_cie *cie, const struct cfi_state *state,
				 struct unwind_stats *stats);

#endif
