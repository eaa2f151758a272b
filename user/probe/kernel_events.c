/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "probe/kernel_events.h"

#include <bpf/btf.h>
#include <stdio.h>
#include <string.h>

/*
 * "typedef void (*btf_trace_kmalloc)(void *data, ...)" has the arguments of a tracepoint after a
 * first one that programs do not see. NULL: there is no such tracepoint.
 */
static const struct btf_type *prototype(const struct btf *btf, const char *tracepoint)
{
	const struct btf_type *type;
	char name[128];
	int id;

	snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
	id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	type = id > 0 ? btf__type_by_id(btf, id) : NULL;
	type = type ? btf__type_by_id(btf, type->type) : NULL;
	if (!type || !btf_is_ptr(type))
		return NULL;
	type = btf__type_by_id(btf, type->type);
	return type && btf_is_func_proto(type) ? type : NULL;
}

static uint32_t arg_cnt(const struct btf_type *prototype)
{
	return prototype && btf_vlen(prototype) ? btf_vlen(prototype) - 1u : 0;
}

static bool is_pointer(const struct btf *btf, const struct btf_type *prototype, uint32_t arg)
{
	const struct btf_type *type;

	if (arg >= arg_cnt(prototype))
		return false;
	type = btf__type_by_id(btf, btf_params(prototype)[arg + 1].type);
	while (type && btf_is_mod(type))
		type = btf__type_by_id(btf, type->type);
	return type && btf_is_ptr(type);
}

/*
 * kmalloc: until 5.18 (call_site, ptr, bytes_req, bytes_alloc, gfp_flags), in 5.19 and 6.0
 * (call_site, ptr, cache, bytes_req, bytes_alloc, gfp_flags), from 6.1 on as at first, with the
 * node as the last.
 */
static uint32_t find_kmalloc_bytes(const struct btf *btf)
{
	const struct btf_type *kmalloc = prototype(btf, "kmalloc");

	if (arg_cnt(kmalloc) < 5)
		return 0;
	return is_pointer(btf, kmalloc, 2) ? 4 : 3;
}

/* kmem_cache_alloc: as kmalloc until 6.0; from 6.1 on (call_site, ptr, cache, gfp_flags, node). */
static uint32_t find_cache_bytes(const struct btf *btf)
{
	const struct btf_type *alloc = prototype(btf, "kmem_cache_alloc");

	if (arg_cnt(alloc) < 5)
		return 0;
	return is_pointer(btf, alloc, 2) ? 2 : 3;
}

static bool has_function(const struct btf *btf, const char *name)
{
	return btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;
}

void kernel_events__find(const struct btf *btf, struct kernel_events *events)
{
	/* (reserved, is_atomic, size, align, base_addr, off, ptr); later call_site comes first. */
	uint32_t percpu_args = arg_cnt(prototype(btf, "percpu_alloc_percpu"));
	bool has_percpu_free = arg_cnt(prototype(btf, "percpu_free_percpu")) >= 3;

	memset(events, 0, sizeof(*events));
	events->kmalloc_bytes_arg = find_kmalloc_bytes(btf);
	events->cache_bytes_arg = find_cache_bytes(btf);
	events->has_kfree = arg_cnt(prototype(btf, "kfree")) >= 2;
	events->has_cache_free = arg_cnt(prototype(btf, "kmem_cache_free")) >= 2;
	events->has_node_events = arg_cnt(prototype(btf, "kmalloc_node")) >= 5 &&
				  arg_cnt(prototype(btf, "kmem_cache_alloc_node")) >= 5;
	events->has_pages = arg_cnt(prototype(btf, "mm_page_alloc")) >= 3 &&
			    arg_cnt(prototype(btf, "mm_page_free")) >= 2;
	events->has_percpu = has_percpu_free && percpu_args >= 9;
	events->has_old_percpu = has_percpu_free && percpu_args == 7;
	if (has_function(btf, "kmem_cache_alloc_bulk_noprof"))
		events->alloc_bulk = "kmem_cache_alloc_bulk_noprof";
	else if (has_function(btf, "kmem_cache_alloc_bulk"))
		events->alloc_bulk = "kmem_cache_alloc_bulk";
	events->has_free_bulk = has_function(btf, "kmem_cache_free_bulk");
	events->has_free_sheaf = has_function(btf, "__kfree_rcu_sheaf");
}

bool kernel_events__has_slab(const struct kernel_events *events)
{
	return events->kmalloc_bytes_arg && events->cache_bytes_arg && events->has_kfree &&
	       events->has_cache_free;
}
