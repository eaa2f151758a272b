/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * An allocator with the prefix in_, whose functions are hard to probe but at their entries:
 *   in_malloc   writes its argument before its first cheap place
 *   in_realloc  without a block takes a way past that
 *   in_free     is entered behind its entry by in_free_inside, by a jump that no decoder can follow
 */
#include <stdint.h>
#include "gate.h"

#define WARM  211
#define KEPT  1009
#define GIVEN 307 /* of these freed */
#define MADE  503

void *in_malloc(size_t size_bytes);
void *in_realloc(void *block, size_t size_bytes);
void in_free(void *block);
void in_free_inside(void *block);
void *pool_get(size_t size_bytes);
void *pool_resize(void *block, size_t size_bytes);
void pool_put(void *block);

static char area[4 << 20];
static size_t used_bytes;

void *pool_get(size_t size_bytes)
{
	void *block = area + used_bytes;

	used_bytes += (size_bytes + 31) / 16 * 16;
	return block;
}

void *pool_resize(void *block, size_t size_bytes)
{
	return memcpy(pool_get(size_bytes), block, 16);
}

void pool_put(void *block)
{
	memset(block, 0, 16);
}

#if defined(__x86_64__)
#define FUNCTION(name, code)                                                                       \
	__asm__(".text\n.globl " name "\n.type " name ", @function\n" name ":\n.cfi_startproc\n"   \
		code "\n.cfi_endproc\n.size " name ", . - " name "\n")
#define CALL(name)                                                                                 \
	"push %rbx\n.cfi_adjust_cfa_offset 8\ncall " name                                          \
	"\npop %rbx\n.cfi_adjust_cfa_offset -8\nret\n"

FUNCTION("in_malloc", "mov %rdi, %rax\n lea 16(%rdi), %rdi\n" CALL("pool_get"));
FUNCTION("in_realloc", "mov %rdi, %rcx\n jrcxz 1f\n" CALL("pool_resize")
	 "1: mov %rsi, %rdi\n" CALL("pool_get"));
FUNCTION("in_free", "test %rdi, %rdi\n inside:\n" CALL("pool_put"));
FUNCTION("in_free_inside", "lea inside(%rip), %rax\n jmp *%rax\n");
#else
void *in_malloc(size_t size_bytes)
{
	return pool_get(size_bytes);
}

void *in_realloc(void *block, size_t size_bytes)
{
	return block ? pool_resize(block, size_bytes) : pool_get(size_bytes);
}

void in_free(void *block)
{
	pool_put(block);
}

void in_free_inside(void *block)
{
	pool_put(block);
}
#endif

static NOINLINE void warm_up(void)
{
	for (int i = 0; i < WARM; i++) {
		in_free_inside(in_malloc(24));
		in_free(in_realloc(in_realloc(NULL, 24), 40));
	}
}

static NOINLINE void keep_malloc(void)
{
	for (int i = 0; i < KEPT; i++) {
		sink = in_malloc(48);
		if (i < GIVEN)
			in_free(sink);
	}
}

static NOINLINE void keep_realloc(void)
{
	for (int i = 0; i < MADE; i++)
		sink = in_realloc(NULL, 80);
}

int main(void)
{
	gate("READY");
	warm_up();
	gate("DONE warm");
	keep_malloc();
	keep_realloc();
	gate("DONE kept");
	return 0;
}
