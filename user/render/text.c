/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * The report for people: a head, what is outstanding in all, what was missed, then the sites. Plain
 * ASCII but for what strangers' names bring along (see emit.h). Numbers are rounded here; the JSON
 * report has them exact.
 *
 *	unfreed  2024-05-01T12:00:00.123Z  after 35.0s
 *	  pid 4242 leaky, rss 14.1 MiB
 *	      python 3.11.2: gc 0: 131 collections in 8.1ms (longest 0.4ms), 1: 11 in 1.9ms (longest
 *	      0.3ms), 2: 1 in 2.5ms (longest 2.5ms)     (python targets only, in one line)
 *	live       1.2 MiB in 1,009 blocks at 2 sites
 *	           of these 48.0 KiB in 3 pools of Python's small objects at 1 site
 *	           of these 1.0 MiB in 5 regions mapped by the program at 1 site
 *	allocated  2.4 MiB in 2,018 blocks since the start, freed 1.2 MiB in 1,009 blocks
 *	events     3,027; 12 frees of older blocks
 *
 *	 1. 1.1 MiB in 997 blocks (93.1%)  pid 4242 leaky
 *	    oldest 34.0s, growth +33.1 KiB/s; 997 allocated, 0 freed
 *	    #0  make_node+0x1c at /src/leaky.c:42
 *	    #1  main+0x30 in /usr/bin/leaky+0x1234
 *	    (stack ends: read-fault)
 */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "render/application.h"
#include "render/emit.h"
#include "render/render.h"
#include "render/text_parts.h"

#define LINE_COLUMNS 100 /* wished for, not enforced */

/* Groups shown with their sites; the rest is counted. */
#define MAX_GROUPS 20

/* "48.0 KiB in 3 pools" */
static void put_units(FILE *out, uint64_t bytes, uint64_t count, enum snapshot_site_kind kind)
{
	static const char *const units[] = {
		[SITE_MALLOC] = "block",
		[SITE_PYMALLOC] = "pool",
		[SITE_MMAP] = "region",
		[SITE_KERNEL_SLAB] = "object",
		[SITE_KERNEL_PAGES] = "page",
		[SITE_KERNEL_PERCPU] = "block",
	};

	fprintf(out, "%s in %s %s%s", BYTES(bytes), COUNT(count), units[kind], plural(count));
}

/* is_apart: it is not in the totals, which are estimated. */
static void put_part(FILE *out, const struct snapshot_totals *part, enum snapshot_site_kind kind,
		     const char *what, bool is_apart)
{
	if (!part->live_count)
		return;
	fputs(is_apart ? "           and " : "           of these ", out);
	put_units(out, part->live_bytes, part->live_count, kind);
	fprintf(out, " %s at %s site%s\n", what, COUNT(part->sites), plural(part->sites));
}

static void put_head(FILE *out, const struct snapshot *snap)
{
	fputs("unfreed  ", out);
	emit__time(out, &snap->time);
	fprintf(out, "  after %s%s\n", DURATION(snap->elapsed_s),
		snap->is_last ? "  (last report)" : "");
	if (snap->is_kernel)
		fputs("  the kernel's own memory\n", out);
	if (snap->sample_bytes)
		fprintf(out, "  blocks are estimated from one sample in %s on average; ranges hold with "
			"95%% confidence\n", BYTES(snap->sample_bytes));
	text__put_targets(out, snap);
}

void text__put_age_filter(FILE *out, const struct snapshot *snap)
{
	if (snap->older_s > 0)
		fprintf(out, " at least %s old", DURATION(snap->older_s));
}

void text__put_sample(FILE *out, const struct snapshot_sample *sample, struct range bytes)
{
	fprintf(out, "%s - %s, from %s sample%s", BYTES(bytes.low), BYTES(bytes.high),
		COUNT(sample->count), plural(sample->count));
}

