/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The collector's state, and where its parts are, in bytes:
 *
 *                                   3.8 - 3.13.0   3.13.5   3.14.4   3.14.10
 *	int enabled                            12       12       12        12
 *	generations[3]                         24       20       24        24
 *	pointer to generations[0]              96       96     none       256
 *	permanent generation                  104      104       96        96
 *	stats[3]: collections, collected,
 *	          uncollectable               128      128      120       120
 *	int collecting                        200      200      192       192
 *	lists: garbage, callbacks        208, 216  208, 216  200, 208  200, 208
 *	int visited_space                    none     none      232      none
 *
 * A generation is the head of a doubly linked list, next and prev with tags in their lowest bits,
 * and two ints, threshold and count. Patch releases move them, so they are searched: the pointer
 * to the first, which points into the state itself, shows where they are; the permanent
 * generation follows them, perhaps after that pointer; the rest follows it. Heads that their own
 * lists lead back to, and lists where lists have to be, are not met by chance. A busy program's
 * are hardly ever all at rest, so each end of each list counts once it was seen to.
 *
 * 3.14.0 - 3.14.4 have an incremental collector: its three are a young generation and two spaces
 * of old objects, of which visited_space says which one is generation 1 at the moment. They have
 * no such pointer: all must be as in 3.14.4, or it is refused. Its statistics leave out the
 * increments, which are its generation 1.
 */
#include <errno.h>
#include <string.h>

#include "python/gc_stats.h"
#include "python/threads.h"
#include "python/version.h"

#define GENERATIONS_AGAIN       (PYTHON_VERSION_HEX(3, 14) | 5 << 8)
#define INCREMENTAL_GENERATIONS 24

#define STATE_BYTES       320 /* read of a state; no version's parts are past it */
#define STATE_ENABLED     12
#define GENERATIONS_MIN   16
#define GENERATIONS_MAX   32
#define GENERATION_BYTES  24
#define GENERATION_LIMIT  16 /* threshold, then count */
#define LIST_TAGS         3ull
#define ALL_SEEN          0xff /* both ends of four lists */
/* From the permanent generation. */
#define TO_STATS          24
#define TO_COLLECTING     96
#define TO_GARBAGE        104
#define TO_CALLBACKS      112
#define TO_VISITED_SPACE  136
/* PyObject, PyTypeObject: the same in all versions. */
#define OBJECT_TYPE       8
#define TYPE_NAME         24
#define COUNT_MAX         (1ull << 48) /* of anything that a process can count */

struct state {
	uint64_t address;
	uint8_t bytes[STATE_BYTES];
};

static uint64_t u64_at(const struct state *state, uint32_t offset)
{
	uint64_t value;

	memcpy(&value, state->bytes + offset, sizeof(value));
	return value;
}

static int32_t int_at(const struct state *state, uint32_t offset)
{
	int32_t value;

	memcpy(&value, state->bytes + offset, sizeof(value));
	return value;
}

struct python_gc_place python_gc_place__init(uint64_t runtime_address,
					     const struct python_offsets *offsets)
{
	struct python_gc_place place = {
		.interp_next = offsets->interp_next,
		.interp_gc = offsets->interp_gc,
		.is_incremental = offsets->layout.version_hex >= PYTHON_VERSION_HEX(3, 14) &&
				  offsets->layout.version_hex < GENERATIONS_AGAIN,
	};

	if (offsets->runtime_gc)
		place.state = runtime_address + offsets->runtime_gc;
	else if (offsets->interp_gc)
		place.interpreters_head = runtime_address + offsets->runtime_interpreters_head;
	return place;
}

/* -- verifying -- */

/* A link's word of a PyGC_Head, { next, prev }, leads back to the head? */
static bool leads_to(const struct python_memory *mem, uint64_t word, uint64_t head)
{
	uint64_t value;

	return !python_memory__read_u64(mem, word, &value) && (value & ~LIST_TAGS) == head;
}

/*
 * Looks which ends of a list lead back to its head: bit 0 of the result the first element's, bit
 * 1 the last one's.
 */
