/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "probe/uprobe_link.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* BPF_LINK_CREATE's part of union bpf_attr for uprobe_multi, as of Linux 6.6. */
struct link_create_uprobe_multi {
	__u32 prog_fd;
	__u32 target_fd;
	__u32 attach_type;
	__u32 flags;
	__u64 path;
	__u64 offsets;
	__u64 ref_ctr_offsets;
	__u64 cookies;
	__u32 cnt;
	__u32 multi_flags;
	__u32 pid;
	__u32 pad;
};

#define UPROBE_MULTI_RETURN 1u /* BPF_F_UPROBE_MULTI_RETURN */

int uprobe_link__multi(int prog_fd, int attach_type, bool is_return,
		       const struct uprobe_places *places)
{
	struct link_create_uprobe_multi attr = {
		.prog_fd = prog_fd,
		.attach_type = attach_type,
		.path = (uintptr_t)places->path,
		.offsets = (uintptr_t)places->offsets,
		.ref_ctr_offsets = (uintptr_t)places->semaphores,
		.cookies = (uintptr_t)places->cookies,
		.cnt = places->cnt,
		.multi_flags = is_return ? UPROBE_MULTI_RETURN : 0,
		.pid = places->pid,
	};
	long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));

	return fd < 0 ? -errno : (int)fd;
}

/* A decimal number after an optional prefix ("config:0"), as sysfs has them. -1: none. */
static int read_sysfs_number(const char *path, const char *format)
{
	FILE *file = fopen(path, "re");
	int number;

	if (!file)
		return -1;
	if (fscanf(file, format, &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

/* A uprobe event's kind and semaphore, where sysfs says that they belong. 0 or -EOPNOTSUPP. */
static int set_config(struct perf_event_attr *attr, bool is_return, uint64_t semaphore)
{
	int bit = read_sysfs_number("/sys/bus/event_source/devices/uprobe/format/retprobe",
				    "config:%d");
	int shift = semaphore ? read_sysfs_number("/sys/bus/event_source/devices/uprobe/format/"
						  "ref_ctr_offset",
						  "config:%d")
			      : 0;

	if (bit < 0 || shift < 0 || semaphore << shift >> shift != semaphore)
		return -EOPNOTSUPP;
	attr->config = (is_return ? 1ULL << bit : 0) | semaphore << shift;
	return 0;
}

static int open_perf_uprobe(const struct uprobe_places *places, uint32_t i, bool is_return)
{
	int type = read_sysfs_number("/sys/bus/event_source/devices/uprobe/type", "%d");
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = type,
		.uprobe_path = (uintptr_t)places->path,
		.probe_offset = places->offsets[i],
	};
	long fd;

	if (type < 0 || set_config(&attr, is_return, places->semaphores ? places->semaphores[i] : 0))
		return -EOPNOTSUPP;
	/* A uprobe event of a process: any CPU. Of every process: one CPU stands for all. */
	fd = syscall(SYS_perf_event_open, &attr, places->pid ? places->pid : -1,
		     places->pid ? -1 : 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : (int)fd;
}

int uprobe_link__perf(int prog_fd, bool is_return, const struct uprobe_places *places, int *fds)
{
	uint32_t n = 0;
	int err;

	for (uint32_t i = 0; i < places->cnt; i++) {
		LIBBPF_OPTS(bpf_link_create_opts, opts,
			    .perf_event.bpf_cookie = places->cookies[i]);
		int event = open_perf_uprobe(places, i, is_return);

		if (event < 0) {
			err = event;
			goto close_fds;
		}
		fds[n++] = event;
		fds[n] = bpf_link_create(prog_fd, event, BPF_PERF_EVENT, &opts);
		if (fds[n] < 0) {
			err = fds[n];
			goto close_fds;
		}
		n++;
	}
	return 0;

close_fds:
	while (n)
		close(fds[--n]);
	return err;
}
