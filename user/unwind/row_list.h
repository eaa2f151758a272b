/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_ROW_LIST_H
#define UNFREED_UNWIND_ROW_LIST_H

#include <stdint.h>
#include "unwind_row.h"

/*
 * Rows under construction: strictly ascending offsets, neighbours differ in
 * rule. At most ROW_LIST_MAX (-EFBIG).
 */
#define ROW_LIST_MAX (16u << 20)

struct row_list {
	struct uf_unwind_row *rows;
	uint32_t cnt, cap;
};

/* From offset on, rule holds. Offsets may repeat only if the rule does. 0, -EFBIG, -ENOMEM. */
int row_list__push(struct row_list *list, uint32_t offset, uint32_t rule);
/* Rows of second where first has none (UF_CFA_NONE); out is empty before. */
int row_list__merge(const struct row_list *first, const struct row_list *second,
		    struct row_list *out);
/* Takes a zeroed struct. */
void row_list__release(struct row_list *list);

#endif
