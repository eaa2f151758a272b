/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "snapshot/snapshot.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "arena_fixture.h"

/*
 * Goal of this test: a snapshot owns what it was given, its sums and its order
 * are exact, and running out of memory anywhere loses nothing but the request.
 */

START_TEST(new_snapshot_is_empty)
{
	struct snapshot *snap = snapshot__new();

	ck_assert_ptr_nonnull(snap);
	ck_assert_uint_eq(snap->site_cnt, 0);
	ck_assert_uint_eq(snap->target_cnt, 0);
	ck_assert_uint_eq(snap->loss_cnt, 0);
	ck_assert_uint_eq(snap->totals.live_bytes, 0);
	ck_assert(isnan(snap->cost.cpu_share));
	snapshot__free(snap);
	snapshot__free(NULL);
	arena__free(NULL);
}
END_TEST

static bool all_are(const unsigned char *bytes, size_t size, unsigned char value)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != value)
			return false;
	}
	return true;
}

START_TEST(alloc_gives_zeroed_aligned_separate_memory_of_any_size)
{
	static const size_t sizes[] = { 0, 1, 7, 16, 17, 4096, 16384, 16385, 65536, 200000 };
	unsigned char *pieces[10 * 40];
	struct snapshot *snap = snapshot__new();

	for (size_t i = 0; i < 400; i++) {
		size_t size = sizes[i % 10];

		pieces[i] = snapshot__alloc(snap, size);
		ck_assert_ptr_nonnull(pieces[i]);
		ck_assert_uint_eq((uintptr_t)pieces[i] % alignof(max_align_t), 0);
		ck_assert(all_are(pieces[i], size, 0));
		memset(pieces[i], (int)(i % 251) + 1, size);
	}
	for (size_t i = 0; i < 400; i++)
		ck_assert(all_are(pieces[i], sizes[i % 10], (unsigned char)(i % 251 + 1)));
	ck_assert_ptr_ne(pieces[0], pieces[10]); /* both of size 0 */
	snapshot__free(snap);
}
END_TEST

START_TEST(alloc_past_the_limit_is_enomem)
{
	struct snapshot *snap = snapshot__new();

	ck_assert_ptr_nonnull(snapshot__alloc(snap, 100));
	alloc_cnt = 0;
	errno = 0;
	ck_assert_ptr_null(snapshot__alloc(snap, ARENA_MAX_BYTES + 1));
	ck_assert_int_eq(errno, ENOMEM);
	errno = 0;
	ck_assert_ptr_null(snapshot__alloc(snap, SIZE_MAX));
	ck_assert_int_eq(errno, ENOMEM);
	errno = 0;
	/* With what is there already, this is too much as well. */
	ck_assert_ptr_null(snapshot__alloc(snap, ARENA_MAX_BYTES));
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_int_eq(alloc_cnt, 0);
	snapshot__free(snap);
}
END_TEST

START_TEST(strdup_copies_and_turns_null_into_empty)
{
	struct snapshot *snap = snapshot__new();
	char text[] = "abc";
	const char *copy = snapshot__strdup(snap, text);

	text[0] = 'x';
	ck_assert_str_eq(copy, "abc");
	ck_assert_str_eq(snapshot__strdup(snap, NULL), "");
	ck_assert_str_eq(snapshot__strdup(snap, ""), "");
	snapshot__free(snap);
}
END_TEST

