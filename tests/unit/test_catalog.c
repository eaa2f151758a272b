/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "elf_builder.h"
#include "probe/catalog.h"

/*
 * Goal of this test: of a file's symbols exactly the allocator's functions become
 * points, each once, with the right meaning and a safe place; and the allocator
 * is told by its own symbols, with the prefix that its names bear.
 */

/* A place at +3: test rdi,rdi; push rbp; pop rbp; ret */
#define TEST_PUSH .code = "\x48\x85\xff\x55\x5d\xc3", .code_len = 6
#define FUNC(n)   { .name = n, TEST_PUSH }

static struct built_elf built;

static struct elf_image *open_funcs(const struct built_func *funcs, size_t cnt)
{
	struct elf_spec spec = { .funcs = funcs, .func_cnt = cnt, .tables = BUILT_SYMTAB };
	struct elf_image *img;
	int fd;

	build_elf(&built, &spec);
	fd = memfd_with(built.bytes, built.size);
	img = elf_image__open_fd(fd);
	ck_assert_ptr_nonnull(img);
	close(fd);
	return img;
}

#define OPEN(funcs) open_funcs(funcs, sizeof(funcs) / sizeof((funcs)[0]))

static void find(struct elf_image *img, const char *prefix, struct probe_points *points)
{
	ck_assert_int_eq(probe_points__find(img, prefix, points), 0);
	elf_image__free(img);
	for (uint32_t i = 0; i < points->cnt; i++) {
		const struct probe_point *p = &points->points[i];

		ck_assert_uint_eq(p->probe_offset, p->func_offset + p->placement.offset);
		ck_assert(!i || p[-1].probe_offset < p->probe_offset);
	}
}

static const struct probe_point *get(const struct probe_points *points, const char *name)
{
	for (uint32_t i = 0; i < points->cnt; i++) {
		if (!strcmp(points->points[i].name, name))
			return &points->points[i];
	}
	return NULL;
}

START_TEST(every_allocator_function_has_its_meaning)
{
	static const struct built_func funcs[] = {
		FUNC("malloc"), FUNC("calloc"), FUNC("realloc"), FUNC("reallocarray"),
		FUNC("free"), FUNC("cfree"), FUNC("free_sized"), FUNC("free_aligned_sized"),
		FUNC("posix_memalign"), FUNC("aligned_alloc"), FUNC("memalign"),
		FUNC("valloc"), FUNC("pvalloc"), FUNC("xmalloc"), FUNC("malloc_trim"), FUNC("main"),
	};
	static const enum uf_func meanings[] = {
		UF_MALLOC, UF_CALLOC, UF_REALLOC, UF_REALLOCARRAY,
		UF_FREE, UF_FREE, UF_FREE, UF_FREE,
		UF_POSIX_MEMALIGN, UF_ALIGNED, UF_ALIGNED, UF_MALLOC, UF_PVALLOC,
	};
	struct probe_points points;

	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(points.cnt, 13);
	for (size_t i = 0; i < 13; i++) {
		ck_assert_ptr_nonnull(get(&points, funcs[i].name));
		ck_assert_int_eq(get(&points, funcs[i].name)->func, meanings[i]);
		ck_assert_uint_eq(get(&points, funcs[i].name)->placement.offset, 3);
	}
	ck_assert(points.has_alloc && points.has_free);
	ck_assert_int_eq(points.allocator, ALLOCATOR_OTHER);
	probe_points__release(&points);
	ck_assert_ptr_null(points.points);
	probe_points__release(&points);
}
END_TEST

START_TEST(argument_registers_are_counted_by_function)
{
	/* mov edx, 1; push: harmless to all but the two with three arguments */
#define WRITES_RDX .code = "\xba\x01\x00\x00\x00\x55\x5d\xc3", .code_len = 8
	static const struct built_func funcs[] = {
		{ .name = "malloc", WRITES_RDX }, { .name = "realloc", WRITES_RDX },
		{ .name = "reallocarray", WRITES_RDX }, { .name = "posix_memalign", WRITES_RDX },
		{ .name = "free", .code = "\xbe\x01\x00\x00\x00\x55\x5d\xc3", .code_len = 8 },
		{ .name = "calloc", .code = "\xbe\x01\x00\x00\x00\x55\x5d\xc3", .code_len = 8 },
	};
	struct probe_points points;

	find(OPEN(funcs), NULL, &points);
	ck_assert_uint_eq(get(&points, "malloc")->placement.offset, 5);
	ck_assert_uint_eq(get(&points, "realloc")->placement.offset, 5);
	ck_assert_uint_eq(get(&points, "reallocarray")->placement.offset, 0);
	ck_assert_uint_eq(get(&points, "posix_memalign")->placement.offset, 0);
	ck_assert_uint_eq(get(&points, "free")->placement.offset, 5);
	ck_assert_uint_eq(get(&points, "calloc")->placement.offset, 0);
	probe_points__release(&points);
}
END_TEST

