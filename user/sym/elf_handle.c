/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Sizes and counts in an ELF header are claims. A sparse file of a terabyte can
 * back any of them, so "inside the file" is not enough of a check: each is held
 * against a maximum of ours before libelf allocates for it.
 */
#include "sym/elf_handle.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_NOTES	   64 /* libelf keeps each one that was read */
#define MAX_NOTE_BYTES	   ((size_t)64 << 10)
#define MAX_SHSTRTAB_BYTES ((size_t)16 << 20)
#define MAX_LINK_BYTES	   ((size_t)8 << 10)

struct elf_handle {
	Elf *elf;
	int fd;		   /* ours; -1 for an image in memory */
	const char *image; /* the caller's; NULL for a file */
	size_t size_bytes;
	GElf_Ehdr ehdr;
	size_t shstrndx; /* 0: section names are unusable */
};

static bool read_exact(const struct elf_handle *file, uint64_t offset, void *buf, size_t len)
{
	if (offset > file->size_bytes || len > file->size_bytes - offset)
		return false;
	if (file->image) {
		memcpy(buf, file->image + offset, len);
		return true;
	}
	return pread(file->fd, buf, len, (off_t)offset) == (ssize_t)len;
}

static uint64_t get_uint(const unsigned char *bytes, unsigned int size, bool big_endian)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value = value << 8 | bytes[big_endian ? i : size - 1 - i];
	return value;
}

/* elf_begin() allocates for every section that the header claims: look at the claims first. */
static int check_counts(const struct elf_handle *file)
{
	unsigned char eh[sizeof(Elf64_Ehdr)] = {0}, sh[sizeof(Elf64_Shdr)] = {0};
	uint64_t shoff, phnum, shnum, shnum_ext, phnum_ext;
	bool be, is64;

	if (!read_exact(file, 0, eh, sizeof(Elf32_Ehdr)) || memcmp(eh, ELFMAG, SELFMAG))
		return -ENOEXEC;
	be = eh[EI_DATA] == ELFDATA2MSB;
	is64 = eh[EI_CLASS] == ELFCLASS64;
	if (is64 && !read_exact(file, 0, eh, sizeof(Elf64_Ehdr)))
		return -ENOEXEC;
	shoff = is64 ? get_uint(eh + 40, 8, be) : get_uint(eh + 32, 4, be);
	phnum = get_uint(eh + (is64 ? 56 : 44), 2, be);
	shnum = get_uint(eh + (is64 ? 60 : 48), 2, be);
	if (!shoff || (shnum && phnum != PN_XNUM))
		return phnum > ELF_MAX_PHDRS ? -ENOEXEC : 0;
	/* Section 0 carries the counts that do not fit the header. */
	if (!read_exact(file, shoff, sh, is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr)))
		return 0; /* libelf finds no sections either */
	shnum_ext = is64 ? get_uint(sh + 32, 8, be) : get_uint(sh + 20, 4, be);
	phnum_ext = get_uint(sh + (is64 ? 44 : 28), 4, be);
	if (!shnum && shnum_ext > ELF_MAX_SECTIONS)
		return -ENOEXEC;
	return (phnum == PN_XNUM ? phnum_ext : phnum) > ELF_MAX_PHDRS ? -ENOEXEC : 0;
}

/* elf_strptr() reads (and decompresses) the whole table: only a plain one of sane size will do. */
static void find_section_names(struct elf_handle *file)
{
	GElf_Shdr shdr;
	Elf_Scn *scn;
	size_t ndx;

	if (elf_getshdrstrndx(file->elf, &ndx) || !ndx)
		return;
	scn = elf_getscn(file->elf, ndx);
	if (!scn || !gelf_getshdr(scn, &shdr) || shdr.sh_type != SHT_STRTAB)
		return;
	if (shdr.sh_flags & SHF_COMPRESSED || shdr.sh_size > MAX_SHSTRTAB_BYTES)
		return;
	file->shstrndx = ndx;
}

