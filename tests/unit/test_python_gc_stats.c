/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python/gc_stats.h"
#include "python/runtime.h"
#include "python_fixture.h"
#include "python_process.h"

/*
 * Goal of this test: of every CPython of this machine the collector's statistics are read as the
 * interpreter itself tells them; while it runs they are found where they are or not at all; what
 * is not as known is refused, and no read that fails does harm.
 */

/* Collects, prints "stats[9] thresholds[3] counts[3] enabled", and waits. */
static const char say_script[] =
	"import gc, os, sys\n"
	"class Node: pass\n"
	"def leave(n):\n"
	"    for _ in range(n):\n"
	"        a, b = Node(), Node(); a.b, b.a = b, a\n"
	"if sys.argv[1] == 'off': gc.disable()\n"
	"if sys.argv[1] == 'frozen': gc.freeze()\n"
	"gc.set_threshold(1009, 13, 7)\n"
	"for generation, count in enumerate((19, 5, 3)):\n"
	"    for _ in range(count):\n"
	"        leave(40)\n"
	"        gc.collect(generation)\n"
	"stats = [n for s in gc.get_stats() for n in (s['collections'], s['collected'],"
	" s['uncollectable'])]\n"
	"os.write(1, (' '.join(map(str, [*stats, *gc.get_threshold(), *gc.get_count(),"
	" int(gc.isenabled())])) + '\\n').encode())\n"
	"os.read(0, 1)\n";

/* Never still: makes and drops objects that are tracked, collects, on three threads. */
static const char busy_script[] =
	"import gc, os, threading\n"
	"gc.set_threshold(50, 5, 5)\n"
	"keep = []\n"
	"def work():\n"
	"    while True:\n"
	"        a = []; a.append([a]); keep.append({})\n"
	"        if len(keep) > 1000: keep.clear()\n"
	"for _ in range(3): threading.Thread(target=work, daemon=True).start()\n"
	"os.write(1, b'ready\\n')\n"
	"os.read(0, 1)\n"
	"os._exit(0)\n";

/* Three interpreters, two of them with collections of their own. */
static const char many_script[] =
	"import gc, os\n"
	"try: import _interpreters as sub\n"
	"except ImportError: import _xxsubinterpreters as sub\n"
	"def run(interp, code):\n"
	"    (getattr(sub, 'run_string', None) or sub.exec)(interp, code)\n"
	"gc.disable()\n"
	"gc.set_threshold(1009, 13, 7)\n"
	"made = [sub.create() for _ in range(2)]\n"
	"for i in made: run(i, 'import gc; gc.disable(); gc.set_threshold(1, 2, 3)')\n"
	"gc.collect(1)\n"
	"for i in made: run(i, 'import gc\\nfor _ in range(7): gc.collect(1)')\n"
	"os.write(1, b'ready\\n')\n"
	"os.read(0, 1)\n"
	"os._exit(0)\n";

static struct process start(const char *python, const char *script, const char *arg)
{
	char *const argv[] = { (char *)python, "-c", (char *)script, (char *)arg, NULL };

	return process__start(argv, NULL);
}

static struct python_gc_place place_of(struct process *process)
{
	struct python_runtime runtime;

	ck_assert_int_eq(process__find_runtime(process, &runtime), PYTHON_FOUND);
	ck_assert(python_gc_place__is_known(&runtime.gc));
	ck_assert(!python_gc_place__is_verified(&runtime.gc));
	return runtime.gc;
}

static void check_said(struct process *process, const struct python_gc_stats *stats)
{
	long said[16];

	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(fscanf(process->out, "%ld", &said[i]), 1);
	for (int i = 0; i < UF_PYTHON_GENERATIONS; i++) {
		const struct python_gc_generation *generation = &stats->generations[i];

		ck_assert_int_eq((long)generation->collections, said[3 * i]);
		ck_assert_int_eq((long)generation->collected, said[3 * i + 1]);
		ck_assert_int_eq((long)generation->uncollectable, said[3 * i + 2]);
		ck_assert_int_eq(generation->threshold, said[9 + i]);
		/* Saying so moves the first a little. */
		ck_assert_int_le(labs(generation->count - said[12 + i]), i ? 0 : 100);
	}
	ck_assert_int_eq(stats->is_enabled, said[15]);
}

static void wait_for_line(struct process *process)
{
	int c;

	do {
		c = fgetc(process->out);
	} while (c != '\n' && c != EOF);
	ck_assert_int_eq(c, '\n');
}

