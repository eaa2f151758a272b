/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_DEMANGLE_H
#define UNFREED_SYM_DEMANGLE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * C++ (Itanium) and Rust (legacy and v0) names, by libiberty. Bounded: a short
 * mangled name can stand for an astronomically long one.
 */

#define DEMANGLED_MAX 4096 /* with the NUL; a longer result ends in "..." */

/* Whether the name has the form of a mangled one. */
bool demangle__is_mangled(const char *name);
/*
 * Writes the demangled name into buf and returns true, or returns false if the
 * name is not a mangled one (buf is then undefined).
 */
bool demangle__name(const char *name, char buf[DEMANGLED_MAX]);

#endif
