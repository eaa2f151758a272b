/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "cfi_builder.h"
#include "unwind/unwind_table.h"

/*
 * Goal of this test: tables made of files by hand have the rows that were meant,
 * at the file's offsets, from whichever sections there are; rows are dropped only
 * where no call can end; damaged files do no harm. (tests/unwind/check_tables
 * compares real files with libdw.)
 */

#define CODE_OFFSET 0x1000
#define CODE_VADDR  0x401000
#define CFI_VADDR   0x800000
#define FILE_MAX    (1 << 20)
#define FUNC(i)	    (CODE_VADDR + 0x100 * (i))
#define AT(i)	    (CODE_OFFSET + 0x100 * (i))

#define RSP(n) UF_RULE(UF_CFA_RSP, n, UF_RBP_SAME, 0)

/* What a file is made of. */
struct elf_parts {
	const uint8_t *code;
	size_t code_len;
	struct built_cfi eh, debug;
	bool has_sections, has_header;
	enum { PLAIN, COMPRESSED, OLD_COMPRESSED } debug_form;
};

struct elf_bytes {
	uint8_t bytes[FILE_MAX];
	size_t size;
};

static struct elf_parts parts;
static struct elf_bytes elf;
static uint8_t code[FILE_MAX / 2];
static struct unwind_table table;

static void setup(void)
{
	memset(&parts, 0, sizeof(parts));
	memset(code, 0x90, sizeof(code));
	parts.code = code;
	parts.code_len = 0x1000;
	parts.eh.vaddr = CFI_VADDR;
	parts.debug.is_debug_frame = true;
	parts.has_sections = true;
}

static void teardown(void)
{
	unwind_table__release(&table);
}

/* -- files by hand -- */

static size_t put(const void *src, size_t len)
{
	size_t at = (elf.size + 7) & ~(size_t)7;

	ck_assert_uint_le(at + len, sizeof(elf.bytes));
	memcpy(elf.bytes + at, src, len);
	elf.size = at + len;
	return at;
}

/* .debug_frame as sections of compressed files are. */
static size_t put_debug_frame(Elf64_Shdr *sh)
{
	static uint8_t packed[2 * CFI_BUILD_MAX];
	uLongf len = sizeof(packed) - sizeof(Elf64_Chdr);
	Elf64_Chdr chdr = { .ch_type = ELFCOMPRESS_ZLIB, .ch_size = parts.debug.size };
	uint64_t size = htobe64(parts.debug.size);
	size_t head = parts.debug_form == COMPRESSED ? sizeof(chdr) : 12;

	if (parts.debug_form == PLAIN) {
		sh->sh_size = parts.debug.size;
		return put(parts.debug.bytes, parts.debug.size);
	}
	ck_assert_int_eq(compress(packed + head, &len, parts.debug.bytes, parts.debug.size), Z_OK);
	if (parts.debug_form == COMPRESSED) {
		memcpy(packed, &chdr, sizeof(chdr));
		sh->sh_flags = SHF_COMPRESSED;
	} else {
		memcpy(packed, "ZLIB", 4);
		memcpy(packed + 4, &size, 8);
	}
	sh->sh_size = head + len;
	return put(packed, head + len);
}

static void put_sections(Elf64_Ehdr *eh, size_t eh_frame)
{
	static const char names[] = "\0.eh_frame\0.debug_frame\0.shstrtab\0.zdebug_frame";
	Elf64_Shdr sh[4] = { 0 };

	sh[1] = (Elf64_Shdr){ .sh_name = 1, .sh_type = SHT_PROGBITS, .sh_addr = parts.eh.vaddr,
			      .sh_offset = eh_frame, .sh_size = parts.eh.size };
	sh[2] = (Elf64_Shdr){ .sh_name = parts.debug_form == OLD_COMPRESSED ? 34 : 11,
			      .sh_type = SHT_PROGBITS };
	sh[2].sh_offset = put_debug_frame(&sh[2]);
	sh[3] = (Elf64_Shdr){ .sh_name = 24, .sh_type = SHT_STRTAB,
			      .sh_offset = put(names, sizeof(names)), .sh_size = sizeof(names) };
	eh->e_shoff = put(sh, sizeof(sh));
	eh->e_shentsize = sizeof(Elf64_Shdr);
	eh->e_shnum = 4;
	eh->e_shstrndx = 3;
}

