/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "render/human.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A little less than 2^64, and a double. */
#define MAX_AS_DOUBLE 18446744073709549568.0

struct human human__bytes(uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t unit_bytes = 1024, tenths;
	struct human out;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(out.text, sizeof(out.text), "%" PRIu64 " B", bytes);
		return out;
	}
	for (;; unit++, unit_bytes *= 1024) {
		tenths = bytes / unit_bytes * 10 +
			 (bytes % unit_bytes * 10 + unit_bytes / 2) / unit_bytes;
		/* After rounding: 1,048,575 bytes are 1.0 MiB, not 1024.0 KiB. */
		if (tenths < 10240 || unit == sizeof(units) / sizeof(units[0]) - 1)
			break;
	}
	snprintf(out.text, sizeof(out.text), "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10,
		 units[unit]);
	return out;
}

struct human human__rate(double bytes_per_s)
{
	double magnitude = fmin(round(fabs(bytes_per_s)), MAX_AS_DOUBLE);
	struct human out;

	if (isnan(bytes_per_s)) {
		strcpy(out.text, "?");
		return out;
	}
	snprintf(out.text, sizeof(out.text), "%c%.28s/s",
		 bytes_per_s < 0 && magnitude > 0 ? '-' : '+',
		 human__bytes((uint64_t)magnitude).text);
	return out;
}

struct human human__count(uint64_t count)
{
	struct human out = { "" };
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, count);
	char *to = out.text;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return out;
}

static struct human two_units(uint64_t large, const char *large_name, uint64_t small,
			      const char *small_name)
{
	struct human out;

	snprintf(out.text, sizeof(out.text), "%" PRIu64 "%s%02" PRIu64 "%s", large, large_name,
		 small, small_name);
	return out;
}

struct human human__duration(double seconds)
{
	struct human out;
	uint64_t ms, s;

	if (isnan(seconds)) {
		strcpy(out.text, "?");
		return out;
	}
	/* A million years is enough. */
	ms = (uint64_t)round(fmin(fmax(seconds, 0), 3e13) * 1000);
	s = (ms + 500) / 1000;
	if (ms < 1000) {
		snprintf(out.text, sizeof(out.text), "%" PRIu64 "ms", ms);
		return out;
	}
	if (ms + 50 < 60000) {
		snprintf(out.text, sizeof(out.text), "%" PRIu64 ".%" PRIu64 "s", (ms + 50) / 1000,
			 (ms + 50) / 100 % 10);
		return out;
	}
	if (s < 3600)
		return two_units(s / 60, "m", s % 60, "s");
	if (s < 86400)
		return two_units(s / 3600, "h", s / 60 % 60, "m");
	return two_units(s / 86400, "d", s / 3600 % 24, "h");
}

struct human human__share(uint64_t part, uint64_t whole)
{
	struct human out;
	double percent;

	if (!whole) {
		strcpy(out.text, "-");
		return out;
	}
	percent = fmin(100.0 * (double)part / (double)whole, 999);
	if (part && percent < 0.1)
		strcpy(out.text, "<0.1%");
	else
		snprintf(out.text, sizeof(out.text), "%.1f%%", percent);
	return out;
}
