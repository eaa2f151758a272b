/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/* A library whose function that allocates has no name in it once it is stripped. */
#include <stdlib.h>

void keep_blocks(long cnt);

static void *volatile kept;

static __attribute__((noinline)) void keep_secretly(long cnt)
{
	for (long i = 0; i < cnt; i++)
		kept = malloc(59); /* LINE: keep */
}

void keep_blocks(long cnt)
{
	keep_secretly(cnt);
	kept = NULL;
}
