/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_VDSO_H
#define UNFREED_TARGET_VDSO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The vDSO: code that the kernel maps into every process. It is no file; the
 * kernel maps the same one into all processes of an architecture, so ours is
 * the target's.
 */

#define VDSO_NAME "[vdso]"

bool is_vdso(const char *path, uint64_t inode);
/* Our own vDSO, an ELF image; NULL if there is none. Never freed. */
const void *vdso_image(size_t *size_bytes);

#endif
