/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_TRACEES_H
#define UNFREED_AGENT_TRACEES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "agent/gc_watch.h"
#include "contract.h"

/*
 * The traced processes: one entry an image, from its start until its last
 * report. What /proc knows is copied while the process lives, for then.
 */

struct tracee {
	uf_image_id image;
	pid_t pid;
	char comm[64];
	/* "" if unknown; the tracee's own */
	const char *exe, *cgroup;  /* paths */
	const char *container, *container_id, *pod, *pod_namespace, *unit; /* see snapshot.h */
	char note[256];      /* what a reader of the report must know; "" */
	char python_note[160]; /* why there are no Python frames; "" */
	char pool_note[160]; /* why not all pools of its small objects are seen; "" */
	char python_version[32]; /* "" until an interpreter is found */
	bool python_is_known;  /* its interpreter was looked for, with a result */
	bool python_wants_exit; /* its libc's _exit() is to be probed, once it is known */
	bool has_no_python;    /* nor has what it maps; until it maps more */
	struct tracee_gc gc;
	bool began_in_trace; /* its program began, by exec, while it was traced */
	bool waits_exec;     /* launched, not yet executing its command */
	bool has_allocator;  /* a file with probes is mapped */
	bool has_ended;      /* by exit: reported once more */
	bool is_dropped;     /* by exec, or reported after its end: to be reclaimed */
	/* Allocated and freed at sites that made room; by their kind. */
	uint64_t retired_bytes[UF_SITE_KIND_CNT], retired_cnt[UF_SITE_KIND_CNT];
	int exit_code;       /* as wait(2) has it */
	struct tracee *next, *previous;
	struct tracee *next_by_image, *next_by_pid; /* in their hash buckets */
};

struct tracees;
struct containers;

/* NULL with errno ENOMEM. */
struct tracees *tracees__new(void);
/* Takes NULL. */
void tracees__free(struct tracees *tracees);

/* A new image of pid; its /proc data are read. NULL with errno ENOMEM. */
struct tracee *tracees__add(struct tracees *tracees, uf_image_id image, pid_t pid);
/* By image; NULL if there is none. */
struct tracee *tracees__find(const struct tracees *tracees, uf_image_id image);
/* The image that pid has now; NULL if it has ended or is unknown. */
struct tracee *tracees__find_pid(const struct tracees *tracees, pid_t pid);
/* In the order of addition. */
struct tracee *tracees__first(const struct tracees *tracees);
void tracees__remove(struct tracees *tracees, uf_image_id image);
/* Images that run. */
uint32_t tracees__running_cnt(const struct tracees *tracees);
/* What could not be read of a forked process, as it has ended already, is its parent's. */
void tracee__inherit(struct tracee *tracee, const struct tracee *parent);
/* Reads comm, exe, cgroup and container again. */
void tracee__refresh(struct tracees *tracees, struct tracee *tracee);
/* What finds their containers; theirs. */
struct containers *tracees__containers(const struct tracees *tracees);

#endif
