/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/kernel_names.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"
#include "snapshot/snapshot.h"
#include "sym/kallsyms.h"

/*
 * Goal of this test: a stack begins with who wanted memory, whatever led from
 * there to the program; pages that others take for what they hand out are
 * known; and a stack has the same id wherever the kernel lies.
 */

/* Functions of 256 bytes, one after the other, in each of two kernels. */
static const char *const functions[] = {
	"_stext", "bpf_trace_run6", "__traceiter_kmalloc", "__kmalloc_noprof", "alloc_pipe_info",
	"create_pipe_files", "do_syscall_64", "__alloc_frozen_pages_noprof", "allocate_slab",
	"___kmalloc_large_node", "__kmalloc_large_node_noprof", "pcpu_alloc_noprof",
	"pcpu_populate_chunk", "array_map_alloc", "bpf_map_create", "__vmalloc_node_range_noprof",
};
enum {
	STEXT, TRACE_RUN, ITER, KMALLOC, PIPE_INFO, PIPE_FILES, SYSCALL, ALLOC_PAGES, ALLOCATE_SLAB,
	LARGE_NODE, LARGE_NODE_NOPROF, PCPU_ALLOC, PCPU_POPULATE, MAP_ALLOC, MAP_CREATE, VMALLOC,
	FUNCTION_CNT,
};

#define BASE       0xffffffff81000000ULL
#define OTHER_BASE 0xffffffff9a600000ULL
#define BPF_PROG   0xffffffffc0000010ULL /* in the list */
#define EXT4       0xffffffffc0001020ULL
#define UNKNOWN    0xffffffffd0000000ULL
#define AT(base, function, offset) ((base) + (function) * 256 + (offset))

static struct snapshot *snap;

static void setup(void)
{
	snap = snapshot__new();
}

static void teardown(void)
{
	snapshot__free(snap);
}

static struct kernel_names *names_at(uint64_t base)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size), *in;
	struct kallsyms *syms;

	for (int i = 0; i < FUNCTION_CNT; i++)
		fprintf(out, "%llx T %s\n", (unsigned long long)AT(base, i, 0), functions[i]);
	fprintf(out, "%llx T _etext\n", (unsigned long long)AT(base, FUNCTION_CNT, 0));
	fprintf(out, "ffffffffc0000000 t bpf_prog_0f_kernel_kmalloc_1\t[bpf]\n");
	fprintf(out, "ffffffffc0001000 t ext4_alloc_inode\t[ext4]\n");
	fclose(out);
	in = fmemopen(text, size, "r");
	syms = kallsyms__parse(in);
	fclose(in);
	free(text);
	ck_assert_ptr_nonnull(syms);
	return kernel_names__of(syms);
}

static struct uf_stack stack_of(uint32_t kind, uint32_t cnt, const uint64_t *frames)
{
	struct uf_stack stack = {.id = 1, .image = kind, .frame_cnt = cnt, .end = UF_END_COMPLETE};

	memcpy(stack.frames, frames, cnt * sizeof(*frames));
	return stack;
}

#define STACK(kind, ...)                                                                           \
	stack_of(kind, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),                        \
		 (uint64_t[]){__VA_ARGS__})

static const struct snapshot_site *resolve(const struct kernel_names *names,
					   const struct uf_stack *stack)
{
	struct snapshot_site *site = snapshot__add_site(snap);

	ck_assert_int_eq(kernel_names__resolve(names, snap, site, stack), 0);
	return site;
}

START_TEST(a_stack_begins_with_who_wanted_memory)
{
	struct kernel_names *names = names_at(BASE);
	struct uf_stack stack = STACK(UF_SITE_KERNEL_SLAB, UNKNOWN, BPF_PROG, AT(BASE, TRACE_RUN, 9),
				      AT(BASE, ITER, 8), AT(BASE, KMALLOC, 7),
				      AT(BASE, PIPE_INFO, 0x44), AT(BASE, KMALLOC, 3), EXT4, UNKNOWN,
				      AT(BASE, SYSCALL, 256));
	const struct snapshot_site *site = resolve(names, &stack);
	static const struct {
		const char *function, *module;
		uint64_t offset;
	} expected[] = {
		{"alloc_pipe_info", "[kernel]", 0x44},
		{"__kmalloc_noprof", "[kernel]", 3}, /* further up it is not the allocator's */
		{"ext4_alloc_inode", "[ext4]", 0x20},
		{"", "", 0},
		{"do_syscall_64", "[kernel]", 256}, /* the call was the last instruction */
	};

	ck_assert_uint_eq(site->frame_cnt, 5);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(site->frames[i].kind, FRAME_KERNEL);
		ck_assert_str_eq(site->frames[i].function, expected[i].function);
		ck_assert_str_eq(site->frames[i].module, expected[i].module);
		ck_assert_uint_eq(site->frames[i].function_offset, expected[i].offset);
	}
	ck_assert_uint_eq(site->frames[3].offset, UNKNOWN);
	kernel_names__free(names);
	kernel_names__free(NULL);
}
END_TEST

