/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "elf_builder.h"
#include "python/offsets.h"
#include "python/threads.h"
#include "python/version.h"

/*
 * Goal of this test: versions are told by the strings of a file where no symbol does, and by no
 * strings that only look like them; an interpreter's own table of offsets is
 * believed where it is what we know of its version, and refused with a reason
 * otherwise. Without any interpreter: what they have is written down here.
 */

/* -- versions -- */

static int read_nothing(void *arg, uint64_t address, void *buf, size_t size)
{
	(void)arg, (void)address, (void)buf, (void)size;
	return -EFAULT;
}

/* The version told by an ELF file with these bytes at its end, of which there are size. */
static uint32_t version_of(const char *bytes, size_t size)
{
	static const struct built_func no_function[] = { { .name = "f" } };
	static struct built_elf built;
	struct elf_spec spec = { .funcs = no_function, .func_cnt = 1, .tables = BUILT_DYNSYM };
	struct python_memory mem = { read_nothing, NULL };
	struct elf_image *img;
	uint32_t version;
	int fd;

	build_elf(&built, &spec);
	fd = memfd_with(built.bytes, built.size);
	/* A string that lies across the edge of what is read at a time. */
	ck_assert_int_eq(pwrite(fd, bytes, size, 65536 - 8), size);
	img = elf_image__open_fd(fd);
	ck_assert_ptr_nonnull(img);
	version = python_version__find(img, &mem, 0);
	elf_image__free(img);
	close(fd);
	return version;
}

#define VERSION_OF(string) version_of(string, sizeof(string))

START_TEST(versions_before_3_11_are_told_by_strings)
{
	ck_assert_uint_eq(VERSION_OF("cpython-310\0" "3.10.13"), 0x030a0df0);
	ck_assert_uint_eq(VERSION_OF("cpython-38\0" "/opt/python/3.8.2+"), 0x030802f0);
	ck_assert_uint_eq(VERSION_OF("cpython-39\0" "3.9.0rc2\0" "3.45.1"), 0x030900c2);
	ck_assert_uint_eq(VERSION_OF("3.10.1b1\0" "xyz\0" "cpython-310"), 0x030a01b1);
}
END_TEST

START_TEST(strings_that_are_no_versions_are_not_taken_for_one)
{
	ck_assert_uint_eq(VERSION_OF("nothing here"), 0);
	ck_assert_uint_eq(VERSION_OF("xcpython-310\0" "3.10.13"), 0);
	ck_assert_uint_eq(VERSION_OF("cpython-310-x86_64-linux-gnu\0" "3.10.13"), 0);
	ck_assert_uint_eq(VERSION_OF("cpython-310\0" "cpython-39"), 0);
	/* Only the minor version is certain. */
	ck_assert_uint_eq(VERSION_OF("cpython-310\0" "3.9.1\0" "13.10.2\0" "1.3.10.2"),
			  0x030a0000);
	ck_assert_uint_eq(VERSION_OF("cpython-310\0" "3.10.1\0" "3.10.2"), 0x030a0000);
	ck_assert_uint_eq(VERSION_OF("cpython-310\0" "3.10.1.2\0" "3.10.300\0" "3.10.1rc"),
			  0x030a0000);
}
END_TEST

START_TEST(versions_are_written_as_people_do)
{
	char out[32];

	python_version__format(0x030b02f0, out, sizeof(out));
	ck_assert_str_eq(out, "3.11.2");
	python_version__format(0x030e00a7, out, sizeof(out));
	ck_assert_str_eq(out, "3.14.0a7");
	python_version__format(0x030d01c1, out, sizeof(out));
	ck_assert_str_eq(out, "3.13.1rc1");
	python_version__format(0x030a0000, out, sizeof(out));
	ck_assert_str_eq(out, "3.10");
}
END_TEST

START_TEST(every_version_has_a_table_that_a_frame_fits)
{
	for (uint32_t minor = 8; minor <= 14; minor++) {
		const struct python_offsets *offsets =
			python_offsets__for_version(PYTHON_VERSION_HEX(3, minor) | 0xf0);
		const struct uf_python *layout;

		ck_assert_ptr_nonnull(offsets);
		layout = &offsets->layout;
		ck_assert_uint_eq(layout->version_hex >> 16, 0x0300 | minor);
		ck_assert_uint_le(layout->frame_size, 128);
		ck_assert_uint_ge(layout->frame_size, layout->frame_instr + 8);
		ck_assert_uint_ge(layout->frame_size, layout->frame_code + 8);
		ck_assert_uint_ge(layout->frame_size, layout->frame_previous + 8);
		ck_assert_uint_gt(layout->frame_size, layout->frame_owner);
	}
	ck_assert_ptr_null(python_offsets__for_version(PYTHON_VERSION_HEX(3, 7)));
	ck_assert_ptr_null(python_offsets__for_version(PYTHON_VERSION_HEX(3, 15)));
}
END_TEST

/* -- offsets -- */

