// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
/*
 * families FAMILY [LIBRARY]: every function that an allocator has of its own beside malloc's names
 * (jemalloc's mallocx and so on, tcmalloc's tc_, mimalloc's mi_), each in a function of its own, and
 * malloc of the program's in between. Without LIBRARY (dlopen'ed, its names private) the functions
 * are looked for in what is loaded. After DONE rows it says what each has left:
 * "ROW function blocks bytes". Functions that the library lacks have none.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#include "gate.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define OLD_BYTES 61u
#define ALIGN	  ((size_t)512)

typedef void *(*any_fn)();

static void *handle = RTLD_DEFAULT;
static any_fn base;	    /* the family's malloc, for blocks to be resized or freed */
static void *heap;
static bool is_missing;

static any_fn find(const char *name)
{
	any_fn fn;

	*(void **)&fn = dlsym(handle, name);
	is_missing = !fn;
	return fn;
}

NOINLINE static void *old_block(void)
{
	return base((size_t)OLD_BYTES);
}

/* What a row's function has left behind. */
struct row {
	const char *name;
	void (*run)(void);
	int blocks;
	long bytes;
};

#define MAKES(f, cnt, bytes, call)                                                                 \
	NOINLINE static void run_##f(void)                                                         \
	{                                                                                          \
		any_fn f = find(#f);                                                               \
		for (int i = 0; f && i < (cnt); i++) {                                             \
			sink = (void *)(call);                                                     \
			if (!sink)                                                                 \
				gate_die(#f);                                                      \
		}                                                                                  \
	}

/* Of 41 blocks of the family's malloc cnt are freed. */
#define FREES(f, cnt, call)                                                                        \
	NOINLINE static void run_##f(void)                                                         \
	{                                                                                          \
		any_fn f = find(#f);                                                               \
		for (int i = 0; f && i < 41; i++) {                                                \
			void *p = base((size_t)OLD_BYTES);                                         \
			if (i < (cnt))                                                             \
				call;                                                              \
		}                                                                                  \
	}

#define MAKES_ROW(f, cnt, bytes, call) {#f, run_##f, cnt, (long)(cnt) * (bytes)},
#define FREES_ROW(f, cnt, call)	       {#f, run_##f, 41 - (cnt), (long)(41 - (cnt)) * OLD_BYTES},

#define S(n) ((size_t)(n))
#define POSIX(f) ({ void *p_ = NULL; f(&p_, ALIGN, S(191)); p_; })

/* mallocx's flags: log2 of the alignment below 64; zero is 64. */
#define JEMALLOC(M, F)                                                                             \
	M(mallocx, 11, 1009, mallocx(S(1009), i % 2 ? 12 : 64))                                    \
	M(rallocx, 13, 2003, rallocx(old_block(), S(2003), i % 2 ? 7 : 0))                         \
	F(dallocx, 17, dallocx(p, 0))                                                              \
	F(sdallocx, 19, sdallocx(p, S(OLD_BYTES), 0))

#define TCMALLOC(M, F)                                                                             \
	M(tc_malloc, 11, 101, tc_malloc(S(101)))                                                   \
	M(tc_malloc_skip_new_handler, 13, 103, tc_malloc_skip_new_handler(S(103)))                 \
	M(tc_calloc, 17, 3 * 107, tc_calloc(S(3), S(107)))                                         \
	M(tc_realloc, 19, 2003, tc_realloc(old_block(), S(2003)))                                  \
	M(tc_memalign, 23, 109, tc_memalign(ALIGN, S(109)))                                        \
	M(tc_posix_memalign, 29, 191, POSIX(tc_posix_memalign))                                    \
	M(tc_valloc, 7, 113, tc_valloc(S(113)))                                                    \
	M(tc_pvalloc, 5, 4096, tc_pvalloc(S(127)))                                                 \
	M(tc_new, 31, 131, tc_new(S(131)))                                                         \
	M(tc_new_nothrow, 37, 137, tc_new_nothrow(S(137), &heap))                                  \
	M(tc_newarray, 41, 139, tc_newarray(S(139)))                                               \
	M(tc_newarray_nothrow, 43, 149, tc_newarray_nothrow(S(149), &heap))                        \
	M(tc_new_aligned, 47, 151, tc_new_aligned(S(151), ALIGN))                                  \
	M(tc_new_aligned_nothrow, 53, 157, tc_new_aligned_nothrow(S(157), ALIGN, &heap))           \
	M(tc_newarray_aligned, 59, 163, tc_newarray_aligned(S(163), ALIGN))                        \
	F(tc_free, 2, tc_free(p))                                                                  \
	F(tc_cfree, 3, tc_cfree(p))                                                                \
	F(tc_free_sized, 5, tc_free_sized(p, S(OLD_BYTES)))                                        \
	F(tc_delete, 7, tc_delete(p))                                                              \
	F(tc_delete_sized, 11, tc_delete_sized(p, S(OLD_BYTES)))                                   \
	F(tc_delete_nothrow, 13, tc_delete_nothrow(p, &heap))                                      \
	F(tc_deletearray, 17, tc_deletearray(p))

#define MIMALLOC(M, F)                                                                             \
	M(mi_malloc, 11, 101, mi_malloc(S(101)))                                                   \
	M(mi_malloc_small, 13, 103, mi_malloc_small(S(103)))                                       \
	M(mi_zalloc, 17, 107, mi_zalloc(S(107)))                                                   \
	M(mi_zalloc_small, 19, 109, mi_zalloc_small(S(109)))                                       \
	M(mi_calloc, 23, 3 * 113, mi_calloc(S(3), S(113)))                                         \
	M(mi_mallocn, 29, 5 * 127, mi_mallocn(S(5), S(127)))                                       \
	M(mi_realloc, 31, 2003, mi_realloc(old_block(), S(2003)))                                  \
	M(mi_reallocn, 37, 7 * 131, mi_reallocn(old_block(), S(7), S(131)))                        \
	M(mi_reallocf, 41, 2011, mi_reallocf(old_block(), S(2011)))                                \
	M(mi_rezalloc, 43, 137, mi_rezalloc(old_block(), S(137)))                                  \
	M(mi_recalloc, 47, 2 * 139, mi_recalloc(old_block(), S(2), S(139)))                        \
	M(mi_memalign, 53, 149, mi_memalign(ALIGN, S(149)))                                        \
	M(mi_aligned_alloc, 59, 1024, mi_aligned_alloc(ALIGN, S(1024)))                            \
	M(mi_posix_memalign, 61, 191, POSIX(mi_posix_memalign))                                    \
	M(mi_valloc, 7, 151, mi_valloc(S(151)))                                                    \
	M(mi_pvalloc, 5, 4096, mi_pvalloc(S(157)))                                                 \
	M(mi_malloc_aligned, 11, 163, mi_malloc_aligned(S(163), ALIGN))                            \
	M(mi_malloc_aligned_at, 13, 167, mi_malloc_aligned_at(S(167), ALIGN, S(16)))               \
	M(mi_zalloc_aligned, 17, 173, mi_zalloc_aligned(S(173), ALIGN))                            \
	M(mi_calloc_aligned, 19, 2 * 179, mi_calloc_aligned(S(2), S(179), ALIGN))                  \
	M(mi_realloc_aligned, 23, 2017, mi_realloc_aligned(old_block(), S(2017), ALIGN))           \
	M(mi_recalloc_aligned, 29, 3 * 181,                                                        \
	  mi_recalloc_aligned(old_block(), S(3), S(181), ALIGN))                                   \
	M(mi_heap_malloc, 31, 193, mi_heap_malloc(heap, S(193)))                                   \
	M(mi_heap_malloc_small, 37, 197, mi_heap_malloc_small(heap, S(197)))                       \
	M(mi_heap_zalloc, 41, 199, mi_heap_zalloc(heap, S(199)))                                   \
	M(mi_heap_calloc, 43, 3 * 211, mi_heap_calloc(heap, S(3), S(211)))                         \
	M(mi_heap_mallocn, 47, 5 * 223, mi_heap_mallocn(heap, S(5), S(223)))                       \
	M(mi_heap_malloc_aligned, 53, 227, mi_heap_malloc_aligned(heap, S(227), ALIGN))            \
	M(mi_heap_calloc_aligned, 59, 2 * 229,                                                     \
	  mi_heap_calloc_aligned(heap, S(2), S(229), ALIGN))                                       \
	M(mi_heap_realloc, 61, 2027, mi_heap_realloc(heap, old_block(), S(2027)))                  \
	M(mi_heap_reallocn, 11, 3 * 233, mi_heap_reallocn(heap, old_block(), S(3), S(233)))        \
	M(mi_heap_reallocf, 13, 2029, mi_heap_reallocf(heap, old_block(), S(2029)))                \
	M(mi_heap_recalloc, 17, 2 * 239, mi_heap_recalloc(heap, old_block(), S(2), S(239)))        \
	M(mi_heap_realloc_aligned, 19, 2039,                                                       \
	  mi_heap_realloc_aligned(heap, old_block(), S(2039), ALIGN))                              \
	M(mi_heap_recalloc_aligned, 23, 2 * 241,                                                   \
	  mi_heap_recalloc_aligned(heap, old_block(), S(2), S(241), ALIGN))                        \
	M(mi_new, 29, 251, mi_new(S(251)))                                                         \
	M(mi_new_aligned, 31, 257, mi_new_aligned(S(257), ALIGN))                                  \
	M(mi_new_nothrow, 37, 263, mi_new_nothrow(S(263)))                                         \
	M(mi_new_aligned_nothrow, 41, 269, mi_new_aligned_nothrow(S(269), ALIGN))                  \
	M(mi_new_n, 43, 3 * 271, mi_new_n(S(3), S(271)))                                           \
	M(mi_new_realloc, 47, 2053, mi_new_realloc(old_block(), S(2053)))                          \
	M(mi_new_reallocn, 53, 3 * 277, mi_new_reallocn(old_block(), S(3), S(277)))                \
	M(mi_heap_alloc_new, 59, 281, mi_heap_alloc_new(heap, S(281)))                             \
	M(mi_heap_alloc_new_n, 61, 3 * 283, mi_heap_alloc_new_n(heap, S(3), S(283)))               \
	F(mi_free, 2, mi_free(p))                                                                  \
	F(mi_cfree, 3, mi_cfree(p))                                                                \
	F(mi_free_size, 5, mi_free_size(p, S(OLD_BYTES)))                                          \
	F(mi_free_size_aligned, 7, mi_free_size_aligned(p, S(OLD_BYTES), S(8)))                    \
	F(mi_free_aligned, 11, mi_free_aligned(p, S(8)))

JEMALLOC(MAKES, FREES)
TCMALLOC(MAKES, FREES)
MIMALLOC(MAKES, FREES)

static const struct row jemalloc[] = {JEMALLOC(MAKES_ROW, FREES_ROW)};
static const struct row tcmalloc[] = {TCMALLOC(MAKES_ROW, FREES_ROW)};
static const struct row mimalloc[] = {MIMALLOC(MAKES_ROW, FREES_ROW)};

/* Blocks of 100 bytes lie in one of 112: so much xallocx can give, and no more. */
NOINLINE static void run_xallocx(void)
{
	size_t (*xallocx)(void *, size_t, size_t, int) =
		(size_t(*)(void *, size_t, size_t, int))(void *)find("xallocx");

	for (int i = 0; xallocx && i < 10; i++) {
		void *p = base(S(100));
		size_t got = i < 2   ? xallocx(p, 111, 0, 0)
			     : i < 5 ? xallocx(p, 105, 4000, 0)
				     : xallocx(p, 5000, 0, 0);

		if (got != 112)
			gate_die("xallocx");
	}
}

static const struct row in_place[] = {{"xallocx", run_xallocx, 10, 2 * 111 + 3 * 112 + 5 * 100}};

static void run_rows(const struct row *rows, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		rows[i].run();
}

static void say_rows(const struct row *rows, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		find(rows[i].name);
		if (!is_missing)
			gate_say("ROW %s %d %ld", rows[i].name, rows[i].blocks, rows[i].bytes);
	}
}

/* The program's own allocator, whatever that is. */
NOINLINE static void run_malloc(void)
{
	for (int i = 0; i < 73; i++)
		sink = malloc(79);
}

int main(int argc, char **argv)
{
	const char *family = argc > 1 ? argv[1] : "";
	const struct row *rows = jemalloc;
	size_t cnt = ARRAY_SIZE(jemalloc);
	const char *malloc_name = "malloc";

	if (argc > 2)
		handle = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
	if (!handle && argc > 2)
		gate_die(dlerror());
	if (!strcmp(family, "tcmalloc")) {
		rows = tcmalloc;
		cnt = ARRAY_SIZE(tcmalloc);
		malloc_name = "tc_malloc";
	} else if (!strcmp(family, "mimalloc")) {
		rows = mimalloc;
		cnt = ARRAY_SIZE(mimalloc);
		malloc_name = "mi_malloc";
		if (find("mi_heap_new"))
			heap = find("mi_heap_new")();
	}
	base = find(malloc_name);
	if (!base)
		gate_die(malloc_name);
	gate("READY");
	run_rows(rows, cnt);
	if (rows == jemalloc)
		run_rows(in_place, 1);
	run_malloc();
	gate("DONE rows");
	say_rows(rows, cnt);
	if (rows == jemalloc)
		say_rows(in_place, 1);
	return 0;
}
