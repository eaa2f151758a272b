/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_PROC_INFO_H
#define UNFREED_TARGET_PROC_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* What /proc says of a process. All of it is somebody else's text: lengths are bounded here,
 * characters are made harmless by the renderers. */

/* /proc/PID/name for reading; NULL with errno. The caller closes it. */
FILE *proc_info__open(pid_t pid, const char *name);
/* Does the process exist (as a process, not as a thread of one)? */
bool proc_info__exists(pid_t pid);
/* Has it no program? */
bool proc_info__is_kernel_thread(pid_t pid);
/* Calls fn for each process there is (zombies are none), with its parent's pid. 0 or -errno. */
typedef void (*proc_info_fn)(void *arg, pid_t pid, pid_t parent);
int proc_info__for_each(proc_info_fn fn, void *arg);
/* Its name, without the line's end. False: unknown, and buf is as it was. */
bool proc_info__comm(pid_t pid, char *buf, size_t size);
/* The executable's path, "" if unknown. Returns buf. */
const char *proc_info__exe(pid_t pid, char *buf, size_t size);
/* Its cgroup's path: of the unified hierarchy, else of the first one with a name. "" if unknown. */
const char *proc_info__cgroup(pid_t pid, char *buf, size_t size);
/* Resident bytes; false if unknown. */
bool proc_info__rss_bytes(pid_t pid, uint64_t *out);
/* Bytes of a huge page as the machine has them by default; 0: unknown. */
uint64_t proc_info__huge_page_bytes(void);
/* Copies size bytes of its memory at address: all or nothing. 0 or -errno. A python_read_fn. */
int proc_info__read_memory(void *pid, uint64_t address, void *buf, size_t size);

#endif