/* The code at CODE_OFFSET, .eh_frame and its header after it in a segment of their own. */
static void build_elf(void)
{
	Elf64_Ehdr eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			  .e_type = ET_DYN, .e_machine = EM_X86_64,
			  .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 3 };
	Elf64_Phdr ph[3] = { 0 };
	uint8_t hdr[12] = { 1, 0x1b, 0xff, 0xff };
	size_t eh_frame, at;
	int32_t delta;

	memset(&elf, 0, sizeof(elf));
	put(&eh, sizeof(eh));
	eh.e_phoff = put(ph, sizeof(ph));
	elf.size = CODE_OFFSET;
	put(parts.code, parts.code_len);
	ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = CODE_VADDR,
			      .p_offset = CODE_OFFSET, .p_filesz = parts.code_len };
	eh_frame = put(parts.eh.bytes, parts.eh.size);
	elf.size = eh_frame + parts.eh.size + 4; /* four zeros end it */
	at = put(hdr, sizeof(hdr));
	delta = (int32_t)(eh_frame - (at + 4));
	memcpy(elf.bytes + at + 4, &delta, sizeof(delta));
	ph[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = parts.eh.vaddr,
			      .p_offset = eh_frame, .p_filesz = elf.size - eh_frame };
	if (parts.has_header)
		ph[2] = (Elf64_Phdr){ .p_type = PT_GNU_EH_FRAME,
				      .p_vaddr = parts.eh.vaddr + (at - eh_frame),
				      .p_offset = at, .p_filesz = sizeof(hdr) };
	if (parts.has_sections)
		put_sections(&eh, eh_frame);
	memcpy(elf.bytes, &eh, sizeof(eh));
	memcpy(elf.bytes + eh.e_phoff, ph, sizeof(ph));
}

static int fd_with(const void *bytes, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
	return fd;
}

static int build_bytes(const void *bytes, size_t size, bool all_rows)
{
	int fd = fd_with(bytes, size), err;

	unwind_table__release(&table);
	err = unwind_table__build_fd(fd, all_rows, &table);
	close(fd);
	return err;
}

static int build(bool all_rows)
{
	build_elf();
	return build_bytes(elf.bytes, elf.size, all_rows);
}

static void eh_fde(int first, uint32_t size, struct cfi_code program)
{
	if (!parts.eh.size)
		cfi_cie(&parts.eh, &(struct cie_spec){ 0 });
	cfi_fde(&parts.eh, 0, FUNC(first), size, program);
}

static void debug_fde(int first, uint32_t size, struct cfi_code program)
{
	if (!parts.debug.size)
		cfi_cie(&parts.debug, &(struct cie_spec){ 0 });
	cfi_fde(&parts.debug, 0, FUNC(first), size, program);
}

static void check_rows(const struct uf_unwind_row *rows, size_t cnt)
{
	ck_assert_uint_eq(table.row_cnt, cnt);
	for (size_t i = 0; i < cnt; i++) {
		ck_assert_uint_eq(table.rows[i].offset, rows[i].offset);
		ck_assert_uint_eq(table.rows[i].rule, rows[i].rule);
	}
}

#define CHECK_ROWS(...)                                                                            \
	do {                                                                                       \
		static const struct uf_unwind_row rows_[] = { __VA_ARGS__ };                       \
		check_rows(rows_, sizeof(rows_) / sizeof(*rows_));                                 \
	} while (0)

/* -- rows -- */

START_TEST(rows_stand_at_file_offsets_with_gaps_between_functions)
{
	eh_fde(0, 0x80, CODE("\x44\x0e\x10"));
	eh_fde(1, 0x100, CODE(""));
	eh_fde(2, 0x100, CODE("\x44\x0e\x18"));
	ck_assert_int_eq(build(true), 0);
	CHECK_ROWS({ AT(0), RSP(8) }, { AT(0) + 4, RSP(16) }, { AT(0) + 0x80, UF_CFA_NONE },
		   { AT(1), RSP(8) }, { AT(2) + 4, RSP(24) }, { AT(3), UF_CFA_NONE });
	ck_assert(table.has_all_rows);
	ck_assert_uint_eq(table.low_offset, CODE_OFFSET);
	ck_assert_uint_eq(table.high_offset, CODE_OFFSET + 0x1000);
	ck_assert_uint_eq(table.stats.fde_cnt, 3);
}
END_TEST