static void put_events(FILE *out, const struct snapshot *snap)
{
	const struct snapshot_cost *cost = &snap->cost;

	fprintf(out, "events     %s", COUNT(cost->event_count));
	if (cost->has_bpf_ns)
		fprintf(out, ", %s in BPF", DURATION((double)cost->bpf_ns / 1e9));
	if (!isnan(cost->cpu_share))
		fprintf(out, ", %.1f%% of one CPU", 100 * cost->cpu_share);
	if (snap->unknown_free_count && !snap->sample_bytes)
		fprintf(out, "; %s free%s of older blocks", COUNT(snap->unknown_free_count),
			plural(snap->unknown_free_count));
	if (snap->failed_alloc_count)
		fprintf(out, "; %s failed allocation%s", COUNT(snap->failed_alloc_count),
			plural(snap->failed_alloc_count));
	putc('\n', out);
}

static void put_totals(FILE *out, const struct snapshot *snap)
{
	const struct snapshot_totals *totals = &snap->totals;

	fputs("live       ", out);
	put_units(out, totals->live_bytes, totals->live_count, SITE_MALLOC);
	text__put_age_filter(out, snap);
	fprintf(out, " at %s site%s\n", COUNT(totals->sites), plural(totals->sites));
	if (totals->sample.count) {
		fputs("           ", out);
		text__put_sample(out, &totals->sample, snapshot_totals__bytes_range(totals));
		putc('\n', out);
	}
	put_part(out, &snap->pools, SITE_PYMALLOC, "of Python's small objects", snap->sample_bytes);
	put_part(out, &snap->regions, SITE_MMAP, "mapped by the program", snap->sample_bytes);
	fputs("allocated  ", out);
	put_units(out, totals->alloc_bytes, totals->alloc_count, SITE_MALLOC);
	fputs(" since the start, freed ", out);
	put_units(out, totals->free_bytes, totals->free_count, SITE_MALLOC);
	putc('\n', out);
	put_events(out, snap);
}

static void put_losses(FILE *out, const struct snapshot *snap)
{
	for (uint32_t i = 0; i < snap->loss_cnt; i++) {
		const struct snapshot_loss *loss = &snap->losses[i];

		if (!loss->count)
			continue;
		fprintf(out, "LOST: %s ", COUNT(loss->count));
		emit__text(out, loss->meaning, MAX_SENTENCE);
		fputs(" (", out);
		emit__text(out, loss->name, MAX_NAME);
		fputs(")\n", out);
	}
}

/* "make_node+0x1c", "??" for none. Returns the columns; out may be NULL as for emit__text. */
static size_t put_function(FILE *out, const struct snapshot_frame *frame)
{
	size_t columns = emit__text(out, *frame->function ? frame->function : "??", MAX_FUNCTION);
	char offset[24];

	if (frame->kind == FRAME_PYTHON || frame->inlined || !*frame->function)
		return columns;
	snprintf(offset, sizeof(offset), "+0x%" PRIx64, frame->function_offset);
	return columns + emit__text(out, offset, sizeof(offset));
}

/* "at file:line", or "in module+0xoffset" without a file. Returns the columns likewise. */
static size_t put_place(FILE *out, const struct snapshot_frame *frame)
{
	bool has_file = *frame->file;
	const char *path = has_file ? frame->file : *frame->module ? frame->module : "[unknown]";
	char number[24] = "";
	size_t columns;

	if (!has_file)
		snprintf(number, sizeof(number), "+0x%" PRIx64, frame->offset);
	else if (frame->line)
		snprintf(number, sizeof(number), ":%" PRIu32, frame->line);
	columns = emit__text(out, has_file ? "at " : "in ", 3);
	columns += emit__text(out, path, MAX_PATH);
	return columns + emit__text(out, number, sizeof(number));
}

static const char *frame_mark(const struct snapshot_frame *frame)
{
	if (frame->kind == FRAME_PYTHON)
		return " [python]";
	return frame->inlined ? " [inlined]" : "";
}

