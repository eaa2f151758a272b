/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cfi_builder.h"
#include "unwind/cfi.h"
#include "unwind/unwind_rule.h"

/*
 * Goal of this test: each instruction of CFI programs has its effect on the
 * table's rules, entries of every form that is allowed are found, and those that
 * are cut, damaged or made to mislead are counted or refused, never followed out
 * of bounds (sanitizers watch).
 */

#define VADDR	 0x10000
#define START	 0x2000
#define SIZE	 0x1000
#define ROWS_MAX 512

#define RSP(n)	    UF_RULE(UF_CFA_RSP, n, UF_RBP_SAME, 0)
#define RSP_BP(n, m) UF_RULE(UF_CFA_RSP, n, UF_RBP_AT_CFA, m)
#define RSP_LOST(n) UF_RULE(UF_CFA_RSP, n, UF_RBP_UNDEFINED, 0)
#define RBP(n)	    UF_RULE(UF_CFA_RBP, n, UF_RBP_SAME, 0)
#define END	    UF_RULE(UF_CFA_END, 0, UF_RBP_SAME, 0)
#define SIGNAL	    UF_RULE(UF_CFA_SIGNAL, 0, UF_RBP_SAME, 0)
#define UNSUPPORTED UF_RULE(UF_CFA_UNSUPPORTED, 0, UF_RBP_SAME, 0)

struct row {
	uint64_t start;
	uint32_t rule;
};

struct rows {
	struct row rows[ROWS_MAX];
	size_t cnt;
	uint64_t end;
	struct unwind_stats stats;
};

static struct built_cfi built;
static struct cfi cfi;
static struct rows seen;

static int see(void *arg, uint64_t start, uint64_t end, const struct cfi_cie *cie,
	       const struct cfi_state *state)
{
	struct rows *rows = arg;

	ck_assert_uint_lt(start, end);
	if (rows->cnt)
		ck_assert_uint_eq(start, rows->end);
	rows->end = end;
	if (rows->cnt < ROWS_MAX)
		rows->rows[rows->cnt++] =
			(struct row){ start, unwind_rule__from_state(cie, state, &rows->stats) };
	return 0;
}

static void setup(void)
{
	memset(&built, 0, sizeof(built));
	built.vaddr = VADDR;
}

static void teardown(void)
{
	cfi__release(&cfi);
}

/* Reads size bytes of what was built, in memory of just that size. */
static void read_part(size_t size)
{
	static uint8_t *copy;
	struct cfi_section section = { .size_bytes = size,
				       .vaddr = built.vaddr,
				       .is_debug_frame = built.is_debug_frame };

	cfi__release(&cfi);
	free(copy);
	copy = malloc(size + !size);
	memcpy(copy, built.bytes, size);
	section.bytes = copy;
	ck_assert_int_eq(cfi__init(&cfi, &section), 0);
	if (!size) {
		free(copy);
		copy = NULL;
	}
}

static int run(uint32_t i)
{
	memset(&seen, 0, sizeof(seen));
	ck_assert_uint_lt(i, cfi.fde_cnt);
	return cfi__run(&cfi, &cfi.fdes[i], cfi.fdes[i].end, see, &seen);
}

/* One CIE, one FDE with this code. */
static int run_code(struct cfi_code code)
{
	setup();
	cfi_fde(&built, cfi_cie(&built, &(struct cie_spec){ 0 }), START, SIZE, code);
	read_part(built.size);
	ck_assert_uint_eq(cfi.malformed_cnt, 0);
	return run(0);
}

/* -- instructions -- */

struct program_case {
	struct cfi_code code;
	struct row rows[6]; /* up to a start of 0 */
};

