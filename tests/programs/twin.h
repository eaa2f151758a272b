/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef TESTS_PROGRAMS_TWIN_H
#define TESTS_PROGRAMS_TWIN_H

/*
 * A library for recalled.nofp.c: twin_a.so and twin_b.so are the same but for the names of their
 * functions, so that a stack through the one has the very words of a stack through the other. The
 * file that includes this says which: LEAK is its function.
 */
#include <stdlib.h>

void *LEAK(void);

__attribute__((noipa)) void *LEAK(void)
{
	void *block = malloc(1021);

	__asm__ volatile("" ::"r"(block) : "memory");
	return block;
}

#endif
