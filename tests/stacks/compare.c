/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "contract.h"
#include "compare.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "agent/unwinder.h"
#include "sym/symbolizer.h"
#include "target/vdso.h"
#include "truth.h"

#define MAX_SHOWN      10 /* differences in detail */
#define MAX_EXAMPLES   3  /* of incomplete stacks, for each end */
#define DISTINCT_SLOTS (1 << 18) /* power of two; more distinct stacks are counted as known */

struct compare {
	const struct agent *agent;
	struct truth *truth;
	struct compare_counts counts;
	uint32_t shown;
	uint64_t *seen; /* stack ids, open addressing */
	struct truth_stack stack;
};

/* Where a frame is. file NULL: at is an address. */
struct place {
	const struct mapped_file *file;
	uint64_t at;
	uint64_t pc; /* libdw's: the address, in any case */
	bool is_interrupted;
	bool is_python; /* at is the code object's address */
};

struct compare *compare__new(const struct agent *agent)
{
	struct compare *compare = calloc(1, sizeof(*compare));

	if (!compare)
		return NULL;
	compare->agent = agent;
	compare->seen = calloc(DISTINCT_SLOTS, sizeof(*compare->seen));
	compare->truth = truth__new(agent->mappings);
	if (compare->seen && compare->truth)
		return compare;
	compare__free(compare);
	errno = ENOMEM;
	return NULL;
}

void compare__free(struct compare *compare)
{
	if (!compare)
		return;
	truth__free(compare->truth);
	free(compare->seen);
	free(compare);
}

const struct compare_counts *compare__counts(const struct compare *compare)
{
	return &compare->counts;
}

static bool is_new_stack(struct compare *compare, uint64_t id)
{
	uint32_t slot = id & (DISTINCT_SLOTS - 1);

	while (compare->seen[slot] && compare->seen[slot] != id)
		slot = (slot + 1) & (DISTINCT_SLOTS - 1);
	if (compare->seen[slot] || compare->counts.distinct >= DISTINCT_SLOTS / 2)
		return false;
	compare->seen[slot] = id;
	return true;
}

static struct place probe_place(const struct compare *compare, uint64_t frame)
{
	struct place place = {.is_interrupted = frame & UF_FRAME_INTERRUPTED};

	if (!(frame & UF_FRAME_IN_FILE) && frame & UF_FRAME_PYTHON) {
		place.is_python = true;
		place.at = UF_PYTHON_FRAME_CODE(frame);
	} else if (frame & UF_FRAME_IN_FILE) {
		place.file = unwinder__file(compare->agent->unwinder, UF_FRAME_FILE(frame));
		place.at = UF_FRAME_OFFSET(frame);
	} else {
		place.at = frame & ~UF_FRAME_INTERRUPTED;
	}
	return place;
}

static struct place truth_place(const struct compare *compare, const struct truth_sample *sample,
				const struct truth_frame *frame)
{
	struct place place = {
		.at = frame->pc,
		.pc = frame->pc,
		.is_interrupted = frame->is_interrupted,
	};
	const struct mapping *mapping =
		mapping_log__find(compare->agent->mappings, sample->tgid,
				  frame->pc - !frame->is_interrupted, sample->time_ns);

	if (mapping && mapping->file->inode) {
		place.file = mapping->file;
		place.at = frame->pc - mapping->start + mapping->file_offset;
	}
	return place;
}

static bool is_vdso_file(const struct mapped_file *file)
{
	return is_vdso(file->path, file->inode);
}

static bool places_equal(const struct place *probe, const struct place *truth)
{
	if (probe->is_interrupted != truth->is_interrupted)
		return false;
	/* The log of a running process does not have its vDSO: pages tell. */
	if (probe->file && is_vdso_file(probe->file) && !truth->file)
		return (probe->at & (TRUTH_PAGE_BYTES - 1)) == (truth->at & (TRUTH_PAGE_BYTES - 1));
	/* The probe names a place by its address where the file has no number yet, too. */
	if (!probe->file || !truth->file)
		return !probe->file && probe->at == truth->pc;
	return probe->file->dev == truth->file->dev && probe->file->inode == truth->file->inode &&
	       probe->at == truth->at;
}

