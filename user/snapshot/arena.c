/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * A list of chunks; the newest ordinary one is given out from front to back. What is large beside a
 * chunk gets one of its own, put second in the list, so that the rest of the current chunk is not
 * wasted. Nothing moves, so pointers stay valid.
 */
#include "snapshot/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)64 << 10)
#define LARGE_BYTES (CHUNK_BYTES / 4)

struct chunk {
	struct chunk *next;
	size_t size_bytes;
	size_t used_bytes;
	alignas(max_align_t) unsigned char data[];
};

struct arena {
	struct chunk *chunks; /* the first is the current one */
	size_t total_bytes;   /* of all the chunks' data, at most ARENA_MAX_BYTES */
};

void *(*arena__realloc)(void *old, size_t size_bytes) = realloc;

struct arena *arena__new(void)
{
	struct arena *arena = arena__realloc(NULL, sizeof(*arena));

	if (!arena)
		return NULL;
	memset(arena, 0, sizeof(*arena));
	return arena;
}

void arena__free(struct arena *arena)
{
	struct chunk *next;

	if (!arena)
		return;
	for (struct chunk *chunk = arena->chunks; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	free(arena);
}

static struct chunk *chunk__new(struct arena *arena, size_t size_bytes)
{
	struct chunk *chunk;

	if (size_bytes > ARENA_MAX_BYTES - arena->total_bytes) {
		errno = ENOMEM;
		return NULL;
	}
	chunk = arena__realloc(NULL, sizeof(*chunk) + size_bytes);
	if (!chunk)
		return NULL;
	memset(chunk, 0, sizeof(*chunk) + size_bytes);
	chunk->size_bytes = size_bytes;
	arena->total_bytes += size_bytes;
	return chunk;
}

static void *alloc_large(struct arena *arena, size_t size_bytes)
{
	struct chunk *chunk = chunk__new(arena, size_bytes);
	struct chunk **place = arena->chunks ? &arena->chunks->next : &arena->chunks;

	if (!chunk)
		return NULL;
	chunk->used_bytes = size_bytes;
	chunk->next = *place;
	*place = chunk;
	return chunk->data;
}

void *arena__alloc(struct arena *arena, size_t size_bytes)
{
	struct chunk *chunk = arena->chunks;
	void *piece;

	if (size_bytes > ARENA_MAX_BYTES) {
		errno = ENOMEM;
		return NULL;
	}
	/* Rounding up keeps the next piece aligned; at least 1, so that pieces differ. */
	size_bytes = (size_bytes + !size_bytes + alignof(max_align_t) - 1) &
		     ~(alignof(max_align_t) - 1);
	if (size_bytes > LARGE_BYTES)
		return alloc_large(arena, size_bytes);
	if (!chunk || chunk->size_bytes - chunk->used_bytes < size_bytes) {
		chunk = chunk__new(arena, CHUNK_BYTES);
		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	piece = chunk->data + chunk->used_bytes;
	chunk->used_bytes += size_bytes;
	return piece;
}
