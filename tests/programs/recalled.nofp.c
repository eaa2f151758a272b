/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * recalled CASE [ARG...]: allocates again and again at one place with one stack pointer, where the
 * stack above is now this one and now another one. test_recalled.py has the same numbers.
 *
 *   callers        two callers of the same frame, in no order
 *   deep           the same under so many frames that nobody remembers the walk
 *   frame_pointer  the same words on the stack, and another frame pointer leads through them
 *   threads        threads that get each other's stack, one after the other
 *   twins A B      two libraries that take turns at one address: the same words, another file
 *   idle           a site that was idle for so long that it was given up
 *   exec           the same again after execve(), at the same addresses
 */
#include <alloca.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/personality.h>
#include "gate.h"

#define NOIPA	__attribute__((noipa))
#define KEEP(x) __asm__ volatile("" ::"r"(x) : "memory")

static NOIPA void allocate(void)
{
	sink = malloc(1009);
}

static NOIPA void middle(void)
{
	allocate();
	KEEP(0);
}

static NOIPA void through_first(void)
{
	middle();
	KEEP(1);
}

static NOIPA void through_second(void)
{
	middle();
	KEEP(2);
}

/* Calls one function FIRST times and another one SECOND times, in an order without a pattern. */
static NOIPA void mix(void (*first)(void), long first_cnt, void (*second)(void), long second_cnt)
{
	uint64_t random = 1;

	while (first_cnt || second_cnt) {
		void (*volatile next)(void); /* called from one place */
		bool take_first;

		random = random * 6364136223846793005u + 1442695040888963407u;
		take_first = !second_cnt || (first_cnt && random >> 63);
		first_cnt -= take_first;
		second_cnt -= !take_first;
		next = take_first ? first : second;
		next();
		KEEP(0);
	}
}

static NOIPA void deep_middle(long depth)
{
	if (depth)
		deep_middle(depth - 1);
	else
		allocate();
	KEEP(depth);
}

static NOIPA void deep_first(void)
{
	deep_middle(60);
	KEEP(1);
}

static NOIPA void deep_second(void)
{
	deep_middle(60);
	KEEP(2);
}

/* Has a frame pointer. What one writes of its room is not where the other's frame is. */
static NOIPA void with_room(size_t room_bytes)
{
	char *room = alloca(room_bytes);

	KEEP(room);
	allocate();
	KEEP(room);
}

static NOIPA void with_small_frame(void)
{
	char frame[256];

	KEEP(frame);
	with_room(1024);
	KEEP(frame);
}

static NOIPA void with_large_frame(void)
{
	char frame[768];

	KEEP(frame);
	with_room(512);
	KEEP(frame);
}

static void *first_thread(void *arg)
{
	through_first();
	return arg;
}

static void *second_thread(void *arg)
{
	through_second();
	return arg;
}

static NOIPA void run_thread(void *(*function)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, NULL) || pthread_join(thread, NULL))
		gate_die("pthread_create");
}

static void run_first_thread(void)
{
	run_thread(first_thread);
}

static void run_second_thread(void)
{
	run_thread(second_thread);
}

static pthread_barrier_t step;

#define TWIN_TURNS (2 * 211)

static char **twins;
static void *(*volatile leak_of_twin)(void);

/* What loading allocates is remembered in this thread, not in the main one. */
static void *take_turns(void *arg)
{
	static const char *const names[] = {"leak_of_a", "leak_of_b"};

	for (int i = 0; i < TWIN_TURNS; i++) {
		void *lib = dlopen(twins[i & 1], RTLD_NOW);

		leak_of_twin = lib ? dlsym(lib, names[i & 1]) : NULL;
		if (!leak_of_twin)
			gate_die("dlopen");
		pthread_barrier_wait(&step);
		pthread_barrier_wait(&step);
		dlclose(lib);
	}
	return arg;
}

static void run_twins(char **paths)
{
	void *before = NULL;
	pthread_t thread;
	long same = 0;

	twins = paths;
	pthread_barrier_init(&step, NULL, 2);
	if (pthread_create(&thread, NULL, take_turns, NULL))
		gate_die("pthread_create");
	for (int i = 0; i < TWIN_TURNS; i++) {
		pthread_barrier_wait(&step);
		same += (void *)leak_of_twin == before;
		before = (void *)leak_of_twin;
		for (int block = 0; block < 3; block++)
			sink = leak_of_twin();
		pthread_barrier_wait(&step);
	}
	pthread_join(thread, NULL);
	gate("DONE recalled %ld", same);
}

static NOIPA void use_up(long depth, bool keeps)
{
	if (depth) {
		use_up(depth - 1, keeps);
	} else {
		void *block = malloc(31);

		sink = block;
		if (!keeps)
			free(block);
	}
	KEEP(depth);
}

/* Other places than the main thread's: first for a moment, then for good. */
static void *use_sites(void *arg)
{
	sink = malloc(29); /* whatever this maps is mapped now */
	pthread_barrier_wait(&step);
	for (int i = 0; i < 2; i++) {
		pthread_barrier_wait(&step);
		for (long depth = 0; depth < 40; depth++)
			use_up(depth, i);
		pthread_barrier_wait(&step);
	}
	return arg;
}

static NOIPA void allocate_at_idle_site(bool keeps)
{
	sink = malloc(37);
	if (!keeps)
		free(sink);
}

static void run_idle(void)
{
	volatile int kept_from = 3; /* or the compiler makes two loops, and two sites */
	pthread_t thread;

	pthread_barrier_init(&step, NULL, 2);
	if (pthread_create(&thread, NULL, use_sites, NULL))
		gate_die("pthread_create");
	pthread_barrier_wait(&step);
	for (int i = 0; i < kept_from + 101; i++) {
		if (i == kept_from) {
			gate("DONE idle");
			for (int half = 0; half < 2; half++) {
				pthread_barrier_wait(&step);
				pthread_barrier_wait(&step);
				gate("DONE used");
			}
		}
		allocate_at_idle_site(i >= kept_from);
	}
	gate("DONE recalled");
}

static void run_exec(char **argv)
{
	bool is_first = argv[2][0] == '1';

	if (is_first && !(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
		personality(ADDR_NO_RANDOMIZE);
		execv("/proc/self/exe", argv);
	}
	gate("READY");
	for (int i = 0; i < (is_first ? 103 : 107); i++)
		through_first();
	if (is_first) {
		argv[2][0] = '2';
		execv("/proc/self/exe", argv);
		gate_die("execv");
	}
	gate("DONE recalled");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (!strcmp(name, "exec") && argc == 3) {
		run_exec(argv);
		return 0;
	}
	gate("READY");
	if (!strcmp(name, "twins") && argc == 4)
		run_twins(argv + 2);
	else if (!strcmp(name, "idle"))
		run_idle();
	else if (!strcmp(name, "callers"))
		mix(through_first, 1009, through_second, 1013);
	else if (!strcmp(name, "deep"))
		mix(deep_first, 211, deep_second, 223);
	else if (!strcmp(name, "frame_pointer"))
		mix(with_small_frame, 1009, with_large_frame, 1013);
	else if (!strcmp(name, "threads"))
		mix(run_first_thread, 101, run_second_thread, 103);
	else
		gate_die("arguments");
	if (argc == 2 && strcmp(name, "idle"))
		gate("DONE recalled");
	return 0;
}
