/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/pythons.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/gc_watch.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "agent/unwinder.h"
#include "probe/catalog.h"
#include "probe/elf_image.h"
#include "python/code_copy.h"
#include "python/code_object.h"
#include "python/memory.h"
#include "python/new_pool.h"
#include "python/runtime.h"
#include "target/mapping_log.h"
#include "target/proc_info.h"

#define BUCKETS 4096 /* power of two */

struct kept_code {
	uint64_t address, time_ns;
	uf_image_id image;
	struct python_code *code;
	struct kept_code *next; /* in the bucket; of one address the latest first */
};

struct pythons {
	struct tracer *tracer;
	const struct mapping_log *mappings;
	struct gc_watch *gc_watch;
	struct unwinder *unwinder;
	struct kept_code *buckets[BUCKETS];
	bool is_waiting;
};

struct pythons *pythons__new(struct tracer *tracer, const struct mapping_log *mappings,
			     struct unwinder *unwinder, struct gc_watch *gc_watch)
{
	struct pythons *pythons = calloc(1, sizeof(*pythons));

	if (!pythons)
		return NULL;
	pythons->tracer = tracer;
	pythons->mappings = mappings;
	pythons->gc_watch = gc_watch;
	pythons->unwinder = unwinder;
	return pythons;
}

static void kept_code__free(struct kept_code *kept)
{
	python_code__free(kept->code);
	free(kept);
}

void pythons__free(struct pythons *pythons)
{
	if (!pythons)
		return;
	for (int i = 0; i < BUCKETS; i++) {
		while (pythons->buckets[i]) {
			struct kept_code *kept = pythons->buckets[i];

			pythons->buckets[i] = kept->next;
			kept_code__free(kept);
		}
	}
	free(pythons);
}

static struct kept_code **bucket_of(const struct pythons *pythons, uf_image_id image,
				    uint64_t address)
{
	uint64_t hash = (address >> 4) * 0x9e3779b97f4a7c15ULL + image;

	return (struct kept_code **)&pythons->buckets[hash >> 32 & (BUCKETS - 1)];
}

static bool is_python(const struct mapped_file *file)
{
	return file->may_be_python && file->number;
}

struct bias_search {
	const struct mapping *mapping;
	uint64_t bias;
};

/* Any function in the mapping tells how virtual addresses in the file and in memory differ. */
static int find_bias(const struct elf_symbol *symbol, void *arg)
{
	struct bias_search *search = arg;
	const struct mapping *mapping = search->mapping;
	uint64_t offset = symbol->file_offset - mapping->file_offset;

	if (symbol->file_offset < mapping->file_offset || offset >= mapping->end - mapping->start)
		return 0;
	search->bias = mapping->start + offset - symbol->vaddr;
	return 1;
}

static bool get_bias(const struct elf_image *image, const struct mapping *mapping, uint64_t *bias)
{
	struct bias_search search = {.mapping = mapping};

	if (elf_image__for_each_function(image, find_bias, &search) != 1)
		return false;
	*bias = search.bias;
	return true;
}

static enum python_status find_runtime(pid_t pid, const struct mapping *mapping,
				       struct python_runtime *runtime)
{
	struct python_file file = {.fd = mapping->file->fd, .path = mapping->file->path};
	struct elf_image *image;
	bool found;

	if (file.fd < 0)
		return PYTHON_ABSENT;
	image = elf_image__open_fd(file.fd);
	if (!image)
		return PYTHON_ABSENT;
	found = get_bias(image, mapping, &file.bias);
	elf_image__free(image);
	if (!found)
		return PYTHON_ABSENT;
	return python_runtime__find(&file, proc_info__read_memory, &pid, runtime);
}

/* Before frames of the interpreter are read: no code object must be freed unseen. */
static int watch_code_dealloc(struct pythons *pythons, pid_t pid, uint64_t address)
{
	const struct mapping *mapping =
		mapping_log__find(pythons->mappings, pid, address, UINT64_MAX);
	int err;

	if (!mapping || mapping->file->fd < 0)
		return -ENOENT;
	if (mapping->file->has_code_probe)
		return 0;
	err = tracer__attach_code_dealloc(pythons->tracer, mapping->file->fd,
					  address - mapping->start + mapping->file_offset);
	mapping->file->has_code_probe = !err;
	return err;
}

/* What is of interest beside its frames. */
static void begin(struct pythons *pythons, struct tracee *tracee, const struct mapping *mapping,
		  const struct python_runtime *runtime)
{
	memcpy(tracee->python_version, runtime->version, sizeof(tracee->python_version));
	gc_watch__begin(pythons->gc_watch, tracee, mapping->file->fd, &runtime->gc);
}

