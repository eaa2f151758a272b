/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SNAPSHOT_UNSEEN_H
#define UNFREED_SNAPSHOT_UNSEEN_H

#include <stdint.h>

/*
 * What a site still has of the blocks that were recorded, where frees are seen for a part of the
 * time only (--max-cost).
 *
 * Of the blocks that outlive the window in which they were allocated some are seen freed in a later
 * one: late. A block that dies in a pause is not seen then; its address may be freed again, as
 * somebody else's, while the probes are in, and then it is known to be gone as well. So of all that
 * die at least the share of the time is seen in which the probes are in, and for each late one at
 * most 1 / share have died. What is left over are blocks of which even so none can have been freed:
 * all of a site's, if not one was seen freed late. Where they are freed after some time little or
 * nothing is left over, and the site is not reported; that is on the safe side, as the addresses of
 * freed blocks do come back.
 *
 * No single block is claimed to be there. How sure one may be of the sum is another thing: with no
 * late one among n blocks, up to 3.7 / share may have died and not been seen (with 97.5 %
 * confidence).
 */

/* Of n recorded blocks (or bytes) that were not seen freed, with late seen freed late. */
uint64_t unseen__left(uint64_t n, uint64_t late, double seen_share);

/* How many blocks more than that may be gone, 97.5 % sure; late: samples. */
double unseen__doubt(double late, double seen_share);

#endif
