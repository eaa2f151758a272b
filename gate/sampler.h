/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_GATE_SAMPLER_H
#define UNFREED_GATE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Poisson sampling by bytes: each byte that a thread allocates is chosen with a probability of
 * 1/interval, and a block with a chosen byte is sampled; so p = 1 - exp(-size/interval). Instead of
 * looking at each byte, the distance to the next chosen one is drawn beforehand and counted down.
 *
 * The distance has no memory: where a countdown is lost or drawn anew too early (by a signal
 * handler in the middle, by a fork) nothing becomes more or less likely.
 */
struct sampler {
	uint64_t left_bytes; /* to the end of the next chosen byte; 0: not drawn yet */
	uint64_t random;     /* state; 0: not seeded */
};

/* The usual case: no byte of the block is chosen, of none one. False: ask sampler__draw. */
static inline bool sampler__passes(struct sampler *sampler, size_t size_bytes)
{
	size_bytes += !size_bytes;
	if (__builtin_expect(sampler->left_bytes <= size_bytes, 0))
		return false;
	sampler->left_bytes -= size_bytes;
	return true;
}

/* Is the block sampled? entropy: anything; it makes a forked child's draws its own. */
bool sampler__draw(struct sampler *sampler, size_t size_bytes, uint64_t interval_bytes,
		   uint64_t entropy);

#endif
