/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/tracees.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/container.h"
#include "target/proc_info.h"

#define BUCKETS 4096 /* power of two */

struct tracees {
	struct tracee *first, *last;
	struct tracee *by_image[BUCKETS], *by_pid[BUCKETS];
	struct containers *containers;
};

struct tracees *tracees__new(void)
{
	struct tracees *tracees = calloc(1, sizeof(*tracees));

	if (!tracees)
		return NULL;
	tracees->containers = containers__new(NULL, NULL);
	if (tracees->containers)
		return tracees;
	free(tracees);
	return NULL;
}

static void set_text(const char **field, const char *text)
{
	char *copy;

	if (!strcmp(*field, text))
		return;
	/* "" is never freed. */
	copy = *text ? strdup(text) : "";
	if (!copy)
		return; /* what was known stays */
	if (**field)
		free((char *)*field);
	*field = copy;
}

static void tracee__free(struct tracee *tracee)
{
	const char *texts[] = {tracee->exe, tracee->cgroup, tracee->container, tracee->container_id,
			       tracee->pod, tracee->pod_namespace, tracee->unit};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (*texts[i])
			free((char *)texts[i]);
	free(tracee);
}

void tracees__free(struct tracees *tracees)
{
	if (!tracees)
		return;
	while (tracees->first) {
		struct tracee *tracee = tracees->first;

		tracees->first = tracee->next;
		tracee__free(tracee);
	}
	containers__free(tracees->containers);
	free(tracees);
}

static void set_place(struct tracee *tracee, const struct tracee *from)
{
	set_text(&tracee->container, from->container);
	set_text(&tracee->container_id, from->container_id);
	set_text(&tracee->pod, from->pod);
	set_text(&tracee->pod_namespace, from->pod_namespace);
	set_text(&tracee->unit, from->unit);
}

/* It has the name of its namespace, or the beginning of its id, until it has its own. */
static bool is_renamed(const struct tracee *tracee, const char *old_name, const char *old_id)
{
	if (!strcmp(old_id, tracee->container_id))
		return *old_id && strcmp(old_name, tracee->container);
	return !strncmp(old_id, "pidns-", strlen("pidns-"));
}

/*
 * A container gets its name some moments after its first process began. Those that ended meanwhile
 * are in the same one.
 */
static void rename_for_ended(struct tracees *tracees, const struct tracee *renamed,
			     const char *old_name, const char *old_id)
{
	for (struct tracee *tracee = tracees->first; tracee; tracee = tracee->next)
		if (tracee->has_ended && !strcmp(tracee->container, old_name) &&
		    !strcmp(tracee->container_id, old_id))
			set_place(tracee, renamed);
}

static void read_container(struct tracees *tracees, struct tracee *tracee)
{
	char text[PATH_MAX], old_name[2 * CONTAINER_TEXT_SIZE], old_id[CONTAINER_TEXT_SIZE];
	const struct container *container =
		containers__of(tracees->containers, tracee->pid, text, sizeof(text));

	if (text[0])
		set_text(&tracee->cgroup, text);
	if (!container)
		return;
	snprintf(old_name, sizeof(old_name), "%s", tracee->container);
	snprintf(old_id, sizeof(old_id), "%s", tracee->container_id);
	set_text(&tracee->container, container__label(container, text, sizeof(text)));
	set_text(&tracee->container_id, container->id);
	set_text(&tracee->pod, container->pod);
	set_text(&tracee->pod_namespace, container->pod_namespace);
	set_text(&tracee->unit, container->unit);
	if (is_renamed(tracee, old_name, old_id))
		rename_for_ended(tracees, tracee, old_name, old_id);
}

void tracee__refresh(struct tracees *tracees, struct tracee *tracee)
{
	char text[PATH_MAX];
	bool has_exe;

	/* What was known stays if the process is gone. */
	proc_info__comm(tracee->pid, tracee->comm, sizeof(tracee->comm));
	has_exe = proc_info__exe(tracee->pid, text, sizeof(text))[0];
	if (has_exe)
		set_text(&tracee->exe, text);
	/* While it ends it has none, and is in the root of all hierarchies but the unified one. */
	if (has_exe || !tracee->cgroup[0])
		read_container(tracees, tracee);
}

