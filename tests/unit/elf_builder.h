/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_ELF_BUILDER_H
#define UNFREED_TESTS_ELF_BUILDER_H

/*
 * Small ELF files for tests: functions with given code and names, found through
 * whichever tables the test asks for. One PT_LOAD, read and execute, holds all of
 * the file; a second one, without execute, is at BUILD_DATA_VADDR. Files are
 * memfds: no name, gone with the test.
 */
#include <check.h>
#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUILD_VADDR      0x400000
#define BUILD_DATA_VADDR 0x800000
#define BUILD_MAX_BYTES  (64 << 10)
#define BUILD_TEXT_STEP  64 /* functions begin at multiples of this in the text */

struct built_func {
	const char *name;
	const char *code; /* code_len bytes; NULL: one ret */
	size_t code_len;
	unsigned char type;  /* STT_; 0 means STT_FUNC */
	unsigned char bind;  /* STB_; 0 means STB_GLOBAL */
	bool is_local;       /* STB_LOCAL, which is 0 */
	bool is_undefined;
	bool is_unsized;     /* st_size 0 */
	uint64_t vaddr;      /* 0: where its code is; else an alias, no code placed */
	uint64_t size_bytes; /* 0: code_len */
};

enum built_tables {
	BUILT_SYMTAB = 1 << 0,   /* .symtab section */
	BUILT_DYNSYM = 1 << 1,   /* .dynsym section */
	BUILT_HASH = 1 << 2,     /* PT_DYNAMIC with DT_HASH */
	BUILT_GNU_HASH = 1 << 3, /* PT_DYNAMIC with DT_GNU_HASH */
	BUILT_EXTENDED = 1 << 4, /* header counts in section 0 */
};

struct elf_spec {
	unsigned int tables;
	const struct built_func *funcs;
	size_t func_cnt;
	const char *interp;
	const char *needed[3];
	uint64_t flags_1;
	uint16_t type;    /* 0 means ET_DYN */
	uint16_t machine; /* 0 means EM_X86_64 */
};

/* The file under construction, and where its parts ended up, for tests that damage them. */
struct built_elf {
	uint8_t bytes[BUILD_MAX_BYTES];
	size_t size;
	size_t text, strings, symbols, symbol_cnt, sections, dynamic;
};

static inline size_t build__put(struct built_elf *e, const void *src, size_t len)
{
	size_t at = (e->size + 7) & ~(size_t)7;

	ck_assert_uint_le(at + len, sizeof(e->bytes));
	memcpy(e->bytes + at, src, len);
	e->size = at + len;
	return at;
}

static inline uint64_t build__func_vaddr(const struct built_elf *e, size_t i)
{
	return BUILD_VADDR + e->text + i * BUILD_TEXT_STEP;
}

static inline void build__text(struct built_elf *e, const struct elf_spec *spec)
{
	static uint8_t text[BUILD_MAX_BYTES / 2];

	memset(text, 0xcc, sizeof(text));
	ck_assert_uint_le(spec->func_cnt * BUILD_TEXT_STEP, sizeof(text));
	for (size_t i = 0; i < spec->func_cnt; i++) {
		const struct built_func *f = &spec->funcs[i];

		ck_assert_uint_le(f->code_len, BUILD_TEXT_STEP);
		if (f->code)
			memcpy(text + i * BUILD_TEXT_STEP, f->code, f->code_len);
		else
			text[i * BUILD_TEXT_STEP] = 0xc3;
	}
	e->text = build__put(e, text, spec->func_cnt * BUILD_TEXT_STEP);
}

static inline void build__symbols(struct built_elf *e, const struct elf_spec *spec)
{
	static char strings[BUILD_MAX_BYTES / 4];
	static Elf64_Sym syms[256];
	size_t used = 1;

	memset(strings, 0, sizeof(strings));
	memset(syms, 0, sizeof(syms));
	ck_assert_uint_lt(spec->func_cnt, 256);
	for (size_t i = 0; i < spec->func_cnt; i++) {
		const struct built_func *f = &spec->funcs[i];
		Elf64_Sym *sym = &syms[i + 1];

		sym->st_name = (Elf64_Word)used;
		strcpy(strings + used, f->name);
		used += strlen(f->name) + 1;
		sym->st_info = ELF64_ST_INFO(f->is_local ? STB_LOCAL :
					     f->bind ? f->bind : STB_GLOBAL,
					     f->type ? f->type : STT_FUNC);
		sym->st_shndx = f->is_undefined ? SHN_UNDEF : 1;
		sym->st_value = f->vaddr ? f->vaddr : build__func_vaddr(e, i);
		sym->st_size = f->is_unsized ? 0 : f->size_bytes ? f->size_bytes :
			       f->code ? f->code_len : 1;
	}
	for (int i = 0; i < 3 && spec->needed[i]; i++) {
		strcpy(strings + used, spec->needed[i]);
		used += strlen(spec->needed[i]) + 1;
	}
	e->symbol_cnt = spec->func_cnt + 1;
	e->strings = build__put(e, strings, used);
	e->symbols = build__put(e, syms, e->symbol_cnt * sizeof(*syms));
}

static inline Elf64_Dyn build__dyn(int64_t tag, uint64_t value)
{
	return (Elf64_Dyn){ .d_tag = tag, .d_un.d_val = value };
}

