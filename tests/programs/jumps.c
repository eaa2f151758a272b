/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Non-local jumps: first out of callers between allocations (any time), then,
 * with wrapper.so preloaded, out of a signal handler that interrupted an
 * allocator call, which then never returns. What is allocated afterwards must
 * count as if nothing had happened.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include "gate.h"

static jmp_buf out;
static sigjmp_buf out_of_handler;
static char alt_stack[1 << 16];

static NOINLINE void alloc_then_jump(int depth)
{
	volatile char frame[512];

	frame[0] = (char)depth;
	if (depth > 0) {
		alloc_then_jump(depth - 1);
		frame[1] = frame[0];
		return;
	}
	sink = malloc(401);
	if (sink)
		longjmp(out, 1);
}

static NOINLINE void alloc_after_jump(void)
{
	sink = malloc(409);
}

static NOINLINE void jump_between(void)
{
	for (volatile int i = 0; i < 131; i++) {
		if (!setjmp(out))
			alloc_then_jump(i % 7);
		alloc_after_jump();
	}
}

static void on_signal(int sig)
{
	(void)sig;
	siglongjmp(out_of_handler, 1);
}

static void raise_usr1(void)
{
	raise(SIGUSR1);
}

/* This allocation never happens. */
static NOINLINE void alloc_abandoned(void (*volatile *hook)(void))
{
	*hook = raise_usr1;
	sink = malloc(419);
	gate_die("the handler did not jump");
}

static NOINLINE void alloc_after_abandoned(void)
{
	sink = malloc(421);
	free(sink = malloc(431));
}

/* The same from further down the stack than the abandoned call was, and from further up. */
static NOINLINE void alloc_deeper(int depth)
{
	volatile char frame[1024];

	frame[0] = (char)depth;
	if (depth > 0)
		alloc_deeper(depth - 1);
	else
		sink = malloc(433);
	frame[1] = frame[0];
}

static void handle(int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
	stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};

	if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL))
		gate_die("sigaction");
}

static NOINLINE void jump_inside(void (*volatile *hook)(void), int flags)
{
	handle(flags);
	for (volatile int i = 0; i < 137; i++) {
		if (!sigsetjmp(out_of_handler, 1))
			alloc_abandoned(hook);
		if (i % 2)
			alloc_after_abandoned();
		alloc_deeper(i % 5);
		if (i % 2 == 0)
			alloc_after_abandoned();
	}
}

int main(void)
{
	void (*volatile * hook)(void) = dlsym(RTLD_DEFAULT, "wrapper_hook");

	gate("READY");
	jump_between();
	gate("DONE between");
	if (!hook)
		return 0;
	jump_inside(hook, 0);
	gate("DONE inside");
	jump_inside(hook, SA_ONSTACK);
	gate("DONE inside alt");
	return 0;
}
