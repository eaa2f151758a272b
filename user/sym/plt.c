/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A PLT stub loads an address from a slot of the GOT and jumps to it; a
 * relocation says which symbol's address the slot gets. So each stub is decoded
 * for its slot, instead of pairing the n-th stub with the n-th relocation: that
 * holds for GNU ld's .plt, .plt.got and .plt.sec and for lld's order alike.
 *
 *	x86-64:  [endbr64] [bnd] jmp *disp32(%rip)
 *	aarch64: [bti c] adrp x16, page; ldr x17, [x16, #offset]
 */
#include "sym/plt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sym/elf_handle.h"
#include "sym/symtab.h"

#define MAX_TABLE_BYTES ((size_t)64 << 20)
#define MAX_PLT_NAME	1024
#define STUB_BYTES	16

struct slot {
	uint64_t vaddr;
	const char *name; /* in the file's string table */
	size_t name_len;
};

struct slots {
	struct slot *slots;
	size_t cnt;
};

static int compare_slots(const void *a_ptr, const void *b_ptr)
{
	const struct slot *a = a_ptr, *b = b_ptr;

	return a->vaddr < b->vaddr ? -1 : a->vaddr > b->vaddr;
}

static bool slot_name(const Elf_Data *syms, const Elf_Data *strs, uint64_t index, struct slot *slot)
{
	GElf_Sym sym;
	size_t left;

	if (!index || index > INT32_MAX || !gelf_getsym((Elf_Data *)syms, (int)index, &sym) ||
	    !sym.st_name || sym.st_name >= strs->d_size)
		return false;
	left = strs->d_size - sym.st_name;
	slot->name = (const char *)strs->d_buf + sym.st_name;
	slot->name_len = strnlen(slot->name, left < MAX_PLT_NAME ? left : MAX_PLT_NAME);
	return slot->name_len > 0;
}

/* Slots that a SHT_RELA section fills with the address of a named symbol. */
static int add_relocations(struct slots *slots, const struct elf_handle *file, Elf_Scn *scn,
			   const GElf_Shdr *shdr)
{
	Elf *elf = elf_handle__elf(file);
	Elf_Scn *sym_scn = elf_getscn(elf, shdr->sh_link);
	Elf_Data *syms = sym_scn ? elf_handle__data(file, sym_scn, MAX_TABLE_BYTES) : NULL;
	Elf_Data *relas = elf_handle__data(file, scn, MAX_TABLE_BYTES);
	Elf_Scn *str_scn;
	Elf_Data *strs;
	GElf_Shdr sym_shdr;
	GElf_Rela rela;
	struct slot *grown;
	size_t cnt;

	if (!syms || !relas || !gelf_getshdr(sym_scn, &sym_shdr))
		return 0;
	str_scn = elf_getscn(elf, sym_shdr.sh_link);
	strs = str_scn ? elf_handle__data(file, str_scn, MAX_TABLE_BYTES) : NULL;
	cnt = relas->d_size / sizeof(Elf64_Rela);
	if (!strs || !cnt)
		return 0;
	grown = realloc(slots->slots, (slots->cnt + cnt) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	slots->slots = grown;
	for (size_t i = 0; i < cnt; i++) {
		struct slot *slot = &slots->slots[slots->cnt];

		if (!gelf_getrela(relas, (int)i, &rela) ||
		    !slot_name(syms, strs, GELF_R_SYM(rela.r_info), slot))
			continue;
		slot->vaddr = rela.r_offset;
		slots->cnt++;
	}
	return 0;
}

static int collect_slots(struct slots *slots, const struct elf_handle *file)
{
	static const char *const sections[] = {".rela.plt", ".rela.dyn"};
	GElf_Shdr shdr;
	Elf_Scn *scn;
	int err = 0;

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]) && !err; i++) {
		scn = elf_handle__section(file, sections[i], &shdr);
		if (scn && shdr.sh_type == SHT_RELA)
			err = add_relocations(slots, file, scn, &shdr);
	}
	if (slots->cnt)
		qsort(slots->slots, slots->cnt, sizeof(*slots->slots), compare_slots);
	return err;
}

static uint32_t word_at(const unsigned char *code)
{
	return (uint32_t)code[0] | (uint32_t)code[1] << 8 | (uint32_t)code[2] << 16 |
	       (uint32_t)code[3] << 24;
}