static int open_elf(struct elf_handle *file)
{
	int err = check_counts(file);

	if (err)
		return err;
	if (elf_version(EV_CURRENT) == EV_NONE)
		return -ENOEXEC;
	if (file->image)
		file->elf = elf_memory((char *)file->image, file->size_bytes);
	else
		file->elf = elf_begin(file->fd, ELF_C_READ, NULL);
	if (!file->elf || elf_kind(file->elf) != ELF_K_ELF || !gelf_getehdr(file->elf, &file->ehdr))
		return -ENOEXEC;
	find_section_names(file);
	return 0;
}

static int open_regular_fd(struct elf_handle *file, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return -ENOEXEC;
	file->size_bytes = (size_t)st.st_size;
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return file->fd < 0 ? -errno : 0;
}

static struct elf_handle *finish_open(struct elf_handle *file, int err)
{
	if (!err)
		err = open_elf(file);
	if (!err)
		return file;
	elf_handle__free(file);
	errno = -err;
	return NULL;
}

struct elf_handle *elf_handle__open_fd(int fd)
{
	struct elf_handle *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->fd = -1;
	return finish_open(file, open_regular_fd(file, fd));
}

struct elf_handle *elf_handle__open_memory(const void *image, size_t size_bytes)
{
	struct elf_handle *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->fd = -1;
	file->image = image;
	file->size_bytes = size_bytes;
	return finish_open(file, image ? 0 : -ENOEXEC);
}

struct elf_handle *elf_handle__reopen(const struct elf_handle *file)
{
	if (file->image)
		return elf_handle__open_memory(file->image, file->size_bytes);
	return elf_handle__open_fd(file->fd);
}

void elf_handle__free(struct elf_handle *file)
{
	if (!file)
		return;
	if (file->elf)
		elf_end(file->elf);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

Elf *elf_handle__elf(const struct elf_handle *file)
{
	return file->elf;
}

size_t elf_handle__size_bytes(const struct elf_handle *file)
{
	return file->size_bytes;
}

bool elf_handle__is_loadable(const struct elf_handle *file)
{
	return file->ehdr.e_type == ET_EXEC || file->ehdr.e_type == ET_DYN;
}

unsigned int elf_handle__machine(const struct elf_handle *file)
{
	return file->ehdr.e_machine;
}

static int phdr_count(const struct elf_handle *file)
{
	size_t cnt;

	if (elf_getphdrnum(file->elf, &cnt))
		return 0;
	return cnt > ELF_MAX_PHDRS ? ELF_MAX_PHDRS : (int)cnt;
}

void elf_handle__layout(const struct elf_handle *file, struct elf_layout *layout)
{
	int cnt = phdr_count(file);
	struct elf_segment *seg;
	GElf_Phdr ph;

	layout->segment_cnt = 0;
	for (int i = 0; i < cnt && layout->segment_cnt < ELF_MAX_SEGMENTS; i++) {
		if (!gelf_getphdr(file->elf, i, &ph) || ph.p_type != PT_LOAD || !ph.p_filesz)
			continue;
		if (ph.p_offset + ph.p_filesz < ph.p_offset ||
		    ph.p_vaddr + ph.p_filesz < ph.p_vaddr)
			continue;
		seg = &layout->segments[layout->segment_cnt++];
		seg->offset = ph.p_offset;
		seg->vaddr = ph.p_vaddr;
		seg->size_bytes = ph.p_filesz;
		seg->executable = ph.p_flags & PF_X;
	}
}

static void to_hex(const unsigned char *bytes, size_t len, char hex[BUILD_ID_MAX_HEX])
{
	static const char digits[] = "0123456789abcdef";

	if (len > (BUILD_ID_MAX_HEX - 1) / 2)
		len = 0;
	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[2 * len] = '\0';
}

static bool build_id_in_notes(Elf_Data *data, char hex[BUILD_ID_MAX_HEX])
{
	size_t offset = 0, next, name_at, desc_at;
	GElf_Nhdr note;

	while (data && (next = gelf_getnote(data, offset, &note, &name_at, &desc_at)) > 0) {
		const char *bytes = data->d_buf;

		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof("GNU") &&
		    !memcmp(bytes + name_at, "GNU", sizeof("GNU"))) {
			to_hex((const unsigned char *)bytes + desc_at, note.n_descsz, hex);
			return hex[0];
		}
		offset = next;
	}
	return false;
}

