/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "snapshot/unseen.h"

#include "snapshot/estimate.h"

/* For each one that is seen to die, so many others die unseen at most. */
static double unseen_each(double seen_share)
{
	return seen_share < 1 ? 1 / seen_share - 1 : 0;
}

uint64_t unseen__left(uint64_t n, uint64_t late, double seen_share)
{
	double gone = (double)late * unseen_each(seen_share);

	return gone < (double)n ? n - (uint64_t)gone : 0;
}

double unseen__doubt(double late, double seen_share)
{
	return (estimate__most(late) - late) * unseen_each(seen_share);
}