static const struct program_case programs[] = {
	{ CODE(""), { { START, RSP(8) } } },
	/* advance_loc 1, def_cfa_offset 16 */
	{ CODE("\x41\x0e\x10"), { { START, RSP(8) }, { START + 1, RSP(16) } } },
	/* advance_loc1, 2, 4 and 8, unsigned */
	{ CODE("\x02\xff\x0e\x10\x03\x01\x01\x0e\x18\x04\x00\x02\x00\x00\x0e\x20"
	       "\x1d\x01\x00\x00\x00\x00\x00\x00\x00\x0e\x28"),
	  { { START, RSP(8) },
	    { START + 0xff, RSP(16) },
	    { START + 0x200, RSP(24) },
	    { START + 0x400, RSP(32) },
	    { START + 0x401, RSP(40) } } },
	/* no row for an advance of nothing */
	{ CODE("\x02\x00\x0e\x10"), { { START, RSP(16) } } },
	/* an advance past the end ends the program */
	{ CODE("\x41\x0e\x10\x03\x00\x20\x0e\x18"),
	  { { START, RSP(8) }, { START + 1, RSP(16) } } },
	/* def_cfa rbp 16; def_cfa_register rsp */
	{ CODE("\x0c\x06\x10\x44\x0d\x07"), { { START, RBP(16) }, { START + 4, RSP(16) } } },
	/* def_cfa_sf rbp -2 * -8; def_cfa_offset_sf -3 * -8 */
	{ CODE("\x12\x06\x7e\x44\x13\x7d"), { { START, RBP(16) }, { START + 4, RBP(24) } } },
	/* CFA from a register that is not followed: rbx */
	{ CODE("\x0c\x03\x10"), { { START, UNSUPPORTED } } },
	/* def_cfa_expression *(rbp - 8) */
	{ CODE("\x0f\x03\x76\x78\x06"),
	  { { START, UF_RULE(UF_CFA_DEREF_RBP, -8, UF_RBP_SAME, 0) } } },
	/* *(rsp + 16) */
	{ CODE("\x0f\x03\x77\x10\x06"),
	  { { START, UF_RULE(UF_CFA_DEREF_RSP, 16, UF_RBP_SAME, 0) } } },
	/* rsp + 24, rbp + 16 as expressions */
	{ CODE("\x0f\x02\x77\x18\x41\x0f\x02\x76\x10"),
	  { { START, RSP(24) }, { START + 1, RBP(16) } } },
	/* *(rsp + 16) + 8, and something else */
	{ CODE("\x0f\x05\x77\x10\x06\x23\x08\x41\x0f\x02\x30\x31"),
	  { { START, UNSUPPORTED }, { START + 1, UNSUPPORTED } } },
	/* an expression with more after it is another one */
	{ CODE("\x0f\x04\x76\x78\x06\x06"), { { START, UNSUPPORTED } } },
	/* the stubs of .plt: 11, and 10 with IBT */
	{ CODE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22"),
	  { { START, UF_RULE(UF_CFA_PLT, 88, UF_RBP_SAME, 0) } } },
	{ CODE("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3a\x2a\x33\x24\x22"),
	  { { START, UF_RULE(UF_CFA_PLT, 80, UF_RBP_SAME, 0) } } },
	/* and what only looks like one: another number, more after it */
	{ CODE("\x0f\x0c\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22\x06"),
	  { { START, UNSUPPORTED } } },
	{ CODE("\x0f\x0b\x77\x10\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22"),
	  { { START, UNSUPPORTED } } },
	/* def_cfa_offset 56, expression, def_cfa_register rsp: 56 is back */
	{ CODE("\x0e\x38\x41\x0f\x03\x77\x10\x06\x41\x0d\x07"),
	  { { START, RSP(56) },
	    { START + 1, UF_RULE(UF_CFA_DEREF_RSP, 16, UF_RBP_SAME, 0) },
	    { START + 2, RSP(56) } } },
	/* offset rbp 2; restore rbp */
	{ CODE("\x86\x02\x41\xc6"), { { START, RSP_BP(8, -16) }, { START + 1, RSP(8) } } },
	/* offset_extended; restore_extended */
	{ CODE("\x05\x06\x02\x41\x06\x06"),
	  { { START, RSP_BP(8, -16) }, { START + 1, RSP(8) } } },
	/* offset_extended_sf 2 and -2 */
	{ CODE("\x11\x06\x02\x41\x11\x06\x7e"),
	  { { START, RSP_BP(8, -16) }, { START + 1, RSP_BP(8, 16) } } },
	/* GNU_negative_offset_extended */
	{ CODE("\x2f\x06\x02"), { { START, RSP_BP(8, 16) } } },
	/* undefined, same_value, register, val_offset, val_offset_sf of rbp */
	{ CODE("\x07\x06\x41\x08\x06\x41\x09\x06\x03\x41\x14\x06\x02\x41\x08\x06\x15\x06\x02"),
	  { { START, RSP_LOST(8) },
	    { START + 1, RSP(8) },
	    { START + 2, RSP_LOST(8) },
	    { START + 3, RSP_LOST(8) },
	    { START + 4, RSP_LOST(8) } } },
	/* expression *(rbp + 0), *(rbp - 16), *(rsp + 8); val_expression rbp + 0 */
	{ CODE("\x10\x06\x02\x76\x00\x41\x10\x06\x02\x76\x70\x41\x10\x06\x02\x77\x08"
	       "\x41\x16\x06\x02\x76\x00"),
	  { { START, UF_RULE(UF_CFA_RSP, 8, UF_RBP_AT_RBP, 0) },
	    { START + 1, UF_RULE(UF_CFA_RSP, 8, UF_RBP_AT_RBP, -16) },
	    { START + 2, RSP_LOST(8) },
	    { START + 3, RSP_LOST(8) } } },
	/* undefined return address: the outermost frame */
	{ CODE("\x07\x10"), { { START, END } } },
	/* return address elsewhere: offset 2, same_value, register, in rbp's frame */
	{ CODE("\x90\x02\x41\x08\x10\x41\x09\x10\x03\x41\x10\x10\x02\x76\x08\x41\xd0"),
	  { { START, UNSUPPORTED },
	    { START + 1, UNSUPPORTED },
	    { START + 2, UNSUPPORTED },
	    { START + 3, UNSUPPORTED },
	    { START + 4, RSP(8) } } },
	/* the caller's rsp: val_offset 0 is the CFA; val_offset 1, offset 2 are not */
	{ CODE("\x14\x07\x00\x41\x14\x07\x01\x41\x87\x02"),
	  { { START, RSP(8) }, { START + 1, UNSUPPORTED }, { START + 2, UNSUPPORTED } } },
	/* remember_state, changes of CFA and rbp, restore_state */
	{ CODE("\x0e\x10\x86\x02\x0a\x41\x0c\x06\x20\x07\x06\x41\x0b"),
	  { { START, RSP_BP(16, -16) },
	    { START + 1, UF_RULE(UF_CFA_RBP, 32, UF_RBP_UNDEFINED, 0) },
	    { START + 2, RSP_BP(16, -16) } } },
	/* no effect: nop, GNU_args_size, registers that are not followed, of any number */
	{ CODE("\x00\x2e\x80\x01\x83\x03\x41\x05\x80\x80\x80\x80\x80\x80\x01\x02\x07\x86\x02"),
	  { { START, RSP(8) }, { START + 1, RSP(8) } } },
	/* numbers: no multiple of 8, the greatest, one more */
	{ CODE("\x0e\x0c\x41\x0e\xf8\xff\x1f\x41\x0e\x80\x80\x20"),
	  { { START, UNSUPPORTED }, { START + 1, RSP(524280) }, { START + 2, UNSUPPORTED } } },
	/* rbp's: the lowest that fits, one less */
	{ CODE("\x05\x06\x80\x04\x41\x05\x06\x81\x04"),
	  { { START, RSP_BP(8, -4096) }, { START + 1, RSP_LOST(8) } } },
};