static inline size_t build__dynamic(struct built_elf *e, const struct elf_spec *spec,
				    size_t strings_len, Elf64_Dyn *dyn)
{
	uint32_t hash[2 + 1 + 256] = { 1, (uint32_t)e->symbol_cnt };
	/* one bucket, everything but symbol 0 hashed, one bloom word; the last chain word ends */
	uint32_t gnu[4 + 2 + 1 + 256] = { 1, 1, 1, 0, 0, 0, e->symbol_cnt > 1 };
	size_t n = 0, names = strings_len;

	gnu[7 + e->symbol_cnt - 2] |= 1;
	for (int i = 2; i >= 0; i--) {
		if (!spec->needed[i])
			continue;
		names -= strlen(spec->needed[i]) + 1;
		dyn[n++] = build__dyn(DT_NEEDED, names);
	}
	dyn[n++] = build__dyn(DT_STRTAB, BUILD_VADDR + e->strings);
	dyn[n++] = build__dyn(DT_STRSZ, strings_len);
	dyn[n++] = build__dyn(DT_SYMTAB, BUILD_VADDR + e->symbols);
	if (spec->tables & BUILT_HASH)
		dyn[n++] = build__dyn(DT_HASH, BUILD_VADDR +
				      build__put(e, hash, 4 * (3 + e->symbol_cnt)));
	if (spec->tables & BUILT_GNU_HASH)
		dyn[n++] = build__dyn(DT_GNU_HASH, BUILD_VADDR +
				      build__put(e, gnu, 4 * (7 + e->symbol_cnt - 1)));
	if (spec->flags_1)
		dyn[n++] = build__dyn(DT_FLAGS_1, spec->flags_1);
	dyn[n++] = build__dyn(DT_NULL, 0);
	return n;
}

static inline void build__sections(struct built_elf *e, const struct elf_spec *spec,
				   Elf64_Ehdr *eh, uint32_t phdr_cnt, size_t strings_len)
{
	Elf64_Shdr sh[5] = { 0 };
	Elf64_Shdr table = { .sh_link = 2, .sh_entsize = sizeof(Elf64_Sym),
			     .sh_offset = e->symbols,
			     .sh_size = e->symbol_cnt * sizeof(Elf64_Sym) };

	if (!(spec->tables & (BUILT_SYMTAB | BUILT_DYNSYM)))
		return;
	sh[2] = (Elf64_Shdr){ .sh_type = SHT_STRTAB, .sh_offset = e->strings,
			      .sh_size = strings_len };
	sh[3] = sh[4] = table;
	sh[3].sh_type = spec->tables & BUILT_DYNSYM ? SHT_DYNSYM : SHT_NULL;
	sh[4].sh_type = spec->tables & BUILT_SYMTAB ? SHT_SYMTAB : SHT_NULL;
	if (spec->tables & BUILT_EXTENDED) {
		sh[0].sh_size = 5;
		sh[0].sh_info = phdr_cnt;
		eh->e_phnum = PN_XNUM;
	}
	e->sections = build__put(e, sh, sizeof(sh));
	eh->e_shoff = e->sections;
	eh->e_shentsize = sizeof(Elf64_Shdr);
	eh->e_shnum = spec->tables & BUILT_EXTENDED ? 0 : 5;
}

static inline void build_elf(struct built_elf *e, const struct elf_spec *spec)
{
	static const uint32_t note[] = { 4, 4, NT_GNU_BUILD_ID, 0x00554e47, 0xefbeadde };
	Elf64_Ehdr eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT } };
	Elf64_Phdr ph[5] = { 0 };
	Elf64_Dyn dyn[16];
	size_t n = 0, dyn_cnt, strings_len;

	memset(e, 0, sizeof(*e));
	build__put(e, &eh, sizeof(eh));
	eh.e_phoff = build__put(e, ph, sizeof(ph));
	ph[n++] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = BUILD_VADDR };
	ph[n++] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_filesz = 64,
				.p_memsz = 4096, .p_vaddr = BUILD_DATA_VADDR };
	ph[n++] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_filesz = sizeof(note), .p_align = 4,
				.p_offset = build__put(e, note, sizeof(note)) };
	if (spec->interp)
		ph[n++] = (Elf64_Phdr){ .p_type = PT_INTERP, .p_filesz = strlen(spec->interp) + 1,
					.p_offset = build__put(e, spec->interp,
							       strlen(spec->interp) + 1) };
	build__text(e, spec);
	build__symbols(e, spec);
	strings_len = 1;
	for (size_t i = 0; i < spec->func_cnt; i++)
		strings_len += strlen(spec->funcs[i].name) + 1;
	for (int i = 0; i < 3 && spec->needed[i]; i++)
		strings_len += strlen(spec->needed[i]) + 1;
	if (spec->tables & (BUILT_HASH | BUILT_GNU_HASH)) {
		dyn_cnt = build__dynamic(e, spec, strings_len, dyn);
		e->dynamic = build__put(e, dyn, dyn_cnt * sizeof(*dyn));
		ph[n++] = (Elf64_Phdr){ .p_type = PT_DYNAMIC, .p_offset = e->dynamic,
					.p_filesz = dyn_cnt * sizeof(*dyn) };
	}
	eh.e_type = spec->type ? spec->type : ET_DYN;
	eh.e_machine = spec->machine ? spec->machine : EM_X86_64;
	eh.e_phentsize = sizeof(Elf64_Phdr);
	eh.e_phnum = (Elf64_Half)n;
	build__sections(e, spec, &eh, (uint32_t)n, strings_len);
	ph[0].p_filesz = ph[0].p_memsz = e->size;
	memcpy(e->bytes, &eh, sizeof(eh));
	memcpy(e->bytes + eh.e_phoff, ph, sizeof(ph));
}

static inline int memfd_with(const void *bytes, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
	return fd;
}

#endif
