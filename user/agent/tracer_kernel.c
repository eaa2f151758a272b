/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "agent/tracer_internal.h"
#include "probe/kernel_events.h"

/* A program, whether this kernel has what it attaches to, and whether the trace can do without. */
struct kernel_program {
	struct bpf_program *prog, *twin; /* twin: sees each event again, see bpf/kernel.bpf.h; or NULL */
	bool is_wanted, is_optional;
};

#define MAX_PROGRAMS 16

/* Frees come first: what is allocated before they are seen would be reported for ever. */
static uint32_t list_programs(const struct unfreed_bpf *skel, const struct kernel_events *events,
			      struct kernel_program programs[MAX_PROGRAMS])
{
	const struct kernel_program all[] = {
		{skel->progs.kernel_kfree_1, skel->progs.kernel_kfree_2, true, false},
		{skel->progs.kernel_cache_free_1, skel->progs.kernel_cache_free_2, true, false},
		{skel->progs.kernel_free_bulk_1, skel->progs.kernel_free_bulk_2,
		 events->has_free_bulk, true},
		{skel->progs.kernel_free_sheaf_1, skel->progs.kernel_free_sheaf_2,
		 events->has_free_sheaf, true},
		{skel->progs.kernel_page_free_1, skel->progs.kernel_page_free_2, events->has_pages,
		 false},
		{skel->progs.kernel_percpu_free_1, skel->progs.kernel_percpu_free_2,
		 events->has_percpu || events->has_old_percpu, false},
		{skel->progs.kernel_kmalloc, NULL, true, false},
		{skel->progs.kernel_cache_alloc, NULL, true, false},
		{skel->progs.kernel_kmalloc_node, NULL, events->has_node_events, false},
		{skel->progs.kernel_cache_alloc_node, NULL, events->has_node_events, false},
		{skel->progs.kernel_alloc_bulk, NULL, events->alloc_bulk != NULL, true},
		{skel->progs.kernel_page_alloc, NULL, events->has_pages, false},
		{skel->progs.kernel_percpu_alloc, NULL, events->has_percpu, false},
		{skel->progs.kernel_percpu_alloc_old, NULL, events->has_old_percpu, false},
	};
	const uint32_t cnt = sizeof(all) / sizeof(all[0]);

	_Static_assert(sizeof(all) / sizeof(all[0]) <= MAX_PROGRAMS, "no room");
	for (uint32_t i = 0; i < cnt; i++)
		programs[i] = all[i];
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
static int choose_programs(struct tracer *tracer, const struct kernel_events *events)
{
	struct kernel_program programs[MAX_PROGRAMS];
	uint32_t cnt = list_programs(tracer->skel, events, programs);
	struct bpf_program *prog;
	int err = 0;

	bpf_object__for_each_program(prog, tracer->skel->obj)
		bpf_program__set_autoload(prog, false);
	for (uint32_t i = 0; i < cnt; i++) {
		bool loads = programs[i].is_wanted &&
			     !(programs[i].is_optional && tracer->kernel_lacks_bulk);

		bpf_program__set_autoload(programs[i].prog, loads);
		if (programs[i].twin)
			bpf_program__set_autoload(programs[i].twin, loads);
	}
	if (events->alloc_bulk)
		err = bpf_program__set_attach_target(tracer->skel->progs.kernel_alloc_bulk, 0,
						     events->alloc_bulk);
	return err;
}

static int configure(struct tracer *tracer, const struct kernel_events *events)
{
	struct unfreed_bpf *skel = tracer->skel;
	uint32_t flags = bpf_map__map_flags(skel->maps.live);
	int cpu_cnt = libbpf_num_possible_cpus();

	skel->rodata->cfg_kernel_by_process = tracer->opts.pid_cnt > 0;
	skel->rodata->cfg_kmalloc_bytes_arg = events->kmalloc_bytes_arg;
	skel->rodata->cfg_cache_bytes_arg = events->cache_bytes_arg;
	skel->rodata->cfg_possible_cpu_cnt = cpu_cnt > 0 ? cpu_cnt : 1;
	/* What runs within the kernel's allocators cannot ask them for memory. */
	return bpf_map__set_map_flags(skel->maps.live, flags & ~BPF_F_NO_PREALLOC);
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
	struct bpf_link *link;

	if (!prog || !bpf_program__autoload(prog))
		return 0;
	link = bpf_program__attach(prog);
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
	struct kernel_program programs[MAX_PROGRAMS];
	const struct kernel_events any = {0};
	uint32_t cnt = list_programs(tracer->skel, &any, programs);
	int err = add_processes(tracer);

	_Static_assert(sizeof(tracer->kernel_links) / sizeof(tracer->kernel_links[0]) >=
			       2 * MAX_PROGRAMS, "each may have a twin");
	for (uint32_t i = 0; !err && i < cnt; i++) {
		err = attach(tracer, programs[i].prog);
		if (!err)
			err = attach(tracer, programs[i].twin);
		if (err && programs[i].is_optional) {
			tracer->kernel_lacks_bulk = true;
			err = 0;
		}
	}
	tracer->probe_cnt = tracer->kernel_link_cnt;
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

	if (!prog || !bpf_program__autoload(prog) ||
	    bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &size))
		return 0;
	return info.recursion_misses;
}

void tracer__kernel_misses(const struct tracer *tracer, uint64_t *alloc_cnt, uint64_t *free_cnt)
{
	struct kernel_program programs[MAX_PROGRAMS];
	const struct kernel_events any = {0};
	uint32_t cnt = list_programs(tracer->skel, &any, programs);

	*alloc_cnt = *free_cnt = 0;
	for (uint32_t i = 0; i < cnt; i++) {
		uint64_t one = misses(programs[i].prog), other = misses(programs[i].twin);

		if (!programs[i].twin)
			*alloc_cnt += one;
		else
			*free_cnt += one < other ? one : other;
	}
}
