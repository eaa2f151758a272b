/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Every way through the code is followed from the function's entry, by direct jumps and by jumps
 * through slots of the GOT that the loader fills (the linkage table), until it ends with a ret or
 * where nothing can follow. A breakpoint in the middle of an instruction would destroy the
 * process, so nothing is guessed: code is only decoded from where something jumps to, within the
 * range of an FDE, and a call at the very end of one does not return. An indirect jump, or one to
 * another file, ends the search: then the function is better not probed at all.
 *
 * What is found may be too much (a function is also called from elsewhere): the probe there
 * compares stack pointer and return address (bpf/thread.bpf.h), so that it costs time only.
 *
 * Bounds: PIECES_MAX ranges of code, PIECE_MAX_BYTES each, EXITS_MAX rets. Past them: refused.
 */
#include "probe/exits.h"

#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe/elf_image.h"
#include "unwind/fde_index.h"

#define PIECES_MAX	64
#define PIECE_MAX_BYTES (256u << 10)
#define EXITS_MAX	256
#define TODO_MAX	4096

/* The code of an FDE, and which of its instructions have been seen. */
struct piece {
	uint64_t start, size_bytes; /* virtual */
	uint8_t *code;
	bool *is_seen;
};

struct exits {
	const struct elf_image *img;
	struct fde_index *index;
	exits_is_probed_fn is_probed;
	void *arg;
	ZydisDecoder decoder;
	struct piece pieces[PIECES_MAX];
	uint32_t piece_cnt;
	uint64_t todo[TODO_MAX]; /* places still to be followed from */
	uint32_t todo_cnt;
	uint64_t offsets[EXITS_MAX];
	uint32_t cnt;
};

struct exits *exits__new(const struct elf_image *img, exits_is_probed_fn is_probed, void *arg)
{
	struct exits *exits = calloc(1, sizeof(*exits));
	int err;

	if (!exits)
		return NULL;
	exits->img = img;
	exits->is_probed = is_probed;
	exits->arg = arg;
	ZydisDecoderInit(&exits->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	exits->index = fde_index__new(elf_image__fd(img));
	if (!exits->index) {
		err = errno;
		free(exits);
		errno = err;
		return NULL;
	}
	return exits;
}

static void forget_pieces(struct exits *exits)
{
	while (exits->piece_cnt) {
		struct piece *piece = &exits->pieces[--exits->piece_cnt];

		free(piece->code);
		free(piece->is_seen);
	}
}

void exits__free(struct exits *exits)
{
	if (!exits)
		return;
	forget_pieces(exits);
	fde_index__free(exits->index);
	free(exits);
}

const uint64_t *exits__offsets(const struct exits *exits, uint32_t *cnt)
{
	*cnt = exits->cnt;
	return exits->offsets;
}

/* The piece that holds vaddr; NULL with errno: EOPNOTSUPP where there is no such code. */
static struct piece *piece_at(struct exits *exits, uint64_t vaddr)
{
	const struct cfi_fde *fde;
	struct piece *piece;

	for (uint32_t i = 0; i < exits->piece_cnt; i++) {
		piece = &exits->pieces[i];
		if (vaddr - piece->start < piece->size_bytes)
			return piece;
	}
	fde = fde_index__find(exits->index, vaddr);
	errno = EOPNOTSUPP;
	if (!fde || fde->end - fde->start > PIECE_MAX_BYTES || exits->piece_cnt == PIECES_MAX)
		return NULL;
	piece = &exits->pieces[exits->piece_cnt++];
	*piece = (struct piece){.start = fde->start, .size_bytes = fde->end - fde->start};
	piece->code = malloc(piece->size_bytes);
	piece->is_seen = calloc(piece->size_bytes, sizeof(*piece->is_seen));
	if (!piece->code || !piece->is_seen) {
		errno = ENOMEM;
		return NULL;
	}
	if (elf_image__read_data(exits->img, piece->start, piece->code, piece->size_bytes) ==
	    (long)piece->size_bytes)
		return piece;
	errno = EIO;
	return NULL;
}

/* Where a jump through a pointer relative to rip goes: the slot's function. As find_slot. */
static int slot_target(const struct exits *exits, const ZydisDecodedInstruction *insn,
		       const ZydisDecodedOperand *op, uint64_t vaddr, uint64_t *target)
{
	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.base != ZYDIS_REGISTER_RIP ||
	    op->mem.index != ZYDIS_REGISTER_NONE)
		return -ENOENT;
	return elf_image__find_slot(exits->img, vaddr + insn->length + (uint64_t)op->mem.disp.value,
				    target);
}

static int follow(struct exits *exits, uint64_t target)
{
	if (exits->is_probed(exits->arg, target))
		return 0;
	if (exits->todo_cnt == TODO_MAX)
		return -EOPNOTSUPP;
	exits->todo[exits->todo_cnt++] = target;
	return 0;
}

