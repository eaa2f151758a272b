/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "probe/syscall_event.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef FSCONFIG_CMD_CREATE
#define FSCONFIG_CMD_CREATE 6
#endif
#define FS_CLOEXEC 1 /* FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC */

/* A tracefs of our own, gone with the descriptor; or -errno. */
static int mount_tracefs(void)
{
	int context = (int)syscall(SYS_fsopen, "tracefs", FS_CLOEXEC), folder, err = 0;

	if (context < 0)
		return -errno;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		err = -errno;
	folder = err ? err : (int)syscall(SYS_fsmount, context, FS_CLOEXEC, 0);
	if (!err && folder < 0)
		folder = -errno;
	close(context);
	return folder;
}

static int open_tracefs(void)
{
	static const char *const folders[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		int folder = open(folders[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		/* The folder is there even if nothing is mounted in it. */
		if (folder >= 0 && !faccessat(folder, "events", F_OK, 0))
			return folder;
		if (folder >= 0)
			close(folder);
	}
	return mount_tracefs();
}

/* The number of the tracepoint, or -errno. */
static int64_t read_id(const char *name)
{
	int folder = open_tracefs(), file;
	char path[128], text[32] = "";
	int64_t id;

	if (folder < 0)
		return folder;
	snprintf(path, sizeof(path), "events/syscalls/%s/id", name);
	file = openat(folder, path, O_RDONLY | O_CLOEXEC);
	id = -errno;
	close(folder);
	if (file < 0)
		return id;
	id = read(file, text, sizeof(text) - 1) > 0 ? strtol(text, NULL, 10) : -EIO;
	close(file);
	return id ? id : -EIO;
}

int syscall_event__open(const char *name)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.sample_period = 1,
		.wakeup_events = 1,
	};
	int64_t id = read_id(name);
	long fd;

	if (id < 0)
		return (int)id;
	attr.config = (uint64_t)id;
	/* A BPF program at it runs on every CPU. */
	fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : (int)fd;
}
