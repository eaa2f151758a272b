/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
}

/* In the child: waits at the gate, becomes the command. Does not return. */
static void __attribute__((noreturn)) run_child(char **argv, char *const *env, const sigset_t *mask,
						int gate_fd, int result_fd)
{
	ssize_t n;
	char go;
	int err;

	do
		n = read(gate_fd, &go, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(127); /* unfreed gave up, or died */
	sigprocmask(SIG_SETMASK, mask, NULL);
	for (err = 0; !err && env && *env; env++)
		err = putenv(*env) ? errno : 0;
	if (!err) {
		execvp(argv[0], argv);
		err = errno;
	}
	if (write(result_fd, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int launch__prepare(struct launch *launch, char **argv, char *const *env,
		    const sigset_t *child_mask)
{
	int gate[2] = {-1, -1}, result[2] = {-1, -1}, err;
	pid_t pid;

	if (pipe2(gate, O_CLOEXEC) || pipe2(result, O_CLOEXEC)) {
		err = -errno;
		goto close_pipes;
	}
	pid = fork();
	if (pid < 0) {
		err = -errno;
		goto close_pipes;
	}
	if (!pid) {
		close(gate[1]);
		run_child(argv, env, child_mask, gate[0], result[1]);
	}
	close(gate[0]);
	close(result[1]);
	*launch = (struct launch){.pid = pid, .gate_fd = gate[1], .result_fd = result[0]};
	return 0;

close_pipes:
	close_pair(gate);
	close_pair(result);
	return err;
}

int launch__go(struct launch *launch)
{
	ssize_t n;
	int err = 0;

	if (write(launch->gate_fd, "", 1) != 1)
		return -errno;
	close(launch->gate_fd);
	launch->gate_fd = -1;
	do
		n = read(launch->result_fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(err))
		return 0; /* the pipe was closed by exec */
	reap(launch->pid);
	launch->pid = 0;
	return -err;
}

void launch__release(struct launch *launch)
{
	if (launch->pid && launch->gate_fd > 0) {
		/* Still at the gate: it leaves when the pipe closes. */
		close(launch->gate_fd);
		launch->gate_fd = -1;
		reap(launch->pid);
	}
	if (launch->gate_fd > 0)
		close(launch->gate_fd);
	if (launch->result_fd > 0)
		close(launch->result_fd);
	*launch = (struct launch){0};
}

int launch__exit_code(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}