START_TEST(find_gives_the_row_that_an_offset_is_in)
{
	eh_fde(0, 0x80, CODE("\x44\x0e\x10"));
	ck_assert_int_eq(build(true), 0);
	ck_assert_uint_eq(unwind_table__find(&table, 0), UF_CFA_NONE);
	ck_assert_uint_eq(unwind_table__find(&table, AT(0) - 1), UF_CFA_NONE);
	ck_assert_uint_eq(unwind_table__find(&table, AT(0)), RSP(8));
	ck_assert_uint_eq(unwind_table__find(&table, AT(0) + 3), RSP(8));
	ck_assert_uint_eq(unwind_table__find(&table, AT(0) + 4), RSP(16));
	ck_assert_uint_eq(unwind_table__find(&table, AT(0) + 0x7f), RSP(16));
	ck_assert_uint_eq(unwind_table__find(&table, AT(0) + 0x80), UF_CFA_NONE);
	ck_assert_uint_eq(unwind_table__find(&table, UINT64_MAX), UF_CFA_NONE);
	unwind_table__release(&table);
	ck_assert_uint_eq(unwind_table__find(&table, AT(0)), UF_CFA_NONE);
}
END_TEST

START_TEST(functions_in_any_order_are_sorted)
{
	eh_fde(3, 0x100, CODE("\x44\x0e\x20"));
	eh_fde(1, 0x100, CODE("\x44\x0e\x10"));
	eh_fde(2, 0x100, CODE("\x44\x0e\x18"));
	ck_assert_int_eq(build(true), 0);
	CHECK_ROWS({ AT(1), RSP(8) }, { AT(1) + 4, RSP(16) }, { AT(2), RSP(8) },
		   { AT(2) + 4, RSP(24) }, { AT(3), RSP(8) }, { AT(3) + 4, RSP(32) },
		   { AT(4), UF_CFA_NONE });
}
END_TEST

/* The later start counts, as for a search of the last FDE before an address. */
START_TEST(overlapping_functions_are_cut_where_the_next_begins)
{
	eh_fde(0, 0x400, CODE("\x0e\x10\x03\x40\x01\x0e\x28")); /* a row inside the next one */
	eh_fde(1, 0x80, CODE("\x0e\x18"));
	eh_fde(1, 0x40, CODE("\x0e\x20")); /* the same start: the first one counts */
	ck_assert_int_eq(build(true), 0);
	CHECK_ROWS({ AT(0), RSP(16) }, { AT(1), RSP(24) }, { AT(1) + 0x80, UF_CFA_NONE });
}
END_TEST

START_TEST(functions_outside_of_executable_segments_are_left_out)
{
	eh_fde(0, 0x80, CODE(""));
	cfi_fde(&parts.eh, 0, CFI_VADDR, 0x100, CODE(""));
	cfi_fde(&parts.eh, 0, 0x1000, 0x100, CODE(""));
	eh_fde(15, 0x4000, CODE("\x0e\x10")); /* longer than its segment */
	ck_assert_int_eq(build(true), 0);
	CHECK_ROWS({ AT(0), RSP(8) }, { AT(0) + 0x80, UF_CFA_NONE }, { AT(15), RSP(16) },
		   { AT(16), UF_CFA_NONE });
}
END_TEST

START_TEST(function_with_a_bad_instruction_is_unsupported_from_there)
{
	eh_fde(0, 0x100, CODE("\x44\x0e\x10\x44\x3f"));
	eh_fde(1, 0x100, CODE(""));
	ck_assert_int_eq(build(true), 0);
	CHECK_ROWS({ AT(0), RSP(8) }, { AT(0) + 4, RSP(16) },
		   { AT(0) + 8, UF_RULE(UF_CFA_UNSUPPORTED, 0, UF_RBP_SAME, 0) },
		   { AT(1), RSP(8) }, { AT(2), UF_CFA_NONE });
	ck_assert_uint_eq(table.stats.malformed_cnt, 1);
}
END_TEST

