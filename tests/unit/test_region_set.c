/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/region_set.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/*
 * Goal of this test: whatever is mapped, unmapped, taken, settled, restored, kept and copied, in
 * whatever order, the set knows of each page which region it belongs to, and tells of each region
 * how its bytes go and when the last of them goes.
 *
 * The model is an array of pages, each with the number of its region; and what the threads have
 * taken is another one each. A region's number is its site.
 */

#define PAGE    4096ULL
#define PAGES   97
#define TIDS    3
#define BASE    0x7f0000000000ULL
#define REGIONS 20000
#define ROUNDS  20000

struct book {
	uint64_t bytes[REGIONS]; /* mapped less gone */
	bool is_over[REGIONS];
};

static struct {
	uint32_t pages[PAGES];       /* region; 0: none */
	uint32_t taken[TIDS][PAGES];
	struct book told;            /* by the set */
	struct book *copied;
	uint32_t region_cnt;
	struct region_set *set;
} world;

static void gone(void *arg, const struct region *region, uint64_t bytes, bool is_last)
{
	struct book *book = arg;

	ck_assert_uint_lt(region->site, REGIONS);
	ck_assert_uint_eq(region->epoch, region->site * 7);
	ck_assert_uint_gt(bytes, 0);
	ck_assert_uint_ge(book->bytes[region->site], bytes);
	book->bytes[region->site] -= bytes;
	ck_assert(!book->is_over[region->site]);
	ck_assert_int_eq(is_last, !book->bytes[region->site]);
	ck_assert_uint_eq(region->bytes, book->bytes[region->site]);
	book->is_over[region->site] = is_last;
}

static void set_up(void)
{
	memset(&world, 0, sizeof(world));
	world.set = region_set__new(gone, &world.told);
	ck_assert_ptr_nonnull(world.set);
}

static void tear_down(void)
{
	region_set__free(world.set);
}

static uint64_t at(uint32_t page)
{
	return BASE + page * PAGE;
}

/* Bytes that the model has left of a region. */
static uint64_t left_of(uint32_t region)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < PAGES; i++) {
		n += world.pages[i] == region;
		for (int t = 0; t < TIDS; t++)
			n += world.taken[t][i] == region;
	}
	return n * PAGE;
}

struct look {
	uint32_t pages[PAGES];
	uint64_t last_end;
};

static void look_at(void *arg, uint64_t start, uint64_t end, const struct region *region)
{
	struct look *look = arg;

	/* Not one assertion a piece: check writes down each that it passes. */
	if (start < look->last_end || start >= end)
		ck_abort_msg("pieces are not disjoint and in order");
	look->last_end = end;
	for (uint64_t page = start; page < end; page += PAGE)
		look->pages[(page - BASE) / PAGE] = region->site;
}

static void compare(const struct region_set *set, const uint32_t *pages)
{
	struct look look = {0};

	region_set__for_each(set, look_at, &look);
	ck_assert_mem_eq(look.pages, pages, sizeof(look.pages));
}

static void map(uint32_t first, uint32_t cnt)
{
	uint32_t number = ++world.region_cnt;
	uint64_t gone_bytes = 0;

	ck_assert_uint_lt(number, REGIONS);
	for (uint32_t i = first; i < first + cnt; i++) {
		gone_bytes += world.pages[i] ? PAGE : 0;
		world.pages[i] = number;
	}
	world.told.bytes[number] = cnt * PAGE;
	ck_assert_int_eq(region_set__map(world.set, at(first), cnt * PAGE, number, number * 7),
			 (int64_t)gone_bytes);
}

static void take(int t, uint32_t first, uint32_t cnt)
{
	memset(world.taken[t], 0, sizeof(world.taken[t]));
	for (uint32_t i = first; i < first + cnt; i++) {
		world.taken[t][i] = world.pages[i];
		world.pages[i] = 0;
	}
	ck_assert_int_eq(region_set__take(world.set, 100 + t, at(first), cnt * PAGE), 0);
}

