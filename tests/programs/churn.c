/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Threads that allocate and free at full speed.
 *
 *   churn busy THREADS         already busy at READY, until told; then quiet: every
 *                              block freed, the threads joined. Then it leaks 10,007.
 *   churn forking THREADS      the same, and 53 children while it is busy, which allocate,
 *                              free what they can of their inheritance, and exit
 *   churn pairs THREADS PAIRS  PAIRS pairs a thread of one size class, so that the
 *                              same addresses come again at once, from every thread
 *   churn exit THREADS         _exit(0) while the threads are inside malloc and free
 *   churn steady THREADS       one pair a millisecond and thread, from 7 sites, until
 *                              told: a long-lived service
 *
 * In pairs mode every thread keeps 11 blocks.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
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
STEADY(1) STEADY(2) STEADY(3) STEADY(4) STEADY(5) STEADY(6)

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
	else if (!strcmp(mode, "exit"))
		exit_mode();
	else if (!strcmp(mode, "steady"))
		steady_mode();
	else
		busy_mode(!strcmp(mode, "forking"));
	return 0;
}
