/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Goal: the set of sampled blocks in libunfreed-gate.so is exact, with any number of threads, full or
 * not; and its settings are read as they are written.
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gate/sampled_set.h"
#include "gate/settings.h"

#define HEAP 0x7f1234560010ULL

static struct sampled_set set;

static void empty(void)
{
	memset(&set, 0, sizeof(set));
}

static bool has(uintptr_t address)
{
	return sampled_set__may_have(&set, address) && sampled_set__remove(&set, address);
}

static bool is_empty(void)
{
	static const struct sampled_set nothing;

	return !memcmp(&set, &nothing, sizeof(set));
}

START_TEST(test_what_was_added_is_there_once)
{
	ck_assert(!has(HEAP));
	ck_assert(sampled_set__add(&set, HEAP));
	ck_assert(!has(HEAP + 16));
	ck_assert(has(HEAP));
	ck_assert(!has(HEAP));
	ck_assert(is_empty());
}
END_TEST

START_TEST(test_an_address_that_comes_back_is_there_once)
{
	ck_assert(sampled_set__add(&set, HEAP));
	ck_assert(sampled_set__add(&set, HEAP));
	ck_assert(has(HEAP));
	ck_assert(is_empty());
}
END_TEST

START_TEST(test_half_of_the_slots_can_be_filled)
{
	const uintptr_t cnt = SAMPLED_SET_SLOTS / 2;

	for (uintptr_t i = 0; i < cnt; i++)
		ck_assert(sampled_set__add(&set, HEAP + i * 48));
	for (uintptr_t i = 0; i < cnt; i++)
		ck_assert(sampled_set__may_have(&set, HEAP + i * 48));
	for (uintptr_t i = 0; i < cnt; i++)
		ck_assert(has(HEAP + i * 48));
	ck_assert(is_empty());
}
END_TEST

START_TEST(test_what_finds_no_room_leaves_nothing)
{
	uintptr_t cnt = 2 * SAMPLED_SET_SLOTS, added = 0;
	bool *is_there = calloc(cnt, sizeof(*is_there));

	ck_assert_ptr_nonnull(is_there);
	for (uintptr_t i = 0; i < cnt; i++)
		added += is_there[i] = sampled_set__add(&set, HEAP + i * 16);
	ck_assert_uint_gt(added, SAMPLED_SET_SLOTS * 9 / 10);
	ck_assert_uint_le(added, SAMPLED_SET_SLOTS + SAMPLED_SET_WINDOW - 1);
	for (uintptr_t i = 0; i < cnt; i++)
		ck_assert(has(HEAP + i * 16) == is_there[i]);
	free(is_there);
	ck_assert(is_empty());
}
END_TEST

/* Blocks that share a mark: more of them than it counts. */
START_TEST(test_a_mark_that_is_full_stays)
{
	const uintptr_t step = (uintptr_t)SAMPLED_SET_MARKS << 21;

	for (uintptr_t i = 0; i < 300; i++)
		ck_assert(sampled_set__add(&set, HEAP + i * step));
	for (uintptr_t i = 0; i < 300; i++)
		ck_assert(has(HEAP + i * step));
	for (uintptr_t i = 0; i < 300; i++)
		ck_assert(!has(HEAP + i * step));
	ck_assert(sampled_set__may_have(&set, HEAP));
}
END_TEST

#define THREADS 4
#define ROUNDS  200
#define BLOCKS  1000

/* Each thread's own blocks, next to those of the others. */
static void *add_and_remove(void *arg)
{
	uintptr_t first = HEAP + (uintptr_t)arg * 16, failures = 0;

	for (int round = 0; round < ROUNDS; round++) {
		for (uintptr_t i = 0; i < BLOCKS; i++)
			failures += !sampled_set__add(&set, first + i * 16 * THREADS);
		for (uintptr_t i = 0; i < BLOCKS; i++)
			failures += !has(first + i * 16 * THREADS);
	}
	return (void *)failures;
}

static uintptr_t run_threads(void *(*run)(void *))
{
	pthread_t threads[THREADS];
	uintptr_t sum = 0;

	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, run, (void *)i), 0);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		pthread_join(threads[i], &result);
		sum += (uintptr_t)result;
	}
	return sum;
}

START_TEST(test_threads_do_not_disturb_each_other)
{
	ck_assert_uint_eq(run_threads(add_and_remove), 0);
	ck_assert(is_empty());
}
END_TEST

/* All want the same blocks. */
static void *remove_all(void *arg)
{
	uintptr_t cnt = 0;

	(void)arg;
	for (uintptr_t i = 0; i < 50 * BLOCKS; i++)
		cnt += has(HEAP + i * 16);
	return (void *)cnt;
}

START_TEST(test_a_block_is_removed_by_one_thread)
{
	for (uintptr_t i = 0; i < 50 * BLOCKS; i++)
		ck_assert(sampled_set__add(&set, HEAP + i * 16));
	ck_assert_uint_eq(run_threads(remove_all), 50 * BLOCKS);
	ck_assert(is_empty());
}
END_TEST

START_TEST(test_sizes_of_the_environment)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{"1", 1}, {"524288", 524288}, {"64K", 65536}, {"64k", 65536}, {"1M", 1 << 20},
		{"256M", 256 << 20}, {"0K", 77},
		/* 77: no size, or out of range */
		{"0", 77}, {"257M", 77}, {"1G", 77}, {"2G", 77},
		{"", 77}, {"K", 77}, {"-1", 77}, {"64KB", 77}, {"64 K", 77}, {"64KK", 77},
		{"99999999999999999999999", 77}, {"1.5M", 77},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_uint_eq(settings__parse_size(cases[i].text, 77), cases[i].bytes);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gate_set");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, empty, empty);
	tcase_add_test(tcase, test_what_was_added_is_there_once);
	tcase_add_test(tcase, test_an_address_that_comes_back_is_there_once);
	tcase_add_test(tcase, test_half_of_the_slots_can_be_filled);
	tcase_add_test(tcase, test_what_finds_no_room_leaves_nothing);
	tcase_add_test(tcase, test_a_mark_that_is_full_stays);
	tcase_add_test(tcase, test_threads_do_not_disturb_each_other);
	tcase_add_test(tcase, test_a_block_is_removed_by_one_thread);
	tcase_add_test(tcase, test_sizes_of_the_environment);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
