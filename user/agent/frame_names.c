/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/frame_names.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "contract.h"
#include "sym/symbolizer.h"
#include "target/mapping_log.h"

#define MAX_INLINED 32 /* frames at one address, the real function's included */

/*
 * The kernel maps the same vDSO into every process of our architecture: ours is the target's.
 * It is an ELF image of whole pages; the end of its section headers is the end of its contents.
 */
static struct sym_module *open_vdso(struct symbolizer *symbolizer)
{
	const Elf64_Ehdr *image = (const void *)getauxval(AT_SYSINFO_EHDR);

	if (!image || memcmp(image->e_ident, ELFMAG, SELFMAG) ||
	    image->e_ident[EI_CLASS] != ELFCLASS64)
		return NULL;
	return symbolizer__open_memory(symbolizer, image,
				       image->e_shoff + (size_t)image->e_shnum * image->e_shentsize,
				       "[vdso]");
}

/* The symbolizer's module of a mapped file, opened at first use; NULL if it has none. */
static struct sym_module *module_of(struct symbolizer *symbolizer, struct mapped_file *file)
{
	if (file->user || file->user_failed)
		return file->user;
	if (file->fd >= 0) {
		file->user = symbolizer__open_fd(symbolizer, file->fd, file->path);
		/* Probes and names are done with it; a descriptor a library would add up. */
		close(file->fd);
		file->fd = -EBADF;
	} else if (!strcmp(file->path, "[vdso]")) {
		file->user = open_vdso(symbolizer);
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
		     struct sym_module *module, const char *path, uint64_t offset)
{
	struct sym_frame names[MAX_INLINED];
	int n = symbolizer__resolve(symbolizer, module, offset, true, names, MAX_INLINED);

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

int frame_names__resolve(struct snapshot *snap, struct snapshot_site *site,
			 const struct uf_stack *stack, const struct mapping_log *mappings,
			 struct symbolizer *symbolizer)
{
	struct frame_list list = {.snap = snap};
	uint32_t cnt = stack->frame_cnt <= UF_MAX_FRAMES ? stack->frame_cnt : UF_MAX_FRAMES;

	for (uint32_t i = 0; i < cnt; i++) {
		const struct mapping *mapping = mapping_log__find(mappings, stack->tgid,
								  stack->ips[i], stack->time_ns);
		struct sym_module *module = NULL;
		uint64_t offset = stack->ips[i];
		int err;

		if (mapping) {
			offset = stack->ips[i] - mapping->start + mapping->file_offset;
			module = module_of(symbolizer, mapping->file);
		}
		err = module ? add_named(&list, symbolizer, module, mapping->file->path, offset)
			     : add_unknown(&list, mapping ? mapping->file->path : "", offset);
		if (err)
			return err;
	}
	site->frames = list.frames;
	site->frame_cnt = list.cnt;
	return 0;
}
