/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_UNSEEN_H
#define UNFREED_SNAPSHOT_UNSEEN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What a site still has of the blocks that were recorded, where the probes are in for windows only
 * (--max-cost).
 *
 * Of the blocks that outlive the window in which they were allocated some are seen freed in a later
 * one: late. A block that is freed in a pause is not seen then; but its address may be freed again,
 * as somebody else's, while the probes are in, and then it is known to be gone as well. So of all
 * that are freed at least the share of the time is seen in which the probes are in, and for each late
 * one no more than 1 / share have gone. No single block is ever claimed to be there.
 *
 * Blocks that are allocated together are often freed together, so it is not blocks that count, but
 * windows: those in which blocks were allocated that outlived them, and those in which there were
 * late frees. What was allocated in n windows and freed after some time would have been seen in none
 * with the probability (1 - share)^n at most.
 *
 * A site that has kept something in few windows only is undecided, and not reported as outstanding,
 * unless it is certain (97.5 %) that something of it is left.
 */

#define UNSEEN_MIN_WINDOWS 32

struct unseen {
	double part;        /* of what is not known to be freed: that is outstanding, as estimated */
	double certain_part; /* that is at least, 97.5 % sure */
	bool is_undecided;  /* part is 0 for now */
};

/* seen_share: the share of frees that are seen at least. */
struct unseen unseen__judge(uint32_t born_windows, uint32_t late_windows, double seen_share);

#endif
