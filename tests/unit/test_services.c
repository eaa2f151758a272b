/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "snapshot/services.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/growth.h"
#include "arena_fixture.h"
#include "snapshot/site_id.h"
#include "snapshot/snapshot.h"

/*
 * Goal of this test: sites of one id become one whose numbers are the sums, to
 * the last byte, and nothing else becomes one; a site's growth is that of what
 * the processes have together, whichever they are.
 */

static struct snapshot_site *add_site(struct snapshot *snap, uint64_t id, uint32_t pid,
				      uint64_t live_bytes, uint64_t live_count)
{
	struct snapshot_site *site = snapshot__add_site(snap);

	ck_assert_ptr_nonnull(site);
	site->id = id;
	site->pid = pid;
	site->comm = "worker";
	site->live_bytes = live_bytes;
	site->live_count = live_count;
	return site;
}

static const struct snapshot_site *site_of(const struct snapshot *snap, uint64_t id, uint32_t pid)
{
	const struct snapshot_site *found = NULL;

	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		if (snap->sites[i].id != id || (pid && snap->sites[i].pid != pid))
			continue;
		ck_assert_ptr_null(found);
		found = &snap->sites[i];
	}
	ck_assert_ptr_nonnull(found);
	return found;
}

START_TEST(workers_numbers_add_up)
{
	struct snapshot *snap = snapshot__new();
	struct snapshot_site *site;
	const struct snapshot_site *joined;

	for (uint32_t i = 0; i < 3; i++) {
		site = add_site(snap, 7, 103 - i, 1009 * (i + 1), 11 + i);
		site->alloc_bytes = 2003 + i;
		site->alloc_count = 211 + i;
		site->free_bytes = 307 + i;
		site->free_count = 31 + i;
		site->oldest_s = i == 1 ? 41 : 13;
		site->growth_bytes_per_s = 17 * i;
		add_site(snap, 8, 103 - i, 1, 1);
	}
	ck_assert_int_eq(snapshot__join_services(snap, false), 0);
	ck_assert_uint_eq(snap->site_cnt, 2);
	joined = site_of(snap, 7, 0);
	ck_assert_uint_eq(joined->live_bytes, 1009 * 6);
	ck_assert_uint_eq(joined->live_count, 36);
	ck_assert_uint_eq(joined->alloc_bytes, 3 * 2003 + 3);
	ck_assert_uint_eq(joined->alloc_count, 3 * 211 + 3);
	ck_assert_uint_eq(joined->free_bytes, 3 * 307 + 3);
	ck_assert_uint_eq(joined->free_count, 3 * 31 + 3);
	ck_assert_double_eq(joined->oldest_s, 41);
	ck_assert_double_eq(joined->growth_bytes_per_s, 51);
	ck_assert_str_eq(joined->comm, "worker");
	ck_assert_uint_eq(joined->pid_cnt, 3);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(joined->pids[i], 101 + i);
	snapshot__sum(snap);
	ck_assert_uint_eq(snap->totals.sites, 2);
	ck_assert_uint_eq(snap->totals.live_bytes, 1009 * 6 + 3);
	snapshot__free(snap);
}
END_TEST

START_TEST(per_process_joins_within_a_process_only)
{
	struct snapshot *snap = snapshot__new();

	for (uint32_t i = 0; i < 12; i++)
		add_site(snap, 7 + i % 2, 101 + i / 4, 1009 + i, 1);
	ck_assert_int_eq(snapshot__join_services(snap, true), 0);
	ck_assert_uint_eq(snap->site_cnt, 6);
	for (uint32_t i = 0; i < 3; i++) {
		const struct snapshot_site *site = site_of(snap, 8, 101 + i);

		ck_assert_uint_eq(site->live_bytes, 2 * 1009 + 8 * i + 4);
		ck_assert_uint_eq(site->live_count, 2);
		ck_assert_uint_eq(site->pid_cnt, 1);
		ck_assert_uint_eq(site->pids[0], 101 + i);
	}
	snapshot__free(snap);
}
END_TEST

