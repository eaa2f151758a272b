/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * storm THREADS OPERATIONS: every operation of the allocator at random, on slots
 * that all threads share, so that blocks are resized and freed by threads that
 * did not allocate them and addresses go round at once. What is asked for last
 * counts: each slot knows it. At the end all slots with an odd number are freed.
 *
 * "DONE storm BLOCKS BYTES ALLOCATIONS FREES": what must be outstanding, and how
 * many blocks were begun and ended (a realloc that succeeds is one of each).
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "gate.h"

#define MAX_THREADS 16
#define SLOT_CNT    64
#define MAX_SIZE    3000

struct held {
	void *block;
	size_t size;
};

/* Taken by whoever sets is_taken. */
static struct slot {
	atomic_bool is_taken;
	struct held held;
} slots[SLOT_CNT];

static atomic_long alloc_cnt, free_cnt;
static long operation_cnt;
static volatile size_t huge = PTRDIFF_MAX / 2;

static NOINLINE void storm_alloc(struct held *held, unsigned int kind, size_t size)
{
	held->size = size;
	switch (kind) {
	case 0:
		held->block = calloc(1, size);
		break;
	case 1:
		held->block = aligned_alloc(64, size);
		break;
	case 2:
		if (posix_memalign(&held->block, 128, size))
			gate_die("posix_memalign");
		break;
	case 3:
		held->block = memalign(32, size);
		break;
	case 4:
		held->block = reallocarray(NULL, 1, size);
		break;
	case 5:
		held->block = realloc(NULL, size);
		break;
	default:
		held->block = malloc(size);
	}
	atomic_fetch_add(&alloc_cnt, 1);
}

static NOINLINE void storm_resize(struct held *held, size_t size)
{
	void *block;

	if (size % 13 == 0) {
		if (realloc(held->block, huge))
			gate_die("a huge realloc succeeded");
		return;
	}
	block = size % 2 ? realloc(held->block, size) : reallocarray(held->block, size / 2, 2);
	if (!block)
		gate_die("realloc");
	held->block = block;
	held->size = size;
	atomic_fetch_add(&alloc_cnt, 1);
	atomic_fetch_add(&free_cnt, 1);
}

static NOINLINE void storm_free(struct held *held, unsigned int kind)
{
	if (kind)
		free(held->block);
	else
		sink = realloc(held->block, 0);
	held->block = NULL;
	atomic_fetch_add(&free_cnt, 1);
}

static void operate(struct held *held, unsigned int *seed)
{
	unsigned int kind = (unsigned int)rand_r(seed) % 12;
	size_t size = 1 + (size_t)rand_r(seed) % MAX_SIZE;

	if (!held->block)
		storm_alloc(held, kind, size);
	else if (kind < 7)
		storm_resize(held, size);
	else
		storm_free(held, kind - 7);
}

static void *storm_thread(void *arg)
{
	unsigned int seed = (unsigned int)(long)arg;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)arg % 2, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	for (long i = 0; i < operation_cnt; i++) {
		struct slot *slot = &slots[(unsigned int)rand_r(&seed) % SLOT_CNT];

		if (atomic_exchange(&slot->is_taken, true))
			continue;
		operate(&slot->held, &seed);
		atomic_store(&slot->is_taken, false);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long thread_cnt = gate_arg(argc, argv, 1, 4), cnt = 0;
	pthread_t threads[MAX_THREADS];
	size_t bytes = 0;

	operation_cnt = gate_arg(argc, argv, 2, 100000);
	if (thread_cnt < 1 || thread_cnt > MAX_THREADS)
		gate_die("threads");
	gate("READY");
	for (long i = 0; i < thread_cnt; i++)
		if (pthread_create(&threads[i], NULL, storm_thread, (void *)i))
			gate_die("pthread_create");
	for (long i = 0; i < thread_cnt; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SLOT_CNT; i++) {
		if (slots[i].held.block && i % 2)
			storm_free(&slots[i].held, 1);
		if (!slots[i].held.block)
			continue;
		cnt++;
		bytes += slots[i].held.size;
	}
	gate("DONE storm %ld %zu %ld %ld", cnt, bytes, (long)alloc_cnt, (long)free_cnt);
	return 0;
}
