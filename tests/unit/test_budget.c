/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Goal: whatever a program does, tracing it takes the share that was asked for, on average and soon;
 * and the probes are in where that is cheap. The program, the clock and the probes are played here.
 */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/budget.h"

#define SECOND       1000000000ULL
#define MS           1000000ULL
#define CALL_NS      1000.0 /* what a hit costs */
#define OUT_NS       (8 * MS) /* that the kernel takes to take probes out */
#define SAMPLE_BYTES (512u << 10)

/* A traced program that spends cpus of CPU time on hits when the probes are in, size_bytes a call. */
struct play {
	struct budget *budget;
	struct budget_reading reading;
	uint64_t next_ns;  /* of the next decision */
	uint64_t out_ns;   /* probes are out from then on */
	double cpus, size_bytes;
	uint64_t window_cnt, on_ns, shortest_ns, began_ns;
};

static void play__begin(struct play *play, double share)
{
	*play = (struct play){.reading = {.now_ns = SECOND}, .size_bytes = 100};
	play->budget = budget__new(share, SAMPLE_BYTES, &play->reading);
	ck_assert_ptr_nonnull(play->budget);
	play->out_ns = UINT64_MAX;
	play->shortest_ns = UINT64_MAX;
	play->began_ns = play->next_ns = play->reading.now_ns;
}

static void decide(struct play *play)
{
	uint64_t now_ns = play->reading.now_ns;
	bool was_on = budget__is_on(play->budget);

	play->next_ns = budget__decide(play->budget, &play->reading);
	ck_assert_uint_gt(play->next_ns, now_ns);
	if (was_on && !budget__is_on(play->budget)) {
		play->window_cnt++;
		if (now_ns - play->began_ns < play->shortest_ns)
			play->shortest_ns = now_ns - play->began_ns;
		play->out_ns = now_ns + OUT_NS;
	} else if (!was_on && budget__is_on(play->budget)) {
		ck_assert_uint_le(play->out_ns, now_ns);
		budget__went_off(play->budget, play->out_ns);
		budget__went_on(play->budget, now_ns);
		play->began_ns = now_ns;
		play->out_ns = UINT64_MAX;
	}
}

/* Plays so many milliseconds. Returns the CPU time that was spent. */
static double play__run(struct play *play, uint64_t ms)
{
	double spent_ns = play->reading.spent_ns;

	while (ms--) {
		play->reading.now_ns += MS;
		if (play->reading.now_ns <= play->out_ns) {
			double calls = play->cpus * MS / CALL_NS;
			double interval = (double)budget__sample_bytes(play->budget);

			play->reading.spent_ns += play->cpus * MS;
			play->reading.hit_cnt += (uint64_t)calls;
			play->reading.sample_cnt +=
				(uint64_t)(calls * (1 - exp(-play->size_bytes / interval)));
			play->on_ns += MS;
		}
		if (play->reading.now_ns >= play->next_ns)
			decide(play);
	}
	return play->reading.spent_ns - spent_ns;
}

static const struct load {
	double share, cpus;
} loads[] = {{0.02, 0.9}, {0.02, 7.5}, {0.01, 0.9}, {0.05, 0.3}, {0.5, 1}, {0.02, 0.021}};

START_TEST(a_steady_load_takes_what_it_may)
{
	const struct load *load = &loads[_i];
	struct play play;
	double spent_ns;

	play__begin(&play, load->share);
	play.cpus = load->cpus;
	play__run(&play, 20000);
	spent_ns = play__run(&play, 200000);
	ck_assert_double_lt(spent_ns, 1.1 * load->share * 200 * SECOND);
	ck_assert_double_gt(spent_ns, 0.7 * load->share * 200 * SECOND);
	ck_assert_uint_gt(play.window_cnt, 4);
	ck_assert_uint_ge(play.shortest_ns, BUDGET_WINDOW_NS);
	budget__free(play.budget);
}
END_TEST

