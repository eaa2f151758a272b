/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/frame_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pythons.h"
#include "agent/unwinder.h"
#include "contract.h"
#include "snapshot/site_id.h"
#include "sym/symbolizer.h"
#include "target/mapping_log.h"
#include "target/vdso.h"

#define MAX_INLINED 32 /* frames at one address, the real function's included */

/*
 * A file of a container, by its path in there, so that its debug files are found. By then the
 * process may be gone, and its number another's: the file has to do, then.
 */
static struct sym_module *open_foreign(struct symbolizer *symbolizer, const struct mapped_file *file,
				       pid_t pid)
{
	size_t size = strlen(file->path) + 32;
	char *path = malloc(size);
	struct sym_module *module;
	bool is_there = mapped_file__origin(pid) == file->origin && file->path[0] == '/';

	if (!path)
		return NULL;
	snprintf(path, size, "/proc/%d/root%s", (int)pid, file->path);
	module = symbolizer__open_foreign_fd(symbolizer, file->fd, is_there ? path : "",
					     file->origin);
	free(path);
	return module;
}

/* The symbolizer's module of a file that pid has mapped, opened at first use; NULL if it has
 * none. */
static struct sym_module *module_of(struct symbolizer *symbolizer, struct mapped_file *file,
				    pid_t pid)
{
	if (file->user || file->user_failed)
		return file->user;
	if (file->fd >= 0 && file->origin) {
		file->user = open_foreign(symbolizer, file, pid);
	} else if (file->fd >= 0) {
		file->user = symbolizer__open_fd(symbolizer, file->fd, file->path);
	} else if (is_vdso(file->path, file->inode)) {
		size_t size;
		const void *image = vdso_image(&size);

		if (image)
			file->user = symbolizer__open_memory(symbolizer, image, size, VDSO_NAME);
	}
	file->user_failed = !file->user;
	return file->user;
}

struct frame_list {
	struct snapshot *snap;
	struct snapshot_frame *frames;
	uint32_t cnt, capacity;
};

static struct snapshot_frame *add_frame(struct frame_list *list)
{
	struct snapshot_frame *frame;

	if (list->cnt == list->capacity) {
		uint32_t capacity = list->capacity ? list->capacity * 2 : 64;
		struct snapshot_frame *frames =
			snapshot__alloc(list->snap, capacity * sizeof(*frames));

		if (!frames)
			return NULL;
		if (list->cnt)
			memcpy(frames, list->frames, list->cnt * sizeof(*frames));
		list->frames = frames;
		list->capacity = capacity;
	}
	frame = &list->frames[list->cnt++];
	*frame = (struct snapshot_frame){
		.kind = FRAME_NATIVE,
		.module = "",
		.build_id = "",
		.function = "",
		.file = "",
	};
	return frame;
}

static int add_unknown(struct frame_list *list, const char *module, uint64_t offset)
{
	struct snapshot_frame *frame = add_frame(list);

	if (!frame)
		return -ENOMEM;
	frame->module = snapshot__strdup(list->snap, module);
	frame->offset = offset;
	return frame->module ? 0 : -ENOMEM;
}

static int add_named(struct frame_list *list, struct symbolizer *symbolizer,
		     struct sym_module *module, const char *path, uint64_t offset,
		     bool after_call)
{
	struct sym_frame names[MAX_INLINED];
	int n = symbolizer__resolve(symbolizer, module, offset, after_call, names, MAX_INLINED);

	for (int i = 0; i < n; i++) {
		struct snapshot_frame *frame = add_frame(list);

		if (!frame)
			return -ENOMEM;
		frame->module = snapshot__strdup(list->snap, path);
		frame->build_id = snapshot__strdup(list->snap, sym_module__build_id(module));
		frame->function = snapshot__strdup(list->snap, names[i].function);
		frame->file = snapshot__strdup(list->snap, names[i].file);
		if (!frame->module || !frame->build_id || !frame->function || !frame->file)
			return -ENOMEM;
		frame->line = names[i].line;
		frame->inlined = names[i].inlined;
		frame->offset = offset;
		frame->function_offset = names[i].offset;
	}
	return 0;
}

static bool is_python_frame(uint64_t frame)
{
	return (frame & (UF_FRAME_IN_FILE | UF_FRAME_PYTHON)) == UF_FRAME_PYTHON;
}

struct mapped_file *frame_names__file(const struct frame_names *names,
				      const struct uf_stack *stack, uint64_t frame,
				      uint64_t *offset)
{
	const struct mapping *mapping;

	*offset = 0;
	if (is_python_frame(frame))
		return NULL;
	if (frame & UF_FRAME_IN_FILE) {
		*offset = UF_FRAME_OFFSET(frame);
		return unwinder__file(names->unwinder, UF_FRAME_FILE(frame));
	}
	*offset = frame & ~UF_FRAME_INTERRUPTED;
	mapping = mapping_log__find(names->mappings, stack->tgid, *offset, stack->time_ns);
	if (!mapping)
		return NULL;
	*offset = *offset - mapping->start + mapping->file_offset;
	return mapping->file;
}

