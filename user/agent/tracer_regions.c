/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <unistd.h>

#include "agent/tracer_internal.h"
#include "probe/syscall_event.h"

static int load_programs(struct tracer *tracer)
{
	struct unfreed_bpf *skel = tracer__open_again();
	int err;

	if (!skel)
		return -errno;
	bpf_program__set_autoload(skel->progs.system_call_entry, true);
	bpf_program__set_autoload(skel->progs.system_call_exit, true);
	err = tracer__load_marked(tracer, skel);
	if (!err)
		tracer->region_skel = skel;
	return err;
}

static int attach(struct tracer *tracer, const struct bpf_program *program, const char *name)
{
	int fd = syscall_event__open(name);
	struct bpf_link *link;

	if (fd < 0)
		return fd;
	/* The event is the link's from here on. */
	link = bpf_program__attach_perf_event(program, fd);
	if (!link) {
		int err = -errno;

		close(fd);
		return err;
	}
	tracer->region_links[tracer->region_link_cnt++] = link;
	return 0;
}

int tracer__attach_regions(struct tracer *tracer)
{
	/* Unmapping first, as of probes. */
	static const char *const entries[] = {"sys_enter_munmap", "sys_enter_mremap",
					      "sys_enter_brk"};
	static const char *const exits[] = {"sys_exit_munmap", "sys_exit_mremap", "sys_exit_brk",
					    "sys_exit_mmap"};
	int err = load_programs(tracer);

	for (size_t i = 0; !err && i < sizeof(entries) / sizeof(entries[0]); i++)
		err = attach(tracer, tracer->region_skel->progs.system_call_entry, entries[i]);
	for (size_t i = 0; !err && i < sizeof(exits) / sizeof(exits[0]); i++)
		err = attach(tracer, tracer->region_skel->progs.system_call_exit, exits[i]);
	if (err)
		tracer__detach_regions(tracer);
	return err;
}

void tracer__detach_regions(struct tracer *tracer)
{
	while (tracer->region_link_cnt)
		bpf_link__destroy(tracer->region_links[--tracer->region_link_cnt]);
	unfreed_bpf__destroy(tracer->region_skel);
	tracer->region_skel = NULL;
}

static uint64_t missed_by(const struct bpf_program *program)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size)
		       ? 0
		       : info.recursion_misses;
}

uint64_t tracer__missed_region_cnt(const struct tracer *tracer)
{
	const struct unfreed_bpf *skel = tracer->region_skel;

	return skel ? missed_by(skel->progs.system_call_entry) +
			      missed_by(skel->progs.system_call_exit)
		    : 0;
}

bool tracer__regions_are_lost(struct tracer *tracer)
{
	return __atomic_exchange_n(&tracer->skel->bss->regions_are_lost, 0, __ATOMIC_ACQ_REL);
}

static int take_site_index(struct tracer *tracer, uint32_t *out)
{
	uint32_t *next = &tracer->skel->bss->next_site;

	if (!bpf_map_lookup_and_delete_elem(bpf_map__fd(tracer->skel->maps.site_spares), NULL, out))
		return 0;
	if (__atomic_load_n(next, __ATOMIC_RELAXED) >= tracer->opts.max_sites)
		return -ENOSPC;
	*out = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
	return *out < tracer->opts.max_sites ? 0 : -ENOSPC;
}

int64_t tracer__copy_site(struct tracer *tracer, uint32_t site, uf_image_id image)
{
	int index = bpf_map__fd(tracer->skel->maps.site_index);
	const struct uf_site *from = &tracer->sites[site];
	struct uf_site_key key = {.stack_id = from->stack_id, .image = image};
	struct uf_site *to;
	uint32_t i, known;

	if (!bpf_map_lookup_elem(index, &key, &known))
		return known;
	if (take_site_index(tracer, &i))
		return -ENOSPC;
	to = &tracer->sites[i];
	to->stack_id = key.stack_id;
	to->image = image;
	to->stack = from->stack;
	to->kind = from->kind;
	if (!bpf_map_update_elem(index, &key, &i, BPF_NOEXIST)) {
		__atomic_store_n(&to->state, UF_SITE_READY, __ATOMIC_RELEASE);
		return i;
	}
	/* A probe was first, or there is no room. */
	tracer__clear_site(tracer, i);
	if (bpf_map_lookup_elem(index, &key, &known))
		return -ENOSPC;
	return known;
}
