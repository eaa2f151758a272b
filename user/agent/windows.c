/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/windows.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "contract.h"

/* A site when the last window was over; its place may be another site's by now. */
struct entry {
	uint64_t stack_id; /* 0: none */
	uf_image_id image;
	uint64_t live_cnt, late_cnt;
	struct site_windows windows;
};

struct windows {
	struct entry *entries; /* by index of the site */
	uint32_t cnt;
};

struct windows *windows__new(void)
{
	return calloc(1, sizeof(struct windows));
}

void windows__free(struct windows *windows)
{
	if (!windows)
		return;
	free(windows->entries);
	free(windows);
}

static int make_room(struct windows *windows, uint32_t cnt)
{
	struct entry *entries;

	if (cnt <= windows->cnt)
		return 0;
	entries = reallocarray(windows->entries, cnt, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	memset(entries + windows->cnt, 0, (cnt - windows->cnt) * sizeof(*entries));
	windows->entries = entries;
	windows->cnt = cnt;
	return 0;
}

static bool is_of(const struct entry *entry, const struct uf_site *site)
{
	return entry->stack_id == site->stack_id && entry->image == site->image;
}

static void count_site(struct entry *entry, const struct uf_site *site)
{
	uint64_t live = site->alloc_cnt - site->free_cnt, late = site->late_cnt;

	if (!is_of(entry, site))
		*entry = (struct entry){.stack_id = site->stack_id, .image = site->image};
	/* What is there now and was not, and what was and is not. */
	if (live + (late - entry->late_cnt) > entry->live_cnt)
		entry->windows.born_cnt++;
	if (late > entry->late_cnt)
		entry->windows.late_cnt++;
	entry->live_cnt = live;
	entry->late_cnt = late;
}

int windows__count(struct windows *windows, const struct uf_site *sites, uint32_t cnt)
{
	int err = make_room(windows, cnt);

	for (uint32_t i = 0; !err && i < cnt; i++)
		if (__atomic_load_n(&sites[i].state, __ATOMIC_ACQUIRE) == UF_SITE_READY &&
		    sites[i].kind == UF_SITE_MALLOC)
			count_site(&windows->entries[i], &sites[i]);
	return err;
}

struct site_windows windows__of(const struct windows *windows, uint32_t i,
				const struct uf_site *site)
{
	if (i >= windows->cnt || !is_of(&windows->entries[i], site))
		return (struct site_windows){0};
	return windows->entries[i].windows;
}
