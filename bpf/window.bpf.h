/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_WINDOW_BPF_H
#define UNFREED_WINDOW_BPF_H

/*
 * --max-cost: where the probes cost too much they are taken out for most of the time, and put in
 * again for windows of some milliseconds. A window begins an epoch.
 *
 * A block that outlives its window stays in the table, though its free may not be seen. It leaves it
 * for certain when any later free, or realloc, of its address is seen, or a new block there: by
 * then it has been freed, now or before. How often that happens to the blocks of a site, and how
 * often the probes are in, says how many of the others can still be there (user/snapshot/unseen.h).
 */

static __always_inline bool is_from_past_window(const struct uf_block *block)
{
	return cfg_pauses && (__s32)(block->epoch - *(volatile __u32 *)&window_epoch) < 0;
}

/* Is what is known of the thread of this window? */
static __always_inline bool window_is_same(const struct thread_state *thread)
{
	return !cfg_pauses || thread->window == *(volatile __u32 *)&window;
}

#endif