START_TEST(aliases_are_one_point_with_the_standard_name)
{
	const struct built_func plain = FUNC("free");
	struct elf_image *img = open_funcs(&plain, 1);
	uint64_t vaddr = build__func_vaddr(&built, 0);
	struct built_func funcs[] = {
		FUNC("__libc_free"),
		{ .name = "cfree", .size_bytes = 6 }, { .name = "free", .size_bytes = 6 },
		{ .name = "free_sized", .size_bytes = 6 },
	};
	struct probe_points points;

	elf_image__free(img);
	/* text begins where it does for one function: the header parts are the same */
	for (size_t i = 1; i < 4; i++)
		funcs[i].vaddr = vaddr;
	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(points.cnt, 1);
	ck_assert_str_eq(points.points[0].name, "free");
	ck_assert_uint_eq(points.points[0].func_offset, vaddr - BUILD_VADDR);
	probe_points__release(&points);
}
END_TEST

START_TEST(symbol_in_both_tables_is_one_point)
{
	static const struct built_func funcs[] = { FUNC("malloc"), FUNC("free") };
	struct elf_spec spec = { .funcs = funcs, .func_cnt = 2,
				 .tables = BUILT_SYMTAB | BUILT_DYNSYM };
	struct probe_points points;
	int fd;

	build_elf(&built, &spec);
	fd = memfd_with(built.bytes, built.size);
	find(elf_image__open_fd(fd), "", &points);
	close(fd);
	ck_assert_uint_eq(points.cnt, 2);
	probe_points__release(&points);
}
END_TEST

START_TEST(only_names_with_the_prefix_are_taken)
{
	static const struct built_func funcs[] = {
		FUNC("malloc"), FUNC("free"), FUNC("je_malloc"), FUNC("je_free"),
		FUNC("je_mallctl"), FUNC("je_"), FUNC("xje_calloc"),
	};
	struct probe_points points;

	find(OPEN(funcs), "je_", &points);
	ck_assert_uint_eq(points.cnt, 2);
	ck_assert_int_eq(get(&points, "je_malloc")->func, UF_MALLOC);
	ck_assert_int_eq(get(&points, "je_free")->func, UF_FREE);
	ck_assert_int_eq(points.allocator, ALLOCATOR_JEMALLOC);
	probe_points__release(&points);
}
END_TEST

START_TEST(prefixes_of_known_allocators_need_not_be_named)
{
	static const struct built_func funcs[] = {
		FUNC("malloc"), FUNC("free"), FUNC("gnu_get_libc_version"),
		FUNC("je_malloc"), FUNC("je_free"), FUNC("je_mallctl"), FUNC("je_rallocx"),
		FUNC("je_xallocx"), FUNC("je_smallocx_b23c5a6"), FUNC("je_sdallocx"),
		FUNC("mi_malloc"), FUNC("mi_free"), FUNC("mi_thread_init"), FUNC("mi_heap_calloc"),
		FUNC("mi_reallocf"), FUNC("zz_malloc"), FUNC("zz_free"), FUNC("heap_calloc"),
		FUNC("tc_new_nothrow"), FUNC("rallocx_mi_"),
	};
	struct probe_points points;

	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(points.cnt, 12);
	ck_assert_int_eq(get(&points, "je_malloc")->func, UF_MALLOC);
	ck_assert_int_eq(get(&points, "je_rallocx")->func, UF_REALLOC);
	ck_assert_int_eq(get(&points, "je_xallocx")->func, UF_XALLOCX);
	ck_assert_int_eq(get(&points, "je_smallocx_")->func, UF_MALLOC);
	ck_assert_int_eq(get(&points, "je_sdallocx")->func, UF_FREE);
	ck_assert_int_eq(get(&points, "mi_reallocf")->func, UF_REALLOCF);
	ck_assert_int_eq(get(&points, "mi_heap_calloc")->func, UF_CALLOC);
	ck_assert_uint_eq(get(&points, "mi_heap_calloc")->flags,
			  UF_COOKIE_HEAP_FIRST | UF_COOKIE_MAY_FORWARD);
	/* A C library's own malloc jumps to no other; its realloc may. */
	ck_assert_uint_eq(get(&points, "malloc")->flags, 0);
	ck_assert_uint_eq(get(&points, "mi_malloc")->flags, 0);
	ck_assert(get(&points, "malloc") && get(&points, "free"));
	ck_assert_int_eq(points.allocator, ALLOCATOR_GLIBC);
	probe_points__release(&points);
}
END_TEST