void elf_handle__build_id(const struct elf_handle *file, char hex[BUILD_ID_MAX_HEX])
{
	int cnt = phdr_count(file), tries = MAX_NOTES;
	Elf_Scn *scn = NULL;
	Elf_Data *data;
	GElf_Shdr shdr;
	GElf_Phdr ph;

	hex[0] = '\0';
	for (int i = 0; i < cnt && tries > 0; i++) {
		if (!gelf_getphdr(file->elf, i, &ph) || ph.p_type != PT_NOTE || !ph.p_filesz ||
		    ph.p_filesz > MAX_NOTE_BYTES)
			continue;
		tries--;
		data = elf_getdata_rawchunk(file->elf, (int64_t)ph.p_offset, ph.p_filesz,
					    ph.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
		if (build_id_in_notes(data, hex))
			return;
	}
	while (tries > 0 && (scn = elf_nextscn(file->elf, scn))) {
		if (!gelf_getshdr(scn, &shdr) || shdr.sh_type != SHT_NOTE)
			continue;
		tries--;
		if (build_id_in_notes(elf_handle__data(file, scn, MAX_NOTE_BYTES), hex))
			return;
	}
}

/* A section that begins with a file name; what follows the name is returned as rest. */
static int read_link(const struct elf_handle *file, const char *section, char *name, size_t size,
		     const unsigned char **rest, size_t *rest_len)
{
	GElf_Shdr shdr;
	Elf_Scn *scn = elf_handle__section(file, section, &shdr);
	Elf_Data *data = scn ? elf_handle__data(file, scn, MAX_LINK_BYTES) : NULL;
	size_t len;

	if (!data)
		return -ENOENT;
	len = strnlen(data->d_buf, data->d_size);
	if (!len || len == data->d_size || len >= size)
		return -ENOENT;
	memcpy(name, data->d_buf, len + 1);
	*rest = (const unsigned char *)data->d_buf + len + 1;
	*rest_len = data->d_size - len - 1;
	return 0;
}

int elf_handle__debuglink(const struct elf_handle *file, char *name, size_t size, uint32_t *crc)
{
	const unsigned char *rest;
	size_t rest_len, pad;
	int err = read_link(file, ".gnu_debuglink", name, size, &rest, &rest_len);

	if (err)
		return err;
	pad = -(strlen(name) + 1) & 3;
	if (rest_len < pad + sizeof(*crc))
		return -ENOENT;
	*crc = (uint32_t)get_uint(rest + pad, 4, file->ehdr.e_ident[EI_DATA] == ELFDATA2MSB);
	return 0;
}

int elf_handle__altlink(const struct elf_handle *file, char *name, size_t size,
			char hex[BUILD_ID_MAX_HEX])
{
	const unsigned char *rest;
	size_t rest_len;
	int err = read_link(file, ".gnu_debugaltlink", name, size, &rest, &rest_len);

	if (err)
		return err;
	to_hex(rest, rest_len, hex);
	return hex[0] ? 0 : -ENOENT;
}

const char *elf_handle__section_name(const struct elf_handle *file, const GElf_Shdr *shdr)
{
	const char *name = NULL;

	if (file->shstrndx)
		name = elf_strptr(file->elf, file->shstrndx, shdr->sh_name);
	return name ? name : "";
}

Elf_Scn *elf_handle__section(const struct elf_handle *file, const char *name, GElf_Shdr *shdr)
{
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(file->elf, scn)))
		if (gelf_getshdr(scn, shdr) && !strcmp(elf_handle__section_name(file, shdr), name))
			return scn;
	return NULL;
}

