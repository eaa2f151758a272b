/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "unwind/row_list.h"

static int grow(struct row_list *list)
{
	uint32_t cap = list->cap ? 2 * list->cap : 1024;
	struct uf_unwind_row *rows;

	if (list->cnt == ROW_LIST_MAX)
		return -EFBIG;
	rows = reallocarray(list->rows, cap, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	list->rows = rows;
	list->cap = cap;
	return 0;
}

int row_list__push(struct row_list *list, uint32_t offset, uint32_t rule)
{
	int err;

	if (list->cnt && list->rows[list->cnt - 1].rule == rule)
		return 0;
	if (list->cnt == list->cap) {
		err = grow(list);
		if (err)
			return err;
	}
	list->rows[list->cnt++] = (struct uf_unwind_row){ offset, rule };
	return 0;
}

int row_list__merge(const struct row_list *first, const struct row_list *second,
		    struct row_list *out)
{
	uint32_t i = 0, k = 0, rule_1 = UF_CFA_NONE, rule_2 = UF_CFA_NONE;
	int err = 0;

	while (!err && (i < first->cnt || k < second->cnt)) {
		uint64_t next_1 = i < first->cnt ? first->rows[i].offset : UINT64_MAX;
		uint64_t next_2 = k < second->cnt ? second->rows[k].offset : UINT64_MAX;

		if (next_1 <= next_2)
			rule_1 = first->rows[i++].rule;
		if (next_2 <= next_1)
			rule_2 = second->rows[k++].rule;
		err = row_list__push(out, (uint32_t)(next_1 < next_2 ? next_1 : next_2),
				     UF_RULE_CFA(rule_1) == UF_CFA_NONE ? rule_2 : rule_1);
	}
	return err;
}

void row_list__release(struct row_list *list)
{
	free(list->rows);
	*list = (struct row_list){ 0 };
}
