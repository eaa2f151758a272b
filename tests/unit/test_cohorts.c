/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/cohorts.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Goal of this test: the ages of blocks are known as exactly as cohorts.h says,
 * and no block is ever lost or counted twice, while probes allocate and free at
 * any time, some of them with a look-up up to an epoch old, for longer than the
 * ring of epochs is.
 *
 * The model is a plain list of blocks with their times of birth. The probes'
 * part is played here as bpf/site.bpf.h plays it.
 */

#define SITES      3
#define MAX_BLOCKS 600
#define MAX_LATE   32
#define START_NS   5000000000000ULL
/* As in bpf/site.bpf.h. */
#define EPOCH_RING_GUARD 64

enum state { UNUSED, LATE_ALLOC, LIVE, LATE_FREE };

struct block {
	enum state state;
	uint8_t site, slot;   /* slot: what a late probe looked up */
	uint32_t epoch;
	int64_t bytes;
	uint64_t birth_ns;
	uint64_t count_at_ns; /* when a late probe will count */
};

static struct {
	struct uf_site sites[SITES + 1]; /* one is never used */
	uint32_t next_site, current_epoch, oldest_cohort;
	uint8_t epoch_cohort[UF_EPOCH_RING];
	struct cohorts *cohorts;
	struct block blocks[MAX_BLOCKS];
	uint64_t now_ns, older_ns, longest_tick_ns;
	struct block *late[MAX_LATE];
	uint32_t late_now;
	uint64_t late_cnt, after_merge_cnt; /* late counts, and those whose cohort had gone */
	uint64_t straddling_cnt; /* questions that no cohort's edge answered */
	bool may_be_late;
} world;

static void set_up(uint64_t older_ns)
{
	struct cohorts_shared shared = {
		.sites = world.sites,
		.next_site = &world.next_site,
		.max_sites = SITES,
		.current_epoch = &world.current_epoch,
		.oldest_cohort = &world.oldest_cohort,
		.epoch_cohort = world.epoch_cohort,
	};

	srand(20117);
	memset(&world, 0, sizeof(world));
	/* Runs past the end of the table when that is full. */
	world.next_site = SITES + 7;
	world.now_ns = START_NS;
	world.older_ns = older_ns;
	world.may_be_late = true;
	world.cohorts = cohorts__new(&shared, older_ns, START_NS);
	ck_assert_ptr_nonnull(world.cohorts);
}

static void tear_down(void)
{
	static const struct uf_cohort none[UF_MAX_COHORTS];

	ck_assert_int_eq(memcmp(world.sites[SITES].cohorts, none, sizeof(none)), 0);
	cohorts__free(world.cohorts);
}

/* ---- the probes' part ---- */

static uint8_t find_slot(uint32_t epoch)
{
	uint32_t age = world.current_epoch - epoch;
	uint32_t i = age < UF_EPOCH_RING - EPOCH_RING_GUARD
			     ? world.epoch_cohort[epoch % UF_EPOCH_RING]
			     : world.oldest_cohort;

	return i & (UF_MAX_COHORTS - 1);
}

static void count(const struct block *block, uint8_t slot, int sign)
{
	struct uf_cohort *cohort = &world.sites[block->site].cohorts[slot];

	cohort->live_bytes += sign * block->bytes;
	cohort->live_cnt += sign;
}

/* Looks up now; counts now or up to an epoch later. */
static void look_up(struct block *block, bool is_alloc)
{
	block->slot = find_slot(block->epoch);
	if (world.may_be_late && world.late_now < MAX_LATE && rand() % 4 == 0) {
		world.late[world.late_now++] = block;
		block->state = is_alloc ? LATE_ALLOC : LATE_FREE;
		block->count_at_ns = world.now_ns +
				     (uint64_t)rand() % cohorts__epoch_ns(world.cohorts);
		return;
	}
	count(block, block->slot, is_alloc ? 1 : -1);
	block->state = is_alloc ? LIVE : UNUSED;
}

/* The probes whose time has come. */
static void count_late(void)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < world.late_now; i++) {
		struct block *block = world.late[i];

		if (block->count_at_ns > world.now_ns) {
			world.late[kept++] = block;
			continue;
		}
		world.late_cnt++;
		world.after_merge_cnt += block->slot != find_slot(block->epoch);
		count(block, block->slot, block->state == LATE_ALLOC ? 1 : -1);
		block->state = block->state == LATE_ALLOC ? LIVE : UNUSED;
	}
	world.late_now = kept;
}

