/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/nested_calls.h"

#include <stdlib.h>

#include "agent/frame_names.h"
#include "contract.h"
#include "probe/catalog.h"
#include "target/mapped_file.h"

struct code_ranges *code_ranges__new(const struct probe_points *points)
{
	struct code_ranges *code =
		malloc(sizeof(*code) + points->cnt * sizeof(code->ranges[0]));

	if (!code)
		return NULL;
	code->cnt = points->cnt;
	for (uint32_t i = 0; i < points->cnt; i++) {
		const struct probe_point *point = &points->points[i];

		code->ranges[i] = (struct code_range){
			point->func_offset, point->func_offset + point->func_bytes};
	}
	return code;
}

/* The call lies before the address that it returns to, which may be another function's. */
static bool has_call_before(const struct code_ranges *code, uint64_t offset)
{
	for (uint32_t i = 0; i < code->cnt; i++)
		if (offset > code->ranges[i].start && offset <= code->ranges[i].end)
			return true;
	return false;
}

bool stack__is_nested(const struct frame_names *names, const struct uf_stack *stack)
{
	for (uint32_t i = 0; i < stack->frame_cnt && i < UF_MAX_FRAMES; i++) {
		uint64_t frame = stack->frames[i], offset;
		const struct mapped_file *file;

		if (frame & UF_FRAME_INTERRUPTED)
			break;
		file = frame_names__file(names, stack, frame, &offset);
		if (file && file->allocator_code && has_call_before(file->allocator_code, offset))
			return true;
	}
	return false;
}
