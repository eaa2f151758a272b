/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * One walk over the unit collects an interval for each address range of each
 * subprogram and inlined subroutine. The intervals nest (a hostile file's are
 * clipped until they do), so a sweep over them flattens the tree into disjoint
 * segments, each with its innermost scope: a look-up is one binary search, then
 * a climb over the parents.
 *
 * The walk is iterative and only goes forward: each DIE is visited once, a
 * DW_AT_sibling that points back ends it.
 */
#include "sym/scopes.h"

#include <dwarf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "sym/array.h"
#include "sym/elf_handle.h"

#define MAX_DEPTH	128
#define MAX_DIES	(32u << 20)
#define MAX_SCOPES	(1u << 20)
#define MAX_INTERVALS	(2u << 20)
#define MAX_RANGE_STEPS (8u << 20) /* of all DIEs together, ranges of no code included */

struct interval {
	uint64_t start, end;
	uint32_t scope;
	uint32_t depth; /* of its DIE: at one start the outer comes first */
};

struct segment {
	uint64_t start; /* it ends where the next one starts */
	uint32_t scope;
	uint32_t padding;
};

struct scopes {
	struct scope *scopes;
	size_t scope_cnt, scope_cap;
	struct segment *segments;
	size_t segment_cnt, segment_cap;
	struct interval *functions; /* sorted by start */
	size_t function_cnt;
};

struct walk {
	struct scopes *out;
	const struct elf_layout *layout;
	Dwarf_Die *cudie;
	struct interval *intervals;
	size_t interval_cnt, interval_cap;
	size_t range_steps;
	unsigned int depth;
	uint32_t scope_at[MAX_DEPTH]; /* the scope that encloses the DIEs of a level */
};

static int add_interval(struct walk *walk, uint64_t start, uint64_t end, uint32_t scope)
{
	void *grown = array__grow(walk->intervals, sizeof(*walk->intervals), walk->interval_cnt,
				  &walk->interval_cap, MAX_INTERVALS);

	if (!grown)
		return -errno;
	walk->intervals = grown;
	walk->intervals[walk->interval_cnt++] = (struct interval){
		.start = start,
		.end = end,
		.scope = scope,
		.depth = walk->depth,
	};
	return 0;
}

/* An interval for each range of code. Returns how many there were, or -errno. */
static int add_ranges(struct walk *walk, Dwarf_Die *die, uint32_t scope)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t offset = 0;
	uint64_t code_end;
	int cnt = 0, err;

	while ((offset = dwarf_ranges(die, offset, &base, &start, &end)) > 0) {
		if (++walk->range_steps > MAX_RANGE_STEPS)
			return -ENOSPC;
		/* Functions that the linker dropped are left behind at address 0 or so. */
		code_end = elf_layout__code_end(walk->layout, start);
		if (!code_end || end <= start)
			continue;
		err = add_interval(walk, start, end < code_end ? end : code_end, scope);
		if (err)
			return err;
		cnt++;
	}
	return cnt;
}

static uint32_t attr_u32(Dwarf_Die *die, unsigned int name)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;

	if (!dwarf_attr(die, name, &attr) || dwarf_formudata(&attr, &value) || value > UINT32_MAX)
		return 0;
	return (uint32_t)value;
}

/*
 * Adds the DIE as a scope if it has code; *enclosing becomes the scope of its
 * children. Returns 0 or -errno.
 */
static int add_scope(struct walk *walk, Dwarf_Die *die, bool is_inlined, uint32_t *enclosing)
{
	struct scopes *out = walk->out;
	uint32_t id = (uint32_t)out->scope_cnt;
	struct scope *scope;
	void *grown;
	int cnt;

	grown = array__grow(out->scopes, sizeof(*out->scopes), out->scope_cnt, &out->scope_cap,
			    MAX_SCOPES);
	if (!grown)
		return -errno;
	out->scopes = grown;
	cnt = add_ranges(walk, die, id);
	if (cnt <= 0)
		return cnt;
	scope = &out->scopes[out->scope_cnt++];
	memset(scope, 0, sizeof(*scope));
	scope->die = dwarf_dieoffset(die);
	scope->parent = SCOPE_NONE;
	if (is_inlined) {
		scope->parent = *enclosing;
		scope->call_file = attr_u32(die, DW_AT_call_file);
		scope->call_line = attr_u32(die, DW_AT_call_line);
	}
	*enclosing = id;
	return 0;
}

