/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "python/code_copy.h"

#include <errno.h>

#include "python.h"
#include "python/memory.h"

#define MAX_STR_CHARS       (1u << 20)
#define MAX_LINETABLE_BYTES (1u << 24)
#define BYTES_LENGTH        16 /* offset in a bytes object */
#define STATE_KIND(state)   ((state) >> 2 & 7)
#define STATE_ASCII(state)  ((state) >> 6 & 1)

bool code_copy__is_whole(const struct uf_python_code *copy)
{
	return copy->filename.kind && copy->qualname.kind && copy->linetable_byte_cnt;
}

/* As copy_str of bpf/python.bpf.h does. */
static int read_str(const struct python_memory *mem, const struct uf_python *layout,
		    uint64_t pointer, struct uf_python_str *out)
{
	uint64_t address, length, size;
	uint32_t state;
	int err = python_memory__read_u64(mem, pointer, &address);

	if (!err)
		err = python_memory__read_u64(mem, address + layout->str_length, &length);
	if (!err)
		err = python_memory__read_u32(mem, address + layout->str_state, &state);
	if (err)
		return err;
	if (length > MAX_STR_CHARS)
		return -EFBIG;
	*out = (struct uf_python_str){
		.length = length,
		.kind = STATE_KIND(state),
		.is_ascii = STATE_ASCII(state),
	};
	size = length * out->kind;
	out->byte_cnt = size < UF_PYTHON_STR_BYTES ? size : UF_PYTHON_STR_BYTES;
	address += out->is_ascii ? layout->str_ascii_data : layout->str_compact_data;
	return out->byte_cnt ? python_memory__read(mem, address, out->bytes, out->byte_cnt) : 0;
}

static int read_linetable(const struct python_memory *mem, const struct uf_python *layout,
			  struct uf_python_code *out)
{
	uint64_t bytes, length;
	int err = python_memory__read_u64(mem, out->address + layout->code_linetable, &bytes);

	if (!err)
		err = python_memory__read_u64(mem, bytes + BYTES_LENGTH, &length);
	if (err)
		return err;
	if (length > MAX_LINETABLE_BYTES)
		return -EFBIG;
	out->linetable_address = bytes + layout->bytes_data;
	out->linetable_length = length;
	out->linetable_byte_cnt =
		length < UF_PYTHON_LINETABLE_BYTES ? length : UF_PYTHON_LINETABLE_BYTES;
	if (!length)
		return 0;
	return python_memory__read(mem, out->linetable_address, out->linetable,
				   out->linetable_byte_cnt);
}

int code_copy__read_again(const struct python_memory *mem, const struct uf_python *layout,
			  struct uf_python_code *copy)
{
	struct uf_python_code again = *copy;
	uint32_t line = 0;
	int err = python_memory__read_u32(mem, copy->address + layout->code_firstlineno, &line);

	again.firstlineno = (int32_t)line;
	if (!err)
		err = read_str(mem, layout, copy->address + layout->code_filename, &again.filename);
	if (!err)
		err = read_str(mem, layout, copy->address + layout->code_qualname, &again.qualname);
	if (!err)
		err = read_linetable(mem, layout, &again);
	if (!err)
		*copy = again;
	return err;
}
