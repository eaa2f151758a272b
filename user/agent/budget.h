/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_BUDGET_H
#define UNFREED_AGENT_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/*
 * --max-cost: decides when the probes are in and how densely they sample. Knows neither clocks nor
 * probes.
 *
 * Time earns, hits spend. While there is something left the probes are in. Where most of the cost
 * comes from what is sampled, fewer samples are taken; what remains are the traps, so in debt the
 * probes are taken out (paused) until time has paid for what they have cost. They are in for
 * windows of at least BUDGET_WINDOW_NS. What is saved is kept only up to the earnings of
 * BUDGET_CREDIT_NS: however long a program was idle, it is not slowed down for long when it is not.
 *
 * Where the probes are in for a part of the time only, most of the cost are traps, and samples are
 * what comes out of it: then they are as dense as they can be before they cost as much as the traps,
 * and before those that are not seen freed fill the table of blocks.
 */

#define BUDGET_WINDOW_NS 10000000ULL
#define BUDGET_PAUSE_NS  200000000ULL /* shorter ones are not worth the trouble */
#define BUDGET_CREDIT_NS 2000000000ULL

struct budget;

/* What is known at a time. Sums only rise. */
struct budget_reading {
	uint64_t now_ns;
	double spent_ns;     /* CPU time of all hits */
	uint64_t hit_cnt;    /* calls */
	uint64_t sample_cnt; /* of these, sampled ones */
	double table_part;   /* of the table of blocks, that is full; falls, too */
};

/* share: of one CPU. NULL with errno ENOMEM. The probes are in. */
struct budget *budget__new(double share, uint64_t sample_bytes,
			   const struct budget_reading *reading);
/* Takes NULL. */
void budget__free(struct budget *budget);

/* Decides anew. When to call it next, in ns. */
uint64_t budget__decide(struct budget *budget, const struct budget_reading *reading);

/* Are the probes to be in? */
bool budget__is_on(const struct budget *budget);
/* Bytes between two samples while they are. */
uint64_t budget__sample_bytes(const struct budget *budget);
/*
 * The probes were put in, or the last of them came out, at that time; in between they count as in.
 */
void budget__went_on(struct budget *budget, uint64_t now_ns);
void budget__went_off(struct budget *budget, uint64_t now_ns);

/* Pauses so far. */
uint64_t budget__pause_cnt(const struct budget *budget);
/*
 * The share of the time since the first pause began in which the probes were in, 1 before it; and
 * the share of what the traced program did in that time that it did then: less, as the probes slowed
 * it down. Never more than that is if it runs one thread or more.
 */
double budget__on_share(const struct budget *budget, uint64_t now_ns);
double budget__seen_share(const struct budget *budget, uint64_t now_ns);

#endif