static int add_exit(struct exits *exits, uint64_t vaddr)
{
	uint64_t offset;
	int err = elf_image__find_offset(exits->img, vaddr, &offset);

	if (err)
		return err;
	for (uint32_t i = 0; i < exits->cnt; i++)
		if (exits->offsets[i] == offset)
			return 0;
	if (exits->cnt == EXITS_MAX)
		return -EOPNOTSUPP;
	exits->offsets[exits->cnt++] = offset;
	return 0;
}

/* One instruction's part. *goes_on: the next one may run after it. */
static int see(struct exits *exits, const ZydisDecodedInstruction *insn,
	       const ZydisDecodedOperand *ops, uint64_t vaddr, bool *goes_on)
{
	uint64_t target;
	int err;

	*goes_on = false;
	switch (insn->meta.category) {
	case ZYDIS_CATEGORY_RET:
		return add_exit(exits, vaddr);
	case ZYDIS_CATEGORY_COND_BR:
		*goes_on = true;
		return follow(exits, vaddr + insn->length + (uint64_t)insn->raw.imm[0].value.s);
	case ZYDIS_CATEGORY_UNCOND_BR:
		if (insn->raw.imm[0].is_relative)
			return follow(exits,
				      vaddr + insn->length + (uint64_t)insn->raw.imm[0].value.s);
		err = slot_target(exits, insn, &ops[0], vaddr, &target);
		if (err == -ENOENT || err == -ENXIO)
			return -EOPNOTSUPP;
		return err ? err : follow(exits, target);
	case ZYDIS_CATEGORY_INTERRUPT:
		return 0;
	default:
		break;
	}
	*goes_on = insn->mnemonic != ZYDIS_MNEMONIC_UD0 && insn->mnemonic != ZYDIS_MNEMONIC_UD1 &&
		   insn->mnemonic != ZYDIS_MNEMONIC_UD2 && insn->mnemonic != ZYDIS_MNEMONIC_HLT;
	return 0;
}

/* Follows the code from vaddr on; *at is the last instruction that was looked at. */
static int walk(struct exits *exits, uint64_t vaddr, uint64_t *at)
{
	struct piece *piece = piece_at(exits, vaddr);
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	uint64_t pos = piece ? vaddr - piece->start : 0;
	bool goes_on = true, is_call = false;

	*at = vaddr;
	if (!piece)
		return -errno;
	while (goes_on && pos < piece->size_bytes && !piece->is_seen[pos]) {
		int err;

		*at = piece->start + pos;
		if (ZYAN_FAILED(ZydisDecoderDecodeFull(&exits->decoder, piece->code + pos,
						       piece->size_bytes - pos, &insn, ops)))
			return -EOPNOTSUPP;
		piece->is_seen[pos] = true;
		err = see(exits, &insn, ops, piece->start + pos, &goes_on);
		if (err)
			return err;
		is_call = insn.meta.category == ZYDIS_CATEGORY_CALL;
		pos += insn.length;
	}
	/* Into the next piece it goes on only if that is code of the same function. */
	return goes_on && pos == piece->size_bytes && !is_call ? follow(exits, piece->start + pos)
							       : 0;
}

int exits__add(struct exits *exits, uint64_t vaddr, char *why, size_t why_size)
{
	uint32_t cnt = exits->cnt;
	uint64_t at = vaddr;
	int err = 0;

	forget_pieces(exits);
	exits->todo[0] = vaddr;
	exits->todo_cnt = 1;
	while (!err && exits->todo_cnt)
		err = walk(exits, exits->todo[--exits->todo_cnt], &at);
	if (!err)
		return 0;
	exits->cnt = cnt;
	snprintf(why, why_size, "where it returns could not be found (code at 0x%llx)",
		 (unsigned long long)at);
	return err;
}

/* Is there a jump, but for a landing pad, that always goes to *target? */
static bool jumps_to(const struct exits *exits, uint64_t vaddr, bool through_slot, uint64_t *target)
{
	uint8_t code[2 * ZYDIS_MAX_INSTRUCTION_LENGTH];
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn = {0};
	long size = elf_image__read_data(exits->img, vaddr, code, sizeof(code)), pos = 0;

	for (int i = 0; i < 2; i++) {
		pos += insn.length;
		if (pos >= size ||
		    ZYAN_FAILED(ZydisDecoderDecodeFull(&exits->decoder, code + pos,
						       (size_t)(size - pos), &insn, ops)))
			return false;
		if (insn.mnemonic != ZYDIS_MNEMONIC_ENDBR64)
			break;
	}
	vaddr += (uint64_t)pos;
	if (insn.meta.category != ZYDIS_CATEGORY_UNCOND_BR)
		return false;
	if (!insn.raw.imm[0].is_relative)
		return !slot_target(exits, &insn, &ops[0], vaddr, target);
	*target = vaddr + insn.length + (uint64_t)insn.raw.imm[0].value.s;
	return !through_slot;
}

bool exits__forwards(const struct exits *exits, uint64_t vaddr, uint64_t *target)
{
	uint64_t function;

	if (!jumps_to(exits, vaddr, false, target))
		return false;
	if (jumps_to(exits, *target, true, &function))
		*target = function;
	return true;
}