/* "alloc_pipe_info+0xa3 [kernel]", "ext4_alloc_inode+0x20 [ext4]", "0xffffffff81234567" */
static void put_kernel_frame(FILE *out, const struct snapshot_frame *frame, uint32_t index)
{
	fprintf(out, "    #%-2" PRIu32 " ", index);
	if (*frame->function) {
		put_function(out, frame);
		putc(' ', out);
		emit__text(out, frame->module, MAX_NAME);
	} else {
		fprintf(out, "0x%" PRIx64, frame->offset);
	}
	putc('\n', out);
}

/* The place goes to a line of its own where both do not fit in one: nothing is cut for that. */
static void put_frame(FILE *out, const struct snapshot_frame *frame, uint32_t index)
{
	const char *mark = frame_mark(frame);
	size_t columns;

	if (frame->kind == FRAME_KERNEL) {
		put_kernel_frame(out, frame, index);
		return;
	}
	columns = 8 + put_function(NULL, frame) + 1 + put_place(NULL, frame) +
		  emit__text(NULL, mark, MAX_NAME);
	fprintf(out, "    #%-2" PRIu32 " ", index);
	put_function(out, frame);
	fputs(columns > LINE_COLUMNS ? "\n           " : " ", out);
	put_place(out, frame);
	fprintf(out, "%s\n", mark);
}

/* How many frames from i on are the interpreter's own C code. */
static uint32_t count_interpreter(const struct snapshot_site *site, uint32_t i)
{
	uint32_t n = 0;

	while (i + n < site->frame_cnt && site->frames[i + n].is_interpreter)
		n++;
	return n;
}

/* Of the interpreter's frames below the allocator, the first that says what is allocated. */
static const char *allocating_function(const struct snapshot_site *site, uint32_t i, uint32_t n)
{
	static const char *const allocators[] = {
		"PyMem_", "_PyMem_", "PyObject_Malloc", "_PyObject_Malloc", "PyObject_Calloc",
		"_PyObject_Calloc", "PyObject_Realloc", "_PyObject_Realloc", "pymalloc_",
		"allocate_from_new_pool",
	};

	for (; n--; i++) {
		const char *function = site->frames[i].function;
		bool allocates = !*function;

		for (size_t k = 0; k < sizeof(allocators) / sizeof(allocators[0]); k++)
			allocates |= !strncmp(function, allocators[k], strlen(allocators[k]));
		if (!allocates)
			return function;
	}
	return "";
}

/* n frames from i on in one line. */
static void put_interpreter(FILE *out, const struct snapshot_site *site, uint32_t i, uint32_t n)
{
	const char *function = i ? "" : allocating_function(site, i, n);

	fprintf(out, "    ... %" PRIu32 " frames of the interpreter", n);
	if (*function) {
		fputs(": ", out);
		emit__text(out, function, MAX_FUNCTION);
	}
	putc('\n', out);
}

/*
 * Around Python frames the interpreter's own say little, and are many; so are the framework's and
 * the server's that called the application. JSON has them all.
 */
static void put_frames(FILE *out, const struct snapshot_site *site, const struct application *app)
{
	uint32_t cnt = app->is_known ? app->outermost + 1 : site->frame_cnt;

	if (cnt + 1 >= site->frame_cnt)
		cnt = site->frame_cnt;
	for (uint32_t i = 0; i < cnt; i++) {
		uint32_t n = app->has_python ? count_interpreter(site, i) : 0;

		if (n < 2) {
			put_frame(out, &site->frames[i], i);
			continue;
		}
		put_interpreter(out, site, i, n);
		i += n - 1;
	}
	if (cnt < site->frame_cnt)
		fprintf(out, "    ... %" PRIu32 " frames of libraries and the interpreter\n",
			site->frame_cnt - cnt);
}

static void put_stack(FILE *out, const struct snapshot_site *site, const struct application *app)
{
	uint32_t cnt = site->frames ? site->frame_cnt : 0;

	if (cnt)
		put_frames(out, site, app);
	if (!cnt)
		fputs("    (no stack)\n", out);
	if (!*site->stack_end || (cnt && strcmp(site->stack_end, "complete") == 0))
		return;
	fputs("    (stack ends: ", out);
	emit__text(out, site->stack_end, MAX_NAME);
	fputs(")\n", out);
}