/* 0; -ENOENT: there is no function to probe; or another -errno. */
static int probe_new_pool(struct pythons *pythons, pid_t pid, const struct mapping *mapping)
{
	const struct python_memory mem = {proc_info__read_memory, &pid};
	struct elf_image *image = elf_image__open_fd(mapping->file->fd);
	struct new_pool new_pool;
	uint64_t bias;
	int err;

	if (!image)
		return -errno;
	err = get_bias(image, mapping, &bias)
		      ? new_pool__find(image, mapping->file->fd, &mem, bias, &new_pool)
		      : -ENOENT;
	if (!err)
		err = tracer__attach_new_pool(pythons->tracer, mapping->file->fd, new_pool.offsets,
					      new_pool.cnt);
	elf_image__free(image);
	return err;
}

static bool has_allocator(const struct mapped_file *file)
{
	return file->has_allocator;
}

static int find_exit(const struct elf_symbol *symbol, void *arg)
{
	uint64_t *offset = arg;

	if (strcmp(symbol->name, "_exit"))
		return 0;
	*offset = symbol->file_offset;
	return 1;
}

/*
 * Without it, what an ended process had is as of the last report. The libc has an allocator, too:
 * once that is probed it is known. False: to be tried again.
 */
static bool is_watched(const char *name)
{
	return !strcmp(name, "malloc") || !strcmp(name, "realloc") || !strcmp(name, "free");
}

/* Without them pools stay with who opened them. */
static void watch_calls(struct pythons *pythons, const struct mapping *mapping,
			const struct elf_image *image)
{
	struct probe_points points = {0};
	uint64_t *offsets;
	uint32_t cnt = 0;

	if (probe_points__find(image, "", &points))
		return;
	offsets = calloc(points.cnt + 1, sizeof(*offsets));
	for (uint32_t i = 0; offsets && i < points.cnt; i++)
		if (is_watched(points.points[i].name))
			offsets[cnt++] = points.points[i].probe_offset;
	if (cnt)
		tracer__attach_pool_watch(pythons->tracer, mapping->file->fd, offsets, cnt);
	free(offsets);
	probe_points__release(&points);
}

static bool watch_exit(struct pythons *pythons, pid_t pid)
{
	const struct mapping *mapping = mapping_log__first(pythons->mappings, pid, has_allocator);
	struct elf_image *image;
	uint64_t offset;

	if (!mapping)
		return false;
	if (mapping->file->exit_probe_is_tried)
		return true;
	mapping->file->exit_probe_is_tried = true;
	image = elf_image__open_fd(mapping->file->fd);
	if (image && elf_image__for_each_function(image, find_exit, &offset) == 1)
		tracer__attach_exit(pythons->tracer, mapping->file->fd, offset);
	if (image)
		watch_calls(pythons, mapping, image);
	elf_image__free(image);
	return true;
}

/* Pools have had 16 KiB since 3.10. */
static uint32_t pool_bytes(uint32_t version_hex)
{
	return version_hex < 0x030a0000 ? 4096 : 16384;
}

/*
 * Small objects: pools opened from now on are seen, by the function that opens them or, where it is
 * not found, by page faults.
 */
static void watch_pools(struct pythons *pythons, struct tracee *tracee,
			const struct mapping *mapping, struct uf_python *layout)
{
	struct mapped_file *file = mapping->file;
	int err;

	if (!tracer__wants_pools(pythons->tracer)) {
		snprintf(tracee->pool_note, sizeof(tracee->pool_note),
			 "Python's objects of up to 512 bytes are not traced: --pools on has them");
		return;
	}
	if (!file->pool_probe_is_tried) {
		file->pool_probe_is_tried = true;
		file->pool_probe_err = probe_new_pool(pythons, tracee->pid, mapping);
	}
	err = file->pool_probe_err ? tracer__attach_pool_fault(pythons->tracer) : 0;
	if (err)
		snprintf(tracee->pool_note, sizeof(tracee->pool_note),
			 "Python's objects of up to 512 bytes are not traced: %s",
			 file->pool_probe_err == -ENOENT ? "the function that opens pools is not found"
							 : strerror(-file->pool_probe_err));
	else if (file->pool_probe_err)
		snprintf(tracee->pool_note, sizeof(tracee->pool_note),
			 "Python's objects of up to 512 bytes are seen by page faults: only in memory "
			 "that was not used before");
	tracee->python_wants_exit = !err;
	if (err || !file->pool_probe_err)
		return;
	/* A fault interrupts anywhere, not only at calls. Without them the stacks are cut. */
	unwinder__add_file(pythons->unwinder, file, true);
	layout->fault_code_start = mapping->start;
	layout->fault_code_end = mapping->end;
	layout->fault_pool_bytes = pool_bytes(layout->version_hex);
}

