/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Taking the allocator's probes out for a while, and putting them in again.
 *
 * A link has no switch, it can only be closed. The kernel then takes its breakpoints out within some
 * milliseconds, and waits a good deal longer until nobody can be in its program any more: the links'
 * keepers (probe/link_keepers.h) do that, all at the same time. When no more hits come the probes
 * are out. Linking again takes some milliseconds for all of them.
 *
 * The order in which they come out is not known, so from the beginning no more blocks are recorded.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "agent/tracer_internal.h"
#include "probe/link_keepers.h"
#include "target/clock.h"

#define LOOK_NS     1000000L /* between two looks for hits */
#define STILL_CNT   3        /* looks without one: they are out, */
#define MAX_LOOKS   300      /* or at last, as some stay for longer than a link takes to be closed */

struct pause {
	pthread_t thread;
	bool has_thread;
	int *links;
	uint32_t link_cnt;
	int stats_fd, cpu_cnt;
	struct uf_stats *cpu_stats; /* scratch */
	uint64_t out_ns; /* 0: they are not, yet */
};

static uint64_t hit_cnt(const struct pause *pause)
{
	uint32_t zero = 0;
	uint64_t cnt = 0;

	if (bpf_map_lookup_elem(pause->stats_fd, &zero, pause->cpu_stats))
		return 0;
	for (int cpu = 0; cpu < pause->cpu_cnt; cpu++)
		cnt += pause->cpu_stats[cpu].event_cnt;
	return cnt;
}

static void wait_until_still(struct pause *pause)
{
	const struct timespec look = {.tv_nsec = LOOK_NS};
	uint64_t hits = hit_cnt(pause), since_ns = monotonic_ns();
	int still_cnt = 0;

	for (int looks = 0; still_cnt < STILL_CNT && looks < MAX_LOOKS; looks++) {
		uint64_t now_hits;

		nanosleep(&look, NULL);
		now_hits = hit_cnt(pause);
		still_cnt++;
		if (now_hits == hits)
			continue;
		hits = now_hits;
		since_ns = monotonic_ns();
		still_cnt = 0;
	}
	__atomic_store_n(&pause->out_ns, since_ns, __ATOMIC_RELEASE);
}

static void *look(void *arg)
{
	wait_until_still(arg);
	return NULL;
}

static void pause__free(struct pause *pause)
{
	free(pause->links);
	free(pause->cpu_stats);
	free(pause);
}

static struct pause *pause__new(const struct tracer *tracer)
{
	struct pause *pause = calloc(1, sizeof(*pause));
	uint32_t cnt = 1;

	if (!pause)
		return NULL;
	for (uint32_t i = 0; i < UF_MAX_FILES; i++)
		cnt += tracer->files[i].link_cnt;
	pause->links = calloc(cnt, sizeof(*pause->links));
	pause->cpu_cnt = tracer->cpu_cnt;
	pause->cpu_stats = calloc(tracer->cpu_cnt, sizeof(*pause->cpu_stats));
	pause->stats_fd = bpf_map__fd(tracer->skel->maps.stats);
	if (pause->links && pause->cpu_stats)
		return pause;
	pause__free(pause);
	return NULL;
}

static void take_links(struct pause *pause, struct probed_file *file)
{
	while (file->link_cnt)
		pause->links[pause->link_cnt++] = file->links[--file->link_cnt];
	free(file->links);
	file->links = NULL;
}

int tracer__pause(struct tracer *tracer)
{
	struct pause *pause = tracer->pause ? NULL : pause__new(tracer);

	if (tracer->pause)
		return 0;
	if (!pause)
		return -ENOMEM;
	for (uint32_t i = 0; i < UF_MAX_FILES; i++)
		take_links(pause, &tracer->files[i]);
	/* Until they are out frees are seen, and not recorded what may be freed when they are. */
	tracer__set_sample_bytes(tracer, 0);
	tracer->pause = pause;
	link_keepers__let_go(tracer->keepers, pause->links, pause->link_cnt);
	pause->has_thread = !pthread_create(&pause->thread, NULL, look, pause);
	if (!pause->has_thread)
		wait_until_still(pause);
	return 0;
}

uint64_t tracer__paused_since(const struct tracer *tracer)
{
	return tracer->pause ? __atomic_load_n(&tracer->pause->out_ns, __ATOMIC_ACQUIRE) : 0;
}

void tracer__wait_paused(struct tracer *tracer)
{
	struct pause *pause = tracer->pause;

	if (!pause)
		return;
	link_keepers__wait(tracer->keepers, pause->links, pause->link_cnt);
	if (!pause->has_thread)
		return;
	pthread_join(pause->thread, NULL);
	pause->has_thread = false;
}

void tracer__end_pause(struct tracer *tracer)
{
	struct pause *pause = tracer->pause;

	if (!pause)
		return;
	tracer__wait_paused(tracer);
	pause__free(pause);
	tracer->pause = NULL;
}

int tracer__resume(struct tracer *tracer, uint64_t sample_bytes)
{
	struct unfreed_bpf *skel = tracer->skel;
	int err = 0;

	tracer__end_pause(tracer);
	__atomic_store_n(&skel->bss->window_epoch, skel->bss->current_epoch, __ATOMIC_RELEASE);
	__atomic_add_fetch(&skel->bss->window, 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; !err && i < UF_MAX_FILES; i++) {
		struct probed_file *file = &tracer->files[i];

		if (file->keeps_places)
			err = tracer__attach_lists(tracer, file, file->fd, file->lists);
	}
	tracer__set_sample_bytes(tracer, sample_bytes);
	return err;
}

void tracer__set_sample_bytes(struct tracer *tracer, uint64_t sample_bytes)
{
	__atomic_store_n(&tracer->skel->bss->sample_interval_bytes, sample_bytes, __ATOMIC_RELEASE);
}