START_TEST(instruction_has_its_effect_on_the_rules)
{
	const struct program_case *c = &programs[_i];
	size_t cnt = 0;

	ck_assert_int_eq(run_code(c->code), 0);
	while (cnt < 6 && c->rows[cnt].start) {
		ck_assert_uint_lt(cnt, seen.cnt);
		ck_assert_uint_eq(seen.rows[cnt].start, c->rows[cnt].start);
		ck_assert_uint_eq(seen.rows[cnt].rule, c->rows[cnt].rule);
		cnt++;
	}
	ck_assert_uint_eq(seen.cnt, cnt);
	ck_assert_uint_eq(seen.end, START + SIZE);
}
END_TEST

static const struct cfi_code bad_programs[] = {
	CODE("\x3f"),				/* unknown */
	CODE("\x2d"),				/* GNU_window_save: SPARC's */
	CODE("\x0b"),				/* restore_state without remember_state */
	CODE("\x0a\x0b\x0b"),			/* one too many */
	CODE("\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a" /* deeper than we remember */
	     "\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a"),
	CODE("\x01\xd0\x0f\xff\xff"),		/* set_loc, backwards */
	CODE("\x1d\xff\xff\xff\xff\xff\xff\xff\xff"), /* an advance that wraps around */
	CODE("\x0f\x7f\x77\x08\x06"),		/* an expression longer than the entry */
	CODE("\x16\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
};

START_TEST(bad_program_is_refused)
{
	ck_assert_int_eq(run_code(bad_programs[_i]), -EBADMSG);
}
END_TEST

START_TEST(rows_before_a_bad_instruction_are_given)
{
	ck_assert_int_eq(run_code(CODE("\x41\x0e\x10\x41\x3f\x41")), -EBADMSG);
	ck_assert_uint_eq(seen.cnt, 2);
	ck_assert_uint_eq(seen.end, START + 2);
}
END_TEST

START_TEST(instruction_that_the_entry_cuts_is_refused)
{
	/* Of all lengths, as the last of an entry that was not padded. */
	static const struct cfi_code whole[] = {
		CODE("\x02\x01"), CODE("\x03\x01\x01"), CODE("\x04\x01\x01\x01\x01"),
		CODE("\x1d\x01\x01\x01\x01\x01\x01\x01\x01"), CODE("\x05\x06\x02"),
		CODE("\x06\x06"), CODE("\x07\x06"), CODE("\x08\x06"), CODE("\x09\x06\x03"),
		CODE("\x0c\x07\x10"), CODE("\x0d\x07"), CODE("\x0e\x88\x01"),
		CODE("\x0f\x03\x77\x10\x06"), CODE("\x10\x06\x02\x76\x00"),
		CODE("\x11\x06\x02"), CODE("\x12\x07\x7f"), CODE("\x13\x7f"),
		CODE("\x14\x06\x02"), CODE("\x15\x06\x02"), CODE("\x16\x06\x02\x76\x00"),
		CODE("\x2e\x88\x01"), CODE("\x2f\x06\x02"), CODE("\x86\x02"),
	};

	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++) {
		for (size_t len = 1; len <= whole[i].len; len++) {
			struct cfi_fde fde;
			int err = run_code((struct cfi_code){ whole[i].bytes, len });

			fde = cfi.fdes[0];
			fde.program_size_bytes = (uint32_t)len;
			memset(&seen, 0, sizeof(seen));
			err = cfi__run(&cfi, &fde, fde.end, see, &seen);
			ck_assert_int_eq(err, len < whole[i].len ? -EBADMSG : 0);
		}
	}
}
END_TEST

