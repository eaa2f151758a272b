/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_SYMTAB_H
#define UNFREED_SYM_SYMTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sym/str_pool.h"

/*
 * The function symbols of a module, from all its ELF files, sorted by address.
 * One symbol an address: the best of its aliases.
 */

struct elf_handle;
struct elf_layout;
struct symtab;

struct symtab_hit {
	const char *name; /* demangled, interned */
	uint64_t vaddr;
	bool is_mangled; /* the raw name was */
};

/* max_bytes bounds the table's memory; symbols beyond it are left out. NULL with errno. */
struct symtab *symtab__new(size_t max_bytes);
/* Takes NULL. */
void symtab__free(struct symtab *tab);
void symtab__set_limit(struct symtab *tab, size_t max_bytes);

/*
 * Adds a function. size_bytes 0: unknown, it reaches to the next symbol or to
 * limit (a vaddr), whichever comes first. Returns 0 or -errno (-ENOSPC: full).
 */
int symtab__add(struct symtab *tab, const char *name, size_t name_len, uint64_t vaddr,
		uint64_t size_bytes, uint64_t limit, unsigned int elf_info);
/* Adds .symtab and .dynsym of a file whose addresses are those of the layout. */
int symtab__add_elf(struct symtab *tab, const struct elf_handle *file,
		    const struct elf_layout *layout);
/* Sorts what was added. To be called after adding and before looking up. */
void symtab__seal(struct symtab *tab);

/* The function that contains vaddr. False if none does. */
bool symtab__lookup(struct symtab *tab, struct str_pool *pool, uint64_t vaddr,
		    struct symtab_hit *hit);

size_t symtab__bytes(const struct symtab *tab);

#endif
