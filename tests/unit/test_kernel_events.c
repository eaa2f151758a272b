/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "probe/kernel_events.h"

#include <bpf/btf.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Goal of this test: of the BTF of each generation of kernels, what the
 * tracepoints give and where is found as it is; and of one that is not as any
 * of them nothing is believed.
 */

static struct btf *btf;
static int u64_id, pointer_id, cache_id, const_pointer_id;

static void setup(void)
{
	btf = btf__new_empty();
	ck_assert_ptr_nonnull(btf);
	u64_id = btf__add_int(btf, "unsigned long", 8, 0);
	pointer_id = btf__add_ptr(btf, 0);
	cache_id = btf__add_ptr(btf, btf__add_struct(btf, "kmem_cache", 8));
	const_pointer_id = btf__add_const(btf, pointer_id);
}

static void teardown(void)
{
	btf__free(btf);
}

/* A tracepoint; args: one letter each, n a number, p a pointer, c a cache, q a const pointer. */
static void add(const char *name, const char *args)
{
	char type_name[64];
	int proto = btf__add_func_proto(btf, 0);

	btf__add_func_param(btf, NULL, pointer_id);
	for (; *args; args++)
		btf__add_func_param(btf, NULL,
				    *args == 'p'   ? pointer_id
				    : *args == 'c' ? cache_id
				    : *args == 'q' ? const_pointer_id
						   : u64_id);
	snprintf(type_name, sizeof(type_name), "btf_trace_%s", name);
	ck_assert_int_gt(btf__add_typedef(btf, type_name, btf__add_ptr(btf, proto)), 0);
}

static void add_function(const char *name)
{
	ck_assert_int_gt(btf__add_func(btf, name, BTF_FUNC_STATIC, btf__add_func_proto(btf, 0)), 0);
}

static struct kernel_events find(void)
{
	struct kernel_events events;

	kernel_events__find(btf, &events);
	return events;
}

static void add_frees(void)
{
	add("kfree", "np");
	add("kmem_cache_free", "npc");
	add("mm_page_alloc", "pnnn");
	add("mm_page_free", "pn");
	add("percpu_free_percpu", "pnp");
}

START_TEST(linux_5_15)
{
	struct kernel_events events;

	add_frees();
	add("kmalloc", "npnnn");
	add("kmem_cache_alloc", "npnnn");
	add("kmalloc_node", "npnnnn");
	add("kmem_cache_alloc_node", "npnnnn");
	add("percpu_alloc_percpu", "nnnnpnp");
	add_function("kmem_cache_alloc_bulk");
	add_function("kmem_cache_free_bulk");
	events = find();
	ck_assert(kernel_events__has_slab(&events));
	ck_assert_uint_eq(events.kmalloc_bytes_arg, 3);
	ck_assert_uint_eq(events.cache_bytes_arg, 3);
	ck_assert(events.has_node_events && events.has_pages);
	ck_assert(events.has_old_percpu && !events.has_percpu);
	ck_assert_str_eq(events.alloc_bulk, "kmem_cache_alloc_bulk");
	ck_assert(events.has_free_bulk && !events.has_free_sheaf);
}
END_TEST

START_TEST(linux_5_19)
{
	struct kernel_events events;

	add_frees();
	add("kmalloc", "npcnnn");
	add("kmem_cache_alloc", "npcnnn");
	add("kmalloc_node", "npcnnnn");
	add("kmem_cache_alloc_node", "npcnnnn");
	add("percpu_alloc_percpu", "nnnnnpnpnn");
	events = find();
	ck_assert(kernel_events__has_slab(&events));
	ck_assert_uint_eq(events.kmalloc_bytes_arg, 4);
	ck_assert_uint_eq(events.cache_bytes_arg, 2);
	ck_assert(events.has_node_events && events.has_percpu && !events.has_old_percpu);
	ck_assert_ptr_null(events.alloc_bulk);
	ck_assert(!events.has_free_bulk);
}
END_TEST

START_TEST(linux_6_18)
{
	struct kernel_events events;

	add_frees();
	add("kmalloc", "npnnnn");
	add("kmem_cache_alloc", "npcnn");
	add("percpu_alloc_percpu", "nnnnnpnpnn");
	add_function("kmem_cache_alloc_bulk_noprof");
	add_function("kmem_cache_free_bulk");
	add_function("__kfree_rcu_sheaf");
	events = find();
	ck_assert(kernel_events__has_slab(&events));
	ck_assert_uint_eq(events.kmalloc_bytes_arg, 3);
	ck_assert_uint_eq(events.cache_bytes_arg, 2);
	ck_assert(!events.has_node_events && events.has_percpu);
	ck_assert_str_eq(events.alloc_bulk, "kmem_cache_alloc_bulk_noprof");
	ck_assert(events.has_free_bulk && events.has_free_sheaf);
}
END_TEST

START_TEST(a_const_pointer_is_one)
{
	add_frees();
	add("kmalloc", "npqnnn");
	ck_assert_uint_eq(find().kmalloc_bytes_arg, 4);
}
END_TEST

START_TEST(what_is_missing_or_strange_is_not_there)
{
	struct kernel_events events = find();

	ck_assert(!kernel_events__has_slab(&events));
	ck_assert(!events.has_pages && !events.has_percpu && !events.has_old_percpu);
	/* No function's type, too few arguments, some number of them that no kernel has. */
	btf__add_typedef(btf, "btf_trace_kmalloc", u64_id);
	btf__add_typedef(btf, "btf_trace_kfree", pointer_id);
	add("kmem_cache_alloc", "np");
	add("kmem_cache_free", "");
	add("mm_page_alloc", "p");
	add("mm_page_free", "pn");
	add("percpu_alloc_percpu", "nnnnpnpn");
	add("percpu_free_percpu", "pnp");
	events = find();
	ck_assert(!kernel_events__has_slab(&events));
	ck_assert_uint_eq(events.kmalloc_bytes_arg, 0);
	ck_assert_uint_eq(events.cache_bytes_arg, 0);
	ck_assert(!events.has_kfree && !events.has_cache_free);
	ck_assert(!events.has_pages && !events.has_percpu && !events.has_old_percpu);
}
END_TEST

START_TEST(this_machine_s_kernel_is_known)
{
	struct btf *own = btf__load_vmlinux_btf();
	struct kernel_events events;

	if (!own) {
		fprintf(stderr, "skipped: no BTF of this kernel\n");
		return;
	}
	kernel_events__find(own, &events);
	ck_assert(kernel_events__has_slab(&events));
	ck_assert(events.has_pages);
	btf__free(own);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kernel_events");
	TCase *tcase = tcase_create("kernel_events");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, linux_5_15);
	tcase_add_test(tcase, linux_5_19);
	tcase_add_test(tcase, linux_6_18);
	tcase_add_test(tcase, a_const_pointer_is_one);
	tcase_add_test(tcase, what_is_missing_or_strange_is_not_there);
	tcase_add_test(tcase, this_machine_s_kernel_is_known);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
