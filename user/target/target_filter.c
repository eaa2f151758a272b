/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/target_filter.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "target/container.h"
#include "target/proc_info.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define COMM_BYTES  15 /* TASK_COMM_LEN without its end */

static bool has_comm(const struct target_filter *filter, pid_t pid)
{
	char comm[COMM_BYTES + 1];
	bool found = false;

	if (!filter->comm_cnt || !proc_info__comm(pid, comm, sizeof(comm)))
		return false;
	for (uint32_t i = 0; i < filter->comm_cnt; i++)
		found |= !strncmp(comm, filter->comms[i], COMM_BYTES);
	return found;
}

/* Without the mount point and without slashes at its end; "" is the root. */
static size_t trim(const char **path)
{
	size_t length, root = strlen(CGROUP_ROOT);

	if (!strncmp(*path, CGROUP_ROOT, root) && ((*path)[root] == '/' || !(*path)[root]))
		*path += root;
	while (**path == '/')
		(*path)++;
	length = strlen(*path);
	while (length && (*path)[length - 1] == '/')
		length--;
	return length;
}

/* Is inner the group outer (given with its length, without slashes around it) or below it? */
static bool is_within(const char *inner, const char *outer, size_t length)
{
	while (*inner == '/')
		inner++;
	return !strncmp(inner, outer, length) &&
	       (!length || !inner[length] || inner[length] == '/');
}

/*
 * A line is "4:memory,cpu:/path", or "0::/path" of the unified hierarchy. What the user gives
 * may begin with the directory that a v1 hierarchy is mounted on: "memory/path".
 */
static bool line_is_within(char *line, const char *group)
{
	char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
	size_t length = trim(&group), name_length;

	if (!path)
		return false;
	*path++ = 0;
	path[strcspn(path, "\n")] = 0;
	controllers++;
	if (is_within(path, group, length))
		return true;
	if (!strncmp(controllers, "name=", 5))
		controllers += 5;
	name_length = *controllers ? strlen(controllers) : strlen("unified");
	if (strncmp(group, *controllers ? controllers : "unified", name_length) ||
	    group[name_length] != '/')
		return false;
	return is_within(path, group + name_length + 1, length - name_length - 1);
}

static bool is_in_cgroup(const struct target_filter *filter, pid_t pid)
{
	FILE *file = filter->cgroup_cnt ? proc_info__open(pid, "cgroup") : NULL;
	char line[PATH_MAX + 256], copy[sizeof(line)];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		for (uint32_t i = 0; !found && i < filter->cgroup_cnt; i++) {
			memcpy(copy, line, sizeof(copy));
			found = line_is_within(copy, filter->cgroups[i]);
		}
	}
	fclose(file);
	return found;
}

static bool is_in_container(const struct target_filter *filter, pid_t pid)
{
	const struct container *container =
		filter->inside_cnt ? containers__of(filter->containers, pid, NULL, 0) : NULL;

	for (uint32_t i = 0; container && i < filter->inside_cnt; i++)
		if (container__is_in(container, &filter->inside[i]))
			return true;
	return false;
}

bool target_filter__matches(const struct target_filter *filter, pid_t pid)
{
	if (!filter->comm_cnt && !filter->cgroup_cnt && !filter->inside_cnt)
		return true;
	return has_comm(filter, pid) || is_in_cgroup(filter, pid) || is_in_container(filter, pid);
}

bool cgroup__exists(const char *path)
{
	size_t length = trim(&path);
	char name[PATH_MAX + 64];
	struct stat st;
	glob_t mounts;
	bool found;

	snprintf(name, sizeof(name), CGROUP_ROOT "/%.*s", (int)length, path);
	if (!stat(name, &st) && S_ISDIR(st.st_mode))
		return true;
	if (glob(CGROUP_ROOT "/*", GLOB_ONLYDIR, NULL, &mounts))
		return false;
	found = false;
	for (size_t i = 0; !found && i < mounts.gl_pathc; i++) {
		snprintf(name, sizeof(name), "%s/%.*s", mounts.gl_pathv[i], (int)length, path);
		found = !stat(name, &st) && S_ISDIR(st.st_mode);
	}
	globfree(&mounts);
	return found;
}
