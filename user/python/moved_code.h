/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_MOVED_CODE_H
#define UNFREED_PYTHON_MOVED_CODE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Parts of a function that the compiler put elsewhere (".cold"), found without
 * their symbols. Compilers that split a function give every part an FDE, and jump
 * between them, in the middle of the frame. So a part is the range of an FDE that
 * the function jumps into, that does not begin as a function does (CFA at
 * rsp + 8), and in which the CFA is, at the jump's target, the one that it was at the jump. A
 * tail call goes to the beginning of a function, where it is rsp + 8.
 */
struct moved_code;

/* Of an x86-64 ELF file; fd stays the caller's. NULL with errno: ENODATA: no .eh_frame; others. */
struct moved_code *moved_code__new(int fd);
/* Takes NULL. */
void moved_code__free(struct moved_code *moved);

/* File offsets. */
struct moved_range {
	uint64_t start, end;
};

/*
 * Parts that the code at [start, end), file offsets of a function or a part of one, jumps into
 * directly. At most max are written, each once; returns how many there are of those, or -errno.
 */
int moved_code__find(const struct moved_code *moved, uint64_t start, uint64_t end,
		     struct moved_range *parts, int max);

/*
 * The function that begins at vaddr, as virtual addresses: the range of the FDE that starts
 * there, if the CFA is rsp + 8 as where a function is entered. False: there is none.
 */
bool moved_code__function_at(const struct moved_code *moved, uint64_t vaddr,
			     struct moved_range *vaddrs);

/* The place in the file of what is at vaddr. False: no segment has it. */
bool moved_code__file_offset(const struct moved_code *moved, uint64_t vaddr, uint64_t *offset);

#endif
