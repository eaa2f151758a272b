/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_RUNTIME_STATE_H
#define UNFREED_TARGET_RUNTIME_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/cgroup_path.h"

/*
 * What the container runtimes' own files say of their containers. No daemon is asked, and nothing
 * that a container can write is read. Where the files are:
 *
 *	Docker       /var/lib/docker/containers/ID/config.v2.json, or below the data-root that
 *		     /etc/docker/daemon.json names
 *	containerd   /run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json
 *	Podman, CRI-O  /var/lib/containers/storage/overlay-containers/containers.json, and
 *		     ID/userdata/config.json beside it
 *	runc, crun   /run/runc/NAME/state.json, /run/crun/NAME/status
 *
 * A user's own runtimes have Docker's and Podman's below ~/.local/share.
 */

struct state_tree;

/* Strings are "" if unknown. */
struct runtime_names {
	const char *runtime; /* whose files had the id, a constant */
	char name[CGROUP_NAME_SIZE];
	char pod[CGROUP_NAME_SIZE];
	char pod_namespace[CGROUP_NAME_SIZE];
};

/* A container of runc, crun or containerd by a name of its own, wherever its cgroup may be. */
struct plain_container {
	char id[CGROUP_NAME_SIZE];
	struct runtime_names names;
	char *cgroups[4];	   /* distinct paths in its hierarchies; NULL after the last */
	pid_t init_pid;		   /* as on the host; 0: unknown */
	uint64_t init_start_ticks; /* field 22 of its /proc/PID/stat; 0: unknown */
};

/*
 * The names of the container with this hash, whose cgroup is in the way of runtime (see
 * cgroup_path.h). With uid >= 0 only in that user's files. False if no runtime knows it.
 */
bool runtime_state__find(const struct state_tree *tree, const char *runtime, const char *id,
			 int64_t uid, struct runtime_names *names);

/* All containers by name, for plain_containers__free; 0 or -ENOMEM. */
int runtime_state__plain(const struct state_tree *tree, struct plain_container **list,
			 uint32_t *cnt);
/* Takes NULL. */
void plain_containers__free(struct plain_container *list, uint32_t cnt);

#endif