START_TEST(operators_matter_only_where_they_bypass_malloc)
{
	static const struct built_func over_libc[] = {
		FUNC("malloc"), FUNC("free"), FUNC("gnu_get_libc_version"), FUNC("_Znwm"),
		FUNC("_ZdlPv"), FUNC("_ZnwmRKSt9nothrow_t"),
	};
	static const struct built_func alone[] = { FUNC("_Znwm"), FUNC("_ZdlPv") };
	static const struct built_func own[] = {
		FUNC("malloc"), FUNC("free"), FUNC("mallctl"), FUNC("_Znwm"),
		FUNC("_ZdlPv"), FUNC("_ZnwmRKSt9nothrow_t"),
	};
	struct probe_points points;

	find(OPEN(over_libc), "", &points);
	ck_assert_uint_eq(points.cnt, 2);
	ck_assert_uint_eq(points.refused_cnt, 0);
	probe_points__release(&points);
	find(OPEN(alone), "", &points);
	ck_assert_uint_eq(points.cnt, 0);
	probe_points__release(&points);
	/* Nobody knows where the one that may throw ends: the file has no .eh_frame. */
	find(OPEN(own), "", &points);
	ck_assert_uint_eq(points.cnt, 4);
	ck_assert_ptr_nonnull(get(&points, "_ZnwmRKSt9nothrow_t"));
	ck_assert_ptr_nonnull(get(&points, "_ZdlPv"));
	ck_assert_uint_eq(points.refused_cnt, 1);
	ck_assert_str_eq(points.refused, "_Znwm: the file has no .eh_frame");
	ck_assert_uint_eq(points.exit_cnt, 0);
	probe_points__release(&points);
}
END_TEST

START_TEST(prefix_too_long_for_a_name_is_refused)
{
	static const struct built_func funcs[] = { FUNC("malloc") };
	struct elf_image *img = OPEN(funcs);
	struct probe_points points;
	char prefix[64];

	memset(prefix, 'x', sizeof(prefix));
	prefix[45] = '\0'; /* 45 + strlen("free_aligned_sized") + 1 = 64 */
	ck_assert_int_eq(probe_points__find(img, prefix, &points), 0);
	prefix[45] = 'x';
	prefix[46] = '\0';
	ck_assert_int_eq(probe_points__find(img, prefix, &points), -ENAMETOOLONG);
	elf_image__free(img);
}
END_TEST

START_TEST(file_without_an_allocator_gives_no_points)
{
	/* as Go's programs: no C library */
	static const struct built_func funcs[] = {
		FUNC("runtime.mallocgc"), FUNC("runtime.free"), FUNC("runtime.memmove"),
		FUNC("main.main"),
	};
	struct probe_points points;
	char prefix[16] = "untouched";
	struct elf_image *img = OPEN(funcs);

	ck_assert_int_eq(allocator__recognize(img, prefix, sizeof(prefix)), ALLOCATOR_NONE);
	ck_assert_str_eq(prefix, "");
	find(img, "", &points);
	ck_assert_uint_eq(points.cnt, 0);
	ck_assert_int_eq(points.allocator, ALLOCATOR_NONE);
	ck_assert(!points.has_alloc && !points.has_free);
	probe_points__release(&points);
}
END_TEST

START_TEST(ifuncs_and_undecodable_functions_are_left_out)
{
	static const struct built_func funcs[] = {
		{ .name = "malloc", TEST_PUSH, .type = STT_GNU_IFUNC },
		{ .name = "calloc", .code = "\x06\x06", .code_len = 2 },
		FUNC("free"),
	};
	struct probe_points points;

	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(points.cnt, 1);
	ck_assert_ptr_nonnull(get(&points, "free"));
	ck_assert(!points.has_alloc && points.has_free);
	probe_points__release(&points);
}
END_TEST

