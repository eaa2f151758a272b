/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A signal at every instruction: the processor's single-step trap, whose
 * handler allocates. Prologues, epilogues, PLT stubs, lazy binding, system
 * calls and the vDSO are interrupted at each place that there is.
 *
 *   steps plain    the handler runs on the interrupted stack
 *   steps alt      on a signal stack of its own
 *   steps thread   in a thread
 *
 * "DONE prime" comes after a first run, whose blocks are freed: from it the tool
 * learns in which files signals interrupt code. "DONE steps N" after a second,
 * which leaves one block a step.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>
#include "gate.h"

#define NOIPA	  __attribute__((noipa))
#define KEEP(x)	  __asm__ volatile("" ::"r"(x) : "memory")
#define TRAP_FLAG 0x100
#define SIZE	  1000

static char alt_stack[1 << 16];
static volatile long steps;
static volatile int is_priming, is_ending;

static NOIPA void alloc_in_handler(void)
{
	sink = malloc(SIZE);
	if (is_priming)
		free(sink);
	else
		steps++;
}

/* The first trap is the int3 of step_all, the last the step after steps_end set its flag. */
static void on_step(int sig, siginfo_t *info, void *context)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

	(void)sig;
	(void)info;
	*flags |= TRAP_FLAG;
	if (is_ending)
		*flags &= ~TRAP_FLAG;
	alloc_in_handler();
}

static NOIPA void steps_end(void)
{
	is_ending = 1;
}

static NOIPA int step_leaf(int n)
{
	return n * 3;
}

/* Saves every register, has a frame, and an argument on the stack. */
static NOIPA long step_registers(long a, long b, long c, long d, long e, long f, long g)
{
	char room[200];
	long h = a * b, i = c * d, j = e * f, k = a * c, l = b * d;

	KEEP(room);
	h += step_leaf((int)h);
	KEEP(room);
	return a + b + c + d + e + f + g + h + i + j + k + l;
}

static NOIPA void step_alloca(size_t size)
{
	char *room = __builtin_alloca(size);

	KEEP(room);
	step_leaf((int)size);
	KEEP(room);
}

static NOIPA int step_recursion(int depth)
{
	int below = depth ? step_recursion(depth - 1) : step_leaf(depth);

	KEEP(&below);
	return below + 1;
}

static NOIPA int step_jumps(int n)
{
	return step_leaf(n + 1);
}

static NOIPA void step_aligned(void)
{
	_Alignas(64) char room[128];

	KEEP(room);
	step_leaf(1);
	KEEP(room);
}

/* Each of the two functions of libc is bound when it is first called. */
static NOIPA void step_all(int first)
{
	struct timespec now;

	__asm__ volatile("int3");
	step_registers(1, 2, 3, 4, 5, 6, 7);
	step_alloca(100);
	step_recursion(3);
	step_jumps(5);
	step_aligned();
	if (first)
		getppid();
	else
		getpgrp();
	clock_gettime(CLOCK_MONOTONIC, &now);
	steps_end();
	is_ending = 0;
}

static NOIPA void *both_runs(void *arg)
{
	is_priming = 1;
	step_all(1);
	is_priming = 0;
	gate("DONE prime");
	step_all(0);
	gate("DONE steps %ld", steps);
	return arg;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "plain";
	struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
	stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};
	pthread_t thread;

	if (!strcmp(mode, "alt"))
		action.sa_flags |= SA_ONSTACK;
	if (sigaltstack(&stack, NULL) || sigaction(SIGTRAP, &action, NULL))
		gate_die("sigaction");
	gate("READY");
	if (strcmp(mode, "thread"))
		both_runs(NULL);
	else if (pthread_create(&thread, NULL, both_runs, NULL) || pthread_join(thread, NULL))
		gate_die("pthread_create");
	return 0;
}
