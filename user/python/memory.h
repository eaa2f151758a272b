/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_MEMORY_H
#define UNFREED_PYTHON_MEMORY_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the target's memory: copies size bytes at address; 0 or -errno (all or nothing). */
typedef int (*python_read_fn)(void *arg, uint64_t address, void *buf, size_t size);

/* The target's memory, as the modules of this folder read it. It changes while they do. */
struct python_memory {
	python_read_fn read;
	void *arg;
};

static inline int python_memory__read(const struct python_memory *mem, uint64_t address, void *buf,
				      size_t size)
{
	if (!address || address + size < address)
		return -EFAULT;
	return mem->read(mem->arg, address, buf, size);
}

static inline int python_memory__read_u64(const struct python_memory *mem, uint64_t address,
					  uint64_t *value)
{
	return python_memory__read(mem, address, value, sizeof(*value));
}

static inline int python_memory__read_u32(const struct python_memory *mem, uint64_t address,
					  uint32_t *value)
{
	return python_memory__read(mem, address, value, sizeof(*value));
}

#endif
