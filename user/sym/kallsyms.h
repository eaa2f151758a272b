/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_KALLSYMS_H
#define UNFREED_SYM_KALLSYMS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Functions of the running kernel, its modules and its BPF programs, as
 * /proc/kallsyms lists them: address, type, name, and the module in brackets.
 * A listing is of one moment: modules come and go.
 */

struct kallsyms;

#define KALLSYMS_MAX_BYTES ((size_t)256 << 20) /* of a listing */
/* Further from the last symbol than this an address belongs to none. */
#define KALLSYMS_MAX_FUNCTION_BYTES (1u << 20)

struct kernel_symbol {
	const char *name;   /* lives as long as the listing */
	const char *module; /* "ext4", "bpf"; "" is the kernel itself */
	uint64_t offset;    /* of the address, from the function's start */
};

/*
 * Reads the listing. NULL with errno: EACCES if the kernel shows no addresses, EFBIG past
 * KALLSYMS_MAX_BYTES, ENOMEM, what open() or read() said.
 */
struct kallsyms *kallsyms__read(void);
/* The same from a stream. Lines that are not as expected are left out. */
struct kallsyms *kallsyms__parse(FILE *in);
/* Takes NULL. */
void kallsyms__free(struct kallsyms *syms);

/* The function that an address lies in. False: none is known. */
bool kallsyms__find(const struct kallsyms *syms, uint64_t address, struct kernel_symbol *out);

#endif
