/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A small allocator of its own under the prefix xx_, as programs carry jemalloc
 * under je_. Its memory is a static pool: the C library's malloc is not in it.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CELL_SIZE 256
#define CELL_CNT  4096

struct cell {
	struct cell *next;
	size_t size;
	char bytes[CELL_SIZE] __attribute__((aligned(16)));
};

static struct cell pool[CELL_CNT];
static struct cell *freed;
static size_t used;

#define EXPORT __attribute__((visibility("default"), noinline))

void *xx_malloc(size_t size);
void xx_free(void *block);
void *xx_calloc(size_t n, size_t size);
void *xx_realloc(void *old, size_t size);

static struct cell *take(size_t size)
{
	struct cell *cell = freed;

	if (size > CELL_SIZE)
		return NULL;
	if (cell)
		freed = cell->next;
	else if (used < CELL_CNT)
		cell = &pool[used++];
	if (cell)
		cell->size = size;
	return cell;
}

static struct cell *cell_of(void *block)
{
	return (struct cell *)((char *)block - offsetof(struct cell, bytes));
}

EXPORT void *xx_malloc(size_t size)
{
	struct cell *cell = take(size);

	return cell ? cell->bytes : NULL;
}

EXPORT void xx_free(void *block)
{
	struct cell *cell;

	if (!block)
		return;
	cell = cell_of(block);
	cell->next = freed;
	freed = cell;
}

EXPORT void *xx_calloc(size_t n, size_t size)
{
	void *block;

	if (__builtin_mul_overflow(n, size, &size))
		return NULL;
	block = xx_malloc(size);
	if (block)
		memset(block, 0, size);
	return block;
}

EXPORT void *xx_realloc(void *old, size_t size)
{
	void *block = xx_malloc(size);

	if (!block || !old)
		return block;
	memcpy(block, old, cell_of(old)->size < size ? cell_of(old)->size : size);
	xx_free(old);
	return block;
}
