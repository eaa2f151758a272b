/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The entries of a CFI section. Two passes: an FDE may come before its CIE.
 *
 *	.eh_frame    length 14, id 0: CIE       version 1, "zR", ...
 *	             length 1c, id 1c: FDE      its CIE begins 1c bytes before the id
 *	.debug_frame length 14, id ffffffff: CIE; other ids are the CIE's offset
 *
 * An entry that cannot be read is counted and left out; where it ends is known
 * all the same. A length that leads out of the section ends the walk.
 */
#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unwind/cfi.h"
#include "unwind/eh_pointer.h"

#define LENGTH_IS_64BIT 0xffffffffu

struct entry {
	uint64_t offset; /* of its length field */
	uint64_t cie_offset; /* an FDE's */
	bool is_cie;
	struct cursor body; /* after the id */
};

static uint64_t offset_of(const struct cfi *cfi, const struct cursor *c)
{
	return (uint64_t)(c->pos - cfi->section.bytes);
}

/* The id is 4 bytes wide in .eh_frame whatever the length's width (LSB 5.0, 10.6.1). */
static void read_id(const struct cfi *cfi, struct entry *entry, bool is_64bit)
{
	uint64_t at = offset_of(cfi, &entry->body);
	uint64_t id;

	if (!cfi->section.is_debug_frame) {
		id = cursor__uint(&entry->body, 4);
		entry->is_cie = !id;
		entry->cie_offset = at - id; /* wraps if id is too great: no CIE is there */
		return;
	}
	id = cursor__uint(&entry->body, is_64bit ? 8 : 4);
	entry->is_cie = id == (is_64bit ? UINT64_MAX : UINT32_MAX);
	entry->cie_offset = id;
}

/*
 * 1 and the next entry, 0 at the end, -EBADMSG where the section is broken. Zero lengths
 * between entries are padding, unless the first one is all there is to tell the end.
 */
static int next_entry(const struct cfi *cfi, struct cursor *c, struct entry *entry)
{
	uint64_t length = 0;
	bool is_64bit;

	while (!length) {
		if (cursor__left(c) < 4)
			return 0;
		entry->offset = offset_of(cfi, c);
		length = cursor__uint(c, 4);
		if (!length && cfi->section.ends_at_zero)
			return 0;
	}
	is_64bit = length == LENGTH_IS_64BIT;
	if (is_64bit)
		length = cursor__uint(c, 8);
	if (c->is_bad || length > cursor__left(c))
		return -EBADMSG;
	entry->body = cursor__at(c->pos, (size_t)length);
	cursor__skip(c, length);
	read_id(cfi, entry, is_64bit);
	return 1;
}

/* -- CIEs -- */

/*
 * The augmentation: a string that says what else an entry holds, and for a CIE that data.
 * A letter we do not know makes the rest unreadable: an R after it says how FDEs are read.
 */
static void read_augmentation(struct cfi_cie *cie, const char *letters, struct cursor *c)
{
	struct cursor data = { 0 };

	if (*letters == 'z') {
		cie->has_sized_augmentation = true;
		data = cursor__block(c);
		letters++;
	} else if (!strncmp(letters, "eh", 2)) {
		cursor__skip(c, 8); /* GCC 2's pointer to exception data */
		letters += 2;
	}
	for (; *letters; letters++) {
		if (*letters == 'S')
			cie->is_signal = true;
		else if (*letters == 'R' && cie->has_sized_augmentation)
			cie->encoding = cursor__u8(&data);
		else if (*letters == 'L' && cie->has_sized_augmentation)
			cursor__u8(&data);
		else if (*letters == 'P' && cie->has_sized_augmentation)
			eh_pointer__skip(&data, cursor__u8(&data));
		else if (*letters != 'B') /* ARM's pointer keys; no data */
			cursor__fail(c);
	}
	if (data.is_bad)
		cursor__fail(c);
}

static uint8_t register_number(uint64_t number)
{
	return number < CFI_OTHER_REGISTER ? (uint8_t)number : CFI_OTHER_REGISTER;
}

/* False if it cannot be read. */
static bool read_cie(const struct cfi *cfi, struct cfi_cie *cie, struct cursor *c)
{
	uint8_t version = cursor__u8(c);
	const char *letters = (const char *)c->pos;
	size_t letter_cnt = strnlen(letters, cursor__left(c));

	if (version != 1 && version != 3 && version != 4)
		return false;
	cursor__skip(c, letter_cnt + 1);
	/* Version 4: address and segment selector size. */
	if (c->is_bad || (version == 4 && cursor__uint(c, 2) != 8))
		return false;
	cie->code_align = cursor__uleb(c);
	cie->data_align = cursor__sleb(c);
	cie->return_register = register_number(version == 1 ? cursor__u8(c) : cursor__uleb(c));
	cie->encoding = DW_EH_PE_absptr;
	read_augmentation(cie, letters, c);
	return !c->is_bad && !cfi__run_initial(cfi, cie, *c);
}

