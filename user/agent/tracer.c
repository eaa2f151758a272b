/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/tracer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/cohorts.h"
#include "agent/tracer_internal.h"
#include "probe/catalog.h"
#include "probe/link_keepers.h"
#include "probe/uprobe_link.h"

static bool print_debug;

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_DEBUG || !print_debug)
		return 0;
	return vfprintf(stderr, format, args);
}

void tracer__set_attach_type(struct bpf_program *prog, enum attach_mode mode, bool is_session)
{
	if (mode == ATTACH_PERF)
		return;
	bpf_program__set_expected_attach_type(
		prog, (enum bpf_attach_type)(is_session ? UPROBE_ATTACH_SESSION
							: UPROBE_ATTACH_MULTI));
}

static void configure_programs(struct tracer *tracer)
{
	struct unfreed_bpf *skel = tracer->skel;
	bool session = tracer->mode == ATTACH_SESSION;
	struct bpf_program *regions[REGION_PROGRAMS];

	bpf_program__set_autoload(skel->progs.alloc_session, session);
	bpf_program__set_autoload(skel->progs.alloc_entry, !session);
	bpf_program__set_autoload(skel->progs.alloc_exit, !session);
	tracer__set_attach_type(skel->progs.alloc_session, tracer->mode, true);
	tracer__set_attach_type(skel->progs.alloc_entry, tracer->mode, false);
	tracer__set_attach_type(skel->progs.alloc_exit, tracer->mode, false);
	tracer__set_attach_type(skel->progs.free_entry, tracer->mode, false);
	tracer__set_attach_type(skel->progs.free_session, tracer->mode, true);
	tracer__set_attach_type(skel->progs.free_exit, tracer->mode, false);
	tracer__set_attach_type(skel->progs.python_code_freed, tracer->mode, false);
	tracer__set_attach_type(skel->progs.gc_start, tracer->mode, false);
	tracer__set_attach_type(skel->progs.gc_done, tracer->mode, false);
	/* For functions that may throw, when there is one (tracer_programs.c). */
	bpf_program__set_autoload(skel->progs.alloc_ret, false);
	/* When a process has the gate (likewise). */
	bpf_program__set_autoload(skel->progs.gate_alloc, false);
	bpf_program__set_autoload(skel->progs.gate_tell, false);
	/* The return of free() is of interest only to tell its own mappings from the program's. */
	bpf_program__set_autoload(skel->progs.free_entry, !session || !tracer->opts.mmap);
	bpf_program__set_autoload(skel->progs.free_session, session && tracer->opts.mmap);
	bpf_program__set_autoload(skel->progs.free_exit, !session && tracer->opts.mmap);
	/* By themselves (tracer_regions.c), as are Python's own, when there is one (tracer_pools.c). */
	tracer__region_programs(skel, regions);
	for (int i = 0; i < REGION_PROGRAMS; i++)
		bpf_program__set_autoload(regions[i], false);
	bpf_program__set_autoload(skel->progs.pool_session, false);
	bpf_program__set_autoload(skel->progs.pool_exit, false);
	bpf_program__set_autoload(skel->progs.pools_at_exit, false);
	bpf_program__set_autoload(skel->progs.pool_watch, false);
	bpf_program__set_autoload(skel->progs.pool_fault, false);
	bpf_program__set_autoload(skel->progs.place_check, false); /* tracer_places.c */
}

static int configure_maps(struct tracer *tracer)
{
	struct unfreed_bpf *skel = tracer->skel;
	uint32_t sites = tracer->opts.max_sites;
	struct bpf_map *const by_site[] = {skel->maps.sites,	   skel->maps.site_index,
					   skel->maps.site_spares, skel->maps.stacks,
					   skel->maps.stack_index, skel->maps.stack_spares};
	int err = bpf_map__set_max_entries(skel->maps.live, tracer->opts.max_blocks);

	/* Tens of kilobytes a CPU, that nobody else needs. */
	if (!err && !tracer->opts.is_kernel)
		err = bpf_map__set_max_entries(skel->maps.kernel_scratches, 1);
	for (size_t i = 0; !err && i < sizeof(by_site) / sizeof(by_site[0]); i++)
		err = bpf_map__set_max_entries(by_site[i], sites);
	return err;
}

