/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Goal of this test: ranges of the word space never overlap, what is given
 * back can be had again as one piece, and the count of free words is right.
 */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "unwind/word_space.h"

#define WORDS 1009

START_TEST(test_neighbours_given_back_join)
{
	struct word_space *space = word_space__new(WORDS);
	int64_t first = word_space__take(space, 101), second = word_space__take(space, 103),
		third = word_space__take(space, 107);

	ck_assert_int_eq(first, 0);
	ck_assert_int_eq(second, 101);
	ck_assert_int_eq(third, 204);
	ck_assert_int_eq(word_space__give(space, first, 101), 0);
	ck_assert_int_eq(word_space__give(space, third, 107), 0);
	/* Only together are they large enough, and only with the middle. */
	ck_assert_int_eq(word_space__give(space, second, 103), 0);
	ck_assert_uint_eq(word_space__free_cnt(space), WORDS);
	ck_assert_int_eq(word_space__take(space, WORDS), 0);
	ck_assert_int_eq(word_space__take(space, 1), -ENOSPC);
	word_space__free(space);
}
END_TEST

START_TEST(test_a_full_space_says_so_and_stays_right)
{
	struct word_space *space = word_space__new(WORDS);

	ck_assert_int_eq(word_space__take(space, WORDS + 1), -ENOSPC);
	ck_assert_int_eq(word_space__take(space, WORDS - 1), 0);
	ck_assert_int_eq(word_space__take(space, 2), -ENOSPC);
	ck_assert_int_eq(word_space__take(space, 1), WORDS - 1);
	ck_assert_uint_eq(word_space__free_cnt(space), 0);
	word_space__free(space);
}
END_TEST

/* Against a model: one owner a word. */
START_TEST(test_ranges_never_overlap)
{
	struct word_space *space = word_space__new(WORDS);
	struct {
		uint32_t first, cnt;
	} taken[64] = {{0, 0}};
	bool owned[WORDS] = {false};
	unsigned int seed = 7, used = 0;

	for (int round = 0; round < 20011; round++) {
		unsigned int i = rand_r(&seed) % 64;

		if (taken[i].cnt) {
			ck_assert_int_eq(word_space__give(space, taken[i].first, taken[i].cnt), 0);
			for (uint32_t w = 0; w < taken[i].cnt; w++)
				owned[taken[i].first + w] = false;
			used -= taken[i].cnt;
			taken[i].cnt = 0;
		} else {
			uint32_t cnt = 1 + rand_r(&seed) % 61;
			int64_t first = word_space__take(space, cnt);

			if (first == -ENOSPC)
				continue;
			ck_assert_int_le(first + cnt, WORDS);
			for (uint32_t w = 0; w < cnt; w++) {
				ck_assert(!owned[first + w]);
				owned[first + w] = true;
			}
			taken[i].first = first;
			taken[i].cnt = cnt;
			used += cnt;
		}
		ck_assert_uint_eq(word_space__free_cnt(space), WORDS - used);
	}
	word_space__free(space);
}
END_TEST

START_TEST(test_free_takes_null)
{
	word_space__free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("word_space");
	TCase *tcase = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, test_neighbours_given_back_join);
	tcase_add_test(tcase, test_a_full_space_says_so_and_stays_right);
	tcase_add_test(tcase, test_ranges_never_overlap);
	tcase_add_test(tcase, test_free_takes_null);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
