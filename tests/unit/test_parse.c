/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "cli/parse.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

/*
 * Goal of this test: numbers are parsed whole or not at all, limits are
 * inclusive, and a failure leaves the result alone.
 */

#define S   1000000000ull
#define MAX UINT64_MAX

struct parse_case {
	const char *text;
	uint64_t min, max;
	int err;
	uint64_t value;
};

typedef int (*parse_fn)(const char *text, uint64_t min, uint64_t max, uint64_t *out);

static void check_case(parse_fn parse, const struct parse_case *c)
{
	const uint64_t untouched = 0x5a5a5a5a5a5a5a5a;
	uint64_t value = untouched;
	int err = parse(c->text, c->min, c->max, &value);

	ck_assert_msg(err == c->err, "'%s' gave %d, not %d", c->text, err, c->err);
	ck_assert_msg(value == (c->err ? untouched : c->value), "'%s' gave %llu", c->text,
		      (unsigned long long)value);
}

#define CHECK_ALL(parse, cases)                                                  \
	do {                                                                     \
		for (size_t i = 0; i < sizeof(cases) / sizeof((cases)[0]); i++) \
			check_case(parse, &(cases)[i]);                          \
	} while (0)

START_TEST(uint_takes_whole_decimal_numbers_only)
{
	static const struct parse_case cases[] = {
		{ "0", 0, MAX, 0, 0 },
		{ "123", 0, MAX, 0, 123 },
		{ "007", 0, MAX, 0, 7 },
		{ "18446744073709551615", 0, MAX, 0, MAX },
		{ "18446744073709551616", 0, MAX, -ERANGE, 0 },
		{ "99999999999999999999999999", 0, MAX, -ERANGE, 0 },
		{ "99999999999999999999999999x", 0, MAX, -EINVAL, 0 },
		{ "4", 5, 7, -ERANGE, 0 },
		{ "5", 5, 7, 0, 5 },
		{ "7", 5, 7, 0, 7 },
		{ "8", 5, 7, -ERANGE, 0 },
		{ "", 0, MAX, -EINVAL, 0 },
		{ " 1", 0, MAX, -EINVAL, 0 },
		{ "1 ", 0, MAX, -EINVAL, 0 },
		{ "1\n", 0, MAX, -EINVAL, 0 },
		{ "-1", 0, MAX, -EINVAL, 0 },
		{ "+1", 0, MAX, -EINVAL, 0 },
		{ "0x10", 0, MAX, -EINVAL, 0 },
		{ "1e3", 0, MAX, -EINVAL, 0 },
		{ "1.0", 0, MAX, -EINVAL, 0 },
		{ "1K", 0, MAX, -EINVAL, 0 },
		{ "abc", 0, MAX, -EINVAL, 0 },
		{ "\xd9\xa1", 0, MAX, -EINVAL, 0 }, /* an Arabic-Indic one */
		{ NULL, 0, MAX, -EINVAL, 0 },
	};

	CHECK_ALL(parse__uint, cases);
}
END_TEST

START_TEST(count_takes_powers_of_1024_without_bytes)
{
	static const struct parse_case cases[] = {
		{ "5000", 0, MAX, 0, 5000 },
		{ "64K", 0, MAX, 0, 65536 },
		{ "1m", 0, MAX, 0, 1 << 20 },
		{ "1G", 0, 1 << 30, 0, 1 << 30 },
		{ "2G", 0, 1 << 30, -ERANGE, 0 },
		{ "1KB", 0, MAX, -EINVAL, 0 },
		{ "1KiB", 0, MAX, -EINVAL, 0 },
		{ "1B", 0, MAX, -EINVAL, 0 },
		{ "K", 0, MAX, -EINVAL, 0 },
		{ "1.5K", 0, MAX, -EINVAL, 0 },
	};

	CHECK_ALL(parse__count, cases);
}
END_TEST

START_TEST(size_takes_powers_of_1024_in_every_spelling)
{
	static const struct parse_case cases[] = {
		{ "512", 0, MAX, 0, 512 },
		{ "512B", 0, MAX, 0, 512 },
		{ "64K", 0, MAX, 0, 65536 },
		{ "64k", 0, MAX, 0, 65536 },
		{ "64KB", 0, MAX, 0, 65536 },
		{ "64KiB", 0, MAX, 0, 65536 },
		{ "64kib", 0, MAX, 0, 65536 },
		{ "3M", 0, MAX, 0, 3 << 20 },
		{ "3MiB", 0, MAX, 0, 3 << 20 },
		{ "2G", 0, MAX, 0, 2ull << 30 },
		{ "2GB", 0, MAX, 0, 2ull << 30 },
		{ "1T", 0, MAX, 0, 1ull << 40 },
		{ "16777215T", 0, MAX, 0, 16777215ull << 40 },
		{ "16777216T", 0, MAX, -ERANGE, 0 },
		{ "18446744073709551616", 0, MAX, -ERANGE, 0 },
		{ "1K", 1025, MAX, -ERANGE, 0 },
		{ "1K", 1024, 1024, 0, 1024 },
		{ "", 0, MAX, -EINVAL, 0 },
		{ "K", 0, MAX, -EINVAL, 0 },
		{ "1KK", 0, MAX, -EINVAL, 0 },
		{ "1 K", 0, MAX, -EINVAL, 0 },
		{ "1K ", 0, MAX, -EINVAL, 0 },
		{ "1Ki", 0, MAX, -EINVAL, 0 },
		{ "1X", 0, MAX, -EINVAL, 0 },
		{ "1.5K", 0, MAX, -EINVAL, 0 },
		{ "-1K", 0, MAX, -EINVAL, 0 },
		{ "0x10", 0, MAX, -EINVAL, 0 },
	};

	CHECK_ALL(parse__size_bytes, cases);
}
END_TEST