static struct tracee **image_bucket(const struct tracees *tracees, uf_image_id image)
{
	return (struct tracee **)&tracees->by_image[image & (BUCKETS - 1)];
}

static struct tracee **pid_bucket(const struct tracees *tracees, pid_t pid)
{
	return (struct tracee **)&tracees->by_pid[(uint32_t)pid & (BUCKETS - 1)];
}

void tracee__inherit_place(struct tracee *tracee, const struct tracee *before)
{
	/* Without an executable it was ending, and its cgroups were not to be relied on. */
	if (*tracee->exe && *tracee->cgroup)
		return;
	set_text(&tracee->cgroup, before->cgroup);
	set_place(tracee, before);
}

void tracee__inherit(struct tracee *tracee, const struct tracee *parent)
{
	tracee__inherit_place(tracee, parent);
	if (!tracee->comm[0])
		memcpy(tracee->comm, parent->comm, sizeof(tracee->comm));
	if (!*tracee->exe)
		set_text(&tracee->exe, parent->exe);
}

void tracee__name(struct tracee *tracee, const char *comm, const char *exe)
{
	if (!tracee->comm[0])
		snprintf(tracee->comm, sizeof(tracee->comm), "%s", comm);
	if (!*tracee->exe)
		set_text(&tracee->exe, exe);
}

struct tracee *tracees__add(struct tracees *tracees, uf_image_id image, pid_t pid)
{
	struct tracee **bucket, *tracee = calloc(1, sizeof(*tracee));

	if (!tracee)
		return NULL;
	tracee->image = image;
	tracee->pid = pid;
	tracee->exe = tracee->cgroup = tracee->unit = "";
	tracee->container = tracee->container_id = tracee->pod = tracee->pod_namespace = "";
	tracee__refresh(tracees, tracee);
	tracee->previous = tracees->last;
	*(tracees->last ? &tracees->last->next : &tracees->first) = tracee;
	tracees->last = tracee;
	bucket = image_bucket(tracees, image);
	tracee->next_by_image = *bucket;
	*bucket = tracee;
	bucket = pid_bucket(tracees, pid);
	tracee->next_by_pid = *bucket;
	*bucket = tracee;
	return tracee;
}

struct tracee *tracees__find(const struct tracees *tracees, uf_image_id image)
{
	struct tracee *tracee = *image_bucket(tracees, image);

	while (tracee && tracee->image != image)
		tracee = tracee->next_by_image;
	return tracee;
}

struct tracee *tracees__find_pid(const struct tracees *tracees, pid_t pid)
{
	struct tracee *tracee = *pid_bucket(tracees, pid);

	while (tracee && (tracee->pid != pid || tracee->has_ended || tracee->is_dropped))
		tracee = tracee->next_by_pid;
	return tracee;
}

struct tracee *tracees__first(const struct tracees *tracees)
{
	return tracees->first;
}

void tracees__remove(struct tracees *tracees, uf_image_id image)
{
	struct tracee *tracee = tracees__find(tracees, image), **link;

	if (!tracee)
		return;
	link = image_bucket(tracees, image);
	while (*link != tracee)
		link = &(*link)->next_by_image;
	*link = tracee->next_by_image;
	link = pid_bucket(tracees, tracee->pid);
	while (*link != tracee)
		link = &(*link)->next_by_pid;
	*link = tracee->next_by_pid;
	*(tracee->previous ? &tracee->previous->next : &tracees->first) = tracee->next;
	*(tracee->next ? &tracee->next->previous : &tracees->last) = tracee->previous;
	tracee__free(tracee);
}

struct containers *tracees__containers(const struct tracees *tracees)
{
	return tracees->containers;
}

uint32_t tracees__running_cnt(const struct tracees *tracees)
{
	uint32_t n = 0;

	for (const struct tracee *tracee = tracees->first; tracee; tracee = tracee->next)
		n += !tracee->has_ended && !tracee->is_dropped;
	return n;
}
