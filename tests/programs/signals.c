/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Signal handlers that allocate.
 *
 *   signals timer    SIGALRM at any instruction of a loop full of malloc and
 *                    free. The handler allocates only if the loop was outside
 *                    of them: glibc's malloc is not async-signal-safe.
 *   signals inside   with wrapper.so preloaded: the signal is raised inside the
 *                    outer allocator call (but outside the C library's), and the
 *                    handler allocates. On the signal stack with "inside alt".
 *
 * A handler's allocation is not nested in the call that the signal interrupted:
 * it is one of its own. At the end: "DONE <mode> <handler's blocks>".
 *
 * "DONE prime" comes after a first signal of the same kind: from its stack the
 * tool learns in which files signals interrupt code.
 */
#include <dlfcn.h>
#include <signal.h>
#include <sys/time.h>
#include "gate.h"

#define HANDLER_SIZE  307
#define LOOP_SIZE     311
#define OUTER_SIZE    313
#define KEEP_EVERY    101
#define TIMER_SIGNALS 503
#define INSIDE_CNT    127

static volatile sig_atomic_t outside;
static volatile sig_atomic_t handler_calls;
static volatile sig_atomic_t handler_blocks;
static volatile sig_atomic_t is_priming, primed;
static char alt_stack[1 << 16];

static NOINLINE void alloc_in_handler(void)
{
	sink = malloc(HANDLER_SIZE);
	handler_blocks++;
	if (!is_priming)
		return;
	free(sink);
	handler_blocks--;
	primed++;
}

static void on_timer(int sig)
{
	(void)sig;
	handler_calls++;
	if (!outside)
		return;
	alloc_in_handler();
	free(sink = malloc(HANDLER_SIZE + 1)); /* and one that does not stay */
}

static void on_raise(int sig)
{
	(void)sig;
	alloc_in_handler();
}

static void handle(int sig, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | flags};
	stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};

	if (sigaltstack(&stack, NULL) || sigaction(sig, &action, NULL))
		gate_die("sigaction");
}

/* Until so many signals were handled. Keeps every 101st of its blocks; returns how many it kept. */
static NOINLINE long alloc_in_loop(volatile sig_atomic_t *signals, long enough)
{
	long kept = 0;

	for (long i = 0; *signals < enough; i++) {
		void *volatile block;

		outside = 0;
		block = malloc(LOOP_SIZE);
		outside = 1;
		if (i % KEEP_EVERY == 0) {
			sink = block;
			kept++;
			continue;
		}
		outside = 0;
		free(block);
		outside = 1;
		for (volatile int spin = 0; spin < 1000; spin++)
			; /* a while outside, for the handler to hit */
	}
	return kept;
}

static void timer_mode(void)
{
	struct itimerval often = {{0, 997}, {0, 997}};
	struct itimerval never = {{0, 0}, {0, 0}};
	long kept;

	handle(SIGALRM, on_timer, 0);
	setitimer(ITIMER_REAL, &often, NULL);
	is_priming = 1;
	kept = alloc_in_loop(&primed, 1);
	is_priming = 0;
	outside = 0;
	gate("DONE prime");
	handler_calls = 0;
	kept += alloc_in_loop(&handler_calls, TIMER_SIGNALS);
	setitimer(ITIMER_REAL, &never, NULL);
	gate("DONE timer %ld %ld", kept, (long)handler_blocks);
}

static void raise_usr1(void)
{
	raise(SIGUSR1);
}

static NOINLINE void alloc_outer(void (*volatile *hook)(void))
{
	for (int i = 0; i < INSIDE_CNT; i++) {
		*hook = raise_usr1;
		sink = malloc(OUTER_SIZE);
	}
}

/* The handler's allocation lies inside a free: both must count. */
static NOINLINE void free_outer(void (*volatile *hook)(void))
{
	for (int i = 0; i < INSIDE_CNT; i++) {
		void *volatile block = malloc(OUTER_SIZE);

		*hook = raise_usr1;
		free(block);
	}
}

static void prime(void (*volatile *hook)(void))
{
	is_priming = 1;
	*hook = raise_usr1;
	free(sink = malloc(OUTER_SIZE));
	is_priming = 0;
	gate("DONE prime");
}

static void inside_mode(int flags)
{
	void (*volatile * hook)(void) = dlsym(RTLD_DEFAULT, "wrapper_hook");

	if (!hook)
		gate_die("no wrapper.so");
	handle(SIGUSR1, on_raise, flags);
	gate("READY");
	prime(hook);
	alloc_outer(hook);
	gate("DONE alloc %d %ld", INSIDE_CNT, (long)handler_blocks);
	prime(hook);
	free_outer(hook);
	gate("DONE free %d %ld", INSIDE_CNT, (long)handler_blocks);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "inside")) {
		inside_mode(argc > 2 ? SA_ONSTACK : 0);
		return 0;
	}
	gate("READY");
	timer_mode();
	return 0;
}