/* Of eight blocks, one is never freed; the others live for about 40 * 4^0 to 4^6 ticks. */
static void act(unsigned int i)
{
	struct block *block = &world.blocks[i];

	if (block->state == UNUSED) {
		block->site = rand() % SITES;
		block->bytes = rand() % 5000;
		block->epoch = world.current_epoch;
		block->birth_ns = world.now_ns;
		look_up(block, true);
	} else if (block->state == LIVE && i % 8 < 7 && !(rand() & ((1 << i % 8 * 2) - 1))) {
		look_up(block, false);
	}
}

/* Time goes on to then_ns, with a few allocations and frees on the way. */
static void pass_time(uint64_t then_ns)
{
	uint64_t step_ns = (then_ns - world.now_ns) / 5 + 1;

	while (world.now_ns + step_ns < then_ns) {
		world.now_ns += 1 + rand() % step_ns;
		count_late();
		act(rand() % MAX_BLOCKS);
		act(rand() % MAX_BLOCKS);
	}
	world.now_ns = then_ns;
	count_late();
}

/* A tick of a timer: on the grid, but now and then handled just before the next. */
static void tick(uint32_t i)
{
	uint64_t epoch_ns = cohorts__epoch_ns(world.cohorts), last_ns = world.now_ns;
	uint64_t on_time_ns = START_NS + (uint64_t)i * epoch_ns;

	uint64_t late_ns = rand() % 1000;

	pass_time(on_time_ns + (rand() % 4 ? late_ns : epoch_ns - 1 - late_ns));
	if (world.now_ns - last_ns > world.longest_tick_ns)
		world.longest_tick_ns = world.now_ns - last_ns;
	cohorts__tick(world.cohorts, world.now_ns);
}

/* ---- what must hold ---- */

static bool is_counted(const struct block *block)
{
	return block->state == LIVE || block->state == LATE_FREE;
}

static void check_sums(void)
{
	for (int s = 0; s < SITES; s++) {
		int64_t bytes = 0, cnt = 0;

		for (int i = 0; i < UF_MAX_COHORTS; i++) {
			bytes += world.sites[s].cohorts[i].live_bytes;
			cnt += world.sites[s].cohorts[i].live_cnt;
		}
		for (int i = 0; i < MAX_BLOCKS; i++) {
			if (world.blocks[i].site != s || !is_counted(&world.blocks[i]))
				continue;
			bytes -= world.blocks[i].bytes;
			cnt--;
		}
		ck_assert_int_eq(bytes, 0);
		ck_assert_int_eq(cnt, 0);
	}
}

/* One assertion for many conditions: check writes down each that it passes. */
static bool has_right_shape(const struct cohort_age *ages, uint32_t cnt)
{
	bool is_used[UF_MAX_COHORTS] = {0};

	if (cnt < 1 || cnt > UF_MAX_COHORTS || ages[0].min_age_ns ||
	    ages[cnt - 1].max_age_ns != world.now_ns - START_NS ||
	    ages[cnt - 1].slot != world.oldest_cohort)
		return false;
	for (uint32_t i = 0; i < cnt; i++) {
		if (ages[i].slot >= UF_MAX_COHORTS || is_used[ages[i].slot] ||
		    (i + 1 < cnt && ages[i].max_age_ns != ages[i + 1].min_age_ns))
			return false;
		is_used[ages[i].slot] = true;
	}
	return true;
}

/* With no probe in between: every bucket has exactly the blocks of its ages. */
static void check_bucket(int s, const struct cohort_age *age)
{
	struct uf_cohort cohort = world.sites[s].cohorts[age->slot];

	for (int b = 0; b < MAX_BLOCKS; b++) {
		const struct block *block = &world.blocks[b];
		uint64_t age_ns = world.now_ns - block->birth_ns;

		if (block->site != s || !is_counted(block) || age_ns < age->min_age_ns ||
		    age_ns >= age->max_age_ns)
			continue;
		cohort.live_bytes -= block->bytes;
		cohort.live_cnt--;
	}
	ck_assert_int_eq(cohort.live_cnt, 0);
	ck_assert_int_eq(cohort.live_bytes, 0);
}

