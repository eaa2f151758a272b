/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * libunfreed-gate.so, to be preloaded (LD_PRELOAD): stands before the process's allocator and
 * samples by bytes, so that only what is sampled reaches a probe. See include/gate_contract.h for what the
 * probes are told.
 *
 * What is not sampled must cost next to nothing: a countdown of the thread, a byte that says "not
 * sampled" of what is freed, and a jump to the allocator's own function. Blocks are handed through as
 * they are: whoever else knows them (malloc_usable_size, another library) sees no difference.
 *
 * It needs no C library, so one file serves them all; it takes no locks and calls nobody but the
 * allocator, so threads, signal handlers, forks, and calls from before main() and after exit() are
 * as safe as the allocator is.
 *
 * What only jumps to an allocator's function leaves no frame. And unfreed_gate_alloc() is jumped to
 * from each function, as the last thing: the stack is the caller's again.
 */
#include <asm/errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hooks.h"
#include "next.h"
#include "sampled_set.h"
#include "sampler.h"
#include "settings.h"

#define COLD __attribute__((noinline, cold))

extern int *__errno_location(void) __attribute__((weak));

/* Of the thread. In the space that the loader sets aside at the start: reached without a call. */
static __thread struct sampler sampler;
/* The frame of an allocator's function that we have called and that may call others; 0: none. */
static __thread uintptr_t outer_frame;

static struct sampled_set sampled;

/* -- the allocator's own functions -- */

/* X(result, name, parameters, arguments) */
#define FUNCTIONS(X)                                                                               \
	X(void *, malloc, (size_t size), (size))                                                   \
	X(void *, calloc, (size_t cnt, size_t size), (cnt, size))                                  \
	X(void *, realloc, (void *block, size_t size), (block, size))                              \
	X(int, posix_memalign, (void **out, size_t align, size_t size), (out, align, size))        \
	X(void *, aligned_alloc, (size_t align, size_t size), (align, size))                       \
	X(void *, memalign, (size_t align, size_t size), (align, size))                            \
	X(void *, valloc, (size_t size), (size))                                                   \
	X(void *, pvalloc, (size_t size), (size))

static void find_next(void);

EXPORT void *malloc(size_t size);
/* By its own name it would be whichever the process calls. */
extern void *our_malloc(size_t size) __attribute__((alias("malloc"), visibility("hidden")));

