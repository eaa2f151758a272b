/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Calls are looked for in the bytes, not decoded: any E8 with four bytes after
 * it, any FF whose ModRM byte says /2 with as many as that asks for. Every call
 * has those bytes, so none is missed, whatever prefixes it has and wherever
 * instructions begin; bytes that only look like a call keep a row too many.
 *
 *	e8 rel32                call near
 *	41 ff 54 24 08          call *0x8(%r12): modrm 54, sib 24, disp8
 *
 * A system call (0f 05) is one, too: stacks begin there as well (bpf/region.bpf.h).
 *
 * (A call with a 16-bit displacement, 66 e8, exists on AMD only and truncates
 * rip: nothing that runs has it.)
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "unwind/call_sites.h"

#define CALL_MAX_BYTES 7 /* from its E8 or FF on */
#define CHUNK_BYTES    (256u << 10)

/* A piece of code; at both sides there is as much more as a call can have. */
struct code {
	const struct unwind_source *source;
	uint64_t start, end; /* in the file */
	uint8_t bytes[CHUNK_BYTES];
};

/* Length of the instruction FF /2 from its FF on; modrm points behind that, two bytes there. */
static unsigned int indirect_length(const uint8_t *modrm)
{
	unsigned int mod = *modrm >> 6, rm = *modrm & 7;
	unsigned int sib = mod != 3 && rm == 4;

	if (mod == 1)
		return 2 + sib + 1;
	if (mod == 2)
		return 2 + sib + 4;
	if (mod == 0 && (rm == 5 || (sib && (modrm[1] & 7) == 5)))
		return 2 + sib + 4; /* rip + disp32, or disp32 as the base */
	return 2 + sib;
}

/* Is the last byte of what could be a call among [from, to)? Four bytes are readable at to. */
static bool has_call_end(const uint8_t *from, const uint8_t *to, const uint8_t *readable)
{
	const uint8_t *p = from - readable < CALL_MAX_BYTES ? readable : from - CALL_MAX_BYTES;

	for (; p + 1 < to; p++) {
		const uint8_t *last;

		if (*p == 0xe8)
			last = p + 4;
		else if (*p == 0xff && (p[1] >> 3 & 7) == 2)
			last = p + indirect_length(p + 1) - 1;
		else if (*p == 0x0f && p[1] == 0x05)
			last = p + 1;
		else
			continue;
		if (last >= from && last < to)
			return true;
	}
	return false;
}

/* Makes [offset, ...) part of what is held, with a margin before it. */
static int hold(struct code *code, uint64_t offset)
{
	uint64_t left;
	int err;

	code->start = offset > CALL_MAX_BYTES ? offset - CALL_MAX_BYTES : 0;
	left = code->source->size_bytes > code->start ? code->source->size_bytes - code->start : 0;
	code->end = code->start + (left < CHUNK_BYTES - 1 ? left : CHUNK_BYTES - 1);
	code->bytes[code->end - code->start] = 0; /* indirect_length looks one byte ahead */
	err = unwind_source__read(code->source, code->start, code->bytes, code->end - code->start);
	if (err)
		code->end = code->start;
	return err;
}

/*
 * 1 or 0: is there the end of a call in [from, to) of the file? Or -errno. Asked in ascending
 * order only, so that what was held before is never needed again.
 */
static int has_call(struct code *code, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t part;
		int err;

		if (from >= code->end) {
			err = hold(code, from);
			if (err)
				return err;
			if (from >= code->end)
				return 1; /* past the end of the file: not for us to judge */
		}
		part = to < code->end ? to : code->end;
		if (has_call_end(code->bytes + (from - code->start),
				 code->bytes + (part - code->start), code->bytes))
			return 1;
		from = part;
	}
	return 0;
}

static int is_needed(struct code *code, const struct uf_unwind_row *row, uint64_t end)
{
	switch (UF_RULE_CFA(row->rule)) {
	case UF_CFA_NONE:
	case UF_CFA_SIGNAL:
	case UF_CFA_END:
		return 1;
	default:
		return has_call(code, row->offset, end);
	}
}

int call_sites__filter(struct row_list *list, const struct unwind_source *source, uint64_t end)
{
	struct code *code = malloc(sizeof(*code));
	uint32_t kept = 0;
	int needed = 0;

	if (!code)
		return -ENOMEM;
	code->source = source;
	code->start = code->end = 0;
	for (uint32_t i = 0; needed >= 0 && i < list->cnt; i++) {
		struct uf_unwind_row row = list->rows[i];

		needed = is_needed(code, &row, i + 1 < list->cnt ? list->rows[i + 1].offset : end);
		if (needed > 0 && (!kept || list->rows[kept - 1].rule != row.rule))
			list->rows[kept++] = row;
	}
	list->cnt = kept;
	free(code);
	return needed < 0 ? needed : 0;
}
