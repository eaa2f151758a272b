/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The bench's victim: alloc_loop [-D DEPTH]. It says READY and takes commands, a
 * line each, so that a tracer is attached once for several measurements:
 *
 *   tight THREADS MS      malloc(64) and free
 *   live THREADS MS       replaces a random one of LIVE_CNT live blocks of random size
 *   hold BLOCKS SITES     allocates BLOCKS blocks by SITES different call paths, and keeps them
 *   totals                of all of these so far
 *
 * The first two answer "ns N pairs N": nanoseconds per malloc+free pair of a
 * thread, the mean of the threads, and how many pairs all of them did. The third
 * answers "held N", the last "totals COUNT BYTES COUNT BYTES": what was allocated,
 * and what of that is live. It ends with its input.
 *
 * A loop runs for a time and not for a number of pairs: what is measured differs
 * by a factor of 10,000. It looks at the clock once in BATCH_PAIRS.
 *
 * Every allocation is made DEPTH calls deep (default 10), so that there is a stack
 * to walk; the functions on the way differ in the size of their frames and are
 * never tail calls. Built twice, with frame pointers and without.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE       __attribute__((noinline))
#define BATCH_PAIRS    500
#define TIGHT_BYTES    64
#define LIVE_CNT       100000
#define LIVE_MIN_BYTES 16
#define LIVE_MAX_BYTES 2048
#define HELD_BYTES     64
#define PATH_LEVELS    14 /* of two functions each: 16,384 call paths */
#define MAX_THREADS    64
#define MAX_DEPTH      100
#define SEED           0x9e3779b97f4a7c15ull

/* After a call: what follows it must be executed, so it is no tail call, and locals stay. */
#define KEEP_FRAME(local) __asm__ volatile("" : : "r"(local) : "memory")

static unsigned int depth = 10;

/* A level of the call path with a frame of its own size; the last one allocates. */
#define LEVEL(number, next)                                                                        \
	static NOINLINE void *level_##number(unsigned int left, size_t size_bytes)                 \
	{                                                                                          \
		char frame[16 * (number) + 8];                                                     \
		void *block;                                                                       \
                                                                                                   \
		block = left ? level_##next(left - 1, size_bytes) : malloc(size_bytes);            \
		KEEP_FRAME(frame);                                                                 \
		return block;                                                                      \
	}

static void *level_0(unsigned int left, size_t size_bytes);
LEVEL(7, 0)
LEVEL(6, 7)
LEVEL(5, 6)
LEVEL(4, 5)
LEVEL(3, 4)
LEVEL(2, 3)
LEVEL(1, 2)
LEVEL(0, 1)

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "alloc_loop: %s: %s\n", what, strerror(errno));
	_exit(1);
}