static bool is_inside(const struct elf_handle *file, const GElf_Shdr *shdr)
{
	return shdr->sh_type != SHT_NOBITS && shdr->sh_offset <= file->size_bytes &&
	       shdr->sh_size <= file->size_bytes - shdr->sh_offset;
}

Elf_Data *elf_handle__data(const struct elf_handle *file, Elf_Scn *scn, size_t max_bytes)
{
	GElf_Shdr shdr;
	Elf_Data *data;

	if (!gelf_getshdr(scn, &shdr) || !is_inside(file, &shdr))
		return NULL;
	if (shdr.sh_flags & SHF_COMPRESSED || !shdr.sh_size || shdr.sh_size > max_bytes)
		return NULL;
	data = elf_getdata(scn, NULL);
	return data && data->d_buf && data->d_size ? data : NULL;
}

static bool is_debug_name(const char *name)
{
	return !strncmp(name, ".debug_", 7) || !strncmp(name, ".zdebug_", 8) ||
	       !strncmp(name, ".gnu.debuglto_", 14) || !strcmp(name, ".gnu_debugaltlink");
}

/* Size after decompression, as the section itself claims; 0 if it is not compressed. */
static uint64_t decompressed_bytes(const struct elf_handle *file, Elf_Scn *scn,
				   const GElf_Shdr *shdr, const char *name)
{
	unsigned char head[12]; /* .zdebug_: "ZLIB" and a big-endian size */
	GElf_Chdr chdr;

	if (shdr->sh_flags & SHF_COMPRESSED)
		return gelf_getchdr(scn, &chdr) ? chdr.ch_size : 0;
	if (!strncmp(name, ".zdebug_", 8) && read_exact(file, shdr->sh_offset, head, sizeof(head)))
		return get_uint(head + 4, 8, true);
	return 0;
}

uint64_t elf_handle__debug_bytes(const struct elf_handle *file, uint64_t max_bytes)
{
	uint64_t total = 0, more;
	Elf_Scn *scn = NULL;
	GElf_Shdr shdr;
	const char *name;

	while ((scn = elf_nextscn(file->elf, scn))) {
		if (!gelf_getshdr(scn, &shdr) || !is_inside(file, &shdr))
			continue;
		name = elf_handle__section_name(file, &shdr);
		if (!is_debug_name(name))
			continue;
		/* In this order: gelf_getchdr() reads the whole raw section. */
		if (shdr.sh_size > max_bytes - total)
			return UINT64_MAX;
		total += shdr.sh_size;
		more = decompressed_bytes(file, scn, &shdr, name);
		if (more > max_bytes - total)
			return UINT64_MAX;
		total += more;
	}
	return total;
}

bool elf_handle__has_dwarf(const struct elf_handle *file)
{
	GElf_Shdr shdr;
	Elf_Scn *scn = elf_handle__section(file, ".debug_info", &shdr);

	if (!scn)
		scn = elf_handle__section(file, ".zdebug_info", &shdr);
	return scn && shdr.sh_size && is_inside(file, &shdr);
}

bool elf_layout__to_vaddr(const struct elf_layout *layout, uint64_t file_offset, uint64_t *vaddr)
{
	bool found = false;

	for (unsigned int i = 0; i < layout->segment_cnt; i++) {
		const struct elf_segment *seg = &layout->segments[i];

		if (file_offset - seg->offset >= seg->size_bytes)
			continue;
		/* Segments may share a page of the file; code is what is asked for. */
		if (!found || seg->executable)
			*vaddr = seg->vaddr + (file_offset - seg->offset);
		found = true;
		if (seg->executable)
			break;
	}
	return found;
}

uint64_t elf_layout__code_end(const struct elf_layout *layout, uint64_t vaddr)
{
	for (unsigned int i = 0; i < layout->segment_cnt; i++) {
		const struct elf_segment *seg = &layout->segments[i];

		if (seg->executable && vaddr - seg->vaddr < seg->size_bytes)
			return seg->vaddr + seg->size_bytes;
	}
	return 0;
}
