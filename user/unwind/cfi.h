/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_CFI_H
#define UNFREED_UNWIND_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "unwind/expression.h"

/*
 * Call frame information as compilers write it: an .eh_frame or .debug_frame
 * section, its entries (CIE: what functions have in common; FDE: one range of
 * code) and the programs in them, which yield rows: a range of addresses and
 * how to find the caller's registers there. Of the registers only rbp, rsp and
 * the return address are followed.
 *
 * Hostile input; bounds: CFI_CIE_MAX, CFI_FDE_MAX (-EFBIG past them), CFI_SAVED_MAX
 * states remembered at a time (the entry is malformed). Each program is run once
 * for its entry, so that the work is linear in the section's size.
 */
#define CFI_CIE_MAX   (1u << 18)
#define CFI_FDE_MAX   (1u << 22)
#define CFI_SAVED_MAX 16

/* DWARF numbers of x86-64's registers. */
enum cfi_register {
	CFI_RBP = 6,
	CFI_RSP = 7,
	CFI_RIP = 16,
	CFI_OTHER_REGISTER = 255, /* stands for all that do not fit */
};

struct cfi_section {
	const uint8_t *bytes; /* outlives what is made of it */
	size_t size_bytes;    /* below 4 GiB */
	uint64_t vaddr;       /* of bytes; not used by .debug_frame */
	bool is_debug_frame;
	bool ends_at_zero; /* size_bytes is a guess: an entry of length zero is the end */
};

/* Where the caller's value of a register is. */
enum cfi_place_kind {
	CFI_UNSPECIFIED, /* no rule: the convention's */
	CFI_SAME,
	CFI_UNDEFINED,
	CFI_AT_CFA,   /* *(CFA + number) */
	CFI_CFA_PLUS, /* CFA + number */
	CFI_AT_REG,   /* *(reg + number) */
	CFI_ELSEWHERE, /* in another register, or an expression of another kind */
};

struct cfi_place {
	uint8_t kind; /* enum cfi_place_kind */
	uint8_t reg;
	int64_t number;
};

enum cfi_cfa_kind {
	CFI_CFA_UNSET,
	CFI_CFA_REGISTER, /* cfa, an EXPRESSION_ADDRESS, is in force */
	CFI_CFA_EXPRESSION, /* cfa_expression is; cfa still what it was */
};

struct cfi_state {
	enum cfi_cfa_kind cfa_kind;
	struct expression cfa, cfa_expression;
	struct cfi_place rbp, rsp, return_address;
};

struct cfi_cie {
	uint64_t offset; /* in the section */
	uint64_t code_align;
	int64_t data_align;
	uint8_t return_register;
	uint8_t encoding;
	bool has_sized_augmentation;
	bool is_signal;
	bool is_usable; /* false: it could not be read, nor can its FDEs */
	struct cfi_state initial;
};

struct cfi_fde {
	uint64_t start, end; /* addresses, start < end */
	uint32_t program, program_size_bytes; /* in the section */
	uint32_t cie; /* index */
};

struct cfi {
	struct cfi_section section;
	struct cfi_cie *cies; /* by ascending offset */
	struct cfi_fde *fdes; /* in the section's order */
	uint32_t cie_cnt, cie_cap, fde_cnt, fde_cap;
	uint32_t malformed_cnt; /* entries that could not be read */
};

/* Reads all entries. 0, -ENOMEM or -EFBIG; release it in any case. */
int cfi__init(struct cfi *cfi, const struct cfi_section *section);
/* Takes a zeroed struct. */
void cfi__release(struct cfi *cfi);

/* A row: [start, end), never empty. What it returns but 0 ends the run. */
typedef int (*cfi_row_fn)(void *arg, uint64_t start, uint64_t end, const struct cfi_cie *cie,
			  const struct cfi_state *state);

/*
 * Runs an FDE's program over [fde->start, end) and calls fn for each row, in ascending order
 * without gaps. -EBADMSG if an instruction cannot be read; fn saw the rows before it.
 */
int cfi__run(const struct cfi *cfi, const struct cfi_fde *fde, uint64_t end, cfi_row_fn fn,
	     void *arg);

/* A CIE's own program, from nothing to cie->initial. 0 or -EBADMSG. */
int cfi__run_initial(const struct cfi *cfi, struct cfi_cie *cie, struct cursor program);

#endif
