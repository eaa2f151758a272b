/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_VERSION_H
#define UNFREED_PYTHON_VERSION_H

#include <stddef.h>
#include <stdint.h>
#include "probe/elf_image.h"
#include "python/memory.h"

#define PYTHON_VERSION_HEX(major, minor) ((uint32_t)(major) << 24 | (uint32_t)(minor) << 16)

/*
 * An interpreter's version as PY_VERSION_HEX, 0 if it cannot be told. From 3.11 on it stands in
 * the variable Py_Version; before, in the strings of the file, and the lower 16 bits (micro,
 * release level, serial) are 0 if only the minor version is certain.
 */
uint32_t python_version__find(const struct elf_image *img, const struct python_memory *mem,
			      uint64_t bias);

/* "3.11.2", "3.14.0rc1"; "3.10" without the lower 16 bits. */
void python_version__format(uint32_t version_hex, char *out, size_t out_size);

#endif