START_TEST(added_elements_are_zeroed_and_stay)
{
	struct snapshot *snap = snapshot__new();

	for (uint32_t i = 0; i < 1000; i++) {
		struct snapshot_site *site = snapshot__add_site(snap);
		struct snapshot_target *target = snapshot__add_target(snap);

		ck_assert_str_eq(site->comm, "");
		ck_assert_str_eq(site->verdict, "");
		ck_assert_str_eq(site->why, "");
		ck_assert_str_eq(site->stack_end, "");
		ck_assert_uint_eq(site->live_bytes, 0);
		ck_assert_ptr_null(site->frames);
		ck_assert_ptr_null(site->ages);
		ck_assert(isnan(site->growth_bytes_per_s));
		ck_assert_str_eq(target->comm, "");
		ck_assert_str_eq(target->exe, "");
		ck_assert_str_eq(target->container, "");
		ck_assert_str_eq(target->container_id, "");
		ck_assert_str_eq(target->pod, "");
		ck_assert_str_eq(target->pod_namespace, "");
		ck_assert_str_eq(target->unit, "");
		ck_assert_str_eq(target->cgroup, "");
		ck_assert_str_eq(target->note, "");
		ck_assert(!target->exited && !target->has_rss);
		site->ref = target->pid = i;
	}
	ck_assert_uint_eq(snap->site_cnt, 1000);
	ck_assert_uint_eq(snap->target_cnt, 1000);
	for (uint32_t i = 0; i < 1000; i++) {
		ck_assert_uint_eq(snap->sites[i].ref, i);
		ck_assert_uint_eq(snap->targets[i].pid, i);
	}
	snapshot__free(snap);
}
END_TEST

START_TEST(losses_are_copied_added_up_and_never_zero)
{
	struct snapshot *snap = snapshot__new();
	char name[] = "full", meaning[] = "was full";

	ck_assert_int_eq(snapshot__add_loss(snap, "none", "nothing", 0), 0);
	ck_assert_uint_eq(snap->loss_cnt, 0);
	ck_assert_int_eq(snapshot__add_loss(snap, name, meaning, 3), 0);
	memset(name, 'x', 4);
	memset(meaning, 'x', 8);
	ck_assert_int_eq(snapshot__add_loss(snap, "other", "else", 1), 0);
	ck_assert_int_eq(snapshot__add_loss(snap, "full", "was full", 4), 0);
	ck_assert_uint_eq(snap->loss_cnt, 2);
	ck_assert_str_eq(snap->losses[0].name, "full");
	ck_assert_str_eq(snap->losses[0].meaning, "was full");
	ck_assert_uint_eq(snap->losses[0].count, 7);
	ck_assert_str_eq(snap->losses[1].name, "other");
	snapshot__free(snap);
}
END_TEST

static struct snapshot_site *add_site(struct snapshot *snap, uint64_t id, uint64_t live_bytes,
				      uint64_t live_count)
{
	struct snapshot_site *site = snapshot__add_site(snap);

	ck_assert_ptr_nonnull(site);
	site->id = id;
	site->live_bytes = live_bytes;
	site->live_count = live_count;
	return site;
}

START_TEST(sum_adds_every_site_and_counts_the_live_ones)
{
	struct snapshot *snap = snapshot__new();

	for (uint64_t i = 0; i < 5; i++) {
		struct snapshot_site *site = add_site(snap, i, i * 10, i);

		site->alloc_bytes = 1000 + i;
		site->alloc_count = 100 + i;
		site->free_bytes = 900 + i;
		site->free_count = 90 + i;
	}
	add_site(snap, 7, 0, 3); /* malloc(0), not freed */
	snap->sites[2].kind = SITE_PYMALLOC;
	snap->sites[3].kind = SITE_MMAP;
	snap->totals.live_bytes = 12345; /* of an earlier sum */
	snapshot__sum(snap);
	ck_assert_uint_eq(snap->totals.live_bytes, 100);
	ck_assert_uint_eq(snap->totals.live_count, 13);
	ck_assert_uint_eq(snap->totals.alloc_bytes, 5010);
	ck_assert_uint_eq(snap->totals.alloc_count, 510);
	ck_assert_uint_eq(snap->totals.free_bytes, 4510);
	ck_assert_uint_eq(snap->totals.free_count, 460);
	ck_assert_uint_eq(snap->totals.sites, 5);
	ck_assert_uint_eq(snap->pools.live_bytes, 20);
	ck_assert_uint_eq(snap->pools.alloc_count, 102);
	ck_assert_uint_eq(snap->pools.sites, 1);
	ck_assert_uint_eq(snap->regions.live_bytes, 30);
	ck_assert_uint_eq(snap->regions.alloc_count, 103);
	ck_assert_uint_eq(snap->regions.sites, 1);
	/* Estimated numbers, and beside them what is counted. */
	snap->sample_bytes = 4096;
	snap->sites[0].sample.count = 3;
	snap->sites[4].sample = (struct snapshot_sample){5, 7, 11, 13};
	snapshot__sum(snap);
	ck_assert_uint_eq(snap->totals.live_bytes, 100 - 20 - 30);
	ck_assert_uint_eq(snap->totals.sample.count, 8);
	ck_assert_uint_eq(snap->totals.sample.bytes, 7);
	ck_assert_double_eq(snap->totals.sample.bytes_variance, 11);
	ck_assert_double_eq(snap->totals.sample.count_variance, 13);
	ck_assert_uint_eq(snap->pools.live_bytes, 20);
	ck_assert_uint_eq(snap->regions.live_bytes, 30);
	snapshot__free(snap);
}
END_TEST

