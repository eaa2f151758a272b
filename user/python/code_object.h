/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_CODE_OBJECT_H
#define UNFREED_PYTHON_CODE_OBJECT_H

#include <stdbool.h>
#include <stdint.h>
#include "python.h"

/*
 * A code object's names and lines, from the copy that the probe made of it.
 * Decodes co_lnotab (3.8, 3.9), co_linetable as of 3.10 (PEP 626) and of 3.11 on
 * (location table). The copy is hostile input.
 */

struct python_code;

/* NULL with errno: EINVAL (nothing readable in it), ENOMEM. */
struct python_code *python_code__new(const struct uf_python_code *copy);
/* Takes NULL. */
void python_code__free(struct python_code *code);

/*
 * UTF-8, "" if unknown; cut ones end in "...". Belong to the code object. Code that was renamed
 * after its definition has no qualified name: qualname is its plain name then.
 */
const char *python_code__filename(const struct python_code *code);
const char *python_code__qualname(const struct python_code *code);

/*
 * The line of the instruction at a byte offset into the bytecode (what dis shows as offset).
 * 0 if it has none (artificial instructions), or the table was cut before it. An offset that is
 * negative as an int, as of a frame that has not begun, gives the line of the definition.
 */
uint32_t python_code__line(const struct python_code *code, uint32_t instr_offset_bytes);

/*
 * Does the copied line table end before it is whole? Then the whole of it, length bytes at
 * address, may be read and given here. False for one that is longer than 16 MiB.
 */
bool python_code__needs_more(const struct python_code *code, uint64_t *address, uint32_t *length);
/*
 * bytes are copied: the table from its beginning, of at least what there was already. 0; -EINVAL,
 * -EFBIG: not such a length; -ESTALE: it begins otherwise than the probe's copy, so that it is
 * another code object's by now (nothing has changed); -ENOMEM.
 */
int python_code__set_linetable(struct python_code *code, const void *bytes, uint32_t length);

#endif
