/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "unwind/fde_index.h"

#include <errno.h>
#include <stdlib.h>

static int compare_starts(const void *a, const void *b)
{
	const struct cfi_fde *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

struct fde_index *fde_index__new(int fd)
{
	struct fde_index *index = calloc(1, sizeof(*index));
	struct cfi_section section = {0};
	int err;

	if (!index)
		return NULL;
	err = unwind_source__init_fd(&index->source, fd);
	if (!err)
		err = unwind_source__load_section(&index->source, SOURCE_EH_FRAME, &index->section);
	if (!err) {
		section.bytes = index->section.bytes;
		section.size_bytes = index->section.size_bytes;
		section.vaddr = index->section.vaddr;
		section.ends_at_zero = index->section.is_open_ended;
		err = cfi__init(&index->cfi, &section);
	}
	if (err) {
		fde_index__free(index);
		errno = -err;
		return NULL;
	}
	if (index->cfi.fde_cnt)
		qsort(index->cfi.fdes, index->cfi.fde_cnt, sizeof(*index->cfi.fdes),
		      compare_starts);
	return index;
}

void fde_index__free(struct fde_index *index)
{
	if (!index)
		return;
	cfi__release(&index->cfi);
	free(index->section.bytes);
	free(index);
}

const struct cfi_fde *fde_index__find(const struct fde_index *index, uint64_t vaddr)
{
	const struct cfi_fde *fdes = index->cfi.fdes;
	uint32_t low = 0, high = index->cfi.fde_cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (fdes[mid].start <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	return low && vaddr < fdes[low - 1].end ? &fdes[low - 1] : NULL;
}
