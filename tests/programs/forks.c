/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Blocks and processes. The modes:
 *
 *   fork        parent and child free some of the inherited blocks each, in turns
 *   grandchild  a child of the child as well
 *   orphan      the parent exits; the child passes the gates
 *   serial      101 children, one after another, that free and allocate and exit
 *   many N      N children at a time
 *   middle      a child of a child; the one between exits before the parent frees
 *   vfree       a child, and then one by vfork that frees in the parent's memory
 *   again       the child frees what it inherited and uses the addresses again and again
 *   chain N     a child of a child of ... N deep; the last one frees and allocates
 *   exec        the child executes a new image, which allocates
 *   vfork       the same by vfork; the child allocates before, in the parent's memory
 *   self        the process itself executes a new image, which passes its gates
 *   image       that image
 *
 * A child says nothing: it writes its pid to a pipe when it has done its part,
 * takes its next turn at a byte from another, and stays until that one closes.
 *
 * Parent's and child's blocks are of one size class, so that an address which
 * the one has freed comes again for another block while the other still has it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "gate.h"

#define SHARED_CNT 1009
#define SERIAL_CNT 101

static void *shared[SHARED_CNT];
static int done_pipe[2];
static int turn_pipe[2];

static NOINLINE void alloc_shared(void)
{
	for (int i = 0; i < SHARED_CNT; i++)
		shared[i] = malloc(503);
}

static NOINLINE void alloc_in_child(void)
{
	for (int i = 0; i < 307; i++)
		sink = malloc(499);
}

static NOINLINE void alloc_in_grandchild(void)
{
	for (int i = 0; i < 311; i++)
		sink = malloc(497);
}

static NOINLINE void alloc_in_parent(void)
{
	for (int i = 0; i < 313; i++)
		sink = malloc(491);
}

static NOINLINE void alloc_in_vfork_child(void)
{
	for (int i = 0; i < 13; i++)
		sink = malloc(541);
}

static NOINLINE void alloc_in_image(void)
{
	for (int i = 0; i < 317; i++)
		sink = malloc(547);
}

static NOINLINE void realloc_shared(int from, int to)
{
	for (int i = from; i < to; i++)
		shared[i] = realloc(shared[i], 2011);
}

static void free_shared(int from, int to)
{
	for (int i = from; i < to; i++)
		free(shared[i]);
}

static void say_done(void)
{
	pid_t self = getpid();

	if (write(done_pipe[1], &self, sizeof(self)) != sizeof(self))
		_exit(98);
}

/* Until the next turn; no turn comes any more when the parent has gone. */
static void wait_turn(void)
{
	char byte;
	ssize_t n;

	close(turn_pipe[1]);
	do
		n = read(turn_pipe[0], &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		_exit(0);
}

static pid_t wait_done(void)
{
	pid_t pid;

	if (read(done_pipe[0], &pid, sizeof(pid)) != sizeof(pid))
		gate_die("a child ended early");
	return pid;
}

static void give_turn(void)
{
	if (write(turn_pipe[1], "t", 1) != 1)
		gate_die("write");
}

/* 1009 inherited. First turn: frees 199, allocates 311. Second: frees 101, of the first 401. */
static void grandchild(void)
{
	free_shared(500, 699);
	alloc_in_grandchild();
	say_done();
	wait_turn();
	free_shared(300, 401);
	say_done();
	wait_turn();
	_exit(0);
}

/*
 * 1009 inherited. First turn: frees 211, allocates 307. Second, when the parent has freed 401
 * from the 100th on and used their addresses again: frees 89 and resizes 53 of the same.
 */
static void child(void)
{
	free_shared(0, 211);
	alloc_in_child();
	say_done();
	wait_turn();
	free_shared(211, 300);
	realloc_shared(401, 454);
	say_done();
	wait_turn();
	_exit(0);
}

/* Frees 211 before it forks, so that its child inherits 798; takes no second turn. */
static void child_with_child(void)
{
	free_shared(0, 211);
	alloc_in_child();
	if (fork() == 0)
		grandchild();
	say_done();
	/* The turns are the grandchild's: just stay until the parent has gone. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void fork_mode(int with_grandchild)
{
	pid_t first, one, two;

	alloc_shared();
	gate("DONE shared");
	first = fork();
	if (first == 0 && with_grandchild)
		child_with_child();
	if (first == 0)
		child();
	one = wait_done();
	two = with_grandchild ? wait_done() : one;
	gate("DONE fork %d %d", (int)first, (int)(one == first ? two : one));
	free_shared(100, 501);
	alloc_in_parent();
	gate("DONE parent");
	give_turn();
	wait_done();
	gate("DONE child");
}

static void orphan_mode(void)
{
	pid_t parent = getpid();

	alloc_shared();
	gate("DONE shared");
	if (fork())
		_exit(0);
	while (getppid() == parent)
		usleep(1000);
	free_shared(0, 211);
	alloc_in_child();
	gate("DONE orphan %d", (int)getpid());
}

static NOINLINE void serial_mode(void)
{
	alloc_shared();
	gate("DONE shared");
	for (int i = 0; i < SERIAL_CNT; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			free_shared(i, i + 211);
			alloc_in_child();
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		/* A block of the parent's goes and another comes between two forks. */
		free(shared[i]);
		shared[i] = malloc(503); /* LINE: serial_mode */
	}
	alloc_in_parent();
	gate("DONE serial");
}

