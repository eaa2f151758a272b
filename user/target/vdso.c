/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/vdso.h"

#include <elf.h>
#include <string.h>
#include <sys/auxv.h>

bool is_vdso(const char *path, uint64_t inode)
{
	return !inode && !strcmp(path, VDSO_NAME);
}

const void *vdso_image(size_t *size_bytes)
{
	const Elf64_Ehdr *image = (const void *)getauxval(AT_SYSINFO_EHDR);

	if (!image || memcmp(image->e_ident, ELFMAG, SELFMAG) ||
	    image->e_ident[EI_CLASS] != ELFCLASS64)
		return NULL;
	/* Whole pages are mapped; the section headers come last. */
	*size_bytes = image->e_shoff + (size_t)image->e_shnum * image->e_shentsize;
	return image;
}