/* For kernels where maps cannot grow: with all the memory that they may ever need. */
static int preallocate_maps(struct unfreed_bpf *skel)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, skel->obj) {
		uint32_t flags = bpf_map__map_flags(map);

		if (!err && bpf_map__type(map) == BPF_MAP_TYPE_HASH)
			err = bpf_map__set_map_flags(map, flags & ~BPF_F_NO_PREALLOC);
	}
	return err;
}

/* Round up to whole pages, as the kernel wants array maps mapped. */
static size_t map_bytes(size_t value_size, uint32_t cnt)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (value_size * cnt + page - 1) / page * page;
}

static void *mmap_table(struct bpf_map *map, size_t size)
{
	void *table = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return table == MAP_FAILED ? NULL : table;
}

static int handle_event(void *ctx, void *data, size_t size)
{
	struct tracer *tracer = ctx;
	const struct uf_event *event = data;

	if (size == sizeof(struct uf_python_code) && event->type == UF_EVENT_PYTHON_CODE)
		tracer->code_fn(tracer->event_arg, data);
	else if (size >= sizeof(struct uf_region_event) && event->type == UF_EVENT_REGION)
		tracer->region_fn(tracer->event_arg, data);
	else if (size == sizeof(*event))
		tracer->event_fn(tracer->event_arg, event);
	return 0;
}

int tracer__open(struct tracer *tracer)
{
	const struct tracer_opts *opts = &tracer->opts;

	tracer->skel = unfreed_bpf__open();
	if (!tracer->skel)
		return -errno;
	tracer->skel->rodata->cfg_min_size_bytes = opts->min_size_bytes;
	tracer->skel->rodata->cfg_max_size_bytes = opts->max_size_bytes;
	tracer->skel->rodata->cfg_page_size_bytes = sysconf(_SC_PAGESIZE);
	tracer->skel->rodata->cfg_follow = opts->follow;
	tracer->skel->rodata->cfg_inherit = !opts->whole_host;
	tracer->skel->rodata->cfg_host_tgid = opts->whole_host ? getpid() : 0;
	tracer->skel->rodata->cfg_max_sites = opts->max_sites;
	tracer->skel->rodata->cfg_stack_mode = opts->stack_mode;
	tracer->skel->rodata->cfg_mmap = opts->mmap;
	tracer->skel->rodata->cfg_sampled = opts->sample_bytes;
	tracer->skel->rodata->cfg_pauses = opts->pauses;
	tracer->skel->bss->sample_interval_bytes = opts->sample_bytes;
	if (opts->huge_page_bytes)
		tracer->skel->rodata->cfg_huge_page_bytes = opts->huge_page_bytes;
	tracer->skel->bss->next_image = 1;
	return configure_maps(tracer);
}

static int load(struct tracer *tracer)
{
	struct features features;
	int err = features__detect(&features);

	if (err)
		return err;
	err = features__choose(&features, tracer->opts.attach);
	if (err < 0)
		return err;
	tracer->mode = err;
	/* The kernel takes perf uprobes out one after the other, whoever closes them. */
	tracer->keepers = link_keepers__new(tracer->mode != ATTACH_PERF || tracer->opts.pauses);
	if (!tracer->keepers)
		return -errno;
	err = tracer__open(tracer);
	if (err)
		return err;
	configure_programs(tracer);
	if (!features.grows_maps)
		err = preallocate_maps(tracer->skel);
	return err ? err : unfreed_bpf__load(tracer->skel);
}

