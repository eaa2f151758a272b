/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "settings.h"

#include <asm/unistd.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>

#include "gate_contract.h"

#define MAX_VALUE 24 /* characters of a size */

/* Not the C library's: it would set an errno that it may not have yet. */
static long system_call(long number, long a, long b, long c)
{
#if defined(__x86_64__)
	register long result __asm__("rax") = number;

	__asm__ volatile("syscall"
			 : "+r"(result)
			 : "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
#else
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b,
		      x2 __asm__("x2") = c;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
#endif
}

uint64_t settings__parse_size(const char *text, uint64_t otherwise)
{
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return otherwise;
	for (; *text >= '0' && *text <= '9'; text++) {
		value = value * 10 + (uint64_t)(*text - '0');
		if (value > UF_GATE_SAMPLE_MAX)
			return otherwise;
	}
	if (*text == 'K' || *text == 'k')
		value <<= 10;
	else if (*text == 'M' || *text == 'm')
		value <<= 20;
	else if (*text == 'G' || *text == 'g')
		value <<= 30;
	else if (*text)
		return otherwise;
	if (*text && text[1])
		return otherwise;
	return value < UF_GATE_SAMPLE_MIN || value > UF_GATE_SAMPLE_MAX ? otherwise : value;
}

/* Goes through NAME=VALUE strings, a character at a time. */
struct scan {
	const char *wanted; /* what is left of the name to see */
	bool is_other;      /* the string is another's */
	char value[MAX_VALUE + 1];
	size_t len;
	bool is_done;
};

static const char sample_is[] = UF_GATE_SAMPLE "=";

static void scan__begin(struct scan *scan)
{
	scan->wanted = sample_is;
	scan->is_other = false;
}

static void scan__take(struct scan *scan, char c)
{
	if (!scan->is_other && !*scan->wanted) {
		scan->is_done = !c;
		/* What is too long is no size. */
		if (scan->len < MAX_VALUE)
			scan->value[scan->len++] = c;
	} else if (!c) {
		scan__begin(scan);
	} else if (!scan->is_other && *scan->wanted == c) {
		scan->wanted++;
	} else {
		scan->is_other = true;
	}
}

uint64_t settings__interval_bytes(void)
{
	struct scan scan = {0};
	char text[1024];
	long fd, n;

	scan__begin(&scan);
	fd = system_call(__NR_openat, AT_FDCWD, (long)"/proc/self/environ", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return UF_GATE_SAMPLE_STANDARD;
	do {
		n = system_call(__NR_read, fd, (long)text, sizeof(text));
		for (long i = 0; i < n && !scan.is_done; i++)
			scan__take(&scan, text[i]);
	} while (n > 0 && !scan.is_done);
	system_call(__NR_close, fd, 0, 0);
	return settings__parse_size(scan.value, UF_GATE_SAMPLE_STANDARD);
}
