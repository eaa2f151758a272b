/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The function's symbol has the part of it that runs most. Rarely run parts are elsewhere: they
 * have symbols of their own (NAME.cold) in files that are not stripped, and are
 * found by the function's jumps in others (moved_code.h). "Rarely" is what the compiler
 * thought: Debian's executable of 3.14.10 has nearly all of the eval loop there.
 */
#include <errno.h>
#include <string.h>

#include "python/eval_loop.h"
#include "python/moved_code.h"

#define EVAL_LOOP "_PyEval_EvalFrameDefault"

struct range_list {
	struct uf_python_range *ranges;
	int cnt;
};

/* Ranges past UF_PYTHON_EVAL_RANGES are left out: rarely run parts, which come last. */
static void add_range(struct range_list *list, uint64_t start, uint64_t size_bytes)
{
	for (int i = 0; i < list->cnt; i++) {
		if (start >= list->ranges[i].start && start < list->ranges[i].end)
			return;
	}
	if (size_bytes && list->cnt < UF_PYTHON_EVAL_RANGES)
		list->ranges[list->cnt++] = (struct uf_python_range){ start, start + size_bytes };
}

static int see_whole(const struct elf_symbol *sym, void *arg)
{
	if (!strcmp(sym->name, EVAL_LOOP))
		add_range(arg, sym->file_offset, sym->size_bytes);
	return 0;
}

/* "_PyEval_EvalFrameDefault.cold" and the like: parts that the compiler moved away. */
static int see_part(const struct elf_symbol *sym, void *arg)
{
	if (!strncmp(sym->name, EVAL_LOOP ".", sizeof(EVAL_LOOP)))
		add_range(arg, sym->file_offset, sym->size_bytes);
	return 0;
}

/* Without unwind information, or with some that cannot be read, there are just no more parts. */
static int add_moved(struct range_list *list, int fd)
{
	struct moved_range found[UF_PYTHON_EVAL_RANGES];
	struct moved_code *moved = moved_code__new(fd);

	if (!moved)
		return errno == ENOMEM ? -ENOMEM : 0;
	for (int i = 0; i < list->cnt; i++) {
		const struct uf_python_range *range = &list->ranges[i];
		int cnt = moved_code__find(moved, range->start, range->end, found,
					   UF_PYTHON_EVAL_RANGES);

		for (int k = 0; k < cnt; k++)
			add_range(list, found[k].start, found[k].end - found[k].start);
	}
	moved_code__free(moved);
	return 0;
}

int eval_loop__find(const struct elf_image *img, int fd,
		    struct uf_python_range ranges[UF_PYTHON_EVAL_RANGES])
{
	struct range_list list = { .ranges = ranges };
	int err;

	memset(ranges, 0, sizeof(*ranges) * UF_PYTHON_EVAL_RANGES);
	err = elf_image__for_each_function(img, see_whole, &list);
	if (!err && !list.cnt)
		err = -ENOENT;
	if (!err)
		err = elf_image__for_each_function(img, see_part, &list);
	if (!err)
		err = add_moved(&list, fd);
	return err;
}