/* Each begins as one that finds them all first. */
#define X(result, name, parameters, arguments)                                                     \
	static result first_##name parameters;                                                     \
	static result(*next_##name) parameters = first_##name;                                     \
	static COLD result first_##name parameters                                                 \
	{                                                                                          \
		find_next();                                                                       \
		return next_##name arguments;                                                      \
	}
FUNCTIONS(X)
#undef X

static void first_free(void *block);
static void (*next_free)(void *block) = first_free;

static COLD void first_free(void *block)
{
	find_next();
	next_free(block);
}

/* In place of what this C library does not have: nobody who was linked with it calls them. */
static void *no_block(void)
{
	if (__errno_location)
		*__errno_location() = ENOMEM;
	return NULL;
}

static bool is_in_front(void)
{
	return next__first("malloc") == (void *)our_malloc;
}

/* If two threads are the first, both find the same. */
static COLD void find_next(void)
{
	void *found = next__find("free");

	if (!found)
		__builtin_trap(); /* freed by nobody */
	next_free = (void (*)(void *))found;
#define X(result, name, parameters, arguments)                                                     \
	found = next__find(#name);                                                                 \
	next_##name = (result(*) parameters)(found ? found : (void *)no_block);
	FUNCTIONS(X)
#undef X
	if (unfreed_gate_state.interval_bytes)
		return;
	unfreed_gate_state.interval_bytes = settings__interval_bytes();
	/* If the program has its own, or another library comes before this one, only the rest of the
	 * functions is called, if any. */
	if (is_in_front())
		__atomic_store_n(&unfreed_gate_state.version, UF_GATE_VERSION, __ATOMIC_RELEASE);
}

/* So that it can be seen in a process that has not allocated yet. */
__attribute__((constructor)) static void settle(void)
{
	if (is_in_front())
		find_next();
}

/* -- what is sampled -- */

/*
 * musl's calloc() calls malloc(), and other allocators' functions do the like: that is no block of
 * its own. A call of such a function that was left by longjmp lies below whoever calls next.
 */
static bool is_inside(uintptr_t frame)
{
	return outer_frame && frame < outer_frame;
}

/* The old value, for leave(). */
static inline uintptr_t enter(uintptr_t frame)
{
	uintptr_t old = outer_frame;

	if (!is_inside(frame))
		outer_frame = frame;
	return is_inside(frame) ? old : 0;
}

static inline void leave(uintptr_t old)
{
	outer_frame = old;
}

static uint64_t entropy(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc() ^ (uintptr_t)&sampler;
#else
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks ^ (uintptr_t)&sampler;
#endif
}

/* A block of which sampler__passes says no. */
static COLD bool draw(size_t size, uintptr_t frame)
{
	if (!unfreed_gate_state.interval_bytes)
		find_next();
	return sampler__draw(&sampler, size, unfreed_gate_state.interval_bytes, entropy()) &&
	       !is_inside(frame);
}

/* Is the block to be told of? */
static COLD bool keep(void *block, size_t size)
{
	if (!block)
		return false;
	if (sampled_set__add(&sampled, (uintptr_t)block))
		return true;
	unfreed_gate_tell(UF_GATE_LOST, size);
	return false;
}

/* The same for a function that returns an error: a conversion of the result would come after it. */
extern int tell_of_success(void *block, size_t size, uint64_t interval_bytes,
			   uintptr_t zero) __asm__(UF_GATE_ALLOC);

#define FRAME ((uintptr_t)__builtin_frame_address(0))

/* Returns block, to the application's caller. */
#define tell_of(block, size)                                                                       \
	((void *)unfreed_gate_alloc(block, size, unfreed_gate_state.interval_bytes,                \
				    (uintptr_t)(block)))

static inline bool is_drawn(size_t size, uintptr_t frame)
{
	return !sampler__passes(&sampler, size) && draw(size, frame);
}

/* -- what the application calls -- */

static COLD void *malloc_at_end(size_t size)
{
	bool is_sampled = draw(size, FRAME);
	void *block = next_malloc(size);

	if (!is_sampled || !keep(block, size))
		return block;
	return tell_of(block, size);
}

EXPORT void *malloc(size_t size)
{
	if (sampler__passes(&sampler, size))
		return next_malloc(size);
	return malloc_at_end(size);
}

static COLD void free_sampled(void *block)
{
	if (block && sampled_set__remove(&sampled, (uintptr_t)block))
		unfreed_gate_tell(UF_GATE_FREE, (uintptr_t)block);
	next_free(block);
}

EXPORT void free(void *block)
{
	if (__builtin_expect(sampled_set__may_have(&sampled, (uintptr_t)block), 0))
		free_sampled(block);
	else
		next_free(block);
}

EXPORT void *calloc(size_t cnt, size_t size)
{
	size_t bytes;
	bool is_sampled = !__builtin_mul_overflow(cnt, size, &bytes) && is_drawn(bytes, FRAME);
	uintptr_t outer = enter(FRAME);
	void *block = next_calloc(cnt, size);

	leave(outer);
	if (!is_sampled || !keep(block, bytes))
		return block;
	return tell_of(block, bytes);
}

/* A sampled block leaves before its address can be another's; it is back if realloc fails. */
static bool resize_sampled(void *block)
{
	if (!block || !sampled_set__may_have(&sampled, (uintptr_t)block) ||
	    !sampled_set__remove(&sampled, (uintptr_t)block))
		return false;
	unfreed_gate_tell(UF_GATE_RESIZE, (uintptr_t)block);
	return true;
}

static COLD void settle_resized(void *old, bool has_failed)
{
	if (has_failed && sampled_set__add(&sampled, (uintptr_t)old))
		unfreed_gate_tell(UF_GATE_KEPT, (uintptr_t)old);
	else
		unfreed_gate_tell(UF_GATE_GONE, (uintptr_t)old);
}

EXPORT void *realloc(void *old, size_t size)
{
	bool is_sampled = is_drawn(size, FRAME), had_old = resize_sampled(old);
	uintptr_t outer = enter(FRAME);
	void *block = next_realloc(old, size);

	leave(outer);
	/* glibc's realloc(p, 0) frees p. */
	if (had_old)
		settle_resized(old, !block && size);
	if (!is_sampled || !keep(block, size))
		return block;
	return tell_of(block, size);
}

/* glibc's calls realloc(); older ones have none. */
EXPORT void *reallocarray(void *old, size_t cnt, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(cnt, size, &bytes))
		return no_block();
	return realloc(old, bytes);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	bool is_sampled = is_drawn(size, FRAME);
	uintptr_t outer = enter(FRAME);
	int err = next_posix_memalign(out, align, size);

	leave(outer);
	if (!is_sampled || err || !keep(*out, size))
		return err;
	return tell_of_success(*out, size, unfreed_gate_state.interval_bytes, 0);
}

#define ALIGNED(name, parameters, arguments, bytes)                                                \
	EXPORT void *name parameters                                                               \
	{                                                                                          \
		bool is_sampled = is_drawn(bytes, FRAME);                                          \
		uintptr_t outer = enter(FRAME);                                                    \
		void *block = next_##name arguments;                                               \
                                                                                                   \
		leave(outer);                                                                      \
		if (!is_sampled || !keep(block, bytes))                                            \
			return block;                                                              \
		return tell_of(block, bytes);                                                      \
	}

#define PAGE_BYTES 4096 /* at least: pvalloc()'s blocks count as rounded up to that */
#define IN_PAGES(size) (((size) + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1))

ALIGNED(aligned_alloc, (size_t align, size_t size), (align, size), size)
ALIGNED(memalign, (size_t align, size_t size), (align, size), size)
ALIGNED(valloc, (size_t size), (size), size)
ALIGNED(pvalloc, (size_t size), (size), IN_PAGES(size))

/* Other names of free(). */
EXPORT void cfree(void *block)
{
	free(block);
}

EXPORT void free_sized(void *block, size_t size)
{
	(void)size;
	free(block);
}

EXPORT void free_aligned_sized(void *block, size_t align, size_t size)
{
	(void)align;
	(void)size;
	free(block);
}