static int map_tables(struct tracer *tracer)
{
	struct unfreed_bpf *skel = tracer->skel;

	tracer->sites_size = map_bytes(sizeof(struct uf_site), tracer->opts.max_sites);
	tracer->stacks_size = map_bytes(sizeof(struct uf_stack), tracer->opts.max_sites);
	tracer->sites = mmap_table(skel->maps.sites, tracer->sites_size);
	tracer->stacks = mmap_table(skel->maps.stacks, tracer->stacks_size);
	tracer->unwind_files_size = map_bytes(sizeof(struct uf_unwind_file), UF_MAX_UNWIND_FILES);
	tracer->unwind_files = mmap_table(skel->maps.unwind_files, tracer->unwind_files_size);
	tracer->cpu_cnt = libbpf_num_possible_cpus();
	if (tracer->cpu_cnt < 1)
		return tracer->cpu_cnt;
	tracer->cpu_stats = calloc(tracer->cpu_cnt, sizeof(*tracer->cpu_stats));
	tracer->events = ring_buffer__new(bpf_map__fd(skel->maps.events), handle_event, tracer, NULL);
	tracer->pools_size = map_bytes(sizeof(struct uf_pool), UF_MAX_POOLS);
	tracer->pools = mmap_table(skel->maps.pools, tracer->pools_size);
	if (!tracer->sites || !tracer->stacks || !tracer->unwind_files || !tracer->cpu_stats ||
	    !tracer->events || !tracer->pools)
		return errno ? -errno : -ENOMEM;
	return 0;
}

struct tracer *tracer__new(const struct tracer_opts *opts)
{
	struct tracer *tracer = calloc(1, sizeof(*tracer));
	int err;

	if (!tracer)
		return NULL;
	print_debug = opts->debug;
	libbpf_set_print(print_libbpf);
	tracer->opts = *opts;
	tracer->first_chunk_fd = -1;
	err = opts->is_kernel ? tracer__load_kernel(tracer) : load(tracer);
	if (!err)
		err = map_tables(tracer);
	if (err) {
		tracer__free(tracer);
		errno = -err;
		return NULL;
	}
	return tracer;
}

/* The links of the file from the one at cnt on. */
static void detach_from(struct tracer *tracer, struct probed_file *file, uint32_t cnt)
{
	if (file->link_cnt > cnt)
		link_keepers__close(tracer->keepers, file->links + cnt, file->link_cnt - cnt);
	file->link_cnt = cnt;
}

void tracer__detach(struct tracer *tracer, struct probed_file *file)
{
	detach_from(tracer, file, 0);
	free(file->links);
	file->links = NULL;
}

static void place_list__release(struct place_list *list)
{
	free(list->offsets);
	free(list->cookies);
	*list = (struct place_list){0};
}

static void forget_places(struct probed_file *file)
{
	if (!file->keeps_places)
		return;
	file->keeps_places = false;
	close(file->fd);
	for (int kind = 0; kind < PLACE_KIND_CNT; kind++)
		place_list__release(&file->lists[kind]);
}

void tracer__free(struct tracer *tracer)
{
	if (!tracer)
		return;
	if (tracer->skel && tracer->skel->bss)
		memset(tracer->skel->bss->file_on, 0, sizeof(tracer->skel->bss->file_on));
	tracer__end_pause(tracer);
	link_keepers__free(tracer->keepers); /* all at the same time */
	for (uint32_t i = 0; i < UF_MAX_FILES; i++) {
		free(tracer->files[i].links);
		forget_places(&tracer->files[i]);
	}
	for (uint32_t i = 0; i < UF_MAX_PLACE_CHECKS; i++)
		free(tracer->place_checks[i].links);
	free(tracer->python.links);
	for (uint32_t i = 0; i < UF_MAX_POOL_FILES; i++)
		free(tracer->new_pool[i].links);
	if (tracer->pools)
		munmap(tracer->pools, tracer->pools_size);
	for (size_t i = 0; i < sizeof(tracer->process_links) / sizeof(tracer->process_links[0]); i++)
		bpf_link__destroy(tracer->process_links[i]);
	for (uint32_t i = 0; i < tracer->kernel_link_cnt; i++)
		bpf_link__destroy(tracer->kernel_links[i]);
	unfreed_bpf__destroy(tracer->throw_skel);
	unfreed_bpf__destroy(tracer->gate_skel);
	unfreed_bpf__destroy(tracer->place_skel);
	unfreed_bpf__destroy(tracer->pool_skel);
	unfreed_bpf__destroy(tracer->fault_skel);
	tracer__detach_regions(tracer);
	ring_buffer__free(tracer->events);
	if (tracer->sites)
		munmap(tracer->sites, tracer->sites_size);
	if (tracer->stacks)
		munmap(tracer->stacks, tracer->stacks_size);
	if (tracer->unwind_files)
		munmap(tracer->unwind_files, tracer->unwind_files_size);
	for (int i = 0; i < UF_MAX_CHUNKS; i++)
		if (tracer->chunks[i])
			munmap(tracer->chunks[i], UF_CHUNK_WORDS * sizeof(uint64_t));
	if (tracer->first_chunk_fd >= 0)
		close(tracer->first_chunk_fd);
	free(tracer->cpu_stats);
	unfreed_bpf__destroy(tracer->skel);
	free(tracer);
}