/* How far both go alike, from the innermost frame on. */
struct match {
	uint32_t probe, truth;
};

static bool is_python(const struct truth_sample *sample, uint32_t i)
{
	return i < sample->frame_cnt && !(sample->frames[i] & UF_FRAME_IN_FILE) &&
	       sample->frames[i] & UF_FRAME_PYTHON;
}

static bool has_python(const struct truth_sample *sample)
{
	for (uint32_t i = 0; i < sample->frame_cnt && i < UF_MAX_FRAMES; i++)
		if (is_python(sample, i))
			return true;
	return false;
}

static bool is_eval_loop(const struct compare *compare, uint32_t i)
{
	const char *name = truth__symbol(compare->truth, compare->stack.frames[i].pc - 1);

	return name && !strcmp(name, "_PyEval_EvalFrameDefault");
}

/*
 * A frame of CPython's evaluation loop is libdw's alone: in its place the probe
 * has the Python frames that run in it. They are any number; none, if only the
 * interpreter's own shims are left.
 */
static bool match_python(const struct compare *compare, const struct truth_sample *sample,
			 struct match *match)
{
	if (!is_eval_loop(compare, match->truth))
		return false;
	match->truth++;
	while (is_python(sample, match->probe))
		match->probe++;
	return true;
}

static struct match match_frames(const struct compare *compare, const struct truth_sample *sample)
{
	const struct truth_stack *stack = &compare->stack;
	bool with_python = has_python(sample);
	struct match match = {0};

	while (match.truth < stack->cnt) {
		struct place truth = truth_place(compare, sample, &stack->frames[match.truth]);
		struct place probe;

		if (match.probe < sample->frame_cnt && match.probe < UF_MAX_FRAMES &&
		    !is_python(sample, match.probe)) {
			probe = probe_place(compare, sample->frames[match.probe]);
			if (places_equal(&probe, &truth)) {
				match.probe++;
				match.truth++;
				continue;
			}
		}
		if (!with_python || !match_python(compare, sample, &match))
			break;
	}
	return match;
}

/* "   12 probe /usr/lib/libc.so.6 0x3c050 __restore_rt+0" */
static void print_place(const struct compare *compare, uint32_t i, const char *whose,
			const struct place *place)
{
	struct sym_module *module =
		place->file && place->file->fd >= 0
			? symbolizer__open_fd(compare->agent->symbolizer, place->file->fd,
					      place->file->path)
			: NULL;
	struct sym_frame names[16];
	int n = module ? symbolizer__resolve(compare->agent->symbolizer, module, place->at,
					     !place->is_interrupted, names, 16)
		       : 0;

	printf("  %3u %-5s %s%s%#" PRIx64 " %s+%" PRIu64 "%s\n", i, whose,
	       place->file ? place->file->path : "", place->file ? " " : "", place->at, n > 0 ? names[n - 1].function : "?",
	       n > 0 ? names[n - 1].offset : 0,
	       place->is_python        ? " (Python)"
	       : place->is_interrupted ? " (interrupted)"
				       : "");
}

static const char *truth_end(const struct truth_stack *stack)
{
	if (stack->is_cut)
		return "larger than the copy";
	return stack->error ? stack->error : "complete";
}

static const char *end_name(uint32_t end)
{
	static const char *const names[] = {
#define X(id, name) name,
		UF_STACK_ENDS(X)
#undef X
	};

	return end < UF_END_CNT ? names[end] : "?";
}

static void print_difference(const struct compare *compare, const struct truth_sample *sample,
			     struct match match)
{
	const struct truth_stack *stack = &compare->stack;

