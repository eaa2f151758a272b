/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_CURSOR_H
#define UNFREED_UNWIND_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A place in bytes that nobody has checked. Reading past the end gives zeros
 * and sets is_bad, which stays; so a reader asks once, after the last field.
 * Little-endian, as x86-64 is.
 */
struct cursor {
	const uint8_t *pos, *end;
	bool is_bad;
};

static inline struct cursor cursor__at(const uint8_t *bytes, size_t size_bytes)
{
	return (struct cursor){ bytes, bytes + size_bytes, false };
}

static inline size_t cursor__left(const struct cursor *c)
{
	return (size_t)(c->end - c->pos);
}

static inline void cursor__fail(struct cursor *c)
{
	c->pos = c->end;
	c->is_bad = true;
}

static inline void cursor__skip(struct cursor *c, uint64_t size_bytes)
{
	if (size_bytes > cursor__left(c))
		cursor__fail(c);
	else
		c->pos += size_bytes;
}

/* An unsigned number of 1, 2, 4 or 8 bytes. */
static inline uint64_t cursor__uint(struct cursor *c, size_t size_bytes)
{
	uint64_t value = 0;

	if (size_bytes > cursor__left(c)) {
		cursor__fail(c);
		return 0;
	}
	memcpy(&value, c->pos, size_bytes);
	c->pos += size_bytes;
	return value;
}

static inline uint8_t cursor__u8(struct cursor *c)
{
	if (c->pos == c->end) {
		cursor__fail(c);
		return 0;
	}
	return *c->pos++;
}

/* LEB128. Bits past the 64th are dropped; the length is bounded by the data's. */
static inline uint64_t cursor__uleb(struct cursor *c)
{
	uint64_t value = 0;
	unsigned int shift = 0;
	uint8_t byte;

	do {
		byte = cursor__u8(c);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	return value;
}

static inline int64_t cursor__sleb(struct cursor *c)
{
	uint64_t value = 0;
	unsigned int shift = 0;
	uint8_t byte;

	do {
		byte = cursor__u8(c);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	if (shift < 64 && (byte & 0x40))
		value |= UINT64_MAX << shift;
	return (int64_t)value;
}

/* A block preceded by its length (ULEB128), as a cursor of its own. */
static inline struct cursor cursor__block(struct cursor *c)
{
	uint64_t size_bytes = cursor__uleb(c);
	const uint8_t *start = c->pos;

	cursor__skip(c, size_bytes);
	if (c->is_bad)
		return (struct cursor){ c->end, c->end, true };
	return cursor__at(start, (size_t)size_bytes);
}

#endif
