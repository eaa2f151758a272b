/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "python/eval_loop.h"

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

int eval_loop__find(const struct elf_image *img, int fd,
		    struct uf_python_range ranges[UF_PYTHON_EVAL_RANGES])
{
	struct range_list list = { .ranges = ranges };
	int err;

	(void)fd;
	memset(ranges, 0, sizeof(*ranges) * UF_PYTHON_EVAL_RANGES);
	err = elf_image__for_each_function(img, see_whole, &list);
	if (!err && !list.cnt)
		err = -ENOENT;
	if (!err)
		err = elf_image__for_each_function(img, see_part, &list);
	return err;
}
