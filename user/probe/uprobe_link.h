/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_UPROBE_LINK_H
#define UNFREED_PROBE_UPROBE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Attaching a BPF program to file offsets, straight through the system calls:
 * the libbpf of Debian 12 knows neither uprobe_multi nor sessions. A link is a
 * descriptor (or, with perf uprobes, two a place); closing it detaches.
 */

/* Attach types by number: newer than the headers we build with. */
#define UPROBE_ATTACH_MULTI   48 /* BPF_TRACE_UPROBE_MULTI */
#define UPROBE_ATTACH_SESSION 57 /* BPF_TRACE_UPROBE_SESSION */

struct uprobe_places {
	const char *path;         /* looked up at once: /proc/self/fd/N is fine */
	const uint64_t *offsets;  /* in the file */
	const uint64_t *cookies;  /* what bpf_get_attach_cookie gives */
	const uint64_t *semaphores; /* in the file: 16-bit counters that the kernel raises while the
				     * place is probed; 0: it has none. NULL: none has */
	uint32_t cnt;
	pid_t pid;                /* only this process; 0: every process */
};

/*
 * One link for all the places. attach_type is one of the above (with MULTI,
 * is_return chooses returns). Returns the link's descriptor or -errno.
 */
int uprobe_link__multi(int prog_fd, int attach_type, bool is_return,
		       const struct uprobe_places *places);

/*
 * For kernels without uprobe_multi: a perf event and a link a place. Writes 2 * cnt
 * descriptors to fds; returns 0, or -errno with nothing left attached.
 */
int uprobe_link__perf(int prog_fd, bool is_return, const struct uprobe_places *places, int *fds);

#endif
