/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_STATS_BPF_H
#define UNFREED_STATS_BPF_H

/*
 * Counters of the whole trace. They are per CPU against contention, and still
 * added atomically: uprobe programs can be preempted by another task's on the
 * same CPU.
 */
#define stats_add(field, n)                                                                        \
	do {                                                                                       \
		__u32 zero_ = 0;                                                                   \
		struct uf_stats *stats_ = bpf_map_lookup_elem(&stats, &zero_);                     \
		if (stats_)                                                                        \
			__sync_fetch_and_add(&stats_->field, n);                                   \
	} while (0)

#define loss_add(id, n) stats_add(loss_cnt[UF_LOSS_##id], n)

#endif
