/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Frames of every shape that a compiler makes, in code without frame pointers.
 * Each case has a name, which is its argument and its first function's; one
 * block of 1,000 bytes is left at each. test_stacks.py has the stacks that must
 * come out, frame by frame. The second argument is plugin.nofp.so's path.
 *
 * noipa: one symbol and one frame a function, whatever the optimiser would like.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <pthread.h>
#include <search.h>
#include "gate.h"

#define NOIPA __attribute__((noipa))
#define SIZE  1000

/* What keeps a call from being a tail call, and a buffer from being dropped. */
#define KEEP(pointer) __asm__ volatile("" ::"r"(pointer) : "memory")

static NOIPA void leak(void)
{
	sink = malloc(SIZE);
}

static NOIPA void plain(void)
{
	leak();
	KEEP(0);
}

static NOIPA int recursion_step(int depth)
{
	int below = 0;

	if (depth)
		below = recursion_step(depth - 1);
	else
		leak();
	KEEP(&below);
	return below + 1;
}

static NOIPA void recursion(void)
{
	recursion_step(40);
	KEEP(0);
}

static NOIPA void even(int depth);

static NOIPA void odd(int depth)
{
	char room[24];

	KEEP(room);
	if (depth)
		even(depth - 1);
	KEEP(room);
}

static NOIPA void even(int depth)
{
	char room[120];

	KEEP(room);
	if (depth)
		odd(depth - 1);
	else
		leak();
	KEEP(room);
}

static NOIPA void mutual(void)
{
	even(10);
	KEEP(0);
}

static NOIPA void too_deep(void)
{
	recursion_step(300);
	KEEP(0);
}

static NOIPA void with_alloca(size_t size)
{
	char *room = alloca(size);

	room[0] = 1;
	KEEP(room);
	leak();
	KEEP(room);
}

static NOIPA void alloca_small(void)
{
	with_alloca(24);
	KEEP(0);
}

/* Far more than the window of stack that is read at a time. */
static NOIPA void alloca_big(void)
{
	with_alloca(300000);
	KEEP(0);
}

static NOIPA void big_frame_inner(void)
{
	char room[100000];

	KEEP(room);
	leak();
	KEEP(room);
}

static NOIPA void big_frame(void)
{
	char room[200000];

	KEEP(room);
	big_frame_inner();
	KEEP(room);
}

/* More than a rule can say: the stack may end here, but not go astray. */
static NOIPA void huge_frame(void)
{
	char room[2000000];

	KEEP(room);
	leak();
	KEEP(room);
}

/* A frame that is aligned on entry: the CFA is found through memory. */
static NOIPA void aligned_frame(int n)
{
	_Alignas(64) char room[256];

	KEEP(room);
	if (n)
		aligned_frame(n - 1);
	else
		leak();
	KEEP(room);
}

static NOIPA void aligned(void)
{
	aligned_frame(3);
	KEEP(0);
}

/* Aligned, of a size known at run time only, and with arguments on the stack. */
static NOIPA void everything_frame(long a, long b, long c, long d, long e, long f, long g, long h)
{
	_Alignas(128) char room[512];
	char *more = alloca((size_t)(a + h));

	KEEP(room);
	KEEP(more);
	leak();
	KEEP(a + b + c + d + e + f + g + h);
}

static NOIPA void everything(void)
{
	everything_frame(1, 2, 3, 4, 5, 6, 7, 8);
	KEEP(0);
}

/* All callee-saved registers are pushed, and the frame pointer is one of them. */
static NOIPA long many_registers(long a, long b, long c, long d, long e, long f)
{
	long g = a * b, h = c * d, i = e * f, j = a * c;

	KEEP(g);
	leak();
	KEEP(h);
	leak();
	return a + b + c + d + e + f + g + h + i + j;
}

static NOIPA void registers(void)
{
	KEEP(many_registers(1, 2, 3, 4, 5, 6));
}

