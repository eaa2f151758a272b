/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_STACK_BPF_H
#define UNFREED_STACK_BPF_H

/*
 * The stack of an allocator's caller, by frame pointers, and the table that
 * keeps each distinct stack once.
 *
 * The walk starts where the allocator returns to, with the registers that the
 * caller has then: pc is the return address, the frame pointer is the
 * caller's. Why a walk of our own and not bpf_get_stack(): that one starts
 * inside the allocator and misses its direct caller, and it does not say why
 * it ended.
 */

/* Mixes one frame into the hash of a stack (the finalizer of a 64-bit multiply-xorshift hash). */
static __always_inline __u64 hash_mix(__u64 hash, __u64 value)
{
	hash ^= value;
	hash *= 0xff51afd7ed558ccdULL;
	hash ^= hash >> 32;
	hash *= 0xc4ceb9fe1a85ec53ULL;
	return hash ^ (hash >> 29);
}

/*
 * A return probe, ours or another tracer's, replaces a return address on the
 * stack by the kernel's trampoline. The kernel knows the right one.
 */
#define MAX_RETURN_INSTANCES 16

/* The trampoline's address in this process, 0 if there is none on the stack. */
static __always_inline __u64 return_trampoline(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct xol_area *area;

	if (!task->utask || !task->utask->return_instances)
		return 0;
	area = task->mm->uprobes_state.xol_area;
	return area ? area->vaddr : 0;
}

/* The return address that belongs in slot, a stack address; 0 if the kernel does not know. */
static __always_inline __u64 original_return_address(__u64 slot)
{
	struct return_instance *instance = bpf_get_current_task_btf()->utask->return_instances;

	for (int i = 0; instance && i < MAX_RETURN_INSTANCES; i++) {
		if (instance->stack == slot)
			return instance->orig_ret_vaddr;
		instance = instance->next;
	}
	return 0;
}

struct frame_record {
	__u64 next; /* the caller's frame pointer */
	__u64 return_address;
};

/*
 * Fills thread->ips, frame_cnt and stack_end from a pc, its frame pointer and
 * the stack pointer that nothing of the caller lies below; returns the stack's
 * id, never 0.
 * Ids differ between images: addresses mean nothing across address spaces.
 */
__noinline __u64 stack_walk(struct thread_state *thread, uf_image_id image, __u64 pc, __u64 fp,
			    __u64 floor)
{
	__u64 hash = hash_mix(0x9e3779b97f4a7c15ULL, image);
	__u64 trampoline = return_trampoline();
	__u32 end = UF_END_DEPTH, n = 0;

	if (!thread)
		return 0;

	for (int i = 0; i < UF_MAX_FRAMES; i++) {
		struct frame_record record;

		thread->ips[i] = pc;
		hash = hash_mix(hash, pc);
		n = i + 1;
		if (!fp) {
			end = UF_END_COMPLETE;
			break;
		}
		/* Each frame lies above the one that it called. */
		if (fp < floor || fp & 7) {
			end = UF_END_BAD_CHAIN;
			break;
		}
		if (bpf_probe_read_user(&record, sizeof(record), (void *)fp)) {
			end = UF_END_READ_FAULT;
			break;
		}
		if (!record.return_address) {
			end = UF_END_COMPLETE;
			break;
		}
		pc = record.return_address;
		if (trampoline && pc == trampoline)
			pc = original_return_address(fp + 8);
		floor = fp + sizeof(record);
		fp = record.next;
	}
	thread->frame_cnt = n;
	thread->stack_end = end;
	hash = hash_mix(hash, end);
	return hash ? hash : 1;
}

/* A free index of a table of max entries: one given back, or the next never used. False: full. */
static __always_inline bool index_take(void *spares, __u32 *next, __u32 max, __u32 *out)
{
	__u32 i;

	if (!bpf_map_pop_elem(spares, out))
		return true;
	if (*(volatile __u32 *)next >= max)
		return false;
	i = __sync_fetch_and_add(next, 1);
	*out = i;
	return i < max;
}

const volatile __u32 cfg_max_sites = 1 << 14; /* entries of the site and stack tables */

/* Index of the walked stack, kept from now on. False: it could not be kept (counted). */
__noinline int stack_intern(struct thread_state *thread, __u64 id, uf_image_id image,
				    __u32 *out)
{
	struct uf_stack *stack;
	__u32 *known, i;

	if (!thread || !out)
		return false;
	known = bpf_map_lookup_elem(&stack_index, &id);
	if (known) {
		*out = *known;
		return true;
	}
	if (!index_take(&stack_spares, &next_stack, cfg_max_sites, &i))
		goto full;
	stack = bpf_map_lookup_elem(&stacks, &i);
	if (!stack)
		goto full;
	stack->id = id;
	stack->time_ns = bpf_ktime_get_ns();
	stack->image = image;
	stack->tgid = bpf_get_current_pid_tgid() >> 32;
	stack->frame_cnt = thread->frame_cnt;
	stack->end = thread->stack_end;
	bpf_probe_read_kernel(stack->ips, sizeof(stack->ips), thread->ips);

	if (!bpf_map_update_elem(&stack_index, &id, &i, BPF_NOEXIST)) {
		*out = i;
		return true;
	}
	/* Another CPU was first, or there is no room. */
	stack->id = 0;
	bpf_map_push_elem(&stack_spares, &i, 0);
	known = bpf_map_lookup_elem(&stack_index, &id);
	if (known) {
		*out = *known;
		return true;
	}
full:
	loss_add(STACK_TABLE_FULL, 1);
	return false;
}

#endif