	printf("different: pid %u rsp %#llx rbp %#llx; probe: %u frames, %s; libdw: %u frames, %s\n",
	       sample->tgid, sample->regs[TRUTH_RSP], sample->regs[TRUTH_RBP], sample->frame_cnt,
	       end_name(sample->end), stack->cnt, truth_end(stack));
	for (uint32_t i = 0; i < sample->frame_cnt && i < UF_MAX_FRAMES; i++) {
		struct place place = probe_place(compare, sample->frames[i]);

		print_place(compare, i, i < match.probe ? "both" : "probe", &place);
	}
	for (uint32_t i = match.truth; i < stack->cnt; i++) {
		struct place place = truth_place(compare, sample, &stack->frames[i]);

		print_place(compare, i, "libdw", &place);
	}
}

/* Where an incomplete stack ends. */
static void print_end(const struct compare *compare, const struct truth_sample *sample)
{
	struct place place = probe_place(compare, sample->frames[sample->frame_cnt - 1]);

	printf("%s after %u frames of libdw's %u (%s):\n", end_name(sample->end),
	       sample->frame_cnt, compare->stack.cnt,
	       truth_end(&compare->stack));
	print_place(compare, sample->frame_cnt - 1, "probe", &place);
}

static void count_complete(struct compare *compare, const struct truth_sample *sample, bool equal)
{
	struct compare_counts *counts = &compare->counts;

	counts->complete++;
	counts->equal += equal;
	counts->different += !equal;
	counts->frames += sample->frame_cnt;
	if (sample->frame_cnt > counts->deepest)
		counts->deepest = sample->frame_cnt;
	counts->recalled += sample->is_recalled;
	counts->python += has_python(sample);
	for (uint32_t i = 0; i < sample->frame_cnt && i < UF_MAX_FRAMES; i++) {
		if (sample->frames[i] & UF_FRAME_INTERRUPTED) {
			counts->interrupted++;
			break;
		}
	}
}

void compare__add(struct compare *compare, const struct truth_sample *sample)
{
	struct compare_counts *counts = &compare->counts;
	struct truth_stack *stack = &compare->stack;
	struct match match;
	bool is_right;

	truth__walk(compare->truth, sample, stack);
	match = match_frames(compare, sample);
	counts->stacks++;
	counts->distinct += is_new_stack(compare, sample->stack_id);
	counts->ends[sample->end < UF_END_CNT ? sample->end : UF_END_UNSUPPORTED]++;
	if (sample->end == UF_END_COMPLETE && !(stack->is_cut && match.truth == stack->cnt)) {
		is_right = match.probe == sample->frame_cnt && match.truth == stack->cnt &&
			   !stack->error;
		count_complete(compare, sample, is_right);
	} else {
		is_right = match.probe == sample->frame_cnt ||
			   (stack->is_cut && match.truth == stack->cnt);
		counts->cut += sample->end == UF_END_COMPLETE;
		counts->wrong_part += !is_right;
		if (sample->end < UF_END_CNT && counts->ends[sample->end] <= MAX_EXAMPLES &&
		    sample->frame_cnt)
			print_end(compare, sample);
	}
	if (!is_right && compare->shown++ < MAX_SHOWN)
		print_difference(compare, sample, match);
}

void compare__print(const struct compare *compare)
{
	const struct compare_counts *counts = &compare->counts;

	printf("%" PRIu64 " distinct stacks, %.1f frames on average, %" PRIu64 " at most; %" PRIu64
	       " through a signal handler; %" PRIu64 " with Python frames; %" PRIu64
	       " larger than the copy\n",
	       counts->distinct, counts->complete ? (double)counts->frames / counts->complete : 0,
	       counts->deepest, counts->interrupted, counts->python, counts->cut);
	for (uint32_t i = 0; i < UF_END_CNT; i++)
		if (counts->ends[i])
			printf("%7" PRIu64 " ended: %s\n", counts->ends[i], end_name(i));
	if (counts->wrong_part)
		printf("%" PRIu64 " incomplete stacks are wrong as far as they go\n",
		       counts->wrong_part);
	printf("%" PRIu64 " stacks, %" PRIu64 " complete, %" PRIu64 " equal, %" PRIu64
	       " different; %" PRIu64 " were not walked anew\n",
	       counts->stacks, counts->complete, counts->equal, counts->different,
	       counts->recalled);
}