START_TEST(a_load_within_the_budget_is_never_paused)
{
	struct play play;

	play__begin(&play, 0.02);
	play.cpus = 0.019;
	play__run(&play, 100000);
	ck_assert_uint_eq(budget__pause_cnt(play.budget), 0);
	ck_assert_uint_eq(budget__sample_bytes(play.budget), SAMPLE_BYTES);
	ck_assert_double_eq(budget__on_share(play.budget, play.reading.now_ns), 1);
	ck_assert_double_eq(budget__seen_share(play.budget, play.reading.now_ns), 1);
	budget__free(play.budget);
}
END_TEST

START_TEST(a_burst_after_a_long_idle_time_is_stopped_at_once)
{
	struct play play;
	double spent_ns;

	play__begin(&play, 0.02);
	play__run(&play, 1000000);
	play.cpus = 1;
	/* What it may have saved, a window, and until the probes are out. */
	spent_ns = play__run(&play, 1000);
	ck_assert_double_le(spent_ns, 0.02 * BUDGET_CREDIT_NS + 4 * BUDGET_WINDOW_NS + OUT_NS);
	ck_assert_uint_gt(budget__pause_cnt(play.budget), 0);
	budget__free(play.budget);
}
END_TEST

START_TEST(pauses_end_with_the_load)
{
	struct play play;
	uint64_t pause_cnt;

	play__begin(&play, 0.02);
	play.cpus = 4;
	play__run(&play, 30000);
	ck_assert_uint_gt(budget__pause_cnt(play.budget), 3);
	ck_assert_uint_lt(budget__sample_bytes(play.budget), SAMPLE_BYTES);
	play.cpus = 0.001;
	play__run(&play, 10000);
	pause_cnt = budget__pause_cnt(play.budget);
	play__run(&play, 10000);
	ck_assert(budget__is_on(play.budget));
	ck_assert_uint_eq(budget__pause_cnt(play.budget), pause_cnt);
	ck_assert_uint_eq(budget__sample_bytes(play.budget), SAMPLE_BYTES);
	budget__free(play.budget);
}
END_TEST

START_TEST(many_samples_become_fewer)
{
	struct play play;
	uint64_t dense;

	play__begin(&play, 0.02);
	play.cpus = 1;
	play__run(&play, 3000);
	dense = budget__sample_bytes(play.budget);
	/* Each call is sampled at such an interval. */
	play.size_bytes = 200000;
	play__run(&play, 30000);
	ck_assert_uint_ge(budget__sample_bytes(play.budget), 16 * dense);
	budget__free(play.budget);
}
END_TEST

START_TEST(a_table_that_fills_makes_samples_fewer)
{
	struct play play;
	uint64_t dense;

	play__begin(&play, 0.02);
	play.cpus = 1;
	play__run(&play, 30000);
	dense = budget__sample_bytes(play.budget);
	play.reading.table_part = 0.5;
	play__run(&play, 2000);
	ck_assert_uint_ge(budget__sample_bytes(play.budget), 64 * dense);
	budget__free(play.budget);
}
END_TEST

START_TEST(shares_are_of_the_time_since_the_first_pause)
{
	struct play play;
	uint64_t on_ns;
	double share;

	play__begin(&play, 0.02);
	play__run(&play, 100000);
	play.cpus = 0.5;
	on_ns = play.on_ns;
	play__run(&play, 100000);
	share = (double)(play.on_ns - on_ns) / (100.0 * SECOND);
	ck_assert_double_eq_tol(budget__on_share(play.budget, play.reading.now_ns), share, 0.004);
	/* The program got half as much done. */
	ck_assert_double_eq_tol(budget__seen_share(play.budget, play.reading.now_ns), share / 2,
				0.004);
	budget__free(play.budget);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("budget");
	TCase *tcase = tcase_create("budget");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, a_steady_load_takes_what_it_may, 0,
			    sizeof(loads) / sizeof(loads[0]));
	tcase_add_test(tcase, a_load_within_the_budget_is_never_paused);
	tcase_add_test(tcase, a_burst_after_a_long_idle_time_is_stopped_at_once);
	tcase_add_test(tcase, pauses_end_with_the_load);
	tcase_add_test(tcase, many_samples_become_fewer);
	tcase_add_test(tcase, a_table_that_fills_makes_samples_fewer);
	tcase_add_test(tcase, shares_are_of_the_time_since_the_first_pause);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
