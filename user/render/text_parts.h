/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_RENDER_TEXT_PARTS_H
#define UNFREED_RENDER_TEXT_PARTS_H

#include <stdint.h>
#include <stdio.h>

#include "render/human.h"
#include "snapshot/snapshot.h"

/* Internal to the text report: its parts, and what they share. */

/* Longest that strings of strangers are shown, in columns; the rest is "...". */
#define MAX_NAME     64
#define MAX_FUNCTION 200
#define MAX_PATH     1024
#define MAX_SENTENCE 500

#define COUNT(n)    (human__count(n).text)
#define BYTES(n)    (human__bytes(n).text)
#define DURATION(s) (human__duration(s).text)

static inline const char *plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

/* "1.1 MiB in 997 blocks" */
static inline void put_blocks(FILE *out, uint64_t bytes, uint64_t count)
{
	fprintf(out, "%s in %s block%s", BYTES(bytes), COUNT(count), plural(count));
}

/* " at least 30.0s old" under --older, else nothing. */
void text__put_age_filter(FILE *out, const struct snapshot *snap);
/* "1.0 MiB - 1.4 MiB, from 60 samples" */
void text__put_sample(FILE *out, const struct snapshot_sample *sample, struct range bytes);
/* "1 process", "3 processes" */
void text__put_processes(FILE *out, uint32_t cnt);

/* " of pod shop/web-1" */
void text__put_pod(FILE *out, const struct snapshot_target *target);
/* " in container web of pod shop/web-1", " of nginx.service" */
void text__put_place(FILE *out, const struct snapshot_target *target);
/* The lines of the targets, or a summary of them. */
void text__put_targets(FILE *out, const struct snapshot *snap);

/* Has it anything outstanding? */
bool text__is_found(const struct snapshot_group *group);
/* "container web", "service nginx of nginx.service", "pid 12 leaky" and its numbers; a line. */
void text__put_group(FILE *out, const struct snapshot *snap, const struct snapshot_group *group);
/* The groups without anything outstanding, and why that is so. */
void text__put_clean_groups(FILE *out, const struct snapshot *snap);

#endif
