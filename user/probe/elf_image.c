/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A reader of ELF files that anybody may have written, and may be writing now.
 *
 * No offset or size of the file is used before it has been compared with the
 * file's size, and what lies outside is treated as absent, so that a damaged
 * file has fewer symbols rather than wrong ones. Tables are walked through a
 * small window; only string tables are held whole, since the names handed out
 * must live as long as the image.
 *
 * Function symbols come from section headers where there are any, and else from
 * PT_DYNAMIC, which is all that "sstrip" and some packers leave.
 *
 * Bounds: PHDRS_MAX program headers (-ENOEXEC), a symbol or string table
 * ELF_TABLE_MAX_BYTES (-EFBIG). ELF_LOADS_MAX segments, SECTIONS_MAX sections,
 * NOTES_MAX pieces of notes, NOTE_MAX_BYTES of each: what is past them is not looked
 * at; no file of a compiler and linker comes near.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe/elf_dynamic.h"
#include "probe/elf_file.h"
#include "probe/elf_image.h"

#define PHDRS_MAX      (1u << 17)
#define SECTIONS_MAX   (1u << 20)
#define NOTES_MAX      16
#define NOTE_MAX_BYTES (64u << 10)
#define BUILD_ID_MAX   64
#define SECTION_NAME_MAX 64 /* of those that we look for, with the NUL */

struct string_table {
	struct extent file;
	char *bytes; /* NULL until needed; size_bytes + 1, the last one NUL */
};

struct symbol_table {
	struct extent file;
	struct string_table strings;
	bool is_dynamic;
};

enum { TABLE_DYNSYM, TABLE_SYMTAB, TABLE_CNT };
enum { RELOCATIONS_PLT, RELOCATIONS_OTHER, RELOCATIONS_CNT };

struct elf_image {
	struct elf_file file;
	enum elf_arch arch;
	bool is_executable;
	/* Allocated: their strings are filled in later, through a const image. */
	struct symbol_table *tables;
	struct extent sections;      /* their headers */
	struct extent section_names;
	struct extent relocations[RELOCATIONS_CNT]; /* the loader's */
	uint32_t note_cnt; /* segments and sections of notes looked into */
	char build_id[2 * BUILD_ID_MAX + 1];
	char *interpreter;
	char **needed;
	size_t needed_cnt;
};

/* -- header and segments -- */

static int check_header(const Elf64_Ehdr *eh)
{
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_ident[EI_VERSION] != EV_CURRENT)
		return -ENOEXEC;
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return -ENOEXEC;
	if (eh->e_machine != EM_X86_64 && eh->e_machine != EM_AARCH64)
		return -ENOEXEC;
	return 0;
}

/*
 * Where the program and section headers are. What does not fit into the header's
 * 16 bits stands in section 0. Section headers outside of the file are none;
 * without program headers there is nothing to load.
 */
static int find_headers(const struct elf_image *img, const Elf64_Ehdr *eh, struct extent *phdrs,
			struct extent *sections)
{
	uint64_t phdr_cnt = eh->e_phnum, section_cnt = eh->e_shnum;
	Elf64_Shdr first = { 0 };

	if (!eh->e_shoff || eh->e_shentsize != sizeof(first) ||
	    elf_file__read_exactly(&img->file, eh->e_shoff, &first, sizeof(first)))
		section_cnt = 0;
	else if (!section_cnt)
		section_cnt = first.sh_size;
	if (eh->e_phnum == PN_XNUM && first.sh_info)
		phdr_cnt = first.sh_info;
	if (section_cnt > SECTIONS_MAX)
		section_cnt = SECTIONS_MAX;
	*sections = (struct extent){ eh->e_shoff, section_cnt * sizeof(Elf64_Shdr) };
	if (!elf_file__has(&img->file, *sections))
		sections->size_bytes = 0;
	*phdrs = (struct extent){ eh->e_phoff, phdr_cnt * sizeof(Elf64_Phdr) };
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || !phdr_cnt || phdr_cnt > PHDRS_MAX ||
	    !elf_file__has(&img->file, *phdrs))
		return -ENOEXEC;
	return 0;
}

