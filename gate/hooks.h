/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_GATE_HOOKS_H
#define UNFREED_GATE_HOOKS_H

#include <stddef.h>
#include <stdint.h>
#include "gate_contract.h"

#define EXPORT __attribute__((visibility("default")))

/* Where the probes are, see include/gate_contract.h. They begin with a nop, which is the cheapest to probe. */
EXPORT uintptr_t unfreed_gate_alloc(void *block, size_t size_bytes, uint64_t interval_bytes,
				    uintptr_t result); /* returns result */
EXPORT void unfreed_gate_tell(uintptr_t op, uintptr_t value);

extern EXPORT struct uf_gate_state unfreed_gate_state;

#endif
