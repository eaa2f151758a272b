/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/anonymous_maps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct list {
	uint64_t (*intervals)[2];
	uint32_t cnt, size;
};

/*
 *	7f5c8a000000-7f5c8a021000 rw-p 00000000 00:00 0
 *	7f5c8b3f0000-7f5c8b7f0000 rw-s 00000000 00:01 1032    /dev/zero (deleted)
 *	7f5c8c000000-7f5c8c200000 rw-p 00000000 00:10 22      /anon_hugepage (deleted)
 */
static bool parse_line(const char *line, uint64_t *start, uint64_t *end)
{
	unsigned long inode;
	int path = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*4s %*x %*x:%*x %lu %n", start, end, &inode,
		   &path) < 3)
		return false;
	return !inode || !strncmp(line + path, "/dev/zero (deleted)", 19) ||
	       !strncmp(line + path, "/anon_hugepage (deleted)", 24);
}

static int add(struct list *list, uint64_t start, uint64_t end)
{
	uint64_t(*grown)[2];

	if (list->cnt && list->intervals[list->cnt - 1][1] == start) {
		list->intervals[list->cnt - 1][1] = end;
		return 0;
	}
	if (list->cnt == list->size) {
		uint32_t size = list->size ? 2 * list->size : 64;

		grown = reallocarray(list->intervals, size, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		list->intervals = grown;
		list->size = size;
	}
	list->intervals[list->cnt][0] = start;
	list->intervals[list->cnt++][1] = end;
	return 0;
}

int anonymous_maps__read(FILE *maps, uint64_t (**out)[2], uint32_t *cnt)
{
	struct list list = {0};
	char *line = NULL;
	size_t size = 0;
	uint64_t start, end;
	int err = 0;

	while (!err && getline(&line, &size, maps) >= 0)
		if (parse_line(line, &start, &end))
			err = add(&list, start, end);
	free(line);
	if (err) {
		free(list.intervals);
		list = (struct list){0};
	}
	*out = list.intervals;
	*cnt = list.cnt;
	return err;
}
