/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_ORDER_H
#define UNFREED_SNAPSHOT_ORDER_H

#include <math.h>
#include <stdint.h>

/* These return < 0 if a comes before b: the larger value first, as readers want it. */

static inline int larger_first(uint64_t a, uint64_t b)
{
	return (a < b) - (a > b);
}

/* Unknown (NaN) comes after every number: without that, the order would not be one. */
static inline int larger_known_first(double a, double b)
{
	if (isnan(a) || isnan(b))
		return !!isnan(a) - !!isnan(b);
	return (a < b) - (a > b);
}

#endif