static void many_mode(long count)
{
	alloc_shared();
	gate("DONE shared");
	for (long i = 0; i < count; i++)
		if (fork() == 0) {
			free_shared(0, 211);
			say_done();
			wait_turn();
			_exit(0);
		}
	for (long i = 0; i < count; i++)
		wait_done();
	free_shared(100, 501);
	gate("DONE many");
}

/* Inherited from somebody who is not its parent, when that one frees. */
static void middle_mode(void)
{
	pid_t middle, last;

	alloc_shared();
	gate("DONE shared");
	middle = fork();
	if (middle == 0) {
		if (fork())
			_exit(0);
		say_done();
		wait_turn();
		free_shared(300, 401);
		say_done();
		wait_turn();
		_exit(0);
	}
	waitpid(middle, NULL, 0);
	last = wait_done();
	gate("DONE fork %d", (int)last);
	free_shared(100, 501);
	alloc_in_parent();
	gate("DONE parent");
	give_turn();
	wait_done();
	gate("DONE child");
}

/* The child frees the same blocks later. */
static void vfree_mode(void)
{
	pid_t first, borrower;

	alloc_shared();
	gate("DONE shared");
	first = fork();
	if (first == 0) {
		say_done();
		wait_turn();
		free_shared(0, 211);
		alloc_in_child();
		say_done();
		wait_turn();
		_exit(0);
	}
	wait_done();
	borrower = vfork();
	if (borrower == 0) {
		free_shared(0, 211);
		alloc_in_vfork_child();
		_exit(0);
	}
	waitpid(borrower, NULL, 0);
	gate("DONE vfork %d", (int)first);
	give_turn();
	wait_done();
	gate("DONE child");
}

static void again_mode(void)
{
	pid_t pid;

	alloc_shared();
	gate("DONE shared");
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 211; i++) {
			free(shared[i]);
			for (int k = 0; k < 7; k++) {
				sink = malloc(503);
				free(sink);
			}
		}
		say_done();
		wait_turn();
		_exit(0);
	}
	wait_done();
	gate("DONE again %d", (int)pid);
}

static void chain_mode(long depth)
{
	alloc_shared();
	gate("DONE shared");
	for (long i = 0; i < depth; i++)
		if (fork()) {
			if (i)
				wait_turn();
			gate("DONE chain %d", (int)wait_done());
			return;
		}
	free_shared(0, 211);
	alloc_in_child();
	say_done();
	wait_turn();
}

static void exec_image(char **argv)
{
	char done[16], turn[16];
	char *args[] = {argv[0], "image", done, turn, NULL};

	snprintf(done, sizeof(done), "%d", done_pipe[1]);
	snprintf(turn, sizeof(turn), "%d", turn_pipe[0]);
	execv("/proc/self/exe", args);
	_exit(97);
}

static void exec_mode(char **argv, int with_vfork)
{
	pid_t pid;

	alloc_shared();
	gate("DONE shared");
	pid = with_vfork ? vfork() : fork();
	if (pid == 0) {
		if (with_vfork)
			alloc_in_vfork_child();
		else
			alloc_in_child();
		exec_image(argv);
	}
	wait_done();
	gate("DONE fork %d", (int)pid);
}

static void self_mode(char **argv)
{
	alloc_shared();
	gate("DONE shared");
	execl("/proc/self/exe", argv[0], "image", NULL);
	gate_die("exec");
}

static void image_mode(int argc, char **argv)
{
	alloc_in_image();
	if (argc < 4) {
		gate("DONE image");
		return;
	}
	done_pipe[1] = (int)gate_arg(argc, argv, 2, -1);
	turn_pipe[0] = (int)gate_arg(argc, argv, 3, -1);
	turn_pipe[1] = -1;
	say_done();
	wait_turn();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "fork";

	if (!strcmp(mode, "image")) {
		image_mode(argc, argv);
		return 0;
	}
	/* A new image must not hold the pipe open whose end ends it. */
	if (pipe(done_pipe) || pipe(turn_pipe) || fcntl(turn_pipe[1], F_SETFD, FD_CLOEXEC))
		gate_die("pipe");
	gate("READY");
	if (!strcmp(mode, "orphan"))
		orphan_mode();
	else if (!strcmp(mode, "serial"))
		serial_mode();
	else if (!strcmp(mode, "many"))
		many_mode(gate_arg(argc, argv, 2, 11));
	else if (!strcmp(mode, "chain"))
		chain_mode(gate_arg(argc, argv, 2, 3));
	else if (!strcmp(mode, "middle"))
		middle_mode();
	else if (!strcmp(mode, "vfree"))
		vfree_mode();
	else if (!strcmp(mode, "again"))
		again_mode();
	else if (!strcmp(mode, "exec"))
		exec_mode(argv, 0);
	else if (!strcmp(mode, "vfork"))
		exec_mode(argv, 1);
	else if (!strcmp(mode, "self"))
		self_mode(argv);
	else
		fork_mode(!strcmp(mode, "grandchild"));
	return 0;
}