START_TEST(eh_frame_is_found_with_and_without_section_headers)
{
	eh_fde(0, 0x80, CODE("\x44\x0e\x10"));
	parts.has_header = true;
	for (int i = 0; i < 2; i++) {
		parts.has_sections = !i;
		ck_assert_int_eq(build(true), 0);
		CHECK_ROWS({ AT(0), RSP(8) }, { AT(0) + 4, RSP(16) },
			   { AT(0) + 0x80, UF_CFA_NONE });
	}
	parts.has_header = false;
	ck_assert_int_eq(build(true), -ENODATA);
}
END_TEST

START_TEST(debug_frame_fills_what_eh_frame_lacks)
{
	static const char eh_only[] = "\x0e\x10", debug_only[] = "\x44\x0e\x20";

	for (int form = PLAIN; form <= OLD_COMPRESSED; form++) {
		setup();
		parts.debug_form = form;
		eh_fde(1, 0x100, CODE(eh_only));
		eh_fde(3, 0x100, CODE(eh_only));
		debug_fde(0, 0x40, CODE(debug_only));
		debug_fde(1, 0x300, CODE(debug_only));
		ck_assert_int_eq(build(true), 0);
		CHECK_ROWS({ AT(0), RSP(8) }, { AT(0) + 4, RSP(32) }, { AT(0) + 0x40, UF_CFA_NONE },
			   { AT(1), RSP(16) }, { AT(2), RSP(32) }, { AT(3), RSP(16) },
			   { AT(4), UF_CFA_NONE });
	}
}
END_TEST

START_TEST(debug_frame_alone_is_enough)
{
	debug_fde(0, 0x40, CODE("\x44\x0e\x20"));
	ck_assert_int_eq(build(true), 0);
	CHECK_ROWS({ AT(0), RSP(8) }, { AT(0) + 4, RSP(32) }, { AT(0) + 0x40, UF_CFA_NONE });
}
END_TEST

/* -- call sites -- */

static const struct cfi_code calls[] = {
	CODE("\xe8\x00\x00\x00\x00"),			/* call rel32 */
	CODE("\x67\xe8\x00\x00\x00\x00"),		/* as the linker relaxes call *foo@GOT */
	CODE("\xff\xd0"),				/* *%rax */
	CODE("\x41\xff\xd4"),				/* *%r12 */
	CODE("\xff\x10"),				/* *(%rax) */
	CODE("\xff\x14\x24"),				/* *(%rsp) */
	CODE("\xff\x50\x18"),				/* *0x18(%rax) */
	CODE("\x41\xff\x54\x24\x08"),			/* *0x8(%r12) */
	CODE("\xff\x15\x00\x00\x00\x00"),		/* *foo(%rip) */
	CODE("\xff\x90\x00\x01\x00\x00"),		/* *0x100(%rax) */
	CODE("\xff\x14\xc5\x00\x00\x00\x00"),		/* *table(,%rax,8) */
	CODE("\x41\xff\x94\x24\x00\x01\x00\x00"),	/* *0x100(%r12) */
	CODE("\x3e\xff\xd0"),				/* notrack call *%rax */
};

/* Its last byte keeps a row; a row that ends before it, or begins after it, goes. */
START_TEST(row_is_kept_where_a_call_ends)
{
	uint32_t end = (uint32_t)(8 + calls[_i].len);

	memcpy(code + 8, calls[_i].bytes, calls[_i].len);
	/* a row of each of: before the call's last byte, that byte, after it */
	cfi_cie(&parts.eh, &(struct cie_spec){ 0 });
	cfi_fde(&parts.eh, 0, FUNC(0), end - 1, CODE("\x0e\x10"));
	cfi_fde(&parts.eh, 0, FUNC(0) + end - 1, 1, CODE("\x0e\x18"));
	cfi_fde(&parts.eh, 0, FUNC(0) + end, 0x40, CODE("\x0e\x20"));
	ck_assert_int_eq(build(false), 0);
	check_rows((struct uf_unwind_row[]){ { AT(0) + end - 1, RSP(24) },
					     { AT(0) + end + 0x40, UF_CFA_NONE } }, 2);
	ck_assert(!table.has_all_rows);
}
END_TEST

