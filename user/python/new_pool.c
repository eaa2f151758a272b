/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * By its symbol, where the file has one. Else by decoding, from the functions that everybody may
 * call (PyObject_Malloc) along direct calls and jumps, addresses of code that are compared or
 * loaded (compilers that optimize by profile call the usual one of several functions directly,
 *after a comparison), and pointers to functions in the running process. Two or three steps away is
 *a function that writes the header of a pool (pool_header: arenaindex at 0x20, szidx at 0x24,
 *nextoffset at 0x28, maxnextoffset at 0x2c):
 *
 *	movl   $0xffff,0x24(%rax)      DUMMY_SIZE_IDX: the pool was never used
 *	mov    %edx,0x20(%rax)
 *	movl   $0x1,(%rax)             one block in use
 *	mov    %ebp,0x24(%rax)
 *	mov    $0x4000,%ecx            POOL_SIZE, of which the block's size is taken
 *	mov    %ebp,0x28(%rax)
 *	mov    %ecx,0x2c(%rax)
 *
 * and that does not ask whether the object is small (at most 512 bytes): its caller has. Where
 * the compiler has put all of it into that caller (3.8) a probe would be hit by every object, and
 * there is nothing to find.
 *
 * Only entries of functions count, as the unwind information has them: a return probe elsewhere
 * would destroy the process. What it returns is checked at each hit (bpf/pool.bpf.h).
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/moved_code.h"
#include "python/new_pool.h"

#define FUNCTIONS_MAX 128 /* looked at; from PyObject_Malloc it is about ten */
#define STEPS_MAX     3
#define CODE_MAX      (16u << 10) /* of a function; larger ones are not of this kind */

#define SMALL_MAX   512 /* SMALL_REQUEST_THRESHOLD */
#define UNUSED_POOL 0xffff

struct function {
	uint64_t start, end; /* virtual addresses */
	uint32_t step;
};

struct search {
	const struct elf_image *image;
	const struct moved_code *moved;
	const struct python_memory *mem;
	uint64_t bias;
	struct function functions[FUNCTIONS_MAX];
	uint32_t cnt;
	uint64_t values[16]; /* of registers, as far as known */
	uint8_t *code;
	struct new_pool *out;
};

/* What a function's code does, as far as it matters here. */
struct traits {
	bool asks_if_small, sets_unused, sets_one, has_pool_size;
	bool sets_arena, sets_class, sets_next, sets_max;
};

static void add_function(struct search *search, uint64_t vaddr, uint32_t step)
{
	struct moved_range range;

	for (uint32_t i = 0; i < search->cnt; i++)
		if (search->functions[i].start == vaddr)
			return;
	if (search->cnt == FUNCTIONS_MAX || !moved_code__function_at(search->moved, vaddr, &range))
		return;
	search->functions[search->cnt++] = (struct function){range.start, range.end, step};
}

static void see_number(struct traits *traits, const ZydisDecodedInstruction *insn, uint64_t number)
{
	if (number == 0x4000 || number == 0x1000)
		traits->has_pool_size = true;
	if (insn->mnemonic == ZYDIS_MNEMONIC_CMP &&
	    (number == SMALL_MAX || number == SMALL_MAX - 1))
		traits->asks_if_small = true;
}

/* mov of 4 bytes or more to memory, at an offset from a register. */
static void see_store(struct traits *traits, const ZydisDecodedOperand *ops)
{
	int64_t at = ops[0].mem.disp.has_displacement ? ops[0].mem.disp.value : 0;
	bool is_imm = ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;

	if (ops[0].mem.base == ZYDIS_REGISTER_NONE || ops[0].mem.base == ZYDIS_REGISTER_RIP ||
	    ops[0].size < 32)
		return;
	traits->sets_unused |= at == 0x24 && is_imm && ops[1].imm.value.u == UNUSED_POOL;
	traits->sets_one |= at == 0 && is_imm && ops[0].size == 32 && ops[1].imm.value.u == 1;
	traits->sets_arena |= at == 0x20;
	traits->sets_class |= at == 0x24 && !is_imm;
	traits->sets_next |= at == 0x28;
	traits->sets_max |= at == 0x2c || (at == 0x28 && ops[0].size == 64);
}

