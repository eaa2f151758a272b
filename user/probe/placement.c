/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Placement: decode a function's first instructions in a straight line and stop
 * at the first one that takes away what the probe needs. Every instruction is
 * itself judged as a place before its own effects count: a breakpoint fires
 * before the instruction runs.
 *
 * What the probe needs, and so what ends the search:
 *   - the argument registers, all of them, in full: a write of edi, sil or dil
 *     counts, as do writes that the mnemonic does not show (mul, cpuid, xchg);
 *   - the return address where the call put it (x86-64: at rsp, arm64: in x30,
 *     so that on arm64 storing or signing x30 ends the search too) and the stack
 *     pointer, by which the kernel matches a return to its call;
 *   - the frame pointer, from which the stack may be walked;
 *   - nothing done yet that others see. A store could hand the freed block to
 *     another thread before its free is recorded. Below rsp nobody looks.
 *   - one way only: a branch, call, trap or system call ends the line.
 *
 * "Emulated" is what arch/x86/kernel/uprobes.c does without a single step:
 * relative jmp, jcc and call, and nop (90), for longer than this program's kernels
 * go back; push %reg (no prefix but 41) since before 4.18; the assembler's own
 * multi-byte nops since 6.16. One of those is taken only if nothing else offers:
 * an older kernel steps it, at the cost of any other place. Likewise nop on
 * arm64; adr, adrp and the branches always were simulated there. ldr from a
 * literal never is a place: it was simulated wrongly, then rejected.
 *
 * Branches back into the stretch between entry and place: they would make the
 * probe fire again within one call. Direct ones are looked for in all of the
 * function's bytes, on x86-64 at every byte (32-bit displacements) so that data
 * among the code or a lost instruction boundary cannot hide one; a chance match
 * costs a cheaper place, no more. Not seen are jump tables, and jumps from a
 * part of the function that the compiler put elsewhere (".cold"). They are
 * accepted: unwind tables give each instruction one stack depth, so whatever
 * arrives in the stretch has the return address at rsp as at the entry, and the
 * target is safe. At worst a call is counted as two, and compilers do not jump
 * back to before the prologue except for a call to oneself. (The first calls of
 * the targets would show it: agent/places.h.)
 *
 * The register facts are Zydis's on x86-64. The arm64 half knows few
 * instructions, and stops at any other.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>

#include "probe/placement.h"

#define CODE_MAX_BYTES   (64u << 10)
#define SEARCH_MAX_BYTES 128 /* further in, a probe has little to do with the entry */
#define ARGS_MAX         6
#define SHORT_REACH      (128 + ZYDIS_MAX_INSTRUCTION_LENGTH)

enum emulation {
	EMULATED_NEVER,
	EMULATED_LATELY,     /* by recent kernels */
	EMULATED_ENTRY_ONLY, /* but only the entry will do: it overwrites the return address */
	EMULATED_ALWAYS,
};

/* What one instruction means for the search. */
struct insn {
	uint32_t size_bytes;
	enum emulation emulation;
	const char *stop; /* why nothing behind it serves, or NULL */
	char text[64];
};

/* The search's knowledge of an architecture. */
struct arch_ops {
	/* False if the bytes are no instruction. */
	bool (*decode)(const uint8_t *code, size_t size_bytes, int arg_cnt, struct insn *out);
	/* Whether a direct branch in the code leads to (0, place]. */
	bool (*leads_into)(const uint8_t *code, size_t size_bytes, uint32_t place);
};

/* A build for tests/live/test_places.py, which proves that the targets' calls tell. */
#ifdef UNFREED_MISPLACED
static const bool is_wrong_on_purpose = true;
#else
static const bool is_wrong_on_purpose = false;
#endif

static bool is_in_stretch(int64_t target, uint32_t place)
{
	return target > 0 && target <= (int64_t)place;
}

/* -- x86-64 -- */