/* Fills snap with the sites below in the order that permutation number n says. */
static void add_permuted(struct snapshot *snap, uint32_t n)
{
	static const struct snapshot_site sites[] = {
		{ .ref = 0, .id = 9, .live_bytes = 40, .live_count = 1, .oldest_s = 1,
		  .growth_bytes_per_s = NAN },
		{ .ref = 1, .id = 8, .live_bytes = 30, .live_count = 2, .oldest_s = 2,
		  .growth_bytes_per_s = -5 },
		{ .ref = 2, .id = 7, .live_bytes = 20, .live_count = 2, .oldest_s = 2,
		  .growth_bytes_per_s = 7 },
		{ .ref = 3, .id = 6, .live_bytes = 20, .live_count = 2, .oldest_s = 3,
		  .growth_bytes_per_s = NAN },
		{ .ref = 4, .id = 6, .live_bytes = 20, .live_count = 2, .oldest_s = 3,
		  .growth_bytes_per_s = 7, .pid = 1 },
		{ .ref = 5, .id = 99, .live_bytes = 0, .live_count = 0, .oldest_s = 99,
		  .growth_bytes_per_s = 99 },
	};
	uint32_t left[6] = { 0, 1, 2, 3, 4, 5 };

	for (uint32_t cnt = 6; cnt > 0; cnt--) {
		uint32_t pick = n % cnt;
		struct snapshot_site *site = snapshot__add_site(snap);

		n /= cnt;
		*site = sites[left[pick]];
		memmove(left + pick, left + pick + 1, (cnt - pick - 1) * sizeof(*left));
	}
}

static const struct {
	enum snapshot_sort sort;
	uint32_t refs[5];
} orders[] = {
	{ SORT_SIZE, { 0, 1, 2, 4, 3 } },
	{ SORT_COUNT, { 1, 2, 4, 3, 0 } },
	{ SORT_GROWTH, { 2, 4, 1, 0, 3 } },
	{ SORT_AGE, { 4, 3, 1, 2, 0 } },
};

START_TEST(select_gives_one_order_whatever_the_order_before)
{
	for (uint32_t n = 0; n < 720; n++) {
		struct snapshot *snap = snapshot__new();

		add_permuted(snap, n);
		snapshot__select(snap, orders[_i].sort, 100);
		ck_assert_uint_eq(snap->site_cnt, 5); /* the one with nothing live is gone */
		for (uint32_t i = 0; i < 5; i++)
			ck_assert_uint_eq(snap->sites[i].ref, orders[_i].refs[i]);
		snapshot__free(snap);
	}
}
END_TEST

START_TEST(select_keeps_the_first_and_the_totals)
{
	struct snapshot *snap = snapshot__new();

	for (uint64_t i = 1; i <= 50; i++)
		add_site(snap, i, i, 1);
	snapshot__sum(snap);
	snapshot__select(snap, SORT_SIZE, 3);
	ck_assert_uint_eq(snap->site_cnt, 3);
	ck_assert_uint_eq(snap->sites[0].live_bytes, 50);
	ck_assert_uint_eq(snap->sites[2].live_bytes, 48);
	ck_assert_uint_eq(snap->totals.live_bytes, 1275);
	ck_assert_uint_eq(snap->totals.sites, 50);
	snapshot__select(snap, SORT_SIZE, 0);
	ck_assert_uint_eq(snap->site_cnt, 0);
	snapshot__free(snap);
}
END_TEST

