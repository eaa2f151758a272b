/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_CGROUP_PATH_H
#define UNFREED_TARGET_CGROUP_PATH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What a cgroup's path says by itself: the containers that it lies in, outermost first, the pod and
 * the systemd unit. Each runtime has its way of naming cgroups:
 *
 *	/docker/HASH, /system.slice/docker-HASH.scope           Docker, by cgroupfs and by systemd
 *	/kubepods/burstable/podUID/HASH                         Kubernetes, by cgroupfs
 *	/kubepods.slice/kubepods-podUID.slice/cri-containerd-HASH.scope, crio-HASH.scope  by systemd
 *	/machine.slice/libpod-HASH.scope, /libpod_parent/libpod-HASH     Podman
 *	/system.slice/web.service/libpod-payload-HASH           Podman within a service
 *	/user.slice/user-1000.slice/user@1000.service/...       the user's own (rootless)
 *	/lxc.payload.NAME, /lxc/NAME                            LXC, LXD, Incus, Proxmox
 *	/machine.slice/machine-NAME.scope                       systemd-nspawn
 *	/system.slice/runc-NAME.scope, crun-NAME.scope          runc and crun by systemd
 *
 * HASH is 64 hexadecimal digits. Helpers that run on the host for a container (conmon, lxc.monitor,
 * nspawn's supervisor) are not in it.
 */

#define CGROUP_NAME_SIZE  256 /* NAME_MAX and its end */
#define CGROUP_HASH_LEN	  64
#define CGROUP_MAX_NESTED 4

struct cgroup_container {
	/* A constant: "docker", "containerd", "cri-o", "podman", "runc", "crun", "lxc",
	 * "systemd-nspawn"; "kubernetes" or "oci": one of them. */
	const char *runtime;
	char id[CGROUP_NAME_SIZE];     /* the hash, or the name where the runtime knows by name */
	bool has_hash;		       /* id is a hash: its name is in the runtime's state */
	char pod_id[CGROUP_NAME_SIZE]; /* Kubernetes' uid, or Podman's hash; "" */
	int64_t uid; /* whose cgroups these are, if delegated to a user; else -1 */
};

struct cgroup_path {
	/* Of more than fit, the outer ones and the innermost. */
	struct cgroup_container containers[CGROUP_MAX_NESTED];
	uint32_t container_cnt;
	char unit[CGROUP_NAME_SIZE]; /* the innermost: "nginx.service", "session-3.scope"; "" */
};

void cgroup_path__parse(const char *path, struct cgroup_path *out);
/* 64 hexadecimal digits and nothing else? */
bool cgroup_path__is_hash(const char *text);

#endif
