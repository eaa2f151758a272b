/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_ESTIMATE_H
#define UNFREED_SNAPSHOT_ESTIMATE_H

#include <stdint.h>

/* How far off a number may be that was estimated from a sample. */

/* With 95 % confidence between these. */
struct range {
	uint64_t low, high;
};

/*
 * Of an estimate, a sum of random weights with that variance, of which at least certain is known to
 * be there. unit: what the variance is of each 1 that is estimated (variance / estimate of the
 * whole, where this is a part of it); 0: nothing is random, both ends are the estimate.
 *
 * The interval is that of Fay and Feuer (1997) for weighted sums of Poisson counts, by the gamma
 * distribution: it keeps its promise for one sample as for a thousand.
 */
struct range estimate__range(uint64_t estimate, double unit, uint64_t certain);

#endif
