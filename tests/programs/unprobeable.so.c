/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Allocator functions of which one cannot be probed: the kernel refuses an instruction with a lock
 * prefix, and finds that out when the others have their probes. Nobody calls them. keep_blocks() is
 * for "hostile keep", which loads this.
 */
#include <stddef.h>

void *malloc(size_t size_bytes);
void free(void *memory);
void keep_blocks(long cnt);

void *malloc(size_t size_bytes)
{
	static char area[4096];

	return size_bytes <= sizeof(area) ? area : NULL;
}

void free(void *memory)
{
	__asm__ volatile("push %%rax; pop %%rax" ::"D"(memory) : "memory");
}

void keep_blocks(long cnt)
{
	(void)cnt;
}

__asm__(".globl calloc\n"
	".type calloc, @function\n"
	"calloc:\n"
	"	lock incq -64(%rsp)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	".size calloc, . - calloc\n");