static uint32_t check_list(const struct state *state, uint32_t offset,
			   const struct python_memory *mem)
{
	uint64_t head = state->address + offset;
	uint64_t next = u64_at(state, offset) & ~LIST_TAGS;
	uint64_t prev = u64_at(state, offset + 8) & ~LIST_TAGS;

	return leads_to(mem, next + 8, head) | (uint32_t)leads_to(mem, prev, head) << 1;
}

/* The lists of the generations and of the permanent one, two bits each. */
static uint32_t check_lists(const struct state *state, uint32_t generations, uint32_t permanent,
			    const struct python_memory *mem)
{
	uint32_t seen = check_list(state, permanent, mem) << 2 * UF_PYTHON_GENERATIONS;

	for (uint32_t i = 0; i < UF_PYTHON_GENERATIONS; i++)
		seen |= check_list(state, generations + i * GENERATION_BYTES, mem) << 2 * i;
	return seen;
}

static bool are_limits_plausible(const struct state *state, uint32_t generations)
{
	for (uint32_t i = 0; i < UF_PYTHON_GENERATIONS; i++) {
		if (int_at(state, generations + i * GENERATION_BYTES + GENERATION_LIMIT) < 0)
			return false;
	}
	return true;
}

/* None, or a list object? */
static bool may_be_list_object(uint64_t object, const struct python_memory *mem)
{
	uint64_t type, name_address;
	char name[5];

	if (!object)
		return true;
	return !python_memory__read_u64(mem, object + OBJECT_TYPE, &type) &&
	       !python_memory__read_u64(mem, type + TYPE_NAME, &name_address) &&
	       !python_memory__read(mem, name_address, name, sizeof(name)) &&
	       !memcmp(name, "list", sizeof(name));
}

static bool are_stats_plausible(const struct state *state, uint32_t stats)
{
	for (uint32_t i = 0; i < UF_PYTHON_GENERATIONS * 3; i++) {
		if (u64_at(state, stats + i * sizeof(uint64_t)) > COUNT_MAX)
			return false;
	}
	return true;
}

/* What stands around the lists, and is never in motion. */
static bool is_plausible(const struct state *state, uint32_t generations, uint32_t permanent,
			 const struct python_memory *mem)
{
	return (uint32_t)int_at(state, STATE_ENABLED) <= 1 &&
	       are_limits_plausible(state, generations) &&
	       are_stats_plausible(state, permanent + TO_STATS) &&
	       (uint32_t)int_at(state, permanent + TO_COLLECTING) <= 1 &&
	       may_be_list_object(u64_at(state, permanent + TO_GARBAGE), mem) &&
	       may_be_list_object(u64_at(state, permanent + TO_CALLBACKS), mem);
}

/* Where the generations are by the pointer at a place of the state; 0: it is no such pointer. */
static uint32_t generations_by(const struct state *state, uint32_t at)
{
	uint64_t offset = u64_at(state, at) - state->address;

	/* An empty list leads to itself, too. */
	if (offset < GENERATIONS_MIN || offset > GENERATIONS_MAX ||
	    at < offset + UF_PYTHON_GENERATIONS * GENERATION_BYTES)
		return 0;
	return (uint32_t)offset;
}

static int verify_candidate(struct python_gc_place *place, const struct state *state,
			    uint32_t generations, uint32_t permanent,
			    const struct python_memory *mem)
{
	if (!is_plausible(state, generations, permanent, mem))
		return -EINVAL;
	if (place->candidate != generations)
		place->seen = 0;
	place->candidate = generations;
	place->seen |= check_lists(state, generations, permanent, mem);
	if (place->seen != ALL_SEEN)
		return -EAGAIN;
	place->generations = generations;
	place->permanent = permanent;
	return 0;
}

