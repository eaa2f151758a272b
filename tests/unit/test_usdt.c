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
#include <sys/mman.h>
#include <unistd.h>

#include "probe/usdt.h"

/*
 * Goal of this test: the probes of a file are found where readelf sees them, arguments are
 * understood or refused, and notes that lie, end early or lead nowhere harm nobody.
 */

#define VADDR     0x400000
#define FILE_SIZE 4096
#define NOTES_AT  1024
#define NAMES_AT  512
#define PLACES    4

/* A file with one segment that holds all of it, and sections for notes and their base. */
struct file {
	uint8_t bytes[FILE_SIZE];
	size_t notes_size;
};

static Elf64_Shdr *section(struct file *file, int i)
{
	return (Elf64_Shdr *)(file->bytes + 2048) + i;
}

static void begin(struct file *file)
{
	static const char names[] = "\0.note.stapsdt\0.stapsdt.base\0.shstrtab";
	Elf64_Ehdr *eh = (Elf64_Ehdr *)file->bytes;
	Elf64_Phdr *ph = (Elf64_Phdr *)(file->bytes + sizeof(*eh));

	memset(file, 0, sizeof(*file));
	memcpy(eh->e_ident, ELFMAG, SELFMAG);
	eh->e_ident[EI_CLASS] = ELFCLASS64;
	eh->e_ident[EI_DATA] = ELFDATA2LSB;
	eh->e_ident[EI_VERSION] = EV_CURRENT;
	eh->e_type = ET_EXEC;
	eh->e_machine = EM_X86_64;
	eh->e_phoff = sizeof(*eh);
	eh->e_phentsize = sizeof(*ph);
	eh->e_phnum = 1;
	eh->e_shoff = 2048;
	eh->e_shentsize = sizeof(Elf64_Shdr);
	eh->e_shnum = 4;
	eh->e_shstrndx = 3;
	*ph = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = VADDR,
			    .p_filesz = FILE_SIZE, .p_memsz = FILE_SIZE };
	memcpy(file->bytes + NAMES_AT, names, sizeof(names));
	*section(file, 1) = (Elf64_Shdr){ .sh_name = 1, .sh_type = SHT_NOTE,
					  .sh_offset = NOTES_AT };
	*section(file, 2) = (Elf64_Shdr){ .sh_name = 15, .sh_type = SHT_PROGBITS,
					  .sh_addr = VADDR + 3000 };
	*section(file, 3) = (Elf64_Shdr){ .sh_name = 29, .sh_type = SHT_STRTAB,
					  .sh_offset = NAMES_AT, .sh_size = sizeof(names) };
}

static void add_note(struct file *file, const char *owner, uint32_t type, const uint64_t *addresses,
		     const char *strings, size_t strings_size)
{
	uint8_t *at = file->bytes + NOTES_AT + file->notes_size;
	Elf64_Nhdr nh = { (uint32_t)strlen(owner) + 1, 24 + (uint32_t)strings_size, type };

	memcpy(at, &nh, sizeof(nh));
	memcpy(at + sizeof(nh), owner, nh.n_namesz);
	memcpy(at + sizeof(nh) + 8, addresses, 24);
	memcpy(at + sizeof(nh) + 32, strings, strings_size);
	file->notes_size += (sizeof(nh) + 8 + nh.n_descsz + 3) & ~3u;
	section(file, 1)->sh_size = file->notes_size;
}

#define STRINGS(s) s, sizeof(s)

static void add_probe(struct file *file, uint64_t location, uint64_t semaphore,
		      const char *strings, size_t strings_size)
{
	const uint64_t addresses[3] = { location, VADDR + 3000, semaphore };

	add_note(file, "stapsdt", 3, addresses, strings, strings_size);
}

static int find_in(const void *bytes, size_t size, const char *name, struct usdt_place *places)
{
	int fd = memfd_create("usdt", MFD_CLOEXEC), cnt;
	struct elf_image *img;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, size), (long)size);
	img = elf_image__open_fd(fd);
	close(fd);
	if (!img)
		return -errno;
	cnt = usdt__find(img, "python", name, places, PLACES);
	elf_image__free(img);
	return cnt;
}

static int find(const struct file *file, const char *name, struct usdt_place *places)
{
	return find_in(file->bytes, sizeof(file->bytes), name, places);
}

/* -- finding -- */

