/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Three forms (CPython's Objects/lnotab_notes.txt and Objects/locations.md):
 *
 * 3.8, 3.9, co_lnotab: pairs (u8 bytes of code, s8 lines). Both are added up; the line
 * that holds for an offset is that before the first pair that goes beyond it. After the
 * last pair the last line holds, so that a table that was cut tells nothing past its end.
 *
 * 3.10, co_linetable: pairs (u8 bytes of code, s8 lines), one a range. The lines are added
 * before the range; -128 stands for a range without a line and adds nothing.
 *
 * 3.11 on, co_linetable: entries of one range. The first byte has bit 7 set, which no
 * other one has; its bits 3-6 are the kind, 0-2 the length in code units less 1. By kind:
 *
 *	0-9    line as before, 1 byte of columns
 *	10-12  0-2 lines more, 2 bytes of columns
 *	13     a signed number of lines, no columns
 *	14     likewise; then the end line and columns, varints
 *	15     no line
 *
 * A varint is of 6 bits a byte, the lowest first, with bit 6 set where another follows;
 * a signed one has its sign in bit 0.
 */
#include "python/line_table.h"
#include "python/version.h"

#define CODE_UNIT_BYTES  2
#define NO_LINE          (-128)
#define VARINT_MAX_BYTES 6 /* of 6 bits each: what an int needs */

enum {
	KIND_ONE_LINE = 10, /* to KIND_ONE_LINE + 2 */
	KIND_NO_COLUMNS = 13,
	KIND_LONG = 14,
	KIND_NONE = 15,
};

/* Lines are added up as 64 bits: a table of any size that fits in memory cannot overflow them. */
static uint32_t as_line(int64_t line)
{
	return line > 0 && line <= INT32_MAX ? (uint32_t)line : 0;
}

static uint32_t find_in_lnotab(const struct line_table *table, uint64_t wanted)
{
	int64_t line = table->first_line;
	uint64_t offset = 0;

	for (size_t i = 0; i + 2 <= table->size_bytes; i += 2) {
		offset += table->bytes[i];
		if (offset > wanted)
			return as_line(line);
		line += (int8_t)table->bytes[i + 1];
	}
	return table->is_cut ? 0 : as_line(line);
}

static uint32_t find_in_ranges(const struct line_table *table, uint64_t wanted)
{
	int64_t line = table->first_line;
	uint64_t end = 0;

	for (size_t i = 0; i + 2 <= table->size_bytes; i += 2) {
		int delta = (int8_t)table->bytes[i + 1];

		end += table->bytes[i];
		if (delta != NO_LINE)
			line += delta;
		if (wanted < end)
			return delta == NO_LINE ? 0 : as_line(line);
	}
	return 0;
}

/* The signed varint at pos, or what there is of it. */
static int64_t read_signed(const struct line_table *table, size_t pos)
{
	uint64_t value = 0;

	for (int i = 0; i < VARINT_MAX_BYTES && pos < table->size_bytes; i++, pos++) {
		value |= (uint64_t)(table->bytes[pos] & 0x3f) << (6 * i);
		if (!(table->bytes[pos] & 0x40))
			break;
	}
	return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

static int64_t entry_delta(const struct line_table *table, size_t pos, int kind)
{
	if (kind == KIND_NO_COLUMNS || kind == KIND_LONG)
		return read_signed(table, pos + 1);
	if (kind >= KIND_ONE_LINE && kind < KIND_NO_COLUMNS)
		return kind - KIND_ONE_LINE;
	return 0;
}

/* Where the next entry begins. */
static size_t next_entry(const struct line_table *table, size_t pos)
{
	do {
		pos++;
	} while (pos < table->size_bytes && !(table->bytes[pos] & 0x80));
	return pos;
}

static uint32_t find_in_locations(const struct line_table *table, uint64_t wanted)
{
	int64_t line = table->first_line;
	uint64_t end = 0;
	size_t pos = 0, next;

	for (; pos < table->size_bytes; pos = next) {
		int kind = table->bytes[pos] >> 3 & 15;

		next = next_entry(table, pos);
		if (table->is_cut && next == table->size_bytes)
			return 0; /* the entry itself may be cut */
		line += entry_delta(table, pos, kind);
		end += ((table->bytes[pos] & 7) + 1u) * CODE_UNIT_BYTES;
		if (wanted < end)
			return kind == KIND_NONE ? 0 : as_line(line);
	}
	return 0;
}

uint32_t line_table__find(const struct line_table *table, int32_t instr_offset_bytes)
{
	if (table->version_hex < PYTHON_VERSION_HEX(3, 8) || table->version_hex >= PYTHON_VERSION_HEX(4, 0))
		return 0;
	if (instr_offset_bytes < 0)
		return as_line(table->first_line);
	if (table->version_hex < PYTHON_VERSION_HEX(3, 10))
		return find_in_lnotab(table, (uint64_t)instr_offset_bytes);
	if (table->version_hex < PYTHON_VERSION_HEX(3, 11))
		return find_in_ranges(table, (uint64_t)instr_offset_bytes);
	return find_in_locations(table, (uint64_t)instr_offset_bytes);
}
