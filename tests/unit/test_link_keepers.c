/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Goal of this test: descriptors that are handed over are in no table of the main thread, stay open
 * until they are given back, and are closed with the process, however it ends. A pipe whose writing
 * end is held tells: its reader is told of the end when nobody has it any more.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe/link_keepers.h"

#define CNT 23

static int readers[CNT], links[CNT];

static struct link_keepers *keep_pipes(bool in_threads)
{
	struct link_keepers *keepers = link_keepers__new(in_threads);
	int ends[2];

	ck_assert_ptr_nonnull(keepers);
	for (int i = 0; i < CNT; i++) {
		ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
		readers[i] = ends[0];
		links[i] = link_keepers__take(keepers, ends[1]);
		ck_assert_int_ge(links[i], 0);
	}
	return keepers;
}

static bool has_ended(int i)
{
	struct pollfd pollfd = {.fd = readers[i], .events = POLLIN};

	ck_assert_int_ge(poll(&pollfd, 1, 0), 0);
	return pollfd.revents & POLLHUP;
}

static int ended_cnt(void)
{
	int cnt = 0;

	for (int i = 0; i < CNT; i++)
		cnt += has_ended(i);
	return cnt;
}

/* Writing ends in this thread's table. */
static int own_cnt(void)
{
	int cnt = 0;

	for (int fd = 0; fd < 1024; fd++)
		cnt += (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY && fd > 2 &&
		       fcntl(fd, F_GETPIPE_SZ) > 0;
	return cnt;
}

/* As a sandbox may. */
static void forbid(unsigned int number)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog filter = {sizeof(insns) / sizeof(insns[0]), insns};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

/* Closes a few, then all. */
static void check_closing(struct link_keepers *keepers)
{
	ck_assert_int_eq(ended_cnt(), 0);
	link_keepers__close(keepers, links + 3, 6);
	for (int i = 0; i < CNT; i++)
		ck_assert_int_eq(has_ended(i), i >= 3 && i < 9);
	link_keepers__free(keepers);
	ck_assert_int_eq(ended_cnt(), CNT);
}

START_TEST(test_threads_have_them)
{
	int before = own_cnt();
	struct link_keepers *keepers = keep_pipes(true);

	ck_assert_int_eq(own_cnt(), before);
	check_closing(keepers);
}
END_TEST

START_TEST(test_without_threads)
{
	int before = own_cnt();
	struct link_keepers *keepers = keep_pipes(false);

	ck_assert_int_eq(own_cnt(), before + CNT);
	check_closing(keepers);
	ck_assert_int_eq(own_cnt(), before);
}
END_TEST

START_TEST(test_refused_by_a_sandbox)
{
	static const unsigned int calls[] = {SYS_close_range, SYS_pidfd_open, SYS_pidfd_getfd};
	int before = own_cnt();
	struct link_keepers *keepers;

	forbid(calls[_i]);
	keepers = keep_pipes(true);
	ck_assert_int_eq(own_cnt(), before + CNT);
	check_closing(keepers);
	ck_assert_int_eq(own_cnt(), before);
}
END_TEST

START_TEST(test_a_number_is_used_again)
{
	struct link_keepers *keepers = keep_pipes(true);
	int ends[2], highest = 0, link;

	for (int i = 0; i < CNT; i++)
		highest = links[i] > highest ? links[i] : highest;
	link_keepers__close(keepers, links + 7, 2);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	link = link_keepers__take(keepers, ends[1]);
	ck_assert_int_le(link, highest);
	ck_assert_int_eq(ended_cnt(), 2);
	close(readers[7]);
	readers[7] = ends[0];
	ck_assert_int_eq(ended_cnt(), 1);
	link_keepers__close(keepers, &link, 1);
	ck_assert_int_eq(ended_cnt(), 2);
	link_keepers__free(keepers);
}
END_TEST

/* When the process has been waited for nothing may be left to happen. */
START_TEST(test_a_killed_process)
{
	int ready[2], status;
	char one;
	pid_t pid;

	ck_assert_int_eq(pipe(ready), 0);
	for (int i = 0; i < CNT; i++) {
		int ends[2];

		ck_assert_int_eq(pipe(ends), 0);
		readers[i] = ends[0];
		links[i] = ends[1];
	}
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		struct link_keepers *keepers = link_keepers__new(true);

		for (int i = 0; i < CNT; i++)
			if (link_keepers__take(keepers, links[i]) < 0)
				_exit(1);
		write(ready[1], "r", 1);
		pause();
	}
	for (int i = 0; i < CNT; i++)
		close(links[i]);
	ck_assert_int_eq(read(ready[0], &one, 1), 1);
	ck_assert_int_eq(ended_cnt(), 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(ended_cnt(), CNT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("link_keepers");
	TCase *tcase = tcase_create("core");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, test_threads_have_them);
	tcase_add_test(tcase, test_without_threads);
	tcase_add_loop_test(tcase, test_refused_by_a_sandbox, 0, 3);
	tcase_add_test(tcase, test_a_number_is_used_again);
	tcase_add_test(tcase, test_a_killed_process);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
