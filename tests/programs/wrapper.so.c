/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * An interposing allocator for LD_PRELOAD: its functions call the C library's.
 * A program that calls it makes one allocation, not two.
 *
 * wrapper_hook, if the program sets it, is called once, inside the next malloc,
 * realloc or free: a place for signals that interrupt an allocator call exactly where
 * a test wants it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

extern void (*volatile wrapper_hook)(void);
void (*volatile wrapper_hook)(void);

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);

__attribute__((constructor)) static void resolve(void)
{
	real_malloc = dlsym(RTLD_NEXT, "malloc");
	real_calloc = dlsym(RTLD_NEXT, "calloc");
	real_realloc = dlsym(RTLD_NEXT, "realloc");
	real_free = dlsym(RTLD_NEXT, "free");
}

static void run_hook(void)
{
	void (*hook)(void) = wrapper_hook;

	wrapper_hook = NULL;
	if (hook)
		hook();
}

/* Volatile results: no tail calls, so that every wrapper has a frame of its own. */
__attribute__((visibility("default"))) void *malloc(size_t size)
{
	void *volatile block;

	if (!real_malloc)
		resolve();
	run_hook();
	block = real_malloc(size);
	return block;
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	void *volatile block;

	if (!real_calloc)
		resolve();
	block = real_calloc(n, size);
	return block;
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t size)
{
	void *volatile block;

	if (!real_realloc)
		resolve();
	run_hook();
	block = real_realloc(old, size);
	return block;
}

__attribute__((visibility("default"))) void free(void *block)
{
	if (!real_free)
		resolve();
	run_hook();
	real_free(block);
	__asm__ volatile("" ::: "memory");
}