int tracer__attach_process(struct tracer *tracer)
{
	struct bpf_program *const progs[] = {
		tracer->skel->progs.process_fork,
		tracer->skel->progs.process_exec,
		tracer->skel->progs.process_exit,
		tracer->skel->progs.signal_deliver,
	};

	for (size_t i = 0; i < sizeof(progs) / sizeof(progs[0]); i++) {
		tracer->process_links[i] = bpf_program__attach(progs[i]);
		if (!tracer->process_links[i])
			return -errno;
	}
	return 0;
}

static enum place_kind kind_of(const struct probe_point *point)
{
	if (point->func == UF_FREE)
		return PLACES_FREE;
	return point->flags & UF_COOKIE_MAY_THROW ? PLACES_THROW : PLACES_ALLOC;
}

static int place_list__init(struct place_list *list, const struct probe_points *points,
			    enum place_kind kind, uint32_t slot)
{
	uint32_t max = points->cnt + points->exit_cnt + 1;

	list->offsets = calloc(max, sizeof(*list->offsets));
	list->cookies = calloc(max, sizeof(*list->cookies));
	list->cnt = 0;
	if (!list->offsets || !list->cookies)
		return -ENOMEM;
	for (uint32_t i = 0; kind == PLACES_RET && i < points->exit_cnt; i++)
		list->offsets[list->cnt++] = points->exits[i];
	for (uint32_t i = 0; i < points->cnt; i++) {
		const struct probe_point *point = &points->points[i];

		if (kind_of(point) != kind)
			continue;
		list->offsets[list->cnt] = point->probe_offset;
		list->cookies[list->cnt++] = UF_COOKIE(
			point->func,
			point->flags | (point->placement.emulated ? 0 : UF_COOKIE_STEPPED), slot);
	}
	return 0;
}

/* Hands cnt descriptors over. 0; or -ENOMEM, and those that remain are closed. */
static int keep_links(struct tracer *tracer, struct probed_file *file, const int *fds, uint32_t cnt)
{
	int *links = realloc(file->links, (file->link_cnt + cnt) * sizeof(*links));
	int link, err = links ? 0 : -ENOMEM;

	if (links)
		file->links = links;
	for (uint32_t i = 0; i < cnt; i++) {
		link = err ? -1 : link_keepers__take(tracer->keepers, fds[i]);
		if (err)
			close(fds[i]);
		else if (link < 0)
			err = link;
		else
			links[file->link_cnt++] = link;
	}
	return err;
}

static int attach_perf(struct tracer *tracer, struct probed_file *file,
		       const struct bpf_program *prog, bool is_return,
		       const struct uprobe_places *places)
{
	int *fds = calloc(2 * places->cnt, sizeof(*fds));
	int err = fds ? uprobe_link__perf(bpf_program__fd(prog), is_return, places, fds) : -ENOMEM;

	if (!err)
		err = keep_links(tracer, file, fds, 2 * places->cnt);
	free(fds);
	return err;
}

static int attach_program(struct tracer *tracer, struct probed_file *file,
			  const struct bpf_program *prog, bool is_return,
			  const struct uprobe_places *places)
{
	bool is_session = prog == tracer->skel->progs.alloc_session ||
			  prog == tracer->skel->progs.free_session ||
			  (tracer->pool_skel && prog == tracer->pool_skel->progs.pool_session);
	int type = is_session ? UPROBE_ATTACH_SESSION : UPROBE_ATTACH_MULTI;
	int fd;

	if (!places->cnt)
		return 0;
	if (tracer->mode == ATTACH_PERF)
		return attach_perf(tracer, file, prog, is_return, places);
	fd = uprobe_link__multi(bpf_program__fd(prog), type, is_return, places);
	return fd < 0 ? fd : keep_links(tracer, file, &fd, 1);
}

