/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_EVAL_LOOP_H
#define UNFREED_PYTHON_EVAL_LOOP_H

#include "probe/elf_image.h"
#include "python.h"

/*
 * Where the code of CPython's eval loop is, in file offsets: the native frames in whose place
 * Python frames stand. All of ranges is written; unused ones are 0, 0. Returns 0; -ENOENT: the
 * function is not among the symbols, or has no size; or what reading the file said.
 */
int eval_loop__find(const struct elf_image *img, int fd,
		    struct uf_python_range ranges[UF_PYTHON_EVAL_RANGES]);

#endif
