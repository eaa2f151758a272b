/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The layouts of CPython 3.8 - 3.14 on x86-64, an entry a minor version: 3.8 - 3.13 from DWARF of
 * builds of them, 3.14 from the debug offsets and the memory of Debian's 3.14.10. Not every
 * patch release was looked at, which is why nothing is believed before verify.c has
 * tried it on the live process.
 *
 * From 3.13 on the interpreter carries _Py_DebugOffsets, a table of its own at the start
 * of _PyRuntime: a fixed sequence of u64 in groups, a group a structure, each beginning with the
 * structure's size, against which its offsets are checked. It wins where releases
 * differ (the interpreter's state, which is long and often changed); frames and code
 * objects must be as in our table, or we do not know this Python. It does not tell where the
 * key of the thread state is, nor how an instruction or an owner is written.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "python/offsets.h"
#include "python/version.h"

#define MAJOR_MINOR(version_hex) ((version_hex) >> 16)

/* clang-format off */
static const struct python_offsets table[] = {
	{
		.runtime_initialized = 12, .runtime_interpreters_head = 32, .runtime_tss_key = 1392,
		.runtime_gc = 344,
		.interp_next = 0, .interp_threads_head = 8,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 176,
		.layout = {
			.version_hex = 0x03080000,
			.layout = UF_PYTHON_FRAME_OBJECTS,
			.instr = UF_PYTHON_LASTI_BYTES,
			.entry = UF_PYTHON_ENTRY_EACH,
			.tstate_frame = 24,
			.frame_code = 32, .frame_previous = 24, .frame_instr = 104, .frame_size = 112,
			.code_filename = 104, .code_qualname = 112, .code_name = 112, .code_firstlineno = 40,
			.code_linetable = 120, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 48, .str_compact_data = 72,
		},
	},
	{
		.runtime_initialized = 12, .runtime_interpreters_head = 32, .runtime_tss_key = 584,
		.interp_next = 0, .interp_threads_head = 8, .interp_gc = 616,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 176,
		.layout = {
			.version_hex = 0x03090000,
			.layout = UF_PYTHON_FRAME_OBJECTS,
			.instr = UF_PYTHON_LASTI_BYTES,
			.entry = UF_PYTHON_ENTRY_EACH,
			.tstate_frame = 24,
			.frame_code = 32, .frame_previous = 24, .frame_instr = 104, .frame_size = 112,
			.code_filename = 104, .code_qualname = 112, .code_name = 112, .code_firstlineno = 40,
			.code_linetable = 120, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 48, .str_compact_data = 72,
		},
	},
	{
		.runtime_initialized = 12, .runtime_interpreters_head = 32, .runtime_tss_key = 584,
		.interp_next = 0, .interp_threads_head = 8, .interp_gc = 616,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 176,
		.layout = {
			.version_hex = 0x030a0000,
			.layout = UF_PYTHON_FRAME_OBJECTS,
			.instr = UF_PYTHON_LASTI_UNITS,
			.entry = UF_PYTHON_ENTRY_EACH,
			.tstate_frame = 24,
			.frame_code = 32, .frame_previous = 24, .frame_instr = 96, .frame_size = 104,
			.code_filename = 104, .code_qualname = 112, .code_name = 112, .code_firstlineno = 40,
			.code_linetable = 120, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 48, .str_compact_data = 72,
		},
	},
	{
		.runtime_initialized = 16, .runtime_interpreters_head = 40, .runtime_tss_key = 592,
		.interp_next = 0, .interp_threads_head = 16, .interp_gc = 648,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 152,
		.layout = {
			.version_hex = 0x030b0000,
			.layout = UF_PYTHON_CFRAME,
			.instr = UF_PYTHON_PREV_INSTR,
			.entry = UF_PYTHON_ENTRY_FLAG,
			.tstate_frame = 56, .cframe_current_frame = 8,
			.frame_code = 32, .frame_previous = 48, .frame_instr = 56, .frame_owner = 68,
			.frame_size = 72,
			.code_instrs = 184, .code_filename = 112, .code_qualname = 128, .code_name = 120,
			.code_firstlineno = 72, .code_linetable = 136, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 48, .str_compact_data = 72,
		},
	},
	{
		.runtime_initialized = 16, .runtime_interpreters_head = 40, .runtime_tss_key = 1544,
		.interp_next = 0, .interp_threads_head = 72, .interp_gc = 112,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 136,
		.layout = {
			.version_hex = 0x030c0000,
			.layout = UF_PYTHON_CFRAME,
			.instr = UF_PYTHON_PREV_INSTR,
			.entry = UF_PYTHON_ENTRY_CSTACK,
			.tstate_frame = 56, .cframe_current_frame = 0,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 70,
			.frame_size = 72, .owner_cstack = 3,
			.code_instrs = 192, .code_filename = 112, .code_qualname = 128, .code_name = 120,
			.code_firstlineno = 68, .code_linetable = 136, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 40, .str_compact_data = 56,
		},
	},
	{
		.runtime_initialized = 600, .runtime_interpreters_head = 632, .runtime_tss_key = 2160,
		.interp_next = 7264, .interp_threads_head = 7344, .interp_gc = 7400,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 152,
		.layout = {
			.version_hex = 0x030d0000,
			.layout = UF_PYTHON_CURRENT_FRAME,
			.instr = UF_PYTHON_INSTR_PTR,
			.entry = UF_PYTHON_ENTRY_CSTACK,
			.tstate_frame = 72,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 70,
			.frame_size = 72, .owner_cstack = 3,
			.code_instrs = 200, .code_filename = 112, .code_qualname = 128, .code_name = 120,
			.code_firstlineno = 68, .code_linetable = 136, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 40, .str_compact_data = 56,
		},
	},
	{
		.runtime_initialized = 776, .runtime_interpreters_head = 808, .runtime_tss_key = 2336,
		.interp_next = 7272, .interp_threads_head = 7344, .interp_gc = 7408,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 152,
		.layout = {
			.version_hex = 0x030e0000,
			.layout = UF_PYTHON_CURRENT_FRAME,
			.instr = UF_PYTHON_INSTR_PTR,
			.entry = UF_PYTHON_ENTRY_CSTACK,
			.tstate_frame = 72,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 74,
			.frame_size = 80, .owner_cstack = 3, .frame_code_tagged = 1,
			.code_instrs = 208, .code_filename = 112, .code_qualname = 128, .code_name = 120,
			.code_firstlineno = 68, .code_linetable = 136, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 40, .str_compact_data = 56,
		},
	},
};
/* clang-format on */

const struct python_offsets *python_offsets__for_version(uint32_t version_hex)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (MAJOR_MINOR(table[i].layout.version_hex) == MAJOR_MINOR(version_hex))
			return &table[i];
	}
	return NULL;
}

