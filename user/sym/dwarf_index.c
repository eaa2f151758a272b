/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * libdw is the parser only. Its look-ups go by .debug_aranges, which clang
 * leaves out, and are linear; so all units are walked once for their ranges.
 *
 * libdw opens files of its own accord in two cases: the supplementary file of
 * .gnu_debugaltlink, when it meets a reference to it, and .dwo files, when asked
 * for a split unit. Both names come out of the file, and a hostile one may name
 * a fifo. So an empty supplementary file stands in for one that was not found,
 * and split units are never asked for (their skeletons still give lines).
 */
#include "sym/dwarf_index.h"

#include <dwarf.h>
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sym/array.h"
#include "sym/elf_handle.h"

#define MAX_UNITS	 (1u << 20)
#define MAX_RANGES	 (4u << 20)
#define MAX_RANGE_STEPS	 (16u << 20)
#define MAX_STEPS_BACK	 64
#define LINE_LIMIT_SHARE 64 /* libdw makes up to 100 times the line program's bytes of it */
#define LINE_LIMIT_MIN	 ((size_t)64 << 10)
#define LIBDW_UNIT_BYTES 1024 /* a guess, with its share of the abbreviations */

struct unit {
	Dwarf_Off die;
	struct dwarf_cu *cu; /* NULL until asked for */
	bool is_bad;	     /* was tried in vain */
};

struct unit_range {
	uint64_t start, end;
	uint32_t unit;
	uint32_t padding;
};

struct dwarf_index {
	struct elf_handle *file, *alt_file;
	Dwarf *dbg, *alt;
	Elf *stub; /* stands in for alt */
	const struct elf_layout *layout;
	struct unit *units;
	size_t unit_cnt, unit_cap;
	struct unit_range *ranges; /* sorted by start */
	size_t range_cnt, range_cap;
	size_t range_steps;
	size_t limit_bytes;
	size_t section_bytes;
	size_t cu_bytes;
};

/* An ELF file whose only debug section is a .debug_line of one byte. */
/* clang-format off */
static const struct {
	Elf64_Ehdr ehdr;
	Elf64_Shdr shdrs[3];
	char names[24];
} stub_image = {
	.ehdr = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			    __BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB,
			    EV_CURRENT},
		.e_type = ET_EXEC,
		.e_version = EV_CURRENT,
		.e_shoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 3,
		.e_shstrndx = 1,
	},
	.shdrs = {
		[1] = {.sh_name = 13, .sh_type = SHT_STRTAB, .sh_size = 24, .sh_addralign = 1,
		       .sh_offset = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Shdr)},
		[2] = {.sh_name = 1, .sh_type = SHT_PROGBITS, .sh_size = 1, .sh_addralign = 1,
		       .sh_offset = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Shdr)},
	},
	.names = "\0.debug_line\0.shstrtab",
};
/* clang-format on */

static int add_range(struct dwarf_index *index, uint64_t start, uint64_t end)
{
	void *grown = array__grow(index->ranges, sizeof(*index->ranges), index->range_cnt,
				  &index->range_cap, MAX_RANGES);

	if (!grown)
		return -errno;
	index->ranges = grown;
	index->ranges[index->range_cnt++] = (struct unit_range){
		.start = start,
		.end = end,
		.unit = (uint32_t)index->unit_cnt,
	};
	return 0;
}

static int add_unit(struct dwarf_index *index, Dwarf_Die *cudie)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t offset = 0;
	void *grown;
	int err;

	grown = array__grow(index->units, sizeof(*index->units), index->unit_cnt, &index->unit_cap,
			    MAX_UNITS);
	if (!grown)
		return -errno;
	index->units = grown;
	while ((offset = dwarf_ranges(cudie, offset, &base, &start, &end)) > 0) {
		if (++index->range_steps > MAX_RANGE_STEPS)
			return -ENOSPC;
		/* What the linker dropped is left at address 0 or so. */
		if (end <= start || !elf_layout__code_end(index->layout, start))
			continue;
		err = add_range(index, start, end);
		if (err)
			return err;
	}
	index->units[index->unit_cnt++] = (struct unit){.die = dwarf_dieoffset(cudie)};
	return 0;
}

static int compare_ranges(const void *a_ptr, const void *b_ptr)
{
	const struct unit_range *a = a_ptr, *b = b_ptr;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->unit < b->unit ? -1 : a->unit > b->unit;
}

static int load_units(struct dwarf_index *index)
{
	Dwarf_CU *cu = NULL, *next;
	Dwarf_Half version;
	Dwarf_Die cudie;
	uint8_t type;
	int err = 0;

	while (!err && !dwarf_get_units(index->dbg, cu, &next, &version, &type, &cudie, NULL)) {
		if (cudie.addr && (type == DW_UT_compile || type == DW_UT_skeleton))
			err = add_unit(index, &cudie);
		cu = next;
	}
	if (err && err != -ENOSPC)
		return err;
	/* Ranges of a unit at which a maximum was reached have no unit. */
	while (index->range_cnt && index->ranges[index->range_cnt - 1].unit >= index->unit_cnt)
		index->range_cnt--;
	if (!index->range_cnt)
		return -ENOENT;
	qsort(index->ranges, index->range_cnt, sizeof(*index->ranges), compare_ranges);
	return 0;
}

