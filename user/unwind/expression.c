/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <dwarf.h>
#include <stdbool.h>

#include "unwind/expression.h"

#define REG_RSP 7
#define REG_RIP 16

/*
 * What ld writes for .plt, .plt.sec and their kin. A stub is 16 bytes and pushes
 * one word on its way, so the CFA depends on how far into the stub pc is:
 *
 *	breg7 8; breg16 0; lit15; and; litN; ge; lit3; shl; plus
 *
 * N is the offset of the instruction after the push: 11, or 10 or 9 with IBT.
 */
static bool is_plt(struct cursor c, int64_t *number)
{
	uint8_t first;

	if (cursor__u8(&c) != DW_OP_breg0 + REG_RSP || cursor__sleb(&c) != 8 ||
	    cursor__u8(&c) != DW_OP_breg0 + REG_RIP || cursor__sleb(&c) != 0 ||
	    cursor__u8(&c) != DW_OP_lit15 || cursor__u8(&c) != DW_OP_and)
		return false;
	first = cursor__u8(&c);
	if (first < DW_OP_lit0 || first > DW_OP_lit15)
		return false;
	*number = first - DW_OP_lit0;
	return cursor__u8(&c) == DW_OP_ge && cursor__u8(&c) == DW_OP_lit3 &&
	       cursor__u8(&c) == DW_OP_shl && cursor__u8(&c) == DW_OP_plus && !c.is_bad &&
	       c.pos == c.end;
}

struct expression expression__parse(struct cursor c)
{
	struct expression expr = { .kind = EXPRESSION_OTHER };
	struct cursor whole = c;
	uint8_t op = cursor__u8(&c);

	if (is_plt(whole, &expr.number)) {
		expr.kind = EXPRESSION_PLT;
		expr.reg = REG_RSP;
		return expr;
	}
	expr.number = 0;
	if (op < DW_OP_breg0 || op > DW_OP_breg31)
		return expr;
	expr.reg = op - DW_OP_breg0;
	expr.number = cursor__sleb(&c);
	if (c.is_bad)
		return expr;
	if (c.pos == c.end) {
		expr.kind = EXPRESSION_ADDRESS;
		return expr;
	}
	if (cursor__u8(&c) == DW_OP_deref && c.pos == c.end)
		expr.kind = EXPRESSION_DEREF;
	return expr;
}
