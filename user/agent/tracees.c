/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/tracees.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/proc_info.h"

struct tracees {
	struct tracee *first, **last_next;
	struct containers *containers;
};

struct tracees *tracees__new(void)
{
	struct tracees *tracees = calloc(1, sizeof(*tracees));

	if (!tracees)
		return NULL;
	tracees->last_next = &tracees->first;
	tracees->containers = containers__new(NULL, NULL);
	if (tracees->containers)
		return tracees;
	free(tracees);
	return NULL;
}

void tracees__free(struct tracees *tracees)
{
	if (!tracees)
		return;
	while (tracees->first) {
		struct tracee *tracee = tracees->first;

		tracees->first = tracee->next;
		free(tracee);
	}
	containers__free(tracees->containers);
	free(tracees);
}

static void read_comm(struct tracee *tracee)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)tracee->pid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(tracee->comm, sizeof(tracee->comm), file))
		tracee->comm[strcspn(tracee->comm, "\n")] = 0;
	fclose(file);
}

static void read_container(struct tracees *tracees, struct tracee *tracee)
{
	char cgroup[sizeof(tracee->cgroup)];
	const struct container *container =
		containers__of(tracees->containers, tracee->pid, cgroup, sizeof(cgroup));

	if (cgroup[0])
		strcpy(tracee->cgroup, cgroup);
	if (!container)
		return;
	container__label(container, tracee->container, sizeof(tracee->container));
	strcpy(tracee->container_id, container->id);
	strcpy(tracee->pod, container->pod);
	strcpy(tracee->pod_namespace, container->pod_namespace);
	strcpy(tracee->unit, container->unit);
}

void tracee__refresh(struct tracees *tracees, struct tracee *tracee)
{
	char text[sizeof(tracee->exe)];

	/* What was known stays if the process is gone. */
	read_comm(tracee);
	if (proc_info__exe(tracee->pid, text, sizeof(text))[0])
		memcpy(tracee->exe, text, sizeof(text));
	read_container(tracees, tracee);
}

struct tracee *tracees__add(struct tracees *tracees, uf_image_id image, pid_t pid)
{
	struct tracee *tracee = calloc(1, sizeof(*tracee));

	if (!tracee)
		return NULL;
	tracee->image = image;
	tracee->pid = pid;
	tracee__refresh(tracees, tracee);
	*tracees->last_next = tracee;
	tracees->last_next = &tracee->next;
	return tracee;
}

struct tracee *tracees__find(const struct tracees *tracees, uf_image_id image)
{
	struct tracee *tracee = tracees->first;

	while (tracee && tracee->image != image)
		tracee = tracee->next;
	return tracee;
}

struct tracee *tracees__find_pid(const struct tracees *tracees, pid_t pid)
{
	struct tracee *tracee = tracees->first;

	while (tracee && (tracee->pid != pid || tracee->has_ended || tracee->is_dropped))
		tracee = tracee->next;
	return tracee;
}

struct tracee *tracees__first(const struct tracees *tracees)
{
	return tracees->first;
}

void tracees__remove(struct tracees *tracees, uf_image_id image)
{
	struct tracee **link = &tracees->first, *tracee;

	while (*link && (*link)->image != image)
		link = &(*link)->next;
	tracee = *link;
	if (!tracee)
		return;
	*link = tracee->next;
	if (!*link)
		tracees->last_next = link;
	free(tracee);
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
