/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * One report, one JSON object, one line. Every field is there in every report; fields are added,
 * never renamed. Unknown text is "", an unknown number is null, as NaN would not be JSON.
 *
 * printf's decimal point is the locale's; this program stays in the "C" locale.
 */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "render/emit.h"
#include "render/render.h"
#include "snapshot/snapshot.h"

struct json {
	FILE *out;
	bool comma; /* before the next value */
};

/* Before every value: a comma between two, and the name within an object (NULL in an array). */
static void put_name(struct json *json, const char *name)
{
	if (json->comma)
		putc_unlocked(',', json->out);
	json->comma = true;
	if (!name)
		return;
	emit__json_string(json->out, name);
	putc_unlocked(':', json->out);
}

static void begin(struct json *json, const char *name, char bracket)
{
	put_name(json, name);
	putc_unlocked(bracket, json->out);
	json->comma = false;
}

static void end(struct json *json, char bracket)
{
	putc_unlocked(bracket, json->out);
	json->comma = true;
}

static void put_string(struct json *json, const char *name, const char *value)
{
	put_name(json, name);
	emit__json_string(json->out, value);
}

static void put_bool(struct json *json, const char *name, bool value)
{
	put_name(json, name);
	fputs_unlocked(value ? "true" : "false", json->out);
}

static void put_uint(struct json *json, const char *name, uint64_t value)
{
	put_name(json, name);
	emit__uint(json->out, value);
}

static void put_uint_or_null(struct json *json, const char *name, uint64_t value, bool known)
{
	if (known) {
		put_uint(json, name, value);
		return;
	}
	put_name(json, name);
	fputs_unlocked("null", json->out);
}

static void put_real(struct json *json, const char *name, double value, int decimals)
{
	put_name(json, name);
	if (isfinite(value))
		fprintf(json->out, "%.*f", decimals, value);
	else
		fputs_unlocked("null", json->out);
}

static void put_time(struct json *json, const char *name, const struct timespec *time)
{
	put_name(json, name);
	putc_unlocked('"', json->out);
	emit__time(json->out, time);
	putc_unlocked('"', json->out);
}

/* Below 0: unknown. */
static void put_int_or_null(struct json *json, const char *name, int64_t value)
{
	put_uint_or_null(json, name, (uint64_t)value, value >= 0);
}

static void put_generation(struct json *json, const struct snapshot_gc_generation *generation)
{
	begin(json, NULL, '{');
	put_int_or_null(json, "threshold", generation->threshold);
	put_int_or_null(json, "count", generation->count);
	put_int_or_null(json, "collections", generation->collections);
	put_int_or_null(json, "collected", generation->collected);
	put_int_or_null(json, "uncollectable", generation->uncollectable);
	put_int_or_null(json, "trace_collections", generation->trace_collections);
	put_int_or_null(json, "trace_unreachable", generation->trace_unreachable);
	put_real(json, "pause_s", generation->pause_s, 6);
	put_real(json, "longest_pause_s", generation->longest_pause_s, 6);
	end(json, '}');
}

static void put_python(struct json *json, const struct snapshot_python *python)
{
	if (!python) {
		put_uint_or_null(json, "python", 0, false);
		return;
	}
	begin(json, "python", '{');
	put_string(json, "version", python->version);
	put_string(json, "frames", python->frames);
	begin(json, "gc", '{');
	put_string(json, "source", python->gc_source);
	put_string(json, "why", python->gc_why);
	if (python->gc_enabled < 0)
		put_uint_or_null(json, "enabled", 0, false);
	else
		put_bool(json, "enabled", python->gc_enabled);
	begin(json, "generations", '[');
	for (int i = 0; i < SNAPSHOT_GENERATIONS; i++)
		put_generation(json, &python->generations[i]);
	end(json, ']');
	end(json, '}');
	end(json, '}');
}

/* What names a group where it is used; "" without groups. */
static void put_group_id(struct json *json, const char *name, const struct snapshot *snap,
			 uint32_t group)
{
	char id[17] = "";

	if (snap->group_cnt)
		snprintf(id, sizeof(id), "%016" PRIx64, snap->groups[group].id);
	put_string(json, name, id);
}

