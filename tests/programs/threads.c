/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Blocks and threads: held by a thread that dies, freed by another thread, and
 * two threads, one on each of two CPUs, allocating at one site at once.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include "gate.h"

#define DYING_CNT  211
#define RACERS	   2
#define RACE_KEPT  50021
#define RACE_CHURN 20011

static void *dying_blocks[DYING_CNT];
static pthread_barrier_t start;

static NOINLINE void alloc_in_dying_thread(void)
{
	for (int i = 0; i < DYING_CNT; i++)
		dying_blocks[i] = malloc(223);
}

static NOINLINE void free_in_other_thread(int count)
{
	for (int i = 0; i < count; i++)
		free(dying_blocks[i]);
}

static NOINLINE void race(void)
{
	void *kept;

	for (int i = 0; i < RACE_KEPT; i++) {
		kept = malloc(17); /* LINE: race */
		sink = kept;
		if (i < RACE_CHURN) {
			void *volatile churn = malloc(17);

			free(churn);
		}
	}
}

static void *dying_thread(void *arg)
{
	alloc_in_dying_thread();
	return arg;
}

static void *freeing_thread(void *arg)
{
	free_in_other_thread(97);
	return arg;
}

static void *racing_thread(void *arg)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)arg, &cpus);
	/* With one CPU only they race all the same, less often. */
	sched_setaffinity(0, sizeof(cpus), &cpus);
	pthread_barrier_wait(&start);
	race();
	return NULL;
}

static void run(void *(*function)(void *), long count)
{
	pthread_t threads[RACERS];

	for (long i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, function, (void *)i))
			gate_die("pthread_create");
	for (long i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	pthread_barrier_init(&start, NULL, RACERS);
	gate("READY");
	run(dying_thread, 1);
	gate("DONE dying");
	run(freeing_thread, 1);
	gate("DONE freeing");
	run(racing_thread, RACERS);
	gate("DONE race");
	return 0;
}
