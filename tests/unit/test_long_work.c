/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/long_work.h"

#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>

/* Goal: work that takes long is done when the call returns, and others are seen to meanwhile. */

struct state {
	sem_t may_end;
	pthread_t worker;
	unsigned int work_cnt, turn_cnt;
};

static void work(void *arg)
{
	struct state *state = arg;

	state->worker = pthread_self();
	sem_wait(&state->may_end);
	state->work_cnt++;
}

static void turn(void *arg)
{
	struct state *state = arg;

	ck_assert_uint_eq(state->work_cnt, 0);
	if (++state->turn_cnt == 3)
		sem_post(&state->may_end);
}

/* The work ends only because it is not waited for. */
START_TEST(others_have_their_turn)
{
	struct state state = {.worker = pthread_self()};

	sem_init(&state.may_end, 0, 0);
	long_work__run(work, &state, turn, &state);
	ck_assert_uint_eq(state.work_cnt, 1);
	ck_assert_uint_ge(state.turn_cnt, 3);
	ck_assert(!pthread_equal(state.worker, pthread_self()));
	sem_destroy(&state.may_end);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("long_work");
	TCase *tcase = tcase_create("long_work");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, others_have_their_turn);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
