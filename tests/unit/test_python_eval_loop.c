/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf_builder.h"
#include "python/eval_loop.h"
#include "python/moved_code.h"
#include "target_fixture.h"

/*
 * Goal of this test: all parts of the eval loop are found in a stripped library, where those that
 * the compiler moved away have no symbol; and what other functions jump to is not
 * taken for a part of theirs.
 */

static const char source[] =
	"extern void fail(const char *, int *) __attribute__((cold));\n"
	"extern int work(int *, int), other(int);\n"
	"int _PyEval_EvalFrameDefault(int n, int *p)\n"
	"{\n"
	"	int buf[64] = {0};\n"
	"	for (int i = 0; i < n; i++) {\n"
	"		buf[i & 63] += work(buf, p[i]);\n"
	"		if (p[i] < 0) {\n"
	"			fail(\"negative\", buf);\n"
	"			n = work(buf, n);\n"
	"		}\n"
	"	}\n"
	"	return work(buf, n) + buf[n & 63];\n"
	"}\n"
	"int tail_call(int n)\n"
	"{\n"
	"	return n > 3 ? other(n + 1) : other(n - 1);\n"
	"}\n"
	"static __attribute__((noinline)) int framed(int n)\n"
	"{\n"
	"	int buf[64] = {n};\n"
	"	return work(buf, n) + buf[3];\n"
	"}\n"
	"int tail_call_to_framed(int n)\n"
	"{\n"
	"	return n > 5 ? framed(n * 3) : n;\n"
	"}\n";

/* Builds lib.so and, stripped, stripped.so in the test's directory. */
static void build(const char *options)
{
	char command[4096];

	make_test_dir();
	write_file(test_path("lib.c"), source, sizeof(source) - 1, 0644);
	snprintf(command, sizeof(command),
		 "gcc -O2 -fPIC -shared %s -o %s/lib.so %s/lib.c && "
		 "strip -o %s/stripped.so %s/lib.so",
		 options, test_dir, test_dir, test_dir, test_dir);
	ck_assert_int_eq(system(command), 0);
}

static struct elf_image *open_image(const char *name, int *fd)
{
	struct elf_image *img;

	*fd = open(test_path(name), O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(*fd, 0);
	img = elf_image__open_fd(*fd);
	ck_assert_ptr_nonnull(img);
	return img;
}

struct wanted {
	const char *name;
	struct moved_range range;
};

static int see(const struct elf_symbol *sym, void *arg)
{
	struct wanted *wanted = arg;

	if (strcmp(sym->name, wanted->name))
		return 0;
	wanted->range = (struct moved_range){ sym->file_offset,
					      sym->file_offset + sym->size_bytes };
	return 1;
}

/* By the symbol in the unstripped file. */
static struct moved_range range_of(const char *name)
{
	struct wanted wanted = { .name = name };
	int fd;
	struct elf_image *img = open_image("lib.so", &fd);

	ck_assert_msg(elf_image__for_each_function(img, see, &wanted) == 1, "no %s", name);
	ck_assert_uint_gt(wanted.range.end, wanted.range.start);
	elf_image__free(img);
	close(fd);
	return wanted.range;
}

static void check_eval_loop(const char *name)
{
	struct moved_range whole = range_of("_PyEval_EvalFrameDefault");
	struct moved_range part = range_of("_PyEval_EvalFrameDefault.cold");
	struct uf_python_range ranges[UF_PYTHON_EVAL_RANGES];
	int fd;
	struct elf_image *img = open_image(name, &fd);

	memset(ranges, 0xff, sizeof(ranges));
	ck_assert_int_eq(eval_loop__find(img, fd, ranges), 0);
	ck_assert_uint_eq(ranges[0].start, whole.start);
	ck_assert_uint_eq(ranges[0].end, whole.end);
	ck_assert_uint_eq(ranges[1].start, part.start);
	ck_assert_uint_eq(ranges[1].end, part.end);
	ck_assert_uint_eq(ranges[2].end, 0);
	ck_assert_uint_eq(ranges[3].end, 0);
	elf_image__free(img);
	close(fd);
}

START_TEST(moved_parts_are_found_with_and_without_their_symbols)
{
	static const char *const options[] = { "", "-fno-omit-frame-pointer",
					       "-fcf-protection=none -Wl,-z,noseparate-code" };

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		build(options[i]);
		check_eval_loop("lib.so");
		check_eval_loop("stripped.so");
		remove_test_dir();
	}
}
END_TEST

