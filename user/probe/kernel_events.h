/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_KERNEL_EVENTS_H
#define UNFREED_PROBE_KERNEL_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How this kernel tells of its own allocations: which tracepoints it has, where among their
 * arguments the size is, and which functions free without any tracepoint. All of that changed
 * between 5.15 and 7.x, and all of it is in the kernel's BTF. Arguments are numbered from 0.
 */

struct btf;

struct kernel_events {
	uint32_t kmalloc_bytes_arg; /* bytes_alloc of kmalloc, 3 or 4; 0: no such tracepoint */
	uint32_t cache_bytes_arg;   /* of kmem_cache_alloc, likewise; 2: the cache is there instead */
	bool has_kfree, has_cache_free;
	bool has_node_events;       /* kmalloc_node and kmem_cache_alloc_node */
	bool has_pages;             /* mm_page_alloc and mm_page_free */
	bool has_percpu, has_old_percpu; /* with bytes_alloc; without it */
	const char *alloc_bulk;     /* function that allocates many objects at once; NULL: none */
	bool has_free_bulk;         /* kmem_cache_free_bulk() */
	bool has_free_sheaf;        /* __kfree_rcu_sheaf() */
};

/* Fills *events from the kernel's BTF. */
void kernel_events__find(const struct btf *btf, struct kernel_events *events);

/* Can objects be followed, from their allocation to their end? */
bool kernel_events__has_slab(const struct kernel_events *events);

#endif
