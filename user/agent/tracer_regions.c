/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "agent/tracer_internal.h"

void tracer__region_programs(const struct unfreed_bpf *skel, struct bpf_program **out)
{
	struct bpf_program *const programs[REGION_PROGRAMS] = {
		skel->progs.system_call_entry, skel->progs.system_call_entry_2,
		skel->progs.system_call_entry_3, skel->progs.system_call_exit,
		skel->progs.system_call_exit_2, skel->progs.system_call_exit_3,
	};

	memcpy(out, programs, sizeof(programs));
}

static int attach(struct tracer *tracer, struct bpf_program *const *programs)
{
	for (int i = 0; i < REGION_PROGRAMS; i++) {
		struct bpf_link *link = bpf_program__attach(programs[i]);

		if (!link)
			return -errno;
		tracer->region_links[tracer->region_link_cnt++] = link;
	}
	return 0;
}

int tracer__attach_regions(struct tracer *tracer)
{
	struct bpf_program *programs[REGION_PROGRAMS];
	struct unfreed_bpf *skel = tracer__open_again();
	int err;

	if (!skel)
		return -errno;
	tracer__region_programs(skel, programs);
	for (int i = 0; i < REGION_PROGRAMS; i++)
		bpf_program__set_autoload(programs[i], true);
	err = tracer__load_marked(tracer, skel);
	if (err)
		return err;
	tracer->region_skel = skel;
	err = attach(tracer, programs);
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
