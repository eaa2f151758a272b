/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * One table of the functions that hand out blocks or take them back, as the allocators' headers
 * declare them. Those that only resize within the block that they have (mi_expand), or that call
 * others of the table to allocate (strdup, mi_reallocarr), are not here.
 *
 * nothrow operators may call a handler that throws, but catch that themselves; their callers could
 * not.
 */
#include "probe/catalog_names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HEAP	UF_COOKIE_HEAP_FIRST
#define THROW	UF_COOKIE_MAY_THROW
#define FORWARD UF_COOKIE_MAY_FORWARD

const struct catalog_name catalog_names[] = {
	/* of C and the C libraries; reallocarray of glibc ends with a jump to realloc */
	{"malloc", FAMILY_STANDARD, UF_MALLOC, 0, 1},
	{"free", FAMILY_STANDARD, UF_FREE, 0, 1},
	{"calloc", FAMILY_STANDARD, UF_CALLOC, 0, 2},
	{"realloc", FAMILY_STANDARD, UF_REALLOC, 0, 2},
	{"reallocarray", FAMILY_STANDARD, UF_REALLOCARRAY, 0, 3},
	{"posix_memalign", FAMILY_STANDARD, UF_POSIX_MEMALIGN, 0, 3},
	{"aligned_alloc", FAMILY_STANDARD, UF_ALIGNED, 0, 2},
	{"memalign", FAMILY_STANDARD, UF_ALIGNED, 0, 2},
	{"valloc", FAMILY_STANDARD, UF_MALLOC, 0, 1},
	{"pvalloc", FAMILY_STANDARD, UF_PVALLOC, 0, 1},
	{"reallocf", FAMILY_STANDARD, UF_REALLOCF, 0, 2},
	{"cfree", FAMILY_STANDARD, UF_FREE, FORWARD, 1},
	{"free_sized", FAMILY_STANDARD, UF_FREE, FORWARD, 1},
	{"free_aligned_sized", FAMILY_STANDARD, UF_FREE, FORWARD, 1},
	/* of jemalloc; smallocx_ is followed by a commit's hash */
	{"mallocx", FAMILY_JEMALLOC, UF_MALLOC, 0, 1},
	{"rallocx", FAMILY_JEMALLOC, UF_REALLOC, 0, 2},
	{"xallocx", FAMILY_JEMALLOC, UF_XALLOCX, 0, 3},
	{"dallocx", FAMILY_JEMALLOC, UF_FREE, FORWARD, 1},
	{"sdallocx", FAMILY_JEMALLOC, UF_FREE, FORWARD, 1},
	{"smallocx_", FAMILY_JEMALLOC, UF_MALLOC, 0, 1},
	/* of gperftools' tcmalloc */
	{"malloc_skip_new_handler", FAMILY_TCMALLOC, UF_MALLOC, 0, 1},
	{"new", FAMILY_TCMALLOC, UF_MALLOC, THROW, 1},
	{"new_nothrow", FAMILY_TCMALLOC, UF_MALLOC, 0, 1},
	{"newarray", FAMILY_TCMALLOC, UF_MALLOC, THROW, 1},
	{"newarray_nothrow", FAMILY_TCMALLOC, UF_MALLOC, 0, 1},
	{"new_aligned", FAMILY_TCMALLOC, UF_MALLOC, THROW, 1},
	{"new_aligned_nothrow", FAMILY_TCMALLOC, UF_MALLOC, 0, 1},
	{"newarray_aligned", FAMILY_TCMALLOC, UF_MALLOC, THROW, 1},
	{"newarray_aligned_nothrow", FAMILY_TCMALLOC, UF_MALLOC, 0, 1},
	{"delete", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"delete_nothrow", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"delete_sized", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"delete_aligned", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"delete_sized_aligned", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"delete_aligned_nothrow", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"deletearray", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"deletearray_nothrow", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"deletearray_sized", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"deletearray_aligned", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"deletearray_sized_aligned", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	{"deletearray_aligned_nothrow", FAMILY_TCMALLOC, UF_FREE, FORWARD, 1},
	/* of mimalloc */
	{"malloc_small", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"zalloc", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"zalloc_small", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"mallocn", FAMILY_MIMALLOC, UF_CALLOC, 0, 2},
	{"malloc_aligned", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"malloc_aligned_at", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"zalloc_aligned", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"zalloc_aligned_at", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"calloc_aligned", FAMILY_MIMALLOC, UF_CALLOC, 0, 2},
	{"calloc_aligned_at", FAMILY_MIMALLOC, UF_CALLOC, 0, 2},
	{"rezalloc", FAMILY_MIMALLOC, UF_REALLOC, 0, 2},
	{"realloc_aligned", FAMILY_MIMALLOC, UF_REALLOC, 0, 2},
	{"realloc_aligned_at", FAMILY_MIMALLOC, UF_REALLOC, 0, 2},
	{"rezalloc_aligned", FAMILY_MIMALLOC, UF_REALLOC, 0, 2},
	{"rezalloc_aligned_at", FAMILY_MIMALLOC, UF_REALLOC, 0, 2},
	{"reallocn", FAMILY_MIMALLOC, UF_REALLOCARRAY, 0, 3},
	{"recalloc", FAMILY_MIMALLOC, UF_REALLOCARRAY, 0, 3},
	{"recalloc_aligned", FAMILY_MIMALLOC, UF_REALLOCARRAY, 0, 3},
	{"recalloc_aligned_at", FAMILY_MIMALLOC, UF_REALLOCARRAY, 0, 3},
	{"aligned_recalloc", FAMILY_MIMALLOC, UF_REALLOCARRAY, 0, 3},
	{"aligned_offset_recalloc", FAMILY_MIMALLOC, UF_REALLOCARRAY, 0, 3},
	{"free_size", FAMILY_MIMALLOC, UF_FREE, FORWARD, 1},
	{"free_size_aligned", FAMILY_MIMALLOC, UF_FREE, FORWARD, 1},
	{"free_aligned", FAMILY_MIMALLOC, UF_FREE, FORWARD, 1},
	{"new", FAMILY_MIMALLOC, UF_MALLOC, THROW, 1},
	{"new_aligned", FAMILY_MIMALLOC, UF_MALLOC, THROW, 1},
	{"new_nothrow", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"new_aligned_nothrow", FAMILY_MIMALLOC, UF_MALLOC, 0, 1},
	{"new_n", FAMILY_MIMALLOC, UF_CALLOC, THROW, 2},
	{"new_realloc", FAMILY_MIMALLOC, UF_REALLOC, THROW, 2},
	{"new_reallocn", FAMILY_MIMALLOC, UF_REALLOCARRAY, THROW, 3},
	{"heap_malloc", FAMILY_MIMALLOC, UF_MALLOC, HEAP, 2},
	{"heap_malloc_small", FAMILY_MIMALLOC, UF_MALLOC, HEAP, 2},
	{"heap_zalloc", FAMILY_MIMALLOC, UF_MALLOC, HEAP, 2},
	{"heap_calloc", FAMILY_MIMALLOC, UF_CALLOC, HEAP, 3},
	{"heap_mallocn", FAMILY_MIMALLOC, UF_CALLOC, HEAP, 3},
	{"heap_malloc_aligned", FAMILY_MIMALLOC, UF_MALLOC, HEAP, 2},
	{"heap_malloc_aligned_at", FAMILY_MIMALLOC, UF_MALLOC, HEAP, 2},
	{"heap_zalloc_aligned", FAMILY_MIMALLOC, UF_MALLOC, HEAP, 2},
	{"heap_zalloc_aligned_at", FAMILY_MIMALLOC, UF_MALLOC, HEAP, 2},
	{"heap_calloc_aligned", FAMILY_MIMALLOC, UF_CALLOC, HEAP, 3},
	{"heap_calloc_aligned_at", FAMILY_MIMALLOC, UF_CALLOC, HEAP, 3},
	{"heap_realloc", FAMILY_MIMALLOC, UF_REALLOC, HEAP, 3},
	{"heap_reallocf", FAMILY_MIMALLOC, UF_REALLOCF, HEAP, 3},
	{"heap_rezalloc", FAMILY_MIMALLOC, UF_REALLOC, HEAP, 3},
	{"heap_realloc_aligned", FAMILY_MIMALLOC, UF_REALLOC, HEAP, 3},
	{"heap_realloc_aligned_at", FAMILY_MIMALLOC, UF_REALLOC, HEAP, 3},
	{"heap_rezalloc_aligned", FAMILY_MIMALLOC, UF_REALLOC, HEAP, 3},
	{"heap_rezalloc_aligned_at", FAMILY_MIMALLOC, UF_REALLOC, HEAP, 3},
	{"heap_reallocn", FAMILY_MIMALLOC, UF_REALLOCARRAY, HEAP, 4},
	{"heap_recalloc", FAMILY_MIMALLOC, UF_REALLOCARRAY, HEAP, 4},
	{"heap_recalloc_aligned", FAMILY_MIMALLOC, UF_REALLOCARRAY, HEAP, 4},
	{"heap_recalloc_aligned_at", FAMILY_MIMALLOC, UF_REALLOCARRAY, HEAP, 4},
	{"heap_alloc_new", FAMILY_MIMALLOC, UF_MALLOC, HEAP | THROW, 2},
	{"heap_alloc_new_n", FAMILY_MIMALLOC, UF_CALLOC, HEAP | THROW, 3},
	/* operators new and delete, plain, of arrays, aligned, sized, nothrow */
	{"_Znwm", FAMILY_CXX, UF_MALLOC, THROW, 1},
	{"_ZnwmSt11align_val_t", FAMILY_CXX, UF_MALLOC, THROW, 1},
	{"_ZnwmRKSt9nothrow_t", FAMILY_CXX, UF_MALLOC, 0, 1},
	{"_ZnwmSt11align_val_tRKSt9nothrow_t", FAMILY_CXX, UF_MALLOC, 0, 1},
	{"_Znam", FAMILY_CXX, UF_MALLOC, THROW, 1},
	{"_ZnamSt11align_val_t", FAMILY_CXX, UF_MALLOC, THROW, 1},
	{"_ZnamRKSt9nothrow_t", FAMILY_CXX, UF_MALLOC, 0, 1},
	{"_ZnamSt11align_val_tRKSt9nothrow_t", FAMILY_CXX, UF_MALLOC, 0, 1},
	{"_ZdlPv", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdlPvm", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdlPvRKSt9nothrow_t", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdlPvSt11align_val_t", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdlPvmSt11align_val_t", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdlPvSt11align_val_tRKSt9nothrow_t", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdaPv", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdaPvm", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdaPvRKSt9nothrow_t", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdaPvSt11align_val_t", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdaPvmSt11align_val_t", FAMILY_CXX, UF_FREE, FORWARD, 1},
	{"_ZdaPvSt11align_val_tRKSt9nothrow_t", FAMILY_CXX, UF_FREE, FORWARD, 1},
};

#define NAME_CNT (sizeof(catalog_names) / sizeof(catalog_names[0]))
const size_t catalog_name_cnt = NAME_CNT;

#define SMALLOCX "smallocx_"

/* For the search: by name; those that several families have are side by side. */
static const struct catalog_name *sorted[NAME_CNT];

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct catalog_name *const *)a)->name,
		      (*(const struct catalog_name *const *)b)->name);
}

static void sort_names(void)
{
	for (size_t i = 0; i < NAME_CNT; i++)
		sorted[i] = &catalog_names[i];
	qsort(sorted, NAME_CNT, sizeof(sorted[0]), compare_names);
}

const struct catalog_name *catalog_names__find(const char *name, uint32_t families)
{
	bool has_hash = !strncmp(name, SMALLOCX, strlen(SMALLOCX));
	const struct catalog_name key = {.name = has_hash ? SMALLOCX : name};
	const struct catalog_name *key_at = &key;
	const struct catalog_name **at, **end = sorted + NAME_CNT;

	if (!sorted[0])
		sort_names();
	at = bsearch(&key_at, sorted, NAME_CNT, sizeof(sorted[0]), compare_names);
	if (!at)
		return NULL;
	while (at > sorted && !compare_names(at - 1, &key_at))
		at--;
	for (; at < end && !compare_names(at, &key_at); at++)
		if (families & FAMILY_BIT((*at)->family))
			return *at;
	return NULL;
}
