/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* A library that symbols.c loads: it calls malloc through its PLT, and its caller back. */
#include <stdlib.h>

void plugin_leak(void);
void plugin_calls(void (*callback)(void));

static void *volatile sink;

__attribute__((noinline)) void plugin_leak(void)
{
	for (int i = 0; i < 811; i++)
		sink = malloc(811); /* LINE: plugin_leak */
}

__attribute__((noinline)) void plugin_calls(void (*callback)(void))
{
	callback();
	sink = NULL;
}