static bool opens_pools(const struct traits *traits)
{
	return !traits->asks_if_small && traits->sets_unused && traits->sets_one &&
	       traits->has_pool_size && traits->sets_arena && traits->sets_class &&
	       traits->sets_next && traits->sets_max;
}

/* A pointer in the process, at an address of its: to code of the file? Its value, 0 if unknown. */
static uint64_t see_pointer(struct search *search, uint64_t address, uint32_t step)
{
	uint64_t value;

	if (!search->mem || python_memory__read_u64(search->mem, address, &value) || !value)
		return 0;
	add_function(search, value - search->bias, step);
	return value;
}

/* What the last mov or lea relative to the instruction pointer has put there; only 64-bit
 * registers. */
static uint64_t *value_of(struct search *search, ZydisRegister reg)
{
	return reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15
		       ? &search->values[reg - ZYDIS_REGISTER_RAX]
		       : NULL;
}

static bool may_be_pointer(const ZydisDecodedInstruction *insn)
{
	return insn->mnemonic == ZYDIS_MNEMONIC_MOV || insn->mnemonic == ZYDIS_MNEMONIC_JMP ||
	       insn->mnemonic == ZYDIS_MNEMONIC_CALL;
}

static void see_memory(struct search *search, const ZydisDecodedInstruction *insn,
		       const ZydisDecodedOperand *ops, const ZydisDecodedOperand *op,
		       uint64_t after, uint32_t step)
{
	uint64_t at = (uint64_t)op->mem.disp.value, value = 0;
	uint64_t *base = value_of(search, op->mem.base), *to;

	if (op->mem.base == ZYDIS_REGISTER_RIP) {
		at += after + search->bias;
		if (insn->mnemonic == ZYDIS_MNEMONIC_LEA) {
			add_function(search, at - search->bias, step);
			value = at;
		} else if (may_be_pointer(insn)) {
			value = see_pointer(search, at, step);
		}
		to = ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? value_of(search, ops[0].reg.value)
								: NULL;
		if (to)
			*to = value;
	} else if (base && *base && may_be_pointer(insn)) {
		/* By way of the GOT. */
		see_pointer(search, *base + at, step);
	}
}

static void see_operand(struct search *search, struct traits *traits,
			const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *ops,
			const ZydisDecodedOperand *op, uint64_t vaddr, uint32_t step)
{
	uint64_t after = vaddr + insn->length;

	if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		if (op->imm.is_relative) {
			add_function(search, after + (uint64_t)op->imm.value.s, step);
		} else {
			see_number(traits, insn, op->imm.value.u);
			add_function(search, op->imm.value.u, step);
		}
	} else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		if (op->mem.base != ZYDIS_REGISTER_RIP && op->mem.disp.has_displacement)
			see_number(traits, insn, (uint64_t)op->mem.disp.value);
		see_memory(search, insn, ops, op, after, step);
	}
}

/* Decodes in a straight line; what the code leads to is added for the next step. */
static void scan(struct search *search, const struct function *function, uint64_t size_bytes,
		 struct traits *traits)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;

	memset(search->values, 0, sizeof(search->values));
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (uint64_t at = 0; at < size_bytes; at += insn.length) {
		if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, search->code + at, size_bytes - at,
						       &insn, ops))) {
			insn.length = 1;
			continue;
		}
		if (insn.mnemonic == ZYDIS_MNEMONIC_MOV && ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY)
			see_store(traits, ops);
		for (int i = 0; i < insn.operand_count_visible; i++)
			see_operand(search, traits, &insn, ops, &ops[i], function->start + at,
				    function->step + 1);
	}
}

