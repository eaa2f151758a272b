/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "unwind/eh_pointer.h"
#include "unwind/unwind_source.h"

#define NAMES_MAX_BYTES (16u << 20)

/* -- bytes -- */

static bool is_inside(const struct unwind_source *source, uint64_t offset, uint64_t size_bytes)
{
	return offset <= source->size_bytes && size_bytes <= source->size_bytes - offset;
}

int unwind_source__read(const struct unwind_source *source, uint64_t offset, void *buf,
			size_t size_bytes)
{
	size_t done = 0;

	if (!is_inside(source, offset, size_bytes))
		return -EIO;
	if (source->image) {
		memcpy(buf, source->image + offset, size_bytes);
		return 0;
	}
	while (done < size_bytes) {
		ssize_t n = pread(source->fd, (char *)buf + done, size_bytes - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* NULL + errno. */
static void *load(const struct unwind_source *source, uint64_t offset, uint64_t size_bytes)
{
	void *buf = is_inside(source, offset, size_bytes) ? malloc(size_bytes + !size_bytes) : NULL;
	int err;

	if (!buf) {
		errno = is_inside(source, offset, size_bytes) ? ENOMEM : EIO;
		return NULL;
	}
	err = unwind_source__read(source, offset, buf, size_bytes);
	if (err) {
		free(buf);
		errno = -err;
		return NULL;
	}
	return buf;
}

/* -- headers -- */

static int check_header(const Elf64_Ehdr *eh)
{
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_X86_64)
		return -ENOEXEC;
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return -ENOEXEC;
	if (eh->e_phentsize != sizeof(Elf64_Phdr))
		return -ENOEXEC;
	return 0;
}

/* Counts that do not fit into the header's 16 bits stand in section 0. */
static int find_headers(struct unwind_source *source, const Elf64_Ehdr *eh)
{
	uint64_t phdr_cnt = eh->e_phnum, section_cnt = eh->e_shnum;
	Elf64_Shdr first;

	source->phdr_offset = eh->e_phoff;
	source->section_offset = eh->e_shoff;
	source->name_section = eh->e_shstrndx;
	if (!eh->e_shoff || eh->e_shentsize != sizeof(first) ||
	    unwind_source__read(source, eh->e_shoff, &first, sizeof(first))) {
		section_cnt = 0;
	} else {
		if (!section_cnt)
			section_cnt = first.sh_size;
		if (source->name_section == SHN_XINDEX)
			source->name_section = first.sh_link;
		if (phdr_cnt == PN_XNUM)
			phdr_cnt = first.sh_info;
	}
	if (section_cnt > SOURCE_SECTIONS_MAX || source->name_section >= section_cnt ||
	    !is_inside(source, eh->e_shoff, section_cnt * sizeof(Elf64_Shdr)))
		section_cnt = 0;
	if (!phdr_cnt || phdr_cnt > SOURCE_PHDRS_MAX ||
	    !is_inside(source, eh->e_phoff, phdr_cnt * sizeof(Elf64_Phdr)))
		return -ENOEXEC;
	source->phdr_cnt = (uint32_t)phdr_cnt;
	source->section_cnt = (uint32_t)section_cnt;
	return 0;
}

/* NULL + errno. */
static Elf64_Phdr *load_phdrs(const struct unwind_source *source)
{
	return load(source, source->phdr_offset, source->phdr_cnt * sizeof(Elf64_Phdr));
}

/* The part of a segment that is in the file. */
static uint64_t bytes_in_file(const struct unwind_source *source, const Elf64_Phdr *ph)
{
	uint64_t left = ph->p_offset < source->size_bytes ? source->size_bytes - ph->p_offset : 0;

	return ph->p_filesz < left ? ph->p_filesz : left;
}

static int read_segments(struct unwind_source *source)
{
	Elf64_Phdr *phdrs = load_phdrs(source);

	if (!phdrs)
		return -errno;
	for (uint32_t i = 0; i < source->phdr_cnt; i++) {
		const Elf64_Phdr *ph = &phdrs[i];
		uint64_t size_bytes = bytes_in_file(source, ph);

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X) || !size_bytes)
			continue;
		if (source->segment_cnt == SOURCE_SEGMENTS_MAX)
			break;
		source->segments[source->segment_cnt++] =
			(struct source_segment){ ph->p_vaddr, ph->p_offset, size_bytes };
	}
	free(phdrs);
	return source->segment_cnt ? 0 : -ENOEXEC;
}