START_TEST(of_a_stack_of_nothing_else_the_outermost_frame_is_left)
{
	struct kernel_names *names = names_at(BASE);
	struct uf_stack stack = STACK(UF_SITE_KERNEL_SLAB, BPF_PROG, AT(BASE, KMALLOC, 7));
	struct uf_stack empty = {.image = UF_SITE_KERNEL_PAGES};
	struct uf_stack too_long = {.image = UF_SITE_KERNEL_PAGES, .frame_cnt = UINT16_MAX};

	ck_assert_str_eq(resolve(names, &stack)->frames[0].function, "__kmalloc_noprof");
	ck_assert_uint_eq(resolve(names, &empty)->frame_cnt, 0);
	ck_assert_uint_eq(resolve(names, &too_long)->frame_cnt, 1);
	ck_assert_uint_ne(kernel_names__hash(names, &empty), 0);
	ck_assert_uint_ne(kernel_names__hash(names, &too_long), 0);
	kernel_names__free(names);
}
END_TEST

START_TEST(pages_for_smaller_things_are_known)
{
	struct kernel_names *names = names_at(BASE);
	const struct {
		struct uf_stack stack;
		bool is_taken;
	} cases[] = {
		{STACK(UF_SITE_KERNEL_PAGES, BPF_PROG, AT(BASE, ALLOC_PAGES, 1),
		       AT(BASE, ALLOCATE_SLAB, 1), AT(BASE, KMALLOC, 1), AT(BASE, PIPE_INFO, 1)), true},
		{STACK(UF_SITE_KERNEL_PAGES, BPF_PROG, AT(BASE, ALLOC_PAGES, 1),
		       AT(BASE, LARGE_NODE, 1), AT(BASE, LARGE_NODE_NOPROF, 1), AT(BASE, KMALLOC, 1),
		       AT(BASE, PIPE_INFO, 1)), true},
		{STACK(UF_SITE_KERNEL_PAGES, BPF_PROG, AT(BASE, ALLOC_PAGES, 1),
		       AT(BASE, PCPU_POPULATE, 1), AT(BASE, PCPU_ALLOC, 1), AT(BASE, MAP_ALLOC, 1)),
		 true},
		{STACK(UF_SITE_KERNEL_PAGES, BPF_PROG, AT(BASE, ALLOC_PAGES, 1), AT(BASE, VMALLOC, 1),
		       AT(BASE, PIPE_INFO, 1), AT(BASE, ALLOCATE_SLAB, 1)), false},
		/* An object that the slab allocator itself wants is one like others. */
		{STACK(UF_SITE_KERNEL_SLAB, BPF_PROG, AT(BASE, KMALLOC, 1), AT(BASE, ALLOCATE_SLAB, 1),
		       AT(BASE, KMALLOC, 1), AT(BASE, PIPE_INFO, 1)), false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(!kernel_names__hash(names, &cases[i].stack) == cases[i].is_taken,
			      "case %zu", i);
	ck_assert_str_eq(resolve(names, &cases[3].stack)->frames[0].function, "alloc_pipe_info");
	kernel_names__free(names);
}
END_TEST

START_TEST(ids_are_of_names_and_not_of_addresses)
{
	struct kernel_names *names = names_at(BASE), *other = names_at(OTHER_BASE);
	struct uf_stack stack = STACK(UF_SITE_KERNEL_SLAB, BPF_PROG, AT(BASE, KMALLOC, 7),
				      AT(BASE, PIPE_INFO, 4), AT(BASE, SYSCALL, 5));
	struct uf_stack moved = STACK(UF_SITE_KERNEL_SLAB, AT(OTHER_BASE, KMALLOC, 9),
				      AT(OTHER_BASE, PIPE_INFO, 4), AT(OTHER_BASE, SYSCALL, 5));
	struct uf_stack elsewhere = STACK(UF_SITE_KERNEL_SLAB, AT(BASE, KMALLOC, 7),
					  AT(BASE, PIPE_INFO, 5), AT(BASE, SYSCALL, 5));
	uint64_t id = kernel_names__hash(names, &stack);

	ck_assert_uint_eq(kernel_names__hash(other, &moved), id);
	ck_assert_uint_ne(kernel_names__hash(names, &elsewhere), id);
	stack.end = UF_END_DEPTH;
	ck_assert_uint_ne(kernel_names__hash(names, &stack), id);
	kernel_names__free(names);
	kernel_names__free(other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kernel_names");
	TCase *tcase = tcase_create("kernel_names");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_stack_begins_with_who_wanted_memory);
	tcase_add_test(tcase, of_a_stack_of_nothing_else_the_outermost_frame_is_left);
	tcase_add_test(tcase, pages_for_smaller_things_are_known);
	tcase_add_test(tcase, ids_are_of_names_and_not_of_addresses);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