/* -- _Py_DebugOffsets -- */

#define COOKIE           "xdebugpy"
#define DEBUG_WORDS_MAX  96
#define SIZE_MAX_BYTES   (4u << 20) /* of a structure; _PyRuntimeState, the longest, has 280 KB */
#define UTF8_CACHE_BYTES 16         /* what PyCompactUnicodeObject has past PyASCIIObject */

enum { WORD_COOKIE, WORD_VERSION, WORD_FREE_THREADED, WORD_RUNTIME_STATE };

/* Where groups begin, in u64 from the start. What is in a group has kept its place there. */
struct debug_groups {
	uint32_t version_hex;
	uint8_t interpreter_state, thread_state, interpreter_frame, code_object, bytes_object,
		unicode_object;
	uint8_t interpreter_gc; /* word of interpreter_state */
};

static const struct debug_groups all_groups[] = {
	{ PYTHON_VERSION_HEX(3, 13), 6, 19, 28, 34, 64, 67, 4 },
	{ PYTHON_VERSION_HEX(3, 14), 6, 22, 31, 39, 74, 77, 5 },
};

struct debug_reader {
	uint64_t words[DEBUG_WORDS_MAX];
	bool is_bad; /* an offset is past its structure */
};

/* The index-th word of a group: an offset into the structure whose size the group begins with. */
static uint32_t offset_in(struct debug_reader *reader, uint8_t group, int index)
{
	uint64_t size = reader->words[group], offset = reader->words[group + index];

	if (size > SIZE_MAX_BYTES || offset >= size) {
		reader->is_bad = true;
		return 0;
	}
	return (uint32_t)offset;
}

