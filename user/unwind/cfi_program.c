/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The programs of CIEs and FDEs (DWARF 5, 6.4.2): instructions that change the
 * rules, and others that advance the address; each advance completes a row.
 *
 *	DW_CFA_def_cfa: rsp+8		(of the CIE)
 *	DW_CFA_offset: rip at cfa-8	(of the CIE)
 *	DW_CFA_advance_loc: 1		row: [start, start + 1)
 *	DW_CFA_def_cfa_offset: 16
 *	DW_CFA_offset: rbp at cfa-16	row: [start + 1, end)
 */
#include <dwarf.h>
#include <errno.h>

#include "unwind/cfi.h"
#include "unwind/eh_pointer.h"

struct machine {
	const struct cfi *cfi;
	const struct cfi_cie *cie;
	bool is_initial; /* a CIE's program: no addresses yet, nothing to restore */
	struct cursor code;
	struct cfi_state state;
	struct cfi_state saved[CFI_SAVED_MAX];
	uint32_t saved_cnt;
	uint64_t pc, end;
	cfi_row_fn fn;
	void *arg;
};

/* What an instruction returns: 0 goes on, DONE ends well, others are errors or the callback's. */
#define DONE INT32_MAX

static int emit(struct machine *m, uint64_t to)
{
	int err = m->fn(m->arg, m->pc, to, m->cie, &m->state);

	m->pc = to;
	return err;
}

/* -- addresses -- */

static int advance_to(struct machine *m, uint64_t pc)
{
	int err;

	if (m->is_initial || pc < m->pc)
		return -EBADMSG;
	if (pc == m->pc)
		return 0;
	if (pc < m->end)
		return emit(m, pc);
	err = emit(m, m->end);
	return err ? err : DONE;
}

static int advance(struct machine *m, uint64_t delta)
{
	uint64_t step;

	if (__builtin_mul_overflow(delta, m->cie->code_align, &step))
		return -EBADMSG;
	return advance_to(m, m->pc + step); /* which sees if that wraps around */
}

static int set_location(struct machine *m)
{
	const struct cfi_section *section = &m->cfi->section;
	uint64_t vaddr = section->vaddr + (uint64_t)(m->code.pos - section->bytes);
	uint64_t pc = eh_pointer__read(&m->code, m->cie->encoding, vaddr);

	return m->code.is_bad ? -EBADMSG : advance_to(m, pc);
}

/* -- the CFA -- */

static int64_t factored(const struct machine *m, int64_t number)
{
	return (int64_t)((uint64_t)number * (uint64_t)m->cie->data_align);
}

static uint8_t read_register(struct machine *m)
{
	uint64_t number = cursor__uleb(&m->code);

	return number < CFI_OTHER_REGISTER ? (uint8_t)number : CFI_OTHER_REGISTER;
}

static int define_cfa(struct machine *m, uint8_t reg, int64_t number)
{
	m->state.cfa_kind = CFI_CFA_REGISTER;
	m->state.cfa = (struct expression){ EXPRESSION_ADDRESS, reg, number };
	return 0;
}

/*
 * A register given after an expression brings back the offset from before it: DWARF does
 * not allow that, but assembly relies on it (libgcrypt's), since libgcc and gdb do it.
 */