/* Waits for what the process says without taking it. */
static void wait_for_first_byte(struct process *process)
{
	int c = fgetc(process->out);

	ck_assert_int_ne(c, EOF);
	ungetc(c, process->out);
	/* It says all at once and then reads. */
	usleep(20000);
}

START_TEST(statistics_are_as_the_interpreter_tells)
{
	static const char *const args[] = { "on", "off", "frozen" };

	find_pythons();
	for (int i = 0; i < python_cnt; i++) {
		for (size_t k = 0; k < sizeof(args) / sizeof(args[0]); k++) {
			struct process process = start(pythons[i].path, say_script, args[k]);
			struct python_memory mem = { process__read, &process };
			struct python_gc_place place;
			struct python_gc_stats stats;

			wait_for_first_byte(&process);
			place = place_of(&process);
			ck_assert_msg(!python_gc_place__verify(&place, &mem), "%s %s",
				      pythons[i].path, args[k]);
			ck_assert(python_gc_place__is_verified(&place));
			ck_assert_int_eq(python_gc_stats__read(&place, &mem, &stats), 0);
			check_said(&process, &stats);
			process__end(&process);
			ck_assert_int_ne(python_gc_stats__read(&place, &mem, &stats), 0);
		}
	}
}
END_TEST

START_TEST(in_motion_they_are_found_where_they_are_or_not_at_all)
{
	find_pythons();
	for (int i = 0; i < python_cnt; i++) {
		struct process process = start(pythons[i].path, busy_script, "");
		struct python_memory mem = { process__read, &process };
		struct python_gc_place place, first = { 0 };
		uint64_t last = 0;
		int found = 0, most = 0, attempts = 0;

		wait_for_line(&process);
		place = place_of(&process);
		while (attempts < 1000) {
			struct python_gc_place attempt = place;
			struct python_gc_stats stats;
			int before = attempts;

			while (python_gc_place__verify(&attempt, &mem) &&
			       attempts++ - before < 1000)
				sched_yield();
			if (attempts++ - before > most)
				most = attempts - before;
			if (!found++)
				first = attempt;
			ck_assert(python_gc_place__is_verified(&attempt));
			ck_assert_int_eq(memcmp(&first, &attempt, sizeof(first)), 0);
			ck_assert_int_eq(python_gc_stats__read(&attempt, &mem, &stats), 0);
			ck_assert_int_eq(stats.generations[0].threshold, 50);
			ck_assert_int_eq(stats.generations[1].threshold, 5);
			ck_assert_uint_ge(stats.generations[0].collections, last);
			last = stats.generations[0].collections;
		}
		printf("%s: verified %d times in %d attempts, at most %d; %lu collections\n",
		       pythons[i].path, found, attempts, most, (unsigned long)last);
		process__end(&process);
	}
}
END_TEST

START_TEST(interpreters_of_a_process_are_added_up)
{
	find_pythons();
	for (int i = 0; i < python_cnt; i++) {
		struct process process;
		struct python_memory mem = { process__read, &process };
		struct python_gc_place place;
		struct python_gc_stats stats;

		/* Before 3.9 they share a collector; before 3.12 in some releases too. */
		if (pythons[i].hex < 0x030c0000)
			continue;
		process = start(pythons[i].path, many_script, "");
		wait_for_line(&process);
		place = place_of(&process);
		ck_assert_int_eq(python_gc_place__verify(&place, &mem), 0);
		ck_assert_int_eq(python_gc_stats__read(&place, &mem, &stats), 0);
		ck_assert_int_eq(stats.generations[0].threshold, 1009);
		/* The incremental collector does not count these. */
		ck_assert_uint_eq(stats.generations[1].collections, place.is_incremental ? 0 : 15);
		process__end(&process);
	}
}
END_TEST

/* Changes a word of the first interpreter's state: verifying must refuse it. */
static void check_refused(struct process *process, const struct python_gc_place *place,
			  uint64_t state, uint32_t offset, uint64_t value)
{
	struct python_memory mem = { process__read, process };
	struct python_gc_place attempt = *place;
	int err;

	attempt.generations = attempt.permanent = attempt.candidate = attempt.seen = 0;
	process->patch_cnt = 0;
	process__patch(process, state + offset, value);
	err = python_gc_place__verify(&attempt, &mem);
	process->patch_cnt = 0;
	ck_assert_msg(err, "state + %u: %#lx", offset, (unsigned long)value);
	ck_assert(!python_gc_place__is_verified(&attempt));
}

