/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * swap A B SECONDS THREADS: two libraries take turns at one address. Each turn
 * loads one, leaves one block of 1,000 bytes by it, and unloads it. Threads map
 * and unmap memory meanwhile, so that the mappings are being changed while
 * stacks are walked, and leave a block each now and then.
 *
 * "DONE swap A B SAME BUSY": blocks by A, by B, turns at the address that the
 * other had the turn before, the threads' blocks.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <time.h>
#include "gate.h"

#define MAX_THREADS 8

static atomic_bool stop;
static atomic_long busy_cnt;

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static NOINLINE void leak_when_busy(void)
{
	sink = malloc(2000);
	atomic_fetch_add(&busy_cnt, 1);
}

static void *map_and_unmap(void *arg)
{
	for (long i = 0; !stop; i++) {
		void *memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			gate_die("mmap");
		*(volatile char *)memory = 1;
		munmap(memory, 1 << 16);
		if (i % 64 == 0)
			leak_when_busy();
	}
	return arg;
}

/* One turn. Returns where the function was. */
static NOINLINE void *turn(const char *path, const char *name)
{
	void *lib = dlopen(path, RTLD_NOW);
	void *(*calls)(void) = lib ? dlsym(lib, name) : NULL;

	if (!calls)
		gate_die("dlopen");
	sink = calls();
	dlclose(lib);
	return (void *)calls;
}

static NOINLINE void use_a(const char *path, void **at)
{
	*at = turn(path, "calls_of_a");
}

static NOINLINE void use_b(const char *path, void **at)
{
	*at = turn(path, "calls_of_b");
}

int main(int argc, char **argv)
{
	long turns = 0, same = 0, thread_cnt = gate_arg(argc, argv, 4, 1);
	void *a = NULL, *b = NULL;
	pthread_t threads[MAX_THREADS];
	double end;

	if (argc < 4 || thread_cnt < 0 || thread_cnt > MAX_THREADS)
		gate_die("arguments");
	gate("READY");
	end = now_s() + (double)gate_arg(argc, argv, 3, 10);
	for (long i = 0; i < thread_cnt; i++)
		if (pthread_create(&threads[i], NULL, map_and_unmap, NULL))
			gate_die("pthread_create");
	while (now_s() < end) {
		use_a(argv[1], &a);
		same += a == b;
		use_b(argv[2], &b);
		same += a == b;
		turns++;
	}
	stop = true;
	for (long i = 0; i < thread_cnt; i++)
		pthread_join(threads[i], NULL);
	gate("DONE swap %ld %ld %ld %ld", turns, turns, same, (long)busy_cnt);
	return 0;
}
