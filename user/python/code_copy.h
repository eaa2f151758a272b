/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_CODE_COPY_H
#define UNFREED_PYTHON_CODE_COPY_H

#include <stdbool.h>

/*
 * The probe must not wait for a page that is not there, as may be so for a
 * moment after a fork: its copy of a code object then lacks what lies in such
 * pages. We may, and read it again.
 */

struct python_memory;
struct uf_python;
struct uf_python_code;

/* Has the copy both names and some of the line table? */
bool code_copy__is_whole(const struct uf_python_code *copy);
/* Reads the whole of it from the process once more. 0, or -errno: the copy is as it was. */
int code_copy__read_again(const struct python_memory *mem, const struct uf_python *layout,
			  struct uf_python_code *copy);

#endif