/* Their returns are of interest only with --mmap. */
static int attach_frees(struct tracer *tracer, struct probed_file *file,
			const struct uprobe_places *places)
{
	struct unfreed_bpf *skel = tracer->skel;
	int err;

	if (!tracer->opts.mmap)
		return attach_program(tracer, file, skel->progs.free_entry, false, places);
	if (tracer->mode == ATTACH_SESSION)
		return attach_program(tracer, file, skel->progs.free_session, false, places);
	err = attach_program(tracer, file, skel->progs.free_exit, true, places);
	return err ? err : attach_program(tracer, file, skel->progs.free_entry, false, places);
}

static int attach_kind(struct tracer *tracer, struct probed_file *file, enum place_kind kind,
		       const struct uprobe_places *places)
{
	struct unfreed_bpf *skel = tracer->skel;
	bool session = tracer->mode == ATTACH_SESSION;
	int err;

	switch (kind) {
	case PLACES_FREE:
		return attach_frees(tracer, file, places);
	case PLACES_RET:
		return attach_program(tracer, file, tracer->throw_skel->progs.alloc_ret, false,
				      places);
	case PLACES_THROW:
		return attach_program(tracer, file, tracer->throw_skel->progs.alloc_entry, false,
				      places);
	default:
		break;
	}
	if (session)
		return attach_program(tracer, file, skel->progs.alloc_session, false, places);
	err = attach_program(tracer, file, skel->progs.alloc_exit, true, places);
	return err ? err : attach_program(tracer, file, skel->progs.alloc_entry, false, places);
}

/* In one process, or in every one (pid 0): free first. */
static int attach_places(struct tracer *tracer, struct probed_file *file, const char *path,
			 pid_t pid, const struct place_list *lists)
{
	int err = 0;

	for (int kind = 0; !err && kind < PLACE_KIND_CNT; kind++) {
		const struct uprobe_places places = {
			.path = path,
			.offsets = lists[kind].offsets,
			.cookies = lists[kind].cookies,
			.cnt = lists[kind].cnt,
			.pid = pid,
		};

		if (places.cnt)
			err = attach_kind(tracer, file, kind, &places);
	}
	return err;
}

/* Does the kernel keep the probes out of other processes? */
static bool is_filtered(const struct tracer *tracer)
{
	/* The pid filter of 6.6 - 6.9 looks at threads; where there are sessions it is right. */
	return !tracer->opts.every_process && tracer->mode != ATTACH_MULTI;
}

int tracer__attach_lists(struct tracer *tracer, struct probed_file *file, int fd,
			 const struct place_list *lists)
{
	bool filtered = is_filtered(tracer);
	char path[64];
	int err = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!filtered)
		return attach_places(tracer, file, path, 0, lists);
	for (uint32_t i = 0; !err && i < tracer->opts.pid_cnt; i++) {
		err = attach_places(tracer, file, path, tracer->opts.pids[i], lists);
		if (err == -ESRCH)
			err = 0; /* ended meanwhile */
	}
	return err;
}

static uint32_t free_slot(const struct tracer *tracer)
{
	uint32_t slot = 0;

	while (slot < UF_MAX_FILES && tracer->files[slot].point_cnt)
		slot++;
	return slot;
}

/* For when the probes are taken out and put in again. 0 or -errno. */
static int keep_places(struct probed_file *file, int fd, struct place_list *lists)
{
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0)
		return -errno;
	file->keeps_places = true;
	for (int kind = 0; kind < PLACE_KIND_CNT; kind++) {
		file->lists[kind] = lists[kind];
		lists[kind] = (struct place_list){0};
	}
	return 0;
}

/* All probes of the file are in place. */
static void switch_on(struct tracer *tracer, uint32_t slot, uint32_t point_cnt)
{
	__atomic_store_n(&tracer->skel->bss->file_on[slot], 1, __ATOMIC_RELEASE);
	tracer->files[slot].point_cnt = point_cnt;
	tracer->probe_cnt += point_cnt;
	tracer->file_cnt++;
	tracer->has_probed = true;
}

