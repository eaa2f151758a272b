/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "agent/tracer_internal.h"
#include "probe/link_keepers.h"

/* The same code in each: one that calls it is enough. */
#define CHECKED_PIDS 4

static int load_program(struct tracer *tracer)
{
	struct unfreed_bpf *skel;
	int err;

	if (tracer->place_skel)
		return 0;
	skel = tracer__open_again();
	if (!skel)
		return -errno;
	bpf_program__set_autoload(skel->progs.place_check, true);
	tracer__set_attach_type(skel->progs.place_check, tracer->mode, false);
	err = tracer__load_marked(tracer, skel);
	if (!err)
		tracer->place_skel = skel;
	return err;
}

static uint32_t free_number(const struct tracer *tracer)
{
	uint32_t number = 0;

	while (number < UF_MAX_PLACE_CHECKS && tracer->place_checks[number].link_cnt)
		number++;
	return number;
}

int tracer__check_place(struct tracer *tracer, int fd, uint64_t entry, uint64_t place, int arg_cnt)
{
	uint32_t number = free_number(tracer);
	struct probed_file *links = &tracer->place_checks[number];
	struct uf_place_check *check = &tracer->skel->bss->place_checks[number];
	const uint64_t offsets[] = {entry, place}, cookies[] = {number | UF_PLACE_ENTRY, number};
	const struct uprobe_places places = {.offsets = offsets, .cookies = cookies, .cnt = 2};
	int err = number < UF_MAX_PLACE_CHECKS ? load_program(tracer) : -ENOSPC;

	if (err)
		return err;
	*check = (struct uf_place_check){.arg_cnt = arg_cnt};
	err = tracer__attach_in_some(tracer, links, tracer->place_skel->progs.place_check, false, fd,
				     &places, CHECKED_PIDS);
	if (!err && !links->link_cnt)
		err = -ESRCH;
	if (err) {
		tracer__detach(tracer, links);
		return err;
	}
	__atomic_store_n(&check->is_on, 1, __ATOMIC_RELEASE);
	return (int)number;
}

struct uf_place_check tracer__place_check(const struct tracer *tracer, uint32_t number)
{
	return tracer->skel->bss->place_checks[number];
}

/* The calls that threads were in, or have made, last. */
static void forget_calls(struct tracer *tracer, uint32_t number)
{
	struct {
		uint64_t thread;
		uint32_t check, pad;
	} key, next;
	int calls = bpf_map__fd(tracer->skel->maps.place_calls);
	int more = bpf_map_get_next_key(calls, NULL, &next);

	while (!more) {
		key = next;
		more = bpf_map_get_next_key(calls, &key, &next);
		if (key.check == number)
			bpf_map_delete_elem(calls, &key);
	}
}

void tracer__end_place_check(struct tracer *tracer, uint32_t number)
{
	struct probed_file *links = &tracer->place_checks[number];

	__atomic_store_n(&tracer->skel->bss->place_checks[number].is_on, 0, __ATOMIC_RELEASE);
	/* Waiting for it would keep mapped files waiting for their probes. */
	link_keepers__let_go(tracer->keepers, links->links, links->link_cnt);
	free(links->links);
	*links = (struct probed_file){0};
	forget_calls(tracer, number);
}
