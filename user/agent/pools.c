/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/pools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "agent/cohorts.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "python/pool.h"

#define BATCH 1024 /* headers read by one call: UIO_MAXIOV */

struct pools {
	struct tracer *tracer;
	const struct tracees *tracees;
	/* The batch: pools of one process, their tenants before the headers were read. */
	pid_t pid;
	uint32_t cnt;
	struct uf_pool *batch[BATCH];
	uint64_t tenants[BATCH];
	struct iovec remote[BATCH];
	struct uf_pool_header headers[BATCH];
};

struct pools *pools__new(struct tracer *tracer, const struct tracees *tracees)
{
	struct pools *pools = calloc(1, sizeof(*pools));

	if (!pools)
		return NULL;
	pools->tracer = tracer;
	pools->tracees = tracees;
	return pools;
}

void pools__free(struct pools *pools)
{
	free(pools);
}

static void debit(const struct pools *pools, const struct uf_pool *pool, uint64_t tenant,
		  uint32_t epoch)
{
	struct cohorts_shared shared = tracer__cohorts_shared(pools->tracer);

	cohorts_shared__free(&shared, UF_POOL_SITE(tenant), epoch, pool->bytes, 1);
}

/* Takes the pool from that tenant, if it still is its. */
static void take(const struct pools *pools, struct uf_pool *pool, __u64 tenant)
{
	/* Another tenant's, unless the exchange succeeds. */
	uint32_t epoch = __atomic_load_n(&pool->epoch, __ATOMIC_ACQUIRE);

	if (__atomic_compare_exchange_n(&pool->tenant, &tenant, 0, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		debit(pools, pool, tenant, epoch);
}

/* Reads headers from the first-th on; how many, 0 if that one is not there, or -errno. */
static int read_headers(struct pools *pools, uint32_t first)
{
	uint32_t cnt = pools->cnt - first;
	struct iovec local = {pools->headers + first, cnt * sizeof(*pools->headers)};
	ssize_t n = process_vm_readv(pools->pid, &local, 1, pools->remote + first, cnt, 0);

	if (n < 0)
		return errno == EFAULT ? 0 : -errno;
	return (size_t)n / sizeof(*pools->headers);
}

/* With blocks of another size it is another pool by now, whose opening was not seen, or not yet. */
static bool is_still_open(const struct uf_pool *pool, const struct uf_pool_header *header)
{
	return python_pool__is_in_use(header, pool->bytes) &&
	       header->size_class == pool->size_class;
}

static void look_at_batch(struct pools *pools)
{
	for (uint32_t first = 0; first < pools->cnt;) {
		int n = read_headers(pools, first);

		/* The process may have ended: nothing is known of its pools. */
		if (n < 0)
			break;
		for (uint32_t i = first; i < first + n; i++)
			if (!is_still_open(pools->batch[i], &pools->headers[i]))
				take(pools, pools->batch[i], pools->tenants[i]);
		first += n;
		/* The call ends at the first one that is unmapped. */
		if (first < pools->cnt)
			take(pools, pools->batch[first], pools->tenants[first]);
		first++;
	}
	pools->cnt = 0;
}

static void add_to_batch(struct pools *pools, pid_t pid, struct uf_pool *pool, uint64_t tenant)
{
	if (pools->cnt == BATCH || (pools->cnt && pools->pid != pid))
		look_at_batch(pools);
	pools->pid = pid;
	pools->batch[pools->cnt] = pool;
	pools->tenants[pools->cnt] = tenant;
	pools->remote[pools->cnt].iov_base = (void *)(uintptr_t)pool->address;
	pools->remote[pools->cnt].iov_len = sizeof(struct uf_pool_header);
	pools->cnt++;
}

/* The tenant is stale: the address was given another entry since, and so was opened again. */
static void take_stale(void *arg, struct uf_pool *pool)
{
	take(arg, pool, __atomic_load_n(&pool->tenant, __ATOMIC_ACQUIRE));
}

/* When half of the table is used, what has no tenant is given back. */
static void make_room(struct pools *pools)
{
	uint32_t cnt, used = 0, idle = 0;
	struct uf_pool *pool = tracer__pools(pools->tracer, &cnt);
	bool *is_idle;

	if (cnt <= UF_MAX_POOLS / 2)
		return;
	is_idle = calloc(cnt, sizeof(*is_idle));
	if (!is_idle)
		return; /* next time */
	for (uint32_t i = 0; i < cnt; i++) {
		used += pool[i].address != 0;
		is_idle[i] = pool[i].address && !__atomic_load_n(&pool[i].tenant, __ATOMIC_ACQUIRE);
		idle += is_idle[i];
	}
	if (used > UF_MAX_POOLS / 2 && idle)
		tracer__free_pools(pools->tracer, is_idle, cnt, take_stale, pools);
	free(is_idle);
}

int pools__look(struct pools *pools)
{
	const struct tracee *tracee = NULL;
	uint32_t cnt;
	struct uf_pool *all = tracer__pools(pools->tracer, &cnt);

	for (uint32_t i = 0; i < cnt; i++) {
		uint64_t tenant = __atomic_load_n(&all[i].tenant, __ATOMIC_ACQUIRE);

		if (!tenant)
			continue;
		if (!tracee || tracee->image != all[i].image)
			tracee = tracees__find(pools->tracees, all[i].image);
		if (tracee && !tracee->has_ended && !tracee->is_dropped)
			add_to_batch(pools, tracee->pid, &all[i], tenant);
	}
	look_at_batch(pools);
	make_room(pools);
	return tracer__pools_failed(pools->tracer) ? -ENOTRECOVERABLE : 0;
}

void pools__forget(struct pools *pools, uf_image_id image)
{
	uint32_t cnt, found = 0;
	struct uf_pool *pool = tracer__pools(pools->tracer, &cnt);
	bool *is_gone = calloc(cnt + 1, sizeof(*is_gone));

	if (!is_gone)
		return;
	for (uint32_t i = 0; i < cnt; i++) {
		is_gone[i] = pool[i].address && pool[i].image == image;
		found += is_gone[i];
		/* Its sites are gone, too: there is nothing to debit. */
		if (is_gone[i])
			__atomic_store_n(&pool[i].tenant, 0, __ATOMIC_RELEASE);
	}
	if (found)
		tracer__free_pools(pools->tracer, is_gone, cnt, take_stale, pools);
	free(is_gone);
}