static int run_cfa(struct machine *m, uint8_t op)
{
	struct expression *cfa = &m->state.cfa;
	uint8_t reg = cfa->reg;

	if (op == DW_CFA_def_cfa_expression) {
		m->state.cfa_kind = CFI_CFA_EXPRESSION;
		m->state.cfa_expression = expression__parse(cursor__block(&m->code));
		return 0;
	}
	if (op == DW_CFA_def_cfa || op == DW_CFA_def_cfa_sf || op == DW_CFA_def_cfa_register)
		reg = read_register(m);
	if (op == DW_CFA_def_cfa)
		return define_cfa(m, reg, (int64_t)cursor__uleb(&m->code));
	if (op == DW_CFA_def_cfa_sf)
		return define_cfa(m, reg, factored(m, cursor__sleb(&m->code)));
	/* The others change one half of what must be there. */
	if (m->state.cfa_kind == CFI_CFA_UNSET)
		return -EBADMSG;
	if (op == DW_CFA_def_cfa_register)
		return define_cfa(m, reg, cfa->number);
	if (op == DW_CFA_def_cfa_offset)
		cfa->number = (int64_t)cursor__uleb(&m->code);
	else
		cfa->number = factored(m, cursor__sleb(&m->code));
	return 0;
}

/* -- registers -- */

/* NULL for registers that are not followed. */
static struct cfi_place *place_of(const struct cfi_cie *cie, struct cfi_state *state, uint8_t reg)
{
	if (reg == CFI_OTHER_REGISTER)
		return NULL;
	if (reg == cie->return_register)
		return &state->return_address;
	if (reg == CFI_RBP)
		return &state->rbp;
	if (reg == CFI_RSP)
		return &state->rsp;
	return NULL;
}

static int set_place(struct machine *m, uint8_t reg, struct cfi_place value)
{
	struct cfi_place *place = place_of(m->cie, &m->state, reg);

	if (place)
		*place = value;
	return 0;
}

static int restore(struct machine *m, uint8_t reg)
{
	struct cfi_state initial = m->cie->initial;
	struct cfi_place *place = place_of(m->cie, &initial, reg);

	if (m->is_initial)
		return -EBADMSG;
	return place ? set_place(m, reg, *place) : 0;
}

/* A register whose value an expression gives, or that lies where one points. */
static struct cfi_place read_expression(struct machine *m, uint8_t op)
{
	struct expression expr = expression__parse(cursor__block(&m->code));

	if (op == DW_CFA_expression && expr.kind == EXPRESSION_ADDRESS)
		return (struct cfi_place){ CFI_AT_REG, expr.reg, expr.number };
	return (struct cfi_place){ .kind = CFI_ELSEWHERE };
}

static int run_register(struct machine *m, uint8_t op)
{
	uint8_t reg = read_register(m);
	struct cfi_place place = { .kind = CFI_AT_CFA };

	switch (op) {
	case DW_CFA_offset_extended:
		place.number = factored(m, (int64_t)cursor__uleb(&m->code));
		break;
	case DW_CFA_offset_extended_sf:
		place.number = factored(m, cursor__sleb(&m->code));
		break;
	case DW_CFA_GNU_negative_offset_extended:
		place.number = (int64_t)-(uint64_t)factored(m, (int64_t)cursor__uleb(&m->code));
		break;
	case DW_CFA_val_offset:
		place.kind = CFI_CFA_PLUS;
		place.number = factored(m, (int64_t)cursor__uleb(&m->code));
		break;
	case DW_CFA_val_offset_sf:
		place.kind = CFI_CFA_PLUS;
		place.number = factored(m, cursor__sleb(&m->code));
		break;
	case DW_CFA_undefined:
		place.kind = CFI_UNDEFINED;
		break;
	case DW_CFA_same_value:
		place.kind = CFI_SAME;
		break;
	case DW_CFA_register:
		place.kind = CFI_ELSEWHERE;
		cursor__uleb(&m->code);
		break;
	default: /* expression, val_expression */
		place = read_expression(m, op);
	}
	return set_place(m, reg, place);
}

/* -- the rest -- */

static int remember(struct machine *m)
{
	if (m->saved_cnt == CFI_SAVED_MAX)
		return -EBADMSG;
	m->saved[m->saved_cnt++] = m->state;
	return 0;
}

/* The CFA's rule comes back with the others, as compilers expect. */
static int recall(struct machine *m)
{
	if (!m->saved_cnt)
		return -EBADMSG;
	m->state = m->saved[--m->saved_cnt];
	return 0;
}

