/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A wrong offset yields a pointer to something else, or no pointer at all. So each object met
 * has to have the type that it must have, which is told by the type's name,
 * and numbers have to be possible. A chain of such frames to its end, or of
 * FRAMES_ENOUGH of them, is not met by chance.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "python/verify.h"

#define FRAMES_ENOUGH    64
#define THREADS_ENOUGH   16 /* with frames */
#define STR_MAX_LENGTH   (1u << 20)
#define BYTES_MAX_LENGTH (16u << 20)
#define INSTRS_MAX       (64u << 20)
#define CODE_UNIT_BYTES  2
#define FRAME_MAX_BYTES  128
#define TYPE_NAME_BYTES  8
/* The same in all versions: PyObject, PyVarObject, PyTypeObject. */
#define OBJECT_TYPE 8
#define OBJECT_SIZE 16
#define TYPE_NAME   24
/* co_code, a bytes object, in 3.8 - 3.10; later versions end with the code itself. */
#define CODE_CODE_BYTES 48
/* References of 3.14 have tags in their lowest bits. */
#define TAG_MASK 7ull

enum checked_type { TYPE_CODE, TYPE_STR, TYPE_BYTES, TYPE_CNT };
static const char *const type_names[TYPE_CNT] = { "code", "str", "bytes" };

struct check {
	const struct python_memory *mem;
	const struct uf_python *layout;
	uint64_t types[TYPE_CNT]; /* once they were seen to have the name */
	uint64_t code_type;
	uint32_t code_cnt; /* good ones, of the thread's frames */
	const char *what;
};

/* Notes what is wrong. */
static bool is_wrong(struct check *check, const char *what)
{
	check->what = what;
	return false;
}

static bool has_type(struct check *check, uint64_t object, enum checked_type which)
{
	char name[TYPE_NAME_BYTES];
	uint64_t type, name_address;

	if (object & 7 || python_memory__read_u64(check->mem, object + OBJECT_TYPE, &type))
		return false;
	if (type == check->types[which])
		return true;
	if (which == TYPE_CODE && check->code_type && type != check->code_type)
		return false;
	if (python_memory__read_u64(check->mem, type + TYPE_NAME, &name_address) ||
	    python_memory__read(check->mem, name_address, name, strlen(type_names[which]) + 1) ||
	    memcmp(name, type_names[which], strlen(type_names[which]) + 1))
		return false;
	check->types[which] = type;
	return true;
}

static bool is_str(struct check *check, uint64_t object)
{
	const struct uf_python *layout = check->layout;
	uint64_t length;
	uint32_t state, kind;

	if (!has_type(check, object, TYPE_STR) ||
	    python_memory__read_u64(check->mem, object + layout->str_length, &length) ||
	    python_memory__read_u32(check->mem, object + layout->str_state, &state))
		return false;
	kind = state >> 2 & 7;
	return length <= STR_MAX_LENGTH && (kind == 1 || kind == 2 || kind == 4) &&
	       (state >> 5 & 1);
}

static bool is_bytes(struct check *check, uint64_t object, uint64_t *length)
{
	return has_type(check, object, TYPE_BYTES) &&
	       !python_memory__read_u64(check->mem, object + OBJECT_SIZE, length) &&
	       *length <= BYTES_MAX_LENGTH;
}

/* Is the frame's instruction one of the code's, or the one before its first? */
static bool is_instr_in_code(struct check *check, uint64_t code, const uint8_t *frame)
{
	const struct uf_python *layout = check->layout;
	uint64_t co_code, size, instr;
	int32_t lasti;

	if (layout->layout == UF_PYTHON_FRAME_OBJECTS) {
		memcpy(&lasti, frame + layout->frame_instr, sizeof(lasti));
		if (layout->instr == UF_PYTHON_LASTI_UNITS)
			lasti = lasti < 0 || lasti > INT32_MAX / 2 ? lasti : lasti * 2;
		return !python_memory__read_u64(check->mem, code + CODE_CODE_BYTES, &co_code) &&
		       is_bytes(check, co_code, &size) && lasti >= -1 &&
		       lasti < (int64_t)size;
	}
	memcpy(&instr, frame + layout->frame_instr, sizeof(instr));
	instr -= code + layout->code_instrs;
	return !python_memory__read_u64(check->mem, code + OBJECT_SIZE, &size) &&
	       size <= INSTRS_MAX && !(instr & 1) &&
	       (instr == (uint64_t)-CODE_UNIT_BYTES || instr <= size * CODE_UNIT_BYTES);
}

