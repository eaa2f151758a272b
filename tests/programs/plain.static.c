/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* A static binary: malloc is in the executable, if its symbol table is still there. */
#include "gate.h"

static NOINLINE void leak_static(void)
{
	for (int i = 0; i < 751; i++)
		sink = malloc(181);
}

int main(void)
{
	gate("READY");
	leak_static();
	gate("DONE leaks");
	return 0;
}