START_TEST(no_place_behind_another_functions_entry_is_used)
{
	struct built_func funcs[] = { FUNC("malloc"), FUNC("free"), { .name = "inner" } };
	struct elf_image *img = OPEN(funcs);
	struct probe_points points;

	elf_image__free(img);
	funcs[2].vaddr = build__func_vaddr(&built, 0) + 3;
	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(get(&points, "malloc")->placement.offset, 0);
	ck_assert_uint_eq(get(&points, "free")->placement.offset, 3);
	probe_points__release(&points);
}
END_TEST

START_TEST(function_without_a_size_ends_at_the_next_one)
{
	/* the next function's jump leads into the stretch, but is not this function's */
	static const struct built_func funcs[] = {
		{ .name = "malloc", TEST_PUSH, .is_unsized = true },
		{ .name = "other", .code = "\xeb\xc1\xc3", .code_len = 3 },
		{ .name = "free", TEST_PUSH, .is_unsized = true },
	};
	/* the same jump within the function */
	static const struct built_func sized[] = {
		{ .name = "malloc", TEST_PUSH, .size_bytes = BUILD_TEXT_STEP + 3 },
		{ .name = "other", .code = "\xeb\xc1\xc3", .code_len = 3 },
	};
	struct probe_points points;

	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(get(&points, "malloc")->placement.offset, 3);
	ck_assert_uint_eq(get(&points, "free")->placement.offset, 3);
	probe_points__release(&points);
	find(OPEN(sized), "", &points);
	ck_assert_uint_eq(get(&points, "malloc")->placement.offset, 0);
	probe_points__release(&points);
}
END_TEST

START_TEST(function_that_falls_into_another_keeps_its_entry)
{
	struct built_func funcs[] = { FUNC("malloc"), FUNC("cfree"), { .name = "free" } };
	struct elf_image *img = OPEN(funcs);
	struct probe_points points;

	elf_image__free(img);
	funcs[2].vaddr = build__func_vaddr(&built, 1) + 3; /* cfree falls into free at its push */
	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(get(&points, "cfree")->placement.offset, 0);
	ck_assert_uint_eq(get(&points, "free")->placement.offset, 0);
	ck_assert_uint_eq(points.cnt, 3);
	probe_points__release(&points);
}
END_TEST

START_TEST(static_functions_pass_only_as_a_whole_allocator)
{
	static const struct built_func lone[] = { { .name = "free", TEST_PUSH, .is_local = true } };
	static const struct built_func hidden[] = {
		{ .name = "malloc", TEST_PUSH, .is_local = true },
		{ .name = "free", TEST_PUSH, .is_local = true },
	};
	static const struct built_func shadowed[] = {
		{ .name = "free", TEST_PUSH, .is_local = true }, FUNC("malloc"), FUNC("free"),
	};
	struct probe_points points;

	find(OPEN(lone), "", &points);
	ck_assert_uint_eq(points.cnt, 0);
	probe_points__release(&points);
	find(OPEN(hidden), "", &points);
	ck_assert_uint_eq(points.cnt, 2);
	probe_points__release(&points);
	find(OPEN(shadowed), "", &points);
	ck_assert_uint_eq(points.cnt, 2);
	ck_assert_uint_eq(get(&points, "free")->func_offset, built.text + 2 * BUILD_TEXT_STEP);
	probe_points__release(&points);
}
END_TEST

START_TEST(a_static_alias_does_not_hide_a_global_function)
{
	struct built_func funcs[] = {
		{ .name = "free", TEST_PUSH, .is_local = true },
		{ .name = "cfree", .size_bytes = 6 },
	};
	struct elf_image *img = OPEN(funcs);
	struct probe_points points;

	elf_image__free(img);
	funcs[1].vaddr = build__func_vaddr(&built, 0);
	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(points.cnt, 1);
	probe_points__release(&points);
}
END_TEST

START_TEST(more_namesakes_than_fit_are_ignored)
{
	struct built_func funcs[200];
	struct probe_points points;

	for (size_t i = 0; i < 200; i++)
		funcs[i] = (struct built_func)FUNC("malloc");
	find(OPEN(funcs), "", &points);
	ck_assert_uint_eq(points.cnt, 192);
	probe_points__release(&points);
}
END_TEST

static void check_recognized(struct elf_image *img, enum allocator allocator, const char *prefix)
{
	char got[16];
	enum allocator kind = allocator__recognize(img, got, sizeof(got));

	ck_assert_msg(kind == allocator, "%s instead of %s", allocator__name(kind),
		      allocator__name(allocator));
	ck_assert_str_eq(got, prefix);
	elf_image__free(img);
}