static void check_buckets(const struct cohort_age *ages, uint32_t cnt)
{
	ck_assert_uint_eq(world.late_now, 0);
	for (int s = 0; s < SITES; s++)
		for (uint32_t i = 0; i < cnt; i++)
			check_bucket(s, &ages[i]);
}

static int64_t count_older(uint64_t age_ns)
{
	int64_t n = 0;

	for (int i = 0; i < MAX_BLOCKS; i++)
		n += is_counted(&world.blocks[i]) &&
		     world.now_ns - world.blocks[i].birth_ns >= age_ns;
	return n;
}

/* The answer is right for an age between the one asked for and that plus the error. */
static void check_answer(const struct cohort_age *ages, uint32_t cnt, uint64_t age_ns,
			 uint64_t error_ns)
{
	int64_t answer = 0;

	for (uint32_t i = 0; i < cnt; i++) {
		world.straddling_cnt += ages[i].min_age_ns < age_ns && ages[i].max_age_ns > age_ns;
		for (int s = 0; s < SITES && ages[i].min_age_ns >= age_ns; s++)
			answer += world.sites[s].cohorts[ages[i].slot].live_cnt;
	}
	ck_assert_int_le(answer, count_older(age_ns));
	ck_assert_int_ge(answer, count_older(age_ns + error_ns));
}

static uint64_t reach_ns(void)
{
	return (UF_EPOCH_RING - 128) * cohorts__epoch_ns(world.cohorts);
}

/* The precision that cohorts.h claims. */
static void check_answers(const struct cohort_age *ages, uint32_t cnt)
{
	uint64_t older_error_ns = world.older_ns / 16;

	if (older_error_ns < world.longest_tick_ns)
		older_error_ns = world.longest_tick_ns;
	if (world.older_ns)
		check_answer(ages, cnt, world.older_ns, older_error_ns);
	for (uint32_t i = 0; i < cnt; i++) {
		uint64_t ages_ns[] = {ages[i].min_age_ns, ages[i].min_age_ns + 1,
				      (ages[i].min_age_ns + ages[i].max_age_ns) / 2};

		for (int a = 0; a < 3; a++)
			if (ages_ns[a] * 8 / 5 < reach_ns())
				check_answer(ages, cnt, ages_ns[a],
					     ages_ns[a] / 5 * 3 + world.longest_tick_ns);
	}
}

/* Whatever blocks there are, no cohort but the oldest is wider than the claim. */
static bool has_right_widths(const struct cohort_age *ages, uint32_t cnt, uint64_t elapsed_ticks)
{
	double p = world.older_ns ? 0.6 : elapsed_ticks <= 256 ? 0.1 : 0.333;

	for (uint32_t i = 0; i + 1 < cnt; i++) {
		double width_ns = ages[i].max_age_ns - ages[i].min_age_ns;

		if (width_ns > (ages[i].min_age_ns + world.longest_tick_ns) * p +
				       world.longest_tick_ns)
			return false;
	}
	return true;
}

static void live_through(uint32_t ticks, uint32_t check_every)
{
	struct cohort_age ages[UF_MAX_COHORTS];
	uint32_t cnt;

	for (uint32_t i = 1; i <= ticks; i++) {
		/* A while before each check, no probe is late any more. */
		world.may_be_late = (i + 5) % check_every > 5;
		tick(i);
		cnt = cohorts__ages(world.cohorts, world.now_ns, ages);
		if (!has_right_shape(ages, cnt) || !has_right_widths(ages, cnt, i))
			ck_abort_msg("wrong buckets at tick %u", i);
		if (i % 37 == 0)
			check_sums();
		if (i % check_every)
			continue;
		check_buckets(ages, cnt);
		check_answers(ages, cnt);
	}
	/* Otherwise the test would have tested less than it says. */
	ck_assert_uint_gt(world.late_cnt, ticks / 50);
	ck_assert_uint_gt(world.after_merge_cnt, 0);
}

