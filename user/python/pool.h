/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_POOL_H
#define UNFREED_PYTHON_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include "contract.h"

/*
 * Is that the header of a CPython pool of pool_bytes with a block in use? It was read from a
 * running process: it may be empty, anything else by now, or half written.
 */
bool python_pool__is_in_use(const struct uf_pool_header *header, uint32_t pool_bytes);

#endif
