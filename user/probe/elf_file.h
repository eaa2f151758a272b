/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_ELF_FILE_H
#define UNFREED_PROBE_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the ELF readers of this folder stand on: bytes of a file by offset, and
 * offsets by address. Everything is read with pread into our own memory, never
 * mapped: a file that is truncated while open costs an error, not a SIGBUS.
 */

#define ELF_LOADS_MAX       64 /* PT_LOADs; more are not looked at. Linkers make 2 to 10 */
#define ELF_TABLE_MAX_BYTES (512ull << 20) /* a symbol, string or hash table */
#define ELF_NAME_MAX_BYTES  4096 /* of a DT_NEEDED or PT_INTERP; longer ones are cut */

/* A part of the file. size_bytes 0: not there. */
struct extent {
	uint64_t offset;
	uint64_t size_bytes;
};

/* A PT_LOAD, cut at the end of the file; never empty. */
struct segment {
	uint64_t vaddr;
	struct extent file;
	bool is_exec;
};

struct elf_file {
	int fd;
	uint64_t size_bytes; /* when it was opened; nothing is read past it */
	struct segment loads[ELF_LOADS_MAX];
	uint32_t load_cnt;
};

bool elf_file__has(const struct elf_file *file, struct extent ext);
/* Reads up to size_bytes; returns how many there were, or -errno. */
long elf_file__read(const struct elf_file *file, uint64_t offset, void *buf, size_t size_bytes);
/* All of size_bytes, or -errno: -EIO if the file ends before. */
int elf_file__read_exactly(const struct elf_file *file, uint64_t offset, void *buf,
			   size_t size_bytes);
/* An allocated copy of the string that ext begins with, cut at its end. NULL + errno. */
char *elf_file__read_string(const struct elf_file *file, struct extent ext);

/* The segment whose file part holds vaddr, or NULL. */
const struct segment *elf_file__find_segment(const struct elf_file *file, uint64_t vaddr);
/* The file from vaddr to its segment's end, at most max_bytes. Empty if not in the file. */
struct extent elf_file__extent_at(const struct elf_file *file, uint64_t vaddr, uint64_t max_bytes);

/* A buffer that slides over the file, for tables that are read in small pieces. */
#define WINDOW_BYTES 16384

struct window {
	const struct elf_file *file;
	struct extent held;
	uint8_t bytes[WINDOW_BYTES];
};

void window__init(struct window *w, const struct elf_file *file);
/* Copies len <= WINDOW_BYTES bytes from offset; -EIO where the file ends before. */
int window__copy(struct window *w, uint64_t offset, void *dst, size_t len);

#endif