/* _Py_DebugOffsets of Debian's 3.13.5 and 3.14.10, from the cookie to unicode_object. */
static const uint64_t debug_3_13[] = {
	0x7970677562656478, 0x030d05f0, 0, 283376, 608, 632, 194976, 7272, 7264, 7344, 7400, 7656,
	7640, 7648, 16, 7752, 0, 7768, 7760, 304, 0, 8, 16, 72, 152, 160, 232, 32, 80, 8, 0, 56, 72,
	70, 208, 112, 120, 128, 136, 68, 52, 96, 104, 200, 16, 8, 416, 24, 88, 168, 32, 24, 16, 40,
	24, 16, 48, 32, 40, 24, 16, 32, 16, 24, 40, 16, 32, 64, 32, 16, 40,
};
static const uint64_t debug_3_14[] = {
	0x7970677562656478, 0x030e0af0, 0, 316616, 784, 808, 225864, 7280, 7272, 7344, 7360, 7408,
	7688, 7672, 7680, 16, 7784, 0, 7800, 7792, 7992, 0, 832, 0, 8, 16, 72, 152, 160, 232, 32, 88,
	8, 0, 56, 80, 74, 64, 0, 216, 112, 120, 128, 136, 68, 52, 96, 104, 208, 0, 16, 8, 416, 24,
	88, 168, 40, 32, 16, 40, 24, 16, 200, 24, 40, 32, 48, 32, 40, 24, 16, 32, 16, 24, 40, 16, 32,
	64, 32, 16, 40,
};

#define DEBUG_WORDS 128

static int read_words(void *arg, uint64_t address, void *buf, size_t size)
{
	if (address < 4096 || address - 4096 + size > DEBUG_WORDS * sizeof(uint64_t))
		return -EFAULT;
	memcpy(buf, (const uint8_t *)arg + (address - 4096), size);
	return 0;
}

/* Reads the table with a word changed. reason: what must be said; NULL: it is right. */
static void check_debug(const uint64_t *debug, size_t size, int word, uint64_t value,
			const char *reason)
{
	uint64_t words[DEBUG_WORDS] = { 0 };
	struct python_memory mem = { read_words, words };
	struct python_offsets offsets;
	char why[128] = "";
	int err;

	memcpy(words, debug, size);
	words[word] = value;
	err = python_offsets__from_debug(&mem, 4096, (uint32_t)debug[1], &offsets, why,
					 sizeof(why));
	ck_assert_int_eq(err, reason ? -EINVAL : 0);
	if (reason)
		ck_assert_msg(strstr(why, reason), "word %d: '%s'", word, why);
	else
		ck_assert_uint_eq(offsets.layout.version_hex, debug[1]);
}

START_TEST(debug_offsets_are_taken_where_they_are_as_known)
{
	check_debug(debug_3_13, sizeof(debug_3_13), 2, 0, NULL);
	check_debug(debug_3_14, sizeof(debug_3_14), 2, 0, NULL);
	/* What differs between releases: PyInterpreterState.gc, .threads.head */
	check_debug(debug_3_13, sizeof(debug_3_13), 10, 7408, NULL);
	check_debug(debug_3_13, sizeof(debug_3_13), 9, 7352, NULL);
}
END_TEST

START_TEST(debug_offsets_that_are_not_as_known_are_refused)
{
	struct python_memory mem = { read_words, (void *)(uintptr_t)debug_3_13 };
	struct python_offsets offsets;
	char why[128];

	check_debug(debug_3_13, sizeof(debug_3_13), 0, 0, "does not begin with debug offsets");
	check_debug(debug_3_13, sizeof(debug_3_13), 1, 0x030d05f1, "of another version");
	check_debug(debug_3_13, sizeof(debug_3_13), 2, 1, "free-threaded");
	check_debug(debug_3_13, sizeof(debug_3_13), 8, 194976, "not plausible");
	check_debug(debug_3_13, sizeof(debug_3_13), 8, UINT64_MAX, "not plausible");
	check_debug(debug_3_13, sizeof(debug_3_13), 19, UINT64_MAX, "not plausible");
	check_debug(debug_3_13, sizeof(debug_3_13), 23, 80, "not as known");  /* current_frame */
	check_debug(debug_3_13, sizeof(debug_3_13), 70, 48, "not as known");  /* PyASCIIObject */
	check_debug(debug_3_14, sizeof(debug_3_14), 36, 70, "not as known");  /* owner */
	check_debug(debug_3_14, sizeof(debug_3_14), 48, 200, "not as known"); /* code */
	ck_assert_int_eq(python_offsets__from_debug(&mem, 1, 0x030d05f0, &offsets, why,
						    sizeof(why)),
			 -EFAULT);
}
END_TEST

static int read_self(void *arg, uint64_t address, void *buf, size_t size)
{
	(void)arg, (void)address;
	for (size_t i = 0; i < size; i += 8)
		memcpy((uint8_t *)buf + i, &(uint64_t){ 4096 }, size - i < 8 ? size - i : 8);
	return 0;
}

START_TEST(lists_that_never_end_are_cut)
{
	struct python_memory mem = { read_self, NULL };
	struct python_threads threads;

	/* Every pointer leads to 4096, so that all of them are consistent. */
	ck_assert_int_eq(python_threads__read(&mem, 4096, python_offsets__for_version(0x030b0000),
					      &threads),
			 0);
	ck_assert_uint_eq(threads.cnt, PYTHON_THREADS_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("python_offsets");
	TCase *tcase = tcase_create("python_offsets");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, versions_before_3_11_are_told_by_strings);
	tcase_add_test(tcase, strings_that_are_no_versions_are_not_taken_for_one);
	tcase_add_test(tcase, versions_are_written_as_people_do);
	tcase_add_test(tcase, every_version_has_a_table_that_a_frame_fits);
	tcase_add_test(tcase, debug_offsets_are_taken_where_they_are_as_known);
	tcase_add_test(tcase, debug_offsets_that_are_not_as_known_are_refused);
	tcase_add_test(tcase, lists_that_never_end_are_cut);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
