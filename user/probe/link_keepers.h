/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_LINK_KEEPERS_H
#define UNFREED_PROBE_LINK_KEEPERS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Who holds the links of uprobes. To close one the kernel waits for all that may run it, up to a
 * tenth of a second, and a process that ends, killed or not, closes its descriptors one after the
 * other: 500 links took it half a minute. So they are held by threads, a few each, in descriptor
 * tables of their own: these are closed at the same time, however the process ends, and when it is
 * gone (wait(2) has returned) so are the probes.
 *
 * A link is known by its number here. Calls are the main thread's.
 */

struct link_keepers;

/*
 * in_threads false: links stay in the process's table, as also happens where a kernel or a sandbox
 * does not let threads have them. NULL with errno ENOMEM.
 */
struct link_keepers *link_keepers__new(bool in_threads);
/* Takes NULL. Closes what is left, all at the same time, and waits for it. */
void link_keepers__free(struct link_keepers *keepers);

/* Takes the descriptor over: the caller's is closed, also on failure. The link's number, or -ENOMEM. */
int link_keepers__take(struct link_keepers *keepers, int fd);
/* Closes links at the same time, and waits for it; or has them closed, without waiting. */
void link_keepers__close(struct link_keepers *keepers, const int *links, uint32_t cnt);
void link_keepers__let_go(struct link_keepers *keepers, const int *links, uint32_t cnt);

#endif