START_TEST(percent_wants_its_sign)
{
	static const struct parse_case cases[] = {
		{ "2%", 0, MAX, 0, 20000 },
		{ "0.5%", 0, MAX, 0, 5000 },
		{ "100%", 0, 1000000, 0, 1000000 },
		{ "101%", 0, 1000000, -ERANGE, 0 },
		{ "2", 0, MAX, -EINVAL, 0 },
		{ "2 %", 0, MAX, -EINVAL, 0 },
		{ "2%%", 0, MAX, -EINVAL, 0 },
		{ "%", 0, MAX, -EINVAL, 0 },
		{ "", 0, MAX, -EINVAL, 0 },
		{ "-2%", 0, MAX, -EINVAL, 0 },
	};

	CHECK_ALL(parse__percent, cases);
}
END_TEST

START_TEST(duration_takes_units_and_fractions)
{
	static const struct parse_case cases[] = {
		{ "0", 0, MAX, 0, 0 },
		{ "3", 0, MAX, 0, 3 * S },
		{ "100us", 0, MAX, 0, 100000 },
		{ "500ms", 0, MAX, 0, 500000000 },
		{ "30s", 0, MAX, 0, 30 * S },
		{ "5m", 0, MAX, 0, 300 * S },
		{ "2h", 0, MAX, 0, 7200 * S },
		{ "1d", 0, MAX, 0, 86400 * S },
		{ "1.5s", 0, MAX, 0, 1500000000 },
		{ "1.5", 0, MAX, 0, 1500000000 },
		{ "0.1s", 0, MAX, 0, 100000000 },
		{ "0.25ms", 0, MAX, 0, 250000 },
		{ "1.5d", 0, MAX, 0, 129600 * S },
		{ "0.000000001s", 0, MAX, 0, 1 },
		{ "0.0000000009s", 0, MAX, 0, 0 },
		{ "0.123456789012345678s", 0, MAX, 0, 123456789 },
		{ "0.999999999999999999d", 0, MAX, 0, 86399999999999ull },
		{ "18446744073.709551615", 0, MAX, 0, MAX },
		{ "18446744073.709551616", 0, MAX, -ERANGE, 0 },
		{ "213504d", 0, MAX, -ERANGE, 0 },
		{ "18446744073709551615d", 0, MAX, -ERANGE, 0 },
		{ "18446744073709551616s", 0, MAX, -ERANGE, 0 },
		{ "9ms", 10000000, 20000000, -ERANGE, 0 },
		{ "9.999999ms", 10000000, 20000000, -ERANGE, 0 },
		{ "10ms", 10000000, 20000000, 0, 10000000 },
		{ "20ms", 10000000, 20000000, 0, 20000000 },
		{ "20.000001ms", 10000000, 20000000, -ERANGE, 0 },
	};

	CHECK_ALL(parse__duration_ns, cases);
}
END_TEST

START_TEST(duration_refuses_what_is_not_one)
{
	static const struct parse_case cases[] = {
		{ "", 0, MAX, -EINVAL, 0 },
		{ "s", 0, MAX, -EINVAL, 0 },
		{ ".5s", 0, MAX, -EINVAL, 0 },
		{ "1.s", 0, MAX, -EINVAL, 0 },
		{ "1.", 0, MAX, -EINVAL, 0 },
		{ ".", 0, MAX, -EINVAL, 0 },
		{ "1.5.5s", 0, MAX, -EINVAL, 0 },
		{ "1,5s", 0, MAX, -EINVAL, 0 },
		{ "1.-5s", 0, MAX, -EINVAL, 0 },
		{ "5M", 0, MAX, -EINVAL, 0 }, /* months? */
		{ "5S", 0, MAX, -EINVAL, 0 },
		{ "5min", 0, MAX, -EINVAL, 0 },
		{ "5 s", 0, MAX, -EINVAL, 0 },
		{ " 5s", 0, MAX, -EINVAL, 0 },
		{ "5s ", 0, MAX, -EINVAL, 0 },
		{ "-5s", 0, MAX, -EINVAL, 0 },
		{ "1e3", 0, MAX, -EINVAL, 0 },
		{ "0x10", 0, MAX, -EINVAL, 0 },
		{ "inf", 0, MAX, -EINVAL, 0 },
		{ "nan", 0, MAX, -EINVAL, 0 },
		{ "1m30s", 0, MAX, -EINVAL, 0 },
		{ "0.1234567890123456789s", 0, MAX, -EINVAL, 0 }, /* 19 digits */
		{ "0.99999999999999999999999s", 0, MAX, -EINVAL, 0 },
		{ NULL, 0, MAX, -EINVAL, 0 },
	};

	CHECK_ALL(parse__duration_ns, cases);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("parse");
	TCase *tcase = tcase_create("parse");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, uint_takes_whole_decimal_numbers_only);
	tcase_add_test(tcase, count_takes_powers_of_1024_without_bytes);
	tcase_add_test(tcase, percent_wants_its_sign);
	tcase_add_test(tcase, size_takes_powers_of_1024_in_every_spelling);
	tcase_add_test(tcase, duration_takes_units_and_fractions);
	tcase_add_test(tcase, duration_refuses_what_is_not_one);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