/* Sets *descend if code may lie below the DIE. Returns 0 or -errno. */
static int visit(struct walk *walk, Dwarf_Die *die, uint32_t *enclosing, bool *descend)
{
	*descend = true;
	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
		return add_scope(walk, die, false, enclosing);
	case DW_TAG_inlined_subroutine:
		return *enclosing == SCOPE_NONE ? 0 : add_scope(walk, die, true, enclosing);
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_with_stmt:
	case DW_TAG_common_block:
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_interface_type:
		return 0;
	default:
		*descend = false;
		return 0;
	}
}

/*
 * From the last DIE of a level up to the DIE that follows its parent: libdw
 * leaves the address of the level's terminator, a zero byte, in next->addr.
 * False at the end of the unit.
 */
static bool ascend(struct walk *walk, Dwarf_Die *next, const unsigned char *unit_end)
{
	const unsigned char *at = next->addr;

	while (at && at < unit_end && !*at && walk->depth > 0) {
		walk->depth--;
		at++;
		if (at >= unit_end || !*at)
			continue;
		memset(next, 0, sizeof(*next));
		next->addr = (void *)at;
		next->cu = walk->cudie->cu;
		return true;
	}
	return false;
}

static const unsigned char *unit_end(Dwarf_Die *cudie)
{
	Dwarf_Off die_offset = dwarf_dieoffset(cudie), next_offset;
	Dwarf_Off cu_offset = die_offset - dwarf_cuoffset(cudie);
	size_t header_bytes;
	Dwarf_Half version;
	Dwarf *dbg = dwarf_cu_getdwarf(cudie->cu);

	if (dwarf_next_unit(dbg, cu_offset, &next_offset, &header_bytes, &version, NULL, NULL, NULL,
			    NULL, NULL) ||
	    next_offset < die_offset)
		return cudie->addr;
	return (const unsigned char *)cudie->addr + (next_offset - die_offset);
}

/* Visits every DIE that may hold code. What was collected before an error stays good. */
static int walk_unit(struct walk *walk)
{
	const unsigned char *end = unit_end(walk->cudie);
	Dwarf_Die die, next;
	uint32_t enclosing;
	bool descend;
	int err, ret;

	if (dwarf_child(walk->cudie, &die))
		return 0;
	walk->scope_at[0] = SCOPE_NONE;
	for (unsigned int visited = 0; visited < MAX_DIES; visited++) {
		enclosing = walk->scope_at[walk->depth];
		err = visit(walk, &die, &enclosing, &descend);
		if (err)
			return err;
		if (descend && walk->depth + 1 < MAX_DEPTH && !dwarf_child(&die, &next)) {
			walk->scope_at[++walk->depth] = enclosing;
		} else {
			memset(&next, 0, sizeof(next));
			ret = dwarf_siblingof(&die, &next);
			if (ret < 0 || (ret > 0 && !ascend(walk, &next, end)))
				return 0;
		}
		if ((const char *)next.addr <= (const char *)die.addr)
			return 0;
		die = next;
	}
	return -ENOSPC;
}

static int compare_intervals(const void *a_ptr, const void *b_ptr)
{
	const struct interval *a = a_ptr, *b = b_ptr;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->depth != b->depth)
		return a->depth < b->depth ? -1 : 1;
	return a->scope < b->scope ? -1 : a->scope > b->scope;
}

static int emit(struct scopes *out, uint64_t start, uint32_t scope)
{
	struct segment *last = out->segment_cnt ? &out->segments[out->segment_cnt - 1] : NULL;
	void *grown;

	if (last && last->start == start) {
		last->scope = scope;
		return 0;
	}
	if (last && last->scope == scope)
		return 0;
	grown = array__grow(out->segments, sizeof(*out->segments), out->segment_cnt,
			    &out->segment_cap, 2 * MAX_INTERVALS);
	if (!grown)
		return -errno;
	out->segments = grown;
	out->segments[out->segment_cnt++] = (struct segment){.start = start, .scope = scope};
	return 0;
}

