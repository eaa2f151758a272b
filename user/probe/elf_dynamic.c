/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <elf.h>
#include <string.h>

#include "probe/elf_dynamic.h"

#define ENTRIES_MAX (1u << 16)

static void note_dynamic(struct elf_dynamic *dyn, const Elf64_Dyn *entry)
{
	uint64_t value = entry->d_un.d_val;

	switch (entry->d_tag) {
	case DT_STRTAB:   dyn->strtab = value; break;
	case DT_STRSZ:    dyn->strsz = value; break;
	case DT_SYMTAB:   dyn->symtab = value; break;
	case DT_HASH:     dyn->hash = value; break;
	case DT_GNU_HASH: dyn->gnu_hash = value; break;
	case DT_FLAGS_1:  dyn->flags_1 = value; break;
	case DT_RELA:     dyn->rela = value; break;
	case DT_RELASZ:   dyn->relasz = value; break;
	case DT_JMPREL:   dyn->jmprel = value; break;
	case DT_PLTRELSZ: dyn->pltrelsz = value; break;
	case DT_NEEDED:
		if (dyn->needed_cnt < ELF_NEEDED_MAX)
			dyn->needed[dyn->needed_cnt++] = value;
		break;
	default:
		break;
	}
}

int elf_dynamic__read(const struct elf_file *file, struct extent ext, struct elf_dynamic *dyn)
{
	uint64_t cnt = ext.size_bytes / sizeof(Elf64_Dyn);
	struct window w;

	memset(dyn, 0, sizeof(*dyn));
	window__init(&w, file);
	for (uint64_t i = 0; i < cnt && i < ENTRIES_MAX; i++) {
		Elf64_Dyn entry;
		int err = window__copy(&w, ext.offset + i * sizeof(entry), &entry, sizeof(entry));

		if (err)
			return err;
		if (entry.d_tag == DT_NULL)
			break;
		note_dynamic(dyn, &entry);
	}
	return 0;
}

/* DT_HASH: as many chains as symbols. */
static int count_by_hash(const struct elf_file *file, uint64_t vaddr, uint64_t *cnt)
{
	struct extent ext = elf_file__extent_at(file, vaddr, UINT64_MAX);
	uint32_t head[2]; /* buckets, chains */
	int err;

	if (ext.size_bytes < sizeof(head))
		return 0;
	err = elf_file__read_exactly(file, ext.offset, head, sizeof(head));
	if (!err)
		*cnt = head[1];
	return err;
}

/* The highest symbol index that a bucket of DT_GNU_HASH names; 0 if none. */
static int last_in_buckets(struct window *w, uint64_t offset, uint32_t bucket_cnt, uint32_t *last)
{
	for (uint32_t i = 0; i < bucket_cnt; i++) {
		uint32_t first;
		int err = window__copy(w, offset + 4ull * i, &first, sizeof(first));

		if (err)
			return err;
		if (first > *last)
			*last = first;
	}
	return 0;
}

/*
 * DT_GNU_HASH: { buckets, first hashed symbol, bloom words, shift }, the bloom
 * filter, the buckets (each the first symbol of its chain), one word a hashed
 * symbol with bit 0 set at the end of a chain. The last chain ends with the
 * last symbol of the table.
 */
static int count_by_gnu_hash(const struct elf_file *file, uint64_t vaddr, uint64_t *cnt)
{
	struct extent ext = elf_file__extent_at(file, vaddr, ELF_TABLE_MAX_BYTES);
	uint32_t head[4], last = 0, word = 0;
	uint64_t buckets, chains;
	struct window w;
	int err;

	window__init(&w, file);
	if (ext.size_bytes < sizeof(head))
		return 0;
	err = window__copy(&w, ext.offset, head, sizeof(head));
	if (err)
		return err;
	buckets = sizeof(head) + 8ull * head[2];
	chains = buckets + 4ull * head[0];
	if (chains > ext.size_bytes)
		return 0;
	err = last_in_buckets(&w, ext.offset + buckets, head[0], &last);
	if (err)
		return err;
	*cnt = head[1]; /* nothing hashed: what is imported */
	if (last < head[1])
		return 0;
	while (!(word & 1)) {
		uint64_t at = chains + 4ull * (last - head[1]);

		if (at + sizeof(word) > ext.size_bytes || last == UINT32_MAX)
			break;
		err = window__copy(&w, ext.offset + at, &word, sizeof(word));
		if (err)
			return err;
		last++;
	}
	*cnt = last;
	return 0;
}

int elf_dynamic__find_symbols(const struct elf_file *file, const struct elf_dynamic *dyn,
			      struct extent *symbols, struct extent *strings)
{
	uint64_t cnt = 0;
	int err = 0;

	*symbols = *strings = (struct extent){ 0 };
	if (!dyn->symtab || !dyn->strtab)
		return 0;
	if (dyn->hash)
		err = count_by_hash(file, dyn->hash, &cnt);
	if (!err && !cnt && dyn->gnu_hash)
		err = count_by_gnu_hash(file, dyn->gnu_hash, &cnt);
	if (err)
		return err;
	*symbols = elf_file__extent_at(file, dyn->symtab, cnt * sizeof(Elf64_Sym));
	*strings = elf_file__extent_at(file, dyn->strtab, dyn->strsz);
	return 0;
}
