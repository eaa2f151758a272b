/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/tracer_internal.h"

static bool has_heirs(struct tracer *tracer, uf_image_id id)
{
	struct uf_image image;

	if (bpf_map_lookup_elem(bpf_map__fd(tracer->skel->maps.images), &id, &image))
		return false;
	for (int i = 0; i < UF_MAX_HEIRS; i++)
		if (image.heirs[i])
			return true;
	return false;
}

static bool contains(const uf_image_id *images, uint32_t cnt, uf_image_id id)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (images[i] == id)
			return true;
	return false;
}

/* No probe can reach these sites any more: their images are dead and have no heirs. */
static void reclaim_sites(struct tracer *tracer, const uf_image_id *images, uint32_t cnt)
{
	uint32_t site_cnt;
	struct uf_site *sites = tracer__sites(tracer, &site_cnt);

	for (uint32_t i = 0; i < site_cnt; i++) {
		struct uf_site_key key = {.stack_id = sites[i].stack_id, .image = sites[i].image};

		if (sites[i].state != UF_SITE_READY || !contains(images, cnt, sites[i].image))
			continue;
		bpf_map_delete_elem(bpf_map__fd(tracer->skel->maps.site_index), &key);
		memset(&sites[i], 0, sizeof(sites[i]));
		bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.site_spares), NULL, &i, BPF_ANY);
	}
}

/*
 * Stacks that no site shows any more. A probe may be about to make a site of
 * one it has just looked up, so a stack first leaves the index, and is cleared
 * in a later call if it is still unused.
 */
static int reclaim_stacks(struct tracer *tracer)
{
	uint32_t site_cnt, max = tracer->opts.max_sites;
	const struct uf_site *sites = tracer__sites(tracer, &site_cnt);
	int index = bpf_map__fd(tracer->skel->maps.stack_index);
	bool *used = calloc(max, sizeof(*used));

	if (!used)
		return -ENOMEM;
	for (uint32_t i = 0; i < site_cnt; i++)
		if (sites[i].state == UF_SITE_READY && sites[i].stack < max)
			used[sites[i].stack] = true;
	for (uint32_t i = 0; i < max; i++) {
		uint64_t id = tracer->stacks[i].id;

		if (!id || used[i])
			tracer->unused_stacks[i] = 0;
		else if (!tracer->unused_stacks[i])
			tracer->unused_stacks[i] = !bpf_map_delete_elem(index, &id);
		else {
			memset(&tracer->stacks[i], 0, sizeof(tracer->stacks[i]));
			tracer->unused_stacks[i] = 0;
			bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.stack_spares), NULL, &i,
					    BPF_ANY);
		}
	}
	free(used);
	return 0;
}

static int purge_blocks(struct tracer *tracer, const uf_image_id *images, uint32_t cnt)
{
	int purged = bpf_map__fd(tracer->skel->maps.purged_images);
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	const uint8_t one = 1;
	int err = 0;

	for (uint32_t i = 0; i < cnt; i++)
		bpf_map_update_elem(purged, &images[i], &one, BPF_ANY);
	if (bpf_prog_test_run_opts(bpf_program__fd(tracer->skel->progs.purge_images), &opts))
		err = -errno;
	for (uint32_t i = 0; i < cnt; i++)
		bpf_map_delete_elem(purged, &images[i]);
	return err;
}

int tracer__reclaim(struct tracer *tracer, uf_image_id *images, uint32_t *cnt)
{
	uf_image_id *gone = calloc(*cnt + 1, sizeof(*gone));
	uint32_t gone_cnt = 0, kept = 0;
	int err;

	if (!gone)
		return -ENOMEM;
	for (uint32_t i = 0; i < *cnt; i++) {
		if (has_heirs(tracer, images[i]))
			images[kept++] = images[i];
		else
			gone[gone_cnt++] = images[i];
	}
	*cnt = kept;
	err = gone_cnt ? purge_blocks(tracer, gone, gone_cnt) : 0;
	if (!err && gone_cnt) {
		reclaim_sites(tracer, gone, gone_cnt);
		err = reclaim_stacks(tracer);
	}
	for (uint32_t i = 0; i < gone_cnt; i++) {
		bpf_map_delete_elem(bpf_map__fd(tracer->skel->maps.images), &gone[i]);
		bpf_map_delete_elem(bpf_map__fd(tracer->skel->maps.pythons), &gone[i]);
	}
	free(gone);
	return err;
}