START_TEST(a_collector_of_another_shape_is_refused)
{
	find_pythons();
	for (int i = 0; i < python_cnt; i++) {
		struct process process = start(pythons[i].path, say_script, "on");
		struct python_memory mem = { process__read, &process };
		struct python_gc_place place;
		struct python_gc_stats stats;
		uint64_t state, interp;

		wait_for_first_byte(&process);
		place = place_of(&process);
		ck_assert_int_eq(python_gc_place__verify(&place, &mem), 0);
		interp = place.state ? 0 : process__u64(&process, place.interpreters_head);
		state = place.state ? place.state : interp + place.interp_gc;
		for (uint32_t k = 0; k < 3; k++) {
			uint32_t list = place.generations + 24 * k;

			check_refused(&process, &place, state, list, 0);
			check_refused(&process, &place, state, list, state);
			check_refused(&process, &place, state, list + 8, 8);
			/* threshold */
			check_refused(&process, &place, state, list + 16, UINT64_MAX);
			check_refused(&process, &place, state, place.permanent + 24 + 24 * k,
				      UINT64_MAX);
		}
		check_refused(&process, &place, state, place.permanent, state);
		check_refused(&process, &place, state, place.permanent + 96, 7); /* collecting */
		check_refused(&process, &place, state, place.permanent + 104, state); /* garbage */
		check_refused(&process, &place, state, place.permanent + 112, 1); /* callbacks */
		check_refused(&process, &place, state, 8, 5ull << 32);            /* enabled */

		if (place.is_incremental) {
			process__patch(&process, state + place.permanent + 136, 2); /* space */
			ck_assert_int_eq(python_gc_stats__read(&place, &mem, &stats), -EINVAL);
			process.patch_cnt = 0;
		}
		process__patch(&process, state + place.permanent + 24, UINT64_MAX);
		ck_assert_int_eq(python_gc_stats__read(&place, &mem, &stats), -EINVAL);
		process.patch_cnt = 0;
		if (!place.state) {
			process__patch(&process, place.interpreters_head, 0);
			ck_assert_int_eq(python_gc_stats__read(&place, &mem, &stats), -ESRCH);
			process.patch_cnt = 0;
			/* A list of interpreters that never ends. */
			process__patch(&process, interp + place.interp_next, interp);
			ck_assert_int_eq(python_gc_stats__read(&place, &mem, &stats), 0);
			process.patch_cnt = 0;
		}
		process__end(&process);
	}
}
END_TEST

START_TEST(a_read_that_fails_gives_nothing)
{
	struct process process;
	struct python_memory mem = { process__read, &process };
	struct python_gc_stats stats, before;
	struct python_gc_place place, untouched;
	unsigned int reads;

	find_pythons();
	process = start(pythons[0].path, say_script, "on");
	wait_for_first_byte(&process);
	untouched = place = place_of(&process);
	process.fail_at = 1000;
	process.read_cnt = 0;
	ck_assert_int_eq(python_gc_place__verify(&place, &mem), 0);
	reads = process.read_cnt;
	for (process.fail_at = 1; process.fail_at <= reads; process.fail_at++) {
		struct python_gc_place attempt = untouched;

		process.read_cnt = 0;
		ck_assert_int_ne(python_gc_place__verify(&attempt, &mem), 0);
		ck_assert(!python_gc_place__is_verified(&attempt));
	}
	memset(&before, 0x5a, sizeof(before));
	stats = before;
	for (process.fail_at = 1; process.fail_at <= (place.state ? 1 : 3); process.fail_at++) {
		process.read_cnt = 0;
		ck_assert_int_eq(python_gc_stats__read(&place, &mem, &stats), -EIO);
		ck_assert_int_eq(memcmp(&stats, &before, sizeof(stats)), 0);
	}
	process__end(&process);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("python_gc_stats");
	TCase *tcase = tcase_create("python_gc_stats");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, statistics_are_as_the_interpreter_tells);
	tcase_add_test(tcase, in_motion_they_are_found_where_they_are_or_not_at_all);
	tcase_add_test(tcase, interpreters_of_a_process_are_added_up);
	tcase_add_test(tcase, a_collector_of_another_shape_is_refused);
	tcase_add_test(tcase, a_read_that_fails_gives_nothing);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