static void restore(int t)
{
	bool had = false;

	for (uint32_t i = 0; i < PAGES; i++) {
		had |= world.taken[t][i] != 0;
		if (!world.pages[i])
			world.pages[i] = world.taken[t][i];
	}
	memset(world.taken[t], 0, sizeof(world.taken[t]));
	ck_assert_int_eq(region_set__restore(world.set, 100 + t), had);
}

static void settle(int t)
{
	memset(world.taken[t], 0, sizeof(world.taken[t]));
	region_set__settle(world.set, 100 + t);
}

static void unmap(uint32_t first, uint32_t cnt)
{
	memset(&world.pages[first], 0, cnt * sizeof(world.pages[0]));
	ck_assert_int_eq(region_set__unmap(world.set, at(first), cnt * PAGE), 0);
}

static void keep(uint32_t first, uint32_t cnt, uint32_t second, uint32_t second_cnt)
{
	const uint64_t intervals[][2] = {{at(first), at(first + cnt)},
					 {at(second), at(second + second_cnt)}};

	for (uint32_t i = 0; i < PAGES; i++)
		if ((i < first || i >= first + cnt) && (i < second || i >= second + second_cnt))
			world.pages[i] = 0;
	ck_assert_int_eq(region_set__keep(world.set, intervals, 2), 0);
}

static int64_t same_site(void *arg, const struct region *region)
{
	struct book *book = arg;

	/* Regions of numbers divisible by 5 stay behind. */
	if (region->site % 5 == 0)
		return -1;
	/* Asked once. */
	ck_assert_uint_eq(book->bytes[region->site], 0);
	book->bytes[region->site] = region->bytes;
	return region->site;
}

/* What the copy has: all that is known, with that of the threads back. */
static void copy(void)
{
	struct region_set *copied;
	uint32_t pages[PAGES];

	memcpy(pages, world.pages, sizeof(pages));
	/* What was taken may be mapped over: then both are in the copy, and nobody can tell. */
	for (int t = 0; t < TIDS; t++)
		for (uint32_t i = 0; i < PAGES; i++)
			if (world.taken[t][i]) {
				if (pages[i])
					return;
				pages[i] = world.taken[t][i];
			}
	for (uint32_t i = 0; i < PAGES; i++)
		pages[i] = pages[i] % 5 ? pages[i] : 0;
	world.copied = calloc(1, sizeof(*world.copied));
	copied = region_set__copy(world.set, same_site, world.copied, gone, world.copied);
	ck_assert_ptr_nonnull(copied);
	compare(copied, pages);
	/* Not known to have been mapped there, when something is found there. */
	world.copied->bytes[REGIONS - 1] = PAGES * PAGE;
	ck_assert_int_eq(region_set__map(copied, BASE, PAGES * PAGE, REGIONS - 1,
					 (REGIONS - 1) * 7), 0);
	ck_assert_int_eq(region_set__unmap(copied, BASE, PAGES * PAGE), 0);
	ck_assert(region_set__is_empty(copied));
	for (uint32_t i = 0; i <= world.region_cnt; i++)
		ck_assert_uint_eq(world.copied->bytes[i], 0);
	region_set__free(copied);
	free(world.copied);
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)rand() % n;
}

