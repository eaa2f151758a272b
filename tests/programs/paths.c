/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * paths BITS ROUNDS THREADS: every thread, at once, allocates a block a round from
 * each of 2^BITS stacks: left or right by each bit of the path's number.
 */
#include <pthread.h>
#include "gate.h"

#define MAX_THREADS 16

static long bits, rounds;
static pthread_barrier_t start;

static void step(long path, long bit);

static NOINLINE void left(long path, long bit)
{
	step(path, bit);
	__asm__ volatile("" ::: "memory"); /* no tail call */
}

static NOINLINE void right(long path, long bit)
{
	step(path, bit);
	__asm__ volatile("" ::: "memory");
}

static NOINLINE void step(long path, long bit)
{
	if (bit == bits)
		sink = malloc(919);
	else if (path >> bit & 1)
		right(path, bit + 1);
	else
		left(path, bit + 1);
	__asm__ volatile("" ::: "memory");
}

static void *run_paths(void *arg)
{
	pthread_barrier_wait(&start);
	for (long round = 0; round < rounds; round++)
		for (long path = 0; path < 1L << bits; path++)
			step(path, 0);
	return arg;
}

int main(int argc, char **argv)
{
	long thread_cnt = gate_arg(argc, argv, 3, 2);
	pthread_t threads[MAX_THREADS];

	bits = gate_arg(argc, argv, 1, 8);
	rounds = gate_arg(argc, argv, 2, 1);
	if (thread_cnt < 1 || thread_cnt > MAX_THREADS || bits < 0 || bits > 20)
		gate_die("arguments");
	pthread_barrier_init(&start, NULL, (unsigned int)thread_cnt);
	gate("READY");
	for (long i = 0; i < thread_cnt; i++)
		if (pthread_create(&threads[i], NULL, run_paths, NULL))
			gate_die("pthread_create");
	for (long i = 0; i < thread_cnt; i++)
		pthread_join(threads[i], NULL);
	gate("DONE paths");
	return 0;
}
