/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_UNWIND_UNWIND_TABLE_H
#define UNFREED_UNWIND_UNWIND_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "unwind_row.h"

/*
 * From an ELF file's .eh_frame and .debug_frame to a compact table of unwind
 * rows (include/unwind_row.h), sorted by file offset, all executable
 * segments in one. The file is hostile input.
 */

/* What could not be expressed, by kind; the rows concerned are UF_CFA_UNSUPPORTED. */
struct unwind_stats {
	uint32_t fde_cnt;
	uint32_t full_row_cnt;       /* before rows without a call were dropped and equal ones merged */
	uint32_t expression_cnt;     /* CFA expressions of other kinds */
	uint32_t register_cnt;       /* CFA from other registers than rsp and rbp; rsp not the CFA */
	uint32_t return_address_cnt; /* return address not at CFA - 8, nor undefined */
	uint32_t range_cnt;          /* numbers that do not fit; if rbp's, only that is undefined */
	uint32_t malformed_cnt;      /* entries that could not be read */
};

struct unwind_table {
	struct uf_unwind_row *rows; /* strictly ascending offsets */
	uint32_t row_cnt;
	bool has_all_rows;   /* rows at every instruction, not only where a return address can be */
	uint64_t low_offset, high_offset; /* of the executable segments, in the file */
	struct unwind_stats stats;
};

/*
 * Builds the table of the file open at fd (stays the caller's), or of an image in memory
 * ([vdso]). all_rows: also rows that no return address can hit, for frames interrupted by a
 * signal; else they are merged away. Returns 0; -ENOEXEC for no x86-64 ELF; -ENODATA if it has no
 * CFI at all; -EFBIG past the limits (file offsets of 4 GiB, 16 Mi rows); -ENOMEM; read's error.
 * On success release it with unwind_table__release.
 */
int unwind_table__build_fd(int fd, bool all_rows, struct unwind_table *out);
int unwind_table__build_memory(const void *image, size_t size_bytes, bool all_rows,
			       struct unwind_table *out);
/* Takes a zeroed struct. */
void unwind_table__release(struct unwind_table *table);

/* The rule at a file offset: a binary search, as the probe does it. */
uint32_t unwind_table__find(const struct unwind_table *table, uint64_t offset);

#endif
