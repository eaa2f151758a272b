/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_LIBDW_REFERENCE_H
#define UNFREED_TESTS_LIBDW_REFERENCE_H

/*
 * What libdw says about an address, put into the words of our tables. Nothing
 * here uses user/unwind: the same mistake must not be made twice.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "unwind_row.h"

struct reference {
	Elf *elf;
	Dwarf *dwarf;
	Dwarf_CFI *eh;    /* of dwarf_getcfi_elf: freed by us */
	Dwarf_CFI *debug; /* of dwarf_getcfi: the Dwarf's */
};

/* A row of libdw. has_cfi false: none at this address, end unknown; is_unknown: it cannot tell. */
struct reference_row {
	bool has_cfi, is_unknown;
	uint64_t start, end;
	uint32_t rule;
};

enum { REF_RBP = 6, REF_RSP = 7, REF_RIP = 16 };

#define REF_UNSUPPORTED UF_RULE(UF_CFA_UNSUPPORTED, 0, UF_RBP_SAME, 0)

/* A location as *(base + number), base + number, or something else. */
struct ref_location {
	enum {
		REF_UNDEFINED,
		REF_SAME,
		REF_MEM_CFA,
		REF_VAL_CFA,
		REF_MEM_REG,
		REF_OTHER
	} kind;
	unsigned int reg;
	int64_t number;
};

static inline bool ref__is_breg(const Dwarf_Op *op, unsigned int *reg, int64_t *number)
{
	if (op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg31) {
		*reg = op->atom - DW_OP_breg0;
		*number = (int64_t)op->number;
		return true;
	}
	if (op->atom == DW_OP_bregx) {
		*reg = (unsigned int)op->number;
		*number = (int64_t)op->number2;
		return true;
	}
	return false;
}

/* The place of a register in the caller. */
static inline struct ref_location ref__locate(Dwarf_Frame *frame, int regno)
{
	struct ref_location loc = { .kind = REF_OTHER };
	Dwarf_Op mem[3], *ops;
	size_t cnt;

	if (dwarf_frame_register(frame, regno, mem, &ops, &cnt))
		return loc;
	if (!cnt) {
		loc.kind = ops ? REF_UNDEFINED : REF_SAME;
		return loc;
	}
	/* Of DW_CFA_expression: the CFA is on the stack before, not used by an address. */
	if (ops[0].atom == DW_OP_call_frame_cfa && cnt == 2 &&
	    ref__is_breg(&ops[1], &loc.reg, &loc.number)) {
		loc.kind = REF_MEM_REG;
	} else if (ops[0].atom == DW_OP_call_frame_cfa) {
		size_t i = 1;

		if (i < cnt && ops[i].atom == DW_OP_plus_uconst)
			loc.number = (int64_t)ops[i++].number;
		if (i == cnt)
			loc.kind = REF_MEM_CFA;
		else if (i + 1 == cnt && ops[i].atom == DW_OP_stack_value)
			loc.kind = REF_VAL_CFA;
	} else if (cnt == 1 && ref__is_breg(&ops[0], &loc.reg, &loc.number)) {
		loc.kind = REF_MEM_REG;
	}
	return loc;
}

static inline bool ref__is_plt(const Dwarf_Op *ops, size_t cnt)
{
	return cnt == 9 && ops[0].atom == DW_OP_breg7 && ops[0].number == 8 &&
	       ops[1].atom == DW_OP_breg16 && !ops[1].number && ops[2].atom == DW_OP_lit15 &&
	       ops[3].atom == DW_OP_and && ops[4].atom >= DW_OP_lit0 &&
	       ops[4].atom <= DW_OP_lit15 && ops[5].atom == DW_OP_ge &&
	       ops[6].atom == DW_OP_lit3 && ops[7].atom == DW_OP_shl && ops[8].atom == DW_OP_plus;
}

/* CFA kind and number, or REF_UNSUPPORTED. */
static inline uint32_t ref__cfa_rule(const Dwarf_Op *ops, size_t cnt)
{
	unsigned int reg;
	int64_t n;

	if (ref__is_plt(ops, cnt))
		return UF_RULE(UF_CFA_PLT, (ops[4].atom - DW_OP_lit0) * 8, 0, 0);
	if (!cnt || cnt > 2 || !ref__is_breg(&ops[0], &reg, &n) || n % 8)
		return REF_UNSUPPORTED;
	if (reg != REF_RSP && reg != REF_RBP)
		return REF_UNSUPPORTED;
	if (cnt == 1) {
		if (n < 0 || n >= 8 << 16)
			return REF_UNSUPPORTED;
		return UF_RULE(reg == REF_RSP ? UF_CFA_RSP : UF_CFA_RBP, n, 0, 0);
	}
	if (ops[1].atom != DW_OP_deref || n < -(8 << 15) || n >= 8 << 15)
		return REF_UNSUPPORTED;
	return UF_RULE(reg == REF_RSP ? UF_CFA_DEREF_RSP : UF_CFA_DEREF_RBP, n, 0, 0);
}

