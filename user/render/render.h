/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_RENDER_RENDER_H
#define UNFREED_RENDER_RENDER_H

#include <stdbool.h>
#include <stdio.h>

struct snapshot;

/*
 * Views of a snapshot. Each takes a snapshot and a stream and nothing else
 * that changes; a new format is a new file and a row in render.c.
 */
struct render_format {
	const char *name; /* of --format */
	const char *help;
	/* Returns 0 or -errno (a write error of the stream). */
	int (*render)(const struct snapshot *snap, FILE *out);
};

/* NULL if there is no such format. */
const struct render_format *render_format__find(const char *name);
/* The table, ended by a row with a NULL name. */
extern const struct render_format render_formats[];

int render_text(const struct snapshot *snap, FILE *out);
int render_json(const struct snapshot *snap, FILE *out);

#endif
