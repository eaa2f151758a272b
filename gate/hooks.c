/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "hooks.h"

struct uf_gate_state unfreed_gate_state;

/* In assembly, or the compiler might put something before the nop, or the call away altogether. */
#define FUNCTION(name, body)                                                                       \
	__asm__(".pushsection .text\n"                                                             \
		".balign 16\n"                                                                     \
		".globl " name "\n"                                                                \
		".type " name ", %function\n" name ":\n"                                           \
		".cfi_startproc\n" body ".cfi_endproc\n"                                           \
		".size " name ", . - " name "\n"                                                   \
		".popsection\n")

#if defined(__x86_64__)
#define NOP ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n" /* of 5 bytes: room for a call */
FUNCTION(UF_GATE_ALLOC, NOP "mov %rcx, %rax\nret\n");
FUNCTION(UF_GATE_TELL, NOP "ret\n");
#elif defined(__aarch64__)
FUNCTION(UF_GATE_ALLOC, "nop\nmov x0, x3\nret\n");
FUNCTION(UF_GATE_TELL, "nop\nret\n");
#else
#error "no hooks for this architecture"
#endif