START_TEST(a_process_without_live_blocks_is_not_named)
{
	struct snapshot *snap = snapshot__new();
	struct snapshot_site *site = add_site(snap, 7, 101, 0, 0);
	const struct snapshot_site *joined;

	site->alloc_count = site->free_count = 5;
	site->ref = 1;
	site = add_site(snap, 7, 103, 0, 2); /* malloc(0) */
	site->comm = "other";
	site->ref = 3;
	add_site(snap, 7, 107, 0, 0);
	add_site(snap, 9, 107, 0, 0);
	ck_assert_int_eq(snapshot__join_services(snap, false), 0);
	joined = site_of(snap, 7, 0);
	ck_assert_uint_eq(joined->pid, 103);
	ck_assert_uint_eq(joined->ref, 3);
	ck_assert_str_eq(joined->comm, "other");
	ck_assert_uint_eq(joined->alloc_count, 5);
	ck_assert_uint_eq(joined->pid_cnt, 1);
	ck_assert_uint_eq(joined->pids[0], 103);
	ck_assert_uint_eq(site_of(snap, 9, 0)->pid_cnt, 0);
	snapshot__free(snap);
}
END_TEST

static void set_ages(struct snapshot *snap, struct snapshot_site *site, const double *bounds,
		     uint32_t cnt)
{
	site->ages = snapshot__alloc(snap, cnt * sizeof(*site->ages));
	site->age_cnt = cnt;
	for (uint32_t i = 0; i < cnt; i++)
		site->ages[i] = (struct snapshot_age){
			.older_than_s = bounds[i],
			.bytes = 101 * (cnt - i),
			.count = cnt - i,
		};
}

START_TEST(ages_add_up_at_the_bounds_of_both)
{
	static const double first[] = { 1, 3, 8 }, second[] = { 0, 3, 5, 13 };
	/* Blocks at least that old: of the first, then of the second. */
	static const struct {
		double bound;
		uint64_t count;
	} expected[] = { { 0, 3 + 4 }, { 1, 3 + 3 }, { 3, 2 + 3 },
			 { 5, 1 + 2 }, { 8, 1 + 1 }, { 13, 0 + 1 } };
	struct snapshot *snap = snapshot__new();
	const struct snapshot_site *joined;

	set_ages(snap, add_site(snap, 7, 101, 1, 1), first, 3);
	add_site(snap, 7, 102, 0, 0); /* without any */
	set_ages(snap, add_site(snap, 7, 103, 1, 1), second, 4);
	ck_assert_int_eq(snapshot__join_services(snap, false), 0);
	joined = site_of(snap, 7, 0);
	ck_assert_uint_eq(joined->age_cnt, 6);
	for (uint32_t i = 0; i < 6; i++) {
		ck_assert_double_eq(joined->ages[i].older_than_s, expected[i].bound);
		ck_assert_uint_eq(joined->ages[i].count, expected[i].count);
		ck_assert_uint_eq(joined->ages[i].bytes, 101 * expected[i].count);
	}
	snapshot__free(snap);
}
END_TEST

