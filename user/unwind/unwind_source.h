/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_UNWIND_SOURCE_H
#define UNFREED_UNWIND_UNWIND_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What tables are made of: the executable segments, the CFI sections and the code
 * of an x86-64 ELF file or of an image in memory. Hostile input: no offset is used
 * before it was compared with the size, and nothing is mapped; a file that is cut
 * meanwhile gives an error.
 *
 * Bounds: SOURCE_SEGMENTS_MAX executable segments, SOURCE_PHDRS_MAX program headers
 * (-ENOEXEC); SOURCE_SECTIONS_MAX section headers (past that: as if there were
 * none); SOURCE_CFI_MAX_BYTES of a section, decompressed (-EFBIG).
 */
#define SOURCE_SEGMENTS_MAX  64
#define SOURCE_PHDRS_MAX     4096
#define SOURCE_SECTIONS_MAX  (1u << 16)
#define SOURCE_CFI_MAX_BYTES (128u << 20)

/* An executable PT_LOAD, cut at the end of the file; never empty. */
struct source_segment {
	uint64_t vaddr, offset, size_bytes;
};

struct unwind_source {
	int fd; /* -1: image */
	const uint8_t *image;
	uint64_t size_bytes;
	struct source_segment segments[SOURCE_SEGMENTS_MAX];
	uint32_t segment_cnt;
	/* PT_LOADs of any kind are not kept: found again when an address must be read. */
	uint64_t phdr_offset, section_offset;
	uint32_t phdr_cnt, section_cnt, name_section;
};

enum source_section { SOURCE_EH_FRAME, SOURCE_DEBUG_FRAME };

struct source_bytes {
	uint8_t *bytes; /* malloc */
	size_t size_bytes;
	uint64_t vaddr;
	bool is_open_ended; /* found by its start alone: goes on to the segment's end */
};

/* fd stays the caller's, as the image does. 0; -ENOEXEC for no x86-64 program; read's error. */
int unwind_source__init_fd(struct unwind_source *source, int fd);
int unwind_source__init_memory(struct unwind_source *source, const void *image,
			       size_t size_bytes);

/* All of size_bytes, or -errno: -EIO if they end before. */
int unwind_source__read(const struct unwind_source *source, uint64_t offset, void *buf,
			size_t size_bytes);
/* -ENODATA if there is none; -EFBIG, -ENOMEM, read's error. The bytes are the caller's to free. */
int unwind_source__load_section(const struct unwind_source *source, enum source_section which,
				struct source_bytes *out);
/* The executable segment whose bytes in the file hold vaddr, or NULL. */
const struct source_segment *unwind_source__find_segment(const struct unwind_source *source,
							 uint64_t vaddr);

#endif
