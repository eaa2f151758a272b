/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_PAUSES_H
#define UNFREED_AGENT_PAUSES_H

#include <stdint.h>

/* --max-cost: lets user/agent/budget.h decide, and does it. */

struct pauses;
struct cost_meter;
struct snapshot_cost;
struct tracer;

/* begin_epoch is called before the probes are put in again. */
struct pauses_opts {
	double max_share;      /* of one CPU */
	uint64_t sample_bytes; /* between two samples, as long as there is no need to pause */
	uint32_t max_blocks;   /* size of the table of blocks */
	void (*begin_epoch)(void *arg);
	void *arg;
};

/* The probes are in. The others are borrowed. NULL with errno. */
struct pauses *pauses__new(const struct pauses_opts *opts, struct tracer *tracer,
			   struct cost_meter *cost, uint64_t now_ns);
/* Takes NULL. */
void pauses__free(struct pauses *pauses);

/* Decides, and pauses or resumes. When to call it next, in ns: *next_ns. 0 or -errno. */
int pauses__decide(struct pauses *pauses, uint64_t now_ns, uint64_t *next_ns);

/* Fills in the budget, and what became of it. */
void pauses__report(struct pauses *pauses, uint64_t now_ns, struct snapshot_cost *out);
/* In which sites have allocated. Lives as long as the pauses. */
const struct windows *pauses__windows(const struct pauses *pauses);
/* Of the frees, at least this share was seen: see snapshot/unseen.h. 1 before the first pause. */
double pauses__seen_share(struct pauses *pauses, uint64_t now_ns);

#endif
