/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_TARGET_FILTER_H
#define UNFREED_TARGET_TARGET_FILTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct container;
struct containers;

/*
 * Which processes of the host are targets: those with one of the names, in one of the control groups
 * or in one of the containers; all of them if none is given. Looked at when a process is first seen and when it
 * executes: what changes in between (a new name, another group) is not.
 */
struct target_filter {
	const char *const *comms;   /* as /proc/PID/comm has them; longer ones are cut like there */
	uint32_t comm_cnt;
	const char *const *cgroups; /* below /sys/fs/cgroup, with or without that */
	uint32_t cgroup_cnt;
	struct container *inside;   /* containers, and what is nested in them */
	uint32_t inside_cnt;
	struct containers *containers; /* finds a process's; NULL if there are none above. Borrowed */
};

/* Is the process one of them? false for one that is gone. */
bool target_filter__matches(const struct target_filter *filter, pid_t pid);

/* Does the path name a control group, in any of the hierarchies? */
bool cgroup__exists(const char *path);

#endif