static void add_load(struct elf_image *img, const Elf64_Phdr *ph)
{
	struct segment *seg;
	uint64_t left;

	if (img->file.load_cnt == ELF_LOADS_MAX || ph->p_offset >= img->file.size_bytes)
		return;
	seg = &img->file.loads[img->file.load_cnt];
	left = img->file.size_bytes - ph->p_offset;
	seg->vaddr = ph->p_vaddr;
	seg->file.offset = ph->p_offset;
	seg->file.size_bytes = ph->p_filesz < left ? ph->p_filesz : left;
	seg->is_exec = ph->p_flags & PF_X;
	if (seg->file.size_bytes)
		img->file.load_cnt++;
}

static void set_build_id(struct elf_image *img, const uint8_t *id, size_t size_bytes)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < size_bytes; i++) {
		img->build_id[2 * i] = hex[id[i] >> 4];
		img->build_id[2 * i + 1] = hex[id[i] & 15];
	}
	img->build_id[2 * size_bytes] = '\0';
}

/* Looks through the notes of a PT_NOTE or SHT_NOTE for the build-id. */
static int read_notes(struct elf_image *img, struct extent ext, uint64_t align)
{
	uint64_t size = ext.size_bytes < NOTE_MAX_BYTES ? ext.size_bytes : NOTE_MAX_BYTES;
	uint64_t pad = align == 8 ? 7 : 3;
	uint64_t pos = 0;
	struct window w;

	window__init(&w, &img->file);
	if (!elf_file__has(&img->file, ext) || img->note_cnt++ >= NOTES_MAX)
		return 0;
	while (size - pos >= sizeof(Elf64_Nhdr) && !img->build_id[0]) {
		uint8_t name[4], id[BUILD_ID_MAX];
		Elf64_Nhdr nh;
		uint64_t desc;
		int err = window__copy(&w, ext.offset + pos, &nh, sizeof(nh));

		if (err)
			return err;
		pos += sizeof(nh);
		desc = (pos + nh.n_namesz + pad) & ~pad;
		if (desc > size || nh.n_descsz > size - desc)
			return 0;
		if (nh.n_type == NT_GNU_BUILD_ID && nh.n_namesz == sizeof(name) &&
		    nh.n_descsz && nh.n_descsz <= sizeof(id)) {
			err = window__copy(&w, ext.offset + pos, name, sizeof(name));
			if (!err)
				err = window__copy(&w, ext.offset + desc, id, nh.n_descsz);
			if (err)
				return err;
			if (!memcmp(name, ELF_NOTE_GNU, sizeof(name)))
				set_build_id(img, id, nh.n_descsz);
		}
		pos = (desc + nh.n_descsz + pad) & ~pad;
		if (pos > size)
			return 0;
	}
	return 0;
}

static int read_interpreter(struct elf_image *img, const Elf64_Phdr *ph)
{
	struct extent ext = { ph->p_offset, ph->p_filesz };

	if (img->interpreter || !elf_file__has(&img->file, ext))
		return 0;
	img->interpreter = elf_file__read_string(&img->file, ext);
	return img->interpreter ? 0 : -errno;
}

/* Fills loads, build-id, interpreter; tells where PT_DYNAMIC is. */
static int read_segments(struct elf_image *img, struct extent headers, struct extent *dynamic)
{
	struct window w;

	window__init(&w, &img->file);
	for (uint64_t pos = 0; pos < headers.size_bytes; pos += sizeof(Elf64_Phdr)) {
		Elf64_Phdr ph;
		int err = window__copy(&w, headers.offset + pos, &ph, sizeof(ph));

		if (!err && ph.p_type == PT_LOAD)
			add_load(img, &ph);
		else if (!err && ph.p_type == PT_NOTE)
			err = read_notes(img, (struct extent){ ph.p_offset, ph.p_filesz },
					 ph.p_align);
		else if (!err && ph.p_type == PT_INTERP)
			err = read_interpreter(img, &ph);
		else if (!err && ph.p_type == PT_DYNAMIC)
			*dynamic = (struct extent){ ph.p_offset, ph.p_filesz };
		if (err)
			return err;
	}
	if (!elf_file__has(&img->file, *dynamic))
		*dynamic = (struct extent){ 0 };
	return 0;
}

/* -- the dynamic section -- */

