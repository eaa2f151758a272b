/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_ELF_DYNAMIC_H
#define UNFREED_PROBE_ELF_DYNAMIC_H

#include <stddef.h>
#include <stdint.h>
#include "probe/elf_file.h"

/*
 * What the loader is told: PT_DYNAMIC, and the symbols that it leads to. Needs
 * no section headers.
 */

#define ELF_NEEDED_MAX 1024 /* DT_NEEDED entries; more are not looked at */

/* Addresses as they stand in the file; 0: not there. */
struct elf_dynamic {
	uint64_t strtab;
	uint64_t strsz;
	uint64_t symtab;
	uint64_t hash;
	uint64_t gnu_hash;
	uint64_t flags_1;
	uint64_t rela, relasz;
	uint64_t jmprel, pltrelsz;
	uint64_t needed[ELF_NEEDED_MAX]; /* offsets into strtab */
	size_t needed_cnt;
};

/* Reads the entries in ext up to DT_NULL, 65,536 of them at most. 0 or -errno. */
int elf_dynamic__read(const struct elf_file *file, struct extent ext, struct elf_dynamic *dyn);

/*
 * Where .dynsym and .dynstr are. DT_SYMTAB has no length: the hash tables tell
 * how many symbols there are. Empty extents if nothing does. 0 or -errno.
 */
int elf_dynamic__find_symbols(const struct elf_file *file, const struct elf_dynamic *dyn,
			      struct extent *symbols, struct extent *strings);

#endif