START_TEST(row_without_a_call_is_dropped)
{
	/* inc, jmp, far call, push, and an E8 whose four bytes go on behind the row */
	static const char no_call[] = "\xff\xc0\xff\xe0\xff\x58\x10\xff\x70\x08\x90\xe8\x00\x00\x00";

	memcpy(code + 0x100, no_call, sizeof(no_call) - 1);
	eh_fde(1, sizeof(no_call) - 1, CODE("\x0e\x10"));
	ck_assert_int_eq(build(false), 0);
	CHECK_ROWS({ AT(1) + 15, UF_CFA_NONE });
}
END_TEST

START_TEST(rows_that_become_equal_neighbours_are_one)
{
	memcpy(code, "\xff\xd0", 2);
	memcpy(code + 8, "\xff\xd0", 2);
	eh_fde(0, 0x40, CODE("\x0e\x10\x44\x0e\x18\x44\x0e\x10"));
	ck_assert_int_eq(build(false), 0);
	CHECK_ROWS({ AT(0), RSP(16) }, { AT(0) + 0x40, UF_CFA_NONE });
}
END_TEST

START_TEST(trampolines_and_outermost_frames_are_kept_without_calls)
{
	struct cie_spec signal = { .augmentation = "zRS", .data = CODE("\x1b") };
	size_t cie = cfi_cie(&parts.eh, &signal);

	cfi_fde(&parts.eh, cie, FUNC(0), 0x10,
		CODE("\x0f\x04\x77\xa0\x01\x06\x10\x10\x03\x77\xa8\x01\x10\x06\x03\x77\xf8\x00"));
	cfi_fde(&parts.eh, cie, FUNC(1), 0x10, CODE("\x07\x10"));
	ck_assert_int_eq(build(false), 0);
	CHECK_ROWS({ AT(0), UF_RULE(UF_CFA_SIGNAL, 0, UF_RBP_SAME, 0) },
		   { AT(0) + 0x10, UF_CFA_NONE }, { AT(1), UF_RULE(UF_CFA_END, 0, UF_RBP_SAME, 0) },
		   { AT(1) + 0x10, UF_CFA_NONE });
}
END_TEST

/* Code is read in pieces of 256 KiB: a call across the border must not be missed. */
START_TEST(call_across_the_border_of_two_reads_is_found)
{
	uint32_t border = (256 << 10) - 16;

	parts.code_len = 400 << 10;
	for (uint32_t last = border - 16; last < border + 24; last++) {
		uint8_t program[] = "\x0e\x10\x04....\x0e\x18\x41\x0e\x20";

		memcpy(program + 3, &last, 4);
		memset(code, 0x90, sizeof(code));
		if (last & 1)
			memcpy(code + last - 4, "\xe8\x00\x00\x00\x00", 5);
		else
			memcpy(code + last - 5, "\xff\x90\x00\x00\x00\x00", 6);
		parts.eh.size = 0;
		eh_fde(0, (uint32_t)parts.code_len, (struct cfi_code){ (char *)program, 12 });
		ck_assert_int_eq(build(false), 0);
		check_rows((struct uf_unwind_row[]){
				   { CODE_OFFSET + last, RSP(24) },
				   { CODE_OFFSET + (uint32_t)parts.code_len, UF_CFA_NONE } }, 2);
	}
}
END_TEST

/* -- what is refused -- */

START_TEST(what_is_no_x86_64_program_is_refused)
{
	static const struct {
		size_t offset;
		uint8_t value;
	} changes[] = {
		{ EI_MAG0, 0 }, { EI_CLASS, ELFCLASS32 }, { EI_DATA, ELFDATA2MSB },
		{ offsetof(Elf64_Ehdr, e_machine), EM_386 },
		{ offsetof(Elf64_Ehdr, e_type), ET_REL }, { offsetof(Elf64_Ehdr, e_type), ET_CORE },
		{ offsetof(Elf64_Ehdr, e_phentsize), 32 }, { offsetof(Elf64_Ehdr, e_phnum), 0 },
	};
	int fd;

	eh_fde(0, 0x40, CODE(""));
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		build_elf();
		elf.bytes[changes[i].offset] = changes[i].value;
		ck_assert_int_eq(build_bytes(elf.bytes, elf.size, true), -ENOEXEC);
		ck_assert_int_eq(unwind_table__build_memory(elf.bytes, elf.size, true, &table),
				 -ENOEXEC);
	}
	ck_assert_int_eq(build_bytes("#!/bin/sh\n", 10, true), -ENOEXEC);
	ck_assert_int_eq(build_bytes("", 0, true), -ENOEXEC);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(unwind_table__build_fd(fd, true, &table), -ENOEXEC);
	close(fd);
	ck_assert_int_eq(unwind_table__build_fd(-1, true, &table), -EBADF);
}
END_TEST

