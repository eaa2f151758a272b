/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_ROW_H
#define UNFREED_UNWIND_ROW_H

/*
 * The unwind tables that user/unwind builds from .eh_frame and bpf/ walks
 * stacks with. x86-64.
 *
 * A row holds from its file offset up to the next row's. Its rule says how to
 * find the caller's frame from the registers of this one: the CFA (the stack
 * pointer before the call), the return address (always at CFA - 8) and the
 * caller's rbp. Other registers are not tracked: no CFA rule that compilers
 * emit needs them.
 */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

struct uf_unwind_row {
	__u32 offset; /* in the file: 4 GiB of code is the limit */
	__u32 rule;
};

/* How to find the CFA. "n" is the rule's CFA number, times 8. */
enum uf_cfa {
	UF_CFA_NONE,      /* no CFI here (a gap between functions, or code without any) */
	UF_CFA_RSP,       /* rsp + n */
	UF_CFA_RBP,       /* rbp + n */
	UF_CFA_PLT,       /* rsp + 8, + 8 more if (pc & 15) >= n / 8: the stubs of .plt */
	UF_CFA_DEREF_RSP, /* *(rsp + n), n signed */
	UF_CFA_DEREF_RBP, /* *(rbp + n), n signed */
	UF_CFA_SIGNAL,    /* a signal trampoline: all registers are in the ucontext at rsp */
	UF_CFA_END,       /* the outermost frame: its return address is undefined */
	UF_CFA_UNSUPPORTED, /* an expression that we do not understand; counted by kind */
	UF_CFA_CNT,
};

/* How to find the caller's rbp. "m" is the rule's rbp number, times 8, signed. */
enum uf_rbp {
	UF_RBP_SAME,      /* unchanged */
	UF_RBP_AT_CFA,    /* *(CFA + m) */
	UF_RBP_AT_RBP,    /* *(rbp + m) */
	UF_RBP_UNDEFINED, /* lost */
};

/* A rule: CFA kind 4 bits, rbp kind 2 bits, CFA number 16 bits, rbp number 10 bits (signed). */
#define UF_RULE(cfa, n, rbp, m)                                                                    \
	((__u32)(cfa) | (__u32)(rbp) << 4 | ((__u32)((n) / 8) & 0xffff) << 6 |                     \
	 ((__u32)((m) / 8) & 0x3ff) << 22)
#define UF_RULE_CFA(rule)   ((rule)&15)
#define UF_RULE_RBP(rule)   ((rule) >> 4 & 3)
#define UF_RULE_CFA_N(rule) (((rule) >> 6 & 0xffff) * 8u)                      /* unsigned */
#define UF_RULE_CFA_S(rule) ((__s64)(__s16)((rule) >> 6 & 0xffff) * 8)         /* signed */
#define UF_RULE_RBP_M(rule) ((__s64)((__s32)(rule) >> 22) * 8)

_Static_assert(sizeof(struct uf_unwind_row) == 8, "a row is one word of the table");

#endif
