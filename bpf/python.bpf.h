/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_BPF_H
#define UNFREED_PYTHON_BPF_H

/*
 * Frames of CPython, read from the interpreter's own structures.
 *
 * A native stack shows the eval loop; which function it runs is in the frames
 * that hang off the thread state. One C call of the eval loop may run several
 * Python frames (3.11 on); the one that it began with is marked. So when the
 * native walk meets the eval loop, the Python frames up to the next marked one
 * take its place.
 *
 * A frame is kept as (code object, instruction). The code object may be gone
 * when somebody asks for its name, so names and line table are copied the
 * first time that a stack has it. When a known code object is freed and its
 * address used again, stacks with the new one must not be taken for stacks with
 * the old: code_generation counts such frees, by a hash of the address, and is
 * part of a stack's hash.
 */

/* Image -> interpreter. Inserted by user space and, for forked children, by fork; deleted by
 * user space. Full: no Python frames for that process. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 14);
	__type(key, uf_image_id);
	__type(value, struct uf_python);
} pythons SEC(".maps");

#define PYTHON_FRAME_BYTES 128 /* power of two */

/* The Python side of a stack walk. */
struct python_walk {
	__u64 frame;   /* the next Python frame; 0: no more */
	__u32 in_eval; /* the native walk is at the eval loop: its Python frames come now */
	__u32 pad;
	__u8 bytes[2 * PYTHON_FRAME_BYTES]; /* a frame; more than it needs, so that offsets can be masked */
};

struct code_key {
	__u64 address;
	uf_image_id image;
	__u32 pad;
};

/* Code objects whose copies were sent. Inserted by the walk, deleted when the code object is freed.
 * Least recently used ones go, and are sent again when they come back. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 16);
	__type(key, struct code_key);
	__type(value, __u8);
} known_codes SEC(".maps");

__u32 python_cnt; /* interpreters ever found: 0 spares every walk a look-up */

#define CODE_BUCKETS 4096
__u32 code_generation[CODE_BUCKETS];

static __always_inline __u32 *code_generation_of(__u64 code)
{
	return &code_generation[(code >> 4 ^ code >> 16) & (CODE_BUCKETS - 1)];
}

static __always_inline bool read_pointer(__u64 address, __u64 *out)
{
	return !bpf_probe_read_user(out, sizeof(*out), (void *)address);
}

/* The innermost Python frame of this thread; 0: none. */
static __always_inline __u64 python_first_frame(const struct uf_python *python)
{
#if defined(__TARGET_ARCH_x86)
	__u64 base = bpf_get_current_task_btf()->thread.fsbase, tstate, frame;

	if (!read_pointer(base + python->tss_offset, &tstate) || !tstate)
		return 0;
	if (!read_pointer(tstate + python->tstate_frame, &frame) || !frame)
		return 0;
	if (python->layout == UF_PYTHON_CFRAME &&
	    !read_pointer(frame + python->cframe_current_frame, &frame))
		return 0;
	return frame;
#else
	return 0;
#endif
}

static __always_inline __u64 frame_field(const struct python_walk *walk, __u16 offset)
{
	return *(__u64 *)(walk->bytes + (offset & (PYTHON_FRAME_BYTES - 1)));
}

/* Where in its code a frame is, in code units. */
static __always_inline __u32 frame_unit(const struct python_walk *walk,
					const struct uf_python *python, __u64 code)
{
	__u64 instr = frame_field(walk, python->frame_instr);
	__s64 unit;

	switch (python->instr) {
	case UF_PYTHON_LASTI_BYTES:
		unit = (__s32)instr >> 1;
		break;
	case UF_PYTHON_LASTI_UNITS:
		unit = (__s32)instr;
		break;
	default:
		unit = (__s64)(instr - code - python->code_instrs) >> 1;
	}
	return unit < 0 || unit >= UF_PYTHON_AT_START ? UF_PYTHON_AT_START : unit;
}

/*
 * The next Python frame of the eval call that the native walk is at: its frame as it is stored,
 * 0 if the eval call has no more (walk->in_eval is 0 then).
 */
__noinline __u64 python_step(struct python_walk *walk, struct uf_python *python)
{
	__u32 size;
	__u64 code;
	__u8 owner;

	if (!walk || !python)
		return 0;
	size = python->frame_size;
	if (!walk->frame || size > PYTHON_FRAME_BYTES ||
	    bpf_probe_read_user(walk->bytes, size & (2 * PYTHON_FRAME_BYTES - 1),
				(void *)walk->frame)) {
		walk->frame = 0;
		walk->in_eval = 0;
		return 0;
	}
	owner = frame_field(walk, python->frame_owner);
	code = frame_field(walk, python->frame_code);
	if (python->frame_code_tagged)
		code &= ~7ULL;
	if (python->entry == UF_PYTHON_ENTRY_CSTACK && owner == python->owner_cstack) {
		/* The shim below the frames of this eval call. */
		walk->frame = frame_field(walk, python->frame_previous);
		walk->in_eval = 0;
		return 0;
	}
	code = UF_PYTHON_FRAME(code, frame_unit(walk, python, code));
	walk->frame = frame_field(walk, python->frame_previous);
	if (python->entry == UF_PYTHON_ENTRY_EACH ||
	    (python->entry == UF_PYTHON_ENTRY_FLAG && owner))
		walk->in_eval = 0;
	return code;
}

