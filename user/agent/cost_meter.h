/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_COST_METER_H
#define UNFREED_AGENT_COST_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "contract.h"
#include "probe/trap_cost.h"

/*
 * What tracing costs those that are traced.
 *
 * The probes count their hits by kind. A hit costs the trap, which was measured at the start
 * (probe/trap_cost.h), and the run of a BPF program. The kernel can say how long those run, but
 * that costs a tenth of a microsecond a run; so it is asked to for short times only, and what it
 * says is taken for all hits. Nothing is known of caches that the traps empty.
 *
 * cost_meter__tick is to be called when the time comes that it has returned.
 */

struct cost_meter;
struct snapshot_cost;
struct tracer;

/* has_traps: processes are traced, not the kernel. NULL with errno. */
struct cost_meter *cost_meter__new(struct tracer *tracer, bool has_traps, uint64_t now_ns);
/* Takes NULL. */
void cost_meter__free(struct cost_meter *meter);

/* Begins or ends a time in which the programs' runs are timed. When to call it next, in ns. */
uint64_t cost_meter__tick(struct cost_meter *meter, uint64_t now_ns);

/* Begins one now, if there is none; the next call of cost_meter__tick ends it. */
void cost_meter__time_now(struct cost_meter *meter);

/* Fills in what is known; shares are of the time since the last call. */
void cost_meter__report(struct cost_meter *meter, uint64_t now_ns, struct snapshot_cost *out);

/* CPU time that all hits so far have cost, of processes that are no targets too. 0 if not known. */
double cost_meter__spent_ns(struct cost_meter *meter);

/* What the traps of these hits cost; foreign_ns: the part that is not the targets'. */
double cost__trap_ns(const struct uf_stats *stats, const struct trap_costs *costs,
		     double *foreign_ns);

#endif