int tracer__attach_file(struct tracer *tracer, int fd, const struct probe_points *points)
{
	uint32_t slot = free_slot(tracer);
	struct probed_file *file = &tracer->files[slot];
	struct place_list lists[PLACE_KIND_CNT] = {0};
	int err = 0;

	if (slot == UF_MAX_FILES)
		return -ENOSPC;
	for (int kind = 0; !err && kind < PLACE_KIND_CNT; kind++)
		err = place_list__init(&lists[kind], points, kind, slot);
	if (!err && lists[PLACES_THROW].cnt)
		err = tracer__load_throw(tracer);
	if (!err && !tracer->pause)
		err = tracer__attach_lists(tracer, file, fd, lists);
	if (!err && tracer->opts.pauses)
		err = keep_places(file, fd, lists);
	if (err)
		tracer__detach(tracer, file);
	else
		switch_on(tracer, slot, points->cnt);
	for (int kind = 0; kind < PLACE_KIND_CNT; kind++)
		place_list__release(&lists[kind]);
	return err ? err : (int)slot;
}

/* The telling of frees first. */
int tracer__attach_gate(struct tracer *tracer, int fd, uint64_t alloc_offset, uint64_t tell_offset)
{
	uint32_t slot = free_slot(tracer);
	const uint64_t cookie = UF_COOKIE(UF_FUNC_NONE, 0, slot);
	const struct uprobe_places tell = {.offsets = &tell_offset, .cookies = &cookie, .cnt = 1};
	const struct uprobe_places alloc = {.offsets = &alloc_offset, .cookies = &cookie, .cnt = 1};
	struct probed_file *file = &tracer->files[slot];
	int err;

	if (slot == UF_MAX_FILES)
		return -ENOSPC;
	err = tracer__load_gate(tracer);
	if (!err)
		err = tracer__attach_in_file(tracer, file, tracer->gate_skel->progs.gate_tell, false,
					     fd, &tell);
	if (!err)
		err = tracer__attach_in_file(tracer, file, tracer->gate_skel->progs.gate_alloc, false,
					     fd, &alloc);
	if (err)
		tracer__detach(tracer, file);
	else
		switch_on(tracer, slot, 2);
	return err ? err : (int)slot;
}

void tracer__mute_file(struct tracer *tracer, uint32_t slot)
{
	__atomic_store_n(&tracer->skel->bss->file_on[slot], 0, __ATOMIC_RELEASE);
}

void tracer__detach_file(struct tracer *tracer, uint32_t slot)
{
	struct probed_file *file = &tracer->files[slot];

	if (!file->point_cnt)
		return;
	__atomic_store_n(&tracer->skel->bss->file_on[slot], 0, __ATOMIC_RELEASE);
	tracer__detach(tracer, file);
	forget_places(file);
	tracer->probe_cnt -= file->point_cnt;
	tracer->file_cnt--;
	file->point_cnt = 0;
}

bool tracer__has_probed(const struct tracer *tracer)
{
	return tracer->has_probed;
}

int tracer__attach_in_some(struct tracer *tracer, struct probed_file *links,
			   const struct bpf_program *prog, bool is_return, int fd,
			   const struct uprobe_places *in_file, uint32_t max_pids)
{
	struct uprobe_places places = *in_file;
	bool filtered = is_filtered(tracer);
	uint32_t cnt = filtered ? tracer->opts.pid_cnt : 1;
	char path[64];
	int err = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	places.path = path;
	for (uint32_t i = 0; !err && i < cnt && i < max_pids; i++) {
		places.pid = filtered ? tracer->opts.pids[i] : 0;
		err = attach_program(tracer, links, prog, is_return, &places);
		if (err == -ESRCH)
			err = 0; /* ended meanwhile */
	}
	return err;
}

int tracer__attach_in_file(struct tracer *tracer, struct probed_file *links,
			   const struct bpf_program *prog, bool is_return, int fd,
			   const struct uprobe_places *in_file)
{
	return tracer__attach_in_some(tracer, links, prog, is_return, fd, in_file, UINT32_MAX);
}

