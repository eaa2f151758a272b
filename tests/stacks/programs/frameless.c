/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * frameless SECONDS: allocates at the end of call paths of all shapes that a
 * C compiler makes without frame pointers: recursion, frames of variable size
 * (these do have one), many saved registers, callbacks through libc, tail
 * calls, calls that do not return, threads, and a signal handler that
 * interrupts code with and without a frame pointer.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noipa))
#endif
#define KEPT     256
#define THREADS  2

static atomic_bool is_over;

/* What a thread allocates lives for a while. */
struct pool {
	void *blocks[KEPT];
	unsigned int next;
	uint32_t random;
};

static uint32_t next_random(struct pool *pool)
{
	pool->random = pool->random * 1664525u + 1013904223u;
	return pool->random >> 8;
}

static void keep(struct pool *pool, void *block)
{
	unsigned int i = pool->next++ % KEPT;

	free(pool->blocks[i]);
	pool->blocks[i] = block;
}

NOINLINE static void leaf(struct pool *pool)
{
	void *block = NULL;

	switch (next_random(pool) % 5) {
	case 0:
		keep(pool, malloc(33));
		break;
	case 1:
		keep(pool, calloc(3, 11));
		break;
	case 2:
		keep(pool, realloc(malloc(5), 5000));
		break;
	case 3:
		if (!posix_memalign(&block, 64, 100))
			keep(pool, block);
		break;
	case 4:
		keep(pool, strdup("a string"));
		break;
	}
}

typedef void shape_fn(struct pool *pool, unsigned int depth);
static shape_fn choose;

/* The frame's size is only known at run time. */
NOINLINE static void variable_frame(struct pool *pool, unsigned int depth)
{
	size_t size = 16 + next_random(pool) % 600;
	volatile char *bytes = __builtin_alloca(size);

	bytes[0] = 1;
	choose(pool, depth);
	bytes[size - 1] = bytes[0];
}

/* Registers that the callee must save, arguments on the stack. */
NOINLINE static long many_arguments(long a, long b, long c, long d, long e, long f, long g, long h,
				    struct pool *pool, unsigned int depth)
{
	long x = a * b, y = c * d, z = e * f;

	choose(pool, depth);
	return x + y + z + g * h + a + c + e;
}

NOINLINE static void many_registers(struct pool *pool, unsigned int depth)
{
	volatile long sink = many_arguments(depth, 2, 3, 4, 5, 6, 7, 8, pool, depth);

	(void)sink;
}

NOINLINE static void large_frame(struct pool *pool, unsigned int depth)
{
	volatile char bytes[1500];

	bytes[depth] = 1;
	choose(pool, depth);
	bytes[depth + 1] = bytes[depth];
}

NOINLINE static void aligned_frame(struct pool *pool, unsigned int depth)
{
	volatile char bytes[128] __attribute__((aligned(64)));

	bytes[depth & 127] = 1;
	choose(pool, depth);
	bytes[depth & 127]++;
}

__attribute__((noreturn)) NOINLINE static void leave(struct pool *pool, unsigned int depth,
						     sigjmp_buf out)
{
	choose(pool, depth);
	siglongjmp(out, 1);
}

/* Ends with a call: the return address is already the next function's. */
__attribute__((noreturn)) NOINLINE static void end_with_call(struct pool *pool, unsigned int depth,
							     sigjmp_buf out)
{
	volatile char bytes[200] = {0};

	leave(pool, depth + bytes[0], out);
}

NOINLINE static void not_returning(struct pool *pool, unsigned int depth)
{
	sigjmp_buf out;

	if (!sigsetjmp(out, 0))
		end_with_call(pool, depth, out);
}

static __thread struct pool *sorting;
static __thread unsigned int sorting_depth;

static int compare_and_go_on(const void *a, const void *b)
{
	if (sorting && next_random(sorting) % 8 == 0) {
		struct pool *pool = sorting;

		sorting = NULL;
		choose(pool, sorting_depth);
	}
	return *(const int *)a - *(const int *)b;
}

NOINLINE static void through_libc(struct pool *pool, unsigned int depth)
{
	int numbers[12];

	for (int i = 0; i < 12; i++)
		numbers[i] = next_random(pool) & 0xff;
	sorting = pool;
	sorting_depth = depth;
	qsort(numbers, 12, sizeof(numbers[0]), compare_and_go_on);
	sorting = NULL;
}

NOINLINE static void tail_call(struct pool *pool, unsigned int depth)
{
	choose(pool, depth);
}

NOINLINE static void print(struct pool *pool, unsigned int depth)
{
	FILE *file = tmpfile();
	char *text = NULL;

	if (file)
		fclose(file);
	if (asprintf(&text, "%s %u %f", "depth", depth, 0.1 * depth) > 0)
		keep(pool, text);
}

static shape_fn *const shapes[] = {
	variable_frame, many_registers, large_frame, aligned_frame,
	through_libc,	tail_call,	not_returning,	many_registers,
};

NOINLINE static void choose(struct pool *pool, unsigned int depth)
{
	uint32_t random = next_random(pool);

	if (!depth && random % 64 == 0)
		print(pool, depth);
	else if (!depth || random % 16 == 0)
		leaf(pool);
	else
		shapes[(random >> 8) % (sizeof(shapes) / sizeof(shapes[0]))](pool, depth - 1);
}

static struct pool signal_pool = {.random = 77};

/* Only ever interrupts compute(): malloc is not for signal handlers. */
static void on_signal(int sig)
{
	(void)sig;
	choose(&signal_pool, 3);
}

static void block_signal(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(how, &set, NULL);
}

/* Pushes and pops, so that the interrupted place is any instruction of a function. */
NOINLINE static long compute(long n)
{
	return n < 2 ? n : compute(n - 1) + (compute(n - 2) ^ n);
}

/* The same where the frame is found by rbp, and with calls through a stub of .plt. */
NOINLINE static long compute_variable(long n)
{
	char *volatile text = __builtin_alloca(n + 20);

	strcpy(text, "some text");
	return n < 2 ? (long)strlen(text) : compute_variable(n - 1) + compute_variable(n - 2);
}

static void *work(void *arg)
{
	struct pool pool = {.random = (uintptr_t)arg};

	while (!is_over) {
		for (int i = 0; i < 20; i++)
			choose(&pool, next_random(&pool) % 12);
		/* The signal handler's stacks are to be a good part of all. */
		usleep(20000);
	}
	for (int i = 0; i < KEPT; i++)
		free(pool.blocks[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	struct itimerval timer = {{0, 1000}, {0, 1000}};
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t threads[THREADS];

	block_signal(SIG_BLOCK);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	while (time(NULL) < end) {
		volatile long result;

		block_signal(SIG_UNBLOCK);
		result = compute(18) + compute_variable(15);
		block_signal(SIG_BLOCK);
		(void)result;
	}
	is_over = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
