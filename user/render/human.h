/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_RENDER_HUMAN_H
#define UNFREED_RENDER_HUMAN_H

#include <stdint.h>

/* Numbers for readers, by value: human__bytes(n).text lives to the end of the full expression. */
struct human {
	char text[32];
};

/* "0 B", "1023 B", "1.0 KiB", "12.3 MiB"; powers of 1024, rounded to nearest. */
struct human human__bytes(uint64_t bytes);
/* "+1.2 KiB/s", "-300 B/s", "+0 B/s"; NaN is "?". */
struct human human__rate(double bytes_per_s);
/* "1,234,567" */
struct human human__count(uint64_t count);
/* "0ms", "350ms", "12.3s", "5m03s", "2h05m", "3d04h"; NaN is "?", less than 0 is 0. */
struct human human__duration(double seconds);
/* "12.3%", "<0.1%" of what is more than nothing, "-" of a whole of 0. */
struct human human__share(uint64_t part, uint64_t whole);

#endif