static __always_inline bool is_eval_loop(const struct uf_python *python, __u64 frame)
{
	__u64 offset = UF_FRAME_OFFSET(frame);

	if (!(frame & UF_FRAME_IN_FILE) || UF_FRAME_FILE(frame) != python->eval_file)
		return false;
	for (int i = 0; i < UF_PYTHON_EVAL_RANGES; i++)
		/* A return address may be the first byte past the range. */
		if (offset > python->eval[i].start && offset <= python->eval[i].end)
			return true;
	return false;
}

/* ---- copies of code objects ---- */

#define STATE_KIND(state)  ((state) >> 2 & 7)
#define STATE_ASCII(state) ((state) >> 6 & 1)

static __always_inline void copy_str(struct uf_python_str *out, const struct uf_python *python,
				     __u64 address)
{
	__u64 length = 0, data, size; /* 64 bits: 5.15 forgets the bounds of narrower sizes */
	__u32 state = 0;

	out->kind = 0;
	out->byte_cnt = 0;
	out->length = 0;
	if (!read_pointer(address + python->str_length, &length) ||
	    bpf_probe_read_user(&state, sizeof(state), (void *)(address + python->str_state)))
		return;
	out->is_ascii = STATE_ASCII(state);
	data = address + (out->is_ascii ? python->str_ascii_data : python->str_compact_data);
	if (length > (1U << 20))
		return;
	size = length * STATE_KIND(state);
	if (size > UF_PYTHON_STR_BYTES)
		size = UF_PYTHON_STR_BYTES;
	if (!size || bpf_probe_read_user(out->bytes, size, (void *)data))
		return;
	out->byte_cnt = size;
	out->length = length;
	out->kind = STATE_KIND(state);
}

static __always_inline void copy_linetable(struct uf_python_code *out,
					   const struct uf_python *python, __u64 bytes)
{
	__u64 length = 0, size;

	out->linetable_byte_cnt = 0;
	out->linetable_length = 0;
	out->linetable_address = bytes + python->bytes_data;
	if (!read_pointer(bytes + 16, &length) || length > (1U << 24))
		return;
	out->linetable_length = length;
	size = length < UF_PYTHON_LINETABLE_BYTES ? length : UF_PYTHON_LINETABLE_BYTES;
	if (size && !bpf_probe_read_user(out->linetable, size, (void *)out->linetable_address))
		out->linetable_byte_cnt = size;
}

/* Sends a code object's copy to user space, unless it has one. 0: it has it now. */
__noinline int python_send_code(struct uf_python *python, __u64 code, uf_image_id image)
{
	struct code_key key = {.address = code, .image = image};
	struct uf_python_code *copy;
	__u64 filename = 0, qualname = 0, name = 0, linetable = 0;
	const __u8 one = 1;

	if (!python)
		return 0;
	if (bpf_map_lookup_elem(&known_codes, &key))
		return 0;
	copy = bpf_ringbuf_reserve(&events, sizeof(*copy), 0);
	if (!copy) {
		loss_add(EVENTS_FULL, 1);
		return -1;
	}
	copy->type = UF_EVENT_PYTHON_CODE;
	copy->tgid = bpf_get_current_pid_tgid() >> 32;
	copy->address = code;
	copy->image = image;
	copy->time_ns = bpf_ktime_get_ns();
	copy->version_hex = python->version_hex;
	copy->firstlineno = 0;
	copy->pad = 0;
	bpf_probe_read_user(&copy->firstlineno, sizeof(copy->firstlineno),
			    (void *)(code + python->code_firstlineno));
	read_pointer(code + python->code_filename, &filename);
	read_pointer(code + python->code_qualname, &qualname);
	read_pointer(code + python->code_name, &name);
	read_pointer(code + python->code_linetable, &linetable);
	copy_str(&copy->filename, python, filename);
	copy_str(&copy->qualname, python, qualname);
	copy_str(&copy->name, python, name);
	copy_linetable(copy, python, linetable);
	bpf_ringbuf_submit(copy, 0);
	bpf_map_update_elem(&known_codes, &key, &one, BPF_ANY);
	return 0;
}

/* At CPython's code_dealloc(code): its address may soon be another's. */
SEC("uprobe")
int python_code_freed(struct pt_regs *ctx)
{
	struct code_key key = {.address = PT_REGS_PARM1(ctx)};
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct uf_process *process = bpf_map_lookup_elem(&processes, &tgid);

	refuse_private_stack(ctx, no_programs);
	if (!process)
		return 0;
	key.image = process->image;
	if (!bpf_map_delete_elem(&known_codes, &key))
		__sync_fetch_and_add(code_generation_of(key.address), 1);
	return 0;
}

#endif
