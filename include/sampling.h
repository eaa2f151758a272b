/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SAMPLING_H
#define UNFREED_SAMPLING_H

/*
 * Poisson sampling by bytes, in integers: the arithmetic of bpf/sample.bpf.h, here so that tests
 * can run it.
 *
 * Think of sample points strewn over all the bytes that a thread allocates, one in an interval on
 * average, independent of each other: the distance to the next is exponential. A block is sampled
 * if a point falls into it, which has the probability p = 1 - exp(-size / interval). It then stands
 * for 1 / p blocks of its kind: its weight. Weights are whole numbers, rounded up or down by chance
 * so that their mean is 1 / p: sums of counts and of bytes are unbiased for each size, and can be
 * kept in plain counters.
 *
 * By how much a sum of weights w may be off: its variance is estimated, without bias and with the
 * rounding, by the sum of w * (w - 1). For what a block adds has the variance p * E[w^2] - 1, which
 * is p * E[w^2 - w], as p * E[w] = 1.
 */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define UF_MIN_SAMPLE_INTERVAL 1024ULL
#define UF_MAX_SAMPLE_INTERVAL (256ULL << 20)

/* Past this many intervals a block is sampled but for one in 10^10. */
#define UF_SAMPLE_CERTAIN 24

/* Reals are integers in 65536ths here, as far as not said otherwise. */
#define UF_SAMPLE_ONE_BITS 16

/* -log2((random + 1/2) / 2^32), bit by bit, in 2^20ths: from 0 to 33. */
static inline __u64 uf_sample_log2(__u32 random)
{
	__u64 mantissa = 2 * (__u64)random + 1, log2 = 0;

	for (int step = 32; step; step /= 2) {
		if (mantissa >> step) {
			mantissa >>= step;
			log2 += step;
		}
	}
	/* log2 is the position of the highest bit; once more, as a mantissa of 1 to 2 in 2^31ths. */
	mantissa = 2 * (__u64)random + 1;
	mantissa = log2 > 31 ? mantissa >> (log2 - 31) : mantissa << (31 - log2);
	for (int i = 0; i < 20; i++) {
		mantissa = mantissa * mantissa >> 31;
		log2 = 2 * log2 + (mantissa >> 32);
		mantissa >>= mantissa >> 32;
	}
	return (33 << 20) - log2;
}

/* How many bytes come before the next sample point, given 32 random bits. */
static inline __u64 uf_sample_distance(__u64 interval_bytes, __u32 random)
{
	const __u64 ln2 = 45426; /* 0.693146 */
	__u64 distance = uf_sample_log2(random) * ln2 >> UF_SAMPLE_ONE_BITS;

	return interval_bytes * distance >> 20;
}

/* 1 / (1 - exp(-x)) of x = size / interval up to 1: the first terms of its Laurent series. */
static inline __u64 uf_sample_series(__u64 size_bytes, __u64 interval_bytes)
{
	__u64 inverse = (interval_bytes << UF_SAMPLE_ONE_BITS) / size_bytes;
	__u64 x = (size_bytes << UF_SAMPLE_ONE_BITS) / interval_bytes;
	__u64 cube = (x * x >> UF_SAMPLE_ONE_BITS) * x >> UF_SAMPLE_ONE_BITS;

	return inverse + (1 << (UF_SAMPLE_ONE_BITS - 1)) + x / 12 - cube / 720;
}

/* 1 / p of a block of that size, at least 1 byte, in 65536ths. */
static inline __u64 uf_sample_inverse(__u64 size_bytes, __u64 interval_bytes)
{
	__u64 wide = interval_bytes, inverse, miss;
	int squarings = 0;

	if (size_bytes >= UF_SAMPLE_CERTAIN * interval_bytes)
		return 1 << UF_SAMPLE_ONE_BITS;
	/* exp(-x) = exp(-x / 2^n)^(2^n) */
	for (int i = 0; i < 5; i++) {
		if (size_bytes <= wide)
			break;
		wide *= 2;
		squarings++;
	}
	inverse = uf_sample_series(size_bytes, wide);
	if (!squarings)
		return inverse;
	/* The chance of no point in the block, in 2^32ths. */
	miss = (1ULL << 32) - (1ULL << 48) / inverse;
	for (int i = 0; i < 5; i++)
		if (i < squarings)
			miss = miss * miss >> 32;
	return (1ULL << 48) / ((1ULL << 32) - miss);
}

/* The weight of a sampled block, given random bits of which the lower 16 are used. */
static inline __u32 uf_sample_weight(__u64 size_bytes, __u64 interval_bytes, __u32 random)
{
	__u64 inverse = uf_sample_inverse(size_bytes ? size_bytes : 1, interval_bytes);

	return (inverse + (random & ((1 << UF_SAMPLE_ONE_BITS) - 1))) >> UF_SAMPLE_ONE_BITS;
}

#endif
