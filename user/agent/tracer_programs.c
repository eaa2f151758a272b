/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Programs that few targets need. They would cost everybody a good part more to load, and programs
 * cannot be added to a loaded object: so each kind is loaded by itself, over the same maps.
 */
#include <bpf/libbpf.h>
#include <errno.h>

#include "agent/tracer_internal.h"

/* Gives the maps of one object to another that is not loaded yet. */
static int share_maps(struct bpf_object *from, struct bpf_object *to)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, to)
	{
		struct bpf_map *shared = bpf_object__find_map_by_name(from, bpf_map__name(map));

		if (!err)
			err = shared ? bpf_map__reuse_fd(map, bpf_map__fd(shared)) : -ENOENT;
	}
	return err;
}

int tracer__load_marked(struct tracer *tracer, struct unfreed_bpf *skel)
{
	int err = share_maps(tracer->skel->obj, skel->obj);

	if (!err)
		err = unfreed_bpf__load(skel);
	if (err)
		unfreed_bpf__destroy(skel);
	return err;
}

struct unfreed_bpf *tracer__open_again(void)
{
	struct unfreed_bpf *skel = unfreed_bpf__open();
	struct bpf_program *program;

	if (skel)
		bpf_object__for_each_program(program, skel->obj)
			bpf_program__set_autoload(program, false);
	return skel;
}

/* Both programs of skel, into *loaded. 0 or -errno. */
static int load_pair(struct tracer *tracer, struct unfreed_bpf *skel, struct bpf_program *first,
		     struct bpf_program *second, struct unfreed_bpf **loaded)
{
	int err;

	bpf_program__set_autoload(first, true);
	bpf_program__set_autoload(second, true);
	tracer__set_attach_type(first, tracer->mode, false);
	tracer__set_attach_type(second, tracer->mode, false);
	err = tracer__load_marked(tracer, skel);
	if (!err)
		*loaded = skel;
	return err;
}

int tracer__load_throw(struct tracer *tracer)
{
	struct unfreed_bpf *skel;

	if (tracer->throw_skel)
		return 0;
	skel = tracer__open_again();
	if (!skel)
		return -errno;
	return load_pair(tracer, skel, skel->progs.alloc_entry, skel->progs.alloc_ret,
			 &tracer->throw_skel);
}

int tracer__load_gate(struct tracer *tracer)
{
	struct unfreed_bpf *skel;

	if (tracer->gate_skel)
		return 0;
	skel = tracer__open_again();
	if (!skel)
		return -errno;
	return load_pair(tracer, skel, skel->progs.gate_tell, skel->progs.gate_alloc,
			 &tracer->gate_skel);
}
