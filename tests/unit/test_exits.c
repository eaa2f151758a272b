/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe/elf_image.h"
#include "probe/exits.h"

/*
 * Goal of this test: of functions of this very program, written in assembler with a label at
 * each ret, exactly those rets are found that they can reach; and a function with one way out that
 * cannot be followed is refused as a whole.
 */
#if defined(__x86_64__)

#define FUNCTION(name, body)                                                                       \
	asm(".text\n.p2align 4\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n" body     \
	    "\n.cfi_endproc\n.size " #name ", .-" #name "\n");                                     \
	extern const char name[];

#define RET(label) "\n" #label ":\nret\n"

/* Both sides of a branch; what is behind the ret but never reached is data. */
FUNCTION(two_ways, "test %rdi, %rdi\nje 1f\npush %rbx\npop %rbx" RET(
			   two_ways_a) ".byte 0x06, 0xff\n1: xor %eax, %eax" RET(two_ways_b))
/* Ends with a jump to another function; the loop before it is followed once. */
FUNCTION(tail_call, "1: dec %rdi\njnz 1b\njmp two_ways")
/* A part of it lies elsewhere, and jumps back. */
FUNCTION(far_part, ".Lfar: call abort@PLT\njmp .Lback")
FUNCTION(has_far_part, "test %rdi, %rdi\njs .Lfar\n.Lback: nop" RET(has_far_part_a))
/* A call at the very end does not return: what lies behind is another function. */
FUNCTION(ends_with_call, "test %rdi, %rdi\nje 1f" RET(ends_with_call_a) "1: call abort@PLT")
FUNCTION(behind_it, "nop" RET(behind_it_a))
FUNCTION(traps, "test %rdi, %rdi\njne 1f\nud2\n1: nop" RET(traps_a))
/* Not to be followed. */
FUNCTION(indirect, "test %rdi, %rdi\njne 1f\njmp *%rax\n1: nop\nret")
FUNCTION(to_another_file, "test %rdi, %rdi\njne 1f\njmp abort@PLT\n1: nop\nret")
FUNCTION(undecodable, "test %rdi, %rdi\nje 1f\nret\n1: .byte 0x06")
asm(".text\nwithout_fde: ret\n");
FUNCTION(to_nowhere_known, "nop\njmp without_fde")
/* Nothing but jumps. */
FUNCTION(forwards, "jmp two_ways")
FUNCTION(forwards_with_pad, "endbr64\njmp two_ways")
FUNCTION(forwards_abroad, "jmp abort@PLT")
FUNCTION(does_more, "nop\njmp two_ways")

#define LABEL(name) extern const char name[];
LABEL(two_ways_a)
LABEL(two_ways_b)
LABEL(has_far_part_a)
LABEL(ends_with_call_a)
LABEL(traps_a)

static struct elf_image *img;
static uint64_t bias, probed;

static int note_bias(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	bias = info->dlpi_addr;
	return 1; /* the program comes first */
}

static uint64_t vaddr_of(const char *place)
{
	return (uint64_t)(uintptr_t)place - bias;
}

static bool is_probed(void *arg, uint64_t vaddr)
{
	(void)arg;
	return vaddr == probed;
}

static struct exits *setup(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct exits *exits;

	dl_iterate_phdr(note_bias, NULL);
	img = elf_image__open_fd(fd);
	close(fd);
	ck_assert_ptr_nonnull(img);
	probed = 0;
	exits = exits__new(img, is_probed, NULL);
	ck_assert_ptr_nonnull(exits);
	return exits;
}

static void finish(struct exits *exits)
{
	exits__free(exits);
	elf_image__free(img);
}

static int add(struct exits *exits, const char *function)
{
	char why[80];

	return exits__add(exits, vaddr_of(function), why, sizeof(why));
}

static bool has(const struct exits *exits, const char *place)
{
	uint32_t cnt;
	const uint64_t *offsets = exits__offsets(exits, &cnt);
	uint64_t offset;

	ck_assert_int_eq(elf_image__find_offset(img, vaddr_of(place), &offset), 0);
	for (uint32_t i = 0; i < cnt; i++)
		if (offsets[i] == offset)
			return true;
	return false;
}

static uint32_t cnt_of(const struct exits *exits)
{
	uint32_t cnt;

	exits__offsets(exits, &cnt);
	return cnt;
}

START_TEST(every_ret_that_is_reached_is_found_once)
{
	struct exits *exits = setup();

	ck_assert_int_eq(add(exits, two_ways), 0);
	ck_assert_uint_eq(cnt_of(exits), 2);
	ck_assert(has(exits, two_ways_a) && has(exits, two_ways_b));
	ck_assert_int_eq(add(exits, two_ways), 0);
	ck_assert_uint_eq(cnt_of(exits), 2);
	finish(exits);
}
END_TEST

START_TEST(jumps_to_other_functions_are_followed)
{
	struct exits *exits = setup();

	ck_assert_int_eq(add(exits, tail_call), 0);
	ck_assert_uint_eq(cnt_of(exits), 2);
	ck_assert(has(exits, two_ways_a) && has(exits, two_ways_b));
	finish(exits);
}
END_TEST

START_TEST(a_function_that_is_probed_itself_is_not_followed)
{
	struct exits *exits = setup();

	probed = vaddr_of(two_ways);
	ck_assert_int_eq(add(exits, tail_call), 0);
	ck_assert_uint_eq(cnt_of(exits), 0);
	finish(exits);
}
END_TEST

START_TEST(parts_that_lie_elsewhere_belong_to_it)
{
	struct exits *exits = setup();

	ck_assert_int_eq(add(exits, has_far_part), 0);
	ck_assert_uint_eq(cnt_of(exits), 1);
	ck_assert(has(exits, has_far_part_a));
	finish(exits);
}
END_TEST

START_TEST(what_does_not_return_ends_the_way)
{
	struct exits *exits = setup();

	ck_assert_int_eq(add(exits, ends_with_call), 0);
	ck_assert_int_eq(add(exits, traps), 0);
	ck_assert_uint_eq(cnt_of(exits), 2);
	ck_assert(has(exits, ends_with_call_a) && has(exits, traps_a));
	finish(exits);
}
END_TEST

START_TEST(functions_that_cannot_be_followed_are_refused_whole)
{
	const char *const refused[] = {indirect, to_another_file, undecodable, to_nowhere_known};
	struct exits *exits = setup();

	ck_assert_int_eq(add(exits, traps), 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		char why[80] = "";

		ck_assert_int_eq(exits__add(exits, vaddr_of(refused[i]), why, sizeof(why)),
				 -EOPNOTSUPP);
		ck_assert_msg(strstr(why, "0x") != NULL, "%s", why);
		ck_assert_uint_eq(cnt_of(exits), 1);
	}
	/* It can go on after that. */
	ck_assert_int_eq(add(exits, two_ways), 0);
	ck_assert_uint_eq(cnt_of(exits), 3);
	finish(exits);
}
END_TEST

START_TEST(a_function_that_only_jumps_forwards)
{
	struct exits *exits = setup();
	uint64_t target = 0;

	ck_assert(exits__forwards(exits, vaddr_of(forwards), &target));
	ck_assert_uint_eq(target, vaddr_of(two_ways));
	target = 0;
	ck_assert(exits__forwards(exits, vaddr_of(forwards_with_pad), &target));
	ck_assert_uint_eq(target, vaddr_of(two_ways));
	target = 0;
	ck_assert(exits__forwards(exits, vaddr_of(forwards_abroad), &target));
	ck_assert_uint_ne(target, 0);
	ck_assert(!exits__forwards(exits, vaddr_of(does_more), &target));
	ck_assert(!exits__forwards(exits, vaddr_of(two_ways), &target));
	finish(exits);
}
END_TEST

START_TEST(a_file_without_unwind_information_is_refused)
{
	static const Elf64_Ehdr empty = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_phnum = 1,
		.e_phentsize = sizeof(Elf64_Phdr),
	};
	static const Elf64_Phdr load = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = 120};
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_eq(write(fd, &empty, sizeof(empty)), sizeof(empty));
	ck_assert_int_eq(write(fd, &load, sizeof(load)), sizeof(load));
	img = elf_image__open_fd(fd);
	close(fd);
	ck_assert_ptr_nonnull(img);
	ck_assert_ptr_null(exits__new(img, is_probed, NULL));
	ck_assert_int_eq(errno, ENODATA);
	exits__free(NULL);
	elf_image__free(img);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, every_ret_that_is_reached_is_found_once);
	tcase_add_test(tc, jumps_to_other_functions_are_followed);
	tcase_add_test(tc, a_function_that_is_probed_itself_is_not_followed);
	tcase_add_test(tc, parts_that_lie_elsewhere_belong_to_it);
	tcase_add_test(tc, what_does_not_return_ends_the_way);
	tcase_add_test(tc, functions_that_cannot_be_followed_are_refused_whole);
	tcase_add_test(tc, a_function_that_only_jumps_forwards);
	tcase_add_test(tc, a_file_without_unwind_information_is_refused);
}

#else

static void add_tests(TCase *tc)
{
	(void)tc;
	fprintf(stderr, "skipped: exits: x86-64 only\n");
}

#endif

int main(void)
{
	Suite *suite = suite_create("exits");
	TCase *tc = tcase_create("exits");
	SRunner *runner;
	int failed;

	add_tests(tc);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
