/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_ELF_HANDLE_H
#define UNFREED_SYM_ELF_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <gelf.h>

/*
 * A libelf descriptor behind the checks that libelf leaves to its caller: how
 * many sections a header may claim, how much of one may be read, what a
 * compressed one may grow to. libelf sees the file only after its counts were
 * found sane, and reads it with pread instead of mapping it, because a file
 * that shrinks under a mapping kills the reader with SIGBUS.
 */

#define ELF_MAX_SECTIONS 65536
#define ELF_MAX_PHDRS	 1024
#define ELF_MAX_SEGMENTS 64 /* PT_LOAD kept; later ones are ignored */
#define BUILD_ID_MAX_HEX 129

struct elf_segment {
	uint64_t offset, vaddr, size_bytes;
	bool executable;
};

/* Where the file's bytes are mapped. Taken from the main file, never from a separate debug file. */
struct elf_layout {
	struct elf_segment segments[ELF_MAX_SEGMENTS];
	unsigned int segment_cnt;
};

struct elf_handle;

/* Keeps a duplicate of fd. NULL with errno: ENOEXEC if no regular ELF file. */
struct elf_handle *elf_handle__open_fd(int fd);
/* The image stays the caller's and must outlive the descriptor. */
struct elf_handle *elf_handle__open_memory(const void *image, size_t size_bytes);
/* The same file again, without what libelf has read of it so far. */
struct elf_handle *elf_handle__reopen(const struct elf_handle *file);
/* Takes NULL. */
void elf_handle__free(struct elf_handle *file);

Elf *elf_handle__elf(const struct elf_handle *file);
size_t elf_handle__size_bytes(const struct elf_handle *file);
bool elf_handle__is_loadable(const struct elf_handle *file); /* ET_EXEC or ET_DYN */
unsigned int elf_handle__machine(const struct elf_handle *file);
void elf_handle__layout(const struct elf_handle *file, struct elf_layout *layout);

/* Lower-case hex, "" if none. */
void elf_handle__build_id(const struct elf_handle *file, char hex[BUILD_ID_MAX_HEX]);
/* .gnu_debuglink: name and CRC. .gnu_debugaltlink: name and build-id. -ENOENT if none. */
int elf_handle__debuglink(const struct elf_handle *file, char *name, size_t size, uint32_t *crc);
int elf_handle__altlink(const struct elf_handle *file, char *name, size_t size,
			char hex[BUILD_ID_MAX_HEX]);

/* First section of the name, or NULL. */
Elf_Scn *elf_handle__section(const struct elf_handle *file, const char *name, GElf_Shdr *shdr);
/* Name of a section; "" if unreadable. */
const char *elf_handle__section_name(const struct elf_handle *file, const GElf_Shdr *shdr);
/* Contents in host byte order; NULL if absent, compressed, or beyond max_bytes or the file. */
Elf_Data *elf_handle__data(const struct elf_handle *file, Elf_Scn *scn, size_t max_bytes);
/*
 * What libdw will hold of this file once it is opened: debug sections, raw and
 * decompressed. UINT64_MAX if that is more than max_bytes.
 */
uint64_t elf_handle__debug_bytes(const struct elf_handle *file, uint64_t max_bytes);
bool elf_handle__has_dwarf(const struct elf_handle *file);

/* False if no segment contains it. */
bool elf_layout__to_vaddr(const struct elf_layout *layout, uint64_t file_offset, uint64_t *vaddr);
/* End of the executable segment that contains vaddr, 0 if none does. */
uint64_t elf_layout__code_end(const struct elf_layout *layout, uint64_t vaddr);

#endif
