/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * spawner RATE SECONDS: starts so many processes a second for so long, each of which keeps 5 of 7
 * blocks and ends; says how many there were. They execute this program again, without arguments.
 */
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

#include "gate.h"

extern char **environ;

static NOINLINE void short_life(void)
{
	void *blocks[7];

	for (int i = 0; i < 7; i++)
		sink = blocks[i] = malloc(997);
	free(blocks[1]);
	free(blocks[4]);
}

static void wait_until(struct timespec start, long ns)
{
	struct timespec at = start;

	at.tv_sec += ns / 1000000000;
	at.tv_nsec += ns % 1000000000;
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void spawn(char *path)
{
	char *argv[] = {path, NULL};
	pid_t pid;

	if (posix_spawn(&pid, path, NULL, NULL, argv, environ))
		gate_die("spawn");
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(int argc, char **argv)
{
	long rate = gate_arg(argc, argv, 1, 0), seconds = gate_arg(argc, argv, 2, 0);
	struct timespec start;
	long cnt = 0;

	if (argc < 2) {
		short_life();
		_exit(0);
	}
	gate("READY");
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (; cnt < rate * seconds; cnt++) {
		wait_until(start, cnt * (1000000000 / rate));
		spawn(argv[0]);
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
	gate("DONE spawn %ld", cnt);
	return 0;
}