static bool is_code(struct check *check, uint64_t code)
{
	const struct uf_python *layout = check->layout;
	uint64_t filename, name, linetable, length;
	int32_t first_line;

	if (!has_type(check, code, TYPE_CODE))
		return is_wrong(check, "a frame has no code object");
	if (python_memory__read_u64(check->mem, code + layout->code_filename, &filename) ||
	    !is_str(check, filename))
		return is_wrong(check, "a code object has no file name");
	if (python_memory__read_u64(check->mem, code + layout->code_qualname, &name) ||
	    !is_str(check, name))
		return is_wrong(check, "a code object has no name");
	if (python_memory__read_u64(check->mem, code + layout->code_linetable, &linetable) ||
	    !is_bytes(check, linetable, &length))
		return is_wrong(check, "a code object has no line table");
	if (python_memory__read(check->mem, code + layout->code_firstlineno, &first_line,
				sizeof(first_line)) ||
	    first_line < 0)
		return is_wrong(check, "a code object has no first line");
	return true;
}

static bool is_shim(const struct uf_python *layout, const uint8_t *frame)
{
	return layout->entry == UF_PYTHON_ENTRY_CSTACK &&
	       frame[layout->frame_owner] == layout->owner_cstack;
}

/* Steps *frame to the one that called it. */
static bool check_frame(struct check *check, uint64_t *frame)
{
	const struct uf_python *layout = check->layout;
	uint8_t bytes[FRAME_MAX_BYTES];
	uint64_t code;

	if (layout->frame_size > sizeof(bytes) ||
	    python_memory__read(check->mem, *frame, bytes, layout->frame_size))
		return is_wrong(check, "a frame cannot be read");
	memcpy(frame, bytes + layout->frame_previous, sizeof(*frame));
	if (is_shim(layout, bytes))
		return true;
	memcpy(&code, bytes + layout->frame_code, sizeof(code));
	if (layout->frame_code_tagged)
		code &= ~TAG_MASK;
	if (!is_code(check, code))
		return false;
	if (!is_instr_in_code(check, code, bytes))
		return is_wrong(check, "a frame is outside of its code");
	if (layout->entry == UF_PYTHON_ENTRY_FLAG && bytes[layout->frame_owner] > 1)
		return is_wrong(check, "a frame's entry mark is none");
	check->code_cnt++;
	return true;
}

/* The innermost frame of a thread; 0: none. */
static int first_frame(const struct check *check, uint64_t tstate, uint64_t *frame)
{
	const struct uf_python *layout = check->layout;
	int err = python_memory__read_u64(check->mem, tstate + layout->tstate_frame, frame);

	if (!err && layout->layout == UF_PYTHON_CFRAME && *frame)
		err = python_memory__read_u64(check->mem, *frame + layout->cframe_current_frame,
					      frame);
	return err;
}

static void check_thread(struct check *check, uint64_t tstate, struct python_evidence *out)
{
	uint64_t frame;

	check->code_cnt = 0;
	if (first_frame(check, tstate, &frame)) {
		is_wrong(check, "a thread's frame cannot be found");
		out->bad_cnt++;
		return;
	}
	for (int depth = 0; frame && depth < FRAMES_ENOUGH; depth++) {
		if (!check_frame(check, &frame)) {
			out->bad_cnt++;
			return;
		}
	}
	if (check->code_cnt)
		out->good_cnt++;
	else
		out->idle_cnt++;
}

void python_verify__frames(const struct python_memory *mem, const struct uf_python *layout,
			   const struct python_threads *threads, uint64_t code_type,
			   struct python_evidence *out)
{
	struct check check = { .mem = mem, .layout = layout, .code_type = code_type };

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < threads->cnt && out->good_cnt + out->bad_cnt < THREADS_ENOUGH; i++)
		check_thread(&check, threads->threads[i].tstate, out);
	if (check.what)
		snprintf(out->what, sizeof(out->what), "%s", check.what);
}
