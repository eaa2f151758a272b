/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_WINDOWS_H
#define UNFREED_AGENT_WINDOWS_H

#include <stdint.h>

/*
 * --max-cost: in how many windows each site has allocated what outlived them, and in how many
 * something of that was seen freed later. (What is allocated in one window may well be freed in one
 * go: windows are independent of each other, blocks are not.)
 */

struct windows;
struct uf_site;

struct site_windows {
	uint32_t born_cnt; /* with blocks that outlived them */
	uint32_t late_cnt; /* with late frees */
};

/* NULL with errno ENOMEM. */
struct windows *windows__new(void);
/* Takes NULL. */
void windows__free(struct windows *windows);

/* A window is over, and no probe is in. 0 or -ENOMEM. */
int windows__count(struct windows *windows, const struct uf_site *sites, uint32_t cnt);
/* Of the site at index i. */
struct site_windows windows__of(const struct windows *windows, uint32_t i,
				const struct uf_site *site);

#endif