START_TEST(a_probe_is_found_by_provider_and_name_wherever_it_is)
{
	struct usdt_place places[PLACES];
	struct file file;

	begin(&file);
	add_probe(&file, VADDR + 100, VADDR + 200, STRINGS("python\0gc__start\0-4@112(%rsp)"));
	add_probe(&file, VADDR + 101, VADDR + 200, STRINGS("ruby\0gc__start\0"));
	add_probe(&file, VADDR + 102, 0, STRINGS("python\0gc__start\0-4@%eax"));
	add_probe(&file, VADDR + 103, 0, STRINGS("python\0gc__done\0"));
	ck_assert_int_eq(find(&file, "gc__start", places), 2);
	ck_assert_uint_eq(places[0].offset, 100);
	ck_assert_uint_eq(places[0].semaphore_offset, 200);
	ck_assert_str_eq(places[0].args, "-4@112(%rsp)");
	ck_assert_uint_eq(places[1].offset, 102);
	ck_assert_uint_eq(places[1].semaphore_offset, 0);
	ck_assert_str_eq(places[1].args, "-4@%eax");
	ck_assert_int_eq(find(&file, "gc__done", places), 1);
	ck_assert_str_eq(places[0].args, "");
	ck_assert_int_eq(find(&file, "gc__", places), 0);
}
END_TEST

START_TEST(a_moved_base_moves_the_probe_and_its_semaphore)
{
	struct usdt_place place;
	struct file file;

	begin(&file);
	add_probe(&file, VADDR + 100, VADDR + 200, STRINGS("python\0x\0"));
	section(&file, 2)->sh_addr += 64;
	ck_assert_int_eq(find(&file, "x", &place), 1);
	ck_assert_uint_eq(place.offset, 164);
	ck_assert_uint_eq(place.semaphore_offset, 264);
	section(&file, 2)->sh_name = 0; /* no base: as linked */
	ck_assert_int_eq(find(&file, "x", &place), 1);
	ck_assert_uint_eq(place.offset, 100);
}
END_TEST

START_TEST(no_more_than_there_is_room_for)
{
	struct usdt_place places[PLACES];
	struct file file;

	begin(&file);
	for (int i = 0; i < 2 * PLACES; i++)
		add_probe(&file, VADDR + 100 + i, 0, STRINGS("python\0x\0"));
	ck_assert_int_eq(find(&file, "x", places), PLACES);
	ck_assert_uint_eq(places[PLACES - 1].offset, 100 + PLACES - 1);
}
END_TEST

START_TEST(notes_that_are_none_are_passed_over)
{
	const uint64_t addresses[3] = { VADDR + 50, VADDR + 3000, 0 };
	struct usdt_place places[PLACES];
	char longer[USDT_ARGS_BYTES + 16] = "python\0x\0";
	struct file file;

	begin(&file);
	add_note(&file, "stapsdx", 3, addresses, STRINGS("python\0x\0"));
	add_note(&file, "stapsdt", 4, addresses, STRINGS("python\0x\0"));
	add_note(&file, "stapsdt", 3, addresses, "python\0x\0abc", 11); /* no NUL */
	add_note(&file, "stapsdt", 3, addresses, "python", 6);
	add_note(&file, "stapsdt", 3, addresses, "", 0);
	add_probe(&file, 12, 0, STRINGS("python\0x\0"));               /* in no segment */
	add_probe(&file, VADDR + 51, 13, STRINGS("python\0x\0"));      /* its semaphore likewise */
	memset(longer + 9, '1', USDT_ARGS_BYTES);
	add_probe(&file, VADDR + 52, 0, longer, 9 + USDT_ARGS_BYTES + 1);
	add_probe(&file, VADDR + 60, 0, STRINGS("python\0x\0"));
	ck_assert_int_eq(find(&file, "x", places), 1);
	ck_assert_uint_eq(places[0].offset, 60);
}
END_TEST

START_TEST(a_file_without_notes_has_no_probes)
{
	struct usdt_place place;
	struct file file;

	begin(&file);
	ck_assert_int_eq(find(&file, "x", &place), 0);
	add_probe(&file, VADDR + 100, 0, STRINGS("python\0x\0"));
	((Elf64_Ehdr *)file.bytes)->e_shstrndx = 99; /* sections without names */
	ck_assert_int_eq(find(&file, "x", &place), 0);
	((Elf64_Ehdr *)file.bytes)->e_shstrndx = 3;
	section(&file, 3)->sh_size = 1ull << 60;
	ck_assert_int_eq(find(&file, "x", &place), 0);
}
END_TEST

START_TEST(names_of_sections_may_be_told_by_section_0)
{
	struct usdt_place place;
	struct file file;

	begin(&file);
	add_probe(&file, VADDR + 100, 0, STRINGS("python\0x\0"));
	((Elf64_Ehdr *)file.bytes)->e_shstrndx = SHN_XINDEX;
	section(&file, 0)->sh_link = 3;
	ck_assert_int_eq(find(&file, "x", &place), 1);
}
END_TEST

