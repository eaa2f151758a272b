/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/pythons.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "agent/gc_watch.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "probe/elf_image.h"
#include "python/code_object.h"
#include "python/runtime.h"
#include "target/mapping_log.h"

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
	struct kept_code *buckets[BUCKETS];
	bool is_waiting;
};

struct pythons *pythons__new(struct tracer *tracer, const struct mapping_log *mappings,
			     struct gc_watch *gc_watch)
{
	struct pythons *pythons = calloc(1, sizeof(*pythons));

	if (!pythons)
		return NULL;
	pythons->tracer = tracer;
	pythons->mappings = mappings;
	pythons->gc_watch = gc_watch;
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

static int read_process(void *arg, uint64_t address, void *buf, size_t size)
{
	pid_t pid = *(pid_t *)arg;
	struct iovec local = {buf, size}, remote = {(void *)(uintptr_t)address, size};
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EFAULT;
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

static enum python_status find_runtime(pid_t pid, const struct mapping *mapping,
				       struct python_runtime *runtime)
{
	struct bias_search search = {.mapping = mapping};
	struct python_file file = {.fd = mapping->file->fd, .path = mapping->file->path};
	struct elf_image *image;
	int found;

	if (file.fd < 0)
		return PYTHON_ABSENT;
	image = elf_image__open_fd(file.fd);
	if (!image)
		return PYTHON_ABSENT;
	found = elf_image__for_each_function(image, find_bias, &search);
	elf_image__free(image);
	if (found != 1)
		return PYTHON_ABSENT;
	file.bias = search.bias;
	return python_runtime__find(&file, read_process, &pid, runtime);
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
		if (!err)
			err = tracer__set_python(pythons->tracer, tracee->image, &runtime.layout);
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
		if (tracee->python_is_known || tracee->has_no_python || tracee->has_ended ||
		    tracee->is_dropped || tracee->waits_exec)
			continue;
		tracee->python_is_known = look_at(pythons, tracee);
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
	if (bytes && !read_process(&pid, address, bytes, length))
		python_code__set_linetable(code, bytes, length);
	free(bytes);
}

void pythons__add_code(struct pythons *pythons, const struct uf_python_code *copy)
{
	struct kept_code **bucket = bucket_of(pythons, copy->image, copy->address);
	struct kept_code *kept = calloc(1, sizeof(*kept));

	if (!kept)
		return; /* its frames have no names */
	kept->code = python_code__new(copy);
	if (!kept->code) {
		free(kept);
		return;
	}
	complete_linetable(kept->code, copy->tgid);
	kept->address = copy->address;
	kept->image = copy->image;
	kept->time_ns = copy->time_ns;
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
