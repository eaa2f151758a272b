/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_H
#define UNFREED_PYTHON_H

/*
 * The contract for CPython frames: what user space tells the probe about an
 * interpreter, and what the probe sends of a code object. Offsets are bytes
 * into CPython's structures; they differ by version and are determined and
 * verified by user/python.
 */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* How a thread's frames hang together. */
enum uf_python_layout {
	UF_PYTHON_NONE,
	UF_PYTHON_FRAME_OBJECTS, /* 3.8 - 3.10: tstate -> PyFrameObject, f_back; one C eval call each */
	UF_PYTHON_CFRAME,        /* 3.11, 3.12: tstate -> cframe -> _PyInterpreterFrame, previous */
	UF_PYTHON_CURRENT_FRAME, /* 3.13, 3.14: tstate -> _PyInterpreterFrame, previous */
};

/* How the instruction that a frame is at is told. */
enum uf_python_instr {
	UF_PYTHON_LASTI_BYTES, /* 3.8, 3.9: int f_lasti, in bytes */
	UF_PYTHON_LASTI_UNITS, /* 3.10: int f_lasti, in code units */
	UF_PYTHON_PREV_INSTR,  /* 3.11, 3.12: pointer to the last instruction executed */
	UF_PYTHON_INSTR_PTR,   /* 3.13, 3.14: pointer to the instruction being executed; in a frame
				* that has called another, to the call */
};

/* How the frame that a C call of the eval loop began with is recognised (its callers are below C). */
enum uf_python_entry {
	UF_PYTHON_ENTRY_EACH,   /* 3.8 - 3.10: every frame */
	UF_PYTHON_ENTRY_FLAG,   /* 3.11: frame->is_entry */
	UF_PYTHON_ENTRY_CSTACK, /* 3.12 on: previous->owner == FRAME_OWNED_BY_CSTACK: a shim follows */
};

#define UF_PYTHON_EVAL_RANGES 4
#define UF_PYTHON_MAX_TSS_KEY 32

/* A part of the eval loop's code, in file offsets of the file with that number (not 0). */
struct uf_python_range {
	__u64 start, end;
};

/* An interpreter in an image; key: uf_image_id. */
struct uf_python {
	__u32 layout;          /* enum uf_python_layout */
	__u32 instr;           /* enum uf_python_instr */
	__u32 entry;           /* enum uf_python_entry */
	__u32 version_hex;     /* as PY_VERSION_HEX: 0x030b02f0 */
	__u32 eval_file;       /* number of the file that has the eval loop (agent/unwinder.h) */
	__u32 tss_key;         /* pthread key of the thread state, < UF_PYTHON_MAX_TSS_KEY */
	__u32 tss_offset;      /* from the thread pointer to the key's value (glibc: 0x310 + key * 16 + 8) */
	__u16 tstate_frame;    /* tstate -> frame (3.8 - 3.10), cframe (3.11, 3.12) or current_frame */
	__u16 cframe_current_frame;
	__u16 frame_code;      /* frame -> f_code or f_executable */
	__u16 frame_previous;  /* f_back or previous */
	__u16 frame_instr;     /* f_lasti, prev_instr or instr_ptr */
	__u16 frame_owner;     /* owner (3.12 on) or is_entry (3.11): one byte */
	__u16 frame_size;      /* bytes of a frame to read at once to have all of the above, <= 128 */
	__u16 code_instrs;     /* code -> co_code_adaptive (3.11 on) */
	__u16 code_filename;
	__u16 code_qualname;   /* co_qualname (3.11 on), else co_name */
	__u16 code_name;
	__u16 code_firstlineno;
	__u16 code_linetable;  /* co_linetable, or co_lnotab */
	__u16 bytes_data;      /* bytes object -> its first byte (length, a ssize_t, is at +16) */
	__u16 str_length;      /* str object -> length */
	__u16 str_state;       /* state: u32; kind is bits 2-4, compact bit 5, ascii bit 6 */
	__u16 str_ascii_data;  /* first character of a compact ASCII string */
	__u16 str_compact_data; /* of another compact one */
	__u8 owner_cstack;     /* FRAME_OWNED_BY_CSTACK's value */
	__u8 frame_code_tagged; /* 3.14: low bits of the f_executable reference are tags */
	__u16 pad[3];
	struct uf_python_range eval[UF_PYTHON_EVAL_RANGES]; /* unused: 0, 0 */
	/* Where pools of small objects are seen by page faults: the interpreter's code in the
	 * process; 0, 0 where they are not. */
	__u64 fault_code_start, fault_code_end;
	__u32 fault_pool_bytes;
	__u32 pad2;
};

#define UF_PYTHON_STR_BYTES       256
#define UF_PYTHON_LINETABLE_BYTES 2048

/* Part of a str object: characters of 1, 2 or 4 bytes (kind); is_ascii: plain ASCII. */
struct uf_python_str {
	__u32 length;     /* characters, of the whole */
	__u8 kind;        /* 0: could not be read */
	__u8 is_ascii;
	__u16 byte_cnt;   /* copied */
	__u8 bytes[UF_PYTHON_STR_BYTES];
};

/* A code object, sent by the probe when a stack has it for the first time. */
struct uf_python_code {
	__u32 type;           /* UF_EVENT_PYTHON_CODE: shares a ring buffer with struct uf_event */
	__u32 tgid;
	__u64 address;
	__u32 image;
	__u32 pad;
	__s32 firstlineno;
	__u32 version_hex;
	__u64 linetable_address; /* of the bytes object's data */
	__u32 linetable_length;  /* of the whole */
	__u32 linetable_byte_cnt; /* copied */
	__u64 time_ns;           /* CLOCK_MONOTONIC */
	struct uf_python_str filename, qualname, name;
	__u8 linetable[UF_PYTHON_LINETABLE_BYTES];
};

#define UF_PYTHON_GENERATIONS 3

/* Garbage collections of a generation, by the interpreter's USDT probes. */
struct uf_python_generation {
	__u64 collections;
	__u64 unreachable; /* objects found: collected ones and uncollectable ones */
	__u64 pause_ns;    /* of all together */
	__u64 longest_ns;
};

/* An image's, since the probes are in; key: uf_image_id. */
struct uf_python_gc {
	struct uf_python_generation generations[UF_PYTHON_GENERATIONS];
};

_Static_assert(sizeof(struct uf_python_gc) == 96, "table of collections");
_Static_assert(sizeof(struct uf_python) == 160 && __builtin_offsetof(struct uf_python, eval) == 72,
	       "table of interpreters");
_Static_assert(sizeof(struct uf_python_str) == 264, "code event");
_Static_assert(sizeof(struct uf_python_code) % 8 == 0, "code event");

#endif