START_TEST(set_loc_goes_to_an_encoded_address)
{
	size_t cie, fde, code;
	int32_t delta;

	setup();
	cie = cfi_cie(&built, &(struct cie_spec){ 0 });
	fde = cfi_fde(&built, cie, START, SIZE, CODE("\x01\x00\x00\x00\x00\x0e\x10"));
	code = fde + 4 + 4 + 8 + 1 + 1;
	delta = START + 0x123 - (int32_t)(VADDR + code);
	memcpy(built.bytes + code, &delta, sizeof(delta));
	read_part(built.size);
	ck_assert_int_eq(run(0), 0);
	ck_assert_uint_eq(seen.cnt, 2);
	ck_assert_uint_eq(seen.rows[1].start, START + 0x123);
	ck_assert_uint_eq(seen.rows[1].rule, RSP(16));
}
END_TEST

START_TEST(signal_trampoline_is_recognised_by_its_expressions)
{
	/* glibc's: CFA *(rsp + 160), rip at rsp + 168, rbp at rsp + 120. */
	struct cfi_code code = CODE("\x0f\x04\x77\xa0\x01\x06\x10\x10\x03\x77\xa8\x01"
				    "\x10\x06\x03\x77\xf8\x00\x10\x07\x03\x77\xa0\x01");
	struct cie_spec spec = { .augmentation = "zRS", .data = CODE("\x1b") };

	setup();
	cfi_fde(&built, cfi_cie(&built, &spec), START, SIZE, code);
	read_part(built.size);
	ck_assert_int_eq(run(0), 0);
	ck_assert_uint_eq(seen.rows[0].rule, SIGNAL);

	/* Without the S, or with rip somewhere else, it is not known what it is. */
	ck_assert_int_eq(run_code(code), 0);
	ck_assert_uint_eq(seen.rows[0].rule, UNSUPPORTED);
	built.size = 0;
	cfi_fde(&built, cfi_cie(&built, &spec), START, SIZE,
		CODE("\x0f\x04\x77\xa0\x01\x06\x10\x10\x03\x77\xb0\x01\x10\x06\x03\x77\xf8\x00"));
	read_part(built.size);
	ck_assert_int_eq(run(0), 0);
	ck_assert_uint_eq(seen.rows[0].rule, UNSUPPORTED);
}
END_TEST

