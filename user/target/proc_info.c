/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/proc_info.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

FILE *proc_info__open(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

bool proc_info__exists(pid_t pid)
{
	FILE *file = proc_info__open(pid, "status");
	char line[256];
	int tgid = 0;

	if (!file)
		return false;
	while (!tgid && fgets(line, sizeof(line), file))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	fclose(file);
	return tgid == pid;
}

bool proc_info__is_kernel_thread(pid_t pid)
{
	char path[64], byte;

	/* They have no executable; the link of one that we may not read fails differently. */
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return readlink(path, &byte, 1) < 0 && errno == ENOENT;
}

/*
 * -1: not a process, or a zombie. "4242 (name) S 4241 ...": the name may have anything in it,
 * parentheses and newlines too.
 */
static pid_t parent_of(pid_t pid)
{
	FILE *file = proc_info__open(pid, "stat");
	char text[256], *rest;
	size_t n;
	int parent = -1;
	char state;

	if (!file)
		return -1;
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = 0;
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest, ") %c %d", &state, &parent) != 2 || state == 'Z' || state == 'X')
		return -1;
	return parent;
}

int proc_info__for_each(proc_info_fn fn, void *arg)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;

	if (!proc)
		return -errno;
	while ((entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name), parent;

		if (pid <= 0)
			continue;
		parent = parent_of(pid);
		if (parent >= 0)
			fn(arg, pid, parent);
	}
	closedir(proc);
	return 0;
}

bool proc_info__comm(pid_t pid, char *buf, size_t size)
{
	FILE *file = proc_info__open(pid, "comm");
	char name[64];
	size_t length;

	if (!file)
		return false;
	length = fread(name, 1, sizeof(name) - 1, file);
	fclose(file);
	if (!length)
		return false;
	/* A name may have newlines of its own; the kernel puts one more after it. */
	length -= name[length - 1] == '\n';
	name[length] = 0;
	snprintf(buf, size, "%s", name);
	return true;
}

const char *proc_info__exe(pid_t pid, char *buf, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, buf, size - 1);
	buf[n > 0 ? n : 0] = 0;
	return buf;
}

/* Lines are "0::/path" (unified) or "4:memory:/path", "1:name=systemd:/path". */
const char *proc_info__cgroup(pid_t pid, char *buf, size_t size)
{
	FILE *file = proc_info__open(pid, "cgroup");
	char line[PATH_MAX + 64];

	buf[0] = 0;
	if (!file)
		return buf;
	while (fgets(line, sizeof(line), file)) {
		char *controllers = strchr(line, ':');
		char *path = controllers ? strchr(controllers + 1, ':') : NULL;

		line[strcspn(line, "\n")] = 0;
		if (!path)
			continue;
		/* The root says nothing while another hierarchy has a name for it. */
		if (!buf[0] || !strcmp(buf, "/"))
			snprintf(buf, size, "%s", path + 1);
		if (!strncmp(line, "0::", 3) && strcmp(path + 1, "/")) {
			snprintf(buf, size, "%s", path + 1);
			break;
		}
	}
	fclose(file);
	return buf;
}

bool proc_info__rss_bytes(pid_t pid, uint64_t *out)
{
	FILE *file = proc_info__open(pid, "statm");
	uint64_t pages;
	bool ok;

	if (!file)
		return false;
	ok = fscanf(file, "%*u %" SCNu64, &pages) == 1;
	fclose(file);
	if (ok)
		*out = pages * sysconf(_SC_PAGESIZE);
	/* A process that is ending has none left. */
	return ok && pages;
}

/* "Hugepagesize:       2048 kB" */
uint64_t proc_info__huge_page_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kib = 0;

	if (!file)
		return 0;
	while (!kib && fgets(line, sizeof(line), file))
		if (sscanf(line, "Hugepagesize: %" SCNu64 " kB", &kib) != 1)
			kib = 0;
	fclose(file);
	return kib << 10;
}

int proc_info__read_memory(void *pid, uint64_t address, void *buf, size_t size)
{
	struct iovec local = {buf, size}, remote = {(void *)(uintptr_t)address, size};
	ssize_t n = process_vm_readv(*(pid_t *)pid, &local, 1, &remote, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EFAULT;
}