START_TEST(without_unwind_information_there_is_the_function_alone)
{
	struct uf_python_range ranges[UF_PYTHON_EVAL_RANGES];
	struct elf_image *img;
	int fd;

	build("-fno-asynchronous-unwind-tables -fno-unwind-tables -nostdlib");
	img = open_image("stripped.so", &fd);
	ck_assert_int_eq(eval_loop__find(img, fd, ranges), 0);
	ck_assert_uint_eq(ranges[0].start, range_of("_PyEval_EvalFrameDefault").start);
	ck_assert_uint_eq(ranges[1].end, 0);
	elf_image__free(img);
	close(fd);
	remove_test_dir();
}
END_TEST

START_TEST(functions_that_are_jumped_to_are_no_parts)
{
	static const char *const names[] = { "tail_call", "tail_call_to_framed" };
	struct moved_code *moved;
	int fd;

	build("");
	elf_image__free(open_image("stripped.so", &fd));
	moved = moved_code__new(fd);
	ck_assert_ptr_nonnull(moved);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct moved_range range = range_of(names[i]), parts[4];

		ck_assert_int_eq(moved_code__find(moved, range.start, range.end, parts, 4), 0);
	}
	moved_code__free(moved);
	moved_code__free(NULL);
	close(fd);
	remove_test_dir();
}
END_TEST

START_TEST(code_that_is_not_there_has_no_parts)
{
	struct moved_range parts[4];
	struct moved_code *moved;
	int fd;

	build("");
	elf_image__free(open_image("stripped.so", &fd));
	moved = moved_code__new(fd);
	ck_assert_ptr_nonnull(moved);
	ck_assert_int_eq(moved_code__find(moved, 1ull << 40, (1ull << 40) + 64, parts, 4), 0);
	ck_assert_int_eq(moved_code__find(moved, 64, 64, parts, 4), 0);
	ck_assert_int_eq(moved_code__find(moved, range_of("tail_call").start, UINT64_MAX, parts, 4),
			 -EFBIG);
	moved_code__free(moved);
	close(fd);
	remove_test_dir();
}
END_TEST

START_TEST(a_file_without_the_eval_loop_or_its_size_is_told)
{
	static const struct built_func others[] = { { .name = "_PyEval_EvalFrameDefault.cold" },
						    { .name = "_PyEval_EvalFrame" } };
	static const struct built_func unsized[] = {
		{ .name = "_PyEval_EvalFrameDefault", .is_unsized = true }
	};
	static struct built_elf built;
	struct elf_spec specs[] = {
		{ .funcs = others, .func_cnt = 2, .tables = BUILT_SYMTAB },
		{ .funcs = unsized, .func_cnt = 1, .tables = BUILT_DYNSYM },
	};

	for (size_t i = 0; i < 2; i++) {
		struct uf_python_range ranges[UF_PYTHON_EVAL_RANGES];
		struct elf_image *img;
		int fd;

		build_elf(&built, &specs[i]);
		fd = memfd_with(built.bytes, built.size);
		img = elf_image__open_fd(fd);
		ck_assert_ptr_nonnull(img);
		ck_assert_int_eq(eval_loop__find(img, fd, ranges), -ENOENT);
		elf_image__free(img);
		close(fd);
	}
}
END_TEST

START_TEST(damaged_libraries_are_survived)
{
	uint64_t seed = 0x6576616c;
	size_t size;
	char *whole;

	build("");
	whole = read_whole(test_path("stripped.so"), &size);
	for (int round = 0; round < 1500; round++) {
		uint8_t *copy = malloc(size);
		size_t kept = round % 3 ? size : size * (size_t)round / 1500;
		struct uf_python_range ranges[UF_PYTHON_EVAL_RANGES];
		struct elf_image *img;
		int fd;

		memcpy(copy, whole, size);
		for (int i = 0; i < 1 + round % 40; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			copy[64 + (seed >> 33) % (size - 64)] = (uint8_t)(seed >> 20);
		}
		fd = memfd_with(copy, kept);
		img = elf_image__open_fd(fd);
		if (img && !eval_loop__find(img, fd, ranges))
			ck_assert_uint_lt(ranges[0].start, ranges[0].end);
		elf_image__free(img);
		close(fd);
		free(copy);
	}
	free(whole);
	remove_test_dir();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("python_eval_loop");
	TCase *tcase = tcase_create("python_eval_loop");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, moved_parts_are_found_with_and_without_their_symbols);
	tcase_add_test(tcase, without_unwind_information_there_is_the_function_alone);
	tcase_add_test(tcase, functions_that_are_jumped_to_are_no_parts);
	tcase_add_test(tcase, code_that_is_not_there_has_no_parts);
	tcase_add_test(tcase, a_file_without_the_eval_loop_or_its_size_is_told);
	tcase_add_test(tcase, damaged_libraries_are_survived);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
