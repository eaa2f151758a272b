/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "snapshot/unseen.h"

#include <math.h>

#include "snapshot/estimate.h"

/* What is left if for each late window so many others were not seen. */
static double left(double late_windows, double born_windows, double seen_share)
{
	return fmax(1 - late_windows * (1 / seen_share - 1) / born_windows, 0);
}

struct unseen unseen__judge(uint32_t born_windows, uint32_t late_windows, double seen_share)
{
	struct unseen unseen = {.part = 1, .certain_part = 1};

	if (seen_share >= 1)
		return unseen;
	if (!born_windows)
		return (struct unseen){.is_undecided = true};
	unseen.part = left(late_windows, born_windows, seen_share);
	unseen.certain_part = left(estimate__most(late_windows), born_windows, seen_share);
	if (unseen.certain_part > 0 || born_windows >= UNSEEN_MIN_WINDOWS || !(unseen.part > 0))
		return unseen;
	unseen.part = 0;
	unseen.is_undecided = true;
	return unseen;
}