START_TEST(rows_are_cut_where_the_caller_says)
{
	ck_assert_int_eq(run_code(CODE("\x44\x0e\x10\x44\x0e\x18")), 0);
	memset(&seen, 0, sizeof(seen));
	ck_assert_int_eq(cfi__run(&cfi, &cfi.fdes[0], START + 6, see, &seen), 0);
	ck_assert_uint_eq(seen.cnt, 2);
	ck_assert_uint_eq(seen.end, START + 6);
}
END_TEST

START_TEST(unsupported_rows_are_counted_by_kind)
{
	run_code(CODE("\x0c\x03\x10\x41\x0f\x02\x30\x31\x41\x0c\x07\x0c\x41\x90\x02"));
	ck_assert_uint_eq(seen.stats.register_cnt, 1);
	ck_assert_uint_eq(seen.stats.expression_cnt, 1);
	ck_assert_uint_eq(seen.stats.range_cnt, 1);
	ck_assert_uint_eq(seen.stats.return_address_cnt, 1);
}
END_TEST

/* -- entries -- */

static void check_one_plain_fde(void)
{
	ck_assert_uint_eq(cfi.malformed_cnt, 0);
	ck_assert_uint_eq(cfi.fde_cnt, 1);
	ck_assert_uint_eq(cfi.fdes[0].start, START);
	ck_assert_uint_eq(cfi.fdes[0].end, START + SIZE);
	ck_assert_int_eq(run(0), 0);
	ck_assert_uint_eq(seen.cnt, 2);
	ck_assert_uint_eq(seen.rows[1].rule, RSP(16));
}

/* Every combination: .eh_frame or .debug_frame, 32 or 64 bits, versions 1, 3 and 4. */
START_TEST(entries_of_every_form_are_read)
{
	static const uint8_t versions[] = { 1, 3, 4 };

	setup();
	built.is_debug_frame = _i & 1;
	built.is_64bit = _i & 2;
	cfi_fde(&built, cfi_cie(&built, &(struct cie_spec){ .version = versions[_i / 4] }), START,
		SIZE, CODE("\x41\x0e\x10"));
	read_part(built.size);
	check_one_plain_fde();
}
END_TEST

