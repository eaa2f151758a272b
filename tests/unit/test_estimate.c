/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "sampling.h"
#include "snapshot/estimate.h"

/* The arithmetic of sampling (include/sampling.h), and what is said about estimates. */

static const __u64 intervals[] = {UF_MIN_SAMPLE_INTERVAL, 27739, 524288, UF_MAX_SAMPLE_INTERVAL};

#define INTERVAL_CNT (int)(sizeof(intervals) / sizeof(intervals[0]))

static double true_probability(__u64 size, __u64 interval)
{
	return -expm1(-(double)size / (double)interval);
}

START_TEST(weights_are_one_over_the_probability)
{
	__u64 interval = intervals[_i];

	for (__u64 size = 1; size < 40 * interval; size += size / 7 + 1) {
		double inverse = uf_sample_inverse(size, interval) / 65536.0;

		ck_assert_double_eq_tol(inverse * true_probability(size, interval), 1, 4e-5);
	}
	ck_assert_uint_eq(uf_sample_weight(UINT64_MAX / 2, interval, 0xffff), 1);
	ck_assert_uint_eq(uf_sample_weight(0, interval, 7), uf_sample_weight(1, interval, 7));
}
END_TEST

#define STRATA 65536 /* of the random numbers: what they all give is no matter of luck */

START_TEST(a_block_is_sampled_with_its_probability)
{
	__u64 interval = intervals[_i];
	static const double parts[] = {1.0 / 61, 0.2, 1, 3, 8};

	for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
		__u64 size = (__u64)(parts[k] * (double)interval);
		int hits = 0;

		for (__u32 i = 0; i < STRATA; i++)
			hits += uf_sample_distance(interval, i << 16 | 0x8000) < size;
		ck_assert_double_eq_tol((double)hits / STRATA, true_probability(size, interval), 3e-5);
	}
}
END_TEST

START_TEST(distances_are_exponential)
{
	__u64 interval = intervals[_i];
	double sum = 0, squares = 0;

	for (__u32 i = 0; i < STRATA; i++) {
		double distance = (double)uf_sample_distance(interval, i << 16 | 0x8000) / interval;

		sum += distance;
		squares += distance * distance;
	}
	/* Whole bytes, and the last stratum's mean is beyond its middle. */
	ck_assert_double_eq_tol(sum / STRATA, 1, 0.001);
	ck_assert_double_eq_tol(squares / STRATA, 2, 0.005);
	ck_assert_uint_lt(uf_sample_distance(interval, UINT32_MAX), interval / 1000);
	ck_assert_uint_gt(uf_sample_distance(interval, 0), 22 * interval);
}
END_TEST

/* The mean of what a block adds to the sum, and to the variance, over all random numbers. */
START_TEST(sums_and_their_variances_are_unbiased)
{
	__u64 interval = 524288;

	for (__u64 size = 4099; size < 9 * interval; size = size * 5 / 2) {
		double p = true_probability(size, interval), mean = 0, second = 0, variance = 0;

		for (__u32 random = 0; random < 65536; random++) {
			double weight = uf_sample_weight(size, interval, random);

			mean += p * weight / 65536;
			second += p * weight * weight / 65536;
			variance += p * weight * (weight - 1) / 65536;
		}
		ck_assert_double_eq_tol(mean, 1, 1e-4);
		ck_assert_double_eq_tol(variance, second - mean * mean, 1e-4 * second);
	}
}
END_TEST

/*
 * Against the interval for Poisson counts of Garwood (1936), in tables everywhere: 1 -> 0.0253 to
 * 5.572, 10 -> 4.795 to 18.39, 100 -> 81.36 to 121.63.
 */
START_TEST(ranges_are_those_of_poisson_counts)
{
	static const struct {
		double count, low, high;
	} known[] = {{1, 0.0253, 5.572}, {10, 4.795, 18.39}, {100, 81.36, 121.63}};

	for (int i = 0; i < 3; i++) {
		double unit = 1e6;
		struct range range = estimate__range((uint64_t)(known[i].count * unit), unit, 0);

		ck_assert_double_eq_tol(range.low / unit, known[i].low, 0.02);
		ck_assert_double_eq_tol(range.high / unit, known[i].high, 0.02);
	}
}
END_TEST

START_TEST(what_is_counted_has_no_range)
{
	struct range range = estimate__range(UINT64_MAX, 0, 5);

	ck_assert(range.low == UINT64_MAX && range.high == UINT64_MAX);
	range = estimate__range(0, 17, 0);
	ck_assert(range.low == 0 && range.high == 0);
}
END_TEST

START_TEST(what_is_certain_bounds_the_range)
{
	struct range range = estimate__range(1000000, 1000000, 499979);

	ck_assert_uint_eq(range.low, 499979);
	range = estimate__range(UINT64_MAX, 1e19, 0);
	ck_assert_uint_eq(range.high, UINT64_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("estimate");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, weights_are_one_over_the_probability, 0, INTERVAL_CNT);
	tcase_add_loop_test(tcase, a_block_is_sampled_with_its_probability, 0, INTERVAL_CNT);
	tcase_add_loop_test(tcase, distances_are_exponential, 0, INTERVAL_CNT);
	tcase_add_test(tcase, sums_and_their_variances_are_unbiased);
	tcase_add_test(tcase, ranges_are_those_of_poisson_counts);
	tcase_add_test(tcase, what_is_counted_has_no_range);
	tcase_add_test(tcase, what_is_certain_bounds_the_range);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