static void x86__init(ZydisDecoder *decoder)
{
	ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

/* By the bytes: the kernel looks at opcodes and prefixes, not at mnemonics. */
static enum emulation x86__emulation(const uint8_t *b, size_t len)
{
	static const uint8_t nops[][8] = {
		{ 0x0f, 0x1f, 0x00 },
		{ 0x0f, 0x1f, 0x40, 0x00 },
		{ 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
	};

	if (len == 1 && ((b[0] >= 0x50 && b[0] <= 0x57) || b[0] == 0x90))
		return EMULATED_ALWAYS;
	if (len == 2 && ((b[0] == 0x41 && b[1] >= 0x50 && b[1] <= 0x57) || b[0] == 0xeb ||
			 (b[0] >= 0x70 && b[0] <= 0x7f) || (b[0] == 0x66 && b[1] == 0x90)))
		return EMULATED_ALWAYS;
	if (len == 5 && (b[0] == 0xe8 || b[0] == 0xe9))
		return EMULATED_ALWAYS;
	if (len == 6 && b[0] == 0x0f && b[1] >= 0x80 && b[1] <= 0x8f)
		return EMULATED_ALWAYS;
	if (len >= 3 && len <= 8 && !memcmp(b, nops[len - 3], len))
		return EMULATED_LATELY;
	return EMULATED_NEVER;
}

/* Why a write of reg, a whole 64-bit register, ends the search, or NULL. */
static const char *x86__stop_at_write(ZydisRegister reg, int arg_cnt)
{
	static const ZydisRegister args[ARGS_MAX] = {
		ZYDIS_REGISTER_RDI, ZYDIS_REGISTER_RSI, ZYDIS_REGISTER_RDX,
		ZYDIS_REGISTER_RCX, ZYDIS_REGISTER_R8,  ZYDIS_REGISTER_R9,
	};

	if (reg == ZYDIS_REGISTER_RSP)
		return "moves the stack pointer";
	if (reg == ZYDIS_REGISTER_RBP)
		return "writes the frame pointer";
	for (int i = 0; i < arg_cnt && !is_wrong_on_purpose; i++) {
		if (reg == args[i])
			return "writes an argument register";
	}
	return NULL;
}

/* A store strictly below the return address, where only this function looks. */
static bool x86__is_private_store(const ZydisDecodedOperand *op)
{
	int64_t disp = op->mem.disp.has_displacement ? op->mem.disp.value : 0;

	return op->mem.base == ZYDIS_REGISTER_RSP && op->mem.index == ZYDIS_REGISTER_NONE &&
	       op->mem.segment == ZYDIS_REGISTER_SS && disp + op->size / 8 <= 0;
}

static const char *x86__stop_at_operand(const ZydisDecodedOperand *op, int arg_cnt)
{
	if (!(op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
		return NULL;
	if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
		return x86__stop_at_write(ZydisRegisterGetLargestEnclosing(
				ZYDIS_MACHINE_MODE_LONG_64, op->reg.value), arg_cnt);
	if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && !x86__is_private_store(op))
		return "writes memory";
	return NULL;
}

static const char *x86__stop(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops,
			     int arg_cnt)
{
	const char *stop = NULL;

	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_CALL:
		return "is a call";
	case ZYDIS_CATEGORY_COND_BR:
		return is_wrong_on_purpose ? NULL : "is a branch";
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_RET:
		return "is a branch";
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_VTX:
	case ZYDIS_CATEGORY_SGX:
	case ZYDIS_CATEGORY_UINTR:
		return "leaves the program";
	default:
		break;
	}
	if (zi->mnemonic == ZYDIS_MNEMONIC_UD0 || zi->mnemonic == ZYDIS_MNEMONIC_UD1 ||
	    zi->mnemonic == ZYDIS_MNEMONIC_UD2 || zi->mnemonic == ZYDIS_MNEMONIC_HLT)
		return "is a trap";
	for (int i = 0; i < zi->operand_count && !stop; i++)
		stop = x86__stop_at_operand(&ops[i], arg_cnt);
	return stop;
}

static void x86__format(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops,
			char *text, size_t size_bytes)
{
	ZydisFormatter formatter;
	char buf[256]; /* too small a buffer leaves none of the text: cut it afterwards */

	if (ZYAN_FAILED(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    ZYAN_FAILED(ZydisFormatterFormatInstruction(&formatter, zi, ops,
							zi->operand_count_visible, buf, sizeof(buf),
							ZYDIS_RUNTIME_ADDRESS_NONE, NULL)))
		buf[0] = '\0';
	snprintf(text, size_bytes, "%.*s", (int)size_bytes - 1, buf);
}

static bool x86__decode(const uint8_t *code, size_t size_bytes, int arg_cnt, struct insn *out)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction zi;
	ZydisDecoder decoder;

	x86__init(&decoder);
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code, size_bytes, &zi, ops)))
		return false;
	out->size_bytes = zi.length;
	out->emulation = x86__emulation(code, zi.length);
	out->stop = x86__stop(&zi, ops, arg_cnt);
	x86__format(&zi, ops, out->text, sizeof(out->text));
	return true;
}