/*
 * The sweep. The stack holds the intervals open at a point, outermost first, and
 * reuses the front of the sorted array, which it can never overtake.
 */
static int flatten(struct scopes *out, struct interval *intervals, size_t cnt)
{
	size_t top = 0;
	int err = 0;

	for (size_t i = 0; i <= cnt && !err; i++) {
		struct interval interval = i < cnt ? intervals[i] : (struct interval){0};
		uint64_t now = i < cnt ? interval.start : UINT64_MAX;

		for (; top && intervals[top - 1].end <= now && !err; top--)
			err = emit(out, intervals[top - 1].end,
				   top > 1 ? intervals[top - 2].scope : SCOPE_NONE);
		if (i == cnt || err)
			break;
		if (top && interval.end > intervals[top - 1].end)
			interval.end = intervals[top - 1].end;
		intervals[top++] = interval;
		err = emit(out, interval.start, interval.scope);
	}
	return err;
}

static int keep_functions(struct walk *walk)
{
	struct scopes *out = walk->out;
	size_t cnt = 0;

	for (size_t i = 0; i < walk->interval_cnt; i++)
		cnt += out->scopes[walk->intervals[i].scope].parent == SCOPE_NONE;
	out->functions = calloc(cnt ? cnt : 1, sizeof(*out->functions));
	if (!out->functions)
		return -ENOMEM;
	for (size_t i = 0; i < walk->interval_cnt; i++)
		if (out->scopes[walk->intervals[i].scope].parent == SCOPE_NONE)
			out->functions[out->function_cnt++] = walk->intervals[i];
	return 0;
}

struct scopes *scopes__new(Dwarf_Die *cudie, const struct elf_layout *layout)
{
	struct walk walk = {.layout = layout, .cudie = cudie};
	int err;

	walk.out = calloc(1, sizeof(*walk.out));
	if (!walk.out)
		return NULL;
	err = walk_unit(&walk);
	if (err == -ENOSPC)
		err = 0; /* a maximum was reached: fewer names */
	if (!err && walk.interval_cnt) {
		/* An interval whose scope was not kept has a maximum behind it. */
		while (walk.interval_cnt &&
		       walk.intervals[walk.interval_cnt - 1].scope >= walk.out->scope_cnt)
			walk.interval_cnt--;
		qsort(walk.intervals, walk.interval_cnt, sizeof(*walk.intervals),
		      compare_intervals);
		err = keep_functions(&walk);
		if (!err)
			err = flatten(walk.out, walk.intervals, walk.interval_cnt);
	}
	free(walk.intervals);
	if (!err)
		return walk.out;
	scopes__free(walk.out);
	errno = -err;
	return NULL;
}

void scopes__free(struct scopes *scopes)
{
	if (!scopes)
		return;
	free(scopes->scopes);
	free(scopes->segments);
	free(scopes->functions);
	free(scopes);
}

uint32_t scopes__find(const struct scopes *scopes, uint64_t vaddr)
{
	size_t low = 0, high = scopes->segment_cnt, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (scopes->segments[mid].start <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? scopes->segments[low - 1].scope : SCOPE_NONE;
}

struct scope *scopes__at(struct scopes *scopes, uint32_t id)
{
	return &scopes->scopes[id];
}

uint64_t scopes__function_start(const struct scopes *scopes, uint32_t id, uint64_t vaddr)
{
	size_t low = 0, high = scopes->function_cnt, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (scopes->functions[mid].start <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	/* Functions may overlap or share a start (folded code): the one of this scope is near. */
	for (int step = 0; low && step < 64; step++) {
		const struct interval *part = &scopes->functions[--low];

		if (part->scope == id && vaddr < part->end)
			return part->start;
	}
	return 0;
}

size_t scopes__bytes(const struct scopes *scopes)
{
	return sizeof(*scopes) + scopes->scope_cap * sizeof(*scopes->scopes) +
	       scopes->segment_cap * sizeof(*scopes->segments) +
	       scopes->function_cnt * sizeof(*scopes->functions);
}
