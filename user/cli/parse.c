/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * Numbers as users write them: decimal digits, then one unit of a table. strtoull() is not used: it
 * takes white space, signs and 0x, and wraps "-1" round to a large number. Arithmetic is exact, in
 * 128 bits where the unit can carry it past 64.
 *
 *	1.5s -> whole 1, fraction 5 / 10, unit 1,000,000,000 ns
 */
#include "cli/parse.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Digits after the point: any 18 of them fit in 64 bits. */
#define MAX_FRACTION_DIGITS 18

struct unit {
	const char *name;
	uint64_t factor;
};

struct syntax {
	const struct unit *units;
	bool any_case;  /* nobody means a millibyte by 5m, but 5M might not be minutes */
	bool fractions; /* 1.5 */
};

static const struct unit time_units[] = {
	{ "", 1000000000 },
	{ "us", 1000 },
	{ "ms", 1000000 },
	{ "s", 1000000000 },
	{ "m", 60 * 1000000000ull },
	{ "h", 3600 * 1000000000ull },
	{ "d", 86400 * 1000000000ull },
	{ NULL, 0 },
};

static const struct unit count_units[] = {
	{ "", 1 },
	{ "K", 1ull << 10 },
	{ "M", 1ull << 20 },
	{ "G", 1ull << 30 },
	{ "T", 1ull << 40 },
	{ NULL, 0 },
};

static const struct unit size_units[] = {
	{ "", 1 },
	{ "B", 1 },
	{ "K", 1ull << 10 },
	{ "KB", 1ull << 10 },
	{ "KiB", 1ull << 10 },
	{ "M", 1ull << 20 },
	{ "MB", 1ull << 20 },
	{ "MiB", 1ull << 20 },
	{ "G", 1ull << 30 },
	{ "GB", 1ull << 30 },
	{ "GiB", 1ull << 30 },
	{ "T", 1ull << 40 },
	{ "TB", 1ull << 40 },
	{ "TiB", 1ull << 40 },
	{ NULL, 0 },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* 0 for no such unit. */
static uint64_t unit_factor(const struct syntax *syntax, const char *name)
{
	int (*compare)(const char *, const char *) = syntax->any_case ? strcasecmp : strcmp;

	for (const struct unit *unit = syntax->units; unit->name; unit++) {
		if (compare(unit->name, name) == 0)
			return unit->factor;
	}
	return 0;
}

/* The digits at *text. Moves past all of them even if they overflow, so that the rest is judged. */
static int parse_digits(const char **text, uint64_t *out)
{
	uint64_t value = 0;
	int err = 0;

	if (!is_digit(**text))
		return -EINVAL;
	for (; is_digit(**text); (*text)++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(**text - '0'), &value))
			err = -ERANGE;
	}
	*out = value;
	return err;
}

/* ".25" at *text: numerator 25, denominator 100. Without a point 0 / 1. */
static int parse_fraction(const char **text, uint64_t *numerator, uint64_t *denominator)
{
	const char *start;
	int err;

	*numerator = 0;
	*denominator = 1;
	if (**text != '.')
		return 0;
	start = ++*text;
	err = parse_digits(text, numerator);
	if (err == -EINVAL || *text - start > MAX_FRACTION_DIGITS)
		return -EINVAL;
	for (; start < *text; start++)
		*denominator *= 10;
	return 0;
}

static int parse_number(const char *text, const struct syntax *syntax, uint64_t min, uint64_t max,
			uint64_t *out)
{
	uint64_t whole, numerator = 0, denominator = 1, factor;
	unsigned __int128 value;
	int whole_err, err;

	if (!text)
		return -EINVAL;
	whole_err = parse_digits(&text, &whole);
	if (whole_err == -EINVAL)
		return -EINVAL;
	if (syntax->fractions) {
		err = parse_fraction(&text, &numerator, &denominator);
		if (err)
			return err;
	}
	factor = unit_factor(syntax, text);
	if (!factor)
		return -EINVAL;
	if (whole_err)
		return whole_err;
	value = (unsigned __int128)whole * factor +
		(unsigned __int128)numerator * factor / denominator;
	if (value < min || value > max)
		return -ERANGE;
	*out = (uint64_t)value;
	return 0;
}

int parse__uint(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	static const struct unit none[] = { { "", 1 }, { NULL, 0 } };
	static const struct syntax syntax = { .units = none };

	return parse_number(text, &syntax, min, max, out);
}

int parse__count(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	static const struct syntax syntax = { .units = count_units, .any_case = true };

	return parse_number(text, &syntax, min, max, out);
}

int parse__duration_ns(const char *text, uint64_t min_ns, uint64_t max_ns, uint64_t *out)
{
	static const struct syntax syntax = { .units = time_units, .fractions = true };

	return parse_number(text, &syntax, min_ns, max_ns, out);
}

int parse__size_bytes(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	static const struct syntax syntax = { .units = size_units, .any_case = true };

	return parse_number(text, &syntax, min, max, out);
}

int parse__percent(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	static const struct unit percent[] = { { "%", 10000 }, { NULL, 0 } };
	static const struct syntax syntax = { .units = percent, .fractions = true };

	return parse_number(text, &syntax, min, max, out);
}
