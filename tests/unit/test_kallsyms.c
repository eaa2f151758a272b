/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "sym/kallsyms.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Goal of this test: an address has the function that the listing says, the
 * first name where it says several, none outside of all; and no text, however
 * odd, is read past its end.
 */

static struct kallsyms *parse_bytes(const char *text, size_t size)
{
	FILE *in = size ? fmemopen((void *)text, size, "r") : fopen("/dev/null", "r");
	struct kallsyms *syms;
	int err;

	ck_assert_ptr_nonnull(in);
	errno = 0;
	syms = kallsyms__parse(in);
	err = errno;
	fclose(in);
	errno = err;
	return syms;
}

static struct kallsyms *parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

/* function NULL: none. */
static void assert_at(const struct kallsyms *syms, uint64_t address, const char *function,
		      const char *module, uint64_t offset)
{
	struct kernel_symbol symbol;
	bool is_found = kallsyms__find(syms, address, &symbol);

	ck_assert_msg(is_found == !!function, "%llx", (unsigned long long)address);
	if (!function)
		return;
	ck_assert_str_eq(symbol.name, function);
	ck_assert_str_eq(symbol.module, module);
	ck_assert_uint_eq(symbol.offset, offset);
}

START_TEST(addresses_have_the_function_that_they_lie_in)
{
	struct kallsyms *syms = parse("0000000000000000 A fixed_percpu_data\n"
				      "ffffffff81000000 T _stext\n"
				      "ffffffff81000000 T _text\n"
				      "ffffffff81000040 t first\n"
				      "ffffffff81000050 D data_between\n"
				      "ffffffff81000100 W second\n"
				      "ffffffff81000200 T _etext\n"
				      "ffffffff82000000 t init_text\n"
				      "ffffffff82000010 T alias_of_end\n"
				      "ffffffff82000010 T _einittext\n"
				      "ffffffffc0202000 t later\t[xfs]\n"
				      "ffffffffc0201000 t ext4_alloc_inode\t[ext4]\n"
				      "ffffffffc0203000 t bpf_prog_0123456789abcdef_name\t[bpf]\n");

	ck_assert_ptr_nonnull(syms);
	assert_at(syms, 0, NULL, NULL, 0);
	assert_at(syms, 0xffffffff80ffffff, NULL, NULL, 0);
	assert_at(syms, 0xffffffff81000000, "_stext", "", 0);
	assert_at(syms, 0xffffffff8100003f, "_stext", "", 0x3f);
	assert_at(syms, 0xffffffff81000060, "first", "", 0x20);
	assert_at(syms, 0xffffffff81000100, "second", "", 0);
	assert_at(syms, 0xffffffff81000200, NULL, NULL, 0);
	assert_at(syms, 0xffffffff81000300, NULL, NULL, 0);
	assert_at(syms, 0xffffffff82000008, "init_text", "", 8);
	assert_at(syms, 0xffffffff82000010, NULL, NULL, 0);
	assert_at(syms, 0xffffffffc0201fff, "ext4_alloc_inode", "ext4", 0xfff);
	assert_at(syms, 0xffffffffc0202000, "later", "xfs", 0);
	assert_at(syms, 0xffffffffc0203001, "bpf_prog_0123456789abcdef_name", "bpf", 1);
	assert_at(syms, 0xffffffffc0203000 + KALLSYMS_MAX_FUNCTION_BYTES, NULL, NULL, 0);
	assert_at(syms, UINT64_MAX, NULL, NULL, 0);
	kallsyms__free(syms);
	kallsyms__free(NULL);
}
END_TEST

START_TEST(a_listing_without_addresses_is_refused)
{
	ck_assert_ptr_null(parse("0000000000000000 T _stext\n0000000000000000 t first\n"));
	ck_assert_int_eq(errno, EACCES);
	ck_assert_ptr_null(parse(""));
	ck_assert_int_eq(errno, EACCES);
}
END_TEST

START_TEST(lines_that_are_not_as_expected_are_left_out)
{
	static const char text[] = "ffffffff81000000 T good\n"
				   "\n"
				   " \n"
				   "hello\n"
				   "ffffffff81000010\n"
				   "ffffffff81000010 \n"
				   "ffffffff81000010 T\n"
				   "ffffffff81000010 T \n"
				   "ffffffff81000010  T two_spaces\n"
				   "ffffffff81000010 TT two_letters\n"
				   "-1 T negative\n"
				   "0xzz T no_number\n"
				   "fffffffff81000010 T too_long_a_number\n"
				   "ffffffff81000010 T \tno_name\n"
				   "ffffffff81000010 \0 nul_type\n"
				   "ffffffff81000010 T\0nul_after_type\n"
				   "ffffffff81000020 T cut\0off [m]\n"
				   "ffffffff81000030 T open\t[never_closed\n"
				   "ffffffff81000040 T nested\t[a]b]\n"
				   "ffffffff81000050 T empty_module\t[]\n"
				   "ffffffff81000060 T after name\n"
				   "ffffffff81000070 T no_newline";
	struct kallsyms *syms = parse_bytes(text, sizeof(text) - 1);

	ck_assert_ptr_nonnull(syms);
	assert_at(syms, 0xffffffff8100001f, "good", "", 0x1f);
	assert_at(syms, 0xffffffff81000020, "cut", "m", 0);
	assert_at(syms, 0xffffffff81000030, "open", "", 0);
	assert_at(syms, 0xffffffff81000040, "nested", "a", 0);
	assert_at(syms, 0xffffffff81000050, "empty_module", "", 0);
	assert_at(syms, 0xffffffff81000060, "after", "", 0);
	assert_at(syms, 0xffffffff81000071, "no_newline", "", 1);
	kallsyms__free(syms);
}
END_TEST

START_TEST(a_listing_cut_anywhere_is_read_to_its_end_only)
{
	static const char text[] = "ffffffff81000000 T good\nffffffffc0201000 t other\t[ext4]\n";

	for (size_t size = 0; size < sizeof(text); size++) {
		/* A copy of just that size, so that the sanitizer sees what is past it. */
		char *copy = malloc(size + 1);
		struct kallsyms *syms;

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, text, size);
		syms = parse_bytes(copy, size);
		if (syms && size > 23)
			assert_at(syms, 0xffffffff81000001, "good", "", 1);
		kallsyms__free(syms);
		free(copy);
	}
}
END_TEST

START_TEST(many_symbols_and_long_names_are_kept)
{
	enum { CNT = 100003 };
	char *text = NULL, name[600];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct kallsyms *syms;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	for (uint64_t i = CNT; i--;)
		fprintf(out, "%llx t f%llu\n", 0xffffffff81000000ULL + i * 16, (unsigned long long)i);
	fprintf(out, "ffffffff80000000 T %s\n", name);
	fclose(out);
	syms = parse_bytes(text, size);
	ck_assert_ptr_nonnull(syms);
	assert_at(syms, 0xffffffff81000000, "f0", "", 0);
	assert_at(syms, 0xffffffff81000000 + 77777 * 16 + 5, "f77777", "", 5);
	assert_at(syms, 0xffffffff80000001, name, "", 1);
	kallsyms__free(syms);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kallsyms");
	TCase *tcase = tcase_create("kallsyms");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, addresses_have_the_function_that_they_lie_in);
	tcase_add_test(tcase, a_listing_without_addresses_is_refused);
	tcase_add_test(tcase, lines_that_are_not_as_expected_are_left_out);
	tcase_add_test(tcase, a_listing_cut_anywhere_is_read_to_its_end_only);
	tcase_add_test(tcase, many_symbols_and_long_names_are_kept);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
