/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * For LD_PRELOAD into a Python process: at each allocation, the Python stack that the process
 * itself sees at that instant. A signal raised inside malloc, calloc, realloc and their like runs
 * the handler that faulthandler.register(SIGUSR1) has installed, which writes the thread's frames
 * to the file of the dumps; before them we write a line "= bytes".
 *
 * From the first dump on nothing is freed, so that every block is still there when the report is
 * made, which has only sites with blocks.
 *
 * dumps_gate() is a gate (gate.h) that leaves a line "# text" in the file. The program waits there
 * in read(2), so that whoever attaches and detaches at gates has seen the allocations between the
 * two lines, no more and no fewer. Nothing here allocates.
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>

#include "gate.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

#define EXPORT __attribute__((visibility("default")))

void dumps_start(int fd);
void dumps_gate(const char *text);

static volatile int dumps_fd = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* a dump is several writes */

static void say(const char *fmt, const char *text, size_t bytes)
{
	char line[128];
	int len = snprintf(line, sizeof(line), fmt, text, bytes);

	if (write(dumps_fd, line, (size_t)len) != len)
		gate_die("write");
}

static void dump(size_t bytes)
{
	int saved = errno;

	if (dumps_fd < 0)
		return;
	pthread_mutex_lock(&mutex);
	say("= %s%zu\n", "", bytes);
	raise(SIGUSR1);
	pthread_mutex_unlock(&mutex);
	errno = saved;
}

/* To a file descriptor that faulthandler writes to; -1: no more. */
EXPORT void dumps_start(int fd)
{
	dumps_fd = fd;
}

EXPORT void dumps_gate(const char *text)
{
	say("# %s\n", text, 0);
	gate("%s", text);
}

/* Volatile results: no tail calls, so that each of these has a frame of its own. */
EXPORT void *malloc(size_t size)
{
	void *volatile block;

	dump(size);
	block = __libc_malloc(size);
	return block;
}

EXPORT void *calloc(size_t n, size_t size)
{
	void *volatile block;

	dump(n * size);
	block = __libc_calloc(n, size);
	return block;
}

EXPORT void *realloc(void *old, size_t size)
{
	void *volatile block;

	if (dumps_fd < 0) {
		block = __libc_realloc(old, size);
		return block;
	}
	dump(size);
	block = __libc_malloc(size);
	if (block && old)
		memcpy(block, old, malloc_usable_size(old) < size ? malloc_usable_size(old) : size);
	return block;
}

__attribute__((used)) static void keep(void *block)
{
	if (dumps_fd < 0)
		__libc_free(block);
}

#if defined(__x86_64__)
#define JUMP "jmp "
#else
#define JUMP "b "
#endif

/* A symbol that does not say to be a function's: the tool would count the calls as frees. */
__asm__(".text\n.globl free\nfree: " JUMP "keep\n");
