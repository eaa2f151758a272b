/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/tracees.h"

#include <limits.h>
#include <sys/prctl.h>

#include "target_fixture.h"

/*
 * Goal of this test: images and processes are told apart (exec and a number used
 * again make a new image of the same pid), the list survives any order of
 * removal, and what was known of a process outlives it.
 */

static struct tracees *tracees;

static void set_up(void)
{
	tracees = tracees__new();
	ck_assert_ptr_nonnull(tracees);
}

static void tear_down(void)
{
	tracees__free(tracees);
}

static struct tracee *add(uf_image_id image, pid_t pid)
{
	struct tracee *tracee = tracees__add(tracees, image, pid);

	ck_assert_ptr_nonnull(tracee);
	return tracee;
}

static void assert_images(uf_image_id first, uf_image_id second, uf_image_id third)
{
	const uf_image_id expected[] = {first, second, third};
	const struct tracee *tracee = tracees__first(tracees);

	for (int i = 0; i < 3 && expected[i]; i++, tracee = tracee->next) {
		ck_assert_ptr_nonnull(tracee);
		ck_assert_uint_eq(tracee->image, expected[i]);
		ck_assert_ptr_eq(tracees__find(tracees, expected[i]), tracee);
	}
	ck_assert_ptr_null(tracee);
}

START_TEST(images_stay_in_the_order_of_addition_whatever_is_removed)
{
	assert_images(0, 0, 0);
	tracees__remove(tracees, 1);
	for (int removed = 1; removed <= 3; removed++) {
		for (int i = 1; i <= 3; i++)
			add(i, 1);
		assert_images(1, 2, 3);
		tracees__remove(tracees, removed);
		tracees__remove(tracees, removed);
		tracees__remove(tracees, 99);
		assert_images(removed == 1 ? 2 : 1, removed == 3 ? 2 : 3, 0);
		ck_assert_ptr_null(tracees__find(tracees, removed));
		add(7, 1);
		assert_images(removed == 1 ? 2 : 1, removed == 3 ? 2 : 3, 7);
		while (tracees__first(tracees))
			tracees__remove(tracees, tracees__first(tracees)->image);
	}
	tracees__free(NULL);
}
END_TEST

START_TEST(a_pid_means_the_image_that_runs)
{
	struct tracee *before_exec = add(1, 1), *after_exec = add(2, 1), *reused;

	ck_assert_ptr_null(tracees__find_pid(tracees, 2));
	before_exec->is_dropped = true;
	ck_assert_ptr_eq(tracees__find_pid(tracees, 1), after_exec);
	after_exec->has_ended = true;
	ck_assert_ptr_null(tracees__find_pid(tracees, 1));
	ck_assert_uint_eq(tracees__running_cnt(tracees), 0);
	reused = add(3, 1);
	ck_assert_ptr_eq(tracees__find_pid(tracees, 1), reused);
	ck_assert_uint_eq(tracees__running_cnt(tracees), 1);
	add(4, getpid());
	ck_assert_uint_eq(tracees__running_cnt(tracees), 2);
	/* Still reported, by image. */
	ck_assert_ptr_eq(tracees__find(tracees, 2), after_exec);
}
END_TEST

START_TEST(a_new_image_has_what_proc_says)
{
	char exe[PATH_MAX] = "";
	struct tracee *tracee;

	prctl(PR_SET_NAME, "some name");
	ck_assert_int_gt(readlink("/proc/self/exe", exe, sizeof(exe) - 1), 0);
	tracee = add(1, getpid());
	ck_assert_str_eq(tracee->comm, "some name");
	ck_assert_str_eq(tracee->exe, exe);
	ck_assert(access("/proc/self/cgroup", R_OK) || tracee->cgroup[0] == '/');
	ck_assert_str_eq(tracee->note, "");
	ck_assert(!tracee->has_ended && !tracee->is_dropped && !tracee->has_allocator);
	prctl(PR_SET_NAME, "two\nlines");
	tracee__refresh(tracees, tracee);
	ck_assert_str_eq(tracee->comm, "two\nlines");
}
END_TEST

START_TEST(what_was_known_outlives_the_process)
{
	int pair[2];
	char exe[PATH_MAX], cgroup[PATH_MAX], byte;
	struct tracee *tracee;
	pid_t pid;

	ck_assert_int_eq(pipe(pair), 0);
	pid = fork();
	if (!pid) {
		close(pair[1]);
		prctl(PR_SET_NAME, "mortal");
		_exit(read(pair[0], &byte, 1) != 0);
	}
	close(pair[0]);
	tracee = add(1, pid);
	while (strcmp(tracee->comm, "mortal"))
		tracee__refresh(tracees, tracee);
	snprintf(exe, sizeof(exe), "%s", tracee->exe);
	snprintf(cgroup, sizeof(cgroup), "%s", tracee->cgroup);
	close(pair[1]);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	tracee__refresh(tracees, tracee);
	ck_assert_str_eq(tracee->comm, "mortal");
	ck_assert_str_eq(tracee->exe, exe);
	ck_assert_str_eq(tracee->cgroup, cgroup);
	ck_assert_str_ne(tracee->exe, "");
	tracee = add(2, pid);
	ck_assert_str_eq(tracee->comm, "");
	ck_assert_str_eq(tracee->exe, "");
	ck_assert_str_eq(tracee->cgroup, "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tracees");
	TCase *tcase = tcase_create("tracees");

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, images_stay_in_the_order_of_addition_whatever_is_removed);
	tcase_add_test(tcase, a_pid_means_the_image_that_runs);
	tcase_add_test(tcase, a_new_image_has_what_proc_says);
	tcase_add_test(tcase, what_was_known_outlives_the_process);
	return run_suite(suite);
}