static void put_verdict(FILE *out, const struct snapshot_site *site)
{
	if (!*site->verdict && !*site->why)
		return;
	fputs("    verdict: ", out);
	emit__text(out, site->verdict, MAX_SENTENCE);
	if (*site->why) {
		fputs(*site->verdict ? " - " : "", out);
		emit__text(out, site->why, MAX_SENTENCE);
	}
	putc('\n', out);
}

static const char *kind_mark(const struct snapshot_site *site)
{
	static const char *const marks[] = {
		[SITE_MALLOC] = "",
		[SITE_PYMALLOC] = " [pymalloc]",
		[SITE_MMAP] = " [mmap]",
		[SITE_KERNEL_SLAB] = " [slab]",
		[SITE_KERNEL_PAGES] = " [pages]",
		[SITE_KERNEL_PERCPU] = " [percpu]",
	};

	return marks[site->kind];
}

static void put_live(FILE *out, const struct snapshot_site *site)
{
	put_units(out, site->live_bytes, site->live_count, site->kind);
	if (site->kind != SITE_PYMALLOC)
		return;
	fprintf(out, ", %s used", BYTES(snapshot_site__used_bytes(site)));
	if (site->foreign_bytes)
		fprintf(out, ", %s others'", BYTES(site->foreign_bytes));
}

static void put_site(FILE *out, const struct snapshot *snap, const struct snapshot_site *site,
		     uint32_t number)
{
	const struct application app = application__find(site);

	fprintf(out, "\n%2" PRIu32 ". ", number);
	put_live(out, site);
	if (snapshot__is_in_totals(snap, site))
		fprintf(out, " (%s)", human__share(site->live_bytes, snap->totals.live_bytes).text);
	fputs(kind_mark(site), out);
	if (site->pid)
		fputs("  ", out);
	if (!site->pid)
		; /* the kernel's */
	else if (site->pid_cnt > 1)
		fprintf(out, "%s processes ", COUNT(site->pid_cnt));
	else
		fprintf(out, "pid %" PRIu32 " ", site->pid);
	emit__text(out, site->comm, MAX_NAME);
	if (app.has_python) {
		fputs("\n    in ", out);
		put_function(out, &site->frames[app.innermost]);
		putc(' ', out);
		put_place(out, &site->frames[app.innermost]);
	}
	if (site->sample.count) {
		fputs("\n    ", out);
		text__put_sample(out, &site->sample, snapshot_site__bytes_range(site));
	}
	fprintf(out, "\n    oldest %s", DURATION(site->oldest_s));
	if (!isnan(site->growth_bytes_per_s))
		fprintf(out, ", growth %s", human__rate(site->growth_bytes_per_s).text);
	fprintf(out, "; %s allocated, %s freed\n", COUNT(site->alloc_count),
		COUNT(site->free_count));
	put_verdict(out, site);
	put_stack(out, site, &app);
}

/* Says what was attached and seen: "no leak" and "saw nothing" must not look alike. */
static void put_nothing_found(FILE *out, const struct snapshot *snap)
{
	fputs("\nno outstanding allocations", out);
	text__put_age_filter(out, snap);
	fprintf(out, ": %s probe%s", COUNT(snap->probe_cnt), plural(snap->probe_cnt));
	if (!snap->is_kernel)
		fprintf(out, " in %s file%s", COUNT(snap->probe_file_cnt),
			plural(snap->probe_file_cnt));
	fputs(", ", out);
	fprintf(out, "%s event%s seen", COUNT(snap->cost.event_count),
		plural(snap->cost.event_count));
	if (!snap->sample_bytes)
		fprintf(out, ", %s free%s of older blocks", COUNT(snap->unknown_free_count),
			plural(snap->unknown_free_count));
	putc('\n', out);
}

