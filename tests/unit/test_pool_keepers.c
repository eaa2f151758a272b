/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* Goal: pools go to the lines that keep what they allocate, and nobody's are not given to anyone.
 */
#include "agent/pool_keepers.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE 7
#define CLASS 3
#define MAX   4096

static struct pool_view views[MAX];
static struct pool_fate fates[MAX];
static uint32_t cnt, turn;

static void setup(void)
{
	memset(views, 0, sizeof(views));
	cnt = turn = 0;
}

static void add(uint32_t n, uint32_t opener, bool is_left)
{
	for (; n; n--)
		views[cnt++] = (struct pool_view){
			.image = IMAGE,
			.size_class = CLASS,
			.opener = opener,
			.holder = opener,
			.is_left = is_left,
			.is_old = true,
		};
}

static void find(void)
{
	ck_assert_int_eq(pool_keepers__find(views, cnt, fates, &turn), 0);
}

static uint32_t count_at(uint32_t site)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < cnt; i++)
		n += fates[i].site == site;
	return n;
}

static uint32_t count_foreign(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < cnt; i++)
		n += fates[i].is_foreign;
	return n;
}

START_TEST(none)
{
	find();
}
END_TEST

START_TEST(kept_pools_stay)
{
	add(11, 1, false);
	add(13, 2, false);
	find();
	ck_assert_uint_eq(count_at(1), 11);
	ck_assert_uint_eq(count_at(2), 13);
	ck_assert_uint_eq(count_foreign(), 0);
}
END_TEST

/* In the proportion in which they keep pools. */
START_TEST(left_pools_go_to_keepers)
{
	add(3, 1, false);
	add(13, 2, false);
	add(80, 5, true);
	find();
	ck_assert_uint_eq(count_at(1), 3 + 15);
	ck_assert_uint_eq(count_at(2), 13 + 65);
	ck_assert_uint_eq(count_at(5), 0);
	ck_assert_uint_eq(count_foreign(), 0);
}
END_TEST

/* Whatever else is kept, from long before or after. */
START_TEST(those_of_the_time)
{
	add(100, 1, false);
	add(100, 2, false);
	add(100, 3, false);
	add(100, 5, true);
	for (uint32_t i = 0; i < 400; i++)
		views[i].opened_ns = i < 300 ? i : 150;
	find();
	ck_assert_uint_eq(count_at(1), 100);
	ck_assert_uint_eq(count_at(2), 200);
	ck_assert_uint_eq(count_at(3), 100);
	for (uint32_t i = 300; i < 400; i++)
		views[i].opened_ns = 1000;
	find();
	ck_assert_uint_eq(count_at(3), 200);
	for (uint32_t i = 300; i < 400; i++)
		views[i].opened_ns = 0;
	find();
	ck_assert_uint_eq(count_at(1), 200);
}
END_TEST

START_TEST(not_across_sizes_or_processes)
{
	add(80, 5, true);
	add(40, 1, false);
	for (uint32_t i = 80; i < 100; i++)
		views[i].size_class++;
	for (uint32_t i = 100; i < 120; i++)
		views[i].image++;
	find();
	ck_assert_uint_eq(count_at(5), 80);
	ck_assert_uint_eq(count_foreign(), 80);
}
END_TEST

/* Of a line that leaves its pools, those of which it was missed are no evidence. */
START_TEST(missed_ones_are_left_too)
{
	add(60, 5, true);
	add(20, 5, false);
	find();
	ck_assert_uint_eq(count_foreign(), 80);
	add(20, 1, false);
	find();
	ck_assert_uint_eq(count_at(1), 100);
}
END_TEST

/* It keeps some and leaves some: each pool as it was seen. */
START_TEST(mixed_line)
{
	add(40, 5, true);
	add(20, 5, false);
	find();
	ck_assert_uint_eq(count_at(5), 60);
	ck_assert_uint_eq(count_foreign(), 0);
}
END_TEST

START_TEST(young_pools_are_no_evidence)
{
	add(10, 5, true);
	add(10, 1, false);
	for (uint32_t i = 10; i < 20; i++)
		views[i].is_old = false;
	find();
	ck_assert_uint_eq(count_at(5), 10);
	ck_assert_uint_eq(count_at(1), 10);
	ck_assert_uint_eq(count_foreign(), 10);
}
END_TEST

/* One that keeps a pool does not get a hundred. */
START_TEST(too_few_kept)
{
	add(1, 1, false);
	add(100, 5, true);
	find();
	ck_assert_uint_eq(count_at(1), 1);
	ck_assert_uint_eq(count_foreign(), 100);
	add(11, 1, false);
	find();
	ck_assert_uint_eq(count_at(1), 112);
}
END_TEST

/* They were given away by an earlier call, and count as their opener's when it is judged. */
START_TEST(given_pools_stay_where_they_are)
{
	add(40, 5, true);
	for (uint32_t i = 0; i < cnt; i++)
		views[i].holder = 2;
	add(3, 5, false);
	add(20, 1, false);
	find();
	ck_assert_uint_eq(count_at(2), 40);
	ck_assert_uint_eq(count_at(1), 23);
	ck_assert_uint_eq(count_foreign(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pool_keepers");
	TCase *tcase = tcase_create("pool_keepers");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, none);
	tcase_add_test(tcase, kept_pools_stay);
	tcase_add_test(tcase, left_pools_go_to_keepers);
	tcase_add_test(tcase, those_of_the_time);
	tcase_add_test(tcase, not_across_sizes_or_processes);
	tcase_add_test(tcase, missed_ones_are_left_too);
	tcase_add_test(tcase, mixed_line);
	tcase_add_test(tcase, young_pools_are_no_evidence);
	tcase_add_test(tcase, too_few_kept);
	tcase_add_test(tcase, given_pools_stay_where_they_are);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