/* jmp, call, jcc or xbegin with 32 bits of displacement, at any byte. */
static bool x86__long_leads_into(const uint8_t *code, size_t size_bytes, uint32_t place)
{
	for (size_t i = 0; i + 5 <= size_bytes; i++) {
		size_t at = i + 1;
		int32_t disp;

		if ((code[i] == 0x0f && (code[i + 1] & 0xf0) == 0x80) ||
		    (code[i] == 0xc7 && code[i + 1] == 0xf8))
			at++;
		else if (code[i] != 0xe8 && code[i] != 0xe9)
			continue;
		if (at + sizeof(disp) > size_bytes)
			continue;
		memcpy(&disp, code + at, sizeof(disp));
		if (is_in_stretch((int64_t)(at + sizeof(disp)) + disp, place))
			return true;
	}
	return false;
}

/* jmp, jcc, loop or jrcxz with 8 bits of displacement, at any byte from start on. */
static bool x86__any_short_leads_into(const uint8_t *code, size_t size_bytes, size_t start,
				      uint32_t place)
{
	for (size_t i = start; i + 2 <= size_bytes; i++) {
		bool is_branch = code[i] == 0xeb || (code[i] & 0xf0) == 0x70 ||
				 (code[i] & 0xfc) == 0xe0;

		if (is_branch && is_in_stretch((int64_t)i + 2 + (int8_t)code[i + 1], place))
			return true;
	}
	return false;
}

/*
 * Short branches reach 128 bytes and have two bytes, which chance makes too
 * often: they are looked for at instruction boundaries, and at every byte only
 * once the boundaries are lost.
 */
static bool x86__short_leads_into(const uint8_t *code, size_t size_bytes, uint32_t place)
{
	ZydisDecodedInstruction zi;
	ZydisDecoder decoder;

	x86__init(&decoder);
	if (size_bytes > place + SHORT_REACH)
		size_bytes = place + SHORT_REACH;
	for (size_t i = 0; i < size_bytes; i += zi.length) {
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, code + i,
							      size_bytes - i, &zi)))
			return x86__any_short_leads_into(code, size_bytes, i, place);
		if (zi.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && zi.raw.imm[0].is_relative &&
		    is_in_stretch((int64_t)(i + zi.length) + zi.raw.imm[0].value.s, place))
			return true;
	}
	return false;
}

static bool x86__leads_into(const uint8_t *code, size_t size_bytes, uint32_t place)
{
	return x86__short_leads_into(code, size_bytes, place) ||
	       x86__long_leads_into(code, size_bytes, place);
}

/* -- arm64 -- */

#define ARM64_FP 29
#define ARM64_LR 30
#define ARM64_SP 31

/* Instruction words by mask and value; the first match holds. */
enum arm64_class {
	ARM64_NOP, ARM64_BTI, ARM64_ADR, ARM64_B, ARM64_BL, ARM64_BCOND, ARM64_CBZ, ARM64_TBZ,
	ARM64_BR, ARM64_BLR, ARM64_RET, ARM64_PAC, ARM64_STP_PUSH, ARM64_TLS, ARM64_ADDSUB_FLAGS,
	ARM64_ADDSUB, ARM64_ANDS, ARM64_LOGICAL, ARM64_MOV_WIDE, ARM64_BITFIELD,
	ARM64_REG_EXT_FLAGS, ARM64_REG_EXT, ARM64_REG, ARM64_LDR, ARM64_LDP, ARM64_OTHER,
};

