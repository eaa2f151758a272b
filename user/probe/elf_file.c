/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "probe/elf_file.h"

bool elf_file__has(const struct elf_file *file, struct extent ext)
{
	return ext.offset <= file->size_bytes && ext.size_bytes <= file->size_bytes - ext.offset;
}

long elf_file__read(const struct elf_file *file, uint64_t offset, void *buf, size_t size_bytes)
{
	size_t done = 0;

	if (offset > file->size_bytes)
		return 0;
	if (size_bytes > file->size_bytes - offset)
		size_bytes = file->size_bytes - offset;
	while (done < size_bytes) {
		ssize_t n = pread(file->fd, (char *)buf + done, size_bytes - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (long)done;
}

int elf_file__read_exactly(const struct elf_file *file, uint64_t offset, void *buf,
			   size_t size_bytes)
{
	long n = elf_file__read(file, offset, buf, size_bytes);

	if (n < 0)
		return (int)n;
	return (size_t)n == size_bytes ? 0 : -EIO;
}

void window__init(struct window *w, const struct elf_file *file)
{
	w->file = file;
	w->held = (struct extent){ 0 };
}

int window__copy(struct window *w, uint64_t offset, void *dst, size_t len)
{
	long n;

	if (offset < w->held.offset || offset - w->held.offset > w->held.size_bytes ||
	    len > w->held.size_bytes - (offset - w->held.offset)) {
		n = elf_file__read(w->file, offset, w->bytes, sizeof(w->bytes));
		if (n < 0)
			return (int)n;
		w->held = (struct extent){ offset, (uint64_t)n };
		if (len > (size_t)n)
			return -EIO;
	}
	memcpy(dst, w->bytes + (offset - w->held.offset), len);
	return 0;
}

const struct segment *elf_file__find_segment(const struct elf_file *file, uint64_t vaddr)
{
	for (uint32_t i = 0; i < file->load_cnt; i++) {
		const struct segment *seg = &file->loads[i];

		if (vaddr >= seg->vaddr && vaddr - seg->vaddr < seg->file.size_bytes)
			return seg;
	}
	return NULL;
}

struct extent elf_file__extent_at(const struct elf_file *file, uint64_t vaddr, uint64_t max_bytes)
{
	const struct segment *seg = elf_file__find_segment(file, vaddr);
	struct extent ext = { 0 };

	if (!seg)
		return ext;
	ext.offset = seg->file.offset + (vaddr - seg->vaddr);
	ext.size_bytes = seg->file.size_bytes - (vaddr - seg->vaddr);
	if (ext.size_bytes > max_bytes)
		ext.size_bytes = max_bytes;
	return ext;
}

char *elf_file__read_string(const struct elf_file *file, struct extent ext)
{
	char buf[ELF_NAME_MAX_BYTES];
	long n = elf_file__read(file, ext.offset, buf,
				ext.size_bytes < sizeof(buf) ? ext.size_bytes : sizeof(buf));

	if (n < 0) {
		errno = (int)-n;
		return NULL;
	}
	return strndup(buf, (size_t)n);
}
