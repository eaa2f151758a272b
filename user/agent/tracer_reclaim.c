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

void tracer__clear_site(struct tracer *tracer, uint32_t i)
{
	memset(&tracer->sites[i], 0, sizeof(tracer->sites[i]));
	bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.site_spares), NULL, &i, BPF_ANY);
}

static void clear_stack(struct tracer *tracer, uint32_t i)
{
	memset(&tracer->stacks[i], 0, sizeof(tracer->stacks[i]));
	bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.stack_spares), NULL, &i, BPF_ANY);
}

/* Takes key out of an index if it leads to i, and not to a newer entry. */
static bool unlink_entry(int index, const void *key, uint32_t i)
{
	uint32_t at;

	return !bpf_map_lookup_elem(index, key, &at) && at == i && !bpf_map_delete_elem(index, key);
}

static struct uf_site_key key_of_site(const struct uf_site *site)
{
	return (struct uf_site_key){.stack_id = site->stack_id, .image = site->image};
}

/* No probe can reach these sites any more: their images are dead and have no heirs. */
static void reclaim_sites(struct tracer *tracer, const uf_image_id *images, uint32_t cnt)
{
	int index = bpf_map__fd(tracer->skel->maps.site_index);
	uint32_t site_cnt;
	struct uf_site *sites = tracer__sites(tracer, &site_cnt);

	for (uint32_t i = 0; i < site_cnt; i++) {
		struct uf_site_key key = key_of_site(&sites[i]);

		if (sites[i].state != UF_SITE_READY || !contains(images, cnt, sites[i].image))
			continue;
		unlink_entry(index, &key, i);
		tracer__clear_site(tracer, i);
	}
}

/* Stacks from here on were never used: looking at them would only make them resident. */
static uint32_t stack_cnt(const struct tracer *tracer)
{
	uint32_t cnt = __atomic_load_n(&tracer->skel->bss->next_stack, __ATOMIC_ACQUIRE);

	return cnt < tracer->opts.max_sites ? cnt : tracer->opts.max_sites;
}

static void mark_used_stacks(struct tracer *tracer, bool *used)
{
	uint32_t cnt, max = tracer->opts.max_sites;
	const struct uf_site *sites = tracer__sites(tracer, &cnt);

	for (uint32_t i = 0; i < cnt; i++)
		if (sites[i].state == UF_SITE_READY && sites[i].stack < max)
			used[sites[i].stack] = true;
}

/*
 * Stacks that no site shows. A probe may be about to make a site of one that
 * it has just looked up: so they leave the index, all probes that run are
 * waited for, and those that are in use after all go back.
 */
static int reclaim_stacks(struct tracer *tracer)
{
	uint32_t max = tracer->opts.max_sites, cnt = stack_cnt(tracer);
	int index = bpf_map__fd(tracer->skel->maps.stack_index), err = -ENOMEM;
	bool *used = calloc(max, sizeof(*used)), *unlinked = calloc(max, sizeof(*unlinked));

	if (!used || !unlinked)
		goto free_marks;
	mark_used_stacks(tracer, used);
	for (uint32_t i = 0; i < cnt; i++)
		if (tracer->stacks[i].id && !used[i])
			unlinked[i] = unlink_entry(index, &tracer->stacks[i].id, i);
	err = tracer__synchronize(tracer);
	if (err)
		goto free_marks;
	mark_used_stacks(tracer, used);
	for (uint32_t i = 0; i < cnt; i++) {
		if (!unlinked[i])
			continue;
		if (used[i])
			bpf_map_update_elem(index, &tracer->stacks[i].id, &i, BPF_NOEXIST);
		else
			clear_stack(tracer, i);
	}
free_marks:
	free(used);
	free(unlinked);
	return err;
}

static bool is_idle(const struct uf_site *site)
{
	return __atomic_load_n(&site->state, __ATOMIC_ACQUIRE) == UF_SITE_READY &&
	       __atomic_load_n(&site->alloc_cnt, __ATOMIC_ACQUIRE) ==
		       __atomic_load_n(&site->free_cnt, __ATOMIC_ACQUIRE);
}

/*
 * Sites with nothing live, unlinked like the stacks. One that got a block
 * meanwhile goes back, or, if there is a new one of the same key already, stays
 * beside it until it is idle again: both are reported, the sums are right.
 * Threads remember sites of their stacks, until they are told, before all
 * programs that run are waited for, to forget them.
 */
static int reclaim_idle_sites(struct tracer *tracer, tracer_retired_fn fn, void *arg)
{
	int index = bpf_map__fd(tracer->skel->maps.site_index), err;
	uint32_t cnt;
	struct uf_site *sites = tracer__sites(tracer, &cnt);
	bool *idle = calloc(cnt + 1, sizeof(*idle));

	if (!idle)
		return -ENOMEM;
	for (uint32_t i = 0; i < cnt; i++) {
		struct uf_site_key key = key_of_site(&sites[i]);

		idle[i] = is_idle(&sites[i]);
		if (idle[i])
			unlink_entry(index, &key, i);
	}
	tracer__forget_walks(tracer);
	err = tracer__synchronize(tracer);
	for (uint32_t i = 0; i < cnt; i++) {
		struct uf_site_key key = key_of_site(&sites[i]);

		if (!idle[i])
			continue;
		if (err || !is_idle(&sites[i])) {
			bpf_map_update_elem(index, &key, &i, BPF_NOEXIST);
			continue;
		}
		fn(arg, &sites[i]);
		tracer__clear_site(tracer, i);
	}
	free(idle);
	return err;
}

static uint32_t count_used(const struct tracer *tracer)
{
	uint32_t site_cnt, sites = 0, stacks = 0, cnt = stack_cnt(tracer);
	const struct uf_site *site = tracer__sites(tracer, &site_cnt);

	for (uint32_t i = 0; i < site_cnt; i++)
		sites += site[i].state == UF_SITE_READY;
	for (uint32_t i = 0; i < cnt; i++)
		stacks += tracer->stacks[i].id != 0;
	return sites > stacks ? sites : stacks;
}

bool tracer__wants_room(const struct tracer *tracer)
{
	uint32_t max = tracer->opts.max_sites;

	/* Until half of a table was used once there is nothing to look for. */
	if (tracer->skel->bss->next_site <= max / 2 && tracer->skel->bss->next_stack <= max / 2)
		return false;
	return count_used(tracer) > max / 2;
}

int tracer__make_room(struct tracer *tracer, tracer_retired_fn fn, void *arg)
{
	int err;

	if (!tracer__wants_room(tracer))
		return 0;
	err = reclaim_idle_sites(tracer, fn, arg);
	if (!err)
		err = reclaim_stacks(tracer);
	__atomic_store_n(&tracer->skel->bss->room_is_wanted, 0, __ATOMIC_RELEASE);
	return err;
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
		bpf_map_delete_elem(bpf_map__fd(tracer->skel->maps.python_gc), &gone[i]);
	}
	free(gone);
	return err;
}
