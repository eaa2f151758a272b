/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The code is decoded in one straight line. Where there is data in it, what comes out of it are
 * jumps from nowhere to nowhere: the comparison of CFAs does not let them through.
 *
 * Bounds: MOVED_CODE_MAX_BYTES of code at a time (-EFBIG; an eval loop has 100 KiB), and
 * those of cfi.h.
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "python/moved_code.h"
#include "unwind/fde_index.h"

#define MOVED_CODE_MAX_BYTES (4u << 20)

struct moved_code {
	struct fde_index *index;
};

struct moved_code *moved_code__new(int fd)
{
	struct moved_code *moved = calloc(1, sizeof(*moved));

	if (!moved)
		return NULL;
	moved->index = fde_index__new(fd);
	if (!moved->index) {
		int err = errno;

		free(moved);
		errno = err;
		return NULL;
	}
	return moved;
}

void moved_code__free(struct moved_code *moved)
{
	if (!moved)
		return;
	fde_index__free(moved->index);
	free(moved);
}

static const struct cfi_fde *find_fde(const struct moved_code *moved, uint64_t vaddr)
{
	return fde_index__find(moved->index, vaddr);
}

struct cfa_search {
	uint64_t vaddr;
	bool found;
	uint8_t reg;
	int64_t number;
};

static int see_row(void *arg, uint64_t start, uint64_t end, const struct cfi_cie *cie,
		   const struct cfi_state *state)
{
	struct cfa_search *search = arg;

	(void)cie;
	if (search->vaddr < start || search->vaddr >= end)
		return 0;
	search->found = state->cfa_kind == CFI_CFA_REGISTER;
	search->reg = state->cfa.reg;
	search->number = state->cfa.number;
	return 1;
}

/* The rule for the CFA at an address. */
static struct cfa_search cfa_at(const struct moved_code *moved, const struct cfi_fde *fde,
				uint64_t vaddr)
{
	struct cfa_search search = { .vaddr = vaddr };

	cfi__run(&moved->index->cfi, fde, fde->end, see_row, &search);
	return search;
}

static bool begins_as_function(const struct moved_code *moved, const struct cfi_fde *fde)
{
	struct cfa_search cfa = cfa_at(moved, fde, fde->start);

	return !cfa.found || (cfa.reg == CFI_RSP && cfa.number == 8);
}

/* Does a jump stay within one function, though it goes from one FDE to another? */
static bool keeps_frame(const struct moved_code *moved, uint64_t jump, const struct cfi_fde *part,
			uint64_t target)
{
	const struct cfi_fde *from = find_fde(moved, jump);
	struct cfa_search before, after;

	if (!from || from == part || begins_as_function(moved, part))
		return false;
	before = cfa_at(moved, from, jump);
	after = cfa_at(moved, part, target);
	return before.found && after.found && before.reg == after.reg &&
	       before.number == after.number;
}

struct parts {
	struct moved_range *ranges;
	int cnt, max;
};

static void add_part(const struct moved_code *moved, struct parts *parts,
		     const struct cfi_fde *fde)
{
	const struct source_segment *seg = unwind_source__find_segment(&moved->index->source, fde->start);
	uint64_t offset;

	if (!seg || fde->end - seg->vaddr > seg->size_bytes)
		return;
	offset = fde->start - seg->vaddr + seg->offset;
	for (int i = 0; i < parts->cnt; i++) {
		if (parts->ranges[i].start == offset)
			return;
	}
	if (parts->cnt < parts->max)
		parts->ranges[parts->cnt++] =
			(struct moved_range){ offset, offset + (fde->end - fde->start) };
}

/* Where a direct jump goes; 0 for other instructions. */
static uint64_t jump_target(const ZydisDecodedInstruction *insn, uint64_t vaddr)
{
	if ((insn->meta.category != ZYDIS_CATEGORY_COND_BR &&
	     insn->meta.category != ZYDIS_CATEGORY_UNCOND_BR) ||
	    !insn->raw.imm[0].is_relative)
		return 0;
	return vaddr + insn->length + (uint64_t)insn->raw.imm[0].value.s;
}

/* code: at vaddr, size_bytes. */
static void scan(const struct moved_code *moved, const uint8_t *code, uint64_t vaddr,
		 uint64_t size_bytes, struct parts *parts)
{
	const struct cfi_fde *last = NULL; /* most jumps go where the one before went */
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (uint64_t at = 0, target; at < size_bytes;) {
		const struct cfi_fde *fde;

		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, code + at,
							      size_bytes - at, &insn))) {
			at++;
			continue;
		}
		target = jump_target(&insn, vaddr + at);
		at += insn.length;
		if (!target || target - vaddr < size_bytes)
			continue;
		fde = find_fde(moved, target);
		if (!fde || fde == last ||
		    !keeps_frame(moved, vaddr + at - insn.length, fde, target))
			continue;
		last = fde;
		add_part(moved, parts, fde);
	}
}

/* The address of a place in the file, 0 if it is in no segment. */
static uint64_t vaddr_of(const struct moved_code *moved, uint64_t offset)
{
	for (uint32_t i = 0; i < moved->index->source.segment_cnt; i++) {
		const struct source_segment *seg = &moved->index->source.segments[i];

		if (offset >= seg->offset && offset - seg->offset < seg->size_bytes)
			return offset - seg->offset + seg->vaddr;
	}
	return 0;
}

int moved_code__find(const struct moved_code *moved, uint64_t start, uint64_t end,
		     struct moved_range *out, int max)
{
	struct parts parts = { .ranges = out, .max = max };
	uint64_t vaddr = vaddr_of(moved, start);
	uint8_t *code;
	int err;

	if (end <= start || !vaddr)
		return 0;
	if (end - start > MOVED_CODE_MAX_BYTES)
		return -EFBIG;
	code = malloc(end - start);
	if (!code)
		return -ENOMEM;
	err = unwind_source__read(&moved->index->source, start, code, end - start);
	if (!err)
		scan(moved, code, vaddr, end - start, &parts);
	free(code);
	return err ? err : parts.cnt;
}

bool moved_code__function_at(const struct moved_code *moved, uint64_t vaddr,
			     struct moved_range *vaddrs)
{
	const struct cfi_fde *fde = find_fde(moved, vaddr);
	struct cfa_search cfa;

	if (!fde || fde->start != vaddr)
		return false;
	cfa = cfa_at(moved, fde, vaddr);
	if (!cfa.found || cfa.reg != CFI_RSP || cfa.number != 8)
		return false;
	*vaddrs = (struct moved_range){ fde->start, fde->end };
	return true;
}

bool moved_code__file_offset(const struct moved_code *moved, uint64_t vaddr, uint64_t *offset)
{
	const struct source_segment *seg = unwind_source__find_segment(&moved->index->source, vaddr);

	if (seg)
		*offset = vaddr - seg->vaddr + seg->offset;
	return seg;
}