int tracer__attach_place(struct tracer *tracer, struct probed_file *links,
			 const struct bpf_program *prog, bool is_return, int fd, uint64_t offset)
{
	const uint64_t cookie = 0;
	const struct uprobe_places places = {.offsets = &offset, .cookies = &cookie, .cnt = 1};

	return tracer__attach_in_file(tracer, links, prog, is_return, fd, &places);
}

int tracer__attach_code_dealloc(struct tracer *tracer, int fd, uint64_t offset)
{
	return tracer__attach_place(tracer, &tracer->python, tracer->skel->progs.python_code_freed,
				    false, fd, offset);
}

int tracer__attach_gc(struct tracer *tracer, int fd, const struct gc_places *starts,
		      const struct gc_places *dones)
{
	const struct uprobe_places start = {
		.offsets = starts->offsets,
		.cookies = starts->args,
		.semaphores = starts->semaphores,
		.cnt = starts->cnt,
	}, done = {
		.offsets = dones->offsets,
		.cookies = dones->args,
		.semaphores = dones->semaphores,
		.cnt = dones->cnt,
	};
	struct probed_file *links = &tracer->python;
	uint32_t link_cnt = links->link_cnt;
	/* An end without a beginning does not count, a beginning without an end would be kept. */
	int err = tracer__attach_in_file(tracer, links, tracer->skel->progs.gc_done, false, fd, &done);

	if (!err)
		err = tracer__attach_in_file(tracer, links, tracer->skel->progs.gc_start, false, fd,
					     &start);
	if (err)
		detach_from(tracer, links, link_cnt);
	return err;
}

const char *tracer__mode(const struct tracer *tracer)
{
	static const char *const names[] = {
		[ATTACH_SESSION] = "uprobe session",
		[ATTACH_MULTI] = "uprobe multi",
		[ATTACH_PERF] = "perf uprobe",
	};

	return names[tracer->mode];
}

enum attach_mode tracer__attach_mode(const struct tracer *tracer)
{
	return tracer->mode;
}

uint32_t tracer__probe_cnt(const struct tracer *tracer)
{
	return tracer->probe_cnt;
}

uint32_t tracer__file_cnt(const struct tracer *tracer)
{
	return tracer->file_cnt;
}

int64_t tracer__new_image(struct tracer *tracer, pid_t pid)
{
	uf_image_id id = __atomic_fetch_add(&tracer->skel->bss->next_image, 1, __ATOMIC_RELAXED);
	struct uf_image image = {.tgid = pid};

	if (bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.images), &id, &image, BPF_ANY))
		return -errno;
	return id;
}

int tracer__add_process(struct tracer *tracer, pid_t pid, uf_image_id image, bool waits_exec)
{
	int processes = bpf_map__fd(tracer->skel->maps.processes);
	struct uf_process process = {
		.image = image,
		.flags = waits_exec ? UF_PROC_WAITS_EXEC : 0,
	};
	uint32_t tgid = pid;
	int err = 0;

	if (bpf_map_update_elem(processes, &tgid, &process, BPF_NOEXIST)) {
		err = -errno;
	} else if (kill(pid, 0) && errno == ESRCH) {
		/* It ended unseen, and its number will be another's. */
		err = -ESRCH;
		bpf_map_delete_elem(processes, &tgid);
	}
	if (err) {
		bpf_map_delete_elem(bpf_map__fd(tracer->skel->maps.pythons), &image);
		bpf_map_delete_elem(bpf_map__fd(tracer->skel->maps.images), &image);
	}
	return err;
}

void tracer__drop_process(struct tracer *tracer, pid_t pid, uf_image_id image)
{
	int processes = bpf_map__fd(tracer->skel->maps.processes);
	struct uf_process process;
	uint32_t tgid = pid;

	if (!bpf_map_lookup_elem(processes, &tgid, &process) && process.image == image)
		bpf_map_delete_elem(processes, &tgid);
}

int tracer__events_fd(const struct tracer *tracer)
{
	return ring_buffer__epoll_fd(tracer->events);
}

