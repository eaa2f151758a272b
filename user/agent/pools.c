/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/pools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "agent/cohorts.h"
#include "agent/pool_keepers.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "python/pool.h"
#include "target/clock.h"

#define BATCH 1024 /* headers read by one call: UIO_MAXIOV */

/* A line that still has the block that it opened a pool for after so long keeps its blocks. */
#define KEPT_NS 500000000ULL

/* What the last look found in a pool. */
struct pool_seen {
	uint64_t tenant; /* whose it was; 0: was not looked at */
	uint32_t opener; /* site */
	uint32_t unused_bytes;
	bool is_foreign; /* see agent/pool_keepers.h */
};

struct pools {
	struct tracer *tracer;
	const struct tracees *tracees;
	struct pool_seen *seen; /* by the pool's index */
	uint32_t seen_cnt;
	uint32_t turn;
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
	if (!pools)
		return;
	free(pools->seen);
	free(pools);
}

static void debit(const struct pools *pools, const struct uf_pool *pool, uint64_t tenant,
		  uint32_t epoch)
{
	struct cohorts_shared shared = tracer__cohorts_shared(pools->tracer);

	cohorts_shared__free(&shared, UF_POOL_SITE(tenant), epoch, pool->bytes, 1);
}

static void credit(const struct pools *pools, const struct uf_pool *pool, uint32_t site_i,
		   uint32_t epoch)
{
	struct cohorts_shared shared = tracer__cohorts_shared(pools->tracer);

	cohorts_shared__alloc(&shared, site_i, epoch, pool->bytes, 1);
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

/* The header of the pool itself is no object's, but no line can have more of a pool. */
static uint32_t unused_bytes(const struct uf_pool *pool, const struct uf_pool_header *header)
{
	uint32_t used = header->block_cnt * UF_POOL_BLOCK_BYTES(header);
	uint32_t most = (pool->bytes - sizeof(*header)) / UF_POOL_BLOCK_BYTES(header) *
			UF_POOL_BLOCK_BYTES(header);

	return used < most ? most - used : 0;
}

static void see(struct pool_seen *seen, uint64_t tenant, uint32_t unused)
{
	if (seen->tenant != tenant)
		*seen = (struct pool_seen){.tenant = tenant, .opener = UF_POOL_SITE(tenant)};
	seen->unused_bytes = unused;
}

static void look_at_pool(struct pools *pools, uint32_t i)
{
	struct uf_pool *pool = pools->batch[i];
	uint32_t index = pool - tracer__pools(pools->tracer, &(uint32_t){0});

	if (!is_still_open(pool, &pools->headers[i]))
		take(pools, pool, pools->tenants[i]);
	else if (index < pools->seen_cnt)
		see(&pools->seen[index], pools->tenants[i], unused_bytes(pool, &pools->headers[i]));
}

static void look_at_batch(struct pools *pools)
{
	for (uint32_t first = 0; first < pools->cnt;) {
		int n = read_headers(pools, first);

		/* The process may have ended: nothing is known of its pools. */
		if (n < 0)
			break;
		for (uint32_t i = first; i < first + n; i++)
			look_at_pool(pools, i);
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

/* Room for what is seen of that many pools. Without it they count as full. */
static void make_seen(struct pools *pools, uint32_t cnt)
{
	uint32_t more = pools->seen_cnt ? pools->seen_cnt : 256;
	struct pool_seen *seen;

	if (cnt <= pools->seen_cnt)
		return;
	while (more < cnt)
		more *= 2;
	seen = reallocarray(pools->seen, more, sizeof(*seen));
	if (!seen)
		return;
	memset(seen + pools->seen_cnt, 0, (more - pools->seen_cnt) * sizeof(*seen));
	pools->seen = seen;
	pools->seen_cnt = more;
}

/* Charges the pool to another site, unless its tenant has changed. */
static void move(const struct pools *pools, struct uf_pool *pool, struct pool_seen *seen,
		 uint32_t site)
{
	uint32_t epoch = __atomic_load_n(&pool->epoch, __ATOMIC_ACQUIRE);
	uint64_t tenant = seen->tenant;
	uint64_t other = UF_POOL_TENANT(site, tenant >> UF_POOL_SITE_BITS);

	if (!__atomic_compare_exchange_n(&pool->tenant, &tenant, other, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	seen->tenant = other;
	credit(pools, pool, site, epoch);
	debit(pools, pool, tenant, epoch);
}

static struct pool_view view_of(const struct uf_pool *pool, const struct pool_seen *seen,
				uint64_t now)
{
	uint64_t left = __atomic_load_n(&pool->left, __ATOMIC_ACQUIRE);
	uint32_t holder = UF_POOL_SITE(seen->tenant);
	bool is_left = left == seen->tenant || holder != seen->opener;

	return (struct pool_view){
		.image = pool->image,
		.size_class = pool->size_class,
		.opened_ns = pool->opened_ns,
		.opener = seen->opener,
		.holder = holder,
		.is_left = is_left,
		.is_old = left != UF_POOL_INHERITED && now - pool->opened_ns >= KEPT_NS,
	};
}

/* Gives pools to those whose objects are in them. Without memory they stay where they are. */
static void find_keepers(struct pools *pools, struct uf_pool *all, uint32_t cnt)
{
	struct pool_view *views = calloc(cnt + 1, sizeof(*views));
	struct pool_fate *fates = calloc(cnt + 1, sizeof(*fates));
	uint32_t *index = calloc(cnt + 1, sizeof(*index)), n = 0;
	uint64_t now = monotonic_ns();
	int err = views && fates && index ? 0 : -ENOMEM;

	for (uint32_t i = 0; !err && i < cnt; i++) {
		const struct pool_seen *seen = &pools->seen[i];

		if (!seen->tenant ||
		    seen->tenant != __atomic_load_n(&all[i].tenant, __ATOMIC_ACQUIRE))
			continue;
		index[n] = i;
		views[n++] = view_of(&all[i], seen, now);
	}
	if (!err)
		err = pool_keepers__find(views, n, fates, &pools->turn);
	for (uint32_t i = 0; !err && i < n; i++) {
		pools->seen[index[i]].is_foreign = fates[i].is_foreign;
		if (fates[i].site != views[i].holder)
			move(pools, &all[index[i]], &pools->seen[index[i]], fates[i].site);
	}
	free(views);
	free(fates);
	free(index);
}

int pools__look(struct pools *pools)
{
	const struct tracee *tracee = NULL;
	uint32_t cnt;
	struct uf_pool *all = tracer__pools(pools->tracer, &cnt);

	make_seen(pools, cnt);
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
	find_keepers(pools, all, cnt < pools->seen_cnt ? cnt : pools->seen_cnt);
	make_room(pools);
	return tracer__pools_failed(pools->tracer) ? -ENOTRECOVERABLE : 0;
}

struct pool_use *pools__use(const struct pools *pools, const bool *cohorts, uint32_t site_cnt)
{
	struct cohorts_shared shared = tracer__cohorts_shared(pools->tracer);
	struct pool_use *use;
	uint32_t cnt;
	const struct uf_pool *all = tracer__pools(pools->tracer, &cnt);

	errno = 0;
	if (cnt > pools->seen_cnt)
		cnt = pools->seen_cnt;
	if (!cnt)
		return NULL;
	use = calloc(site_cnt + 1, sizeof(*use));
	if (!use)
		return NULL;
	for (uint32_t i = 0; i < cnt; i++) {
		const struct pool_seen *seen = &pools->seen[i];
		uint32_t epoch = __atomic_load_n(&all[i].epoch, __ATOMIC_ACQUIRE);
		uint64_t tenant = __atomic_load_n(&all[i].tenant, __ATOMIC_ACQUIRE);

		if (!tenant || tenant != seen->tenant || UF_POOL_SITE(tenant) >= site_cnt ||
		    !cohorts[cohorts_shared__slot(&shared, epoch)])
			continue;
		if (seen->is_foreign)
			use[UF_POOL_SITE(tenant)].foreign_bytes += all[i].bytes;
		else
			use[UF_POOL_SITE(tenant)].unused_bytes += seen->unused_bytes;
	}
	return use;
}

void pools__forget(struct pools *pools, uf_image_id image)
{
	uint32_t cnt, found = 0;
	struct uf_pool *pool = tracer__pools(pools->tracer, &cnt);
	bool *is_gone = calloc(cnt + 1, sizeof(*is_gone));

	tracer__forget_young_pools(pools->tracer, image);
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