/* 50,021 sites in 7 processes, all ids with equal low halves; quick whatever the ids look like. */
START_TEST(many_sites_are_joined_in_their_number_of_steps)
{
	struct snapshot *snap = snapshot__new();
	struct timespec begun, ended;
	uint64_t sum = 0, joined = 0;

	for (uint32_t i = 0; i < 50021; i++) {
		add_site(snap, (uint64_t)(i % 10007) << 32 | 5, 101 + i % 7, i, 1);
		sum += i;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
	ck_assert_int_eq(snapshot__join_services(snap, false), 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	ck_assert_uint_eq(snap->site_cnt, 10007);
	for (uint32_t i = 0; i < snap->site_cnt; i++)
		joined += snap->sites[i].live_bytes;
	ck_assert_uint_eq(joined, sum);
	/* Pairs would be 2.5 billion. */
	ck_assert_double_lt(ended.tv_sec - begun.tv_sec + (ended.tv_nsec - begun.tv_nsec) / 1e9, 1);
	snapshot__free(snap);
}
END_TEST

START_TEST(nothing_to_join_is_fine)
{
	struct snapshot *snap = snapshot__new();

	ck_assert_int_eq(snapshot__join_services(snap, false), 0);
	ck_assert_uint_eq(snap->site_cnt, 0);
	add_site(snap, 0, 0, 3, 1);
	ck_assert_int_eq(snapshot__join_services(snap, true), 0);
	ck_assert_uint_eq(snap->site_cnt, 1);
	snapshot__free(snap);
}
END_TEST

static int build_and_join(void)
{
	static const double bounds[] = { 1, 2 };
	struct snapshot *snap = snapshot__new();
	int err = snap ? 0 : -errno;

	for (uint32_t i = 0; !err && i < 2003; i++) {
		struct snapshot_site *site = snapshot__add_site(snap);

		if (site) {
			site->id = i % 5;
			site->pid = i;
			site->live_count = 1;
			site->ages = snapshot__alloc(snap, sizeof(*site->ages));
			site->age_cnt = 1;
		}
		if (!site || !site->ages)
			err = -ENOMEM;
		else
			site->ages[0].older_than_s = bounds[i % 2];
	}
	if (!err)
		err = snapshot__join_services(snap, false);
	snapshot__free(snap);
	return err;
}

START_TEST(every_failed_allocation_is_enomem_and_frees_clean)
{
	int err, failures = 0;

	for (fail_at = 0;; fail_at++) {
		alloc_cnt = 0;
		err = build_and_join();
		if (!err)
			break;
		ck_assert_int_eq(err, -ENOMEM);
		failures++;
	}
	ck_assert_int_eq(failures, alloc_cnt);
	ck_assert_int_gt(failures, 14);
}
END_TEST

START_TEST(ids_tell_texts_and_their_order_apart)
{
	static const char *const texts[] = { "", "a", "b", "ab", "ba", "abcdefgh", "abcdefghi",
					     "abcdefg\1", "\1" };
	uint64_t ids[9 * 9 + 3];
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < 9; i++)
		for (uint32_t j = 0; j < 9; j++)
			ids[cnt++] = site_id__add_text(site_id__add_text(SITE_ID_NEW, texts[i]),
						       texts[j]);
	for (uint64_t number = 0; number < 3; number++)
		ids[cnt++] = site_id__add(SITE_ID_NEW, number);
	for (uint32_t i = 0; i < cnt; i++)
		for (uint32_t j = 0; j < i; j++)
			ck_assert_uint_ne(ids[i], ids[j]);
}
END_TEST

/* The growth that the report at now_s has of site 7, of that many bytes in each of the pids. */
static double growth_with(struct growth *growth, double now_s, uint64_t bytes,
			  const uint32_t *pids, uint32_t pid_cnt, bool per_process)
{
	struct snapshot *snap = snapshot__new();
	double rate;

	for (uint32_t i = 0; i < pid_cnt; i++)
		add_site(snap, 7, pids[i], bytes, 1);
	add_site(snap, 11, pids[0], 5, 1);
	ck_assert_int_eq(snapshot__join_services(snap, per_process), 0);
	ck_assert_int_eq(growth__update(growth, snap, (uint64_t)(now_s * 1e9)), 0);
	rate = site_of(snap, 7, per_process ? pids[0] : 0)->growth_bytes_per_s;
	snapshot__free(snap);
	return rate;
}

START_TEST(growth_is_of_all_workers_whichever_they_are)
{
	static const uint32_t one[] = { 101 }, two[] = { 101, 103 }, others[] = { 107, 109 };
	struct growth *growth = growth__new(false);

	ck_assert_double_nan(growth_with(growth, 1, 1000, two, 2, false));
	ck_assert_double_eq(growth_with(growth, 3, 1500, two, 2, false), 500);
	ck_assert_double_eq(growth_with(growth, 4, 1600, others, 2, false), 200);
	ck_assert_double_eq(growth_with(growth, 6, 1600, one, 1, false), -800);
	ck_assert_double_nan(growth_with(growth, 6, 1600, one, 1, false)); /* no time has passed */
	growth__free(growth);
	growth__free(NULL);
}
END_TEST

START_TEST(growth_per_process_is_of_each)
{
	static const uint32_t two[] = { 101, 103 }, swapped[] = { 103, 101 }, other[] = { 107 };
	struct growth *growth = growth__new(true);

	ck_assert_double_nan(growth_with(growth, 1, 1000, two, 2, true));
	ck_assert_double_eq(growth_with(growth, 3, 1500, swapped, 2, true), 250);
	ck_assert_double_eq(growth_with(growth, 4, 1600, other, 1, true), 1600);
	growth__free(growth);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("services");
	TCase *tcase = tcase_create("services");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, workers_numbers_add_up);
	tcase_add_test(tcase, per_process_joins_within_a_process_only);
	tcase_add_test(tcase, a_process_without_live_blocks_is_not_named);
	tcase_add_test(tcase, ages_add_up_at_the_bounds_of_both);
	tcase_add_test(tcase, many_sites_are_joined_in_their_number_of_steps);
	tcase_add_test(tcase, nothing_to_join_is_fine);
	tcase_add_test(tcase, every_failed_allocation_is_enomem_and_frees_clean);
	tcase_add_test(tcase, ids_tell_texts_and_their_order_apart);
	tcase_add_test(tcase, growth_is_of_all_workers_whichever_they_are);
	tcase_add_test(tcase, growth_per_process_is_of_each);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
