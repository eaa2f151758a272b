/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_PLT_H
#define UNFREED_SYM_PLT_H

struct elf_handle;
struct symtab;

/*
 * Adds "name@plt" for the stubs of a main file's procedure linkage table
 * (x86-64, aarch64; other machines: none). Returns 0 or -errno.
 */
int plt__add_symbols(struct symtab *tab, const struct elf_handle *file);

#endif