static int init(struct unwind_source *source)
{
	Elf64_Ehdr eh;
	int err;

	if (source->size_bytes < sizeof(eh))
		return -ENOEXEC;
	err = unwind_source__read(source, 0, &eh, sizeof(eh));
	if (!err)
		err = check_header(&eh);
	if (!err)
		err = find_headers(source, &eh);
	return err ? err : read_segments(source);
}

int unwind_source__init_fd(struct unwind_source *source, int fd)
{
	struct stat st;

	*source = (struct unwind_source){ .fd = fd };
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	source->size_bytes = (uint64_t)st.st_size;
	return init(source);
}

int unwind_source__init_memory(struct unwind_source *source, const void *image, size_t size_bytes)
{
	*source = (struct unwind_source){ .fd = -1, .image = image, .size_bytes = size_bytes };
	return init(source);
}

const struct source_segment *unwind_source__find_segment(const struct unwind_source *source,
							 uint64_t vaddr)
{
	for (uint32_t i = 0; i < source->segment_cnt; i++) {
		const struct source_segment *seg = &source->segments[i];

		if (vaddr >= seg->vaddr && vaddr - seg->vaddr < seg->size_bytes)
			return seg;
	}
	return NULL;
}

/* -- sections -- */

static bool has_name(const char *names, size_t names_len, uint32_t at, const char *name)
{
	size_t len = strlen(name) + 1;

	return at < names_len && len <= names_len - at && !memcmp(names + at, name, len);
}

static bool is_wanted(const Elf64_Shdr *sh, const char *names, size_t names_len,
		      enum source_section which)
{
	if (sh->sh_type == SHT_NOBITS || !sh->sh_size)
		return false;
	if (which == SOURCE_EH_FRAME)
		return has_name(names, names_len, sh->sh_name, ".eh_frame");
	return has_name(names, names_len, sh->sh_name, ".debug_frame") ||
	       has_name(names, names_len, sh->sh_name, ".zdebug_frame");
}

/* 0, -ENODATA if no header names it, -ENOMEM, read's error. */
static int find_section(const struct unwind_source *source, enum source_section which,
			Elf64_Shdr *out, bool *has_old_compression)
{
	Elf64_Shdr *sections, *strings;
	size_t names_len;
	char *names = NULL;
	int err = -ENODATA;

	if (!source->section_cnt)
		return -ENODATA;
	sections = load(source, source->section_offset, source->section_cnt * sizeof(*sections));
	if (!sections)
		return -errno;
	strings = &sections[source->name_section];
	names_len = strings->sh_size < NAMES_MAX_BYTES ? strings->sh_size : NAMES_MAX_BYTES;
	if (strings->sh_type == SHT_STRTAB && is_inside(source, strings->sh_offset, names_len)) {
		names = load(source, strings->sh_offset, names_len);
		if (!names)
			err = -errno;
	}
	for (uint32_t i = 0; names && err == -ENODATA && i < source->section_cnt; i++) {
		if (!is_wanted(&sections[i], names, names_len, which))
			continue;
		*out = sections[i];
		*has_old_compression = names[sections[i].sh_name + 1] == 'z';
		err = 0;
	}
	free(names);
	free(sections);
	return err;
}

/* .debug_frame is compressed with the other debug sections; by zlib, of what we read. */
static int decompress(struct source_bytes *data, size_t header_bytes, uint64_t size_bytes)
{
	uLongf done = size_bytes;
	uint8_t *bytes;
	int err = 0;

	if (size_bytes > SOURCE_CFI_MAX_BYTES)
		return -EFBIG;
	bytes = malloc(size_bytes + !size_bytes);
	if (!bytes)
		return -ENOMEM;
	switch (uncompress(bytes, &done, data->bytes + header_bytes,
			   data->size_bytes - header_bytes)) {
	case Z_OK:
		break;
	case Z_MEM_ERROR:
		err = -ENOMEM;
		break;
	default:
		err = -ENODATA;
	}
	free(data->bytes);
	data->bytes = bytes;
	data->size_bytes = done;
	return err;
}

