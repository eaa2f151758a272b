/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "python/pool.h"

/* An arena has 64 pools, so that this is 64 GiB of 16 KiB pools, and 16 of 4 KiB ones. */
#define MAX_ARENAS (1u << 16)

bool python_pool__is_in_use(const struct uf_pool_header *header, uint32_t pool_bytes)
{
	uint32_t block_bytes;

	if (header->size_class >= UF_POOL_SIZE_CLASSES || header->arena_index >= MAX_ARENAS)
		return false;
	block_bytes = UF_POOL_BLOCK_BYTES(header);
	if (header->max_next_offset != pool_bytes - block_bytes ||
	    header->next_offset > pool_bytes || header->next_offset < sizeof(*header))
		return false;
	return header->block_cnt &&
	       header->block_cnt <= (pool_bytes - sizeof(*header)) / block_bytes;
}
