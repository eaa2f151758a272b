/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/pauses.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/budget.h"
#include "agent/cost_meter.h"
#include "agent/tracer.h"
#include "agent/windows.h"
#include "snapshot/snapshot.h"
#include "target/clock.h"

#define TIMED_WINDOWS 8 /* BPF programs are timed in one of so many windows */

struct pauses {
	struct pauses_opts opts;
	struct tracer *tracer;
	struct cost_meter *cost;
	struct budget *budget;
	struct windows *windows;
	bool is_out;     /* the budget knows that the probes are out */
	uint64_t sample_bytes;
};

/* Sampled blocks that were not seen freed. */
static double live_samples(const struct tracer *tracer)
{
	uint32_t site_cnt;
	const struct uf_site *sites = tracer__sites(tracer, &site_cnt);
	double cnt = 0;

	for (uint32_t i = 0; i < site_cnt; i++)
		cnt += (double)(sites[i].sampled.alloc_cnt - sites[i].sampled.free_cnt);
	return cnt;
}

static void read_spending(const struct pauses *pauses, uint64_t now_ns, struct budget_reading *out)
{
	struct uf_stats stats;

	*out = (struct budget_reading){
		.now_ns = now_ns,
		.spent_ns = cost_meter__spent_ns(pauses->cost),
	};
	if (tracer__stats(pauses->tracer, &stats))
		return;
	out->hit_cnt = stats.event_cnt;
	out->sample_cnt = stats.return_cnt;
	out->table_part = live_samples(pauses->tracer) / pauses->opts.max_blocks;
}

struct pauses *pauses__new(const struct pauses_opts *opts, struct tracer *tracer,
			   struct cost_meter *cost, uint64_t now_ns)
{
	struct pauses *pauses = calloc(1, sizeof(*pauses));
	struct budget_reading reading;

	if (!pauses)
		return NULL;
	pauses->opts = *opts;
	pauses->tracer = tracer;
	pauses->cost = cost;
	pauses->sample_bytes = opts->sample_bytes;
	read_spending(pauses, now_ns, &reading);
	pauses->budget = budget__new(opts->max_share, opts->sample_bytes, &reading);
	pauses->windows = windows__new();
	if (pauses->budget && pauses->windows)
		return pauses;
	pauses__free(pauses);
	errno = ENOMEM;
	return NULL;
}

void pauses__free(struct pauses *pauses)
{
	if (!pauses)
		return;
	budget__free(pauses->budget);
	windows__free(pauses->windows);
	free(pauses);
}

/* The kernel takes its time to take probes out. */
static void tell_when_out(struct pauses *pauses)
{
	uint64_t since_ns = tracer__paused_since(pauses->tracer);

	if (!since_ns || pauses->is_out)
		return;
	pauses->is_out = true;
	budget__went_off(pauses->budget, since_ns);
}

static void set_sample_bytes(struct pauses *pauses)
{
	uint64_t bytes = budget__sample_bytes(pauses->budget);

	/* Each thread draws anew when it changes. */
	if (bytes < 2 * pauses->sample_bytes && pauses->sample_bytes < 2 * bytes)
		return;
	pauses->sample_bytes = bytes;
	tracer__set_sample_bytes(pauses->tracer, bytes);
}

static int resume(struct pauses *pauses)
{
	uint32_t site_cnt;
	const struct uf_site *sites = tracer__sites(pauses->tracer, &site_cnt);
	int err;

	tracer__wait_paused(pauses->tracer);
	tell_when_out(pauses);
	err = windows__count(pauses->windows, sites, site_cnt);
	if (err)
		return err;
	pauses->sample_bytes = budget__sample_bytes(pauses->budget);
	if (budget__pause_cnt(pauses->budget) % TIMED_WINDOWS == 1)
		cost_meter__time_now(pauses->cost);
	pauses->opts.begin_epoch(pauses->opts.arg);
	err = tracer__resume(pauses->tracer, pauses->sample_bytes);
	pauses->is_out = false;
	budget__went_on(pauses->budget, monotonic_ns());
	return err;
}

int pauses__decide(struct pauses *pauses, uint64_t now_ns, uint64_t *next_ns)
{
	bool was_on = budget__is_on(pauses->budget), is_on;
	struct budget_reading reading;
	int err;

	tell_when_out(pauses);
	read_spending(pauses, now_ns, &reading);
	*next_ns = budget__decide(pauses->budget, &reading);
	is_on = budget__is_on(pauses->budget);
	if (was_on && !is_on)
		return tracer__pause(pauses->tracer);
	if (was_on)
		set_sample_bytes(pauses);
	if (was_on || !is_on)
		return 0;
	err = resume(pauses);
	*next_ns = monotonic_ns() + BUDGET_WINDOW_NS;
	return err;
}

void pauses__report(struct pauses *pauses, uint64_t now_ns, struct snapshot_cost *out)
{
	tell_when_out(pauses);
	out->max_cpu_share = pauses->opts.max_share;
	out->on_share = budget__on_share(pauses->budget, now_ns);
	out->pause_count = budget__pause_cnt(pauses->budget);
	out->sample_bytes = pauses->sample_bytes;
}

const struct windows *pauses__windows(const struct pauses *pauses)
{
	return pauses->windows;
}

double pauses__seen_share(struct pauses *pauses, uint64_t now_ns)
{
	tell_when_out(pauses);
	return budget__seen_share(pauses->budget, now_ns);
}
