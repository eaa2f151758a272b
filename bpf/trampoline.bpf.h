/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TRAMPOLINE_BPF_H
#define UNFREED_TRAMPOLINE_BPF_H

/*
 * A return probe, ours or another tracer's, replaces a return address on the
 * stack by the kernel's trampoline. The kernel knows the right one.
 */
#define MAX_RETURN_INSTANCES 64 /* the kernel allows no more: MAX_URETPROBE_DEPTH */

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
__noinline __u64 original_return_address(__u64 slot)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct return_instance *instance;

	if (!task->utask)
		return 0;
	instance = task->utask->return_instances;
	for (int i = 0; instance && i < MAX_RETURN_INSTANCES; i++) {
		if (instance->stack == slot)
			return instance->orig_ret_vaddr;
		instance = instance->next;
	}
	return 0;
}

#endif
