/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * The pieces are a treap: a search tree by start that is a heap by random priorities, and so about
 * as deep as the logarithm of their number, whatever the order in which they come. An interval is
 * cut out by two splits, and what is left is joined again.
 */
#include "target/region_set.h"

#include <errno.h>
#include <stdlib.h>

struct piece {
	uint64_t start, end;
	struct region *region;
	uint32_t priority;
	struct piece *left, *right;
};

/* What a thread has taken. */
struct taken {
	pid_t tid;
	struct piece *pieces; /* a tree; NULL: for another thread to use */
	struct taken *next;
};

struct region_set {
	region_gone_fn fn;
	void *arg;
	struct piece *root;
	struct taken *taken;
	uint32_t random;
	/* For the next ones: most programs unmap as often as they map. */
	struct piece *spare_pieces;   /* by left */
	struct region *spare_regions; /* by copy */
};

struct region_set *region_set__new(region_gone_fn fn, void *arg)
{
	struct region_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->fn = fn;
	set->arg = arg;
	set->random = 2463534242u;
	return set;
}

/* Xorshift. */
static uint32_t next_random(struct region_set *set)
{
	uint32_t x = set->random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	set->random = x;
	return x;
}

/* All that start before at go to *low, the others to *high. */
static void split(struct piece *tree, uint64_t at, struct piece **low, struct piece **high)
{
	while (tree) {
		if (tree->start < at) {
			*low = tree;
			low = &tree->right;
			tree = tree->right;
		} else {
			*high = tree;
			high = &tree->left;
			tree = tree->left;
		}
	}
	*low = *high = NULL;
}

/* All of low lies before all of high. */
static struct piece *join(struct piece *low, struct piece *high)
{
	struct piece *root = NULL, **link = &root;

	while (low && high) {
		if (low->priority > high->priority) {
			*link = low;
			link = &low->right;
			low = low->right;
		} else {
			*link = high;
			link = &high->left;
			high = high->left;
		}
	}
	*link = low ? low : high;
	return root;
}

static struct piece *last_of(struct piece *tree)
{
	while (tree && tree->right)
		tree = tree->right;
	return tree;
}

static struct piece *piece__new(struct region_set *set, uint64_t start, uint64_t end,
				struct region *region)
{
	struct piece *piece = set->spare_pieces;

	if (piece)
		set->spare_pieces = piece->left;
	else
		piece = malloc(sizeof(*piece));
	if (!piece)
		return NULL;
	*piece = (struct piece){
		.start = start,
		.end = end,
		.region = region,
		.priority = next_random(set),
	};
	return piece;
}

/* Takes NULL. */
static void piece__free(struct region_set *set, struct piece *piece)
{
	if (!piece)
		return;
	piece->left = set->spare_pieces;
	set->spare_pieces = piece;
}

static struct region *region__new(struct region_set *set, uint32_t site, uint32_t epoch)
{
	struct region *region = set->spare_regions;

	if (region)
		set->spare_regions = region->copy;
	else
		region = malloc(sizeof(*region));
	if (region)
		*region = (struct region){.site = site, .epoch = epoch};
	return region;
}

/* Takes NULL. */
static void region__free(struct region_set *set, struct region *region)
{
	if (!region)
		return;
	region->copy = set->spare_regions;
	set->spare_regions = region;
}

/* Calls fn for each piece in ascending order and frees those that it gives back. */
typedef struct piece *(*piece_fn)(struct region_set *set, struct piece *piece, void *arg);
static void take_apart(struct region_set *set, struct piece *tree, piece_fn fn, void *arg)
{
	while (tree) {
		struct piece *left = tree->left, *right;

		/* Rotated until there is no left side: no stack is needed, however deep it is. */
		if (left) {
			tree->left = left->right;
			left->right = tree;
			tree = left;
			continue;
		}
		right = tree->right;
		tree->right = NULL;
		piece__free(set, fn(set, tree, arg));
		tree = right;
	}
}

static struct piece *piece__goes(struct region_set *set, struct piece *piece, void *arg)
{
	struct region *region = piece->region;
	uint64_t bytes = piece->end - piece->start;

	(void)arg;
	region->bytes -= bytes;
	set->fn(set->arg, region, bytes, !region->bytes);
	if (!region->bytes)
		region__free(set, region);
	return piece;
}

static struct piece *piece__forget(struct region_set *set, struct piece *piece, void *arg)
{
	struct region *region = piece->region;

	(void)arg;
	region->bytes -= piece->end - piece->start;
	if (!region->bytes)
		region__free(set, region);
	return piece;
}

static void go(struct region_set *set, struct piece *tree)
{
	take_apart(set, tree, piece__goes, NULL);
}

/*
 * Cuts at an address: *low and *high are what lies before and after it. -ENOMEM: what lies after it
 * of a piece that it cuts has gone.
 */
