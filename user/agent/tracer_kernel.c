/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "agent/tracer_internal.h"
#include "probe/kernel_events.h"

/* The programs of an event, see bpf/kernel.bpf.h; whether this kernel has it, and whether the trace
 * can do without. */
struct kernel_event {
	enum uf_kernel_event id;
	struct bpf_program *first, *second;
	bool is_there, is_optional;
};

#define MAX_EVENTS 16

/* Frees come first: what is allocated before they are seen would be reported for ever. */
static uint32_t list_events(const struct unfreed_bpf *skel, const struct kernel_events *found,
			    struct kernel_event events[MAX_EVENTS])
{
#define PROGRAMS(name) skel->progs.name##_1, skel->progs.name##_2
	const struct kernel_event all[] = {
		{UF_ON_KFREE, PROGRAMS(kernel_kfree), true, false},
		{UF_ON_CACHE_FREE, PROGRAMS(kernel_cache_free), true, false},
		{UF_ON_FREE_BULK, PROGRAMS(kernel_free_bulk), found->has_free_bulk, true},
		{UF_ON_FREE_SHEAF, PROGRAMS(kernel_free_sheaf), found->has_free_sheaf, true},
		{UF_ON_PAGE_FREE, PROGRAMS(kernel_page_free), found->has_pages, false},
		{UF_ON_PERCPU_FREE, PROGRAMS(kernel_percpu_free),
		 found->has_percpu || found->has_old_percpu, false},
		{UF_ON_KMALLOC, PROGRAMS(kernel_kmalloc), true, false},
		{UF_ON_CACHE_ALLOC, PROGRAMS(kernel_cache_alloc), true, false},
		{UF_ON_KMALLOC_NODE, PROGRAMS(kernel_kmalloc_node), found->has_node_events, false},
		{UF_ON_CACHE_ALLOC_NODE, PROGRAMS(kernel_cache_alloc_node), found->has_node_events,
		 false},
		{UF_ON_ALLOC_BULK, PROGRAMS(kernel_alloc_bulk), found->alloc_bulk, true},
		{UF_ON_PAGE_ALLOC, PROGRAMS(kernel_page_alloc), found->has_pages, false},
		{UF_ON_PERCPU_ALLOC, PROGRAMS(kernel_percpu_alloc), found->has_percpu, false},
		{UF_ON_PERCPU_ALLOC, PROGRAMS(kernel_percpu_alloc_old), found->has_old_percpu,
		 false},
	};
	const uint32_t cnt = sizeof(all) / sizeof(all[0]);
#undef PROGRAMS

	_Static_assert(sizeof(all) / sizeof(all[0]) <= MAX_EVENTS, "no room");
	for (uint32_t i = 0; i < cnt; i++)
		events[i] = all[i];
	return cnt;
}

/* 0, or -ESRCH without BTF, -ENODEV without the tracepoints. */
static int find_events(struct kernel_events *events)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return -ESRCH;
	kernel_events__find(btf, events);
	btf__free(btf);
	return kernel_events__has_slab(events) ? 0 : -ENODEV;
}

/* Which programs are loaded: of all there are in the object, those that are wanted here. */
static int choose_programs(struct tracer *tracer, const struct kernel_events *found)
{
	struct unfreed_bpf *skel = tracer->skel;
	struct kernel_event events[MAX_EVENTS];
	uint32_t cnt = list_events(skel, found, events);
	struct bpf_program *prog;
	int err = 0;

	bpf_object__for_each_program(prog, skel->obj)
		bpf_program__set_autoload(prog, false);
	for (uint32_t i = 0; i < cnt; i++) {
		bool loads = events[i].is_there &&
			     !(events[i].is_optional && tracer->kernel_lacks_bulk);

		bpf_program__set_autoload(events[i].first, loads);
		bpf_program__set_autoload(events[i].second, loads);
	}
	if (found->alloc_bulk)
		err = bpf_program__set_attach_target(skel->progs.kernel_alloc_bulk_1, 0,
						     found->alloc_bulk);
	if (found->alloc_bulk && !err)
		err = bpf_program__set_attach_target(skel->progs.kernel_alloc_bulk_2, 0,
						     found->alloc_bulk);
	return err;
}

/* What runs within the kernel's allocators cannot ask them for memory. Of maps that are not used
 * next to nothing is made. */
static int preallocate_maps(struct unfreed_bpf *skel)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, skel->obj)
	{
		uint32_t flags = bpf_map__map_flags(map);

		if (err || bpf_map__type(map) != BPF_MAP_TYPE_HASH || !(flags & BPF_F_NO_PREALLOC))
			continue;
		err = bpf_map__set_map_flags(map, flags & ~BPF_F_NO_PREALLOC);
		if (!err && map != skel->maps.live)
			err = bpf_map__set_max_entries(map, 1);
	}
	return err;
}

