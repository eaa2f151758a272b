/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* Allocates from prefixed.so (its path is the argument) and from the C library. */
#include <dlfcn.h>
#include "gate.h"

static void *(*xx_malloc)(size_t);
static void *(*xx_calloc)(size_t, size_t);
static void *(*xx_realloc)(void *, size_t);
static void (*xx_free)(void *);

static NOINLINE void leak_xx_malloc(void)
{
	for (int i = 0; i < 701; i++)
		sink = xx_malloc(199);
}

static NOINLINE void leak_xx_calloc(void)
{
	for (int i = 0; i < 709; i++)
		sink = xx_calloc(17, 13);
}

static NOINLINE void leak_xx_realloc(void)
{
	for (int i = 0; i < 719; i++)
		sink = xx_realloc(xx_malloc(5), 191);
}

static NOINLINE void xx_balanced(void)
{
	for (int i = 0; i < 727; i++)
		xx_free(xx_malloc(7));
}

static NOINLINE void leak_libc_malloc(void)
{
	for (int i = 0; i < 733; i++)
		sink = malloc(193);
}

static void *symbol(void *lib, const char *name)
{
	void *address = dlsym(lib, name);

	if (!address)
		gate_die(name);
	return address;
}

int main(int argc, char **argv)
{
	void *lib = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;

	if (!lib)
		gate_die("dlopen");
	xx_malloc = symbol(lib, "xx_malloc");
	xx_calloc = symbol(lib, "xx_calloc");
	xx_realloc = symbol(lib, "xx_realloc");
	xx_free = symbol(lib, "xx_free");
	gate("READY");
	leak_xx_malloc();
	leak_xx_calloc();
	leak_xx_realloc();
	xx_balanced();
	leak_libc_malloc();
	gate("DONE leaks");
	return 0;
}