static void put_targets(struct json *json, const struct snapshot *snap)
{
	begin(json, "targets", '[');
	for (uint32_t i = 0; i < snap->target_cnt; i++) {
		const struct snapshot_target *target = &snap->targets[i];

		begin(json, NULL, '{');
		put_uint(json, "pid", target->pid);
		put_string(json, "comm", target->comm);
		put_string(json, "exe", target->exe);
		put_string(json, "container", target->container);
		put_string(json, "container_id", target->container_id);
		put_string(json, "pod", target->pod);
		put_string(json, "pod_namespace", target->pod_namespace);
		put_string(json, "unit", target->unit);
		put_string(json, "cgroup", target->cgroup);
		put_uint_or_null(json, "rss_bytes", target->rss_bytes, target->has_rss);
		put_bool(json, "exited", target->exited);
		put_group_id(json, "group", snap, target->group);
		put_string(json, "note", target->note);
		put_python(json, target->python);
		end(json, '}');
	}
	end(json, ']');
}

/* Live numbers that are estimated: from how many samples, and 95 % ranges. */
static void put_sample(struct json *json, const struct snapshot_sample *sample, struct range bytes,
		       struct range count, bool has_pauses)
{
	put_uint(json, "samples", sample->count);
	put_uint(json, "live_bytes_low", bytes.low);
	put_uint(json, "live_bytes_high", bytes.high);
	put_uint(json, "live_count_low", count.low);
	put_uint(json, "live_count_high", count.high);
	if (!has_pauses)
		return;
	put_uint(json, "unresolved_bytes", sample->unresolved_bytes);
	put_uint(json, "unresolved_count", sample->unresolved_count);
	put_uint(json, "late_free_count", sample->late_count);
	put_uint(json, "undecided_bytes", sample->undecided_bytes);
	put_uint(json, "undecided_sites", sample->undecided_sites);
}

static void put_numbers(struct json *json, const struct snapshot_totals *totals)
{
	put_uint(json, "live_bytes", totals->live_bytes);
	put_uint(json, "live_count", totals->live_count);
	put_uint(json, "alloc_bytes", totals->alloc_bytes);
	put_uint(json, "alloc_count", totals->alloc_count);
	put_uint(json, "free_bytes", totals->free_bytes);
	put_uint(json, "free_count", totals->free_count);
	put_uint(json, "sites", totals->sites);
}

static void put_counted(struct json *json, const char *name, const struct snapshot_totals *totals)
{
	begin(json, name, '{');
	put_numbers(json, totals);
	end(json, '}');
}

static void put_totals(struct json *json, const struct snapshot *snap)
{
	const struct snapshot_totals *totals = &snap->totals;

	begin(json, "totals", '{');
	put_numbers(json, totals);
	if (snap->sample_bytes)
		put_sample(json, &totals->sample, snapshot_totals__bytes_range(totals),
			   snapshot_totals__count_range(totals), snap->cost.pause_count);
	end(json, '}');
	put_counted(json, "pymalloc_totals", &snap->pools);
	put_counted(json, "mmap_totals", &snap->regions);
}

static const char *grouping_name(enum snapshot_grouping grouping)
{
	static const char *const names[] = {
		[BY_SITE] = "site",
		[BY_PROCESS] = "process",
		[BY_SERVICE] = "service",
		[BY_CONTAINER] = "container",
	};

	return names[grouping];
}

