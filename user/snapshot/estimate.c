/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "snapshot/estimate.h"

#include <math.h>

#define Z_95 1.959964 /* 97.5 % of a normal distribution lie below */

/* The quantile of a gamma distribution of that shape (its mean), by Wilson and Hilferty (1931). */
static double gamma_quantile(double shape, double z)
{
	double root = 1 - 1 / (9 * shape) + z / (3 * sqrt(shape));

	return root > 0 ? shape * root * root * root : 0;
}

/* Saturates. */
static uint64_t whole(double number)
{
	return number < 0x1p63 ? (uint64_t)(number + 0.5) : UINT64_MAX;
}

struct range estimate__range(uint64_t estimate, double unit, uint64_t certain)
{
	struct range range = {estimate, estimate};
	double samples = unit > 0 ? (double)estimate / unit : 0;

	if (!(samples > 0))
		return range;
	range.low = whole(unit * gamma_quantile(samples, -Z_95));
	range.high = whole(unit * gamma_quantile(samples + 1, Z_95));
	if (range.low < certain)
		range.low = certain;
	return range;
}
