/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A symbol answers for [vaddr, vaddr + span). The span is its size; a symbol
 * without one (hand-written assembly) reaches to the next symbol or the end of
 * its section. An address that no span contains has no name: in a stripped
 * library the nearest exported symbol before it is another function.
 *
 * Functions may lie inside others (assembly labels, bad sizes), so a look-up
 * goes back over a few predecessors; how many is bounded.
 */
#include "sym/symtab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sym/demangle.h"
#include "sym/elf_handle.h"

#define MAX_NAME_LEN	   4096
#define MAX_TABLE_BYTES	   ((size_t)256 << 20)
#define MAX_STEPS_BACK	   64
#define INITIAL_NAME_BYTES 4096
#define INITIAL_SYMBOLS	   256

struct symbol {
	uint64_t vaddr;
	const char *display; /* demangled and interned, once somebody asked */
	uint32_t size_bytes; /* 0: unknown */
	uint32_t span_bytes; /* before sealing: room up to the limit */
	uint32_t name;	     /* offset into names */
	uint32_t rank;	     /* among aliases; smaller is better */
};

struct symtab {
	struct symbol *symbols;
	size_t symbol_cnt, symbol_cap;
	char *names;
	size_t name_bytes, name_cap;
	size_t max_bytes;
};

struct symtab *symtab__new(size_t max_bytes)
{
	struct symtab *tab = calloc(1, sizeof(*tab));

	if (tab)
		tab->max_bytes = max_bytes;
	return tab;
}

void symtab__free(struct symtab *tab)
{
	if (!tab)
		return;
	free(tab->symbols);
	free(tab->names);
	free(tab);
}

void symtab__set_limit(struct symtab *tab, size_t max_bytes)
{
	tab->max_bytes = max_bytes;
}

size_t symtab__bytes(const struct symtab *tab)
{
	return tab->symbol_cap * sizeof(*tab->symbols) + tab->name_cap;
}

/*
 * The array with room for need elements, doubled as far as max_bytes allows;
 * NULL with errno if not, the array then is as before.
 */
static void *reserve(const struct symtab *tab, void *array, size_t elem_bytes, size_t *cap,
		     size_t need, size_t initial)
{
	size_t want = *cap ? *cap : initial;
	void *grown;

	while (want < need)
		want *= 2;
	if (want == *cap)
		return array;
	if (symtab__bytes(tab) + (want - *cap) * elem_bytes > tab->max_bytes) {
		errno = ENOSPC;
		return NULL;
	}
	grown = realloc(array, want * elem_bytes);
	if (grown)
		*cap = want;
	return grown;
}

static unsigned int leading_underscores(const char *name, size_t len)
{
	unsigned int cnt = 0;

	if (demangle__is_mangled(name))
		return 0;
	while (cnt < len && cnt < 3 && name[cnt] == '_')
		cnt++;
	return cnt;
}

/* malloc before __libc_malloc before a local __malloc before a label without type and size. */
static uint32_t rank_of(const char *name, size_t len, uint64_t size_bytes, unsigned int info)
{
	unsigned int type = GELF_ST_TYPE(info), bind = GELF_ST_BIND(info);
	uint32_t rank = 0;

	rank |= (uint32_t)(type != STT_FUNC && type != STT_GNU_IFUNC) << 5;
	rank |= (uint32_t)(size_bytes == 0) << 4;
	rank |= (uint32_t)(bind == STB_LOCAL) << 3;
	rank |= leading_underscores(name, len) << 1;
	rank |= bind == STB_WEAK;
	return rank;
}

