/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Goal: libunfreed-gate.so samples a block with the probability that its weight is the inverse of,
 * whatever the sizes of the blocks around it. Seeds are fixed: a result is the same each time.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "gate/sampler.h"

#define INTERVAL   4096
#define DRAWS      1000000
#define MAX_SIGMAS 4.5

static double probability(double size_bytes, double interval_bytes)
{
	return -expm1(-size_bytes / interval_bytes);
}

static bool is_sampled(struct sampler *sampler, size_t size_bytes, uint64_t interval_bytes)
{
	return !sampler__passes(sampler, size_bytes) &&
	       sampler__draw(sampler, size_bytes, interval_bytes, 0);
}

/* Of blocks of one size, in standard deviations from what is expected. */
static double deviation(uint64_t seed, size_t size_bytes, uint64_t interval_bytes)
{
	double p = probability(size_bytes, interval_bytes), cnt = 0;
	struct sampler sampler = {.random = seed};

	for (int i = 0; i < DRAWS; i++)
		cnt += is_sampled(&sampler, size_bytes, interval_bytes);
	return (cnt - p * DRAWS) / sqrt(p * (1 - p) * DRAWS);
}

START_TEST(test_blocks_of_a_size_are_sampled_as_often_as_they_should)
{
	static const size_t sizes[] = {16, 100, 1009, 4096, 10007, 20011};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (uint64_t seed = 1; seed < 4; seed++)
			ck_assert_double_le(fabs(deviation(seed, sizes[i], INTERVAL)), MAX_SIGMAS);
}
END_TEST

START_TEST(test_single_bytes_are_sampled_as_often_as_they_should)
{
	ck_assert_double_le(fabs(deviation(7, 1, 1)), MAX_SIGMAS);
	ck_assert_double_le(fabs(deviation(7, 1, 3)), MAX_SIGMAS);
	ck_assert_double_le(fabs(deviation(7, 2, 1)), MAX_SIGMAS);
}
END_TEST

/* Small blocks between large ones, each group judged by its own weights. */
START_TEST(test_sizes_do_not_change_each_others_probability)
{
	static const size_t sizes[] = {24, 700, 40, 9000, 8, 2500, 64};
	const int size_cnt = sizeof(sizes) / sizeof(sizes[0]);
	struct sampler sampler = {.random = 11};
	double estimate[7] = {0};

	for (int i = 0; i < DRAWS * size_cnt; i++)
		if (is_sampled(&sampler, sizes[i % size_cnt], INTERVAL))
			estimate[i % size_cnt] += 1 / probability(sizes[i % size_cnt], INTERVAL);
	for (int i = 0; i < size_cnt; i++) {
		double p = probability(sizes[i], INTERVAL);

		ck_assert_double_le(fabs(estimate[i] - DRAWS), MAX_SIGMAS * sqrt(DRAWS * (1 - p) / p));
	}
}
END_TEST

START_TEST(test_blocks_of_a_hundred_intervals_are_all_sampled)
{
	struct sampler sampler = {.random = 13};

	for (int i = 0; i < DRAWS; i++)
		ck_assert(is_sampled(&sampler, 100 * INTERVAL, INTERVAL));
}
END_TEST

START_TEST(test_sizes_at_the_limits)
{
	struct sampler sampler = {.random = 17}, same = sampler;

	for (int i = 0; i < DRAWS; i++)
		ck_assert(is_sampled(&sampler, 0, 3) == is_sampled(&same, 1, 3));
	ck_assert(is_sampled(&sampler, SIZE_MAX, 256 << 20));
}
END_TEST

/* As a forked child and its parent, or two threads that begin at once. */
START_TEST(test_entropy_parts_samplers_of_one_state)
{
	struct sampler a = {.random = 19}, b = a;
	int same = 0;

	for (uint64_t i = 0; i < 1000; i++) {
		a.left_bytes = b.left_bytes = 0;
		sampler__draw(&a, 0, 1 << 30, i);
		sampler__draw(&b, 0, 1 << 30, i + 1000000);
		same += a.left_bytes == b.left_bytes;
	}
	ck_assert_int_eq(same, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gate_sampler");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, test_blocks_of_a_size_are_sampled_as_often_as_they_should);
	tcase_add_test(tcase, test_single_bytes_are_sampled_as_often_as_they_should);
	tcase_add_test(tcase, test_sizes_do_not_change_each_others_probability);
	tcase_add_test(tcase, test_blocks_of_a_hundred_intervals_are_all_sampled);
	tcase_add_test(tcase, test_sizes_at_the_limits);
	tcase_add_test(tcase, test_entropy_parts_samplers_of_one_state);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
