/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "next.h"

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HIDDEN_VERSION 0x8000 /* in DT_VERSYM: for old programs only */

/* The list's head: glibc's linker exports the one name, musl's the other. */
extern struct r_debug _r_debug __attribute__((weak));
extern struct r_debug *_dl_debug_addr __attribute__((weak));

extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

/* The dynamic symbols of one file. */
struct symbols {
	const struct link_map *map;
	const ElfW(Sym) *table;
	const char *strings;
	const uint16_t *versions; /* NULL: none */
	const uint32_t *gnu_hash; /* one of the two, or none */
	const uint32_t *hash;
};

/* glibc has made addresses of the offsets in most files' dynamic sections, musl in none. */
static const void *pointer_in(const struct link_map *map, ElfW(Addr) value)
{
	return (const void *)(value < map->l_addr ? value + map->l_addr : value);
}

static void read_dynamic(const struct link_map *map, struct symbols *out)
{
	*out = (struct symbols){.map = map};
	for (const ElfW(Dyn) *dyn = map->l_ld; dyn && dyn->d_tag != DT_NULL; dyn++) {
		const void *at = pointer_in(map, dyn->d_un.d_ptr);

		if (dyn->d_tag == DT_SYMTAB)
			out->table = at;
		else if (dyn->d_tag == DT_STRTAB)
			out->strings = at;
		else if (dyn->d_tag == DT_VERSYM)
			out->versions = at;
		else if (dyn->d_tag == DT_GNU_HASH)
			out->gnu_hash = at;
		else if (dyn->d_tag == DT_HASH)
			out->hash = at;
	}
}

static bool is_same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Defined there, and not by a resolver, whose answer cannot be had here. */
static bool is_function(const struct symbols *symbols, uint32_t i, const char *name)
{
	const ElfW(Sym) *symbol = &symbols->table[i];
	unsigned int type = ELF64_ST_TYPE(symbol->st_info);

	return symbol->st_shndx != SHN_UNDEF && (type == STT_FUNC || type == STT_NOTYPE) &&
	       ELF64_ST_BIND(symbol->st_info) != STB_LOCAL &&
	       !(symbols->versions && symbols->versions[i] & HIDDEN_VERSION) &&
	       is_same(symbols->strings + symbol->st_name, name);
}

static uint32_t gnu_hash_of(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 0;

	for (; *name; name++) {
		hash = (hash << 4) + (unsigned char)*name;
		hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
	}
	return hash;
}

/* The number of the symbol; 0: none. */
static uint32_t find_by_gnu_hash(const struct symbols *symbols, const char *name)
{
	const uint32_t *table = symbols->gnu_hash;
	uint32_t bucket_cnt = table[0], first = table[1], bloom_words = table[2];
	const uint32_t *buckets = table + 4 + bloom_words * (sizeof(ElfW(Addr)) / 4);
	const uint32_t *chain = buckets + bucket_cnt;
	uint32_t hash = gnu_hash_of(name), i = bucket_cnt ? buckets[hash % bucket_cnt] : 0;

	if (i < first)
		return 0;
	for (;; i++) {
		uint32_t entry = chain[i - first];

		if ((entry | 1) == (hash | 1) && is_function(symbols, i, name))
			return i;
		if (entry & 1)
			return 0;
	}
}

static uint32_t find_by_hash(const struct symbols *symbols, const char *name)
{
	uint32_t bucket_cnt = symbols->hash[0];
	const uint32_t *buckets = symbols->hash + 2, *chain = buckets + bucket_cnt;
	uint32_t i = bucket_cnt ? buckets[hash_of(name) % bucket_cnt] : 0;

	while (i && !is_function(symbols, i, name))
		i = chain[i];
	return i;
}

static void *find_in(const struct link_map *map, const char *name)
{
	struct symbols symbols;
	uint32_t i = 0;

	read_dynamic(map, &symbols);
	if (!symbols.table || !symbols.strings)
		return NULL;
	if (symbols.gnu_hash)
		i = find_by_gnu_hash(&symbols, name);
	else if (symbols.hash)
		i = find_by_hash(&symbols, name);
	return i ? (void *)(map->l_addr + symbols.table[i].st_value) : NULL;
}

static const struct link_map *first_map(void)
{
	const struct r_debug *debug = &_r_debug ? &_r_debug : &_dl_debug_addr ? _dl_debug_addr : NULL;

	return debug ? debug->r_map : NULL;
}

static bool is_ours(const struct link_map *map)
{
	return map->l_ld == _DYNAMIC;
}

/* Not past end. */
static void *find_between(const struct link_map *map, const struct link_map *end, const char *name)
{
	void *found = NULL;

	for (; map != end && !found; map = map->l_next)
		found = find_in(map, name);
	return found;
}

void *next__find(const char *name)
{
	const struct link_map *first = first_map(), *ours = first;
	void *found;

	while (ours && !is_ours(ours))
		ours = ours->l_next;
	found = ours ? find_between(ours->l_next, NULL, name) : NULL;
	/* Loaded later than all others, for somebody who calls it by its address. */
	return found ? found : find_between(first, ours, name);
}

void *next__first(const char *name)
{
	return find_between(first_map(), NULL, name);
}