/* rbp holds what is no address, or a wrong one. */
static NOIPA void rbp_is_spoilt(void)
{
	__asm__ volatile("push %%rbp\n\t"
			 ".cfi_adjust_cfa_offset 8\n\t"
			 ".cfi_rel_offset rbp, 0\n\t"
			 "sub $8, %%rsp\n\t"
			 ".cfi_adjust_cfa_offset 8\n\t"
			 "lea 64(%%rsp), %%rbp\n\t"
			 "call leak\n\t"
			 "add $8, %%rsp\n\t"
			 ".cfi_adjust_cfa_offset -8\n\t"
			 "pop %%rbp\n\t"
			 ".cfi_adjust_cfa_offset -8\n\t"
			 ".cfi_restore rbp" ::
				 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
				   "memory", "cc");
}

static NOIPA void spoilt(void)
{
	with_alloca(16);
	rbp_is_spoilt();
	KEEP(0);
}

/* Its frame is gone when leak is entered: a tail call. */
static NOIPA void tail_callee(void)
{
	leak();
	KEEP(0);
}

static NOIPA void tail_caller(int n)
{
	if (n)
		tail_callee();
	else
		leak();
}

static NOIPA void tail(void)
{
	tail_caller(1);
	KEEP(0);
}

/* malloc itself is jumped to. */
static NOIPA void *jumps_to_malloc(size_t size)
{
	return malloc(size);
}

static NOIPA void tail_of_malloc(void)
{
	sink = jumps_to_malloc(SIZE);
}

/* A return address that is the first byte of the next function. */
static NOIPA void never_returns(int n)
{
	leak();
	if (n)
		return;
	abort();
}

static NOIPA void no_return(void)
{
	never_returns(1);
	KEEP(0);
}

static int compared;

static NOIPA int compare(const void *a, const void *b)
{
	if (!compared++)
		leak();
	return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

static NOIPA void sorting(void)
{
	int numbers[] = {3, 1, 2, 7, 5};

	compared = 0;
	qsort(numbers, 5, sizeof(*numbers), compare);
	KEEP(numbers);
}

static NOIPA void searching(void)
{
	/* The C library's own, not the one that its header has to inline. */
	void *(*volatile search)(const void *, const void *, size_t, size_t,
				 int (*)(const void *, const void *)) = bsearch;
	int numbers[] = {1, 2, 3, 5, 7}, key = 3;

	compared = 0;
	KEEP(search(&key, numbers, 5, sizeof(*numbers), compare));
}

static NOIPA void finding(void)
{
	int numbers[] = {1, 2, 3, 5, 7}, key = 9;
	size_t cnt = 5;

	compared = 0;
	KEEP(lfind(&key, numbers, &cnt, sizeof(*numbers), compare));
}

static NOIPA void *in_thread(void *arg)
{
	leak();
	KEEP(arg);
	return arg;
}

static NOIPA void threaded(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, in_thread, NULL))
		gate_die("pthread_create");
	pthread_join(thread, NULL);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static NOIPA void at_once(void)
{
	leak();
	KEEP(0);
}

static NOIPA void only_once(void)
{
	pthread_once(&once, at_once);
	KEEP(0);
}

static NOIPA void calls_back(void)
{
	leak();
	KEEP(0);
}

static const char *plugin;

static NOIPA void in_library(void)
{
	void *lib = dlopen(plugin, RTLD_LAZY);
	void (*calls)(void (*)(void)) = lib ? dlsym(lib, "plugin_calls") : NULL;

	if (!calls)
		gate_die("dlopen");
	gate("DONE load");
	calls(calls_back);
	KEEP(0);
}

static const struct {
	const char *name;
	void (*function)(void);
} cases[] = {
	{"plain", plain},
	{"recursion", recursion},
	{"mutual", mutual},
	{"too_deep", too_deep},
	{"alloca_small", alloca_small},
	{"alloca_big", alloca_big},
	{"big_frame", big_frame},
	{"huge_frame", huge_frame},
	{"aligned", aligned},
	{"everything", everything},
	{"registers", registers},
	{"spoilt", spoilt},
	{"tail", tail},
	{"tail_of_malloc", tail_of_malloc},
	{"no_return", no_return},
	{"sorting", sorting},
	{"searching", searching},
	{"finding", finding},
	{"threaded", threaded},
	{"only_once", only_once},
	{"in_library", in_library},
};

int main(int argc, char **argv)
{
	plugin = argc > 1 ? argv[1] : "";
	gate("READY");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cases[i].function();
		KEEP(0);
	}
	gate("DONE cases");
	return 0;
}