/* The caller's frame counts as one: level_0 for depth 1, malloc straight from the loop for 0. */
static inline void *allocate(size_t size_bytes)
{
	void *block = depth ? level_0(depth - 1, size_bytes) : malloc(size_bytes);

	if (!block)
		die("malloc");
	*(volatile char *)block = 1;
	return block;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* xorshift64*: the same sequence in every run. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

struct totals {
	uint64_t cnt, bytes;
};

/* One thread's work. Its live set and totals stay from one command to the next. */
struct loop {
	pthread_t thread;
	pthread_barrier_t *start;
	uint64_t run_ns;
	uint64_t random;
	void **blocks; /* the live set; NULL before the first */
	uint16_t *sizes; /* of the blocks; there, and not in them: reading those would take time */
	int is_live;
	double pair_ns;
	uint64_t pair_cnt;
	struct totals all, live;
};

static NOINLINE void tight_batch(struct loop *loop)
{
	for (int i = 0; i < BATCH_PAIRS; i++)
		free(allocate(TIGHT_BYTES));
	loop->all.cnt += BATCH_PAIRS;
	loop->all.bytes += BATCH_PAIRS * TIGHT_BYTES;
}

static size_t random_size(struct loop *loop)
{
	uint64_t span = LIVE_MAX_BYTES - LIVE_MIN_BYTES + 1;

	return LIVE_MIN_BYTES + (next_random(&loop->random) >> 32) % span;
}

static NOINLINE void live_batch(struct loop *loop)
{
	for (int i = 0; i < BATCH_PAIRS; i++) {
		uint64_t victim = (next_random(&loop->random) >> 32) % LIVE_CNT;
		size_t size_bytes = random_size(loop);

		free(loop->blocks[victim]);
		loop->blocks[victim] = allocate(size_bytes);
		loop->live.bytes += size_bytes - loop->sizes[victim];
		loop->all.bytes += size_bytes;
		loop->sizes[victim] = (uint16_t)size_bytes;
	}
	loop->all.cnt += BATCH_PAIRS;
}

static void run_for(struct loop *loop, void (*batch)(struct loop *), uint64_t run_ns)
{
	uint64_t start_ns = now_ns(), elapsed_ns;

	loop->pair_cnt = 0;
	do {
		batch(loop);
		loop->pair_cnt += BATCH_PAIRS;
		elapsed_ns = now_ns() - start_ns;
	} while (elapsed_ns < run_ns);
	loop->pair_ns = (double)elapsed_ns / (double)loop->pair_cnt;
}

static void fill_live_set(struct loop *loop)
{
	loop->blocks = calloc(LIVE_CNT, sizeof(*loop->blocks));
	loop->sizes = calloc(LIVE_CNT, sizeof(*loop->sizes));
	if (!loop->blocks || !loop->sizes)
		die("calloc");
	loop->random = SEED;
	for (int i = 0; i < LIVE_CNT; i++) {
		size_t size_bytes = random_size(loop);

		loop->blocks[i] = allocate(size_bytes);
		loop->sizes[i] = (uint16_t)size_bytes;
		loop->live.bytes += size_bytes;
	}
	loop->live.cnt = LIVE_CNT;
	loop->all.cnt += LIVE_CNT;
	loop->all.bytes += loop->live.bytes;
}

static void *run_thread(void *arg)
{
	struct loop *loop = arg;
	void (*batch)(struct loop *) = loop->is_live ? live_batch : tight_batch;

	if (loop->is_live && !loop->blocks)
		fill_live_set(loop);
	/* The warm-up; then together, so that all of the measured time is contended. */
	run_for(loop, batch, loop->run_ns / 10);
	pthread_barrier_wait(loop->start);
	run_for(loop, batch, loop->run_ns);
	return NULL;
}

static struct loop loops[MAX_THREADS];

static void measure(int is_live, unsigned int thread_cnt, uint64_t run_ns)
{
	pthread_barrier_t start;
	double sum_ns = 0;
	uint64_t pair_cnt = 0;

	if (!thread_cnt || thread_cnt > MAX_THREADS)
		thread_cnt = 1;
	pthread_barrier_init(&start, NULL, thread_cnt);
	for (unsigned int i = 0; i < thread_cnt; i++) {
		struct loop *loop = &loops[i];

		loop->start = &start;
		loop->run_ns = run_ns;
		loop->is_live = is_live;
		errno = pthread_create(&loop->thread, NULL, run_thread, loop);
		if (errno)
			die("pthread_create");
	}
	for (unsigned int i = 0; i < thread_cnt; i++) {
		pthread_join(loops[i].thread, NULL);
		sum_ns += loops[i].pair_ns;
		pair_cnt += loops[i].pair_cnt;
	}
	pthread_barrier_destroy(&start);
	printf("ns %.3f pairs %llu\n", sum_ns / thread_cnt, (unsigned long long)pair_cnt);
}

/* The bits of path choose between two functions at each level. */
static NOINLINE void *path_left(unsigned int path, unsigned int levels);

static NOINLINE void *path_right(unsigned int path, unsigned int levels)
{
	void *block;

	if (!levels)
		block = malloc(HELD_BYTES);
	else if (path & 1)
		block = path_right(path >> 1, levels - 1);
	else
		block = path_left(path >> 1, levels - 1);
	KEEP_FRAME(NULL);
	return block;
}

static NOINLINE void *path_left(unsigned int path, unsigned int levels)
{
	char frame[40];
	void *block;

	if (!levels)
		block = malloc(HELD_BYTES);
	else if (path & 1)
		block = path_right(path >> 1, levels - 1);
	else
		block = path_left(path >> 1, levels - 1);
	KEEP_FRAME(frame);
	return block;
}

static struct totals held;

static void hold(unsigned int block_cnt, unsigned int site_cnt)
{
	if (!site_cnt || site_cnt > 1u << PATH_LEVELS)
		site_cnt = 1;
	for (unsigned int i = 0; i < block_cnt; i++)
		if (!path_left(i % site_cnt, PATH_LEVELS))
			die("malloc");
	held.cnt += block_cnt;
	held.bytes += (uint64_t)block_cnt * HELD_BYTES;
	printf("held %u\n", block_cnt);
}

static void print_totals(void)
{
	struct totals all = held, live = held;

	for (int i = 0; i < MAX_THREADS; i++) {
		all.cnt += loops[i].all.cnt;
		all.bytes += loops[i].all.bytes;
		live.cnt += loops[i].live.cnt;
		live.bytes += loops[i].live.bytes;
	}
	printf("totals %llu %llu %llu %llu\n", (unsigned long long)all.cnt,
	       (unsigned long long)all.bytes, (unsigned long long)live.cnt,
	       (unsigned long long)live.bytes);
}

static void obey(const char *line)
{
	unsigned int first, second;

	if (sscanf(line, "tight %u %u", &first, &second) == 2)
		measure(0, first, second * 1000000ull);
	else if (sscanf(line, "live %u %u", &first, &second) == 2)
		measure(1, first, second * 1000000ull);
	else if (sscanf(line, "hold %u %u", &first, &second) == 2)
		hold(first, second);
	else if (!strncmp(line, "totals", 6))
		print_totals();
	else
		printf("unknown: %s", line);
}

int main(int argc, char **argv)
{
	char line[80];
	int opt;

	while ((opt = getopt(argc, argv, "D:")) != -1) {
		if (opt != 'D')
			return 2;
		depth = (unsigned int)strtoul(optarg, NULL, 10);
		if (depth > MAX_DEPTH)
			depth = MAX_DEPTH;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("READY");
	while (fgets(line, sizeof(line), stdin))
		obey(line);
	return 0;
}