/* What is not the same for all of a group is "" or null. */
static void put_group(struct json *json, const struct snapshot *snap, uint32_t index)
{
	const struct snapshot_group *group = &snap->groups[index];
	const struct snapshot_target *target = &snap->targets[group->target];
	bool has_program = snap->grouping != BY_CONTAINER;

	begin(json, NULL, '{');
	put_group_id(json, "id", snap, index);
	put_string(json, "container", target->container);
	put_string(json, "container_id", target->container_id);
	put_string(json, "pod", target->pod);
	put_string(json, "pod_namespace", target->pod_namespace);
	put_string(json, "unit", has_program ? target->unit : "");
	put_string(json, "cgroup", has_program ? target->cgroup : "");
	put_string(json, "exe", has_program ? target->program : "");
	put_uint_or_null(json, "pid", target->pid, snap->grouping == BY_PROCESS);
	put_uint(json, "processes", group->process_cnt);
	put_uint(json, "exited", group->exited_cnt);
	put_uint(json, "untraced", group->untraced_cnt);
	put_numbers(json, &group->totals);
	if (snap->sample_bytes)
		put_sample(json, &group->totals.sample, snapshot_totals__bytes_range(&group->totals),
			   snapshot_totals__count_range(&group->totals),
			   snap->cost.pause_count);
	put_counted(json, "pymalloc_totals", &group->pools);
	put_counted(json, "mmap_totals", &group->regions);
	put_real(json, "oldest_s", group->oldest_s, 3);
	put_real(json, "growth_bytes_per_s", group->growth_bytes_per_s, 3);
	end(json, '}');
}

static void put_groups(struct json *json, const struct snapshot *snap)
{
	put_string(json, "group_by", grouping_name(snap->grouping));
	begin(json, "groups", '[');
	for (uint32_t i = 0; i < snap->group_cnt; i++)
		put_group(json, snap, i);
	end(json, ']');
}

/* What could be seen at all, what was not, and what it cost. */
static void put_coverage(struct json *json, const struct snapshot *snap)
{
	put_uint_or_null(json, "unknown_free_count", snap->unknown_free_count, !snap->sample_bytes);
	put_uint(json, "failed_alloc_count", snap->failed_alloc_count);
	put_uint(json, "probes", snap->probe_cnt);
	put_uint(json, "probe_files", snap->probe_file_cnt);
	begin(json, "losses", '{');
	for (uint32_t i = 0; i < snap->loss_cnt; i++)
		put_uint(json, snap->losses[i].name, snap->losses[i].count);
	end(json, '}');
	begin(json, "cost", '{');
	put_uint(json, "events", snap->cost.event_count);
	put_uint_or_null(json, "bpf_ns", snap->cost.bpf_ns, snap->cost.has_bpf_ns);
	put_real(json, "cpu_share", snap->cost.cpu_share, 6);
	put_uint_or_null(json, "trap_ns", snap->cost.trap_ns, snap->cost.has_trap_ns);
	put_uint(json, "other_events", snap->cost.foreign_event_count);
	put_real(json, "other_cpu_share", snap->cost.foreign_cpu_share, 6);
	put_real(json, "tool_cpu_share", snap->cost.tool_cpu_share, 6);
	put_real(json, "max_cpu_share", snap->cost.max_cpu_share, 6);
	put_real(json, "on_share", snap->cost.on_share, 6);
	put_uint(json, "pauses", snap->cost.pause_count);
	put_uint_or_null(json, "window_sample_bytes", snap->cost.sample_bytes,
			 snap->cost.sample_bytes);
	end(json, '}');
}

static void put_frame(struct json *json, const struct snapshot_frame *frame)
{
	static const char *const kinds[] = {
		[FRAME_NATIVE] = "native",
		[FRAME_PYTHON] = "python",
		[FRAME_KERNEL] = "kernel",
	};
	bool is_code = frame->kind != FRAME_PYTHON; /* Python's own frames have lines, no offsets */
	bool in_file = frame->kind == FRAME_NATIVE; /* a kernel's address is another at each boot */

	begin(json, NULL, '{');
	put_string(json, "kind", kinds[frame->kind]);
	put_string(json, "module", frame->module);
	put_string(json, "build_id", frame->build_id);
	put_uint_or_null(json, "offset", frame->offset, in_file);
	put_string(json, "function", frame->function);
	put_uint_or_null(json, "function_offset", frame->function_offset,
			 is_code && *frame->function);
	put_string(json, "file", frame->file);
	put_uint_or_null(json, "line", frame->line, frame->line != 0);
	put_bool(json, "inlined", frame->inlined);
	end(json, '}');
}

static void put_ages(struct json *json, const struct snapshot_site *site)
{
	begin(json, "ages", '[');
	for (uint32_t i = 0; i < site->age_cnt; i++) {
		begin(json, NULL, '{');
		put_real(json, "older_than_s", site->ages[i].older_than_s, 3);
		put_uint(json, "bytes", site->ages[i].bytes);
		put_uint(json, "count", site->ages[i].count);
		end(json, '}');
	}
	end(json, ']');
}