START_TEST(augmentation_letters_are_stepped_over)
{
	/* personality (indirect, pcrel), LSDA encoding, FDE encoding */
	static const struct cie_spec specs[] = {
		{ .augmentation = "zPLR", .data = CODE("\x9b\x11\x22\x33\x44\x1b\x1b") },
		{ .augmentation = "zRS", .data = CODE("\x1b") },
		{ .augmentation = "zRB", .data = CODE("\x1b") },
		/* data that no letter asks for */
		{ .augmentation = "zR", .data = CODE("\x1b\x55\x66") },
		{ .augmentation = "zPR", .data = CODE("\xff\x1b") },
	};

	for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
		setup();
		cfi_fde(&built, cfi_cie(&built, &specs[i]), START, SIZE, CODE("\x41\x0e\x10"));
		read_part(built.size);
		check_one_plain_fde();
		ck_assert_int_eq(cfi.cies[0].is_signal, i == 1);
	}
}
END_TEST

START_TEST(cie_that_cannot_be_understood_is_counted_with_its_fdes)
{
	static const struct cie_spec specs[] = {
		{ .augmentation = "zXR", .data = CODE("\x1b") },    /* unknown letter */
		{ .augmentation = "R" },			    /* no size */
		{ .augmentation = "zPR", .data = CODE("\x50\x1b") }, /* aligned personality */
		{ .augmentation = "zPR", .data = CODE("\x1b") },    /* data too short */
		{ .version = 2 },
		{ .version = 4, .address_size = 4 },
		{ .code = CODE("\x41") },     /* an address in a CIE's program */
		{ .code = CODE("\xc6") },     /* nothing to restore there */
		{ .code = CODE("\x0e\x10") }, /* half of a CFA */
		{ .code = CODE("\x3e") },
	};

	for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
		setup();
		cfi_fde(&built, cfi_cie(&built, &specs[i]), START, SIZE, CODE(""));
		read_part(built.size);
		ck_assert_uint_eq(cfi.malformed_cnt, 2);
		ck_assert_uint_eq(cfi.fde_cnt, 0);
	}
}
END_TEST

/* indirect, textrel, datarel, funcrel, aligned, omitted, unknown format */
START_TEST(pointer_encodings_without_a_base_are_refused)
{
	static const char encodings[][2] = { "\x9b", "\x2b", "\x3b", "\x4b", "\x50", "\xff", "\x1f" };

	for (size_t i = 0; i < sizeof(encodings) / sizeof(*encodings); i++) {
		struct cie_spec spec = { .augmentation = "zR", .data = { encodings[i], 1 } };

		setup();
		cfi_fde(&built, cfi_cie(&built, &spec), START, SIZE, CODE(""));
		read_part(built.size);
		ck_assert_uint_eq(cfi.fde_cnt, 0);
		ck_assert_uint_eq(cfi.malformed_cnt, 1);
	}
}
END_TEST

/* Start and size in each format; the start relative to itself with 0x10. */
START_TEST(pointer_formats_are_read)
{
	static const struct {
		const char *encoding;
		size_t width; /* 0: LEB128, of two bytes */
	} formats[] = {
		{ "\x00", 8 }, { "\x02", 2 }, { "\x03", 4 }, { "\x04", 8 }, { "\x0a", 2 },
		{ "\x0b", 4 }, { "\x0c", 8 }, { "\x01", 0 }, { "\x09", 0 }, { "\x1a", 2 },
		{ "\x1b", 4 }, { "\x1c", 8 }, { "\x10", 8 },
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		struct cie_spec spec = { .augmentation = "zR",
					 .data = { formats[i].encoding, 1 } };
		size_t width = formats[i].width, start, cie;
		uint64_t base;

		setup();
		built.vaddr = 0x2800; /* near enough for two bytes, which are negative */
		cie = cfi_cie(&built, &spec);
		start = cfi_begin(&built);
		cfi_put_int(&built, built.size - cie, 4);
		base = formats[i].encoding[0] & 0x10 ? built.vaddr + built.size : 0;
		if (width) {
			cfi_put_int(&built, START - base, width);
			cfi_put_int(&built, SIZE, width);
		} else {
			cfi_put(&built, "\x80\xc0\x00\x80\x20", 5);
		}
		cfi_put_int(&built, 0, 1);
		cfi_put(&built, "\x41\x0e\x10", 3);
		cfi_end(&built, start);
		read_part(built.size);
		check_one_plain_fde();
	}
}
END_TEST