START_TEST(the_set_is_as_an_array_of_pages)
{
	srand(_i + 1);
	for (int round = 0; round < ROUNDS; round++) {
		uint32_t first = below(PAGES), cnt = 1 + below(below(4) ? 9 : PAGES);
		uint32_t last_first = first, last_cnt;

		if (cnt > PAGES - first)
			cnt = PAGES - first;
		last_cnt = cnt;
		switch (below(round % 1000 ? 12 : 14)) {
		case 0: case 1: case 2: case 3:
			if (world.region_cnt < REGIONS - 2)
				map(first, cnt);
			break;
		case 4: case 5:
			unmap(first, cnt);
			break;
		case 6: case 7:
			take((int)below(TIDS), first, cnt);
			break;
		case 8: case 9:
			settle((int)below(TIDS));
			break;
		case 10: case 11:
			restore((int)below(TIDS));
			break;
		case 12:
			if (first + cnt < PAGES) {
				last_first = first + cnt + below(PAGES - first - cnt);
				last_cnt = below(PAGES - last_first + 1);
				keep(first, cnt, last_first, last_cnt);
			}
			break;
		case 13:
			copy();
			break;
		}
		compare(world.set, world.pages);
	}
	for (uint32_t i = 1; i <= world.region_cnt; i++) {
		ck_assert_uint_eq(world.told.bytes[i], left_of(i));
		ck_assert_int_eq(world.told.is_over[i], !left_of(i));
	}
}
END_TEST

START_TEST(a_hole_leaves_one_region)
{
	map(10, 31);
	unmap(20, 7);
	ck_assert_uint_eq(world.told.bytes[1], 24 * PAGE);
	ck_assert(!world.told.is_over[1]);
	unmap(10, 10);
	ck_assert(!world.told.is_over[1]);
	unmap(0, PAGES);
	ck_assert(world.told.is_over[1]);
	ck_assert(region_set__is_empty(world.set));
}
END_TEST

START_TEST(what_a_thread_has_taken_is_still_there)
{
	map(3, 5);
	take(0, 0, PAGES);
	ck_assert(!region_set__is_empty(world.set));
	ck_assert_uint_eq(world.told.bytes[1], 5 * PAGE);
	/* Another call of the thread: that one has ended, and we were not told. */
	take(0, 0, 1);
	ck_assert(world.told.is_over[1]);
	ck_assert(region_set__is_empty(world.set));
	ck_assert(!region_set__restore(world.set, 100));
}
END_TEST

START_TEST(what_comes_back_leaves_alone_what_has_been_mapped_over_it)
{
	map(0, 11);
	take(1, 2, 7);
	map(4, 1);
	map(7, 3);
	restore(1);
	compare(world.set, world.pages);
	/* Pages 4, 7, 8 and 9, of which 9 was replaced, are not its own any more. */
	ck_assert_uint_eq(world.told.bytes[1], 7 * PAGE);
}
END_TEST

START_TEST(the_ends_of_the_address_space)
{
	world.told.bytes[1] = UINT64_MAX - PAGE + 1 - PAGE;
	world.told.bytes[2] = 3 * PAGE;
	ck_assert_int_eq(region_set__map(world.set, PAGE, UINT64_MAX - 2 * PAGE + 1, 1, 7), 0);
	ck_assert_int_eq(region_set__map(world.set, 5 * PAGE, 3 * PAGE, 2, 14), 3 * (int64_t)PAGE);
	ck_assert_int_eq(region_set__map(world.set, 5 * PAGE, 0, 3, 21), 0);
	ck_assert_int_eq(region_set__unmap(world.set, 6 * PAGE, UINT64_MAX), 0);
	ck_assert_uint_eq(world.told.bytes[1], 4 * PAGE);
	ck_assert_uint_eq(world.told.bytes[2], PAGE);
	ck_assert_int_eq(region_set__keep(world.set, NULL, 0), 0);
	ck_assert(region_set__is_empty(world.set));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("region_set");
	TCase *cases = tcase_create("region_set");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(cases, set_up, tear_down);
	tcase_set_timeout(cases, 120);
	tcase_add_test(cases, a_hole_leaves_one_region);
	tcase_add_test(cases, what_a_thread_has_taken_is_still_there);
	tcase_add_test(cases, what_comes_back_leaves_alone_what_has_been_mapped_over_it);
	tcase_add_test(cases, the_ends_of_the_address_space);
	tcase_add_loop_test(cases, the_set_is_as_an_array_of_pages, 0, 5);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
