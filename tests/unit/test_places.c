/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <check.h>
#include <stdlib.h>

#include "agent/places.h"

/*
 * Goal of this test: a place is believed after enough calls that agree, given up at the first that
 * was changed or the third that went astray, and a stray one, which a signal may be, has to be
 * outweighed.
 */
static enum place_verdict verdict(uint32_t agreed, uint32_t changed, uint32_t missing,
				  uint32_t stray)
{
	const struct uf_place_check check = {
		.agreed_cnt = agreed,
		.changed_cnt = changed,
		.missing_cnt = missing,
		.stray_cnt = stray,
	};

	return place_verdict(&check);
}

START_TEST(enough_that_agree)
{
	ck_assert_int_eq(verdict(0, 0, 0, 0), PLACE_UNDECIDED);
	ck_assert_int_eq(verdict(UF_PLACE_CALLS - 1, 0, 0, 0), PLACE_UNDECIDED);
	ck_assert_int_eq(verdict(UF_PLACE_CALLS, 0, 0, 0), PLACE_AGREES);
}
END_TEST

START_TEST(one_that_was_changed)
{
	ck_assert_int_eq(verdict(0, 1, 0, 0), PLACE_DISAGREES);
	ck_assert_int_eq(verdict(UF_PLACE_CALLS, 1, 0, 0), PLACE_DISAGREES);
}
END_TEST

START_TEST(some_that_went_astray)
{
	ck_assert_int_eq(verdict(UF_PLACE_CALLS, 0, 1, 0), PLACE_UNDECIDED);
	ck_assert_int_eq(verdict(2 * UF_PLACE_CALLS, 0, 0, 1), PLACE_AGREES);
	ck_assert_int_eq(verdict(2 * UF_PLACE_CALLS, 0, 1, 1), PLACE_UNDECIDED);
	ck_assert_int_eq(verdict(9 * UF_PLACE_CALLS, 0, UF_PLACE_STRAYS, 0), PLACE_DISAGREES);
	ck_assert_int_eq(verdict(9 * UF_PLACE_CALLS, 0, 0, UF_PLACE_STRAYS), PLACE_DISAGREES);
	ck_assert_int_eq(verdict(9 * UF_PLACE_CALLS, 0, UF_PLACE_STRAYS - 1, 1), PLACE_DISAGREES);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("places");
	TCase *tcase = tcase_create("places");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, enough_that_agree);
	tcase_add_test(tcase, one_that_was_changed);
	tcase_add_test(tcase, some_that_went_astray);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
