/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_EXPRESSION_H
#define UNFREED_UNWIND_EXPRESSION_H

#include <stdint.h>
#include "unwind/cursor.h"

/*
 * DWARF expressions in CFI, recognised by their shape instead of evaluated:
 * the table has no room for programs, and the few shapes here are all that
 * compilers, linkers and libraries on x86-64 were seen to emit.
 */
enum expression_kind {
	EXPRESSION_OTHER,
	EXPRESSION_ADDRESS, /* reg + number */
	EXPRESSION_DEREF,   /* *(reg + number) */
	EXPRESSION_PLT,     /* rsp + 8, + 8 more if (pc & 15) >= number */
};

struct expression {
	enum expression_kind kind;
	uint8_t reg; /* DWARF number */
	int64_t number;
};

/* Takes all of the cursor; bytes left over make it EXPRESSION_OTHER. */
struct expression expression__parse(struct cursor bytes);

#endif
