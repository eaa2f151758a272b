/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Threads that allocate and free at full speed.
 *
 *   churn busy THREADS         already busy at READY, until told; then quiet: every
 *                              block freed, the threads joined. Then it leaks 10,007.
 *   churn forking THREADS      the same, and 53 children while it is busy, which allocate,
 *                              free what they can of their inheritance, and exit
 *   churn growing THREADS      threads that only allocate, and 23 children meanwhile, which stay
 *   churn pairs THREADS PAIRS  PAIRS pairs a thread of one size class, so that the
 *                              same addresses come again at once, from every thread
 *   churn exit THREADS         _exit(0) while the threads are inside malloc and free
 *   churn steady THREADS       one pair a millisecond and thread, from 7 sites, until
 *                              told: a long-lived service
 *
 * In pairs mode every thread keeps 11 blocks. In growing mode "DONE growing" is
 * followed by triples: a process, and how many calls had ended and begun when
 * it was forked; the last is the parent itself.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "gate.h"

#define MAX_THREADS 16
#define WORKING_SET 64

static pthread_t threads[MAX_THREADS];
static long thread_cnt;
static long pair_cnt;
static atomic_bool stop;

static NOINLINE void churn_once(void *volatile *slots, unsigned int *seed)
{
	unsigned int slot = rand_r(seed) % WORKING_SET;

	free(slots[slot]);
	slots[slot] = malloc(16 + rand_r(seed) % 2000);
}

static void *busy_thread(void *arg)
{
	void *volatile slots[WORKING_SET] = {NULL};
	unsigned int seed = (unsigned int)(long)arg;

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		churn_once(slots, &seed);
	for (int i = 0; i < WORKING_SET; i++)
		free(slots[i]);
	return NULL;
}

static NOINLINE void leak_when_quiet(void)
{
	for (int i = 0; i < 10007; i++)
		sink = malloc(601);
}

/* One block at a time, of one size: malloc gives back what was just freed. */
static NOINLINE void pairs(void)
{
	void *volatile block;

	for (long i = 0; i < pair_cnt; i++) {
		block = malloc(48);
		free(block);
	}
}

static NOINLINE void keep_after_pairs(void)
{
	for (int i = 0; i < 11; i++)
		sink = malloc(48);
}

/* Blocks that another thread frees: an address goes from thread to thread. */
static NOINLINE void hand_over(void)
{
	static _Atomic(void *) mailbox;

	for (long i = 0; i < pair_cnt / 8; i++)
		free(atomic_exchange(&mailbox, malloc(48)));
	free(atomic_exchange(&mailbox, NULL));
}

static void *pairs_thread(void *arg)
{
	pairs();
	hand_over();
	keep_after_pairs();
	return arg;
}

#define STEADY(n)                                                                                  \
	static NOINLINE void steady_##n(void)                                                      \
	{                                                                                          \
		void *volatile block = malloc(100 + (n));                                          \
                                                                                                   \
		usleep(1000);                                                                      \
		free(block);                                                                       \
	}

STEADY(0)
STEADY(1)
STEADY(2)
STEADY(3)
STEADY(4)
STEADY(5)
STEADY(6)

static void *steady_thread(void *arg)
{
	static void (*const sites[])(void) = {steady_0, steady_1, steady_2, steady_3,
					      steady_4, steady_5, steady_6};

	for (unsigned int i = 0; !stop; i++)
		sites[i % 7]();
	return arg;
}

static void start(void *(*function)(void *))
{
	for (long i = 0; i < thread_cnt; i++)
		if (pthread_create(&threads[i], NULL, function, (void *)i))
			gate_die("pthread_create");
}

static void join(void)
{
	for (long i = 0; i < thread_cnt; i++)
		pthread_join(threads[i], NULL);
}

/* In the child only this thread goes on; the others' blocks are nobody's. */
static void fork_children(void)
{
	for (int i = 0; i < 53; i++) {
		void *volatile mine = malloc(607);
		pid_t pid = fork();

		if (pid == 0) {
			free(mine);
			for (int k = 0; k < 101; k++)
				sink = malloc(613);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		free(mine);
	}
}

static void busy_mode(bool forking)
{
	start(busy_thread);
	gate("READY");
	if (forking)
		fork_children();
	usleep(200000);
	atomic_store(&stop, true);
	join();
	gate("DONE quiet");
	leak_when_quiet();
	gate("DONE leaks");
}

static void pairs_mode(void)
{
	gate("READY");
	start(pairs_thread);
	join();
	gate("DONE pairs");
}

#define GROWING_CNT 23

static atomic_long begun_cnt, ended_cnt;

static NOINLINE void grow(void)
{
	atomic_fetch_add(&begun_cnt, 1);
	sink = malloc(701);
	atomic_fetch_add(&ended_cnt, 1);
}

static void *growing_thread(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		grow();
	return arg;
}

/* Forked in the middle of the threads' calls; says what it has in its copy of the memory. */
static void growing_child(int pipe_end)
{
	long numbers[] = {getpid(), ended_cnt, begun_cnt};

	if (write(pipe_end, numbers, sizeof(numbers)) != sizeof(numbers))
		_exit(98);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void growing_mode(void)
{
	char line[2048];
	int ends[2], len = 0;
	long numbers[3];

	if (pipe(ends))
		gate_die("pipe");
	gate("READY");
	start(growing_thread);
	for (int i = 0; i < GROWING_CNT; i++) {
		usleep(2000);
		if (fork() == 0)
			growing_child(ends[1]);
		if (read(ends[0], numbers, sizeof(numbers)) != sizeof(numbers))
			gate_die("read");
		len += snprintf(line + len, sizeof(line) - (size_t)len, " %ld %ld %ld", numbers[0],
				numbers[1], numbers[2]);
	}
	atomic_store(&stop, true);
	join();
	len = snprintf(line + len, sizeof(line) - (size_t)len, " %ld %ld %ld\n", (long)getpid(),
		       (long)ended_cnt, (long)begun_cnt) +
	      len;
	if (write(STDOUT_FILENO, "DONE growing", 12) < 0 ||
	    write(STDOUT_FILENO, line, (size_t)len) < 0)
		gate_die("write");
	gate_wait();
}

static void exit_mode(void)
{
	gate("READY");
	start(busy_thread);
	gate("DONE busy");
	_exit(0);
}

static void steady_mode(void)
{
	start(steady_thread);
	gate("READY");
	atomic_store(&stop, true);
	join();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "busy";

	thread_cnt = gate_arg(argc, argv, 2, 4);
	pair_cnt = gate_arg(argc, argv, 3, 1000);
	if (thread_cnt < 1 || thread_cnt > MAX_THREADS)
		gate_die("threads");
	if (!strcmp(mode, "pairs"))
		pairs_mode();
	else if (!strcmp(mode, "growing"))
		growing_mode();
	else if (!strcmp(mode, "exit"))
		exit_mode();
	else if (!strcmp(mode, "steady"))
		steady_mode();
	else
		busy_mode(!strcmp(mode, "forking"));
	return 0;
}
