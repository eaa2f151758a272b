/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "sampler.h"

/* splitmix64: each state gives another number, so any seed will do. */
static uint64_t next_random(struct sampler *sampler, uint64_t entropy)
{
	uint64_t x = sampler->random += 0x9e3779b97f4a7c15 + (entropy << 1);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* -ln(x) for 0 < x < 1, to 12 digits. There is no libm here: ln(m) = 2 atanh((m - 1) / (m + 1)). */
static double minus_log(double x)
{
	union {
		double number;
		uint64_t bits;
	} u = {.number = x};
	int exponent = (int)(u.bits >> 52) - 1023;
	double z, square, power, sum = 0;

	/* m in [1, 2), so z is at most 1/3. */
	u.bits = (u.bits & ((1ULL << 52) - 1)) | 1023ULL << 52;
	z = (u.number - 1) / (u.number + 1);
	square = z * z;
	power = z;
	for (int i = 1; i < 27; i += 2) {
		sum += power / i;
		power *= square;
	}
	return -2 * sum - exponent * 0.693147180559945309417232;
}

/* Up to which byte the next is chosen, at least 1. */
static uint64_t draw_distance(struct sampler *sampler, uint64_t interval_bytes, uint64_t entropy)
{
	/* 53 bits, and half of the last so that it is not 0. */
	double u = ((double)(next_random(sampler, entropy) >> 11) + 0.5) * 0x1p-53;
	double distance = minus_log(u) * (double)interval_bytes;

	/* Rounded up: then a block of whole bytes is sampled with exactly the p it should be. */
	return (uint64_t)distance + 1;
}

bool sampler__draw(struct sampler *sampler, size_t size_bytes, uint64_t interval_bytes,
		   uint64_t entropy)
{
	if (!sampler->left_bytes)
		sampler->left_bytes = draw_distance(sampler, interval_bytes, entropy);
	if (sampler__passes(sampler, size_bytes))
		return false;
	/* The rest of a countdown that this block ends at is nobody's. */
	sampler->left_bytes = draw_distance(sampler, interval_bytes, entropy);
	return true;
}
