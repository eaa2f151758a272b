/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * An open-addressing hash set of pointers into chunks that never move. The hash
 * is seeded, so that a hostile file cannot choose names that collide.
 */
#include "sym/str_pool.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CHUNK_BYTES   ((size_t)64 << 10)
#define INITIAL_SLOTS 1024

struct chunk {
	struct chunk *next;
	size_t used_bytes;
	char text[];
};

struct str_pool {
	const char **slots; /* power of two, at most 3/4 full */
	size_t slot_cnt;
	size_t string_cnt;
	size_t chunk_cnt;
	uint64_t seed;
	struct chunk *chunks;
};

struct str_pool *str_pool__new(void)
{
	struct str_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->slot_cnt = INITIAL_SLOTS;
	pool->slots = calloc(pool->slot_cnt, sizeof(*pool->slots));
	if (!pool->slots) {
		free(pool);
		errno = ENOMEM;
		return NULL;
	}
	if (getrandom(&pool->seed, sizeof(pool->seed), GRND_NONBLOCK) != sizeof(pool->seed))
		pool->seed = (uintptr_t)pool;
	return pool;
}

void str_pool__free(struct str_pool *pool)
{
	struct chunk *chunk, *next;

	if (!pool)
		return;
	for (chunk = pool->chunks; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	free(pool->slots);
	free(pool);
}

static uint64_t hash_text(const struct str_pool *pool, const char *text, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325ull ^ pool->seed;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ull;
	return hash ^ hash >> 32;
}

/* The slot that holds the text, or the free one where it belongs. */
static size_t find_slot(const struct str_pool *pool, const char *text, size_t len)
{
	size_t i = hash_text(pool, text, len) & (pool->slot_cnt - 1);

	while (pool->slots[i]) {
		if (!strncmp(pool->slots[i], text, len) && !pool->slots[i][len])
			break;
		i = (i + 1) & (pool->slot_cnt - 1);
	}
	return i;
}

static int grow(struct str_pool *pool)
{
	struct str_pool bigger = *pool;

	bigger.slot_cnt *= 2;
	bigger.slots = calloc(bigger.slot_cnt, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < pool->slot_cnt; i++) {
		const char *text = pool->slots[i];

		if (text)
			bigger.slots[find_slot(&bigger, text, strlen(text))] = text;
	}
	free(pool->slots);
	*pool = bigger;
	return 0;
}

static char *reserve(struct str_pool *pool, size_t size_bytes)
{
	struct chunk *chunk = pool->chunks;

	if (!chunk || CHUNK_BYTES - chunk->used_bytes < size_bytes) {
		if (str_pool__bytes(pool) + CHUNK_BYTES > STR_POOL_MAX_BYTES)
			return NULL;
		chunk = malloc(sizeof(*chunk) + CHUNK_BYTES);
		if (!chunk)
			return NULL;
		chunk->used_bytes = 0;
		chunk->next = pool->chunks;
		pool->chunks = chunk;
		pool->chunk_cnt++;
	}
	chunk->used_bytes += size_bytes;
	return chunk->text + chunk->used_bytes - size_bytes;
}

const char *str_pool__intern(struct str_pool *pool, const char *text, size_t len)
{
	size_t slot;
	char *copy;

	len = strnlen(text, len < STR_POOL_MAX_LEN ? len : STR_POOL_MAX_LEN);
	if (!len)
		return "";
	slot = find_slot(pool, text, len);
	if (pool->slots[slot])
		return pool->slots[slot];
	if (pool->string_cnt >= pool->slot_cnt / 4 * 3) {
		if (grow(pool))
			return "";
		slot = find_slot(pool, text, len);
	}
	copy = reserve(pool, len + 1);
	if (!copy)
		return "";
	memcpy(copy, text, len);
	copy[len] = '\0';
	pool->slots[slot] = copy;
	pool->string_cnt++;
	return copy;
}

size_t str_pool__bytes(const struct str_pool *pool)
{
	return pool->slot_cnt * sizeof(*pool->slots) +
	       pool->chunk_cnt * (sizeof(struct chunk) + CHUNK_BYTES);
}
