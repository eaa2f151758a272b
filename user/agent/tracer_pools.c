/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/tracer_internal.h"

struct uf_pool *tracer__pools(const struct tracer *tracer, uint32_t *cnt)
{
	*cnt = __atomic_load_n(&tracer->skel->bss->next_pool, __ATOMIC_ACQUIRE);
	if (*cnt > UF_MAX_POOLS)
		*cnt = UF_MAX_POOLS;
	return tracer->pools;
}

static struct uf_block_key key_of(const struct uf_pool *pool)
{
	return (struct uf_block_key){.address = pool->address, .image = pool->image};
}

int tracer__free_pools(struct tracer *tracer, const bool *is_idle, uint32_t cnt, tracer_pool_fn fn,
		       void *arg)
{
	int index = bpf_map__fd(tracer->skel->maps.pool_index), err;
	int spares = bpf_map__fd(tracer->skel->maps.pool_spares);

	/* As sites and stacks are (tracer_reclaim.c): unlinked, then everybody is waited for. */
	for (uint32_t i = 0; i < cnt; i++) {
		struct uf_block_key key = key_of(&tracer->pools[i]);

		if (is_idle[i])
			bpf_map_delete_elem(index, &key);
	}
	err = tracer__synchronize(tracer);
	for (uint32_t i = 0; i < cnt; i++) {
		struct uf_pool *pool = &tracer->pools[i];
		struct uf_block_key key = key_of(pool);

		if (!is_idle[i])
			continue;
		if (err || __atomic_load_n(&pool->tenant, __ATOMIC_ACQUIRE)) {
			if (!bpf_map_update_elem(index, &key, &i, BPF_NOEXIST))
				continue;
			fn(arg, pool);
		}
		memset(pool, 0, sizeof(*pool));
		bpf_map_update_elem(spares, NULL, &i, BPF_ANY);
	}
	return err;
}

void tracer__forget_young_pools(struct tracer *tracer, uf_image_id image)
{
	bpf_map_delete_elem(bpf_map__fd(tracer->skel->maps.young_pools), &image);
}

static struct bpf_program *new_pool_program(const struct tracer *tracer, struct unfreed_bpf *skel)
{
	return tracer->mode == ATTACH_SESSION ? skel->progs.pool_session : skel->progs.pool_exit;
}

bool tracer__wants_pools(const struct tracer *tracer)
{
	return !tracer->opts.no_pools;
}

int tracer__load_pools(struct tracer *tracer)
{
	struct bpf_program *program;
	struct unfreed_bpf *skel;
	int err;

	if (tracer->pool_skel)
		return 0;
	skel = tracer__open_again();
	if (!skel)
		return -errno;
	program = new_pool_program(tracer, skel);
	bpf_program__set_autoload(program, true);
	tracer__set_attach_type(program, tracer->mode, tracer->mode == ATTACH_SESSION);
	bpf_program__set_autoload(skel->progs.pools_at_exit, true);
	tracer__set_attach_type(skel->progs.pools_at_exit, tracer->mode, false);
	bpf_program__set_autoload(skel->progs.pool_watch, true);
	tracer__set_attach_type(skel->progs.pool_watch, tracer->mode, false);
	err = tracer__load_marked(tracer, skel);
	if (!err)
		tracer->pool_skel = skel;
	return err;
}

int tracer__attach_new_pool(struct tracer *tracer, int fd, const uint64_t *offsets, uint32_t cnt)
{
	uint64_t cookies[UF_MAX_POOL_FILES];
	struct uprobe_places places = {.offsets = offsets, .cookies = cookies, .cnt = cnt};
	int err = tracer__load_pools(tracer);

	if (err)
		return err;
	if (tracer->new_pool_cnt == UF_MAX_POOL_FILES || cnt > UF_MAX_POOL_FILES)
		return -ENOSPC;
	for (uint32_t i = 0; i < cnt; i++)
		cookies[i] = tracer->new_pool_cnt;
	err = tracer__attach_in_file(tracer, &tracer->new_pool[tracer->new_pool_cnt],
				    new_pool_program(tracer, tracer->pool_skel),
				    tracer->mode != ATTACH_SESSION, fd, &places);
	if (err)
		tracer__detach(tracer, &tracer->new_pool[tracer->new_pool_cnt]);
	else
		tracer->new_pool_cnt++;
	return err;
}

int tracer__attach_exit(struct tracer *tracer, int fd, uint64_t offset)
{
	int err = tracer__load_pools(tracer);

	if (err)
		return err;
	return tracer__attach_place(tracer, &tracer->python, tracer->pool_skel->progs.pools_at_exit,
				    false, fd, offset);
}

int tracer__attach_pool_watch(struct tracer *tracer, int fd, const uint64_t *offsets, uint32_t cnt)
{
	struct uprobe_places places = {
		.offsets = offsets,
		.cookies = calloc(cnt, sizeof(*places.cookies)),
		.cnt = cnt,
	};
	int err = places.cookies ? tracer__load_pools(tracer) : -ENOMEM;

	/* It stands at malloc(), and would stay there in a pause. */
	if (tracer->opts.pauses)
		goto free_cookies;

	if (!err)
		err = tracer__attach_in_file(tracer, &tracer->python,
					     tracer->pool_skel->progs.pool_watch, false, fd, &places);
free_cookies:
	free((void *)places.cookies);
	return err;
}

int tracer__attach_pool_fault(struct tracer *tracer)
{
	struct unfreed_bpf *skel;
	int err;

	if (tracer->fault_skel)
		return 0;
	skel = tracer__open_again();
	if (!skel)
		return -errno;
	bpf_program__set_autoload(skel->progs.pool_fault, true);
	err = tracer__load_marked(tracer, skel);
	if (err)
		return err;
	skel->links.pool_fault = bpf_program__attach(skel->progs.pool_fault);
	if (!skel->links.pool_fault) {
		err = -errno;
		unfreed_bpf__destroy(skel);
		return err;
	}
	tracer->fault_skel = skel;
	return 0;
}

bool tracer__pools_failed(struct tracer *tracer)
{
	const uint32_t *are_off = tracer->skel->bss->pools_are_off;
	bool failed = false;

	for (uint32_t i = 0; i < tracer->new_pool_cnt; i++) {
		struct probed_file *file = &tracer->new_pool[i];

		if (!file->link_cnt || !__atomic_load_n(&are_off[i], __ATOMIC_ACQUIRE))
			continue;
		tracer__detach(tracer, file);
		failed = true;
	}
	return failed;
}
