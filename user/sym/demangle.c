/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Substitutions let a mangled name of a few hundred bytes demangle to 2^100
 * bytes. libiberty limits its recursion (and refuses names of more than 1,024
 * bytes), not its output, and its callback cannot say "enough". So the callback
 * leaves by longjmp once the buffer is full. That loses nothing: in the callback
 * interface the C++ demangler lives on the stack alone, and the Rust one holds
 * at most one decoded punycode identifier on the heap.
 */
#include "sym/demangle.h"

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <string.h>

#define MANGLED_MAX 4096

struct sink {
	char *buf;
	size_t len;
	jmp_buf full;
};

static void append(const char *text, size_t len, void *opaque)
{
	struct sink *sink = opaque;
	size_t room = DEMANGLED_MAX - 1 - sink->len;
	size_t part = len < room ? len : room;

	memcpy(sink->buf + sink->len, text, part);
	sink->len += part;
	if (part < len)
		longjmp(sink->full, 1);
}

bool demangle__is_mangled(const char *name)
{
	return !strncmp(name, "_Z", 2) || !strncmp(name, "_R", 2);
}

bool demangle__name(const char *name, char buf[DEMANGLED_MAX])
{
	struct sink sink = {.buf = buf};
	int options = DMGL_PARAMS | DMGL_ANSI;

	if (!demangle__is_mangled(name) || strnlen(name, MANGLED_MAX) == MANGLED_MAX)
		return false;
	if (setjmp(sink.full)) {
		strcpy(buf + DEMANGLED_MAX - sizeof("..."), "...");
		return true;
	}
	/* Rust's legacy scheme looks like C++ to the C++ demangler, not the other way round. */
	if (!rust_demangle_callback(name, options, append, &sink)) {
		sink.len = 0;
		if (!cplus_demangle_v3_callback(name, options, append, &sink))
			return false;
	}
	buf[sink.len] = '\0';
	return sink.len > 0;
}