static int add_cie(struct cfi *cfi, const struct cfi_cie *cie)
{
	if (cfi->cie_cnt == CFI_CIE_MAX)
		return -EFBIG;
	if (cfi->cie_cnt == cfi->cie_cap) {
		uint32_t cap = cfi->cie_cap ? 2 * cfi->cie_cap : 16;
		struct cfi_cie *cies = reallocarray(cfi->cies, cap, sizeof(*cies));

		if (!cies)
			return -ENOMEM;
		cfi->cies = cies;
		cfi->cie_cap = cap;
	}
	cfi->cies[cfi->cie_cnt++] = *cie;
	return 0;
}

static int read_cies(struct cfi *cfi)
{
	struct cursor c = cursor__at(cfi->section.bytes, cfi->section.size_bytes);
	struct entry entry;
	int more;

	while ((more = next_entry(cfi, &c, &entry)) > 0) {
		struct cfi_cie cie = { .offset = entry.offset };
		int err;

		if (!entry.is_cie)
			continue;
		cie.is_usable = !entry.body.is_bad && read_cie(cfi, &cie, &entry.body);
		if (!cie.is_usable)
			cfi->malformed_cnt++;
		err = add_cie(cfi, &cie);
		if (err)
			return err;
	}
	if (more < 0)
		cfi->malformed_cnt++;
	return 0;
}

/* FDEs mostly follow their CIE, so the last one found is tried first. NULL: none there. */
static const struct cfi_cie *find_cie(const struct cfi *cfi, const struct cfi_cie *last,
				      uint64_t offset)
{
	uint32_t low = 0, high = cfi->cie_cnt;

	if (last && last->offset == offset)
		return last;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (cfi->cies[mid].offset == offset)
			return &cfi->cies[mid];
		if (cfi->cies[mid].offset < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* -- FDEs -- */

/*
 * 1 and the FDE; 0 if it describes no code: an empty range, or a start of zero, which
 * linkers leave behind for functions that they dropped. -EBADMSG if it cannot be read.
 */
static int read_fde(const struct cfi *cfi, const struct cfi_cie *cie, struct cursor *c,
		    struct cfi_fde *fde)
{
	uint64_t vaddr = cfi->section.vaddr + offset_of(cfi, c);
	uint64_t size;

	fde->start = eh_pointer__read(c, cie->encoding, vaddr);
	size = eh_pointer__read(c, EH_POINTER_FORMAT(cie->encoding), 0);
	if (cie->has_sized_augmentation)
		cursor__block(c);
	fde->end = fde->start + size;
	if (c->is_bad || fde->end < fde->start)
		return -EBADMSG;
	fde->program = (uint32_t)offset_of(cfi, c);
	fde->program_size_bytes = (uint32_t)cursor__left(c);
	fde->cie = (uint32_t)(cie - cfi->cies);
	return size && fde->start != (cie->encoding & DW_EH_PE_pcrel ? vaddr : 0);
}

static int add_fde(struct cfi *cfi, const struct cfi_fde *fde)
{
	if (cfi->fde_cnt == CFI_FDE_MAX)
		return -EFBIG;
	if (cfi->fde_cnt == cfi->fde_cap) {
		uint32_t cap = cfi->fde_cap ? 2 * cfi->fde_cap : 256;
		struct cfi_fde *fdes = reallocarray(cfi->fdes, cap, sizeof(*fdes));

		if (!fdes)
			return -ENOMEM;
		cfi->fdes = fdes;
		cfi->fde_cap = cap;
	}
	cfi->fdes[cfi->fde_cnt++] = *fde;
	return 0;
}

static int read_fdes(struct cfi *cfi)
{
	struct cursor c = cursor__at(cfi->section.bytes, cfi->section.size_bytes);
	const struct cfi_cie *cie = NULL;
	struct entry entry;

	while (next_entry(cfi, &c, &entry) > 0) {
		struct cfi_fde fde = { 0 };
		int found = -EBADMSG, err = 0;

		if (entry.is_cie)
			continue;
		cie = find_cie(cfi, cie, entry.cie_offset);
		if (cie && cie->is_usable && !entry.body.is_bad)
			found = read_fde(cfi, cie, &entry.body, &fde);
		if (found < 0)
			cfi->malformed_cnt++;
		else if (found)
			err = add_fde(cfi, &fde);
		if (err)
			return err;
	}
	return 0;
}

int cfi__init(struct cfi *cfi, const struct cfi_section *section)
{
	int err;

	*cfi = (struct cfi){ .section = *section };
	err = read_cies(cfi);
	return err ? err : read_fdes(cfi);
}

void cfi__release(struct cfi *cfi)
{
	free(cfi->cies);
	free(cfi->fdes);
	*cfi = (struct cfi){ 0 };
}