static int read_needed(struct elf_image *img, const struct elf_dynamic *dyn)
{
	struct extent strings = elf_file__extent_at(&img->file, dyn->strtab, dyn->strsz);

	if (!dyn->needed_cnt)
		return 0;
	img->needed = calloc(dyn->needed_cnt, sizeof(*img->needed));
	if (!img->needed)
		return -ENOMEM;
	for (size_t i = 0; i < dyn->needed_cnt; i++) {
		struct extent name = strings;

		if (dyn->needed[i] >= strings.size_bytes)
			continue;
		name.offset += dyn->needed[i];
		name.size_bytes -= dyn->needed[i];
		img->needed[img->needed_cnt] = elf_file__read_string(&img->file, name);
		if (!img->needed[img->needed_cnt])
			return -errno;
		img->needed_cnt++;
	}
	return 0;
}

/* Everything that hangs off PT_DYNAMIC. Its symbols only if no section told of them. */
static int use_dynamic(struct elf_image *img, struct extent ext)
{
	struct symbol_table *table = &img->tables[TABLE_DYNSYM];
	struct elf_dynamic *dyn = malloc(sizeof(*dyn));
	int err;

	if (!dyn)
		return -ENOMEM;
	err = elf_dynamic__read(&img->file, ext, dyn);
	if (!err)
		err = read_needed(img, dyn);
	if (!err && !table->file.size_bytes)
		err = elf_dynamic__find_symbols(&img->file, dyn, &table->file,
						&table->strings.file);
	img->relocations[RELOCATIONS_PLT] =
		elf_file__extent_at(&img->file, dyn->jmprel, dyn->pltrelsz);
	img->relocations[RELOCATIONS_OTHER] =
		elf_file__extent_at(&img->file, dyn->rela, dyn->relasz);
	if (!err && (dyn->flags_1 & DF_1_PIE))
		img->is_executable = true;
	free(dyn);
	return err;
}

/* -- sections -- */

/* Takes a symbol table's section if it and its strings lie within the file. */
static int use_section(struct elf_image *img, struct extent headers, const Elf64_Shdr *sh,
		       struct symbol_table *table)
{
	struct extent symbols = { sh->sh_offset, sh->sh_size }, names;
	uint64_t link = sh->sh_link * sizeof(Elf64_Shdr);
	Elf64_Shdr strings;
	int err;

	if (table->file.size_bytes || sh->sh_entsize != sizeof(Elf64_Sym) ||
	    link >= headers.size_bytes || !elf_file__has(&img->file, symbols))
		return 0;
	err = elf_file__read_exactly(&img->file, headers.offset + link, &strings, sizeof(strings));
	if (err)
		return err;
	names = (struct extent){ strings.sh_offset, strings.sh_size };
	if (strings.sh_type != SHT_STRTAB || !elf_file__has(&img->file, names))
		return 0;
	table->file = symbols;
	table->strings.file = names;
	return 0;
}

/* Which section has the names of all stands in the header, or where that has no room in section 0. */
static int find_section_names(struct elf_image *img, const Elf64_Ehdr *eh)
{
	uint64_t index = eh->e_shstrndx;
	Elf64_Shdr sh;
	int err;

	if (!img->sections.size_bytes)
		return 0;
	if (index == SHN_XINDEX) {
		err = elf_file__read_exactly(&img->file, img->sections.offset, &sh, sizeof(sh));
		if (err)
			return err;
		index = sh.sh_link;
	}
	if (index >= img->sections.size_bytes / sizeof(sh))
		return 0;
	err = elf_file__read_exactly(&img->file, img->sections.offset + index * sizeof(sh), &sh,
				     sizeof(sh));
	if (!err && sh.sh_type == SHT_STRTAB)
		img->section_names = (struct extent){ sh.sh_offset, sh.sh_size };
	if (!elf_file__has(&img->file, img->section_names))
		img->section_names.size_bytes = 0;
	return err;
}

