/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_SYSCALL_EVENT_H
#define UNFREED_PROBE_SYSCALL_EVENT_H

/*
 * The kernel's tracepoints of single system calls, for BPF programs of that type. They are found by
 * number in tracefs; where it is not mounted (in many containers) it is mounted for nobody but us,
 * and not in any folder.
 */

/*
 * A perf event of a tracepoint, "sys_enter_munmap", of all processes: its descriptor, the caller's,
 * or -errno: -ENOENT if the kernel has no such tracepoint, -EPERM.
 */
int syscall_event__open(const char *name);

#endif
