/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_ARENA_FIXTURE_H
#define UNFREED_TESTS_ARENA_FIXTURE_H

/* Memory for snapshots that runs out when a test wants it to. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/arena.h"

/* Fails call number fail_at. What it gives is not zero by accident: forgotten zeroing shows. */
static int alloc_cnt, fail_at = -1;

static void *failing_realloc(void *old, size_t size_bytes)
{
	void *block;

	if (alloc_cnt++ == fail_at) {
		errno = ENOMEM;
		return NULL;
	}
	block = realloc(old, size_bytes);
	if (block && !old)
		memset(block, 0xa5, size_bytes);
	return block;
}

static void setup(void)
{
	alloc_cnt = 0;
	fail_at = -1;
	arena__realloc = failing_realloc;
}

static void teardown(void)
{
	arena__realloc = realloc;
}

#endif
