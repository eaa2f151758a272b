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

/* The return address that the stack, or the link register, has at a function's entry; 0: unknown. */
static __always_inline __u64 return_address_at_entry(struct pt_regs *ctx)
{
#if defined(__TARGET_ARCH_x86)
	__u64 sp = PT_REGS_SP(ctx), pc = 0;

	if (bpf_probe_read_user(&pc, sizeof(pc), (void *)sp))
		return 0;
	/* A return probe, ours or another tracer's, has put it there. */
	return pc && pc == return_trampoline() ? original_return_address(sp) : pc;
#else
	return PT_REGS_RET(ctx);
#endif
}

#endif
