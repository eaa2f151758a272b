/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_PLACEMENT_H
#define UNFREED_PROBE_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where in a function to put a probe.
 *
 * The kernel emulates a few instructions under a uprobe and single-steps the
 * others out of line, which costs about ten times as much (2-3 times on bare
 * metal). The first emulated instruction near the entry serves as well as the
 * entry itself if, decoded from the entry on, in a straight line:
 *   - no argument register that the probe reads has been written, nor the frame
 *     pointer,
 *   - rsp has not changed (a return probe swaps the return address at rsp:
 *     anywhere else it destroys the target); on arm64 x30 likewise,
 *   - nothing has been stored that others could see,
 *   - no branch in the function leads in between the entry and that place
 *     (the probe would fire twice a call), and every path from the entry
 *     passes it.
 * If nothing qualifies the entry itself is used.
 */

enum elf_arch { ELF_ARCH_NONE, ELF_ARCH_X86_64, ELF_ARCH_AARCH64 };

struct placement {
	uint32_t offset;       /* bytes from the function's entry */
	bool emulated;         /* the kernel emulates the instruction there */
	char insn[64];         /* the instruction there, for -v: "push rbp" */
	char why[96];          /* in words, for -v: why there, or why nothing cheaper */
};

/*
 * code: the function's bytes, size_bytes of them. Over 64 KiB the entry is used, since
 * branches back cannot be ruled out.
 * arg_cnt: how many integer argument registers the probe reads (0-3).
 * Always writes *out; returns 0, or -EINVAL if the first instruction cannot be
 * decoded (offset 0, emulated false).
 */
int placement__choose(enum elf_arch arch, const uint8_t *code, size_t size_bytes, int arg_cnt,
		      struct placement *out);

/* The entry, whatever stands there, where no other place may be used. Otherwise as above. */
int placement__at_entry(enum elf_arch arch, const uint8_t *code, size_t size_bytes,
			struct placement *out);

#endif