static int read_sections(struct elf_image *img, struct extent headers)
{
	struct window w;

	window__init(&w, &img->file);
	for (uint64_t pos = 0; pos < headers.size_bytes; pos += sizeof(Elf64_Shdr)) {
		Elf64_Shdr sh;
		int err = window__copy(&w, headers.offset + pos, &sh, sizeof(sh));

		if (!err && sh.sh_type == SHT_DYNSYM)
			err = use_section(img, headers, &sh, &img->tables[TABLE_DYNSYM]);
		else if (!err && sh.sh_type == SHT_SYMTAB)
			err = use_section(img, headers, &sh, &img->tables[TABLE_SYMTAB]);
		else if (!err && sh.sh_type == SHT_NOTE) /* Go's is in no PT_NOTE */
			err = read_notes(img, (struct extent){ sh.sh_offset, sh.sh_size },
					 sh.sh_addralign);
		if (err)
			return err;
	}
	return 0;
}

/* -- the object -- */

static int elf_image__read(struct elf_image *img)
{
	struct extent phdrs, sections, dynamic = { 0 };
	Elf64_Ehdr eh;
	int err = elf_file__read_exactly(&img->file, 0, &eh, sizeof(eh));

	if (err)
		return err == -EIO ? -ENOEXEC : err;
	err = check_header(&eh);
	if (!err)
		err = find_headers(img, &eh, &phdrs, &sections);
	if (err)
		return err;
	img->arch = eh.e_machine == EM_X86_64 ? ELF_ARCH_X86_64 : ELF_ARCH_AARCH64;
	img->is_executable = eh.e_type == ET_EXEC;
	err = read_segments(img, phdrs, &dynamic);
	img->sections = sections;
	if (!err)
		err = find_section_names(img, &eh);
	if (!err)
		err = read_sections(img, sections);
	if (!err)
		err = use_dynamic(img, dynamic);
	return err;
}

struct elf_image *elf_image__open_fd(int fd)
{
	struct elf_image *img = calloc(1, sizeof(*img));
	struct stat st;
	int err = 0;