START_TEST(fde_may_come_before_its_cie)
{
	size_t cie;

	setup();
	built.is_debug_frame = true;
	cfi_fde(&built, 0, START, SIZE, CODE("\x41\x0e\x10"));
	cie = cfi_cie(&built, &(struct cie_spec){ 0 });
	memcpy(built.bytes + 4, &cie, 4);
	read_part(built.size);
	check_one_plain_fde();
}
END_TEST

START_TEST(fde_without_a_cie_is_counted)
{
	size_t cie, fde;

	setup();
	cie = cfi_cie(&built, &(struct cie_spec){ 0 });
	fde = cfi_fde(&built, cie + 4, START, SIZE, CODE(""));
	cfi_fde(&built, fde, START, SIZE, CODE(""));
	cfi_fde(&built, (size_t)-4096, START, SIZE, CODE(""));
	read_part(built.size);
	ck_assert_uint_eq(cfi.fde_cnt, 0);
	ck_assert_uint_eq(cfi.malformed_cnt, 3);
}
END_TEST

START_TEST(fdes_of_no_code_are_left_out)
{
	size_t cie;

	setup();
	built.is_debug_frame = true;
	cie = cfi_cie(&built, &(struct cie_spec){ 0 });
	cfi_fde(&built, cie, START, 0, CODE(""));
	cfi_fde(&built, cie, 0, SIZE, CODE("")); /* a function that the linker dropped */
	cfi_fde(&built, cie, START, SIZE, CODE("\x41\x0e\x10"));
	read_part(built.size);
	check_one_plain_fde();
}
END_TEST

START_TEST(range_that_wraps_around_is_counted)
{
	setup();
	built.is_debug_frame = true;
	cfi_fde(&built, cfi_cie(&built, &(struct cie_spec){ 0 }), UINT64_MAX - 16, SIZE,
		CODE(""));
	read_part(built.size);
	ck_assert_uint_eq(cfi.fde_cnt, 0);
	ck_assert_uint_eq(cfi.malformed_cnt, 1);
}
END_TEST

START_TEST(zero_lengths_are_padding_unless_they_end_the_section)
{
	struct cfi_section section = { .bytes = built.bytes, .vaddr = VADDR, .ends_at_zero = true };
	size_t cie;

	setup();
	cie = cfi_cie(&built, &(struct cie_spec){ 0 });
	cfi_put_int(&built, 0, 8);
	cfi_fde(&built, cie, START, SIZE, CODE("\x41\x0e\x10"));
	cfi_put_int(&built, 0, 4);
	read_part(built.size);
	check_one_plain_fde();

	cfi__release(&cfi);
	section.size_bytes = built.size;
	ck_assert_int_eq(cfi__init(&cfi, &section), 0);
	ck_assert_uint_eq(cfi.cie_cnt, 1);
	ck_assert_uint_eq(cfi.fde_cnt, 0);
}
END_TEST

START_TEST(length_that_leads_out_of_the_section_ends_it)
{
	size_t cie;

	setup();
	cie = cfi_cie(&built, &(struct cie_spec){ 0 });
	cfi_fde(&built, cie, START, SIZE, CODE(""));
	cfi_fde(&built, cie, START + SIZE, SIZE, CODE(""));
	for (size_t size = 0; size < built.size; size++) {
		read_part(size);
		ck_assert_uint_le(cfi.fde_cnt, 1);
		ck_assert_uint_le(cfi.malformed_cnt, 1);
	}
	cfi_put(&built, "\xf0\xff\xff\xff", 4);
	read_part(built.size);
	ck_assert_uint_eq(cfi.fde_cnt, 2);
	ck_assert_uint_eq(cfi.malformed_cnt, 1);
}
END_TEST

