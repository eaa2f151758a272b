/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_USDT_ARG_H
#define UNFREED_USDT_ARG_H

/*
 * Where a USDT probe's argument is when the probe is hit, in 64 bits, so that it fits into the
 * probe's cookie: user/probe/usdt.c writes it, bpf/usdt.bpf.h follows it. x86-64.
 */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

enum uf_usdt_kind {
	UF_USDT_NONE,     /* it has no value */
	UF_USDT_CONSTANT, /* the number */
	UF_USDT_REGISTER,
	UF_USDT_MEMORY,   /* at register + number */
};

/* size_bytes: 1, 2, 4 or 8; reg: bytes into struct pt_regs; number: 32 bits, signed. */
#define UF_USDT_ARG(kind, is_signed, size_bytes, reg, number)                                      \
	((__u64)(kind) | (__u64)(is_signed) << 4 | (__u64)(size_bytes) << 8 | (__u64)(reg) << 16 | \
	 (__u64)(__u32)(number) << 32)
#define UF_USDT_ARG_KIND(arg)       ((__u32)(arg) & 15)
#define UF_USDT_ARG_IS_SIGNED(arg)  ((__u32)(arg) >> 4 & 1)
#define UF_USDT_ARG_SIZE(arg)       ((__u32)(arg) >> 8 & 15)
#define UF_USDT_ARG_REG(arg)        ((__u32)(arg) >> 16 & 0xff)
#define UF_USDT_ARG_NUMBER(arg)     ((__s32)((arg) >> 32))

#endif