/* One of the report's totals, and which of the sites are in it. */
struct part {
	const struct snapshot_totals *totals;
	enum snapshot_site_kind kind; /* SITE_MALLOC: all that are in the report's totals */
};

static bool is_in_part(const struct snapshot *snap, const struct part *part,
		       const struct snapshot_site *site)
{
	if (part->kind == SITE_MALLOC)
		return snapshot__is_in_totals(snap, site);
	return site->kind == part->kind;
}

/* Of the sites that the totals count, those that are not among the cnt shown from first on. */
static void put_rest(FILE *out, const struct snapshot *snap, const struct part *part,
		     const struct snapshot_site *first, uint32_t cnt)
{
	const struct snapshot_totals *totals = part->totals;
	uint64_t bytes = totals->live_bytes, count = totals->live_count, sites = totals->sites;

	for (uint32_t i = 0; i < cnt; i++) {
		if (!is_in_part(snap, part, &first[i]))
			continue;
		bytes -= first[i].live_bytes;
		count -= first[i].live_count;
		sites--;
	}
	if (!sites)
		return;
	fprintf(out, "\nand %s more site%s (--top shows more): ", COUNT(sites), plural(sites));
	put_units(out, bytes, count, part->kind);
	putc('\n', out);
}

/* cnt sites from first on, and what is left of the totals that they are in. */
static void put_sites(FILE *out, const struct snapshot *snap, const struct snapshot_site *first,
		      uint32_t cnt, const struct part parts[3])
{
	for (uint32_t i = 0; i < cnt; i++)
		put_site(out, snap, &first[i], i + 1);
	put_rest(out, snap, &parts[0], first, cnt);
	/* Else they are in the first. */
	if (!snap->sample_bytes)
		return;
	put_rest(out, snap, &parts[1], first, cnt);
	put_rest(out, snap, &parts[2], first, cnt);
}

/* Groups with something outstanding that are not shown. */
static void put_more_groups(FILE *out, uint32_t cnt, uint64_t bytes, uint64_t count)
{
	if (!cnt)
		return;
	fprintf(out, "\nand %s more %s (-v lists them): ", COUNT(cnt), cnt == 1 ? "group" : "groups");
	put_blocks(out, bytes, count);
	putc('\n', out);
}

/* The sites of a group are in a row, in the groups' order. */
static void put_groups(FILE *out, const struct snapshot *snap)
{
	uint32_t shown = 0, more = 0, at = 0;
	uint64_t more_bytes = 0, more_count = 0;

	for (uint32_t i = 0; i < snap->group_cnt; i++) {
		const struct snapshot_group *group = &snap->groups[i];
		uint32_t first = at;

		while (at < snap->site_cnt && snap->sites[at].group == i)
			at++;
		if (!text__is_found(group))
			continue;
		if (++shown > MAX_GROUPS && !snap->wants_all) {
			more++;
			more_bytes += group->totals.live_bytes;
			more_count += group->totals.live_count;
			continue;
		}
		putc('\n', out);
		text__put_group(out, snap, group);
		put_sites(out, snap, &snap->sites[first], at - first,
			  (struct part[3]){{&group->totals, SITE_MALLOC},
					   {&group->pools, SITE_PYMALLOC},
					   {&group->regions, SITE_MMAP}});
	}
	put_more_groups(out, more, more_bytes, more_count);
	text__put_clean_groups(out, snap);
}

int render_text(const struct snapshot *snap, FILE *out)
{
	put_head(out, snap);
	put_totals(out, snap);
	put_losses(out, snap);
	if (snap->group_cnt)
		put_groups(out, snap);
	else
		put_sites(out, snap, snap->sites, snap->site_cnt,
			  (struct part[3]){{&snap->totals, SITE_MALLOC},
					   {&snap->pools, SITE_PYMALLOC},
					   {&snap->regions, SITE_MMAP}});
	if (!snap->site_cnt && !snap->totals.sites && !snap->pools.sites && !snap->regions.sites)
		put_nothing_found(out, snap);
	putc('\n', out);
	return emit__finish(out);
}