/* False: to be looked at again. */
static bool look_at(struct pythons *pythons, struct tracee *tracee)
{
	const struct mapping *mapping = mapping_log__first(pythons->mappings, tracee->pid, is_python);
	struct python_runtime runtime = {0};
	int err;

	if (!mapping) {
		tracee->has_no_python = true;
		return false;
	}
	switch (find_runtime(tracee->pid, mapping, &runtime)) {
	case PYTHON_NOT_YET:
		pythons->is_waiting = true;
		return false;
	case PYTHON_FOUND:
		runtime.layout.eval_file = mapping->file->number;
		err = watch_code_dealloc(pythons, tracee->pid, runtime.code_dealloc_address);
		if (!err) {
			watch_pools(pythons, tracee, mapping, &runtime.layout);
			err = tracer__set_python(pythons->tracer, tracee->image, &runtime.layout);
		}
		if (err)
			snprintf(tracee->python_note, sizeof(tracee->python_note),
				 "Python %s frames unavailable: cannot watch code objects (%s)",
				 runtime.version, strerror(-err));
		begin(pythons, tracee, mapping, &runtime);
		return true;
	case PYTHON_UNAVAILABLE:
		snprintf(tracee->python_note, sizeof(tracee->python_note), "%s", runtime.why);
		begin(pythons, tracee, mapping, &runtime);
		return true;
	case PYTHON_ABSENT:
		break;
	}
	return true;
}

void pythons__look(struct pythons *pythons, struct tracees *tracees)
{
	pythons->is_waiting = false;
	for (struct tracee *tracee = tracees__first(tracees); tracee; tracee = tracee->next) {
		/* Until it executes, a launched process is a copy of ourselves. */
		if (tracee->has_no_python || tracee->has_ended || tracee->is_dropped ||
		    tracee->waits_exec)
			continue;
		if (!tracee->python_is_known)
			tracee->python_is_known = look_at(pythons, tracee);
		if (tracee->python_wants_exit)
			tracee->python_wants_exit = !watch_exit(pythons, tracee->pid);
	}
}

bool pythons__is_waiting(const struct pythons *pythons)
{
	return pythons->is_waiting;
}

/* A line table longer than the copy: the rest is read now, from the process if it is still there. */
static void complete_linetable(struct python_code *code, pid_t pid)
{
	uint64_t address;
	uint32_t length;
	void *bytes;

	if (!python_code__needs_more(code, &address, &length))
		return;
	bytes = malloc(length);
	if (bytes && !proc_info__read_memory(&pid, address, bytes, length))
		python_code__set_linetable(code, bytes, length);
	free(bytes);
}

/* What the probe could not read, while the code object is still there. */
static void complete_copy(const struct pythons *pythons, struct uf_python_code *copy)
{
	pid_t pid = copy->tgid;
	const struct python_memory mem = {proc_info__read_memory, &pid};
	struct uf_python_code again = *copy;
	struct uf_python layout;

	if (code_copy__is_whole(copy) || tracer__get_python(pythons->tracer, copy->image, &layout))
		return;
	if (!code_copy__read_again(&mem, &layout, &again) &&
	    tracer__knows_code(pythons->tracer, copy->image, copy->address))
		*copy = again;
}

void pythons__add_code(struct pythons *pythons, const struct uf_python_code *sent)
{
	struct kept_code **bucket = bucket_of(pythons, sent->image, sent->address);
	struct kept_code *kept = calloc(1, sizeof(*kept));
	struct uf_python_code copy = *sent;

	if (!kept)
		return; /* its frames have no names */
	complete_copy(pythons, &copy);
	kept->code = python_code__new(&copy);
	if (!kept->code) {
		free(kept);
		return;
	}
	complete_linetable(kept->code, copy.tgid);
	kept->address = copy.address;
	kept->image = copy.image;
	kept->time_ns = copy.time_ns;
	kept->next = *bucket;
	*bucket = kept;
}

void pythons__forget(struct pythons *pythons, uf_image_id image)
{
	for (int i = 0; i < BUCKETS; i++) {
		struct kept_code **link = &pythons->buckets[i];

		while (*link) {
			struct kept_code *kept = *link;

			if (kept->image != image) {
				link = &kept->next;
				continue;
			}
			*link = kept->next;
			kept_code__free(kept);
		}
	}
}

struct python_place pythons__place(const struct pythons *pythons, uf_image_id image,
				   uint64_t frame, uint64_t time_ns)
{
	uint64_t address = UF_PYTHON_FRAME_CODE(frame);
	uint32_t unit = UF_PYTHON_FRAME_UNIT(frame);
	const struct kept_code *kept = *bucket_of(pythons, image, address);

	/* The latest that was there when the stack was seen. */
	while (kept && (kept->address != address || kept->image != image || kept->time_ns > time_ns))
		kept = kept->next;
	if (!kept)
		return (struct python_place){"", "", 0};
	return (struct python_place){
		.function = python_code__qualname(kept->code),
		.file = python_code__filename(kept->code),
		.line = python_code__line(kept->code,
					  unit == UF_PYTHON_AT_START ? UINT32_MAX : unit * 2),
	};
}
