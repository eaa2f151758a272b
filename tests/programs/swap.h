/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef TESTS_PROGRAMS_SWAP_H
#define TESTS_PROGRAMS_SWAP_H

/*
 * A library for swap.c: swap_a.so and swap_b.so are of one layout, so that they
 * get each other's addresses, but the code at an address has another frame and
 * calls from another function. The file that includes this says which: LEAK and
 * CALLS are its functions, ROOM the size of their frames.
 */
#include <stdlib.h>

#pragma GCC optimize("omit-frame-pointer")
#define NOIPA	__attribute__((noipa))
#define KEEP(x) __asm__ volatile("" ::"r"(x) : "memory")

void *LEAK(void);
void *CALLS(void);

NOIPA void *LEAK(void)
{
	char room[ROOM];
	void *block;

	KEEP(room);
	block = malloc(1000);
	KEEP(room);
	return block;
}

NOIPA void *CALLS(void)
{
	char room[2 * ROOM];
	void *block;

	KEEP(room);
	block = LEAK();
	KEEP(room);
	return block;
}

#endif
