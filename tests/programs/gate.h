/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef TESTS_PROGRAMS_GATE_H
#define TESTS_PROGRAMS_GATE_H

/*
 * How a victim keeps step with its test. At a gate it writes one line on
 * stdout ("READY", "DONE <phase> [numbers]") and waits for one byte on stdin;
 * at end of file it goes on, so that a victim with stdin on /dev/null runs
 * through, and one whose test has died does not stay.
 *
 * Nothing here allocates, or the counts would not be exact: no stdio.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))

/* Results go here: what is stored in a volatile is not optimised away. */
static void *volatile sink __attribute__((unused));

__attribute__((noreturn, unused)) static void gate_die(const char *what)
{
	char line[128];
	int len = snprintf(line, sizeof(line), "FAILED %s: errno %d\n", what, errno);

	if (write(STDOUT_FILENO, line, (size_t)len) < 0)
		_exit(98);
	_exit(99);
}

/* Says something without waiting. */
__attribute__((format(printf, 1, 2), unused)) static void gate_say(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[len++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)len) != len)
		_exit(98);
}

/* One byte from stdin, or its end. */
__attribute__((unused)) static void gate_wait(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) < 0)
		if (errno != EINTR)
			gate_die("read");
}

#define gate(...)                                                                                  \
	do {                                                                                       \
		gate_say(__VA_ARGS__);                                                             \
		gate_wait();                                                                       \
	} while (0)

/* argv[i] as a number, if it is there. */
__attribute__((unused)) static long gate_arg(int argc, char **argv, int i, long otherwise)
{
	return i < argc ? strtol(argv[i], NULL, 10) : otherwise;
}

#endif