static const struct {
	uint64_t older_ns;
	uint32_t ticks;
	uint64_t epoch_ns;
} runs[] = {
	{ 0, 70000, 1000000000 }, /* past the end of the ring */
	{ 1, 3000, 20000000 },
	{ 250000000, 4000, 20000000 },
	{ 1000000000, 6000, 62500000 },
	{ 16000000000, 6000, 1000000000 },
	{ 37000000000, 70000, 1000000000 },
	{ 3600000000000, 20000, 1000000000 },
	{ 86400000000000, 36000, 2642000000 }, /* a day: more epochs of 1 s than the ring has */
};

START_TEST(every_age_is_answered_as_precisely_as_stated)
{
	set_up(runs[_i].older_ns);
	/* To the millisecond. */
	ck_assert_uint_le(cohorts__epoch_ns(world.cohorts), runs[_i].epoch_ns);
	ck_assert_uint_ge(cohorts__epoch_ns(world.cohorts) + 1000000, runs[_i].epoch_ns);
	live_through(runs[_i].ticks, runs[_i].ticks / 100);
	ck_assert_uint_gt(world.straddling_cnt, 100);
	tear_down();
}
END_TEST

START_TEST(the_age_asked_for_lies_within_the_ring_however_large)
{
	static const uint64_t days_ns = 86400000000000ULL;

	for (uint64_t days = 1; days <= 365; days *= 2) {
		set_up(days * days_ns);
		ck_assert_uint_gt(reach_ns(), days * days_ns);
		ck_assert_uint_lt(cohorts__epoch_ns(world.cohorts), days * days_ns / 16);
		tear_down();
	}
}
END_TEST

START_TEST(blocks_older_than_the_ring_are_in_the_oldest_cohort)
{
	struct cohort_age ages[UF_MAX_COHORTS];
	struct block old = {.bytes = 101};
	uint32_t cnt;

	set_up(0);
	old.slot = find_slot(old.epoch);
	count(&old, old.slot, 1);
	for (uint32_t i = 1; i <= UF_EPOCH_RING * 2 + 100; i++) {
		world.now_ns += cohorts__epoch_ns(world.cohorts);
		cohorts__tick(world.cohorts, world.now_ns);
		if (find_slot(0) != world.oldest_cohort)
			ck_abort_msg("lost at tick %u", i);
	}
	cnt = cohorts__ages(world.cohorts, world.now_ns, ages);
	ck_assert(has_right_shape(ages, cnt));
	ck_assert_int_eq(world.sites[0].cohorts[world.oldest_cohort].live_cnt, 1);
	/* The youngest has had no time yet; the others hold the epochs that ended since. */
	for (uint32_t i = 1; i < cnt; i++) {
		uint64_t epoch_ns = cohorts__epoch_ns(world.cohorts);

		for (uint64_t age = ages[i].min_age_ns; age < ages[i].max_age_ns; age += epoch_ns)
			if (find_slot(world.current_epoch - 1 - age / epoch_ns) != ages[i].slot)
				ck_abort_msg("an epoch of bucket %u is elsewhere", i);
	}
	count(&old, find_slot(old.epoch), -1);
	ck_assert_int_eq(world.sites[0].cohorts[world.oldest_cohort].live_cnt, 0);
	ck_assert_int_eq(world.sites[0].cohorts[world.oldest_cohort].live_bytes, 0);
	tear_down();
}
END_TEST

START_TEST(a_new_epoch_has_its_cohort_before_probes_see_it)
{
	set_up(0);
	for (uint32_t i = 0; i < 500; i++) {
		struct cohort_age ages[UF_MAX_COHORTS];

		ck_assert_uint_eq(world.current_epoch, i);
		cohorts__ages(world.cohorts, world.now_ns, ages);
		ck_assert_uint_eq(find_slot(world.current_epoch), ages[0].slot);
		world.now_ns += 1;
		cohorts__tick(world.cohorts, world.now_ns);
	}
	tear_down();
	cohorts__free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cohorts");
	TCase *tcase = tcase_create("cohorts");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 300);
	tcase_add_loop_test(tcase, every_age_is_answered_as_precisely_as_stated, 0,
			    sizeof(runs) / sizeof(runs[0]));
	tcase_add_test(tcase, the_age_asked_for_lies_within_the_ring_however_large);
	tcase_add_test(tcase, blocks_older_than_the_ring_are_in_the_oldest_cohort);
	tcase_add_test(tcase, a_new_epoch_has_its_cohort_before_probes_see_it);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
