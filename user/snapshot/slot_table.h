/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_SLOT_TABLE_H
#define UNFREED_SNAPSHOT_SLOT_TABLE_H

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "snapshot/arena.h"

/* Open addressing, for look-ups in an array: indexes into it, plus 1; 0 is a free slot. */
struct slot_table {
	uint32_t *slots; /* the owner frees them */
	uint32_t mask;
};

/* Room for max_cnt, at most half full. 0 or -ENOMEM. */
static inline int slot_table__init(struct slot_table *table, uint32_t max_cnt)
{
	uint32_t slot_cnt = 2;

	while (slot_cnt / 2 < max_cnt)
		slot_cnt *= 2;
	table->slots = arena__realloc(NULL, slot_cnt * sizeof(*table->slots));
	if (!table->slots)
		return -ENOMEM;
	memset(table->slots, 0, slot_cnt * sizeof(*table->slots));
	table->mask = slot_cnt - 1;
	return 0;
}

#endif
