/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/launch.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include "target_fixture.h"

/*
 * Goal of this test: a command waits at the gate, then runs as a shell would
 * have run it; if it cannot run, we learn why; whatever happens, no process and
 * no descriptor is left over.
 */

static sigset_t no_signals;

static void set_up(void)
{
	make_test_dir();
	sigemptyset(&no_signals);
	setenv("PATH", "/usr/bin:/bin", 1);
	/* As the agent does. */
	signal(SIGPIPE, SIG_IGN);
}

static void prepare(struct launch *launch, const char *arg0, const char *arg1, const char *arg2)
{
	char *argv[] = {(char *)arg0, (char *)arg1, (char *)arg2, NULL};

	ck_assert_int_eq(launch__prepare(launch, argv, NULL, &no_signals), 0);
	ck_assert_int_gt(launch->pid, 0);
}

static int wait_for(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* Runs a command; what it printed. */
static char *output_of(char **argv, const sigset_t *mask)
{
	const char *path = test_path("output");
	int saved = fcntl(1, F_DUPFD_CLOEXEC, 3);
	int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct launch launch;
	size_t size;
	char *data;

	dup2(out, 1);
	close(out);
	ck_assert_int_eq(launch__prepare(&launch, argv, NULL, mask), 0);
	dup2(saved, 1);
	close(saved);
	ck_assert_int_eq(launch__go(&launch), 0);
	ck_assert_int_eq(wait_for(launch.pid), 0);
	launch__release(&launch);
	data = read_whole(path, &size);
	data[size] = 0;
	return data;
}

static void assert_output(const char *command, const char *expected)
{
	char *argv[] = {"sh", "-c", (char *)command, NULL};
	char *output = output_of(argv, &no_signals);

	ck_assert_str_eq(output, expected);
	free(output);
}

START_TEST(the_command_runs_only_when_the_gate_is_opened)
{
	const char *mark = test_path("mark");
	struct launch launch;

	prepare(&launch, "touch", mark, NULL);
	usleep(20000);
	ck_assert_int_ne(access(mark, F_OK), 0);
	ck_assert_int_eq(launch__go(&launch), 0);
	ck_assert_int_eq(wait_for(launch.pid), 0);
	ck_assert_int_eq(access(mark, F_OK), 0);
	launch__release(&launch);
	ck_assert_int_eq(launch.pid, 0);
}
END_TEST

START_TEST(a_command_released_at_the_gate_never_runs_and_leaves_no_zombie)
{
	const char *mark = test_path("mark");
	int fds = open_fd_cnt();
	struct launch launch;

	prepare(&launch, "touch", mark, NULL);
	launch__release(&launch);
	assert_no_children();
	ck_assert_int_ne(access(mark, F_OK), 0);
	ck_assert_int_eq(open_fd_cnt(), fds);
	launch__release(&launch);
	launch__release(&(struct launch){0});
	ck_assert_int_eq(open_fd_cnt(), fds);
}
END_TEST

START_TEST(what_execvp_said_is_reported_and_the_child_is_reaped)
{
	int fds = open_fd_cnt();
	struct launch launch;

	write_file(test_path("plain"), "x", 1, 0644);
	prepare(&launch, "no-such-command-of-unfreed", NULL, NULL);
	ck_assert_int_eq(launch__go(&launch), -ENOENT);
	assert_no_children();
	launch__release(&launch);
	prepare(&launch, test_path("plain"), NULL, NULL);
	ck_assert_int_eq(launch__go(&launch), -EACCES);
	ck_assert_int_eq(launch.pid, 0);
	launch__release(&launch);
	prepare(&launch, test_dir, NULL, NULL);
	ck_assert_int_eq(launch__go(&launch), -EACCES);
	launch__release(&launch);
	assert_no_children();
	ck_assert_int_eq(open_fd_cnt(), fds);
}
END_TEST

START_TEST(exit_codes_are_those_of_a_shell)
{
	struct launch launch;

	prepare(&launch, "sh", "-c", "exit 7");
	ck_assert_int_eq(launch__go(&launch), 0);
	ck_assert_int_eq(launch__exit_code(wait_for(launch.pid)), 7);
	launch__release(&launch);
	prepare(&launch, "sh", "-c", "kill -TERM $$");
	ck_assert_int_eq(launch__go(&launch), 0);
	ck_assert_int_eq(launch__exit_code(wait_for(launch.pid)), 128 + SIGTERM);
	launch__release(&launch);
	prepare(&launch, "true", NULL, NULL);
	ck_assert_int_eq(launch__go(&launch), 0);
	ck_assert_int_eq(launch__exit_code(wait_for(launch.pid)), 0);
	launch__release(&launch);
}
END_TEST

START_TEST(the_command_has_no_descriptor_of_ours)
{
	/* What the test runner left open is none of launch's business. */
	for (int fd = 3; fd < 256; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* "true" keeps the shell from becoming ls. */
	assert_output("ls /proc/$$/fd; true", "0\n1\n2\n");
}
END_TEST

START_TEST(the_command_inherits_other_descriptors_environment_and_process_group)
{
	char expected[32], command[64];
	int fd = dup(0);

	fcntl(fd, F_SETFD, 0);
	setenv("UNFREED_TEST", "here", 1);
	assert_output("echo $UNFREED_TEST", "here\n");
	snprintf(expected, sizeof(expected), "%d\n", (int)getpgrp());
	assert_output("cut -d ' ' -f 5 /proc/$$/stat; true", expected);
	snprintf(command, sizeof(command), "test -e /proc/$$/fd/%d && echo yes", fd);
	assert_output(command, "yes\n");
	close(fd);
}
END_TEST

START_TEST(the_signal_mask_is_the_given_one)
{
	/* Shells clear their mask. */
	char *argv[] = {"grep", "SigBlk", "/proc/self/status", NULL}, *output;
	sigset_t ours, childs;

	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	ck_assert_int_eq(sigprocmask(SIG_SETMASK, &ours, NULL), 0);
	output = output_of(argv, &no_signals);
	ck_assert_str_eq(output, "SigBlk:\t0000000000000000\n");
	free(output);
	sigemptyset(&childs);
	sigaddset(&childs, SIGUSR1);
	output = output_of(argv, &childs);
	ck_assert_str_eq(output, "SigBlk:\t0000000000000200\n");
	free(output);
}
END_TEST

START_TEST(a_child_waiting_at_the_gate_ends_when_we_die)
{
	pid_t pid, middle;

	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	middle = fork();
	if (!middle) {
		struct launch launch;

		prepare(&launch, "sleep", "1000", NULL);
		_exit(0);
	}
	ck_assert_int_eq(wait_for(middle), 0);
	/* Ours now. */
	pid = waitpid(-1, NULL, 0);
	ck_assert_int_gt(pid, 0);
	assert_no_children();
}
END_TEST

START_TEST(a_command_killed_at_the_gate_is_an_error_and_reaped)
{
	struct launch launch;
	siginfo_t info;

	prepare(&launch, "sleep", "1000", NULL);
	kill(launch.pid, SIGKILL);
	ck_assert_int_eq(waitid(P_PID, launch.pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(launch__go(&launch), -EPIPE);
	launch__release(&launch);
	assert_no_children();
}
END_TEST

static void do_nothing(int signal)
{
	(void)signal;
}

static char state_of(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%*d %*s %c", &state), 1);
	fclose(file);
	return state;
}

START_TEST(a_handled_signal_does_not_open_the_gate)
{
	struct sigaction action = {.sa_handler = do_nothing};
	struct launch launch;
	char state;

	sigaction(SIGUSR1, &action, NULL);
	prepare(&launch, "true", NULL, NULL);
	for (int i = 0; i < 100; i++) {
		while ((state = state_of(launch.pid)) != 'S')
			ck_assert_int_ne(state, 'Z');
		kill(launch.pid, SIGUSR1);
	}
	ck_assert_int_eq(launch__go(&launch), 0);
	ck_assert_int_eq(wait_for(launch.pid), 0);
	launch__release(&launch);
}
END_TEST

START_TEST(without_descriptors_nothing_is_started_or_left)
{
	char *argv[] = {"true", NULL};
	int fds = open_fd_cnt(), next = dup(0);
	struct launch launch = {0};
	struct rlimit limit;

	close(next);
	getrlimit(RLIMIT_NOFILE, &limit);
	/* Two pipes need four. */
	for (int room = 0; room < 4; room++) {
		limit.rlim_cur = next + room;
		setrlimit(RLIMIT_NOFILE, &limit);
		ck_assert_int_eq(launch__prepare(&launch, argv, NULL, &no_signals), -EMFILE);
	}
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_int_eq(open_fd_cnt(), fds);
	assert_no_children();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("launch");
	TCase *tcase = tcase_create("launch");

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 30);
	tcase_add_checked_fixture(tcase, set_up, remove_test_dir);
	tcase_add_test(tcase, the_command_runs_only_when_the_gate_is_opened);
	tcase_add_test(tcase, a_command_released_at_the_gate_never_runs_and_leaves_no_zombie);
	tcase_add_test(tcase, what_execvp_said_is_reported_and_the_child_is_reaped);
	tcase_add_test(tcase, exit_codes_are_those_of_a_shell);
	tcase_add_test(tcase, the_command_has_no_descriptor_of_ours);
	tcase_add_test(tcase, the_command_inherits_other_descriptors_environment_and_process_group);
	tcase_add_test(tcase, the_signal_mask_is_the_given_one);
	tcase_add_test(tcase, a_child_waiting_at_the_gate_ends_when_we_die);
	tcase_add_test(tcase, a_command_killed_at_the_gate_is_an_error_and_reaped);
	tcase_add_test(tcase, a_handled_signal_does_not_open_the_gate);
	tcase_add_test(tcase, without_descriptors_nothing_is_started_or_left);
	return run_suite(suite);
}