static int run_extended(struct machine *m, uint8_t op)
{
	switch (op) {
	case DW_CFA_nop:
		return 0;
	case DW_CFA_set_loc:
		return set_location(m);
	case DW_CFA_advance_loc1:
		return advance(m, cursor__uint(&m->code, 1));
	case DW_CFA_advance_loc2:
		return advance(m, cursor__uint(&m->code, 2));
	case DW_CFA_advance_loc4:
		return advance(m, cursor__uint(&m->code, 4));
	case DW_CFA_MIPS_advance_loc8:
		return advance(m, cursor__uint(&m->code, 8));
	case DW_CFA_restore_extended:
		return restore(m, read_register(m));
	case DW_CFA_remember_state:
		return remember(m);
	case DW_CFA_restore_state:
		return recall(m);
	case DW_CFA_GNU_args_size: /* for landing pads only */
		cursor__uleb(&m->code);
		return 0;
	case DW_CFA_def_cfa:
	case DW_CFA_def_cfa_register:
	case DW_CFA_def_cfa_offset:
	case DW_CFA_def_cfa_expression:
	case DW_CFA_def_cfa_sf:
	case DW_CFA_def_cfa_offset_sf:
		return run_cfa(m, op);
	case DW_CFA_offset_extended:
	case DW_CFA_undefined:
	case DW_CFA_same_value:
	case DW_CFA_register:
	case DW_CFA_expression:
	case DW_CFA_offset_extended_sf:
	case DW_CFA_val_offset:
	case DW_CFA_val_offset_sf:
	case DW_CFA_val_expression:
	case DW_CFA_GNU_negative_offset_extended:
		return run_register(m, op);
	default: /* of another machine, or nonsense */
		return -EBADMSG;
	}
}

static int run_instruction(struct machine *m)
{
	uint8_t op = cursor__u8(&m->code), operand = op & 0x3f;
	int64_t number;

	switch (op & 0xc0) {
	case DW_CFA_advance_loc:
		return advance(m, operand);
	case DW_CFA_offset:
		number = factored(m, (int64_t)cursor__uleb(&m->code));
		return set_place(m, operand, (struct cfi_place){ CFI_AT_CFA, 0, number });
	case DW_CFA_restore:
		return restore(m, operand);
	default:
		return run_extended(m, op);
	}
}

static int run(struct machine *m)
{
	int err = 0;

	while (!err && m->code.pos != m->code.end) {
		err = run_instruction(m);
		if (m->code.is_bad)
			return -EBADMSG;
	}
	return err;
}

/* Leaves saved[] alone: clearing it for each FDE would cost more than running most of them. */
static void init_machine(struct machine *m, const struct cfi *cfi, const struct cfi_cie *cie,
			 struct cursor code)
{
	m->cfi = cfi;
	m->cie = cie;
	m->code = code;
	m->state = cie->initial;
	m->saved_cnt = 0;
	m->is_initial = false;
}

int cfi__run_initial(const struct cfi *cfi, struct cfi_cie *cie, struct cursor program)
{
	struct machine m;
	int err;

	init_machine(&m, cfi, cie, program);
	m.is_initial = true;
	m.pc = m.end = 0;
	m.fn = NULL;
	err = run(&m);
	cie->initial = m.state;
	return err;
}

int cfi__run(const struct cfi *cfi, const struct cfi_fde *fde, uint64_t end, cfi_row_fn fn,
	     void *arg)
{
	struct machine m;
	int err;

	init_machine(&m, cfi, &cfi->cies[fde->cie],
		     cursor__at(cfi->section.bytes + fde->program, fde->program_size_bytes));
	m.pc = fde->start;
	m.end = end;
	m.fn = fn;
	m.arg = arg;
	err = run(&m);
	if (!err)
		err = emit(&m, end);
	return err == DONE ? 0 : err;
}