static inline uint32_t ref__rbp_rule(const struct ref_location *rbp)
{
	bool fits = rbp->number % 8 == 0 && rbp->number >= -4096 && rbp->number < 4096;

	if (rbp->kind == REF_SAME)
		return UF_RULE(0, 0, UF_RBP_SAME, 0);
	if (rbp->kind == REF_MEM_CFA && fits)
		return UF_RULE(0, 0, UF_RBP_AT_CFA, rbp->number);
	if (rbp->kind == REF_MEM_REG && rbp->reg == REF_RBP && fits)
		return UF_RULE(0, 0, UF_RBP_AT_RBP, rbp->number);
	return UF_RULE(0, 0, UF_RBP_UNDEFINED, 0);
}

static inline bool ref__is_mem_rsp(const struct ref_location *loc, int64_t number)
{
	return loc->kind == REF_MEM_REG && loc->reg == REF_RSP && loc->number == number;
}

static inline uint32_t ref__rule(Dwarf_Frame *frame, int ra_reg, bool is_signal, bool *is_unknown)
{
	struct ref_location ra = ref__locate(frame, ra_reg);
	struct ref_location rbp = ref__locate(frame, REF_RBP);
	struct ref_location rsp = ref__locate(frame, REF_RSP);
	uint32_t cfa;
	Dwarf_Op *ops;
	size_t cnt;

	if (ra.kind == REF_UNDEFINED)
		return UF_RULE(UF_CFA_END, 0, UF_RBP_SAME, 0);
	*is_unknown = dwarf_frame_cfa(frame, &ops, &cnt);
	if (*is_unknown)
		return REF_UNSUPPORTED;
	if (is_signal && cnt == 2 && ops[0].atom == DW_OP_breg7 && ops[0].number == 160 &&
	    ops[1].atom == DW_OP_deref && ref__is_mem_rsp(&ra, 168) && ref__is_mem_rsp(&rbp, 120))
		return UF_RULE(UF_CFA_SIGNAL, 0, UF_RBP_SAME, 0);
	if (ra.kind != REF_MEM_CFA || ra.number != -8 || rsp.kind != REF_VAL_CFA || rsp.number)
		return REF_UNSUPPORTED;
	cfa = ref__cfa_rule(ops, cnt);
	return cfa == REF_UNSUPPORTED ? cfa : cfa | ref__rbp_rule(&rbp);
}

static inline bool ref__find_in(Dwarf_CFI *cfi, uint64_t vaddr, struct reference_row *row)
{
	Dwarf_Frame *frame;
	Dwarf_Addr start, end;
	bool is_signal;
	int ra_reg;

	if (!cfi)
		return false;
	if (dwarf_cfi_addrframe(cfi, vaddr, &frame)) {
		/* Any other error is about what it found there; the code is not in the API. */
		row->is_unknown = strcmp(dwarf_errmsg(-1), "no matching address range");
		return false;
	}
	ra_reg = dwarf_frame_info(frame, &start, &end, &is_signal);
	*row = (struct reference_row){ .has_cfi = true, .start = start, .end = end };
	row->rule = ref__rule(frame, ra_reg, is_signal, &row->is_unknown);
	free(frame);
	return true;
}

/* .eh_frame's answer, or .debug_frame's where that has none. */
static inline void reference__find(struct reference *ref, uint64_t vaddr,
				   struct reference_row *row)
{
	*row = (struct reference_row){ .start = vaddr, .rule = UF_CFA_NONE };
	if (!ref__find_in(ref->eh, vaddr, row) && !row->is_unknown)
		ref__find_in(ref->debug, vaddr, row);
}

static inline void reference__init(struct reference *ref, int fd)
{
	ref->elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	ref->eh = ref->elf ? dwarf_getcfi_elf(ref->elf) : NULL;
	ref->dwarf = ref->elf ? dwarf_begin_elf(ref->elf, DWARF_C_READ, NULL) : NULL;
	ref->debug = ref->dwarf ? dwarf_getcfi(ref->dwarf) : NULL;
}

static inline void reference__release(struct reference *ref)
{
	if (ref->eh)
		dwarf_cfi_end(ref->eh);
	if (ref->dwarf)
		dwarf_end(ref->dwarf);
	if (ref->elf)
		elf_end(ref->elf);
}

#endif
