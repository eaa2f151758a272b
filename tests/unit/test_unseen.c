/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Goal: what pauses hide is not made up for by guesses: a site is outstanding as far as its windows
 * allow, and windows are counted as they were.
 */
#include <check.h>
#include <stdlib.h>

#include "agent/windows.h"
#include "contract.h"
#include "snapshot/unseen.h"

START_TEST(without_pauses_nothing_is_in_doubt)
{
	struct unseen unseen = unseen__judge(0, 0, 1);

	ck_assert_double_eq(unseen.part, 1);
	ck_assert_double_eq(unseen.certain_part, 1);
	ck_assert(!unseen.is_undecided);
}
END_TEST

START_TEST(few_windows_decide_nothing)
{
	ck_assert(unseen__judge(0, 0, 0.02).is_undecided);
	ck_assert(unseen__judge(UNSEEN_MIN_WINDOWS - 1, 0, 0.02).is_undecided);
	ck_assert_double_eq(unseen__judge(UNSEEN_MIN_WINDOWS - 1, 0, 0.02).part, 0);
	ck_assert(!unseen__judge(UNSEEN_MIN_WINDOWS, 0, 0.02).is_undecided);
	/* Where nearly all frees are seen few are enough. */
	ck_assert(!unseen__judge(1, 0, 0.95).is_undecided);
}
END_TEST

START_TEST(no_late_free_leaves_all_and_the_more_windows_the_surer)
{
	struct unseen few = unseen__judge(100, 0, 0.02);
	struct unseen many = unseen__judge(1000, 0, 0.02);

	ck_assert_double_eq(few.part, 1);
	ck_assert_double_eq(few.certain_part, 0);
	ck_assert_double_eq(many.part, 1);
	/* Of 1,000 windows 3.7 * 49 may have been freed unseen. */
	ck_assert_double_eq_tol(many.certain_part, 1 - 3.69 * 49 / 1000, 0.01);
}
END_TEST

START_TEST(each_late_window_stands_for_those_that_were_not_seen)
{
	/* One of 49 windows, of which one in 50 would be seen: all are gone. */
	ck_assert_double_eq(unseen__judge(49, 1, 0.02).part, 0);
	ck_assert_double_eq_tol(unseen__judge(490, 1, 0.02).part, 0.9, 1e-9);
	ck_assert_double_eq_tol(unseen__judge(100, 20, 0.5).part, 0.8, 1e-9);
	ck_assert_double_eq(unseen__judge(100, 99, 0.02).part, 0);
}
END_TEST

static void change(struct uf_site *site, uint64_t alloc, uint64_t free, uint64_t late)
{
	site->alloc_cnt += alloc;
	site->free_cnt += free;
	site->late_cnt += late;
}

static void check_windows(const struct windows *windows, const struct uf_site *site, uint32_t i,
			  uint32_t born, uint32_t late)
{
	ck_assert_uint_eq(windows__of(windows, i, site).born_cnt, born);
	ck_assert_uint_eq(windows__of(windows, i, site).late_cnt, late);
}

START_TEST(windows_are_counted_by_what_outlived_them)
{
	struct windows *windows = windows__new();
	struct uf_site sites[3] = {
		{.stack_id = 11, .image = 1, .state = UF_SITE_READY},
		{.stack_id = 13, .image = 1, .state = UF_SITE_READY},
		{.stack_id = 17, .image = 1, .state = UF_SITE_UNUSED},
	};

	ck_assert_ptr_nonnull(windows);
	check_windows(windows, &sites[0], 0, 0, 0);
	/* The first keeps 3 of 101, the second nothing. */
	change(&sites[0], 101, 98, 0);
	change(&sites[1], 103, 103, 0);
	change(&sites[2], 7, 0, 0);
	ck_assert_int_eq(windows__count(windows, sites, 3), 0);
	check_windows(windows, &sites[0], 0, 1, 0);
	check_windows(windows, &sites[1], 1, 0, 0);
	check_windows(windows, &sites[2], 2, 0, 0);
	/* Nothing happens. */
	ck_assert_int_eq(windows__count(windows, sites, 3), 0);
	check_windows(windows, &sites[0], 0, 1, 0);
	/* It loses two of the old ones, and keeps one new one: fewer live, and one more window. */
	change(&sites[0], 1, 2, 2);
	ck_assert_int_eq(windows__count(windows, sites, 3), 0);
	check_windows(windows, &sites[0], 0, 2, 1);
	/* It only loses. */
	change(&sites[0], 0, 1, 1);
	ck_assert_int_eq(windows__count(windows, sites, 3), 0);
	check_windows(windows, &sites[0], 0, 2, 2);
	windows__free(windows);
}
END_TEST

START_TEST(a_place_that_is_used_again_begins_anew)
{
	struct windows *windows = windows__new();
	struct uf_site site = {.stack_id = 11, .image = 1, .state = UF_SITE_READY, .alloc_cnt = 5};
	struct uf_site next = {.stack_id = 13, .image = 1, .state = UF_SITE_READY, .alloc_cnt = 2};

	ck_assert_int_eq(windows__count(windows, &site, 1), 0);
	check_windows(windows, &next, 0, 0, 0);
	ck_assert_int_eq(windows__count(windows, &next, 1), 0);
	check_windows(windows, &next, 0, 1, 0);
	check_windows(windows, &site, 0, 0, 0);
	windows__free(windows);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("unseen");
	TCase *tcase = tcase_create("unseen");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, without_pauses_nothing_is_in_doubt);
	tcase_add_test(tcase, few_windows_decide_nothing);
	tcase_add_test(tcase, no_late_free_leaves_all_and_the_more_windows_the_surer);
	tcase_add_test(tcase, each_late_window_stands_for_those_that_were_not_seen);
	tcase_add_test(tcase, windows_are_counted_by_what_outlived_them);
	tcase_add_test(tcase, a_place_that_is_used_again_begins_anew);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