static void put_pids(struct json *json, const struct snapshot_site *site)
{
	begin(json, "pids", '[');
	for (uint32_t i = 0; i < site->pid_cnt && site->pid; i++)
		put_uint(json, NULL, site->pids[i]);
	if (!site->pid_cnt && site->pid)
		put_uint(json, NULL, site->pid);
	end(json, ']');
}

/* Which of the kernel's allocators; "" for a process's memory. */
static const char *kernel_memory_name(const struct snapshot_site *site)
{
	switch (site->kind) {
	case SITE_KERNEL_SLAB:
		return "slab";
	case SITE_KERNEL_PAGES:
		return "pages";
	case SITE_KERNEL_PERCPU:
		return "percpu";
	case SITE_MALLOC:
	case SITE_PYMALLOC:
	case SITE_MMAP:
		break;
	}
	return "";
}

static const char *kind_name(const struct snapshot_site *site)
{
	if (*kernel_memory_name(site))
		return "kernel";
	if (site->kind == SITE_MMAP)
		return "mmap";
	return site->kind == SITE_PYMALLOC ? "pymalloc" : "malloc";
}

static void put_site(struct json *json, const struct snapshot *snap,
		     const struct snapshot_site *site)
{
	char id[17];

	snprintf(id, sizeof(id), "%016" PRIx64, site->id);
	begin(json, NULL, '{');
	put_string(json, "id", id);
	put_string(json, "kind", kind_name(site));
	put_string(json, "memory", kernel_memory_name(site));
	put_uint_or_null(json, "pid", site->pid, site->pid_cnt <= 1 && site->pid);
	put_pids(json, site);
	put_group_id(json, "group", snap, site->group);
	put_string(json, "comm", site->comm);
	put_uint(json, "live_bytes", site->live_bytes);
	put_uint(json, "live_count", site->live_count);
	if (snap->sample_bytes && snapshot__is_in_totals(snap, site))
		put_sample(json, &site->sample, snapshot_site__bytes_range(site),
			   snapshot_site__count_range(site), snap->cost.pause_count);
	if (site->kind == SITE_PYMALLOC) {
		put_uint(json, "used_bytes", snapshot_site__used_bytes(site));
		put_uint(json, "foreign_bytes", site->foreign_bytes);
	}
	put_uint(json, "alloc_bytes", site->alloc_bytes);
	put_uint(json, "alloc_count", site->alloc_count);
	put_uint(json, "free_bytes", site->free_bytes);
	put_uint(json, "free_count", site->free_count);
	put_real(json, "oldest_s", site->oldest_s, 3);
	put_ages(json, site);
	put_real(json, "growth_bytes_per_s", site->growth_bytes_per_s, 3);
	put_string(json, "verdict", site->verdict);
	put_string(json, "why", site->why);
	put_string(json, "stack_end", site->stack_end);
	begin(json, "frames", '[');
	for (uint32_t i = 0; site->frames && i < site->frame_cnt; i++)
		put_frame(json, &site->frames[i]);
	end(json, ']');
	end(json, '}');
}

int render_json(const struct snapshot *snap, FILE *out)
{
	struct json json = { .out = out };

	begin(&json, NULL, '{');
	put_uint(&json, "unfreed", 1); /* version of this format */
	put_time(&json, "time", &snap->time);
	put_real(&json, "elapsed_s", snap->elapsed_s, 3);
	put_real(&json, "older_s", snap->older_s, 3);
	put_bool(&json, "last", snap->is_last);
	put_targets(&json, snap);
	put_uint(&json, "sample_bytes", snap->sample_bytes); /* 0: every allocation is recorded */
	put_totals(&json, snap);
	put_coverage(&json, snap);
	put_groups(&json, snap);
	begin(&json, "sites", '[');
	for (uint32_t i = 0; i < snap->site_cnt; i++)
		put_site(&json, snap, &snap->sites[i]);
	end(&json, ']');
	end(&json, '}');
	putc_unlocked('\n', out);
	return emit__finish(out);
}
