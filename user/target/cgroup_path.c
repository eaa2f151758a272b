/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/cgroup_path.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One component, with its neighbours; "" where there is none. */
struct part {
	char name[CGROUP_NAME_SIZE];
	char before[CGROUP_NAME_SIZE];
	char after[CGROUP_NAME_SIZE];
};

static bool has_prefix(const char *str, const char *prefix)
{
	return !strncmp(str, prefix, strlen(prefix));
}

static bool has_suffix(const char *str, const char *suffix)
{
	size_t len = strlen(str), suffix_len = strlen(suffix);

	return len >= suffix_len && !strcmp(str + len - suffix_len, suffix);
}

bool cgroup_path__is_hash(const char *text)
{
	return strspn(text, "0123456789abcdef") == CGROUP_HASH_LEN && !text[CGROUP_HASH_LEN];
}

/* name without its prefix and suffix, if it has both and something between. */
static bool cut(const char *name, const char *prefix, const char *suffix, char *out)
{
	size_t len = strlen(name), around = strlen(prefix) + strlen(suffix);

	if (len <= around || !has_prefix(name, prefix) || !has_suffix(name, suffix))
		return false;
	memcpy(out, name + strlen(prefix), len - around);
	out[len - around] = 0;
	return true;
}

/* systemd writes a character that a unit's name cannot have, and "-", as \xNN. */
static void unescape_unit(char *name)
{
	char *to = name;

	for (const char *from = name; *from; to++) {
		char digits[3] = {0}, *end = digits;
		long byte = 0;

		if (from[0] == '\\' && from[1] == 'x' && from[2] && from[3]) {
			memcpy(digits, from + 2, 2);
			byte = strtol(digits, &end, 16);
		}
		if (end == digits + 2 && byte > 0) {
			*to = byte;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* "docker-HASH.scope", "libpod-HASH" and so on; also for names where runtimes know by name. */
static const char *parse_scope(const char *name, char *id)
{
	static const struct {
		const char *prefix, *runtime;
		bool takes_names;
	} scopes[] = {
		{"docker-", "docker", false},
		{"cri-containerd-", "containerd", false},
		{"nerdctl-", "containerd", false},
		{"crio-", "cri-o", false},
		{"libpod-payload-", "podman", false},
		{"libpod-", "podman", false},
		{"runc-", "runc", true},
		{"crun-", "crun", true},
	};
	const char *dash = strrchr(name, '-');

	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
		bool is_scope = cut(name, scopes[i].prefix, ".scope", id);

		if (!is_scope && !cut(name, scopes[i].prefix, "", id))
			continue;
		if (cgroup_path__is_hash(id) || (is_scope && scopes[i].takes_names))
			return scopes[i].runtime;
	}
	/* A runtime that we do not know; conmon watches a container from outside. */
	if (!dash || !cut(dash, "-", ".scope", id) || !cgroup_path__is_hash(id) ||
	    (dash - name >= 6 && !strncmp(dash - 6, "conmon", 6)))
		return NULL;
	return "oci";
}

static const char *parse_machine(const struct part *part, char *id)
{
	if (!strcmp(part->after, "supervisor"))
		return NULL;
	if (cut(part->name, "systemd-nspawn@", ".service", id)) {
		unescape_unit(id);
		return "systemd-nspawn";
	}
	if (strcmp(part->before, "machine.slice") || !cut(part->name, "machine-", ".scope", id))
		return NULL;
	unescape_unit(id);
	/* A virtual machine of libvirt: what runs in there is not seen from here. */
	return has_prefix(id, "qemu-") ? NULL : "systemd-nspawn";
}

static const char *parse_lxc(const struct part *part, bool is_first, char *id)
{
	if (cut(part->name, "lxc.payload.", "", id))
		return "lxc";
	/* The folder says it, the next component is the name. */
	if (!(is_first && !strcmp(part->name, "lxc")) && strcmp(part->name, "lxc.payload"))
		return NULL;
	strcpy(id, part->after);
	return id[0] ? "lxc" : NULL;
}

/* The runtime whose container begins here, with its id; NULL if none. */
static const char *parse_container(const struct part *part, bool is_first, bool in_pods, char *id)
{
	const char *runtime = parse_scope(part->name, id);

	if (!runtime)
		runtime = parse_machine(part, id);
	if (!runtime)
		runtime = parse_lxc(part, is_first, id);
	if (runtime || !cgroup_path__is_hash(part->name))
		return runtime;
	strcpy(id, part->name);
	if (!strcmp(part->before, "docker"))
		return "docker";
	return in_pods ? "kubernetes" : "oci";
}

/* "podUID", "kubepods-podUID.slice" (with "_" for "-"), "machine-libpod_pod_HASH.slice". */
static void parse_pod(const char *name, bool in_pods, char *pod_id)
{
	const char *podman = strstr(name, "libpod_pod_"), *mark = NULL;
	char id[CGROUP_NAME_SIZE];

	if (podman && cut(podman, "libpod_pod_", has_suffix(name, ".slice") ? ".slice" : "", id)) {
		if (cgroup_path__is_hash(id))
			strcpy(pod_id, id);
		return;
	}
	if (!in_pods)
		return;
	if (cut(name, "pod", "", id) && !strchr(id, '.')) {
		strcpy(pod_id, id);
		return;
	}
	for (const char *at = name; (at = strstr(at, "-pod")); at++)
		mark = at;
	if (!mark || !cut(mark, "-pod", ".slice", id) || has_prefix(id, "s-"))
		return;
	for (char *c = id; *c; c++)
		if (*c == '_')
			*c = '-';
	strcpy(pod_id, id);
}

static void parse_unit(const char *name, char *unit)
{
	static const char *const suffixes[] = {".service", ".scope", ".socket", ".mount", ".swap"};

	if (!strcmp(name, "init.scope"))
		return;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (has_suffix(name, suffixes[i]) && strlen(name) > strlen(suffixes[i]))
			strcpy(unit, name);
}

/* The next component into name; false at the end. Empty ones, "." and ".." say nothing: a path from
 * another cgroup namespace begins with "/..". */
static bool next_name(const char **path, char *name)
{
	static const char deleted[] = " (deleted)";

	for (;;) {
		size_t len;

		*path += strspn(*path, "/");
		len = strcspn(*path, "/");
		if (!len)
			return false;
		if (len >= CGROUP_NAME_SIZE) /* no name of a directory is */
			return false;
		memcpy(name, *path, len);
		name[len] = 0;
		*path += len;
		if (!**path && has_suffix(name, deleted))
			name[len - strlen(deleted)] = 0;
		if (name[0] && strcmp(name, ".") && strcmp(name, ".."))
			return true;
	}
}

void cgroup_path__parse(const char *path, struct cgroup_path *out)
{
	struct part part = {0};
	char pod_id[CGROUP_NAME_SIZE] = "", id[CGROUP_NAME_SIZE];
	bool in_pods = false, is_first = true, more = next_name(&path, part.after);
	int64_t uid = -1;

	memset(out, 0, sizeof(*out));
	while (more) {
		struct cgroup_container *container;
		const char *runtime;
		unsigned int user;
		int end = 0;

		strcpy(part.before, part.name);
		strcpy(part.name, part.after);
		part.after[0] = 0;
		more = next_name(&path, part.after);
		if (sscanf(part.name, "user@%u.service%n", &user, &end) == 1 && end &&
		    !part.name[end])
			uid = user;
		in_pods |= strstr(part.name, "kubepods") != NULL;
		parse_pod(part.name, in_pods, pod_id);
		runtime = parse_container(&part, is_first, in_pods, id);
		is_first = false;
		if (!runtime) {
			parse_unit(part.name, out->unit);
			continue;
		}
		if (out->container_cnt < CGROUP_MAX_NESTED)
			out->container_cnt++;
		container = &out->containers[out->container_cnt - 1];
		container->runtime = runtime;
		strcpy(container->id, id);
		container->has_hash = cgroup_path__is_hash(id);
		strcpy(container->pod_id, pod_id);
		container->uid = uid;
		/* What lies within has its own pods and users. */
		pod_id[0] = 0;
		in_pods = false;
		uid = -1;
	}
}