static int open_alt(struct dwarf_index *index)
{
	if (index->alt_file)
		index->alt = dwarf_begin_elf(elf_handle__elf(index->alt_file), DWARF_C_READ, NULL);
	if (!index->alt) {
		index->stub = elf_memory((char *)&stub_image, sizeof(stub_image));
		index->alt = dwarf_begin_elf(index->stub, DWARF_C_READ, NULL);
	}
	if (!index->alt)
		return -ENOMEM;
	dwarf_setalt(index->dbg, index->alt);
	return 0;
}

static int open_dwarf(struct dwarf_index *index)
{
	uint64_t bytes = elf_handle__debug_bytes(index->file, index->limit_bytes), alt_bytes = 0;

	if (bytes > index->limit_bytes)
		return -EFBIG;
	if (index->alt_file)
		alt_bytes = elf_handle__debug_bytes(index->alt_file, index->limit_bytes - bytes);
	if (alt_bytes > index->limit_bytes - bytes)
		return -EFBIG;
	index->section_bytes = bytes + alt_bytes;
	index->dbg = dwarf_begin_elf(elf_handle__elf(index->file), DWARF_C_READ, NULL);
	return index->dbg ? open_alt(index) : -ENOENT;
}

struct dwarf_index *dwarf_index__new(struct elf_handle *file, struct elf_handle *alt,
				     const struct elf_layout *layout, size_t limit_bytes)
{
	struct dwarf_index *index = calloc(1, sizeof(*index));
	int err;

	if (!index) {
		elf_handle__free(file);
		elf_handle__free(alt);
		errno = ENOMEM;
		return NULL;
	}
	index->file = file;
	index->alt_file = alt;
	index->layout = layout;
	index->limit_bytes = limit_bytes;
	err = elf_handle__has_dwarf(file) ? open_dwarf(index) : -ENOENT;
	if (!err)
		err = load_units(index);
	if (!err)
		return index;
	dwarf_index__free(index);
	errno = -err;
	return NULL;
}

void dwarf_index__free(struct dwarf_index *index)
{
	if (!index)
		return;
	for (size_t i = 0; i < index->unit_cnt; i++)
		dwarf_cu__free(index->units[i].cu);
	free(index->units);
	free(index->ranges);
	dwarf_end(index->dbg);
	dwarf_end(index->alt);
	if (index->stub)
		elf_end(index->stub);
	elf_handle__free(index->file);
	elf_handle__free(index->alt_file);
	free(index);
}

static struct dwarf_cu *unit_index(struct dwarf_index *index, struct unit *unit)
{
	size_t line_limit = index->limit_bytes / LINE_LIMIT_SHARE;
	Dwarf_Die cudie;

	if (unit->cu || unit->is_bad)
		return unit->cu;
	if (line_limit < LINE_LIMIT_MIN)
		line_limit = LINE_LIMIT_MIN;
	if (dwarf_offdie(index->dbg, unit->die, &cudie))
		unit->cu = dwarf_cu__new(&cudie, index->layout, line_limit);
	if (unit->cu)
		index->cu_bytes += dwarf_cu__bytes(unit->cu);
	else
		unit->is_bad = true;
	return unit->cu;
}

/* How many ranges begin at vaddr or before it. */
static size_t count_before(const struct dwarf_index *index, uint64_t vaddr)
{
	size_t low = 0, high = index->range_cnt, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (index->ranges[mid].start <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool dwarf_index__is_ready(const struct dwarf_index *index, uint64_t vaddr)
{
	size_t low = count_before(index, vaddr);

	for (int step = 0; low && step < MAX_STEPS_BACK; step++) {
		const struct unit_range *range = &index->ranges[--low];
		const struct unit *unit = &index->units[range->unit];

		if (vaddr < range->end && !unit->cu && !unit->is_bad)
			return false;
	}
	return true;
}

/*
 * Units may overlap (folded code, or plain lies): the first one that knows a
 * function wins, else the last one with a line.
 */
int dwarf_index__resolve(struct dwarf_index *index, struct str_pool *pool, uint64_t vaddr,
			 struct sym_frame *frames, int max, struct dwarf_func *func)
{
	size_t low = count_before(index, vaddr);
	struct dwarf_cu *cu;
	int cnt = 0, found;

	for (int step = 0; low && step < MAX_STEPS_BACK; step++) {
		const struct unit_range *range = &index->ranges[--low];

		if (vaddr >= range->end)
			continue;
		cu = unit_index(index, &index->units[range->unit]);
		found = cu ? dwarf_cu__resolve(cu, pool, vaddr, frames, max, func) : 0;
		if (found)
			cnt = found;
		if (found && func->is_found)
			break;
	}
	return cnt;
}

size_t dwarf_index__bytes(const struct dwarf_index *index)
{
	return sizeof(*index) + index->section_bytes + index->cu_bytes +
	       index->unit_cap * sizeof(*index->units) + index->unit_cnt * LIBDW_UNIT_BYTES +
	       index->range_cap * sizeof(*index->ranges);
}
