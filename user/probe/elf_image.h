/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_ELF_IMAGE_H
#define UNFREED_PROBE_ELF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "probe/placement.h"

/*
 * A bounds-checked reader of the parts of an ELF file that placing probes
 * needs: function symbols (.symtab, .dynsym, and without section headers
 * through PT_DYNAMIC) as file offsets, variables by name, code bytes, build-id,
 * DT_NEEDED, PT_INTERP. The file is hostile input.
 */

struct elf_image;

struct elf_symbol {
	const char *name;      /* without any @VERSION; lives as long as the image */
	uint64_t vaddr;
	uint64_t file_offset;
	uint64_t size_bytes;   /* 0 if the symbol does not say; never past the segment's end */
	bool is_dynamic;       /* from .dynsym */
	bool is_ifunc;         /* vaddr is the resolver's, not the function's */
	bool is_local;         /* STB_LOCAL: static, or hidden by the linker */
};

/*
 * fd stays the caller's and may be closed. NULL with errno: ENOEXEC no ELF, or none that is
 * supported (64-bit little-endian program or library of a known architecture).
 */
struct elf_image *elf_image__open_fd(int fd);
/* Takes NULL. */
void elf_image__free(struct elf_image *img);

enum elf_arch elf_image__arch(const struct elf_image *img);
/* Hex, "" if none. */
const char *elf_image__build_id(const struct elf_image *img);
/* PT_INTERP, or NULL: a static binary or a library. */
const char *elf_image__interpreter(const struct elf_image *img);
/* An executable as opposed to a library, as far as ELF says (ET_EXEC, or ET_DYN with DF_1_PIE). */
bool elf_image__is_executable(const struct elf_image *img);
/* The i-th DT_NEEDED, or NULL past the last one. */
const char *elf_image__needed(const struct elf_image *img, size_t i);

/*
 * Calls cb for every *defined* function symbol with a file offset inside an executable segment,
 * until it returns non-zero. Returns that value, or 0, or -errno (-EFBIG: a table over 512 MiB).
 * .dynsym comes first; a function may come twice. Loads string tables at first need: not for
 * two threads at a time.
 */
int elf_image__for_each_function(const struct elf_image *img,
				 int (*cb)(const struct elf_symbol *sym, void *arg), void *arg);

/*
 * The address of the *defined* variable of that name (STT_OBJECT; .dynsym comes first), as the
 * symbol says: it need not be in the file (.bss) nor be true. 0; -ENOENT if there is none; or
 * another -errno as above.
 */
int elf_image__find_variable(const struct elf_image *img, const char *name, uint64_t *vaddr);

/*
 * Copies up to size_bytes of what the file has at vaddr, of any segment, before relocation; returns
 * how many there were (0: vaddr is in no part of the file), or -errno.
 */
long elf_image__read_data(const struct elf_image *img, uint64_t vaddr, void *buf,
			  size_t size_bytes);

/* Where in the file the byte at vaddr is. 0; -ENOENT: nowhere. */
int elf_image__find_offset(const struct elf_image *img, uint64_t vaddr, uint64_t *file_offset);

/* A section as its header says; its bytes need not be in the file. */
struct elf_section {
	uint64_t vaddr; /* 0: not part of the process */
	uint64_t file_offset;
	uint64_t size_bytes;
};

/* The first section of that name. 0; -ENOENT, also without section headers; or another -errno. */
int elf_image__find_section(const struct elf_image *img, const char *name,
			    struct elf_section *out);

/*
 * The function whose address the loader puts into the pointer at vaddr (a slot of the GOT), as this
 * file alone has it: another file may define it too and come before. 0; -ENOENT: no such slot;
 * -ENXIO: it is in another file; or another -errno.
 */
int elf_image__find_slot(const struct elf_image *img, uint64_t vaddr, uint64_t *function);

/* The open file, the image's own. */
int elf_image__fd(const struct elf_image *img);

/* Copies up to size_bytes of the file at file_offset; returns how many there were, or -errno. */
long elf_image__read_code(const struct elf_image *img, uint64_t file_offset, void *buf,
			  size_t size_bytes);

#endif
