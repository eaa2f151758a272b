/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* Goal: hits cost what a hit of their kind does, each once. */
#include <check.h>
#include <stdlib.h>

#include "agent/cost_meter.h"

static const struct trap_costs costs = {.entry_ns = 7, .stepped_ns = 101, .return_ns = 13};

START_TEST(targets_hits_cost_by_their_kind)
{
	/* 1,009 hits, 11 of them stepped; 503 returns, 3 by their ret. */
	const struct uf_stats stats = {
		.event_cnt = 1009, .stepped_cnt = 11, .return_cnt = 503, .ret_cnt = 3};
	double foreign_ns = -1;
	double ns = cost__trap_ns(&stats, &costs, &foreign_ns);

	ck_assert_double_eq(ns, 998 * 7 + 14 * 101 + 503 * 13);
	ck_assert_double_eq(foreign_ns, 0);
}
END_TEST

START_TEST(hits_of_others_are_in_the_sum_and_apart)
{
	const struct uf_stats stats = {.event_cnt = 2,
				       .foreign_cnt = 107,
				       .foreign_stepped_cnt = 5,
				       .foreign_return_cnt = 17};
	double foreign_ns = -1;
	double ns = cost__trap_ns(&stats, &costs, &foreign_ns);

	ck_assert_double_eq(foreign_ns, 102 * 7 + 5 * 101 + 17 * 13);
	ck_assert_double_eq(ns, foreign_ns + 2 * 7);
}
END_TEST

START_TEST(system_calls_and_faults_do_not_trap)
{
	const struct uf_stats stats = {.call_cnt = 10007};
	double foreign_ns;

	ck_assert_double_eq(cost__trap_ns(&stats, &costs, &foreign_ns), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cost_meter");
	TCase *tcase = tcase_create("traps");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, targets_hits_cost_by_their_kind);
	tcase_add_test(tcase, hits_of_others_are_in_the_sum_and_apart);
	tcase_add_test(tcase, system_calls_and_faults_do_not_trap);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
