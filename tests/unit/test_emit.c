/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "render/emit.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "render/human.h"

/*
 * Goal of this test: what the reports are made of. Strings come out safe for a
 * terminal and valid in JSON, byte by byte; numbers for people are rounded right.
 */

#define BAD "\\ufffd"

static const struct {
	const char *str, *text, *json;
} strings[] = {
	{ "", "", "" },
	{ "plain ~!", "plain ~!", "plain ~!" },
	{ "\xc3\xa9", "\xc3\xa9", "\xc3\xa9" },
	{ "\xe2\x82\xac", "\xe2\x82\xac", "\xe2\x82\xac" },
	{ "\xf0\x9f\x90\x9b", "\xf0\x9f\x90\x9b", "\xf0\x9f\x90\x9b" },
	{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
	{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", BAD BAD BAD BAD }, /* past U+10FFFF */
	{ "\xed\xa0\x80", "\\xed\\xa0\\x80", BAD BAD BAD },		 /* a surrogate */
	{ "\xc0\xaf", "\\xc0\\xaf", BAD BAD },				 /* overlong */
	{ "\xc1\xbf", "\\xc1\\xbf", BAD BAD },
	{ "\xe0\x80\xaf", "\\xe0\\x80\\xaf", BAD BAD BAD },
	{ "\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf", BAD BAD BAD BAD },
	{ "\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80", BAD BAD BAD BAD BAD },
	{ "\x80", "\\x80", BAD },
	{ "\xe2\x82", "\\xe2\\x82", BAD BAD }, /* cut by the end */
	{ "\xe2\x82x", "\\xe2\\x82x", BAD BAD "x" },
	{ "\xf0\x9f\x90", "\\xf0\\x9f\\x90", BAD BAD BAD },
	{ "\xff\xfe", "\\xff\\xfe", BAD BAD },
	{ "\x01\x1f", "\\x01\\x1f", "\\u0001\\u001f" },
	{ "\xc2\x85\xc2\x9b", "\\xc2\\x85\\xc2\\x9b", "\\u0085\\u009b" },
	{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8", "\\u2028" },
	{ "\xef\xbb\xbf", "\\xef\\xbb\\xbf", "\\ufeff" },
	{ "\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81", "\\udb40\\udc41" }, /* a tag */
	{ "\xef\xbf\xbd", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\\x1b", "\\\\x1b", "\\\\x1b" },
	{ "\"", "\"", "\\\"" },
	{ "/", "/", "/" },
	{ "a\"b\\c\x7f" "d\x80" "e\xc3\xa9" "f\x1f", "a\"b\\\\c\\x7fd\\x80e\xc3\xa9" "f\\x1f",
	  "a\\\"b\\\\c\\u007fd" BAD "e\xc3\xa9" "f\\u001f" }, /* between plain ones */
};

START_TEST(strings_are_escaped_byte_by_byte)
{
	char *buf = NULL, quoted[128];
	size_t size, columns;
	FILE *out = open_memstream(&buf, &size);

	columns = emit__text(out, strings[_i].str, 1000);
	fflush(out);
	ck_assert_str_eq(buf, strings[_i].text);
	ck_assert_uint_eq(columns, emit__text(NULL, strings[_i].str, 1000));
	rewind(out);
	emit__json_string(out, strings[_i].str);
	fflush(out);
	buf[size] = '\0';
	snprintf(quoted, sizeof(quoted), "\"%s\"", strings[_i].json);
	ck_assert_int_eq(strncmp(buf, quoted, strlen(quoted)), 0);
	ck_assert_uint_eq(size, strlen(quoted));
	fclose(out);
	free(buf);
}
END_TEST

START_TEST(unsigned_numbers_are_decimal)
{
	static const struct {
		uint64_t value;
		const char *text;
	} cases[] = {
		{ 0, "0" }, { 9, "9" }, { 10, "10" }, { 100, "100" }, { 4294967296, "4294967296" },
		{ 10000000000000000000u, "10000000000000000000" },
		{ UINT64_MAX, "18446744073709551615" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char buf[64] = "";
		FILE *out = fmemopen(buf, sizeof(buf), "w");

		emit__uint(out, cases[i].value);
		fclose(out);
		ck_assert_str_eq(buf, cases[i].text);
	}
}
END_TEST

START_TEST(cut_text_keeps_whole_escapes_and_its_bound)
{
	static const struct {
		const char *str;
		size_t max;
		const char *text;
	} cases[] = {
		{ "abcdef", 6, "abcdef" },
		{ "abcdefg", 6, "abc..." },
		{ "\x1b\x1b", 8, "\\x1b\\x1b" },
		{ "\x1b\x1b", 7, "\\x1b..." },
		{ "\x1b\x1b", 6, "..." },
		{ "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 4, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9" },
		{ "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 4, "\xc3\xa9..." },
		{ "abcd", 3, "..." },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char buf[64] = "";
		FILE *out = fmemopen(buf, sizeof(buf), "w");

		ck_assert_uint_le(emit__text(out, cases[i].str, cases[i].max), cases[i].max);
		fclose(out);
		ck_assert_str_eq(buf, cases[i].text);
	}
}
END_TEST

START_TEST(numbers_for_people_are_rounded_right)
{
	ck_assert_str_eq(human__bytes(0).text, "0 B");
	ck_assert_str_eq(human__bytes(1023).text, "1023 B");
	ck_assert_str_eq(human__bytes(1024).text, "1.0 KiB");
	ck_assert_str_eq(human__bytes(1536).text, "1.5 KiB");
	ck_assert_str_eq(human__bytes(1048524).text, "1023.9 KiB");
	ck_assert_str_eq(human__bytes(1048575).text, "1.0 MiB");
	ck_assert_str_eq(human__bytes(UINT64_MAX).text, "16.0 EiB");
	ck_assert_str_eq(human__count(0).text, "0");
	ck_assert_str_eq(human__count(999).text, "999");
	ck_assert_str_eq(human__count(1000).text, "1,000");
	ck_assert_str_eq(human__count(1234567).text, "1,234,567");
	ck_assert_str_eq(human__count(UINT64_MAX).text, "18,446,744,073,709,551,615");
	ck_assert_str_eq(human__rate(0).text, "+0 B/s");
	ck_assert_str_eq(human__rate(-0.4).text, "+0 B/s");
	ck_assert_str_eq(human__rate(-300).text, "-300 B/s");
	ck_assert_str_eq(human__rate(1228.8).text, "+1.2 KiB/s");
	ck_assert_str_eq(human__rate(-INFINITY).text, "-16.0 EiB/s");
	ck_assert_str_eq(human__rate(NAN).text, "?");
	ck_assert_str_eq(human__share(0, 0).text, "-");
	ck_assert_str_eq(human__share(0, 5).text, "0.0%");
	ck_assert_str_eq(human__share(1, 100000).text, "<0.1%");
	ck_assert_str_eq(human__share(1, 3).text, "33.3%");
	ck_assert_str_eq(human__share(3, 3).text, "100.0%");
}
END_TEST

START_TEST(durations_for_people_never_show_60)
{
	ck_assert_str_eq(human__duration(0).text, "0ms");
	ck_assert_str_eq(human__duration(-1).text, "0ms");
	ck_assert_str_eq(human__duration(0.35).text, "350ms");
	ck_assert_str_eq(human__duration(0.9996).text, "1.0s");
	ck_assert_str_eq(human__duration(12.34).text, "12.3s");
	ck_assert_str_eq(human__duration(59.94).text, "59.9s");
	ck_assert_str_eq(human__duration(59.96).text, "1m00s");
	ck_assert_str_eq(human__duration(303).text, "5m03s");
	ck_assert_str_eq(human__duration(3599.7).text, "1h00m");
	ck_assert_str_eq(human__duration(7500).text, "2h05m");
	ck_assert_str_eq(human__duration(273600).text, "3d04h");
	ck_assert_str_eq(human__duration(NAN).text, "?");
	ck_assert_str_eq(human__duration(INFINITY).text, "347222222d05h");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("emit");
	TCase *tcase = tcase_create("emit");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, strings_are_escaped_byte_by_byte, 0,
			    sizeof(strings) / sizeof(strings[0]));
	tcase_add_test(tcase, unsigned_numbers_are_decimal);
	tcase_add_test(tcase, cut_text_keeps_whole_escapes_and_its_bound);
	tcase_add_test(tcase, numbers_for_people_are_rounded_right);
	tcase_add_test(tcase, durations_for_people_never_show_60);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
