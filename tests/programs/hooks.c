/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * What an allocator may do in the middle of a call, with wrapper.so preloaded
 * and its hook:
 *
 *   exec     executes a new image from inside malloc, which allocates
 *   image    that image
 *   fork     forks inside malloc; parent and child return from it, and free
 *   end      a thread ends inside realloc; its block stays, and is freed later
 *   frees    frees blocks of the program's, as a cache that is told to shrink
 *   thread   starts a thread that allocates, and waits for it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <signal.h>
#include "gate.h"

#define CNT 131

static void (*volatile *hook)(void);
static char **arguments;
static void *blocks[CNT];
static void *volatile block;
static int done_pipe[2];

static NOINLINE void alloc_in_image(void)
{
	for (int i = 0; i < CNT; i++)
		sink = malloc(547);
}

/* From far down the stack, so that what comes later is not further down. */
static NOINLINE void alloc_deep(int depth)
{
	char frame[1000];

	__asm__ volatile("" ::"r"(frame) : "memory");
	if (depth)
		alloc_deep(depth - 1);
	else
		sink = malloc(541);
	__asm__ volatile("" ::"r"(frame) : "memory");
}

static void exec_image(void)
{
	execl("/proc/self/exe", arguments[0], "image", NULL);
	gate_die("exec");
}

/* As little stack as possible is in use when it executes. */
static NOINLINE void exec_mode(void)
{
	*hook = exec_image;
	sink = malloc(100);
}

static void image_mode(void)
{
	alloc_in_image();
	alloc_deep(10);
	gate("DONE image");
}

static pid_t child;

static void forks(void)
{
	child = fork();
}

static NOINLINE void alloc_around_fork(void)
{
	block = malloc(557);
}

static NOINLINE void alloc_after_fork(void)
{
	for (int i = 0; i < CNT; i++)
		sink = malloc(563);
}

static void fork_mode(void)
{
	pid_t self;

	*hook = forks;
	alloc_around_fork();
	self = getpid();
	if (!child) {
		alloc_after_fork();
		if (write(done_pipe[1], &self, sizeof(self)) < 0)
			_exit(98);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (read(done_pipe[0], &self, sizeof(self)) < 0)
		gate_die("read");
	gate("DONE fork %d", (int)child);
	free(block);
	gate("DONE free");
}

static void ends(void)
{
	pthread_exit(NULL);
}

static NOINLINE void alloc_to_resize(void)
{
	for (int i = 0; i < CNT; i++)
		blocks[i] = malloc(569);
}

static void *resizing_thread(void *i)
{
	*hook = ends;
	blocks[(long)i] = realloc(blocks[(long)i], 5000);
	return NULL;
}

static void run_thread(void *(*function)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, arg) || pthread_join(thread, NULL))
		gate_die("pthread_create");
}

static void end_mode(void)
{
	alloc_to_resize();
	for (long i = 0; i < CNT; i++)
		run_thread(resizing_thread, (void *)i);
	gate("DONE end");
	for (int i = 0; i < 101; i++)
		free(blocks[i]);
	gate("DONE free");
}

static NOINLINE void alloc_cached(void)
{
	for (int i = 0; i < CNT; i++)
		blocks[i] = malloc(571);
}

static int shrunk;

static void shrinks(void)
{
	free(blocks[shrunk++]);
}

static NOINLINE void alloc_that_shrinks(void)
{
	*hook = shrinks;
	sink = malloc(5770); /* another size class: addresses do not come again */
}

static void frees_mode(void)
{
	alloc_cached();
	for (int i = 0; i < 101; i++)
		alloc_that_shrinks();
	gate("DONE frees");
}

static NOINLINE void *alloc_in_thread(void *arg)
{
	sink = malloc(587);
	free(sink = malloc(593));
	return arg;
}

static void starts_thread(void)
{
	run_thread(alloc_in_thread, NULL);
}

static NOINLINE void alloc_with_thread(void)
{
	*hook = starts_thread;
	sink = malloc(599);
}

static void thread_mode(void)
{
	run_thread(alloc_in_thread, NULL); /* its stack and the like are there from now on */
	gate("DONE first");
	for (int i = 0; i < CNT; i++)
		alloc_with_thread();
	gate("DONE thread");
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "image";

	arguments = argv;
	if (!strcmp(mode, "image")) {
		image_mode();
		return 0;
	}
	hook = dlsym(RTLD_DEFAULT, "wrapper_hook");
	if (!hook || pipe(done_pipe))
		gate_die("no wrapper.so");
	gate("READY");
	if (!strcmp(mode, "exec"))
		exec_mode();
	else if (!strcmp(mode, "fork"))
		fork_mode();
	else if (!strcmp(mode, "end"))
		end_mode();
	else if (!strcmp(mode, "frees"))
		frees_mode();
	else
		thread_mode();
	return 0;
}
