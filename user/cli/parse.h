/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_CLI_PARSE_H
#define UNFREED_CLI_PARSE_H

#include <stdint.h>

/*
 * Numbers as users write them, parsed whole: anything left over, a sign, white space, an empty
 * string, an overflow or a value outside [min, max] is an error. Each returns 0, -EINVAL (no such
 * number) or -ERANGE, and leaves *out alone then.
 */

/* 123 (decimal only) */
int parse__uint(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* 123, 64K, 1M, 2G: a count of things, powers of 1024, no B */
int parse__count(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/*
 * 500ms, 30s, 5m, 2h, 1d, 100us; a plain number is seconds; fractions like 1.5s are fine (18 digits
 * at most; parts of a nanosecond are dropped). In ns.
 */
int parse__duration_ns(const char *text, uint64_t min_ns, uint64_t max_ns, uint64_t *out);
/* 2%, 0.5%: the percent sign must be there. In millionths. */
int parse__percent(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* 512, 64K, 1M, 2G (powers of 1024; KB, KiB, k likewise). In bytes. */
int parse__size_bytes(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
