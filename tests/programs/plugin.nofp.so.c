/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* A library without frame pointers, whose calls go through its lazily bound PLT. */
#include <stdlib.h>

void plugin_calls(void (*callback)(void));
void plugin_inner(void (*callback)(void), long a, long b, long c, long d, long e, long f);

static void *volatile sink;

/* Global, so called through the PLT; with an argument on the stack. */
__attribute__((noipa)) void plugin_inner(void (*callback)(void), long a, long b, long c, long d,
					 long e, long f)
{
	char room[64];

	__asm__ volatile("" ::"r"(room) : "memory");
	callback();
	sink = malloc(2000);
	__asm__ volatile("" ::"r"(a + b + c + d + e + f), "r"(room) : "memory");
}

__attribute__((noipa)) void plugin_calls(void (*callback)(void))
{
	plugin_inner(callback, 1, 2, 3, 4, 5, 6);
	sink = NULL;
}
