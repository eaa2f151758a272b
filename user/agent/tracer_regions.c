/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "agent/tracer_internal.h"

/* The programs of the object that are used. */
static struct bpf_program *entry_program(const struct tracer *tracer, struct unfreed_bpf *skel)
{
	return tracer->regions_alone ? skel->progs.system_call_entry_alone
				     : skel->progs.system_call_entry;
}

static struct bpf_program *exit_program(const struct tracer *tracer, struct unfreed_bpf *skel)
{
	return tracer->regions_alone ? skel->progs.system_call_exit_alone
				     : skel->progs.system_call_exit;
}

static int load_programs(struct tracer *tracer, struct unfreed_bpf **out)
{
	struct unfreed_bpf *skel = tracer__open_again();
	int err;

	if (!skel)
		return -errno;
	bpf_program__set_autoload(entry_program(tracer, skel), true);
	bpf_program__set_autoload(exit_program(tracer, skel), true);
	err = tracer__load_marked(tracer, skel);
	if (!err)
		*out = skel;
	return err;
}

int tracer__attach_regions(struct tracer *tracer)
{
	libbpf_print_fn_t print;
	struct unfreed_bpf *skel;
	int err;

	/* What the kernel says to the first try is of no interest unless the second one fails, too. */
	tracer->regions_alone = true;
	print = tracer->opts.debug ? NULL : libbpf_set_print(NULL);
	err = load_programs(tracer, &skel);
	if (print)
		libbpf_set_print(print);
	if (err) {
		tracer->regions_alone = false;
		err = load_programs(tracer, &skel);
	}
	if (err)
		return err;
	/* Unmapping first and last, as of probes. */
	skel->links.system_call_entry = bpf_program__attach(entry_program(tracer, skel));
	if (skel->links.system_call_entry)
		skel->links.system_call_exit = bpf_program__attach(exit_program(tracer, skel));
	if (!skel->links.system_call_exit) {
		err = -errno;
		unfreed_bpf__destroy(skel);
		return err;
	}
	tracer->region_skel = skel;
	return 0;
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
	struct unfreed_bpf *skel = tracer->region_skel;

	return skel ? missed_by(entry_program(tracer, skel)) + missed_by(exit_program(tracer, skel))
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