int tracer__poll_events(struct tracer *tracer, tracer_event_fn fn, tracer_code_fn code_fn,
			tracer_region_fn region_fn, void *arg)
{
	int n;

	tracer->event_fn = fn;
	tracer->code_fn = code_fn;
	tracer->region_fn = region_fn;
	tracer->event_arg = arg;
	n = ring_buffer__consume(tracer->events);
	return n < 0 ? n : 0;
}

int tracer__get_python(const struct tracer *tracer, uf_image_id image, struct uf_python *python)
{
	return bpf_map_lookup_elem(bpf_map__fd(tracer->skel->maps.pythons), &image, python)
		       ? -errno
		       : 0;
}

bool tracer__knows_code(const struct tracer *tracer, uf_image_id image, uint64_t address)
{
	const struct {
		uint64_t address;
		uf_image_id image;
		uint32_t pad;
	} key = {.address = address, .image = image};
	uint8_t one;

	return !bpf_map_lookup_elem(bpf_map__fd(tracer->skel->maps.known_codes), &key, &one);
}

int tracer__set_python(struct tracer *tracer, uf_image_id image, const struct uf_python *python)
{
	if (bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.pythons), &image, python, BPF_ANY))
		return -errno;
	__atomic_fetch_add(&tracer->skel->bss->python_cnt, 1, __ATOMIC_RELEASE);
	tracer__forget_walks(tracer);
	return 0;
}

int tracer__read_gc(const struct tracer *tracer, uf_image_id image, struct uf_python_gc *out)
{
	memset(out, 0, sizeof(*out));
	if (!bpf_map_lookup_elem(bpf_map__fd(tracer->skel->maps.python_gc), &image, out) ||
	    errno == ENOENT)
		return 0;
	return -errno;
}

struct uf_site *tracer__sites(const struct tracer *tracer, uint32_t *cnt)
{
	*cnt = __atomic_load_n(&tracer->skel->bss->next_site, __ATOMIC_ACQUIRE);
	if (*cnt > tracer->opts.max_sites)
		*cnt = tracer->opts.max_sites;
	return tracer->sites;
}

const struct uf_stack *tracer__stack(const struct tracer *tracer, uint32_t stack)
{
	return stack < tracer->opts.max_sites ? &tracer->stacks[stack] : NULL;
}

struct cohorts_shared tracer__cohorts_shared(const struct tracer *tracer)
{
	return (struct cohorts_shared){
		.sites = tracer->sites,
		.next_site = &tracer->skel->bss->next_site,
		.max_sites = tracer->opts.max_sites,
		.current_epoch = &tracer->skel->bss->current_epoch,
		.oldest_cohort = &tracer->skel->bss->oldest_cohort,
		.epoch_cohort = tracer->skel->bss->epoch_cohort,
	};
}

int tracer__stats(const struct tracer *tracer, struct uf_stats *out)
{
	uint64_t *sums = (uint64_t *)out;
	uint32_t zero = 0;

	memset(out, 0, sizeof(*out));
	if (bpf_map_lookup_elem(bpf_map__fd(tracer->skel->maps.stats), &zero, tracer->cpu_stats))
		return -errno;
	for (int cpu = 0; cpu < tracer->cpu_cnt; cpu++) {
		const uint64_t *counters = (const uint64_t *)&tracer->cpu_stats[cpu];

		for (size_t i = 0; i < sizeof(*out) / sizeof(*sums); i++)
			sums[i] += counters[i];
	}
	return 0;
}

static void add_runs(const struct unfreed_bpf *skel, struct tracer_runs *out)
{
	struct bpf_program *program;

	if (!skel)
		return;
	bpf_object__for_each_program(program, skel->obj) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);
		int fd = bpf_program__fd(program);

		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
			continue;
		out->ns += info.run_time_ns;
		out->cnt += info.run_cnt;
	}
}

void tracer__read_runs(const struct tracer *tracer, struct tracer_runs *out)
{
	*out = (struct tracer_runs){0};
	add_runs(tracer->skel, out);
	add_runs(tracer->throw_skel, out);
	add_runs(tracer->pool_skel, out);
	add_runs(tracer->fault_skel, out);
	add_runs(tracer->region_skel, out);
}
