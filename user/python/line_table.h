/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_LINE_TABLE_H
#define UNFREED_PYTHON_LINE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * CPython's tables from instructions to lines, in their three forms. A table
 * is hostile input of any length and may be cut; the work is linear in it.
 */
struct line_table {
	const uint8_t *bytes;
	size_t size_bytes;
	bool is_cut;          /* the table goes on where bytes end */
	int32_t first_line;   /* co_firstlineno */
	uint32_t version_hex; /* PY_VERSION_HEX: tells the form */
};

/*
 * The line of the instruction at a byte offset; first_line for an offset below 0 (a frame that has
 * not begun). 0: it has none, the table does not reach it, or its form is not known.
 */
uint32_t line_table__find(const struct line_table *table, int32_t instr_offset_bytes);

#endif