/* As offset_in, for what has 16 bits in struct uf_python. */
static uint16_t offset16_in(struct debug_reader *reader, uint8_t group, int index)
{
	uint32_t offset = offset_in(reader, group, index);

	if (offset > UINT16_MAX)
		reader->is_bad = true;
	return (uint16_t)offset;
}

static void take_layout(struct debug_reader *reader, const struct debug_groups *groups,
			struct uf_python *layout)
{
	layout->tstate_frame = offset16_in(reader, groups->thread_state, 4);
	layout->frame_previous = offset16_in(reader, groups->interpreter_frame, 1);
	layout->frame_code = offset16_in(reader, groups->interpreter_frame, 2);
	layout->frame_instr = offset16_in(reader, groups->interpreter_frame, 3);
	layout->frame_owner = offset16_in(reader, groups->interpreter_frame, 5);
	layout->code_filename = offset16_in(reader, groups->code_object, 1);
	layout->code_name = offset16_in(reader, groups->code_object, 2);
	layout->code_qualname = offset16_in(reader, groups->code_object, 3);
	layout->code_linetable = offset16_in(reader, groups->code_object, 4);
	layout->code_firstlineno = offset16_in(reader, groups->code_object, 5);
	layout->code_instrs = offset16_in(reader, groups->code_object, 9);
	layout->bytes_data = offset16_in(reader, groups->bytes_object, 2);
	layout->str_state = offset16_in(reader, groups->unicode_object, 1);
	layout->str_length = offset16_in(reader, groups->unicode_object, 2);
	layout->str_ascii_data = offset16_in(reader, groups->unicode_object, 3);
	layout->str_compact_data = layout->str_ascii_data + UTF8_CACHE_BYTES;
}

static void take_states(struct debug_reader *reader, const struct debug_groups *groups,
			struct python_offsets *out)
{
	out->runtime_interpreters_head = offset_in(reader, WORD_RUNTIME_STATE, 2);
	out->interp_next = offset_in(reader, groups->interpreter_state, 2);
	out->interp_threads_head = offset_in(reader, groups->interpreter_state, 3);
	out->interp_gc = offset_in(reader, groups->interpreter_state, groups->interpreter_gc);
	out->tstate_next = offset_in(reader, groups->thread_state, 2);
	out->tstate_interp = offset_in(reader, groups->thread_state, 3);
	out->tstate_thread_id = offset_in(reader, groups->thread_state, 5);
}

static const struct debug_groups *groups_for_version(uint32_t version_hex)
{
	for (size_t i = 0; i < sizeof(all_groups) / sizeof(all_groups[0]); i++) {
		if (MAJOR_MINOR(all_groups[i].version_hex) == MAJOR_MINOR(version_hex))
			return &all_groups[i];
	}
	return NULL;
}

/* Says what is wrong, or NULL. */
static const char *take_debug(struct debug_reader *reader, uint32_t version_hex,
			      struct python_offsets *out)
{
	const struct python_offsets *known = python_offsets__for_version(version_hex);
	const struct debug_groups *groups = groups_for_version(version_hex);

	if (memcmp(&reader->words[WORD_COOKIE], COOKIE, sizeof(uint64_t)))
		return "_PyRuntime does not begin with debug offsets";
	if (reader->words[WORD_VERSION] != version_hex)
		return "its debug offsets are of another version";
	if (reader->words[WORD_FREE_THREADED])
		return "free-threaded builds are not supported";
	if (!known || !groups)
		return "this version is not known";
	*out = *known;
	take_states(reader, groups, out);
	take_layout(reader, groups, &out->layout);
	if (reader->is_bad)
		return "its debug offsets are not plausible";
	if (memcmp(&out->layout, &known->layout, sizeof(out->layout)))
		return "its debug offsets are not as known of this version";
	out->layout.version_hex = version_hex;
	return NULL;
}

int python_offsets__from_debug(const struct python_memory *mem, uint64_t runtime_address,
			       uint32_t version_hex, struct python_offsets *out, char *why,
			       size_t why_size)
{
	struct debug_reader reader = { 0 };
	const char *wrong;
	int err = python_memory__read(mem, runtime_address, reader.words, sizeof(reader.words));

	if (err)
		return err;
	wrong = take_debug(&reader, version_hex, out);
	if (!wrong)
		return 0;
	snprintf(why, why_size, "%s", wrong);
	return -EINVAL;
}
