/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Stacks worth naming: a chain of calls, inlined functions, a static function,
 * a library that is loaded while the trace runs and unloaded at its end. The
 * argument is the library's path; without it that part is left out.
 */
#include <dlfcn.h>
#include "gate.h"

#define INLINE static inline __attribute__((always_inline))

void chain_3(void); /* the one global function */

NOINLINE void chain_3(void)
{
	for (int i = 0; i < 821; i++)
		sink = malloc(821); /* LINE: chain_3 */
}

static NOINLINE void chain_2(void)
{
	chain_3(); /* LINE: chain_2 */
	sink = NULL;
}

static NOINLINE void chain_1(void)
{
	chain_2(); /* LINE: chain_1 */
	sink = NULL;
}

INLINE void inlined_inner(size_t size)
{
	sink = malloc(size); /* LINE: inlined_inner */
}

INLINE void inlined_outer(size_t size)
{
	for (int i = 0; i < 823; i++)
		inlined_inner(size); /* LINE: inlined_outer */
}

static NOINLINE void calls_inlined(void)
{
	inlined_outer(823); /* LINE: calls_inlined */
	sink = NULL;
}

static NOINLINE void static_function(void)
{
	for (int i = 0; i < 827; i++)
		sink = malloc(827); /* LINE: static_function */
}

static NOINLINE void called_back(void)
{
	for (int i = 0; i < 829; i++)
		sink = malloc(829); /* LINE: called_back */
}

static NOINLINE void deep(int depth)
{
	if (depth > 0)
		deep(depth - 1);
	else
		sink = malloc(839);
	__asm__ volatile("" ::: "memory");
}

static NOINLINE void *use_library(const char *path)
{
	void (*leak)(void);
	void (*calls)(void (*)(void));
	void *lib = dlopen(path, RTLD_NOW);

	if (!lib)
		gate_die("dlopen");
	gate("DONE load"); /* time for the tool to learn of it */
	leak = dlsym(lib, "plugin_leak");
	calls = dlsym(lib, "plugin_calls");
	leak(); /* LINE: use_library */
	calls(called_back);
	return lib;
}

int main(int argc, char **argv)
{
	void *lib = NULL;

	gate("READY");
	chain_1(); /* LINE: main */
	calls_inlined();
	static_function();
	deep(50);
	deep(300);
	if (argc > 1)
		lib = use_library(argv[1]);
	gate("DONE leaks");
	if (lib)
		dlclose(lib);
	gate("DONE unload");
	return 0;
}