/* -- damage -- */

static void build_sample(bool is_debug_frame)
{
	size_t cie;

	setup();
	built.is_debug_frame = is_debug_frame;
	for (int k = 0; k < 3; k++) {
		built.is_64bit = k == 2;
		cie = cfi_cie(&built, &(struct cie_spec){ .version = k ? 3 : 1 });
		for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i += 3)
			cfi_fde(&built, cie, START + i * SIZE, SIZE, programs[i].code);
	}
}

static void run_all(void)
{
	for (uint32_t i = 0; i < cfi.fde_cnt; i++) {
		const struct cfi_fde *fde = &cfi.fdes[i];
		int err;

		ck_assert_uint_lt(fde->start, fde->end);
		err = run(i);
		ck_assert(err == 0 || err == -EBADMSG);
		if (!err)
			ck_assert_uint_eq(seen.end, fde->end);
	}
}

START_TEST(section_cut_anywhere_is_read_up_to_there)
{
	build_sample(_i);
	for (size_t size = 0; size <= built.size; size++) {
		read_part(size);
		run_all();
	}
}
END_TEST

/* Rows stay in order whatever the bytes are. Seeded: a failure can be had again. */
START_TEST(damaged_bytes_do_no_harm)
{
	static struct built_cfi whole;
	unsigned int seed = 20240611;

	build_sample(_i);
	whole = built;
	for (int round = 0; round < 4000; round++) {
		built = whole;
		for (int k = rand_r(&seed) % 8; k >= 0; k--)
			built.bytes[(size_t)rand_r(&seed) % built.size] = (uint8_t)rand_r(&seed);
		read_part(built.size);
		run_all();
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("unwind_cfi");
	TCase *tc = tcase_create("instructions");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, instruction_has_its_effect_on_the_rules, 0,
			    sizeof(programs) / sizeof(*programs));
	tcase_add_loop_test(tc, bad_program_is_refused, 0,
			    sizeof(bad_programs) / sizeof(*bad_programs));
	tcase_add_test(tc, rows_before_a_bad_instruction_are_given);
	tcase_add_test(tc, instruction_that_the_entry_cuts_is_refused);
	tcase_add_test(tc, set_loc_goes_to_an_encoded_address);
	tcase_add_test(tc, signal_trampoline_is_recognised_by_its_expressions);
	tcase_add_test(tc, rows_are_cut_where_the_caller_says);
	tcase_add_test(tc, unsupported_rows_are_counted_by_kind);
	suite_add_tcase(s, tc);
	tc = tcase_create("entries");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, entries_of_every_form_are_read, 0, 12);
	tcase_add_test(tc, augmentation_letters_are_stepped_over);
	tcase_add_test(tc, cie_that_cannot_be_understood_is_counted_with_its_fdes);
	tcase_add_test(tc, pointer_encodings_without_a_base_are_refused);
	tcase_add_test(tc, pointer_formats_are_read);
	tcase_add_test(tc, fde_may_come_before_its_cie);
	tcase_add_test(tc, fde_without_a_cie_is_counted);
	tcase_add_test(tc, fdes_of_no_code_are_left_out);
	tcase_add_test(tc, range_that_wraps_around_is_counted);
	tcase_add_test(tc, zero_lengths_are_padding_unless_they_end_the_section);
	tcase_add_test(tc, length_that_leads_out_of_the_section_ends_it);
	suite_add_tcase(s, tc);
	tc = tcase_create("damage");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, section_cut_anywhere_is_read_up_to_there, 0, 2);
	tcase_add_loop_test(tc, damaged_bytes_do_no_harm, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(suite());
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
