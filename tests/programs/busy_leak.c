/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A service that allocates all the time and leaks little: busy_leak MS CACHED WORK. In each of its
 * phases, of MS milliseconds (one second), of 100 allocations
 *   89 are freed at once (serve_request),
 *   10 stay in a cache of CACHED blocks (200,000) until they are the oldest (cache_insert),
 *    1 is never freed (leak_session);
 * between two it turns a loop WORK times (100). At its gates it says how many allocations it has
 * made in the phase and in all, how many blocks the cache has, and how many have leaked.
 */
#include <stdint.h>
#include <time.h>

#include "gate.h"

#define CACHED_BYTES 400
#define LEAKED_BYTES 400
#define BATCH        1000

static void **cache;
static uint64_t cached_cnt, leaked_cnt, total_cnt;
static long cache_size, work;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static NOINLINE void serve_request(uint64_t i)
{
	void *volatile block = malloc(16 + i % 31 * 24);

	free(block);
}

static NOINLINE void cache_insert(void)
{
	void **slot = &cache[cached_cnt++ % (uint64_t)cache_size];

	free(*slot);
	*slot = malloc(CACHED_BYTES);
}

static NOINLINE void leak_session(void)
{
	sink = malloc(LEAKED_BYTES);
	leaked_cnt++;
}

static void turn(void)
{
	for (volatile long i = 0; i < work; i++)
		;
}

static uint64_t run_phase(uint64_t ms)
{
	uint64_t end = now_ms() + ms, cnt = 0;

	do {
		for (int i = 0; i < BATCH; i++, cnt++) {
			uint64_t kind = (total_cnt + cnt) % 100;

			if (kind == 50)
				leak_session();
			else if (kind % 10 == 7)
				cache_insert();
			else
				serve_request(cnt);
			turn();
		}
	} while (now_ms() < end);
	total_cnt += cnt;
	return cnt;
}

int main(int argc, char **argv)
{
	uint64_t ms = (uint64_t)gate_arg(argc, argv, 1, 1000);

	cache_size = gate_arg(argc, argv, 2, 200000);
	work = gate_arg(argc, argv, 3, 100);
	cache = calloc((size_t)cache_size, sizeof(*cache));
	if (!cache)
		gate_die("calloc");
	gate("READY");
	for (;;) {
		uint64_t cnt = run_phase(ms);

		gate("DONE phase %llu %llu %llu %llu", (unsigned long long)cnt,
		     (unsigned long long)total_cnt,
		     (unsigned long long)(cached_cnt < (uint64_t)cache_size ? cached_cnt
									   : (uint64_t)cache_size),
		     (unsigned long long)leaked_cnt);
		if (ms == 0)
			return 0;
	}
}
