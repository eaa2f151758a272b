/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Code that a just-in-time compiler might have made: copied into anonymous
 * executable memory, without unwind tables, and three deep.
 *
 *   framed(inner, arg)    push rbp; mov rbp, rsp; call inner(arg); pop rbp; ret
 *
 * jit framed: framed -> framed -> framed -> leaks; the caller's own frame is
 * compiled without frame pointer. jit callback: the innermost calls back into
 * compiled code, which calls framed code again.
 */
#include <sys/mman.h>
#include "gate.h"

#define NOIPA	__attribute__((noipa))
#define KEEP(x) __asm__ volatile("" ::"r"(x) : "memory")

struct step {
	void (*function)(const struct step *next);
};

typedef void (*step_fn)(const struct step *step);

/* f(step): calls step->function(step + 1). */
static const unsigned char framed[] = {
	0x55,			/* push %rbp */
	0x48, 0x89, 0xe5,	/* mov %rsp, %rbp */
	0x48, 0x8b, 0x07,	/* mov (%rdi), %rax */
	0x48, 0x83, 0xc7, 0x08, /* add $8, %rdi */
	0xff, 0xd0,		/* call *%rax */
	0x5d,			/* pop %rbp */
	0xc3,			/* ret */
};

static step_fn jitted;

static NOIPA void leaks(const struct step *step)
{
	sink = malloc(1000);
	KEEP(step);
}

static NOIPA void calls_back(const struct step *step)
{
	char room[200];

	KEEP(room);
	jitted(step);
	KEEP(room);
}

static NOIPA void three_deep(void)
{
	const struct step steps[] = {{jitted}, {jitted}, {leaks}};

	jitted(steps);
	KEEP(steps);
}

static NOIPA void through_compiled_code(void)
{
	const struct step steps[] = {{calls_back}, {jitted}, {leaks}};

	jitted(steps);
	KEEP(steps);
}

/* malloc itself is called by jitted code: the first frame is in there. */
static NOIPA void calls_malloc(void)
{
	static const unsigned char code[] = {
		0x55,		  /* push %rbp */
		0x48, 0x89, 0xe5, /* mov %rsp, %rbp */
		0xff, 0xd6,	  /* call *%rsi */
		0x5d, 0xc3,	  /* pop %rbp; ret */
	};
	void *(*allocates)(size_t size, void *(*allocate)(size_t)) =
		(void *)((char *)jitted + 1024);

	memcpy((void *)allocates, code, sizeof(code));
	sink = allocates(2000, malloc);
	KEEP(0);
}

int main(void)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		gate_die("mmap");
	memcpy(code, framed, sizeof(framed));
	jitted = (step_fn)code;
	gate("READY");
	three_deep();
	through_compiled_code();
	calls_malloc();
	gate("DONE jit");
	return 0;
}
