/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_GC_BPF_H
#define UNFREED_GC_BPF_H

/*
 * CPython's garbage collector, by the USDT probes gc__start (its argument: the generation) and
 * gc__done (the number of unreachable objects) of builds that have them. A collection counts when
 * both were seen, in one thread and one image: none nests in another of the same interpreter.
 */

/* A thread's collection. Inserted by its first one; gone with the task. */
struct gc_running {
	__u64 start_ns;    /* 0: none */
	__u32 generation;
	uf_image_id image;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct gc_running);
} gc_running SEC(".maps");

/* Image -> its collections. Inserted by the first one; deleted by user space with the image.
 * Full: the collection is not counted, GC_NOT_COUNTED says so. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 14);
	__type(key, uf_image_id);
	__type(value, struct uf_python_gc);
} python_gc SEC(".maps");

static const struct uf_python_gc blank_gc;

/* The value of the argument that the cookie describes; false if it cannot be had. */
static __always_inline bool usdt_arg(struct pt_regs *ctx, __s64 *value)
{
#if defined(__TARGET_ARCH_x86)
	__u64 arg = bpf_get_attach_cookie(ctx), word = 0;
	__u64 size = UF_USDT_ARG_SIZE(arg), shift;
	__u32 kind = UF_USDT_ARG_KIND(arg);

	if (kind == UF_USDT_CONSTANT) {
		*value = UF_USDT_ARG_NUMBER(arg);
		return true;
	}
	if (size < 1 || size > 8 ||
	    bpf_probe_read_kernel(&word, sizeof(word), (void *)ctx + UF_USDT_ARG_REG(arg)))
		return false;
	if (kind == UF_USDT_MEMORY) {
		__u64 address = word + UF_USDT_ARG_NUMBER(arg);

		word = 0;
		if (bpf_probe_read_user(&word, size, (void *)address))
			return false;
	}
	shift = 64 - 8 * size;
	word <<= shift;
	*value = UF_USDT_ARG_IS_SIGNED(arg) ? (__s64)word >> shift : (__s64)(word >> shift);
	return true;
#else
	return false;
#endif
}

static __always_inline struct uf_python_gc *gc_of(uf_image_id image)
{
	struct uf_python_gc *gc = bpf_map_lookup_elem(&python_gc, &image);

	if (gc)
		return gc;
	bpf_map_update_elem(&python_gc, &image, &blank_gc, BPF_NOEXIST);
	return bpf_map_lookup_elem(&python_gc, &image);
}

SEC("uprobe")
int gc_start(struct pt_regs *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct uf_process *process = bpf_map_lookup_elem(&processes, &tgid);
	struct gc_running *running;
	__s64 generation;

	refuse_private_stack(ctx, no_programs);
	if (!process || process->flags & (UF_PROC_WAITS_EXEC | UF_PROC_SHARED_MM))
		return 0;
	running = bpf_task_storage_get(&gc_running, bpf_get_current_task_btf(), 0,
				       BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!running || !usdt_arg(ctx, &generation) || (__u64)generation >= UF_PYTHON_GENERATIONS) {
		loss_add(GC_NOT_COUNTED, 1);
		return 0;
	}
	running->image = process->image;
	running->generation = generation;
	running->start_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("uprobe")
int gc_done(struct pt_regs *ctx)
{
	__u64 now = bpf_ktime_get_ns(), pause;
	struct gc_running *running =
		bpf_task_storage_get(&gc_running, bpf_get_current_task_btf(), 0, 0);
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct uf_python_generation *generation;
	struct uf_process *process;
	struct uf_python_gc *gc;
	__s64 unreachable;

	refuse_private_stack(ctx, no_programs);
	if (!running || !running->start_ns)
		return 0;
	pause = now - running->start_ns;
	running->start_ns = 0;
	process = bpf_map_lookup_elem(&processes, &tgid);
	if (!process || process->image != running->image)
		return 0;
	gc = gc_of(process->image);
	if (!gc || running->generation >= UF_PYTHON_GENERATIONS) {
		loss_add(GC_NOT_COUNTED, 1);
		return 0;
	}
	generation = &gc->generations[running->generation];
	if (usdt_arg(ctx, &unreachable) && unreachable > 0)
		__sync_fetch_and_add(&generation->unreachable, unreachable);
	__sync_fetch_and_add(&generation->pause_ns, pause);
	/* Only interpreters with locks of their own collect at once. */
	if (generation->longest_ns < pause)
		generation->longest_ns = pause;
	__sync_fetch_and_add(&generation->collections, 1);
	return 0;
}

#endif