#define RECOGNIZE(allocator, prefix, ...)                            \
	do {                                                         \
		const struct built_func funcs_[] = { __VA_ARGS__ };  \
		check_recognized(OPEN(funcs_), allocator, prefix);   \
	} while (0)

#define MALLOC_FREE FUNC("malloc"), FUNC("free")

START_TEST(allocators_are_told_by_their_own_symbols)
{
	RECOGNIZE(ALLOCATOR_OTHER, "", MALLOC_FREE);
	RECOGNIZE(ALLOCATOR_NONE, "", FUNC("malloc"));
	RECOGNIZE(ALLOCATOR_NONE, "", FUNC("mallctl"));
	RECOGNIZE(ALLOCATOR_GLIBC, "", MALLOC_FREE, FUNC("gnu_get_libc_version"));
	RECOGNIZE(ALLOCATOR_GLIBC, "", MALLOC_FREE, { .name = "_int_malloc", .is_local = true });
	RECOGNIZE(ALLOCATOR_MUSL, "", MALLOC_FREE, FUNC("__dls3"));
	RECOGNIZE(ALLOCATOR_MUSL, "", MALLOC_FREE, FUNC("__libc_malloc_impl"),
		  FUNC("__libc_malloc"));
	RECOGNIZE(ALLOCATOR_JEMALLOC, "", MALLOC_FREE, FUNC("mallctl"));
	RECOGNIZE(ALLOCATOR_TCMALLOC, "", MALLOC_FREE, FUNC("TCMallocInternalMalloc"));
}
END_TEST

START_TEST(prefixes_are_told)
{
	RECOGNIZE(ALLOCATOR_JEMALLOC, "je_", FUNC("je_malloc"), FUNC("je_free"),
		  FUNC("je_mallctl"));
	RECOGNIZE(ALLOCATOR_JEMALLOC, "_rjem_", FUNC("_rjem_malloc"), FUNC("_rjem_free"),
		  FUNC("_rjem_mallctl"));
	RECOGNIZE(ALLOCATOR_MIMALLOC, "mi_", FUNC("mi_malloc"), FUNC("mi_free"),
		  FUNC("mi_thread_init"));
	RECOGNIZE(ALLOCATOR_TCMALLOC, "tc_", FUNC("tc_malloc"), FUNC("tc_free"));
	/* the C library's own next to it */
	RECOGNIZE(ALLOCATOR_JEMALLOC, "je_", FUNC("je_malloc"), FUNC("je_free"), FUNC("je_mallctl"),
		  MALLOC_FREE, FUNC("gnu_get_libc_version"));
	/* not whole */
	RECOGNIZE(ALLOCATOR_GLIBC, "", FUNC("je_malloc"), FUNC("je_mallctl"), MALLOC_FREE,
		  FUNC("_int_malloc"));
	/* a tracer's wrapper of another allocator's name */
	RECOGNIZE(ALLOCATOR_OTHER, "", MALLOC_FREE, FUNC("mi_malloc"), FUNC("mi_free"));
	/* longer than the caller's buffer */
	RECOGNIZE(ALLOCATOR_NONE, "", FUNC("sixteen_letters_malloc"), FUNC("sixteen_letters_free"),
		  FUNC("sixteen_letters_mallctl"));
}
END_TEST

START_TEST(prefixed_names_that_alias_the_plain_ones_need_no_prefix)
{
	struct built_func funcs[] = {
		MALLOC_FREE, { .name = "tc_malloc" }, { .name = "tc_free" },
		{ .name = "__libc_malloc" },
	};
	struct elf_image *img = OPEN(funcs);

	elf_image__free(img);
	funcs[2].vaddr = funcs[4].vaddr = build__func_vaddr(&built, 0);
	funcs[3].vaddr = build__func_vaddr(&built, 1);
	check_recognized(OPEN(funcs), ALLOCATOR_TCMALLOC, "");
}
END_TEST

START_TEST(allocators_have_names)
{
	ck_assert_str_eq(allocator__name(ALLOCATOR_NONE), "none");
	ck_assert_str_eq(allocator__name(ALLOCATOR_MIMALLOC), "mimalloc");
	ck_assert_ptr_nonnull(allocator__name((enum allocator)99));
}
END_TEST

/* -- the C library that this test runs on -- */

static int find_libc(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *base = strrchr(info->dlpi_name, '/');

	(void)size;
	if (!base || (strncmp(base, "/libc.", 6) && strncmp(base, "/ld-musl", 8)))
		return 0;
	*(int *)arg = open(info->dlpi_name, O_RDONLY | O_CLOEXEC);
	return 1;
}

