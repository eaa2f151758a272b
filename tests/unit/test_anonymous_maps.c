/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/anonymous_maps.h"

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * Goal of this test: of the mappings that /proc/PID/maps lists exactly the anonymous ones are found,
 * whatever the kernel calls them, and lines that are none do no harm.
 */

static uint32_t read_text(const char *text, uint64_t (**out)[2])
{
	FILE *file = fmemopen((void *)text, strlen(text), "r");
	uint32_t cnt;

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(anonymous_maps__read(file, out, &cnt), 0);
	fclose(file);
	return cnt;
}

START_TEST(anonymous_mappings_are_told_from_those_of_files)
{
	static const char text[] =
		"55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]\n"
		"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
		"7f0000001000-7f0000003000 r--p 00000000 00:00 0                          [anon:x y]\n"
		"7f0000003000-7f0000004000 r--p 00000000 fe:00 131                        /lib/x\n"
		"7f0000004000-7f0000006000 rw-s 00000000 00:01 17                         "
		"/dev/zero (deleted)\n"
		"7f0000200000-7f0000400000 rw-p 00000000 00:0f 18                         "
		"/anon_hugepage (deleted)\n"
		"7f0000400000-7f0000401000 rw-s 00000000 00:01 19                         "
		"/memfd:dev/zero (deleted)\n"
		"7f0000401000-7f0000402000 rw-p 00000000 00:05 20                         /dev/zero\n"
		"nonsense\n"
		"\n"
		"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]";
	static const uint64_t expected[][2] = {
		{0x55d0c0000000, 0x55d0c0021000}, {0x7f0000000000, 0x7f0000003000},
		{0x7f0000004000, 0x7f0000006000}, {0x7f0000200000, 0x7f0000400000},
		{0x7ffc00000000, 0x7ffc00021000},
	};
	uint64_t(*found)[2];

	ck_assert_uint_eq(read_text(text, &found), 5);
	ck_assert_mem_eq(found, expected, sizeof(expected));
	free(found);
}
END_TEST

START_TEST(nothing_gives_nothing)
{
	uint64_t(*found)[2];

	ck_assert_uint_eq(read_text("x", &found), 0);
	ck_assert_ptr_null(found);
}
END_TEST

static bool is_inside(uint64_t (*found)[2], uint32_t cnt, const void *at)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (found[i][0] <= (uintptr_t)at && (uintptr_t)at < found[i][1])
			return true;
	return false;
}

START_TEST(this_process_has_what_it_has_mapped)
{
	void *own = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	FILE *file = fopen("/proc/self/maps", "r");
	uint64_t(*found)[2];
	uint32_t cnt;

	ck_assert(own != MAP_FAILED && shared != MAP_FAILED);
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(anonymous_maps__read(file, &found, &cnt), 0);
	fclose(file);
	ck_assert(is_inside(found, cnt, own));
	ck_assert(is_inside(found, cnt, shared));
	ck_assert(is_inside(found, cnt, &cnt)); /* on the stack */
	ck_assert(!is_inside(found, cnt, (const void *)(uintptr_t)is_inside));
	for (uint32_t i = 1; i < cnt; i++)
		ck_assert_uint_gt(found[i][0], found[i - 1][1]);
	free(found);
	munmap(own, 4096);
	munmap(shared, 4096);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("anonymous_maps");
	TCase *cases = tcase_create("anonymous_maps");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, cases);
	tcase_add_test(cases, anonymous_mappings_are_told_from_those_of_files);
	tcase_add_test(cases, nothing_gives_nothing);
	tcase_add_test(cases, this_process_has_what_it_has_mapped);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