static int cut(struct region_set *set, struct piece *tree, uint64_t at, struct piece **low,
	       struct piece **high)
{
	struct piece *across, rest, *piece;

	split(tree, at, low, high);
	across = last_of(*low);
	if (!across || across->end <= at)
		return 0;
	piece = piece__new(set, at, across->end, across->region);
	if (piece) {
		across->end = at;
		*high = join(piece, *high);
		return 0;
	}
	rest = *across;
	rest.start = at;
	across->end = at;
	piece__goes(set, &rest, NULL);
	return -ENOMEM;
}

/* Takes [start, end) out of the tree. */
static int take_out(struct region_set *set, uint64_t start, uint64_t end, struct piece **out)
{
	struct piece *low, *high;
	int err = cut(set, set->root, start, &low, &high);
	int err2 = cut(set, high, end, out, &high);

	set->root = join(low, high);
	return err ? err : err2;
}

/* Where nothing is. */
static void insert(struct region_set *set, struct piece *piece)
{
	struct piece *low, *high;

	split(set->root, piece->start, &low, &high);
	set->root = join(join(low, piece), high);
}

static uint64_t end_of(uint64_t start, uint64_t bytes)
{
	return bytes > UINT64_MAX - start ? UINT64_MAX : start + bytes;
}

static struct piece *piece__count(struct region_set *set, struct piece *piece, void *arg)
{
	uint64_t *bytes = arg;

	*bytes += piece->region->is_copied ? 0 : piece->end - piece->start;
	return piece__goes(set, piece, NULL);
}

int64_t region_set__map(struct region_set *set, uint64_t start, uint64_t bytes, uint32_t site,
			uint32_t epoch)
{
	uint64_t end = end_of(start, bytes), gone_bytes = 0;
	struct region *region = region__new(set, site, epoch);
	struct piece *piece = piece__new(set, start, end, region), *out;

	if (!region || !piece || end <= start) {
		region__free(set, region);
		piece__free(set, piece);
		return end <= start ? 0 : -ENOMEM;
	}
	region->bytes = end - start;
	take_out(set, start, end, &out);
	take_apart(set, out, piece__count, &gone_bytes);
	insert(set, piece);
	return (int64_t)gone_bytes;
}

int region_set__unmap(struct region_set *set, uint64_t start, uint64_t bytes)
{
	struct piece *out;
	int err = take_out(set, start, end_of(start, bytes), &out);

	go(set, out);
	return err;
}

/* An entry that is not in use, made if there is none; NULL: no memory. */
static struct taken *taken__get(struct region_set *set)
{
	struct taken *taken = set->taken;

	while (taken && taken->pieces)
		taken = taken->next;
	if (taken)
		return taken;
	taken = calloc(1, sizeof(*taken));
	if (!taken)
		return NULL;
	taken->next = set->taken;
	set->taken = taken;
	return taken;
}

int region_set__take(struct region_set *set, pid_t tid, uint64_t start, uint64_t bytes)
{
	struct piece *out;
	struct taken *taken;
	int err;

	region_set__settle(set, tid);
	err = take_out(set, start, end_of(start, bytes), &out);
	if (!out)
		return err;
	taken = taken__get(set);
	if (!taken) {
		go(set, out);
		return -ENOMEM;
	}
	taken->tid = tid;
	taken->pieces = out;
	return err;
}

/* What the thread has taken, a tree; NULL: nothing. */
static struct piece *give_up(struct region_set *set, pid_t tid)
{
	for (struct taken *taken = set->taken; taken; taken = taken->next) {
		struct piece *pieces = taken->pieces;

		if (taken->tid != tid || !pieces)
			continue;
		taken->pieces = NULL;
		return pieces;
	}
	return NULL;
}

void region_set__settle(struct region_set *set, pid_t tid)
{
	go(set, give_up(set, tid));
}

/* Puts [start, end) of the region where nothing is. */
static void put(struct region_set *set, uint64_t start, uint64_t end, struct region *region)
{
	struct piece *piece = piece__new(set, start, end, region);
	struct piece lost = {.start = start, .end = end, .region = region};

	if (!piece) {
		piece__goes(set, &lost, NULL);
		return;
	}
	insert(set, piece);
}

/* The bytes of a piece that come back where nothing is now; those under over go. */
static void put_around(struct region_set *set, struct piece *piece, struct piece *over)
{
	uint64_t end = over->start > piece->end ? piece->end : over->start;

	if (piece->start < end) {
		put(set, piece->start, end, piece->region);
		piece->start = end;
	}
	end = over->end > piece->end ? piece->end : over->end;
	if (piece->start < end) {
		struct piece covered = {.start = piece->start, .end = end, .region = piece->region};

		piece->start = end;
		piece__goes(set, &covered, NULL);
	}
}

