/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_RENDER_EMIT_H
#define UNFREED_RENDER_EMIT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

/*
 * Strings of strangers, made safe to print. A process chooses its name, paths and symbols; none of
 * them may move the cursor, forge a line of the report or break the JSON. Valid UTF-8 that shows is
 * printed as it is.
 *
 * The stream is the caller's alone: it is written to without its lock.
 */

/*
 * For terminals. What does not show (controls, line separators, direction marks, the like) and what
 * is not UTF-8 become \xNN for each byte, a backslash becomes two. Cut to max_columns with "..."
 * (max_columns >= 3), counting one a character. Returns the columns written. Without a stream it
 * only counts.
 */
size_t emit__text(FILE *out, const char *str, size_t max_columns);

/*
 * A JSON string with its quotes. Each byte that is no part of valid UTF-8 becomes \ufffd; what does
 * not show becomes \uNNNN.
 */
void emit__json_string(FILE *out, const char *str);

/* In decimal; printf would take most of the time that a long report takes. */
void emit__uint(FILE *out, uint64_t value);

/* "2024-05-01T12:00:00.123Z": RFC 3339, UTC, rounded down; nothing for a year past 9999. */
void emit__time(FILE *out, const struct timespec *time);

/* Flushes. Returns 0 or -errno if anything written since the stream's last clearerr() was lost. */
int emit__finish(FILE *out);

#endif