static int configure(struct tracer *tracer, const struct kernel_events *events)
{
	struct unfreed_bpf *skel = tracer->skel;
	int cpu_cnt = libbpf_num_possible_cpus();

	skel->rodata->cfg_kernel_by_process = tracer->opts.pid_cnt > 0;
	skel->rodata->cfg_kmalloc_bytes_arg = events->kmalloc_bytes_arg;
	skel->rodata->cfg_cache_bytes_arg = events->cache_bytes_arg;
	skel->rodata->cfg_possible_cpu_cnt = cpu_cnt > 0 ? cpu_cnt : 1;
	return preallocate_maps(skel);
}

int tracer__load_kernel(struct tracer *tracer)
{
	struct kernel_events events;
	int err = find_events(&events);

	if (!err)
		err = tracer__open(tracer);
	if (!err)
		err = configure(tracer, &events);
	if (!err)
		err = choose_programs(tracer, &events);
	if (!err)
		err = unfreed_bpf__load(tracer->skel);
	if (!err || err == -ENOMEM || !tracer->skel || tracer->kernel_lacks_bulk)
		return err;
	/* Functions may be out of reach where tracepoints are not. */
	tracer->kernel_lacks_bulk = true;
	unfreed_bpf__destroy(tracer->skel);
	tracer->skel = NULL;
	return tracer__load_kernel(tracer);
}

static int attach(struct tracer *tracer, struct bpf_program *prog)
{
	struct bpf_link *link = bpf_program__attach(prog);

	if (!link)
		return -errno;
	tracer->kernel_links[tracer->kernel_link_cnt++] = link;
	return 0;
}

static int add_processes(struct tracer *tracer)
{
	const struct uf_process process = {.image = 1};

	for (uint32_t i = 0; i < tracer->opts.pid_cnt; i++) {
		uint32_t tgid = tracer->opts.pids[i];

		if (bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.processes), &tgid, &process,
					BPF_ANY))
			return -errno;
	}
	return 0;
}

int tracer__attach_kernel(struct tracer *tracer)
{
	struct kernel_event events[MAX_EVENTS];
	const struct kernel_events any = {0};
	uint32_t cnt = list_events(tracer->skel, &any, events);
	int err = add_processes(tracer);

	_Static_assert(sizeof(tracer->kernel_links) / sizeof(tracer->kernel_links[0]) >=
			       2 * MAX_EVENTS, "each has two programs");
	for (uint32_t i = 0; !err && i < cnt; i++) {
		if (!bpf_program__autoload(events[i].first))
			continue;
		err = attach(tracer, events[i].first);
		if (!err)
			err = attach(tracer, events[i].second);
		if (!err)
			tracer->probe_cnt++;
		if (err && events[i].is_optional) {
			tracer->kernel_lacks_bulk = true;
			err = 0;
		}
	}
	return err;
}

bool tracer__kernel_lacks_bulk(const struct tracer *tracer)
{
	return tracer->kernel_lacks_bulk;
}

/* How often a program was not run because it ran already, on the same CPU. */
static uint64_t misses(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &size))
		return 0;
	return info.recursion_misses;
}

/* How often the second program of an event did what the first one missed. running: one a CPU. */
static uint64_t stood_in(const struct tracer *tracer, enum uf_kernel_event event,
			 struct uf_kernel_running *running)
{
	const uint32_t key = event;
	uint64_t cnt = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(tracer->skel->maps.kernel_running), &key, running))
		return 0;
	for (int cpu = 0; cpu < tracer->cpu_cnt; cpu++)
		cnt += running[cpu].stood_in_cnt;
	return cnt;
}

int tracer__kernel_misses(const struct tracer *tracer, uint64_t *alloc_cnt, uint64_t *free_cnt)
{
	struct uf_kernel_running *running = calloc(tracer->cpu_cnt, sizeof(*running));
	struct kernel_event events[MAX_EVENTS];
	const struct kernel_events any = {0};
	uint32_t cnt = list_events(tracer->skel, &any, events);

	*alloc_cnt = *free_cnt = 0;
	if (!running)
		return -ENOMEM;
	for (uint32_t i = 0; i < cnt; i++) {
		uint64_t missed, done;

		if (!bpf_program__autoload(events[i].first))
			continue;
		/* What is done meanwhile must not come out as missed. */
		missed = misses(events[i].first);
		done = stood_in(tracer, events[i].id, running);
		if (missed > done)
			*(events[i].id < UF_ON_KFREE ? alloc_cnt : free_cnt) += missed - done;
	}
	free(running);
	return 0;
}