/* The first piece that ends after at; NULL: none. */
static struct piece *first_after(struct piece *tree, uint64_t at)
{
	struct piece *found = NULL;

	while (tree) {
		if (tree->end > at) {
			found = tree;
			tree = tree->left;
		} else {
			tree = tree->right;
		}
	}
	return found;
}

static struct piece *piece__comes_back(struct region_set *set, struct piece *piece, void *arg)
{
	(void)arg;
	while (piece->start < piece->end) {
		struct piece *over = first_after(set->root, piece->start);

		if (over && over->start < piece->end) {
			put_around(set, piece, over);
			continue;
		}
		put(set, piece->start, piece->end, piece->region);
		break;
	}
	return piece;
}

bool region_set__restore(struct region_set *set, pid_t tid)
{
	struct piece *pieces = give_up(set, tid);

	take_apart(set, pieces, piece__comes_back, NULL);
	return pieces;
}

int region_set__keep(struct region_set *set, const uint64_t (*intervals)[2], uint32_t cnt)
{
	uint64_t at = 0;
	int err = 0;

	for (uint32_t i = 0; !err && i <= cnt; i++) {
		uint64_t end = i < cnt ? intervals[i][0] : UINT64_MAX;

		if (end > at)
			err = region_set__unmap(set, at, end - at);
		if (i < cnt && intervals[i][1] > at)
			at = intervals[i][1];
	}
	return err;
}

bool region_set__is_empty(const struct region_set *set)
{
	const struct taken *taken = set->taken;

	while (taken && !taken->pieces)
		taken = taken->next;
	return !set->root && !taken;
}

/* Recursion is as deep as the tree. */
static void for_each(const struct piece *tree, region_piece_fn fn, void *arg)
{
	if (!tree)
		return;
	for_each(tree->left, fn, arg);
	fn(arg, tree->start, tree->end, tree->region);
	for_each(tree->right, fn, arg);
}

void region_set__for_each(const struct region_set *set, region_piece_fn fn, void *arg)
{
	for_each(set->root, fn, arg);
}

void region_set__free(struct region_set *set)
{
	if (!set)
		return;
	while (set->taken) {
		struct taken *taken = set->taken;

		set->taken = taken->next;
		take_apart(set, taken->pieces, piece__forget, NULL);
		free(taken);
	}
	take_apart(set, set->root, piece__forget, NULL);
	while (set->spare_pieces) {
		struct piece *piece = set->spare_pieces;

		set->spare_pieces = piece->left;
		free(piece);
	}
	while (set->spare_regions) {
		struct region *region = set->spare_regions;

		set->spare_regions = region->copy;
		free(region);
	}
	free(set);
}

/* ---- copying ---- */

struct copying {
	struct region_set *to;
	region_site_fn site_fn;
	void *site_arg;
	bool is_short; /* of memory */
};

static void forget_copy(void *arg, uint64_t start, uint64_t end, const struct region *region)
{
	(void)arg;
	(void)start;
	(void)end;
	((struct region *)region)->copy = NULL;
}

static struct region *copy_of(struct copying *copying, struct region *region)
{
	int64_t site;

	if (region->copy)
		return region->copy;
	site = copying->site_fn(copying->site_arg, region);
	if (site < 0)
		return NULL;
	region->copy = region__new(copying->to, (uint32_t)site, region->epoch);
	if (!region->copy) {
		copying->is_short = true;
		return NULL;
	}
	region->copy->is_copied = true;
	return region->copy;
}

static void copy_piece(void *arg, uint64_t start, uint64_t end, const struct region *region)
{
	struct copying *copying = arg;
	struct region *copy = copy_of(copying, (struct region *)region);
	struct piece *piece;

	if (!copy)
		return;
	piece = piece__new(copying->to, start, end, copy);
	if (!piece) {
		copying->is_short = true;
		return;
	}
	copy->bytes += end - start;
	insert(copying->to, piece);
}

/* Of the set and of what is taken from it. */
static void for_each_known(const struct region_set *set, region_piece_fn fn, void *arg)
{
	for_each(set->root, fn, arg);
	for (const struct taken *taken = set->taken; taken; taken = taken->next)
		for_each(taken->pieces, fn, arg);
}

struct region_set *region_set__copy(const struct region_set *set, region_site_fn site_fn,
				    void *site_arg, region_gone_fn fn, void *arg)
{
	struct copying copying = {
		.to = region_set__new(fn, arg),
		.site_fn = site_fn,
		.site_arg = site_arg,
	};

	if (!copying.to)
		return NULL;
	for_each_known(set, copy_piece, &copying);
	for_each_known(set, forget_copy, NULL);
	if (!copying.is_short)
		return copying.to;
	region_set__free(copying.to);
	errno = ENOMEM;
	return NULL;
}
