// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
/*
 * Programs that do nothing: what is left of the cost is the kernel's. A session's
 * return is called if its entry gives 0 and skipped if it gives 1.
 */
#include "vmlinux.h"
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

const volatile bool cfg_skip_return = false;

SEC("uprobe")
int empty_session(struct pt_regs *ctx)
{
	return cfg_skip_return;
}

SEC("uprobe")
int empty_entry(struct pt_regs *ctx)
{
	return 0;
}

SEC("uretprobe")
int empty_exit(struct pt_regs *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