/* The GOT slot that a stub jumps through, 0 if it is none. */
static uint64_t x86_slot(const unsigned char *code, size_t len, uint64_t vaddr)
{
	size_t at = len >= 4 && word_at(code) == 0xfa1e0ff3 ? 4 : 0;

	if (at < len && code[at] == 0xf2)
		at++;
	if (at + 6 > len || code[at] != 0xff || code[at + 1] != 0x25)
		return 0;
	return vaddr + at + 6 + (uint64_t)(int64_t)(int32_t)word_at(code + at + 2);
}

static uint64_t arm_slot(const unsigned char *code, size_t len, uint64_t vaddr)
{
	uint32_t adrp, ldr;
	int64_t page;
	size_t at = len >= 4 && word_at(code) == 0xd503245f ? 4 : 0;

	if (at + 8 > len)
		return 0;
	adrp = word_at(code + at);
	ldr = word_at(code + at + 4);
	if ((adrp & 0x9f00001f) != 0x90000010 || (ldr & 0xffc003ff) != 0xf9400211)
		return 0;
	page = (int64_t)((uint64_t)((adrp >> 5 & 0x7ffff) << 2 | (adrp >> 29 & 3)) << 43) >> 43;
	return ((vaddr + at) & ~0xfffull) + (uint64_t)(page * 4096) + (ldr >> 10 & 0xfff) * 8;
}

static int add_stub(struct symtab *tab, const struct slots *slots, uint64_t slot_vaddr,
		    uint64_t vaddr, size_t stub_bytes)
{
	const struct slot key = {.vaddr = slot_vaddr};
	const struct slot *slot;
	char name[MAX_PLT_NAME + sizeof("@plt")];
	int len;

	if (!slot_vaddr || !slots->cnt)
		return 0;
	slot = bsearch(&key, slots->slots, slots->cnt, sizeof(key), compare_slots);
	if (!slot)
		return 0;
	len = snprintf(name, sizeof(name), "%.*s@plt", (int)slot->name_len, slot->name);
	return symtab__add(tab, name, (size_t)len, vaddr, stub_bytes, 0,
			   GELF_ST_INFO(STB_LOCAL, STT_FUNC));
}

static int add_stubs(struct symtab *tab, const struct slots *slots, const struct elf_handle *file,
		     Elf_Scn *scn, const GElf_Shdr *shdr)
{
	Elf_Data *data = elf_handle__data(file, scn, MAX_TABLE_BYTES);
	bool is_arm = elf_handle__machine(file) == EM_AARCH64;
	/* Eager binding without IBT packs .plt.got into 8 bytes each. aarch64's .plt has a
	 * header of 32 bytes, and stubs of 16, or 24 where BTI is on: step by instructions. */
	size_t step = is_arm ? 4 : shdr->sh_entsize == 8 ? 8 : STUB_BYTES;
	size_t stub_bytes = step == 8 ? 8 : STUB_BYTES;
	int err = 0;

	for (size_t at = 0; data && at < data->d_size && !err; at += step) {
		const unsigned char *code = (const unsigned char *)data->d_buf + at;
		uint64_t vaddr = shdr->sh_addr + at;
		size_t left = data->d_size - at;
		size_t len = left < stub_bytes ? left : stub_bytes;

		err = add_stub(tab, slots,
			       is_arm ? arm_slot(code, len, vaddr) : x86_slot(code, len, vaddr),
			       vaddr, stub_bytes);
	}
	return err;
}

int plt__add_symbols(struct symtab *tab, const struct elf_handle *file)
{
	static const char *const sections[] = {".plt", ".plt.got", ".plt.sec"};
	unsigned int machine = elf_handle__machine(file);
	struct slots slots = {0};
	GElf_Shdr shdr;
	Elf_Scn *scn;
	int err;

	if (machine != EM_X86_64 && machine != EM_AARCH64)
		return 0;
	err = collect_slots(&slots, file);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]) && !err; i++) {
		scn = elf_handle__section(file, sections[i], &shdr);
		if (scn)
			err = add_stubs(tab, &slots, file, scn, &shdr);
	}
	free(slots.slots);
	return err;
}