/* Under the sanitizers: whatever stands in the notes, nothing outside of them is touched. */
START_TEST(damaged_notes_harm_nobody)
{
	struct usdt_place places[PLACES];
	struct file file, damaged;

	begin(&file);
	for (int i = 0; i < 3; i++)
		add_probe(&file, VADDR + 100 + i, VADDR + 200,
			  STRINGS("python\0x\0-4@112(%rsp) 8@%r12"));
	for (size_t i = 0; i < file.notes_size; i++) {
		for (int value = 0; value < 4; value++) {
			damaged = file;
			damaged.bytes[NOTES_AT + i] = (uint8_t[]){ 0, 1, 0x7f, 0xff }[value];
			ck_assert_int_ge(find(&damaged, "x", places), 0);
		}
	}
	for (uint64_t size = 0; size <= file.notes_size; size++) {
		section(&file, 1)->sh_size = size;
		/* A note's last three bytes are padding. */
		ck_assert_int_eq(find(&file, "x", places),
				 (int)((size + 3) / (file.notes_size / 3)));
	}
	section(&file, 1)->sh_size = UINT64_MAX;
	ck_assert_int_ge(find(&file, "x", places), 3);
	section(&file, 1)->sh_offset = UINT64_MAX - 3;
	ck_assert_int_eq(find(&file, "x", places), 0);
}
END_TEST

START_TEST(a_file_may_end_anywhere)
{
	struct usdt_place places[PLACES];
	struct file file;

	begin(&file);
	add_probe(&file, VADDR + 100, VADDR + 200, STRINGS("python\0x\0-4@112(%rsp)"));
	for (size_t size = 0; size < FILE_SIZE; size += 7)
		ck_assert_int_le(find_in(file.bytes, size, "x", places), 1);
}
END_TEST

/* -- arguments -- */

#define ARG_OK(args, index, kind, is_signed, size, reg, number)                                    \
	do {                                                                                       \
		uint64_t arg_;                                                                     \
		ck_assert_int_eq(usdt__locate_arg(args, index, &arg_), 0);                         \
		ck_assert_uint_eq(arg_, UF_USDT_ARG(kind, is_signed, size, (reg) * 8, number));    \
	} while (0)

/* In struct pt_regs. */
enum { R15, R14, R13, R12, RBP, RBX, R11, R10, R9, R8, RAX, RCX, RDX, RSI, RDI, RSP = 19 };

START_TEST(arguments_in_memory_registers_and_constants)
{
	const char *all = "-4@112(%rsp) 8@%r12 -8@-228(%rbp) 2@(%rax) 1@%dl -4@$-5 4@%r9d -2@%bx "
			  "8@0x10(%rdi)";

	ARG_OK(all, 0, UF_USDT_MEMORY, 1, 4, RSP, 112);
	ARG_OK(all, 1, UF_USDT_REGISTER, 0, 8, R12, 0);
	ARG_OK(all, 2, UF_USDT_MEMORY, 1, 8, RBP, -228);
	ARG_OK(all, 3, UF_USDT_MEMORY, 0, 2, RAX, 0);
	ARG_OK(all, 4, UF_USDT_REGISTER, 0, 1, RDX, 0);
	ARG_OK(all, 5, UF_USDT_CONSTANT, 1, 4, 0, -5);
	ARG_OK(all, 6, UF_USDT_REGISTER, 0, 4, R9, 0);
	ARG_OK(all, 7, UF_USDT_REGISTER, 1, 2, RBX, 0);
	ARG_OK(all, 8, UF_USDT_MEMORY, 0, 8, RDI, 16);
	ARG_OK("  4@%ecx ", 0, UF_USDT_REGISTER, 0, 4, RCX, 0);
	ARG_OK("8@%r15 8@%r14", 1, UF_USDT_REGISTER, 0, 8, R14, 0);
	ARG_OK("8@%r8", 0, UF_USDT_REGISTER, 0, 8, R8, 0);
	ARG_OK("8@%r10", 0, UF_USDT_REGISTER, 0, 8, R10, 0);
	ARG_OK("8@%rsi", 0, UF_USDT_REGISTER, 0, 8, RSI, 0);
}
END_TEST

START_TEST(an_argument_takes_apart_as_it_was_put_together)
{
	uint64_t arg = UF_USDT_ARG(UF_USDT_MEMORY, true, 8, RSP * 8, -228);

	ck_assert_uint_eq(UF_USDT_ARG_KIND(arg), UF_USDT_MEMORY);
	ck_assert_uint_eq(UF_USDT_ARG_IS_SIGNED(arg), 1);
	ck_assert_uint_eq(UF_USDT_ARG_SIZE(arg), 8);
	ck_assert_uint_eq(UF_USDT_ARG_REG(arg), RSP * 8);
	ck_assert_int_eq(UF_USDT_ARG_NUMBER(arg), -228);
}
END_TEST

