/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_GATE_SAMPLED_SET_H
#define UNFREED_GATE_SAMPLED_SET_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The addresses of the live blocks that were sampled, for free() to ask.
 *
 * Nearly every block is not among them, and one byte says so: marks[] counts the addresses that
 * share it. Neighbouring 16 bytes of the heap have neighbouring marks, so those of what a program
 * works with are in the cache as the blocks themselves are. Where a mark is not 0 the window of slots
 * that the address hashes to is searched.
 *
 * No locks: threads, signal handlers and forks may come at any time. A mark is set before the
 * slot and cleared after it, so a child forked in between has a mark too many, never too few.
 *
 * Bounds: SAMPLED_SET_SLOTS addresses, fewer where a window is full; 1.1 MiB of memory that is there
 * once it is used. A mark that has reached 255 stays.
 */
#define SAMPLED_SET_SLOTS  (1u << 17)
#define SAMPLED_SET_WINDOW 32
#define SAMPLED_SET_MARKS  (1u << 17)

/* All zero: empty. */
struct sampled_set {
	uint8_t marks[SAMPLED_SET_MARKS];
	uintptr_t slots[SAMPLED_SET_SLOTS + SAMPLED_SET_WINDOW - 1];
};

static inline uint8_t *sampled_set__mark(struct sampled_set *set, uintptr_t address)
{
	return &set->marks[(address >> 4 ^ address >> 21) & (SAMPLED_SET_MARKS - 1)];
}

/* False: it is not there. */
static inline bool sampled_set__may_have(struct sampled_set *set, uintptr_t address)
{
	return __atomic_load_n(sampled_set__mark(set, address), __ATOMIC_RELAXED);
}

/* The address, not 0, is there from now on (as it may have been before). False: there is no room. */
bool sampled_set__add(struct sampled_set *set, uintptr_t address);
/* True if it was there. Of two threads that remove it at once one is told so. */
bool sampled_set__remove(struct sampled_set *set, uintptr_t address);

#endif