/* Where in the function a return probe is cheapest. */
static int add_place(struct search *search, uint64_t file_offset, const uint8_t *code,
		     size_t size_bytes)
{
	struct new_pool *out = search->out;
	struct placement placement;
	int err =
		placement__choose(elf_image__arch(search->image), code, size_bytes, 0, &placement);

	if (err)
		return err;
	for (uint32_t i = 0; i < out->cnt; i++)
		if (out->offsets[i] == file_offset + placement.offset)
			return 0;
	/* More than that are not what we look for. */
	if (out->cnt == NEW_POOL_PLACES_MAX)
		return -ENOENT;
	out->offsets[out->cnt++] = file_offset + placement.offset;
	return 0;
}

static int look_at(struct search *search, const struct function *function)
{
	uint64_t size_bytes = function->end - function->start, offset;
	struct traits traits = {0};
	uint32_t cnt = search->cnt;
	long n;

	if (size_bytes > CODE_MAX)
		return 0;
	n = elf_image__read_data(search->image, function->start, search->code, size_bytes);
	if (n < 0)
		return n;
	scan(search, function, n, &traits);
	if (opens_pools(&traits)) {
		search->cnt = cnt; /* what it calls is no matter */
		if (moved_code__file_offset(search->moved, function->start, &offset))
			return add_place(search, offset, search->code, n);
	}
	if (function->step == STEPS_MAX)
		search->cnt = cnt;
	return 0;
}

static int see_root(const struct elf_symbol *sym, void *arg)
{
	static const char *const roots[] = {"PyObject_Malloc", "PyObject_Calloc",
					    "_PyObject_Malloc", "_PyObject_Calloc"};

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		if (!strcmp(sym->name, roots[i]))
			add_function(arg, sym->vaddr, 0);
	return 0;
}

/* 0: there may be some in out. */
static int find_by_code(struct search *search, int fd)
{
	struct moved_code *moved = moved_code__new(fd);
	int err;

	if (!moved)
		return errno == ENODATA ? -ENOENT : -errno;
	search->moved = moved;
	search->code = malloc(CODE_MAX);
	err = search->code ? elf_image__for_each_function(search->image, see_root, search)
			   : -ENOMEM;
	for (uint32_t i = 0; !err && i < search->cnt; i++)
		err = look_at(search, &search->functions[i]);
	free(search->code);
	moved_code__free(moved);
	return err;
}

#define NEW_POOL "allocate_from_new_pool"

/* With ".constprop.0" and the like it is still the whole function; ".cold" and ".part" are not. */
static int see_symbol(const struct elf_symbol *sym, void *arg)
{
	struct search *search = arg;
	uint8_t code[256];
	long n;

	if (strncmp(sym->name, NEW_POOL, strlen(NEW_POOL)) || strstr(sym->name, ".cold") ||
	    strstr(sym->name, ".part") || !sym->size_bytes)
		return 0;
	n = elf_image__read_code(search->image, sym->file_offset, code,
				 sym->size_bytes < sizeof(code) ? sym->size_bytes : sizeof(code));
	return n < 0 ? n : add_place(search, sym->file_offset, code, n);
}

int new_pool__find(const struct elf_image *img, int fd, const struct python_memory *mem,
		   uint64_t bias, struct new_pool *out)
{
	struct search search = {.image = img, .mem = mem, .bias = bias, .out = out};
	int err;

	memset(out, 0, sizeof(*out));
	if (elf_image__arch(img) != ELF_ARCH_X86_64)
		return -ENOENT;
	err = elf_image__for_each_function(img, see_symbol, &search);
	out->by_symbol = out->cnt;
	if (!err && !out->cnt)
		err = find_by_code(&search, fd);
	if (!err && !out->cnt)
		err = -ENOENT;
	if (err)
		out->cnt = 0;
	return err;
}
