/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_CFI_BUILDER_H
#define UNFREED_TESTS_CFI_BUILDER_H

/* .eh_frame and .debug_frame sections made by hand, entry by entry. */
#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define CFI_BUILD_MAX 8192

struct built_cfi {
	uint8_t bytes[CFI_BUILD_MAX];
	size_t size;
	uint64_t vaddr;
	bool is_debug_frame, is_64bit;
};

/* Instructions of an entry: a string literal and its length. */
struct cfi_code {
	const char *bytes;
	size_t len;
};

#define CODE(literal) ((struct cfi_code){ literal, sizeof(literal) - 1 })

/* What most CIEs begin with: CFA = rsp + 8, return address at CFA - 8. */
#define CODE_INITIAL CODE("\x0c\x07\x08\x90\x01")

struct cie_spec {
	uint8_t version;	  /* 0 means 1 */
	const char *augmentation; /* NULL means "zR", "" in .debug_frame */
	struct cfi_code data;	  /* of the augmentation; empty with no letters means pcrel, sdata4 */
	uint8_t address_size;	  /* of version 4; 0 means 8 */
	uint8_t return_register;  /* 0 means 16 */
	struct cfi_code code;	  /* NULL means CODE_INITIAL */
};

static inline void cfi_put(struct built_cfi *b, const void *src, size_t len)
{
	ck_assert_uint_le(b->size + len, sizeof(b->bytes));
	memcpy(b->bytes + b->size, src, len);
	b->size += len;
}

static inline void cfi_put_int(struct built_cfi *b, uint64_t value, size_t len)
{
	cfi_put(b, &value, len);
}

/* Leaves room for the length; returns where the entry begins. */
static inline size_t cfi_begin(struct built_cfi *b)
{
	size_t start = b->size;

	cfi_put_int(b, UINT32_MAX, 4);
	if (b->is_64bit)
		cfi_put_int(b, 0, 8);
	return start;
}

static inline void cfi_end(struct built_cfi *b, size_t start)
{
	uint64_t length;

	while (b->size % 4)
		cfi_put_int(b, 0, 1); /* DW_CFA_nop */
	length = b->size - start - (b->is_64bit ? 12 : 4);
	if (b->is_64bit)
		memcpy(b->bytes + start + 4, &length, 8);
	else
		memcpy(b->bytes + start, &length, 4);
}

static inline void cfi_put_id(struct built_cfi *b, uint64_t debug_id, uint64_t eh_id)
{
	if (b->is_debug_frame)
		cfi_put_int(b, debug_id, b->is_64bit ? 8 : 4);
	else
		cfi_put_int(b, eh_id, 4);
}

/* Returns the CIE's offset. */
static inline size_t cfi_cie(struct built_cfi *b, const struct cie_spec *spec)
{
	const char *letters = spec->augmentation ? spec->augmentation :
			      b->is_debug_frame ? "" : "zR";
	struct cfi_code data = spec->augmentation ? spec->data : CODE("\x1b");
	struct cfi_code code = spec->code.bytes ? spec->code : CODE_INITIAL;
	uint8_t version = spec->version ? spec->version : 1;
	size_t start = cfi_begin(b);

	cfi_put_id(b, UINT64_MAX, 0);
	cfi_put_int(b, version, 1);
	cfi_put(b, letters, strlen(letters) + 1);
	if (version == 4) {
		cfi_put_int(b, spec->address_size ? spec->address_size : 8, 1);
		cfi_put_int(b, 0, 1);
	}
	cfi_put_int(b, 1, 1);	 /* code alignment */
	cfi_put_int(b, 0x78, 1); /* data alignment: -8 */
	cfi_put_int(b, spec->return_register ? spec->return_register : 16, 1);
	if (*letters == 'z') {
		cfi_put_int(b, data.len, 1);
		cfi_put(b, data.bytes, data.len);
	}
	cfi_put(b, code.bytes, code.len);
	cfi_end(b, start);
	return start;
}

/* As most FDEs are: sdata4, relative to themselves; in .debug_frame 8 bytes, absolute. */
static inline size_t cfi_fde(struct built_cfi *b, size_t cie, uint64_t start_vaddr,
			     uint32_t size_bytes, struct cfi_code code)
{
	size_t start = cfi_begin(b);

	cfi_put_id(b, cie, b->size - cie);
	if (b->is_debug_frame) {
		cfi_put_int(b, start_vaddr, 8);
		cfi_put_int(b, size_bytes, 8);
	} else {
		cfi_put_int(b, start_vaddr - (b->vaddr + b->size), 4);
		cfi_put_int(b, size_bytes, 4);
		cfi_put_int(b, 0, 1); /* no augmentation data */
	}
	cfi_put(b, code.bytes, code.len);
	cfi_end(b, start);
	return start;
}

#endif