static uint32_t clip32(uint64_t value)
{
	return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

int symtab__add(struct symtab *tab, const char *name, size_t name_len, uint64_t vaddr,
		uint64_t size_bytes, uint64_t limit, unsigned int elf_info)
{
	struct symbol *symbol;
	void *grown;

	if (name_len > MAX_NAME_LEN)
		name_len = MAX_NAME_LEN;
	if (tab->name_bytes > UINT32_MAX - MAX_NAME_LEN)
		return -ENOSPC;
	grown = reserve(tab, tab->names, 1, &tab->name_cap, tab->name_bytes + name_len + 1,
			INITIAL_NAME_BYTES);
	if (!grown)
		return -errno;
	tab->names = grown;
	grown = reserve(tab, tab->symbols, sizeof(*symbol), &tab->symbol_cap, tab->symbol_cnt + 1,
			INITIAL_SYMBOLS);
	if (!grown)
		return -errno;
	tab->symbols = grown;
	symbol = &tab->symbols[tab->symbol_cnt++];
	symbol->vaddr = vaddr;
	symbol->display = NULL;
	symbol->size_bytes = clip32(size_bytes);
	symbol->span_bytes = limit > vaddr ? clip32(limit - vaddr) : 0;
	symbol->name = (uint32_t)tab->name_bytes;
	memcpy(tab->names + tab->name_bytes, name, name_len);
	tab->names[tab->name_bytes + name_len] = '\0';
	symbol->rank = rank_of(tab->names + tab->name_bytes, name_len, size_bytes, elf_info);
	tab->name_bytes += name_len + 1;
	return 0;
}

/* Defined, of a kind that names code, and not one of the linker's or the assembler's own. */
static bool is_function(const GElf_Sym *sym, const char *name, size_t len)
{
	unsigned int type = GELF_ST_TYPE(sym->st_info);

	if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
		return false;
	if (!len || sym->st_shndx == SHN_UNDEF || sym->st_shndx == SHN_ABS ||
	    sym->st_shndx == SHN_COMMON)
		return false;
	if (type != STT_NOTYPE)
		return true;
	/* $x and $d mark code and data on ARM; the others mark the end of something. */
	return name[0] != '$' && strncmp(name, ".L", 2) && strcmp(name, "etext") &&
	       strcmp(name, "_etext") && strcmp(name, "__etext") && strcmp(name, "_end") &&
	       strcmp(name, "end");
}

/*
 * Where a symbol without a size ends at the latest: with its section, or without
 * section headers with the segment. 0 if the section holds no code: LTO leaves
 * labels in .debug_info, whose small values look like addresses.
 */
static uint64_t section_limit(const struct elf_handle *file, const GElf_Sym *sym, uint64_t code_end)
{
	Elf_Scn *scn = elf_getscn(elf_handle__elf(file), sym->st_shndx);
	GElf_Shdr shdr;

	if (sym->st_shndx >= SHN_LORESERVE || !scn || !gelf_getshdr(scn, &shdr))
		return code_end;
	if (!(shdr.sh_flags & SHF_EXECINSTR))
		return 0;
	if (sym->st_value - shdr.sh_addr >= shdr.sh_size)
		return code_end;
	return shdr.sh_addr + shdr.sh_size < code_end ? shdr.sh_addr + shdr.sh_size : code_end;
}

static int add_symbol(struct symtab *tab, const struct elf_handle *file,
		      const struct elf_layout *layout, const GElf_Sym *sym, const Elf_Data *strs)
{
	uint64_t code_end, limit;
	const char *name;
	size_t len;

	if (sym->st_name >= strs->d_size)
		return 0;
	name = (const char *)strs->d_buf + sym->st_name;
	len = strnlen(name, strs->d_size - sym->st_name);
	/* An unterminated last name would make the comparisons below run on. */
	if (len == strs->d_size - sym->st_name || !is_function(sym, name, len))
		return 0;
	code_end = elf_layout__code_end(layout, sym->st_value);
	limit = code_end ? section_limit(file, sym, code_end) : 0;
	if (!limit)
		return 0;
	/* memcpy@@GLIBC_2.14: the version is no part of the name. */
	if (name[0] != '@')
		len = strcspn(name, "@");
	return symtab__add(tab, name, len, sym->st_value, sym->st_size, limit, sym->st_info);
}

static int add_section(struct symtab *tab, const struct elf_handle *file,
		       const struct elf_layout *layout, Elf_Scn *scn, const GElf_Shdr *shdr)
{
	Elf_Scn *str_scn = elf_getscn(elf_handle__elf(file), shdr->sh_link);
	Elf_Data *syms = elf_handle__data(file, scn, MAX_TABLE_BYTES);
	Elf_Data *strs = str_scn ? elf_handle__data(file, str_scn, MAX_TABLE_BYTES) : NULL;
	size_t entry_bytes = gelf_fsize(elf_handle__elf(file), ELF_T_SYM, 1, EV_CURRENT);
	GElf_Sym sym;
	int err = 0;

	if (!syms || !strs || !entry_bytes)
		return 0;
	for (size_t i = 1; i < syms->d_size / entry_bytes && !err; i++)
		if (i <= INT32_MAX && gelf_getsym(syms, (int)i, &sym))
			err = add_symbol(tab, file, layout, &sym, strs);
	return err;
}

int symtab__add_elf(struct symtab *tab, const struct elf_handle *file,
		    const struct elf_layout *layout)
{
	bool seen_symtab = false, seen_dynsym = false, *seen;
	Elf_Scn *scn = NULL;
	GElf_Shdr shdr;
	int err = 0;

	while (!err && (scn = elf_nextscn(elf_handle__elf(file), scn))) {
		if (!gelf_getshdr(scn, &shdr))
			continue;
		if (shdr.sh_type != SHT_SYMTAB && shdr.sh_type != SHT_DYNSYM)
			continue;
		seen = shdr.sh_type == SHT_SYMTAB ? &seen_symtab : &seen_dynsym;
		if (!*seen)
			err = add_section(tab, file, layout, scn, &shdr);
		*seen = true;
	}
	return err;
}

static int compare(const void *a_ptr, const void *b_ptr, void *arg)
{
	const struct symbol *a = a_ptr, *b = b_ptr;
	const char *names = arg;
	size_t a_len, b_len;

	if (a->vaddr != b->vaddr)
		return a->vaddr < b->vaddr ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	a_len = strlen(names + a->name);
	b_len = strlen(names + b->name);
	if (a_len != b_len)
		return a_len < b_len ? -1 : 1;
	return strcmp(names + a->name, names + b->name);
}

/* Keeps the best symbol of each address, with the largest size that any alias claims. */
static void drop_aliases(struct symtab *tab)
{
	size_t kept = 0;

	for (size_t i = 0; i < tab->symbol_cnt; i++) {
		struct symbol *last = kept ? &tab->symbols[kept - 1] : NULL;
		const struct symbol *symbol = &tab->symbols[i];

		if (!last || last->vaddr != symbol->vaddr)
			tab->symbols[kept++] = *symbol;
		else if (last->size_bytes < symbol->size_bytes)
			last->size_bytes = symbol->size_bytes;
	}
	tab->symbol_cnt = kept;
}

static void set_spans(struct symtab *tab)
{
	for (size_t i = 0; i < tab->symbol_cnt; i++) {
		struct symbol *symbol = &tab->symbols[i];

		if (symbol->size_bytes) {
			symbol->span_bytes = symbol->size_bytes;
		} else if (i + 1 < tab->symbol_cnt) {
			uint32_t gap = clip32(symbol[1].vaddr - symbol->vaddr);

			if (gap < symbol->span_bytes)
				symbol->span_bytes = gap;
		}
	}
}

/* Drops the names of the symbols that went, and the arrays' slack. On failure all stays. */
static void compact(struct symtab *tab)
{
	size_t total = 0, at = 0, len;
	struct symbol *shrunk;
	char *names;

	for (size_t i = 0; i < tab->symbol_cnt; i++)
		total += strlen(tab->names + tab->symbols[i].name) + 1;
	names = total ? malloc(total) : NULL;
	if (!names)
		return;
	for (size_t i = 0; i < tab->symbol_cnt; i++) {
		len = strlen(tab->names + tab->symbols[i].name) + 1;
		memcpy(names + at, tab->names + tab->symbols[i].name, len);
		tab->symbols[i].name = (uint32_t)at;
		at += len;
	}
	free(tab->names);
	tab->names = names;
	tab->name_bytes = tab->name_cap = total;
	shrunk = realloc(tab->symbols, tab->symbol_cnt * sizeof(*shrunk));
	if (shrunk) {
		tab->symbols = shrunk;
		tab->symbol_cap = tab->symbol_cnt;
	}
}

void symtab__seal(struct symtab *tab)
{
	if (!tab->symbol_cnt)
		return;
	qsort_r(tab->symbols, tab->symbol_cnt, sizeof(*tab->symbols), compare, tab->names);
	drop_aliases(tab);
	set_spans(tab);
	compact(tab);
}

/* The nearest sized symbol around vaddr, else the nearest unsized one. */
static struct symbol *find(const struct symtab *tab, uint64_t vaddr)
{
	size_t low = 0, high = tab->symbol_cnt, mid;
	struct symbol *unsized = NULL;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (tab->symbols[mid].vaddr <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	for (int step = 0; low && step < MAX_STEPS_BACK; step++) {
		struct symbol *symbol = &tab->symbols[--low];

		if (vaddr - symbol->vaddr >= symbol->span_bytes)
			continue;
		if (symbol->size_bytes)
			return symbol;
		if (!unsized)
			unsized = symbol;
	}
	return unsized;
}

bool symtab__lookup(struct symtab *tab, struct str_pool *pool, uint64_t vaddr,
		    struct symtab_hit *hit)
{
	struct symbol *symbol = find(tab, vaddr);
	char demangled[DEMANGLED_MAX];
	const char *name;

	if (!symbol)
		return false;
	name = tab->names + symbol->name;
	if (!symbol->display) {
		if (demangle__name(name, demangled))
			symbol->display = str_pool__intern(pool, demangled, sizeof(demangled));
		else
			symbol->display = str_pool__intern(pool, name, SIZE_MAX);
	}
	hit->name = symbol->display;
	hit->vaddr = symbol->vaddr;
	hit->is_mangled = demangle__is_mangled(name);
	return true;
}