static const struct arm64_pattern {
	uint32_t mask, value;
	enum arm64_class class;
	const char *name;
} arm64_patterns[] = {
	{ 0xffffffff, 0xd503201f, ARM64_NOP, "nop" },
	{ 0xffffff3f, 0xd503241f, ARM64_BTI, "bti" },
	{ 0x9f000000, 0x10000000, ARM64_ADR, "adr" },
	{ 0x9f000000, 0x90000000, ARM64_ADR, "adrp" },
	{ 0xfc000000, 0x14000000, ARM64_B, "b" },
	{ 0xfc000000, 0x94000000, ARM64_BL, "bl" },
	{ 0xff000010, 0x54000000, ARM64_BCOND, "b.cond" },
	{ 0x7f000000, 0x34000000, ARM64_CBZ, "cbz" },
	{ 0x7f000000, 0x35000000, ARM64_CBZ, "cbnz" },
	{ 0x7f000000, 0x36000000, ARM64_TBZ, "tbz" },
	{ 0x7f000000, 0x37000000, ARM64_TBZ, "tbnz" },
	{ 0xfffffc1f, 0xd61f0000, ARM64_BR, "br" },
	{ 0xfffffc1f, 0xd63f0000, ARM64_BLR, "blr" },
	{ 0xfffffc1f, 0xd65f0000, ARM64_RET, "ret" },
	{ 0xffffffbf, 0xd503233f, ARM64_PAC, "paciasp/pacibsp" },
	{ 0xffc003e0, 0xa98003e0, ARM64_STP_PUSH, "stp" }, /* [sp, #n]! */
	{ 0xffffffe0, 0xd53bd040, ARM64_TLS, "mrs" },
	{ 0x3f800000, 0x31000000, ARM64_ADDSUB_FLAGS, "adds/subs" },
	{ 0x1f800000, 0x11000000, ARM64_ADDSUB, "add/sub" },
	{ 0x7f800000, 0x72000000, ARM64_ANDS, "ands" },
	{ 0x1f800000, 0x12000000, ARM64_LOGICAL, "and/orr/eor" },
	{ 0x1f800000, 0x12800000, ARM64_MOV_WIDE, "mov" },
	{ 0x1f000000, 0x13000000, ARM64_BITFIELD, "bfm/extr" },
	{ 0x3fe00000, 0x2b200000, ARM64_REG_EXT_FLAGS, "adds/subs" },
	{ 0x1fe00000, 0x0b200000, ARM64_REG_EXT, "add/sub" },
	{ 0x1f000000, 0x0a000000, ARM64_REG, "and/orr/eor" }, /* logical, shifted register */
	{ 0x1f200000, 0x0b000000, ARM64_REG, "add/sub" },     /* shifted register */
	{ 0x1fe00000, 0x1a800000, ARM64_REG, "csel" },
	{ 0x7fe0f000, 0x1ac02000, ARM64_REG, "lsl/lsr/asr/ror" },
	{ 0x7fe0f800, 0x1ac00800, ARM64_REG, "udiv/sdiv" },
	{ 0x1f000000, 0x1b000000, ARM64_REG, "madd" },
	{ 0xbfc00000, 0xb9400000, ARM64_LDR, "ldr" }, /* 32 and 64 bits, unsigned offset */
	{ 0xbfc00000, 0x39400000, ARM64_LDR, "ldrb/ldrh" },
	{ 0x7fc00000, 0x29400000, ARM64_LDP, "ldp" }, /* no write-back */
};

static const struct arm64_pattern *arm64__match(uint32_t w)
{
	for (size_t i = 0; i < sizeof(arm64_patterns) / sizeof(arm64_patterns[0]); i++) {
		if ((w & arm64_patterns[i].mask) == arm64_patterns[i].value)
			return &arm64_patterns[i];
	}
	return NULL;
}

/* Register 31 here is the stack pointer; as the zero register it is not asked about. */
static const char *arm64__stop_at_write(uint32_t reg, int arg_cnt)
{
	if (reg == ARM64_SP)
		return "moves the stack pointer";
	if (reg == ARM64_FP)
		return "writes the frame pointer";
	if (reg == ARM64_LR)
		return "writes the return address";
	return (int)reg < arg_cnt ? "writes an argument register" : NULL;
}

/*
 * A return probe changes x30 in place: a copy taken before would return past it.
 * Any field that could be a source register counts, also where it is none.
 */