START_TEST(file_without_cfi_is_no_data)
{
	ck_assert_int_eq(build(true), -ENODATA);
	cfi_put_int(&parts.eh, 0, 4); /* a terminator alone */
	ck_assert_int_eq(build(true), -ENODATA);
}
END_TEST

START_TEST(code_past_4_gib_of_the_file_is_too_big)
{
	Elf64_Phdr ph;
	uint64_t far = (4ull << 30) - 0x800;
	int fd;

	eh_fde(0, 0x40, CODE(""));
	build_elf();
	memcpy(&ph, elf.bytes + sizeof(Elf64_Ehdr), sizeof(ph));
	ph.p_offset = far;
	memcpy(elf.bytes + sizeof(Elf64_Ehdr), &ph, sizeof(ph));
	fd = fd_with(elf.bytes, elf.size);
	ck_assert_int_eq(ftruncate(fd, (off_t)(far + 0x1000)), 0); /* sparse */
	ck_assert_int_eq(unwind_table__build_fd(fd, true, &table), -EFBIG);
	close(fd);
}
END_TEST

START_TEST(section_that_claims_too_much_is_too_big)
{
	size_t sections;
	Elf64_Shdr sh;
	int fd;

	eh_fde(0, 0x40, CODE(""));
	build_elf();
	memcpy(&sections, elf.bytes + offsetof(Elf64_Ehdr, e_shoff), 8);
	memcpy(&sh, elf.bytes + sections + sizeof(sh), sizeof(sh));
	sh.sh_size = 300u << 20;
	memcpy(elf.bytes + sections + sizeof(sh), &sh, sizeof(sh));
	fd = fd_with(elf.bytes, elf.size);
	ck_assert_int_eq(ftruncate(fd, 400 << 20), 0);
	ck_assert_int_eq(unwind_table__build_fd(fd, true, &table), -EFBIG);
	close(fd);
}
END_TEST

/* -- damage -- */

static void build_sample(bool has_sections)
{
	setup();
	parts.has_sections = has_sections;
	parts.has_header = true;
	parts.debug_form = COMPRESSED;
	for (int i = 0; i < 8; i++) {
		memcpy(code + 0x100 * i + 0x20, "\xe8\x00\x00\x00\x00", 5);
		eh_fde(i, 0x80, CODE("\x44\x0e\x10\x86\x02\x44\x0a\x0d\x06\x50\x0b"));
		debug_fde(i, 0x100, CODE("\x44\x0e\x20"));
	}
	build_elf();
}

static void check_order(void)
{
	for (uint32_t i = 1; i < table.row_cnt; i++) {
		ck_assert_uint_lt(table.rows[i - 1].offset, table.rows[i].offset);
		ck_assert_uint_ne(table.rows[i - 1].rule, table.rows[i].rule);
	}
}

/* In memory of just its size, for the sanitizer to see what is read past it. */
static void build_exact(const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size + !size);

	memcpy(copy, bytes, size);
	for (int all = 0; all < 2; all++) {
		unwind_table__release(&table);
		if (!unwind_table__build_memory(copy, size, all, &table))
			check_order();
	}
	free(copy);
}

START_TEST(file_cut_anywhere_does_no_harm)
{
	build_sample(_i);
	for (size_t size = 0; size <= elf.size; size += size < 4096 || size > 8000 ? 1 : 64)
		build_exact(elf.bytes, size);
	ck_assert_uint_gt(table.row_cnt, 8);
	for (size_t size = 0; size < elf.size; size += 97)
		build_bytes(elf.bytes, size, false);
}
END_TEST

/* Seeded: a failure can be had again. Most damage goes to headers and CFI, not to the code. */
START_TEST(damaged_file_does_no_harm)
{
	static uint8_t whole[1 << 16];
	unsigned int seed = 77;
	size_t size;

	build_sample(_i);
	size = elf.size;
	ck_assert_uint_le(size, sizeof(whole));
	memcpy(whole, elf.bytes, size);
	for (int round = 0; round < 4000; round++) {
		memcpy(elf.bytes, whole, size);
		for (int k = rand_r(&seed) % 6; k >= 0; k--) {
			size_t at = (size_t)rand_r(&seed) % (size - CODE_OFFSET);

			at += at < 240 ? 0 : CODE_OFFSET;
			elf.bytes[at] = (uint8_t)rand_r(&seed);
		}
		build_exact(elf.bytes, size);
	}
}
END_TEST