/*
 * From 3.12 on, calling a class may put a frame of the interpreter's own below that of __init__: it
 * checks what __init__ returns, and its code object has no lines. Python's tracebacks leave it out.
 */
static bool is_init_cleanup(const struct python_place *place)
{
	return !place->line && !strcmp(place->function, "__init__") &&
	       !strcmp(place->file, "__init__");
}

static int add_python(struct frame_list *list, const struct pythons *pythons,
		      const struct uf_stack *stack, uint64_t address)
{
	struct python_place place = pythons__place(pythons, stack->image, address, stack->time_ns);
	struct snapshot_frame *frame;

	if (is_init_cleanup(&place))
		return 0;
	frame = add_frame(list);
	if (!frame)
		return -ENOMEM;
	frame->kind = FRAME_PYTHON;
	frame->function = snapshot__strdup(list->snap, place.function);
	frame->file = snapshot__strdup(list->snap, place.file);
	frame->line = place.line;
	return frame->function && frame->file ? 0 : -ENOMEM;
}

static int add_native(struct frame_list *list, const struct frame_names *names,
		      const struct uf_stack *stack, uint64_t frame)
{
	uint64_t offset;
	struct mapped_file *file = frame_names__file(names, stack, frame, &offset);
	struct sym_module *module = file ? module_of(names->symbolizer, file, stack->tgid)
					 : NULL;

	uint32_t first = list->cnt;
	int err = module ? add_named(list, names->symbolizer, module, file->path, offset,
				     !(frame & UF_FRAME_INTERRUPTED))
			 : add_unknown(list, file ? file->path : "", offset);

	for (uint32_t i = first; file && i < list->cnt; i++)
		list->frames[i].is_interpreter = file->may_be_python;
	return err;
}

int frame_names__resolve(const struct frame_names *names, struct snapshot *snap,
			 struct snapshot_site *site, const struct uf_stack *stack)
{
	struct frame_list list = {.snap = snap};
	uint32_t cnt = stack->frame_cnt <= UF_MAX_FRAMES ? stack->frame_cnt : UF_MAX_FRAMES;

	/* Where the walk could not look at the mappings, neither can we say what was there. */
	bool is_last_unknown = stack->end == UF_END_BUSY;

	for (uint32_t i = 0; i < cnt; i++) {
		uint64_t frame = stack->frames[i];
		int err = is_last_unknown && i + 1 == cnt ? add_unknown(&list, "", frame)
			  : is_python_frame(frame)	  ? add_python(&list, names->pythons, stack, frame)
						 : add_native(&list, names, stack, frame);

		if (err)
			return err;
	}
	site->frames = list.frames;
	site->frame_cnt = list.cnt;
	return 0;
}

/* False: as an address it means something in this image only. */
static bool hash_native(const struct frame_names *names, const struct uf_stack *stack,
			uint64_t frame, uint64_t *id)
{
	uint64_t offset;
	struct mapped_file *file = frame_names__file(names, stack, frame, &offset);
	struct sym_module *module = file ? module_of(names->symbolizer, file, stack->tgid)
					 : NULL;
	const char *build_id = module ? sym_module__build_id(module) : "";

	*id = site_id__add(*id, offset);
	*id = site_id__add(*id, frame & UF_FRAME_INTERRUPTED);
	*id = site_id__add_text(*id, build_id);
	if (*build_id)
		return true;
	if (!file) {
		*id = site_id__add(*id, stack->image);
		return false;
	}
	/* Where a file is replaced by another build, only the inode tells them apart. */
	*id = site_id__add_text(*id, file->path);
	*id = site_id__add(*id, file->inode);
	return true;
}

static bool hash_python(const struct frame_names *names, const struct uf_stack *stack,
			uint64_t frame, uint64_t *id)
{
	struct python_place place =
		pythons__place(names->pythons, stack->image, frame, stack->time_ns);

	*id = site_id__add_text(*id, place.function);
	*id = site_id__add_text(*id, place.file);
	*id = site_id__add(*id, place.line);
	if (*place.function)
		return true;
	*id = site_id__add(site_id__add(*id, frame), stack->image);
	return false;
}

bool frame_names__hash(const struct frame_names *names, const struct uf_stack *stack,
		       uint64_t *id)
{
	uint32_t cnt = stack->frame_cnt <= UF_MAX_FRAMES ? stack->frame_cnt : UF_MAX_FRAMES;
	bool is_final = true;

	*id = site_id__add(SITE_ID_NEW, stack->end);
	for (uint32_t i = 0; i < cnt; i++) {
		uint64_t frame = stack->frames[i];

		is_final &= is_python_frame(frame) ? hash_python(names, stack, frame, id)
						   : hash_native(names, stack, frame, id);
	}
	return is_final;
}