static bool arm64__may_read_lr(uint32_t w)
{
	return ((w >> 5) & 31) == ARM64_LR || ((w >> 10) & 31) == ARM64_LR ||
	       ((w >> 16) & 31) == ARM64_LR;
}

static const char *arm64__stop(uint32_t w, enum arm64_class class, int arg_cnt)
{
	uint32_t rd = w & 31, rt2 = (w >> 10) & 31;
	const char *stop = NULL;

	switch (class) {
	case ARM64_NOP:
	case ARM64_BTI:
		return NULL;
	case ARM64_B:
	case ARM64_BL:
	case ARM64_BCOND:
	case ARM64_CBZ:
	case ARM64_TBZ:
	case ARM64_BR:
	case ARM64_BLR:
	case ARM64_RET:
		return "is a branch";
	case ARM64_PAC:
		return "signs the return address";
	case ARM64_STP_PUSH:
		return "moves the stack pointer";
	case ARM64_OTHER:
		return "may do anything";
	case ARM64_ADR:
	case ARM64_TLS:
	case ARM64_MOV_WIDE: /* no sources */
		break;
	case ARM64_ADDSUB:
	case ARM64_LOGICAL:
	case ARM64_REG_EXT:
		if (rd == ARM64_SP)
			return arm64__stop_at_write(rd, arg_cnt);
		/* fallthrough */
	default:
		if (arm64__may_read_lr(w))
			return "may copy the return address";
		break;
	}
	if (class == ARM64_LDP && rt2 != ARM64_SP)
		stop = arm64__stop_at_write(rt2, arg_cnt);
	if (!stop && rd != ARM64_SP) /* else the zero register */
		stop = arm64__stop_at_write(rd, arg_cnt);
	return stop;
}

static enum emulation arm64__emulation(enum arm64_class class)
{
	switch (class) {
	case ARM64_NOP:
		return EMULATED_LATELY;
	case ARM64_BL:
	case ARM64_BLR:
		return EMULATED_ENTRY_ONLY;
	case ARM64_ADR:
	case ARM64_B:
	case ARM64_BCOND:
	case ARM64_CBZ:
	case ARM64_TBZ:
	case ARM64_BR:
	case ARM64_RET:
		return EMULATED_ALWAYS;
	default:
		return EMULATED_NEVER;
	}
}

static uint32_t arm64__word(const uint8_t *code)
{
	return (uint32_t)code[0] | (uint32_t)code[1] << 8 | (uint32_t)code[2] << 16 |
	       (uint32_t)code[3] << 24;
}

static bool arm64__decode(const uint8_t *code, size_t size_bytes, int arg_cnt, struct insn *out)
{
	const struct arm64_pattern *pattern;
	enum arm64_class class;
	uint32_t w;

	if (size_bytes < 4)
		return false;
	w = arm64__word(code);
	if (w >> 16 == 0) /* udf: what zeroed bytes are */
		return false;
	pattern = arm64__match(w);
	class = pattern ? pattern->class : ARM64_OTHER;
	out->size_bytes = 4;
	out->emulation = arm64__emulation(class);
	out->stop = arm64__stop(w, class, arg_cnt);
	if (!pattern)
		snprintf(out->text, sizeof(out->text), ".inst 0x%08x", w);
	else if (class == ARM64_NOP)
		snprintf(out->text, sizeof(out->text), "nop");
	else
		snprintf(out->text, sizeof(out->text), "%s (0x%08x)", pattern->name, w);
	return true;
}

/* The signed field of a branch, counted in instructions, in bytes. */
static int64_t arm64__displacement(uint32_t w, unsigned int low_bit, unsigned int bits)
{
	int64_t field = (int64_t)(w >> low_bit & ((1u << bits) - 1));

	if (field >> (bits - 1))
		field -= INT64_C(1) << bits;
	return field * 4;
}

