/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <stddef.h>
#include <ucontext.h>

#include "unwind/unwind_rule.h"

/* A rule's numbers are multiples of 8 of this many bits. */
#define CFA_NUMBER_BITS 16
#define RBP_NUMBER_BITS 10

#define UNSUPPORTED UF_RULE(UF_CFA_UNSUPPORTED, 0, UF_RBP_SAME, 0)

/* Where the kernel puts the interrupted registers above a signal handler's frame. */
#define UCONTEXT_REG(reg) ((int64_t)(offsetof(ucontext_t, uc_mcontext.gregs) + 8 * (reg)))

static bool fits_signed(int64_t number, int bits)
{
	int64_t limit = (int64_t)8 << (bits - 1);

	return number % 8 == 0 && number >= -limit && number < limit;
}

static bool fits_unsigned(int64_t number, int bits)
{
	return number % 8 == 0 && number >= 0 && number < (int64_t)8 << bits;
}

static bool is_at_reg(const struct cfi_place *place, uint8_t reg, int64_t number)
{
	return place->kind == CFI_AT_REG && place->reg == reg && place->number == number;
}

/*
 * glibc's __restore_rt: every register's place is an expression, rsp + where it is in the
 * ucontext. A frame that is merely marked as a signal's (augmentation S) is none of these.
 */
static bool is_signal_frame(const struct cfi_cie *cie, const struct cfi_state *state)
{
	const struct expression *cfa = &state->cfa_expression;

	return cie->is_signal && state->cfa_kind == CFI_CFA_EXPRESSION &&
	       cfa->kind == EXPRESSION_DEREF && cfa->reg == CFI_RSP &&
	       cfa->number == UCONTEXT_REG(REG_RSP) &&
	       is_at_reg(&state->return_address, CFI_RSP, UCONTEXT_REG(REG_RIP)) &&
	       is_at_reg(&state->rbp, CFI_RSP, UCONTEXT_REG(REG_RBP));
}

/* reg + number, as the walker adds it. */
static uint32_t address_rule(const struct expression *cfa, struct unwind_stats *stats)
{
	if (cfa->reg != CFI_RSP && cfa->reg != CFI_RBP) {
		stats->register_cnt++;
		return UNSUPPORTED;
	}
	if (!fits_unsigned(cfa->number, CFA_NUMBER_BITS)) {
		stats->range_cnt++;
		return UNSUPPORTED;
	}
	return UF_RULE(cfa->reg == CFI_RSP ? UF_CFA_RSP : UF_CFA_RBP, (uint64_t)cfa->number, 0, 0);
}

static uint32_t deref_rule(const struct expression *cfa, struct unwind_stats *stats)
{
	if (cfa->reg != CFI_RSP && cfa->reg != CFI_RBP) {
		stats->expression_cnt++;
		return UNSUPPORTED;
	}
	if (!fits_signed(cfa->number, CFA_NUMBER_BITS)) {
		stats->range_cnt++;
		return UNSUPPORTED;
	}
	return UF_RULE(cfa->reg == CFI_RSP ? UF_CFA_DEREF_RSP : UF_CFA_DEREF_RBP, cfa->number, 0,
		       0);
}

static uint32_t cfa_rule(const struct cfi_state *state, struct unwind_stats *stats)
{
	const struct expression *cfa = state->cfa_kind == CFI_CFA_REGISTER ?
						&state->cfa : &state->cfa_expression;

	if (state->cfa_kind == CFI_CFA_UNSET) {
		stats->malformed_cnt++;
		return UNSUPPORTED;
	}
	switch (cfa->kind) {
	case EXPRESSION_ADDRESS:
		return address_rule(cfa, stats);
	case EXPRESSION_DEREF:
		return deref_rule(cfa, stats);
	case EXPRESSION_PLT:
		return UF_RULE(UF_CFA_PLT, (uint64_t)cfa->number * 8, 0, 0);
	default:
		stats->expression_cnt++;
		return UNSUPPORTED;
	}
}

/* A rbp that cannot be told is lost, which matters only to a caller that needs it. */
static uint32_t rbp_rule(const struct cfi_place *rbp, struct unwind_stats *stats)
{
	enum uf_rbp kind = UF_RBP_UNDEFINED;
	int64_t number = 0;

	switch (rbp->kind) {
	case CFI_UNSPECIFIED: /* the psABI's: preserved */
	case CFI_SAME:
		kind = UF_RBP_SAME;
		break;
	case CFI_AT_CFA:
		kind = UF_RBP_AT_CFA;
		number = rbp->number;
		break;
	case CFI_AT_REG:
		if (rbp->reg != CFI_RBP)
			break;
		kind = UF_RBP_AT_RBP;
		number = rbp->number;
	}
	if (!fits_signed(number, RBP_NUMBER_BITS)) {
		stats->range_cnt++;
		kind = UF_RBP_UNDEFINED;
		number = 0;
	}
	return UF_RULE(0, 0, kind, number);
}

/* The caller's rsp is the CFA; some write it out. */
static bool is_cfa(const struct cfi_place *rsp)
{
	return rsp->kind == CFI_UNSPECIFIED || (rsp->kind == CFI_CFA_PLUS && !rsp->number);
}

uint32_t unwind_rule__from_state(const struct cfi_cie *cie, const struct cfi_state *state,
				 struct unwind_stats *stats)
{
	const struct cfi_place *ra = &state->return_address;
	uint32_t rule;

	if (ra->kind == CFI_UNDEFINED)
		return UF_RULE(UF_CFA_END, 0, UF_RBP_SAME, 0);
	if (is_signal_frame(cie, state))
		return UF_RULE(UF_CFA_SIGNAL, 0, UF_RBP_SAME, 0);
	if (ra->kind != CFI_AT_CFA || ra->number != -8) {
		stats->return_address_cnt++;
		return UNSUPPORTED;
	}
	if (!is_cfa(&state->rsp)) {
		stats->register_cnt++;
		return UNSUPPORTED;
	}
	rule = cfa_rule(state, stats);
	return rule == UNSUPPORTED ? rule : rule | rbp_rule(&state->rbp, stats);
}
