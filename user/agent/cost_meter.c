/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/cost_meter.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/tracer.h"
#include "snapshot/snapshot.h"

#define TIMED_NS   20000000ULL  /* the programs are timed for so long, */
#define PERIOD_NS  1000000000ULL /* once in this; the first time until there are hits, */
#define LOOK_NS    100000000ULL  /* which is looked at so often */

struct cost_meter {
	struct tracer *tracer;
	struct trap_meter *traps; /* NULL: there are none, or they cannot be measured */
	bool has_traps;
	int stats_fd;             /* while programs are timed; else -1 */
	bool was_timed;           /* they can be */
	uint64_t timed_hits;      /* when that began */
	struct tracer_runs timed_runs;
	double run_ns, hit_cnt;   /* of the times so far; older ones count less */
	uint64_t counted_hits;    /* that bpf_ns has */
	double bpf_ns;
	/* As of the last report. */
	uint64_t reported_ns;
	double reported_cost_ns, reported_foreign_ns, reported_tool_ns;
};

/* Of ourselves. */
static double tool_ns(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		return NAN;
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

struct cost_meter *cost_meter__new(struct tracer *tracer, bool has_traps, uint64_t now_ns)
{
	struct cost_meter *meter = calloc(1, sizeof(*meter));

	if (!meter)
		return NULL;
	meter->tracer = tracer;
	meter->has_traps = has_traps;
	meter->stats_fd = -1;
	meter->reported_ns = now_ns;
	meter->reported_tool_ns = tool_ns();
	if (has_traps)
		meter->traps = trap_meter__start(tracer__attach_mode(tracer));
	return meter;
}

void cost_meter__free(struct cost_meter *meter)
{
	if (!meter)
		return;
	if (meter->stats_fd >= 0)
		close(meter->stats_fd);
	trap_meter__free(meter->traps);
	free(meter);
}

static uint64_t foreign_hits(const struct uf_stats *stats)
{
	return stats->foreign_cnt + stats->foreign_return_cnt;
}

static uint64_t all_hits(const struct uf_stats *stats)
{
	return stats->event_cnt + stats->call_cnt + stats->return_cnt + stats->ret_cnt +
	       foreign_hits(stats);
}

double cost__trap_ns(const struct uf_stats *stats, const struct trap_costs *costs,
		     double *foreign_ns)
{
	uint64_t stepped = stats->stepped_cnt + stats->ret_cnt;
	uint64_t emulated = stats->event_cnt - stats->stepped_cnt;
	uint64_t foreign_emulated = stats->foreign_cnt - stats->foreign_stepped_cnt;

	*foreign_ns = foreign_emulated * costs->entry_ns +
		      stats->foreign_stepped_cnt * costs->stepped_ns +
		      stats->foreign_return_cnt * costs->return_ns;
	return *foreign_ns + emulated * costs->entry_ns + stepped * costs->stepped_ns +
	       stats->return_cnt * costs->return_ns;
}

static const struct trap_costs *trap_costs_of(const struct cost_meter *meter)
{
	return meter->traps ? trap_meter__get(meter->traps) : NULL;
}

void cost_meter__time_now(struct cost_meter *meter)
{
	struct uf_stats stats;

	if (meter->stats_fd >= 0 || tracer__stats(meter->tracer, &stats))
		return;
	meter->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (meter->stats_fd < 0)
		return; /* before 5.8, or not allowed: it remains unknown */
	tracer__read_runs(meter->tracer, &meter->timed_runs);
	meter->timed_hits = all_hits(&stats);
	meter->was_timed = true;
}

/* Reading the clock for each run is not the program's own time. */
static double own_run_ns(const struct cost_meter *meter, const struct tracer_runs *runs)
{
	const struct trap_costs *costs = trap_costs_of(meter);
	double ns = (double)(runs->ns - meter->timed_runs.ns);

	ns -= (runs->cnt - meter->timed_runs.cnt) * (costs ? costs->run_ns : 0);
	return ns > 0 ? ns : 0;
}

/* Hits that were not counted yet cost what the last timed ones did. */
static void count_hits(struct cost_meter *meter, const struct uf_stats *stats)
{
	uint64_t hits = all_hits(stats);
	double ns = meter->hit_cnt > 0 ? meter->run_ns / meter->hit_cnt : 0;

	if (!meter->hit_cnt)
		return;
	meter->bpf_ns += (hits - meter->counted_hits) * ns;
	meter->counted_hits = hits;
}

static void end_timing(struct cost_meter *meter)
{
	struct tracer_runs runs;
	struct uf_stats stats;
	uint64_t hits;

	if (meter->stats_fd < 0)
		return;
	tracer__read_runs(meter->tracer, &runs);
	close(meter->stats_fd);
	meter->stats_fd = -1;
	if (tracer__stats(meter->tracer, &stats))
		return;
	hits = all_hits(&stats) - meter->timed_hits;
	if (!hits)
		return;
	meter->run_ns = meter->run_ns / 2 + own_run_ns(meter, &runs);
	meter->hit_cnt = meter->hit_cnt / 2 + hits;
	count_hits(meter, &stats);
}

/* Nothing to go by, neither now nor before. */
static bool is_first_wait(const struct cost_meter *meter)
{
	struct uf_stats stats;

	return !meter->hit_cnt && !tracer__stats(meter->tracer, &stats) &&
	       all_hits(&stats) == meter->timed_hits;
}

uint64_t cost_meter__tick(struct cost_meter *meter, uint64_t now_ns)
{
	if (meter->stats_fd >= 0 && is_first_wait(meter))
		return now_ns + LOOK_NS;
	if (meter->stats_fd >= 0) {
		end_timing(meter);
		return now_ns + PERIOD_NS - TIMED_NS;
	}
	cost_meter__time_now(meter);
	return now_ns + TIMED_NS;
}

/* All so far, in ns: false if the traps' part is not known. */
static bool sum_up(struct cost_meter *meter, const struct uf_stats *stats, double *trap_ns,
		   double *foreign_ns)
{
	const struct trap_costs *costs = trap_costs_of(meter);
	uint64_t hits = all_hits(stats);

	*trap_ns = *foreign_ns = 0;
	if (meter->has_traps && !costs)
		return false;
	count_hits(meter, stats);
	if (costs)
		*trap_ns = cost__trap_ns(stats, costs, foreign_ns);
	if (hits)
		*foreign_ns += meter->bpf_ns * foreign_hits(stats) / hits;
	return true;
}

double cost_meter__spent_ns(struct cost_meter *meter)
{
	struct uf_stats stats;
	double trap_ns, foreign_ns;

	if (tracer__stats(meter->tracer, &stats) || !sum_up(meter, &stats, &trap_ns, &foreign_ns))
		return 0;
	return trap_ns + meter->bpf_ns;
}

static void take_shares(struct cost_meter *meter, uint64_t now_ns, double cost_ns,
			double foreign_ns, struct snapshot_cost *out)
{
	double elapsed_ns = now_ns - meter->reported_ns;

	if (elapsed_ns <= 0)
		return;
	out->cpu_share = fmax(cost_ns - meter->reported_cost_ns, 0) / elapsed_ns;
	out->foreign_cpu_share = fmax(foreign_ns - meter->reported_foreign_ns, 0) / elapsed_ns;
	meter->reported_cost_ns = cost_ns;
	meter->reported_foreign_ns = foreign_ns;
}

void cost_meter__report(struct cost_meter *meter, uint64_t now_ns, struct snapshot_cost *out)
{
	double trap_ns, foreign_ns, own_ns = tool_ns();
	struct uf_stats stats;

	/* A trace may end before the first time is over. */
	if (!meter->hit_cnt && !is_first_wait(meter))
		end_timing(meter);
	out->tool_cpu_share = (own_ns - meter->reported_tool_ns) / (now_ns - meter->reported_ns);
	meter->reported_tool_ns = own_ns;
	if (!tracer__stats(meter->tracer, &stats) &&
	    sum_up(meter, &stats, &trap_ns, &foreign_ns)) {
		out->foreign_event_count = stats.foreign_cnt;
		out->trap_ns = (uint64_t)trap_ns;
		out->has_trap_ns = true;
		out->bpf_ns = (uint64_t)meter->bpf_ns;
		out->has_bpf_ns = meter->was_timed;
		take_shares(meter, now_ns, trap_ns + meter->bpf_ns, foreign_ns, out);
	}
	meter->reported_ns = now_ns;
}