/* -- real files -- */

START_TEST(libc_has_the_same_rows_without_section_headers)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	struct unwind_table with = { 0 };
	char path[4096] = "", line[4200];
	FILE *maps = fdopen(fd, "r");
	struct stat st;
	uint8_t *image;

	while (!path[0] && fgets(line, sizeof(line), maps))
		if (strstr(line, "/libc.so") || strstr(line, "/libc-"))
			sscanf(strchr(line, '/'), "%4095s", path);
	fclose(maps);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(unwind_table__build_fd(fd, true, &with), 0);
	image = malloc((size_t)st.st_size);
	ck_assert_int_eq(pread(fd, image, (size_t)st.st_size, 0), st.st_size);
	memset(image + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
	ck_assert_int_eq(unwind_table__build_memory(image, (size_t)st.st_size, true, &table), 0);
	ck_assert_uint_gt(with.row_cnt, 10000);
	ck_assert_uint_eq(with.stats.malformed_cnt, 0);
	ck_assert_uint_eq(with.row_cnt, table.row_cnt);
	ck_assert_mem_eq(with.rows, table.rows, with.row_cnt * sizeof(*with.rows));
	unwind_table__release(&with);
	free(image);
	close(fd);
}
END_TEST

START_TEST(vdso_is_read_from_memory)
{
	const Elf64_Ehdr *vdso = (const void *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Phdr *ph;

	if (!vdso)
		return;
	ck_assert_int_eq(unwind_table__build_memory(vdso, 8192, true, &table), 0);
	ph = (const void *)((const char *)vdso + vdso->e_phoff);
	ck_assert_uint_eq(ph->p_type, PT_LOAD);
	ck_assert_uint_gt(table.row_cnt, 8);
	ck_assert_uint_lt(table.rows[table.row_cnt - 1].offset, ph->p_filesz);
	ck_assert_uint_eq(table.stats.malformed_cnt, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("unwind_table");
	TCase *tc = tcase_create("rows");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rows_stand_at_file_offsets_with_gaps_between_functions);
	tcase_add_test(tc, find_gives_the_row_that_an_offset_is_in);
	tcase_add_test(tc, functions_in_any_order_are_sorted);
	tcase_add_test(tc, overlapping_functions_are_cut_where_the_next_begins);
	tcase_add_test(tc, functions_outside_of_executable_segments_are_left_out);
	tcase_add_test(tc, function_with_a_bad_instruction_is_unsupported_from_there);
	tcase_add_test(tc, eh_frame_is_found_with_and_without_section_headers);
	tcase_add_test(tc, debug_frame_fills_what_eh_frame_lacks);
	tcase_add_test(tc, debug_frame_alone_is_enough);
	suite_add_tcase(s, tc);
	tc = tcase_create("call sites");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, row_is_kept_where_a_call_ends, 0, sizeof(calls) / sizeof(*calls));
	tcase_add_test(tc, row_without_a_call_is_dropped);
	tcase_add_test(tc, rows_that_become_equal_neighbours_are_one);
	tcase_add_test(tc, trampolines_and_outermost_frames_are_kept_without_calls);
	tcase_add_test(tc, call_across_the_border_of_two_reads_is_found);
	suite_add_tcase(s, tc);
	tc = tcase_create("refused");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_no_x86_64_program_is_refused);
	tcase_add_test(tc, file_without_cfi_is_no_data);
	tcase_add_test(tc, code_past_4_gib_of_the_file_is_too_big);
	tcase_add_test(tc, section_that_claims_too_much_is_too_big);
	suite_add_tcase(s, tc);
	tc = tcase_create("damage");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, file_cut_anywhere_does_no_harm, 0, 2);
	tcase_add_loop_test(tc, damaged_file_does_no_harm, 0, 2);
	suite_add_tcase(s, tc);
	tc = tcase_create("real");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, libc_has_the_same_rows_without_section_headers);
	tcase_add_test(tc, vdso_is_read_from_memory);
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