START_TEST(sites_can_be_added_after_select_made_fewer)
{
	for (uint32_t top = 0; top < 20; top++) {
		struct snapshot *snap = snapshot__new();

		for (uint64_t i = 1; i <= 50; i++)
			add_site(snap, i, i, 1);
		snapshot__select(snap, SORT_SIZE, top);
		for (uint64_t i = 0; i < 40; i++)
			add_site(snap, 100 + i, 0, 1);
		ck_assert_uint_eq(snap->site_cnt, top + 40);
		if (top)
			ck_assert_uint_eq(snap->sites[top - 1].live_bytes, 51 - top);
		ck_assert_uint_eq(snap->sites[top + 39].id, 139);
		snapshot__free(snap);
	}
}
END_TEST

/* Uses everything once and more. 0 or -errno. */
static int build(struct snapshot **out)
{
	struct snapshot *snap = snapshot__new();

	*out = snap;
	if (!snap)
		return -errno;
	for (int i = 0; i < 20; i++) {
		struct snapshot_site *site = snapshot__add_site(snap);
		struct snapshot_target *target;

		if (!site)
			return -errno;
		site->frames = snapshot__alloc(snap, 100 * sizeof(*site->frames));
		if (!site->frames)
			return -errno;
		target = snapshot__add_target(snap);
		if (!target)
			return -errno;
		target->comm = snapshot__strdup(snap, "comm");
		if (!target->comm)
			return -errno;
	}
	if (!snapshot__alloc(snap, 100000))
		return -errno;
	return snapshot__add_loss(snap, "name", "meaning", 1);
}

START_TEST(every_failed_allocation_is_enomem_and_frees_clean)
{
	struct snapshot *snap;
	int err, failures = 0;

	for (fail_at = 0;; fail_at++) {
		alloc_cnt = 0;
		errno = 0;
		err = build(&snap);
		snapshot__free(snap);
		if (!err)
			break;
		ck_assert_int_eq(err, -ENOMEM);
		failures++;
		ck_assert_int_lt(failures, 1000);
	}
	ck_assert_int_eq(failures, alloc_cnt); /* each of them, in turn */
	ck_assert_int_gt(failures, 12);
}
END_TEST

START_TEST(a_failed_add_leaves_the_elements_there)
{
	struct snapshot *snap = snapshot__new();

	for (uint64_t i = 0; i < 4; i++)
		add_site(snap, i, i, i);
	ck_assert_int_eq(snapshot__add_loss(snap, "a", "b", 1), 0);
	alloc_cnt = fail_at = 0;
	ck_assert_ptr_null(snapshot__add_site(snap)); /* the fifth needs a larger array */
	alloc_cnt = 0;
	ck_assert_int_eq(snapshot__add_loss(snap, "c", "d", 1), -ENOMEM);
	ck_assert_uint_eq(snap->site_cnt, 4);
	ck_assert_uint_eq(snap->sites[3].id, 3);
	ck_assert_uint_eq(snap->loss_cnt, 1);
	ck_assert_str_eq(snap->losses[0].name, "a");
	fail_at = -1;
	add_site(snap, 4, 4, 4);
	ck_assert_uint_eq(snap->site_cnt, 5);
	snapshot__free(snap);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot");
	TCase *tcase = tcase_create("snapshot");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, new_snapshot_is_empty);
	tcase_add_test(tcase, alloc_gives_zeroed_aligned_separate_memory_of_any_size);
	tcase_add_test(tcase, alloc_past_the_limit_is_enomem);
	tcase_add_test(tcase, strdup_copies_and_turns_null_into_empty);
	tcase_add_test(tcase, added_elements_are_zeroed_and_stay);
	tcase_add_test(tcase, losses_are_copied_added_up_and_never_zero);
	tcase_add_test(tcase, sum_adds_every_site_and_counts_the_live_ones);
	tcase_add_loop_test(tcase, select_gives_one_order_whatever_the_order_before, 0,
			    sizeof(orders) / sizeof(orders[0]));
	tcase_add_test(tcase, select_keeps_the_first_and_the_totals);
	tcase_add_test(tcase, sites_can_be_added_after_select_made_fewer);
	tcase_add_test(tcase, every_failed_allocation_is_enomem_and_frees_clean);
	tcase_add_test(tcase, a_failed_add_leaves_the_elements_there);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
