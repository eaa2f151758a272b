/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_ARENA_H
#define UNFREED_SNAPSHOT_ARENA_H

#include <stddef.h>

/*
 * Memory that is given out piece by piece and taken back all at once. Not
 * thread-safe.
 */

/*
 * Most that one arena holds; past it, ENOMEM. The largest report there can be (a million sites,
 * each with all its age buckets) takes about 1.2 GB.
 */
#define ARENA_MAX_BYTES ((size_t)2 << 30)

struct arena;

/* Returns NULL with errno ENOMEM. */
struct arena *arena__new(void);
/* Takes NULL. Ends the life of everything allocated from it. */
void arena__free(struct arena *arena);

/* Zeroed and aligned for any type; a size of 0 gives a valid pointer. NULL with errno ENOMEM. */
void *arena__alloc(struct arena *arena, size_t size_bytes);

/*
 * What the snapshot module gets its memory from: realloc(3), unless a test put something that fails
 * in its place. Released with free(3).
 */
extern void *(*arena__realloc)(void *old, size_t size_bytes);

#endif
