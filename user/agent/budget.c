/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/budget.h"

#include <math.h>
#include <stdlib.h>

#include "sampling.h"

#define MAX_RAISE      8    /* of the bytes between samples: 2^8 times */
#define FIRST_RAISE    2    /* in windows, where little is known yet */
#define DENSE_PART     0.125 /* of the calls: sampling them is a good part of the cost */
#define SPARSE_PART    0.03
#define TABLE_STEPS    16   /* parts of the table of blocks; each that fills halves the density */
#define SLOWEST        0.02 /* the least that a program is taken to get done under the probes */
#define STEADY_ON_NS   5000000000ULL /* then the pauses are over */

struct budget {
	double share;
	uint64_t sample_bytes;
	bool is_on;
	double balance_ns; /* below 0: debt */
	struct budget_reading last;
	struct budget_reading window; /* as the present window, or the last, began */
	int raise;
	bool has_windows;  /* the probes are in for a part of the time */
	uint64_t pause_cnt;
	uint64_t first_pause_ns;
	/* Since the first pause. */
	double on_ns, spent_ns;
	uint64_t on_since_ns; /* 0: off */
};

struct budget *budget__new(double share, uint64_t sample_bytes,
			   const struct budget_reading *reading)
{
	struct budget *budget = calloc(1, sizeof(*budget));

	if (!budget)
		return NULL;
	budget->share = share;
	budget->sample_bytes = sample_bytes;
	budget->is_on = true;
	budget->last = budget->window = *reading;
	budget->on_since_ns = reading->now_ns;
	return budget;
}

void budget__free(struct budget *budget)
{
	free(budget);
}

static void earn_and_spend(struct budget *budget, const struct budget_reading *reading)
{
	double spent_ns = reading->spent_ns - budget->last.spent_ns;

	/* Estimates are corrected now and then. */
	if (spent_ns < 0)
		spent_ns = 0;
	budget->balance_ns += budget->share * (reading->now_ns - budget->last.now_ns) - spent_ns;
	budget->balance_ns = fmin(budget->balance_ns, budget->share * BUDGET_CREDIT_NS);
	if (budget->pause_cnt)
		budget->spent_ns += spent_ns;
	budget->last = *reading;
}

/* Of the calls of this window. */
static double sampled_part(const struct budget *budget)
{
	uint64_t calls = budget->last.hit_cnt - budget->window.hit_cnt;
	uint64_t samples = budget->last.sample_cnt - budget->window.sample_cnt;

	return calls ? (double)samples / calls : 0;
}

static void adapt_samples(struct budget *budget)
{
	uint64_t calls = budget->last.hit_cnt - budget->window.hit_cnt;
	double part = sampled_part(budget);

	if (part > DENSE_PART && budget->raise < MAX_RAISE)
		budget->raise++;
	else if (calls && part < SPARSE_PART && budget->raise)
		budget->raise--;
}

/* In ns, from now on. */
static uint64_t pause_length(const struct budget *budget)
{
	double ns = -budget->balance_ns / budget->share;

	return ns > BUDGET_PAUSE_NS ? (uint64_t)ns : BUDGET_PAUSE_NS;
}

static uint64_t pause(struct budget *budget)
{
	uint64_t now_ns = budget->last.now_ns;

	budget->is_on = false;
	budget->pause_cnt++;
	if (!budget->first_pause_ns)
		budget->first_pause_ns = now_ns;
	if (budget->has_windows)
		adapt_samples(budget);
	else
		budget->raise = FIRST_RAISE;
	budget->has_windows = true;
	return now_ns + pause_length(budget);
}

static uint64_t decide_on(struct budget *budget)
{
	uint64_t window_ns = budget->last.now_ns - budget->window.now_ns;
	double most_debt_ns = budget->share * BUDGET_PAUSE_NS;

	if (!budget->has_windows && budget->balance_ns < 0 &&
	    sampled_part(budget) > DENSE_PART && budget->raise < MAX_RAISE) {
		/* Perhaps that is enough. */
		adapt_samples(budget);
		budget->window.hit_cnt = budget->last.hit_cnt;
		budget->window.sample_cnt = budget->last.sample_cnt;
	}
	if (window_ns >= BUDGET_WINDOW_NS && budget->balance_ns < -most_debt_ns)
		return pause(budget);
	if (window_ns > STEADY_ON_NS && budget->has_windows) {
		budget->has_windows = false;
		budget->raise = 0;
	}
	return budget->last.now_ns + BUDGET_WINDOW_NS;
}

uint64_t budget__decide(struct budget *budget, const struct budget_reading *reading)
{
	earn_and_spend(budget, reading);
	if (budget->is_on)
		return decide_on(budget);
	if (budget->balance_ns < 0) {
		/* What the last hits cost, until all probes were out, was not in the sum. */
		double ns = -budget->balance_ns / budget->share;

		return reading->now_ns + (uint64_t)ns + 1;
	}
	budget->is_on = true;
	budget->window = *reading;
	return reading->now_ns + BUDGET_WINDOW_NS;
}

bool budget__is_on(const struct budget *budget)
{
	return budget->is_on;
}

uint64_t budget__sample_bytes(const struct budget *budget)
{
	double bytes = budget->sample_bytes;
	int steps = 0;

	if (budget->has_windows) {
		bytes = fmin(bytes, UF_MIN_SAMPLE_INTERVAL);
		steps = (int)(fmin(budget->last.table_part, 1) * TABLE_STEPS);
	}
	return (uint64_t)fmin(ldexp(bytes, budget->raise + steps), UF_MAX_SAMPLE_INTERVAL);
}

void budget__went_on(struct budget *budget, uint64_t now_ns)
{
	budget->on_since_ns = now_ns;
	/* It took its time; a window is what follows. */
	budget->window.now_ns = now_ns;
}

/* Of the time in which the probes are in now: what is past the first pause. */
static double present_ns(const struct budget *budget, uint64_t now_ns)
{
	uint64_t since_ns = budget->on_since_ns > budget->first_pause_ns ? budget->on_since_ns
									 : budget->first_pause_ns;

	return budget->on_since_ns && now_ns > since_ns ? now_ns - since_ns : 0;
}

void budget__went_off(struct budget *budget, uint64_t now_ns)
{
	budget->on_ns += present_ns(budget, now_ns);
	budget->on_since_ns = 0;
}

uint64_t budget__pause_cnt(const struct budget *budget)
{
	return budget->pause_cnt;
}

/* Since the first pause, until now. */
static double on_ns(const struct budget *budget, uint64_t now_ns)
{
	return budget->on_ns + present_ns(budget, now_ns);
}

double budget__on_share(const struct budget *budget, uint64_t now_ns)
{
	if (!budget->pause_cnt || now_ns <= budget->first_pause_ns)
		return 1;
	return fmin(on_ns(budget, now_ns) / (now_ns - budget->first_pause_ns), 1);
}

double budget__seen_share(const struct budget *budget, uint64_t now_ns)
{
	double on = on_ns(budget, now_ns), done = 1;

	if (!budget->pause_cnt)
		return 1;
	if (on > 0)
		done = fmax(1 - budget->spent_ns / on, SLOWEST);
	return budget__on_share(budget, now_ns) * done;
}