static int verify_state(struct python_gc_place *place, const struct state *state,
			const struct python_memory *mem)
{
	uint32_t all_bytes = UF_PYTHON_GENERATIONS * GENERATION_BYTES;

	if (place->is_incremental)
		return verify_candidate(place, state, INCREMENTAL_GENERATIONS,
					INCREMENTAL_GENERATIONS + all_bytes, mem);
	for (uint32_t at = 0; at + sizeof(uint64_t) <= STATE_BYTES; at += sizeof(uint64_t)) {
		uint32_t generations = generations_by(state, at), permanent;

		if (!generations)
			continue;
		permanent = (generations + all_bytes + 7) & ~7u;
		if (at == permanent)
			permanent += sizeof(uint64_t);
		return verify_candidate(place, state, generations, permanent, mem);
	}
	return -EINVAL;
}

/* -- reading -- */

static uint32_t visited_space(const struct python_gc_place *place, const struct state *state)
{
	return place->is_incremental ? (uint32_t)int_at(state, place->permanent + TO_VISITED_SPACE)
				     : 0;
}

static int read_state(uint64_t address, const struct python_memory *mem, struct state *out)
{
	out->address = address;
	return python_memory__read(mem, address, out->bytes, sizeof(out->bytes));
}

/* The state of the interpreter at *interp, or the only one; steps *interp to the next. */
static int next_state(const struct python_gc_place *place, const struct python_memory *mem,
		      uint64_t *interp, struct state *out)
{
	int err;

	if (place->state) {
		*interp = 0;
		return read_state(place->state, mem, out);
	}
	err = read_state(*interp + place->interp_gc, mem, out);
	return err ? err : python_memory__read_u64(mem, *interp + place->interp_next, interp);
}

static int first_interpreter(const struct python_gc_place *place, const struct python_memory *mem,
			     uint64_t *interp)
{
	int err;

	*interp = 1;
	if (place->state)
		return 0;
	err = python_memory__read_u64(mem, place->interpreters_head, interp);
	return err ? err : *interp ? 0 : -ESRCH;
}

int python_gc_place__verify(struct python_gc_place *place, const struct python_memory *mem)
{
	struct state state;
	uint64_t interp;
	int err = first_interpreter(place, mem, &interp);

	if (!err)
		err = next_state(place, mem, &interp, &state);
	return err ? err : verify_state(place, &state, mem);
}

static void add_state(const struct python_gc_place *place, const struct state *state,
		      struct python_gc_stats *sum)
{
	sum->is_enabled = int_at(state, STATE_ENABLED);
	for (uint32_t i = 0; i < UF_PYTHON_GENERATIONS; i++) {
		struct python_gc_generation *generation = &sum->generations[i];
		uint32_t list = place->generations + i * GENERATION_BYTES;
		uint32_t stats = place->permanent + TO_STATS + i * 3 * sizeof(uint64_t);

		generation->threshold = int_at(state, list + GENERATION_LIMIT);
		generation->count = int_at(state, list + GENERATION_LIMIT + sizeof(int32_t));
		generation->collections += u64_at(state, stats);
		generation->collected += u64_at(state, stats + 8);
		generation->uncollectable += u64_at(state, stats + 16);
	}
	if (place->is_incremental)
		sum->generations[2].threshold = 0; /* as gc.get_threshold() has it: it is not used */
	if (visited_space(place, state)) {
		int32_t count = sum->generations[1].count;

		sum->generations[1].count = sum->generations[2].count;
		sum->generations[2].count = count;
	}
}

int python_gc_stats__read(const struct python_gc_place *place, const struct python_memory *mem,
			  struct python_gc_stats *out)
{
	struct python_gc_stats sum = { 0 };
	struct state state;
	uint64_t interp;
	int err = first_interpreter(place, mem, &interp);

	/* The first one made, the main interpreter, is the last: its limits are what stays. */
	for (int i = 0; !err && interp && i < PYTHON_INTERPRETERS_MAX; i++) {
		err = next_state(place, mem, &interp, &state);
		if (!err && (!are_stats_plausible(&state, place->permanent + TO_STATS) ||
			     visited_space(place, &state) > 1))
			err = -EINVAL;
		if (!err)
			add_state(place, &state, &sum);
	}
	if (!err)
		*out = sum;
	return err;
}
