/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The layouts of CPython 3.8 - 3.14 on x86-64.
 *
 * 3.8 - 3.13: a column a version, from DWARF of the releases (8 builds; they
 * do not change within a minor version in what is used here). From 3.13 on the interpreter
 * carries _Py_DebugOffsets, a table of its own at the start of _PyRuntime, which wins: a
 * distribution that patches a structure is then read right. It does not tell where the key of
 * the thread state is, nor how an instruction or an owner is written; that is known by version.
 *
 * _Py_DebugOffsets is a fixed sequence of u64, in groups, one a structure; each group begins
 * with the structure's size, against which its offsets are checked.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "python/offsets.h"

#define MAJOR_MINOR(version_hex) ((version_hex) >> 16)

/* clang-format off */
static const struct python_offsets table[] = {
	{
		.runtime_initialized = 12, .runtime_interpreters_head = 32, .runtime_tss_key = 1392,
		.interp_next = 0, .interp_threads_head = 8,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 176,
		.layout = {
			.version_hex = 0x03080000,
			.layout = UF_PYTHON_FRAME_OBJECTS,
			.instr = UF_PYTHON_LASTI_BYTES,
			.entry = UF_PYTHON_ENTRY_EACH,
			.tstate_frame = 24,
			.frame_code = 32, .frame_previous = 24, .frame_instr = 104, .frame_size = 112,
			.code_filename = 104, .code_qualname = 112, .code_firstlineno = 40,
			.code_linetable = 120, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 48, .str_compact_data = 72,
		},
	},
	{
		.runtime_initialized = 12, .runtime_interpreters_head = 32, .runtime_tss_key = 584,
		.interp_next = 0, .interp_threads_head = 8,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 176,
		.layout = {
			.version_hex = 0x03090000,
			.layout = UF_PYTHON_FRAME_OBJECTS,
			.instr = UF_PYTHON_LASTI_BYTES,
			.entry = UF_PYTHON_ENTRY_EACH,
			.tstate_frame = 24,
			.frame_code = 32, .frame_previous = 24, .frame_instr = 104, .frame_size = 112,
			.code_filename = 104, .code_qualname = 112, .code_firstlineno = 40,
			.code_linetable = 120, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 48, .str_compact_data = 72,
		},
	},
	{
		.runtime_initialized = 12, .runtime_interpreters_head = 32, .runtime_tss_key = 584,
		.interp_next = 0, .interp_threads_head = 8,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 176,
		.layout = {
			.version_hex = 0x030a0000,
			.layout = UF_PYTHON_FRAME_OBJECTS,
			.instr = UF_PYTHON_LASTI_UNITS,
			.entry = UF_PYTHON_ENTRY_EACH,
			.tstate_frame = 24,
			.frame_code = 32, .frame_previous = 24, .frame_instr = 96, .frame_size = 104,
			.code_filename = 104, .code_qualname = 112, .code_firstlineno = 40,
			.code_linetable = 120, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 48, .str_compact_data = 72,
		},
	},
	{
		.runtime_initialized = 16, .runtime_interpreters_head = 40, .runtime_tss_key = 592,
		.interp_next = 0, .interp_threads_head = 16,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 152,
		.layout = {
			.version_hex = 0x030b0000,
			.layout = UF_PYTHON_CFRAME,
			.instr = UF_PYTHON_PREV_INSTR,
			.entry = UF_PYTHON_ENTRY_FLAG,
			.tstate_frame = 56, .cframe_current_frame = 8,
			.frame_code = 32, .frame_previous = 48, .frame_instr = 56, .frame_owner = 68,
			.frame_size = 72,
			.code_instrs = 184, .code_filename = 112, .code_qualname = 128,
			.code_firstlineno = 72, .code_linetable = 136, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 48, .str_compact_data = 72,
		},
	},
	{
		.runtime_initialized = 16, .runtime_interpreters_head = 40, .runtime_tss_key = 1544,
		.interp_next = 0, .interp_threads_head = 72,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 136,
		.layout = {
			.version_hex = 0x030c0000,
			.layout = UF_PYTHON_CFRAME,
			.instr = UF_PYTHON_PREV_INSTR,
			.entry = UF_PYTHON_ENTRY_CSTACK,
			.tstate_frame = 56, .cframe_current_frame = 0,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 70,
			.frame_size = 72, .owner_cstack = 3,
			.code_instrs = 192, .code_filename = 112, .code_qualname = 128,
			.code_firstlineno = 68, .code_linetable = 136, .bytes_data = 32,
			.str_length = 16, .str_state = 32, .str_ascii_data = 40, .str_compact_data = 56,
		},
	},
	{
		.runtime_initialized = 600, .runtime_interpreters_head = 632, .runtime_tss_key = 2160,
		.interp_next = 7264, .interp_threads_head = 7344,
		.tstate_next = 8, .tstate_interp = 16, .tstate_thread_id = 152,
		.layout = {
			.version_hex = 0x030d0000,
			.layout = UF_PYTHON_CURRENT_FRAME,
			.instr = UF_PYTHON_INSTR_PTR,
			.entry = UF_PYTHON_ENTRY_CSTACK,
			.tstate_frame = 72,
			.frame_code = 0, .frame_previous = 8, .frame_instr = 56, .frame_owner = 70,
			.frame_size = 72, .owner_cstack = 3,
			.code_instrs = 200, .code_filename = 112, .code_qualname = 128,
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