START_TEST(what_cannot_be_followed_is_refused)
{
	static const char *const bad[] = {
		"8@symbol(%rip)", "4@(%rax,%rbx,4)", "4@8(%rax", "4@8%rax", "4@%xmm0", "4@%", "4@",
		"4", "@%rax", "3@%rax", "16@%rax", "-4@$", "-4@$99999999999", "8@4294967296(%rax)",
		"4f@%xmm0", "4@%raxx", "4@%ra", "4@%ah", "4@$1x", "4@*%rax", "4@(rax)", "8@(%rax)x",
		"4@%rax,", "99999999999999999999@%rax", "0@%rax", "4@ ",
	};
	uint64_t arg;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int err = usdt__locate_arg(bad[i], 0, &arg);

		ck_assert_msg(err == -EOPNOTSUPP, "%s: %d", bad[i], err);
	}
	ck_assert_int_eq(usdt__locate_arg("", 0, &arg), -ENOENT);
	ck_assert_int_eq(usdt__locate_arg("4@%eax", 1, &arg), -ENOENT);
	ck_assert_int_eq(usdt__locate_arg("4@%eax ", 1, &arg), -ENOENT);
	ck_assert_int_eq(usdt__locate_arg("junk 4@%eax", 1, &arg), 0);
}
END_TEST

/* -- a real file -- */

/* "0x..." after the word in readelf's text, and where that ends. */
static uint64_t number_after(const char *text, const char *word)
{
	const char *at = strstr(text, word);

	ck_assert_ptr_nonnull(at);
	return strtoull(at + strlen(word), NULL, 0);
}

START_TEST(debians_python_has_what_readelf_says)
{
	static const char python[] = "/usr/bin/python3.11";
	struct usdt_place places[PLACES];
	struct elf_image *img;
	char text[1024];
	uint64_t arg, offset;
	size_t n;
	FILE *pipe;
	int fd = open(python, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* not here: another distribution */
	pipe = popen("readelf -n /usr/bin/python3.11 2>/dev/null | grep -A2 'Name: gc__start'", "re");
	ck_assert_ptr_nonnull(pipe);
	n = fread(text, 1, sizeof(text) - 1, pipe);
	text[n] = 0;
	pclose(pipe);
	img = elf_image__open_fd(fd);
	ck_assert_ptr_nonnull(img);
	close(fd);
	if (n) {
		ck_assert_int_eq(usdt__find(img, "python", "gc__start", places, PLACES), 1);
		ck_assert_int_eq(elf_image__find_offset(img, number_after(text, "Location: "),
							&offset),
				 0);
		ck_assert_uint_eq(places[0].offset, offset);
		ck_assert_int_eq(elf_image__find_offset(img, number_after(text, "Semaphore: "),
							&offset),
				 0);
		ck_assert_uint_eq(places[0].semaphore_offset, offset);
		ck_assert_ptr_nonnull(strstr(text, places[0].args));
		ck_assert_int_eq(usdt__locate_arg(places[0].args, 0, &arg), 0);
		ck_assert_uint_eq(UF_USDT_ARG_SIZE(arg), 4);
		ck_assert_int_eq(elf_image__read_code(img, places[0].offset, text, 1), 1);
		ck_assert_int_eq(text[0], (char)0x90); /* the nop */
	}
	ck_assert_int_eq(usdt__find(img, "python", "no__such", places, PLACES), 0);
	elf_image__free(img);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("usdt");
	TCase *tcase = tcase_create("usdt");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_probe_is_found_by_provider_and_name_wherever_it_is);
	tcase_add_test(tcase, a_moved_base_moves_the_probe_and_its_semaphore);
	tcase_add_test(tcase, no_more_than_there_is_room_for);
	tcase_add_test(tcase, notes_that_are_none_are_passed_over);
	tcase_add_test(tcase, a_file_without_notes_has_no_probes);
	tcase_add_test(tcase, names_of_sections_may_be_told_by_section_0);
	tcase_add_test(tcase, damaged_notes_harm_nobody);
	tcase_add_test(tcase, a_file_may_end_anywhere);
	tcase_add_test(tcase, arguments_in_memory_registers_and_constants);
	tcase_add_test(tcase, an_argument_takes_apart_as_it_was_put_together);
	tcase_add_test(tcase, what_cannot_be_followed_is_refused);
	tcase_add_test(tcase, debians_python_has_what_readelf_says);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