/* Elf64_Chdr, or of old "ZLIB" and the size in big-endian. */
static int decompress_any(struct source_bytes *data, bool has_old_compression)
{
	Elf64_Chdr chdr;
	uint64_t size;

	if (has_old_compression) {
		if (data->size_bytes < 12 || memcmp(data->bytes, "ZLIB", 4))
			return -ENODATA;
		memcpy(&size, data->bytes + 4, sizeof(size));
		return decompress(data, 12, be64toh(size));
	}
	if (data->size_bytes < sizeof(chdr))
		return -ENODATA;
	memcpy(&chdr, data->bytes, sizeof(chdr));
	if (chdr.ch_type != ELFCOMPRESS_ZLIB)
		return -ENODATA;
	return decompress(data, sizeof(chdr), chdr.ch_size);
}

static int load_bytes(const struct unwind_source *source, uint64_t offset, uint64_t size_bytes,
		      struct source_bytes *out)
{
	if (size_bytes > SOURCE_CFI_MAX_BYTES)
		return -EFBIG;
	out->bytes = load(source, offset, size_bytes);
	if (!out->bytes)
		return -errno;
	out->size_bytes = size_bytes;
	return 0;
}

/* -- .eh_frame without section headers -- */

/* The file's offset of vaddr and how much of its segment follows; 0: not in the file. */
static uint64_t find_in_loads(const struct unwind_source *source, const Elf64_Phdr *phdrs,
			      uint64_t vaddr, uint64_t *offset)
{
	for (uint32_t i = 0; i < source->phdr_cnt; i++) {
		uint64_t size_bytes = bytes_in_file(source, &phdrs[i]);
		uint64_t skip = vaddr - phdrs[i].p_vaddr;

		if (phdrs[i].p_type != PT_LOAD || vaddr < phdrs[i].p_vaddr || skip >= size_bytes)
			continue;
		*offset = phdrs[i].p_offset + skip;
		return size_bytes - skip;
	}
	return 0;
}

/*
 * .eh_frame_hdr: version 1, three encodings, then the address of .eh_frame. How long that
 * is nobody says: an entry of length zero ends it.
 */
static int load_through_header(const struct unwind_source *source, const Elf64_Phdr *phdrs,
			       const Elf64_Phdr *hdr, struct source_bytes *out)
{
	uint8_t bytes[12] = { 0 };
	struct cursor c = cursor__at(bytes + 4, sizeof(bytes) - 4);
	uint64_t offset = 0, size_bytes;

	if (hdr->p_filesz < 8 || !is_inside(source, hdr->p_offset, sizeof(bytes)))
		return -ENODATA;
	if (unwind_source__read(source, hdr->p_offset, bytes, sizeof(bytes)))
		return -EIO;
	if (bytes[0] != 1)
		return -ENODATA;
	out->vaddr = eh_pointer__read(&c, bytes[1], hdr->p_vaddr + 4);
	if (c.is_bad)
		return -ENODATA;
	size_bytes = find_in_loads(source, phdrs, out->vaddr, &offset);
	if (!size_bytes)
		return -ENODATA;
	out->is_open_ended = true;
	if (size_bytes > SOURCE_CFI_MAX_BYTES)
		size_bytes = SOURCE_CFI_MAX_BYTES;
	return load_bytes(source, offset, size_bytes, out);
}

static int load_by_phdr(const struct unwind_source *source, struct source_bytes *out)
{
	Elf64_Phdr *phdrs = load_phdrs(source);
	int err = -ENODATA;

	if (!phdrs)
		return -errno;
	for (uint32_t i = 0; i < source->phdr_cnt; i++) {
		if (phdrs[i].p_type != PT_GNU_EH_FRAME)
			continue;
		err = load_through_header(source, phdrs, &phdrs[i], out);
		break;
	}
	free(phdrs);
	return err;
}

int unwind_source__load_section(const struct unwind_source *source, enum source_section which,
				struct source_bytes *out)
{
	bool has_old_compression = false;
	Elf64_Shdr sh = { 0 };
	int err = find_section(source, which, &sh, &has_old_compression);

	*out = (struct source_bytes){ 0 };
	if (!err && !is_inside(source, sh.sh_offset, sh.sh_size))
		err = -ENODATA; /* a header that lies */
	if (err == -ENODATA && which == SOURCE_EH_FRAME)
		return load_by_phdr(source, out);
	if (err)
		return err;
	out->vaddr = sh.sh_addr;
	err = load_bytes(source, sh.sh_offset, sh.sh_size, out);
	if (!err && (has_old_compression || sh.sh_flags & SHF_COMPRESSED))
		err = decompress_any(out, has_old_compression);
	if (err) {
		free(out->bytes);
		*out = (struct source_bytes){ 0 };
	}
	return err;
}
