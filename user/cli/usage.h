/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_CLI_USAGE_H
#define UNFREED_CLI_USAGE_H

#include <stdint.h>
#include <stdio.h>

/*
 * The rows of the options table, and what is printed from it: help and man
 * page. Internal to cli/; the table itself is in options.c.
 */

#ifndef UNFREED_VERSION
#define UNFREED_VERSION "0.1.0" /* the Makefile knows better */
#endif

struct options;
struct option_row;

/* In the order of the help text. */
enum option_group {
	GROUP_TARGET,
	GROUP_REPORT,
	GROUP_FILTER,
	GROUP_FILES,
	GROUP_OTHER,
	GROUP_CNT,
	GROUP_HIDDEN = GROUP_CNT, /* recognised, in no help text */
};

/* How the numbers of a row are written. */
struct number_syntax {
	int (*parse)(const char *text, uint64_t min, uint64_t max, uint64_t *out);
	const char *what; /* "a duration, like 500ms, 30s or 5m" */
};

/* Limits and defaults are text as users write it: parser, messages and help read the same. */
struct option_row {
	int key;           /* the short option, or a number past all of them */
	const char *name;  /* without its --; NULL ends the table */
	const char *arg;   /* NULL: takes none */
	enum option_group group;
	/* Takes arg (NULL if the row has none) over into opts. 0, or EINVAL after saying why. */
	int (*set)(const struct option_row *row, struct options *opts, const char *arg);
	size_t field;      /* for set: what to write, as an offset in struct options */
	const struct number_syntax *number;
	const char *min;   /* NULL: none */
	const char *max;   /* NULL: what the field holds */
	const char *standard; /* the default; NULL: none */
	const char *(*choice)(uint32_t index); /* names to choose from; NULL past the last */
	const char *help;
};

/* Write what their names say to out. */
void usage__short(FILE *out);
void usage__help(FILE *out, const struct option_row *table);
void usage__man(FILE *out, const struct option_row *table);

#endif
