/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_CONTAINER_H
#define UNFREED_TARGET_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Which container, pod and service a process is in. The kernel knows cgroups; their paths have the
 * runtimes' ids (cgroup_path.h), and the runtimes' files the names (runtime_state.h).
 *
 * What can be believed: a container may make cgroups below its own and call them as it likes, and
 * so may a user below user@UID.service. So names are looked up only for the outermost container of
 * a path, and for a user's only among that user's. What is nested is known by its id alone.
 *
 * A process whose cgroup tells nothing is compared with what runc, crun and containerd know by
 * name: cgroups first, then the pid namespace of the container's first process. If nobody knows it,
 * and both its pid and its mount namespace are not the host's, it is a container by its looks
 * ("unshare", bwrap), and is called by its pid namespace as lsns(8) shows it: "pidns-4026532222".
 * Its host name would read better, but is its own choice, and could be another container's name.
 * One foreign namespace is no container: services have private mounts, browsers put tabs into pid
 * namespaces.
 */

#define CONTAINER_TEXT_SIZE 256

/* Strings are "" if there is none or it is unknown; longer ones are cut. */
struct container {
	const char *runtime;		/* a constant: "docker", "containerd", "cri-o", "podman",
					 * "kubernetes" or "oci" (one of those), "runc", "crun",
					 * "lxc", "systemd-nspawn", "namespace"; "": on the host */
	char id[CONTAINER_TEXT_SIZE];	/* whole */
	char name[CONTAINER_TEXT_SIZE]; /* for people; the first 12 of the id if it has none */
	char pod[CONTAINER_TEXT_SIZE];	/* its name, else its id */
	char pod_namespace[CONTAINER_TEXT_SIZE];
	char unit[CONTAINER_TEXT_SIZE];	    /* systemd's: "nginx.service" */
	int64_t uid;			    /* of the user whose runtime it is; -1: the system's */
	char outer_id[CONTAINER_TEXT_SIZE]; /* of the container that this one is nested in */
	char outer_name[CONTAINER_TEXT_SIZE];
};

struct containers;

/*
 * root: the tree with the runtimes' files, proc: where /proc is; NULL for this system's. The former
 * is pid 1's root: the host's, if we run in a container with the host's pids. NULL with errno
 * ENOMEM.
 */
struct containers *containers__new(const char *root, const char *proc);
/* Takes NULL. */
void containers__free(struct containers *containers);

/*
 * Where a process is, and if cgroup is not NULL the path of its cgroup, cut to size ("" if
 * unknown): of the hierarchies the one that tells of a container, else the unified one, else the
 * first where it is not in the root. What was found is kept by cgroup, for a minute; a container
 * that has no name (yet) is looked up again after some seconds. The result is valid until the next
 * call; NULL with errno: ESRCH if there is no such process, ENOMEM.
 */
const struct container *containers__of(struct containers *containers, pid_t pid, char *cgroup,
				       size_t cgroup_size);

/* What has no name is looked up again when it is asked for next, as it may have got one. */
void containers__look_again(struct containers *containers);

/* All containers that have a process, by name, for free(); 0 or -errno. */
int containers__list(struct containers *containers, struct container **list, uint32_t *cnt);

/*
 * Is it what a user calls text? Its name, its id, a beginning of an id that is a hash, "POD/NAME",
 * "NAMESPACE/POD/NAME"; of a nested one also "OUTER/NAME", and what the outer one is called.
 */
bool container__matches(const struct container *container, const char *text);
/* Is it which, or nested in it? For processes that come after a container was found. */
bool container__is_in(const struct container *container, const struct container *which);

/*
 * The one container that text names, as Docker decides: who has exactly that id goes before who has
 * that name, and both before those whose id begins so. 0; -ENOENT: none; -ENOTUNIQ: several; or
 * another -errno.
 */
int containers__find(struct containers *containers, const char *text, struct container *found);
/* The same among those given: 0, -ENOENT or -ENOTUNIQ. */
int container__find_in(const struct container *list, uint32_t cnt, const char *text,
		       struct container *found);

/* "web", "OUTER/web" for a nested one; cut to size. Returns buf. */
const char *container__label(const struct container *container, char *buf, size_t size);
/*
 * "a, b, c" for a message, of those that text matches (NULL: all): labels, with pods, and with
 * short ids where labels are the same; "and 7 more" when size runs out. Returns buf.
 */
const char *container__names(const struct container *list, uint32_t cnt, const char *text,
			     char *buf, size_t size);

#endif