	if (!img)
		return NULL;
	img->file.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	img->tables = calloc(TABLE_CNT, sizeof(*img->tables));
	if (img->file.fd < 0 || fstat(img->file.fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -ENOEXEC;
	else if (!img->tables)
		err = -ENOMEM;
	if (!err) {
		img->tables[TABLE_DYNSYM].is_dynamic = true;
		img->file.size_bytes = (uint64_t)st.st_size;
		err = elf_image__read(img);
	}
	if (err) {
		elf_image__free(img);
		errno = -err;
		return NULL;
	}
	return img;
}

void elf_image__free(struct elf_image *img)
{
	if (!img)
		return;
	for (int i = 0; img->tables && i < TABLE_CNT; i++)
		free(img->tables[i].strings.bytes);
	for (size_t i = 0; i < img->needed_cnt; i++)
		free(img->needed[i]);
	free(img->needed);
	free(img->interpreter);
	free(img->tables);
	if (img->file.fd >= 0)
		close(img->file.fd);
	free(img);
}

enum elf_arch elf_image__arch(const struct elf_image *img)
{
	return img->arch;
}

const char *elf_image__build_id(const struct elf_image *img)
{
	return img->build_id;
}

const char *elf_image__interpreter(const struct elf_image *img)
{
	return img->interpreter;
}

bool elf_image__is_executable(const struct elf_image *img)
{
	return img->is_executable;
}

const char *elf_image__needed(const struct elf_image *img, size_t i)
{
	return i < img->needed_cnt ? img->needed[i] : NULL;
}

long elf_image__read_code(const struct elf_image *img, uint64_t file_offset, void *buf,
			  size_t size_bytes)
{
	return elf_file__read(&img->file, file_offset, buf, size_bytes);
}

long elf_image__read_data(const struct elf_image *img, uint64_t vaddr, void *buf,
			  size_t size_bytes)
{
	struct extent ext = elf_file__extent_at(&img->file, vaddr, size_bytes);

	return elf_file__read(&img->file, ext.offset, buf, ext.size_bytes);
}

int elf_image__find_offset(const struct elf_image *img, uint64_t vaddr, uint64_t *file_offset)
{
	struct extent ext = elf_file__extent_at(&img->file, vaddr, 1);

	*file_offset = ext.offset;
	return ext.size_bytes ? 0 : -ENOENT;
}

int elf_image__fd(const struct elf_image *img)
{
	return img->file.fd;
}

/* Where the loader finds a function of .dynsym. */
static int find_dynamic(const struct elf_image *img, uint64_t symbol, uint64_t *function)
{
	const struct extent *table = &img->tables[TABLE_DYNSYM].file;
	Elf64_Sym sym;
	int err;

	if (symbol >= table->size_bytes / sizeof(sym))
		return -ENOENT;
	err = elf_file__read_exactly(&img->file, table->offset + symbol * sizeof(sym), &sym,
				     sizeof(sym));
	if (err)
		return err;
	if (sym.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(sym.st_info) == STT_GNU_IFUNC)
		return -ENXIO;
	*function = sym.st_value;
	return 0;
}

static int resolve(const struct elf_image *img, const Elf64_Rela *rela, uint64_t *function)
{
	switch (ELF64_R_TYPE(rela->r_info)) {
	case R_X86_64_JUMP_SLOT:
	case R_X86_64_GLOB_DAT:
		return find_dynamic(img, ELF64_R_SYM(rela->r_info), function);
	case R_X86_64_RELATIVE:
		*function = (uint64_t)rela->r_addend;
		return 0;
	default:
		return -ENXIO;
	}
}

int elf_image__find_slot(const struct elf_image *img, uint64_t vaddr, uint64_t *function)
{
	struct window w;

	if (img->arch != ELF_ARCH_X86_64)
		return -ENOENT;
	window__init(&w, &img->file);
	for (int i = 0; i < RELOCATIONS_CNT; i++) {
		uint64_t cnt = img->relocations[i].size_bytes / sizeof(Elf64_Rela);

		for (uint64_t j = 0; j < cnt; j++) {
			Elf64_Rela rela;
			int err = window__copy(&w, img->relocations[i].offset + j * sizeof(rela),
					       &rela, sizeof(rela));

			if (err)
				return err;
			if (rela.r_offset == vaddr)
				return resolve(img, &rela, function);
		}
	}
	return -ENOENT;
}

/* Does the section's name begin at that offset into the names? 1, 0 or -errno. */
static int has_name(const struct elf_image *img, uint64_t offset, const char *name)
{
	char found[SECTION_NAME_MAX];
	size_t size = strlen(name) + 1;
	struct extent ext = { img->section_names.offset + offset, size };
	int err;

	if (size > sizeof(found) || offset >= img->section_names.size_bytes ||
	    size > img->section_names.size_bytes - offset)
		return 0;
	err = elf_file__read_exactly(&img->file, ext.offset, found, size);
	return err ? err : !memcmp(found, name, size);
}

int elf_image__find_section(const struct elf_image *img, const char *name,
			    struct elf_section *out)
{
	struct window w;

	window__init(&w, &img->file);
	for (uint64_t pos = 0; pos < img->sections.size_bytes; pos += sizeof(Elf64_Shdr)) {
		Elf64_Shdr sh;
		int is_it = window__copy(&w, img->sections.offset + pos, &sh, sizeof(sh));

		if (!is_it)
			is_it = has_name(img, sh.sh_name, name);
		if (is_it < 0)
			return is_it;
		if (!is_it)
			continue;
		*out = (struct elf_section){ sh.sh_addr, sh.sh_offset, sh.sh_size };
		return 0;
	}
	return -ENOENT;
}

/* -- function symbols -- */

/*
 * Loads a table's strings. Names end at the '@' of a version ("free@@GLIBC_2.2.5",
 * in .symtab since binutils 2.35), which becomes their NUL: suffixes that share
 * the bytes end there too.
 */
static int load_strings(const struct elf_image *img, struct string_table *strings)
{
	uint64_t size = strings->file.size_bytes;
	char *bytes, *at;
	int err;

	if (strings->bytes)
		return 0;
	if (size > ELF_TABLE_MAX_BYTES)
		return -EFBIG;
	bytes = malloc(size + 1);
	if (!bytes)
		return -ENOMEM;
	err = elf_file__read_exactly(&img->file, strings->file.offset, bytes, size);
	if (err) {
		free(bytes);
		return err;
	}
	bytes[size] = '\0';
	for (at = bytes; (at = memchr(at, '@', (size_t)(bytes + size - at))); at++)
		*at = '\0';
	strings->bytes = bytes;
	return 0;
}

/* Whether sym is a defined function in an executable segment; fills out. */
static bool take_function(const struct elf_image *img, const struct symbol_table *table,
			  const Elf64_Sym *sym, struct elf_symbol *out)
{
	unsigned int type = ELF64_ST_TYPE(sym->st_info);
	const struct segment *seg;
	uint64_t left;

	if ((type != STT_FUNC && type != STT_GNU_IFUNC) || sym->st_shndx == SHN_UNDEF ||
	    sym->st_name >= table->strings.file.size_bytes)
		return false;
	seg = elf_file__find_segment(&img->file, sym->st_value);
	if (!seg || !seg->is_exec)
		return false;
	left = seg->file.size_bytes - (sym->st_value - seg->vaddr);
	*out = (struct elf_symbol){
		.name = table->strings.bytes + sym->st_name,
		.vaddr = sym->st_value,
		.file_offset = seg->file.offset + (sym->st_value - seg->vaddr),
		.size_bytes = sym->st_size < left ? sym->st_size : left,
		.is_dynamic = table->is_dynamic,
		.is_ifunc = type == STT_GNU_IFUNC,
		.is_local = ELF64_ST_BIND(sym->st_info) == STB_LOCAL,
	};
	return out->name[0];
}

/* The table's strings are loaded. What it returns but 0 ends the walk. */
typedef int (*symbol_fn)(const struct elf_image *img, const struct symbol_table *table,
			 const Elf64_Sym *sym, void *arg);

static int for_each_in_table(const struct elf_image *img, struct symbol_table *table, symbol_fn cb,
			     void *arg)
{
	uint64_t cnt = table->file.size_bytes / sizeof(Elf64_Sym);
	struct window w;
	int err;

	if (!cnt)
		return 0;
	if (table->file.size_bytes > ELF_TABLE_MAX_BYTES)
		return -EFBIG;
	err = load_strings(img, &table->strings);
	window__init(&w, &img->file);
	for (uint64_t i = 0; !err && i < cnt; i++) {
		Elf64_Sym sym;

		err = window__copy(&w, table->file.offset + i * sizeof(sym), &sym, sizeof(sym));
		if (!err)
			err = cb(img, table, &sym, arg);
	}
	return err;
}

struct function_walk {
	int (*cb)(const struct elf_symbol *sym, void *arg);
	void *arg;
};

static int tell_function(const struct elf_image *img, const struct symbol_table *table,
			 const Elf64_Sym *sym, void *arg)
{
	const struct function_walk *walk = arg;
	struct elf_symbol out;

	return take_function(img, table, sym, &out) ? walk->cb(&out, walk->arg) : 0;
}

int elf_image__for_each_function(const struct elf_image *img,
				 int (*cb)(const struct elf_symbol *sym, void *arg), void *arg)
{
	struct function_walk walk = { cb, arg };
	int err = 0;

	for (int i = 0; !err && i < TABLE_CNT; i++)
		err = for_each_in_table(img, &img->tables[i], tell_function, &walk);
	return err;
}

/* -- variables -- */

struct variable_search {
	const char *name;
	uint64_t vaddr;
};

/* 1 if it is this one. */
static int match_variable(const struct elf_image *img, const struct symbol_table *table,
			  const Elf64_Sym *sym, void *arg)
{
	struct variable_search *search = arg;

	(void)img;
	if (ELF64_ST_TYPE(sym->st_info) != STT_OBJECT || sym->st_shndx == SHN_UNDEF ||
	    sym->st_name >= table->strings.file.size_bytes ||
	    strcmp(table->strings.bytes + sym->st_name, search->name))
		return 0;
	search->vaddr = sym->st_value;
	return 1;
}

int elf_image__find_variable(const struct elf_image *img, const char *name, uint64_t *vaddr)
{
	struct variable_search search = { .name = name };

	for (int i = 0; i < TABLE_CNT; i++) {
		int found = for_each_in_table(img, &img->tables[i], match_variable, &search);

		if (found < 0)
			return found;
		if (found) {
			*vaddr = search.vaddr;
			return 0;
		}
	}
	return -ENOENT;
}