static bool arm64__leads_into(const uint8_t *code, size_t size_bytes, uint32_t place)
{
	for (size_t i = 0; i + 4 <= size_bytes; i += 4) {
		uint32_t w = arm64__word(code + i);
		const struct arm64_pattern *pattern = arm64__match(w);
		int64_t disp = 0;

		if (!pattern)
			continue;
		if (pattern->class == ARM64_B || pattern->class == ARM64_BL)
			disp = arm64__displacement(w, 0, 26);
		else if (pattern->class == ARM64_BCOND || pattern->class == ARM64_CBZ)
			disp = arm64__displacement(w, 5, 19);
		else if (pattern->class == ARM64_TBZ)
			disp = arm64__displacement(w, 5, 14);
		if (disp && is_in_stretch((int64_t)i + disp, place))
			return true;
	}
	return false;
}

/* -- the search -- */

static const struct arch_ops *arch_ops(enum elf_arch arch)
{
	static const struct arch_ops x86 = { x86__decode, x86__leads_into };
	static const struct arch_ops arm64 = { arm64__decode, arm64__leads_into };

	return arch == ELF_ARCH_X86_64 ? &x86 : arch == ELF_ARCH_AARCH64 ? &arm64 : NULL;
}

static void take(struct placement *out, uint32_t offset, const struct insn *insn)
{
	out->offset = offset;
	out->emulated = true;
	memcpy(out->insn, insn->text, sizeof(out->insn));
	snprintf(out->why, sizeof(out->why), "%s%s",
		 offset ? "first emulated instruction, arguments and stack untouched" :
			  "the entry is emulated",
		 insn->emulation == EMULATED_LATELY ? " (by recent kernels)" : "");
}

/*
 * Takes the first place emulated everywhere; one of recent kernels stays if that
 * never comes. Returns why there is none, if so.
 */
static void search(const struct arch_ops *ops, const uint8_t *code, size_t size_bytes,
		   int arg_cnt, struct placement *out)
{
	char why[sizeof(out->why)];
	uint32_t pos = 0;
	struct insn insn;

	snprintf(why, sizeof(why), "nothing emulated near the entry");
	while (pos < size_bytes && pos < SEARCH_MAX_BYTES) {
		if (!ops->decode(code + pos, size_bytes - pos, arg_cnt, &insn)) {
			snprintf(why, sizeof(why), "cannot decode the bytes at +%u", pos);
			break;
		}
		if (insn.emulation == EMULATED_ALWAYS ||
		    (insn.emulation == EMULATED_LATELY && !out->emulated) ||
		    (insn.emulation == EMULATED_ENTRY_ONLY && !pos)) {
			if (pos && ops->leads_into(code, size_bytes, pos)) {
				snprintf(why, sizeof(why), "a branch leads in before %.32s at +%u",
					 insn.text, pos);
				break;
			}
			take(out, pos, &insn);
			if (insn.emulation != EMULATED_LATELY)
				return;
		}
		if (insn.stop) {
			snprintf(why, sizeof(why), "%.32s at +%u %s", insn.text, pos, insn.stop);
			break;
		}
		pos += insn.size_bytes;
	}
	if (!out->emulated)
		memcpy(out->why, why, sizeof(out->why));
}

int placement__at_entry(enum elf_arch arch, const uint8_t *code, size_t size_bytes,
			struct placement *out)
{
	const struct arch_ops *ops = arch_ops(arch);
	struct insn insn;

	memset(out, 0, sizeof(*out));
	if (!ops || !ops->decode(code, size_bytes, ARGS_MAX, &insn)) {
		snprintf(out->why, sizeof(out->why), "cannot decode the entry");
		return -EINVAL;
	}
	if (insn.emulation != EMULATED_NEVER)
		take(out, 0, &insn);
	else
		memcpy(out->insn, insn.text, sizeof(out->insn));
	return 0;
}

int placement__choose(enum elf_arch arch, const uint8_t *code, size_t size_bytes, int arg_cnt,
		      struct placement *out)
{
	int err = placement__at_entry(arch, code, size_bytes, out);

	if (err)
		return err;
	out->emulated = false;
	if (arg_cnt > ARGS_MAX)
		arg_cnt = ARGS_MAX;
	if (size_bytes > CODE_MAX_BYTES) {
		err = placement__at_entry(arch, code, size_bytes, out);
		if (!out->emulated)
			snprintf(out->why, sizeof(out->why), "too long to look for branches back");
		return err;
	}
	search(arch_ops(arch), code, size_bytes, arg_cnt, out);
	return 0;
}
