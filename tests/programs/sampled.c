/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * For a trace that samples. Blocks of 25,000 bytes and more, each of which is recorded if one
 * sample in 1 KiB is taken: kept, resized, freed by a child and by the parent, all freed. Then
 * small ones, of which few are: kept, freed at once, by calls that call others, by 7 threads, of
 * many sizes; and all freed.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include "gate.h"

#define MALLOCS  101
#define CALLOCS  53
#define REALLOCS 29
#define ALIGNED  31
#define GROWN    37

static void *mallocs[MALLOCS], *callocs[CALLOCS], *reallocs[REALLOCS], *aligned[ALIGNED],
	*grown[GROWN];

static void *volatile nothing;

static NOINLINE void by_malloc(void)
{
	for (int i = 0; i < MALLOCS; i++)
		mallocs[i] = malloc(30011);
}

static NOINLINE void by_calloc(void)
{
	for (int i = 0; i < CALLOCS; i++)
		callocs[i] = calloc(3, 10007);
}

static NOINLINE void by_realloc(void)
{
	for (int i = 0; i < REALLOCS; i++)
		reallocs[i] = realloc(nothing, 40009);
}

static NOINLINE void by_memalign(void)
{
	for (int i = 0; i < ALIGNED; i++)
		if (posix_memalign(&aligned[i], 64, 26003))
			gate_die("posix_memalign");
}

static NOINLINE void origin(void)
{
	for (int i = 0; i < GROWN; i++)
		grown[i] = malloc(25013);
}

static NOINLINE void grow(void)
{
	for (int i = 0; i < GROWN; i++)
		grown[i] = realloc(grown[i], 50021);
}

static void free_all(void **blocks, long count)
{
	for (long i = 0; i < count; i++)
		free(blocks[i]);
}

/* The child frees 13 of the 101 blocks, the parent 17 others. */
static void forks(void)
{
	int ends[2];
	char byte = 0;
	pid_t pid;

	if (pipe(ends))
		gate_die("pipe");
	pid = fork();
	if (pid < 0)
		gate_die("fork");
	if (!pid) {
		free_all(mallocs, 13);
		if (write(ends[1], &byte, 1) != 1)
			gate_die("write");
		pause();
		_exit(0);
	}
	if (read(ends[0], &byte, 1) != 1)
		gate_die("read");
	free_all(mallocs + 20, 17);
	memset(mallocs + 20, 0, 17 * sizeof(*mallocs));
	gate("FORKED %d", (int)pid);
	kill(pid, SIGKILL);
}

#define SMALL 300007
#define ARRAYS 200003
#define MIXED 100003
#define PER_THREAD 30011
#define THREADS 7

static void *smalls[SMALL], *emptied[SMALL], *arrays[ARRAYS], *mixed[MIXED], *by_threads[THREADS][PER_THREAD];

static NOINLINE void small(void)
{
	for (long i = 0; i < SMALL; i++)
		smalls[i] = malloc(48);
}

static NOINLINE void fleeting(void)
{
	for (long i = 0; i < SMALL; i++) {
		sink = malloc(48);
		free(sink);
	}
}

/* glibc's realloc jumps to malloc, its reallocarray to realloc. */
static NOINLINE void from_nothing(void)
{
	for (long i = 0; i < SMALL; i++)
		emptied[i] = realloc(nothing, 48);
}

static NOINLINE void by_array(void)
{
	for (long i = 0; i < ARRAYS; i++)
		arrays[i] = reallocarray(nothing, 3, 16);
}

/* 1 to 4093 bytes, small ones more often. Returns the sum. */
static NOINLINE long many_sizes(void)
{
	uint32_t random = 12345;
	long sum = 0;

	for (long i = 0; i < MIXED; i++) {
		size_t size;

		random = random * 1664525 + 1013904223;
		size = 1 + (random >> 8) % 4093 % (1 + (random >> 20) % 4093);
		mixed[i] = malloc(size);
		sum += (long)size;
	}
	return sum;
}

static NOINLINE void in_thread(void **blocks)
{
	for (long i = 0; i < PER_THREAD; i++)
		blocks[i] = malloc(96);
}

static void *run_thread(void *arg)
{
	in_thread(arg);
	return NULL;
}

static void threads(void)
{
	pthread_t ids[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&ids[i], NULL, run_thread, by_threads[i]))
			gate_die("pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
}

int main(void)
{
	long sum;

	gate("READY");
	by_malloc();
	by_calloc();
	by_realloc();
	by_memalign();
	origin();
	grow();
	gate("DONE large");
	forks();
	free_all(mallocs, MALLOCS);
	free_all(callocs, CALLOCS);
	free_all(reallocs, REALLOCS);
	free_all(aligned, ALIGNED);
	free_all(grown, GROWN);
	gate("DONE large free");
	small();
	fleeting();
	from_nothing();
	by_array();
	threads();
	sum = many_sizes();
	gate("DONE small %ld", sum);
	free_all(smalls, SMALL);
	free_all(emptied, SMALL);
	free_all(arrays, ARRAYS);
	free_all(mixed, MIXED);
	for (int i = 0; i < THREADS; i++)
		free_all(by_threads[i], PER_THREAD);
	gate("DONE small free");
	return 0;
}