static struct elf_image *open_libc(void)
{
	struct elf_image *img;
	int fd = -1;

	dl_iterate_phdr(find_libc, &fd);
	img = elf_image__open_fd(fd);
	ck_assert_ptr_nonnull(img);
	close(fd);
	return img;
}

START_TEST(the_c_library_is_recognized_and_has_the_usual_functions)
{
	static const char *const names[] = {
		"malloc", "calloc", "realloc", "free", "posix_memalign",
	};
	struct elf_image *img = open_libc();
	struct probe_points points;
	char prefix[16];

	ck_assert_int_ne(allocator__recognize(img, prefix, sizeof(prefix)), ALLOCATOR_NONE);
	ck_assert_str_eq(prefix, "");
	find(img, "", &points);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_msg(get(&points, names[i]) != NULL, "no %s", names[i]);
	probe_points__release(&points);
}
END_TEST

/* Whether the library's banner says so. */
static bool is_debian_12(const struct elf_image *img)
{
	static const char banner[] = "Debian GLIBC 2.36-9+deb12";
	const size_t max = 16 << 20;
	char *bytes = malloc(max);
	long got = elf_image__read_code(img, 0, bytes, max);
	bool found = got > 0 && memmem(bytes, (size_t)got, banner, strlen(banner));

	free(bytes);
	return found && elf_image__arch(img) == ELF_ARCH_X86_64;
}

/* Places read from its update 14 with objdump; other updates must be as cheap. */
START_TEST(debian_12s_c_library_gets_emulated_places)
{
	static const struct { const char *name; uint32_t offset; } known[] = {
		{ "malloc", 0 }, { "calloc", 0 }, { "realloc", 0 }, { "free", 3 },
		{ "aligned_alloc", 7 }, { "posix_memalign", 7 }, { "valloc", 7 }, { "pvalloc", 7 },
	};
	static const char update_14[] = "93ac61ec5a8eb1396f9fbd350e3169a558528a40";
	struct elf_image *img = open_libc();
	struct probe_points points;
	bool is_known;

	if (!is_debian_12(img)) {
		fprintf(stderr, "skipped: Debian 12's places: the C library is another one\n");
		elf_image__free(img);
		return;
	}
	is_known = !strcmp(elf_image__build_id(img), update_14);
	find(img, "", &points);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct probe_point *p = get(&points, known[i].name);

		ck_assert_msg(p && p->placement.emulated, "%s is stepped", known[i].name);
		ck_assert(!is_known || p->placement.offset == known[i].offset);
	}
	ck_assert_int_eq(points.allocator, ALLOCATOR_GLIBC);
	probe_points__release(&points);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("catalog");
	TCase *tcase = tcase_create("catalog");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, every_allocator_function_has_its_meaning);
	tcase_add_test(tcase, argument_registers_are_counted_by_function);
	tcase_add_test(tcase, aliases_are_one_point_with_the_standard_name);
	tcase_add_test(tcase, symbol_in_both_tables_is_one_point);
	tcase_add_test(tcase, only_names_with_the_prefix_are_taken);
	tcase_add_test(tcase, prefixes_of_known_allocators_need_not_be_named);
	tcase_add_test(tcase, operators_matter_only_where_they_bypass_malloc);
	tcase_add_test(tcase, prefix_too_long_for_a_name_is_refused);
	tcase_add_test(tcase, file_without_an_allocator_gives_no_points);
	tcase_add_test(tcase, ifuncs_and_undecodable_functions_are_left_out);
	tcase_add_test(tcase, no_place_behind_another_functions_entry_is_used);
	tcase_add_test(tcase, function_without_a_size_ends_at_the_next_one);
	tcase_add_test(tcase, function_that_falls_into_another_keeps_its_entry);
	tcase_add_test(tcase, static_functions_pass_only_as_a_whole_allocator);
	tcase_add_test(tcase, a_static_alias_does_not_hide_a_global_function);
	tcase_add_test(tcase, more_namesakes_than_fit_are_ignored);
	tcase_add_test(tcase, allocators_are_told_by_their_own_symbols);
	tcase_add_test(tcase, prefixes_are_told);
	tcase_add_test(tcase, prefixed_names_that_alias_the_plain_ones_need_no_prefix);
	tcase_add_test(tcase, allocators_have_names);
	tcase_add_test(tcase, the_c_library_is_recognized_and_has_the_usual_functions);
	tcase_add_test(tcase, debian_12s_c_library_gets_emulated_places);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
