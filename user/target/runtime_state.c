/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/runtime_state.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/state_file.h"

#define MAX_PLAIN 4096 /* containers by name; the rest is not known */

static const char *const containerd_folders[] = {
	"/run/containerd",
	"/run/docker/containerd/daemon",
	"/run/k3s/containerd",
	"/run/k0s/containerd",
	"/var/snap/microk8s/common/run/containerd",
};

/* ---- JSON ---- */

static struct json_object *get(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

/* The string at key, cut to size; "" if there is none. */
static void get_string(struct json_object *object, const char *key, char *out, size_t size)
{
	struct json_object *value = get(object, key);

	snprintf(out, size, "%s",
		 json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "");
}

/* The first of several keys that says something. */
static void get_first(struct json_object *object, const char *const *keys,
		      char out[static CGROUP_NAME_SIZE])
{
	out[0] = 0;
	for (; *keys && !out[0]; keys++)
		get_string(object, *keys, out, CGROUP_NAME_SIZE);
}

/* Labels (Docker's) or annotations of the OCI bundle (the others'), as Kubernetes' runtimes set
 * them. A pod's own container, that only holds its namespaces, is "POD" in some and nameless in
 * others. */
static void read_labels(struct json_object *labels, struct runtime_names *names)
{
	static const char *const name_keys[] = {"io.kubernetes.cri.container-name",
						"io.kubernetes.container.name", "nerdctl/name",
						NULL};
	static const char *const pod_keys[] = {"io.kubernetes.cri.sandbox-name",
					       "io.kubernetes.pod.name",
					       "io.kubernetes.cri-o.KubeName", NULL};
	static const char *const namespace_keys[] = {"io.kubernetes.cri.sandbox-namespace",
						     "io.kubernetes.pod.namespace",
						     "io.kubernetes.cri-o.Namespace", NULL};
	static const char *const type_keys[] = {"io.kubernetes.cri.container-type",
						"io.kubernetes.cri-o.ContainerType", NULL};
	char type[CGROUP_NAME_SIZE];

	get_first(labels, name_keys, names->name);
	get_first(labels, pod_keys, names->pod);
	get_first(labels, namespace_keys, names->pod_namespace);
	get_first(labels, type_keys, type);
	if (!names->name[0] && names->pod[0] && !strcmp(type, "sandbox"))
		strcpy(names->name, "POD");
}

/* ---- Docker ---- */

/* {"ID":"HASH","Name":"/web","Config":{"Labels":{...},...},...} */
static bool find_docker_in(const struct state_tree *tree, const char *root, const char *id,
			   struct runtime_names *names)
{
	char path[PATH_MAX];
	struct json_object *json;

	snprintf(path, sizeof(path), "%s/containers/%s/config.v2.json", root, id);
	json = state_file__json(tree, path);
	if (!json)
		return false;
	names->runtime = "docker";
	read_labels(get(get(json, "Config"), "Labels"), names);
	if (!names->name[0])
		get_string(json, "Name", names->name, sizeof(names->name));
	if (names->name[0] == '/')
		memmove(names->name, names->name + 1, strlen(names->name));
	json_object_put(json);
	return true;
}

static bool find_docker(const struct state_tree *tree, const char *id, struct runtime_names *names)
{
	struct json_object *config;
	char root[PATH_MAX / 2] = "";

	if (tree->is_foreign)
		return find_docker_in(tree, "/.local/share/docker", id, names);
	config = state_file__json(tree, "/etc/docker/daemon.json");
	get_string(config, "data-root", root, sizeof(root));
	json_object_put(config);
	if (root[0] == '/' && find_docker_in(tree, root, id, names))
		return true;
	return find_docker_in(tree, "/var/lib/docker", id, names) ||
	       find_docker_in(tree, "/var/snap/docker/common/var-lib-docker", id, names);
}

/* ---- containerd ---- */

/* Calls with each folder of containers, "STATE/io.containerd.runtime.v2.task/NAMESPACE", until one
 * says that it is enough. */
static bool each_task_folder(const struct state_tree *tree,
			     bool (*call)(const struct state_tree *tree, const char *folder,
					  void *arg),
			     void *arg)
{
	bool is_enough = false;

	for (size_t i = 0; !is_enough && i < sizeof(containerd_folders) / sizeof(char *); i++) {
		char tasks[PATH_MAX / 4], path[PATH_MAX / 2];
		const char *namespace;
		unsigned int n = 0;
		DIR *folder;

		snprintf(tasks, sizeof(tasks), "%s/io.containerd.runtime.v2.task",
			 containerd_folders[i]);
		folder = state_file__folder(tree, tasks);
		while (folder && !is_enough && (namespace = state_file__next(folder, &n))) {
			snprintf(path, sizeof(path), "%s/%s", tasks, namespace);
			is_enough = call(tree, path, arg);
		}
		if (folder)
			closedir(folder);
	}
	return is_enough;
}

struct task_search {
	const char *id;
	struct runtime_names *names;
};

static bool find_task(const struct state_tree *tree, const char *folder, void *arg)
{
	struct task_search *search = arg;
	char path[PATH_MAX];
	struct json_object *json;

	snprintf(path, sizeof(path), "%s/%s/config.json", folder, search->id);
	json = state_file__json(tree, path);
	if (!json)
		return false;
	search->names->runtime = "containerd";
	read_labels(get(json, "annotations"), search->names);
	json_object_put(json);
	return true;
}

static bool find_containerd(const struct state_tree *tree, const char *id,
			    struct runtime_names *names)
{
	struct task_search search = {id, names};

	return !tree->is_foreign && each_task_folder(tree, find_task, &search);
}

/* ---- Podman and CRI-O: containers/storage ---- */

/* CRI-O's names there are "k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT"; none of these has a "_". */
static void split_kubernetes_name(struct runtime_names *names)
{
	char copy[CGROUP_NAME_SIZE], *rest = copy, *name, *pod, *namespace;

	if (strncmp(names->name, "k8s_", 4))
		return;
	strcpy(copy, names->name + 4);
	name = strsep(&rest, "_");
	pod = strsep(&rest, "_");
	namespace = strsep(&rest, "_");
	if (!rest)
		return;
	strcpy(names->name, name);
	strcpy(names->pod, pod);
	strcpy(names->pod_namespace, namespace);
}

/* [{"id":"HASH","names":["web"],...},...] */
static bool find_in_containers_json(const struct state_tree *tree, const char *path, const char *id,
				    struct runtime_names *names)
{
	struct json_object *json = state_file__json(tree, path);
	size_t cnt =
		json_object_is_type(json, json_type_array) ? json_object_array_length(json) : 0;
	bool found = false;

	for (size_t i = 0; i < cnt && !found; i++) {
		struct json_object *entry = json_object_array_get_idx(json, i), *list, *name = NULL;
		char this[CGROUP_NAME_SIZE];

		get_string(entry, "id", this, sizeof(this));
		if (strcmp(this, id))
			continue;
		found = true;
		list = get(entry, "names");
		if (json_object_is_type(list, json_type_array) && json_object_array_length(list))
			name = json_object_array_get_idx(list, 0);
		if (json_object_is_type(name, json_type_string))
			snprintf(names->name, sizeof(names->name), "%s",
				 json_object_get_string(name));
	}
	json_object_put(json);
	return found;
}

static bool find_stored_in(const struct state_tree *tree, const char *folder, const char *id,
			   struct runtime_names *names)
{
	char path[PATH_MAX], manager[16];
	struct json_object *json, *annotations;
	bool found;

	snprintf(path, sizeof(path), "%s/%s/userdata/config.json", folder, id);
	json = state_file__json(tree, path);
	annotations = get(json, "annotations");
	read_labels(annotations, names);
	get_string(annotations, "io.container.manager", manager, sizeof(manager));
	found = json;
	json_object_put(json);
	if (found && names->name[0] && strcmp(manager, "libpod")) {
		names->runtime = "cri-o";
		return true;
	}
	snprintf(path, sizeof(path), "%s/containers.json", folder);
	if (!find_in_containers_json(tree, path, id, names) && !found)
		return false;
	split_kubernetes_name(names);
	names->runtime = names->pod[0] ? "cri-o" : "podman";
	return true;
}

static bool find_stored(const struct state_tree *tree, const char *id, struct runtime_names *names)
{
	static const char *const drivers[] = {"overlay", "vfs", "btrfs", "zfs", "devicemapper"};
	const char *storage = tree->is_foreign ? "/.local/share/containers/storage"
					       : "/var/lib/containers/storage";

	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		char folder[128];

		snprintf(folder, sizeof(folder), "%s/%s-containers", storage, drivers[i]);
		if (find_stored_in(tree, folder, id, names))
			return true;
	}
	return false;
}

/* ---- by hash ---- */

static bool find_in_tree(const struct state_tree *tree, const char *runtime, const char *id,
			 struct runtime_names *names)
{
	bool is_docker = !strcmp(runtime, "docker"), is_containerd = !strcmp(runtime, "containerd"),
	     is_stored = !strcmp(runtime, "podman") || !strcmp(runtime, "cri-o"),
	     is_any = !is_docker && !is_containerd && !is_stored;

	/* Docker's containers are containerd's too, without their names. */
	return ((is_docker || is_any) && find_docker(tree, id, names)) ||
	       ((is_containerd || is_any) && find_containerd(tree, id, names)) ||
	       ((is_stored || is_any) && find_stored(tree, id, names));
}

bool runtime_state__find(const struct state_tree *tree, const char *runtime, const char *id,
			 int64_t uid, struct runtime_names *names)
{
	struct state_tree home;
	bool found;

	*names = (struct runtime_names){.runtime = ""};
	/* The id becomes part of paths. */
	if (!cgroup_path__is_hash(id))
		return false;
	if (uid < 0)
		return find_in_tree(tree, runtime, id, names);
	if (state_tree__open_home(&home, tree, uid))
		return false;
	found = find_in_tree(&home, runtime, id, names);
	state_tree__close(&home);
	return found;
}

/* ---- by name ---- */

struct plain_list {
	struct plain_container *items;
	uint32_t cnt;
	int err;
};

void plain_containers__free(struct plain_container *list, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		for (int k = 0; k < 4; k++)
			free(list[i].cgroups[k]);
	free(list);
}

static struct plain_container *add_plain(struct plain_list *list, const char *runtime,
					 const char *id)
{
	struct plain_container *item, *items;

	if (list->cnt == MAX_PLAIN || strlen(id) >= sizeof(item->id))
		return NULL;
	items = reallocarray(list->items, list->cnt + 1, sizeof(*items));
	if (!items) {
		list->err = -ENOMEM;
		return NULL;
	}
	list->items = items;
	item = &items[list->cnt++];
	*item = (struct plain_container){.names.runtime = runtime};
	strcpy(item->id, id);
	return item;
}

static void add_cgroup(struct plain_container *item, const char *path)
{
	int i = 0;

	/* The root would have every process in it. */
	if (path[0] != '/' || !path[1])
		return;
	while (i < 4 && item->cgroups[i] && strcmp(item->cgroups[i], path))
		i++;
	if (i < 4 && !item->cgroups[i])
		item->cgroups[i] = strdup(path);
}

/*
 * {"id":"web","init_process_pid":1250,"init_process_start":1378340,"cgroup_paths":{
 *  "":"/sys/fs/cgroup/web"}}, or with older hierarchies {"":"/sys/fs/cgroup/unified/web",
 *  "memory":"/sys/fs/cgroup/memory/web",...}. "config":{"labels":["key=value",...]}.
 */
static void read_runc(struct plain_list *list, struct json_object *json, const char *id)
{
	struct plain_container *item = add_plain(list, "runc", id);
	struct json_object *cgroups = get(json, "cgroup_paths");

	if (!item)
		return;
	item->init_pid = json_object_get_int(get(json, "init_process_pid"));
	item->init_start_ticks = json_object_get_int64(get(json, "init_process_start"));
	if (!json_object_is_type(cgroups, json_type_object))
		return;
	json_object_object_foreach(cgroups, controller, value) {
		static const char mount[] = "/sys/fs/cgroup", unified[] = "/unified/";
		const char *path = json_object_get_string(value);

		if (!path || strncmp(path, mount, strlen(mount)))
			continue;
		path += strlen(mount);
		if (controller[0] || !strncmp(path, unified, strlen(unified)))
			path = path[0] ? strchr(path + 1, '/') : NULL;
		if (path)
			add_cgroup(item, path);
	}
}

/* {"pid":1250,"process-start-time":1378340,"cgroup-path":"/web",...} */
static void read_crun(struct plain_list *list, struct json_object *json, const char *id)
{
	struct plain_container *item = add_plain(list, "crun", id);
	char path[PATH_MAX];

	if (!item)
		return;
	item->init_pid = json_object_get_int(get(json, "pid"));
	item->init_start_ticks = json_object_get_int64(get(json, "process-start-time"));
	get_string(json, "cgroup-path", path, sizeof(path));
	/* Older ones write it without the "/". */
	if (path[0] && path[0] != '/') {
		memmove(path + 1, path, sizeof(path) - 1);
		path[0] = '/';
		path[sizeof(path) - 1] = 0;
	}
	add_cgroup(item, path);
}

static void list_oci(const struct state_tree *tree, struct plain_list *list, const char *root,
		     const char *file,
		     void (*read)(struct plain_list *list, struct json_object *json,
				  const char *id))
{
	DIR *folder = state_file__folder(tree, root);
	unsigned int n = 0;
	const char *id;

	while (folder && (id = state_file__next(folder, &n))) {
		struct json_object *json;
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s/%s", root, id, file);
		json = state_file__json(tree, path);
		if (json)
			read(list, json, id);
		json_object_put(json);
	}
	if (folder)
		closedir(folder);
}

/* Containers with hashes are found by them. */
static bool list_tasks(const struct state_tree *tree, const char *folder_path, void *arg)
{
	DIR *folder = state_file__folder(tree, folder_path);
	struct plain_list *list = arg;
	unsigned int n = 0;
	const char *id;

	while (folder && (id = state_file__next(folder, &n))) {
		char path[PATH_MAX], *pid;
		struct plain_container *item;
		struct json_object *json;
		size_t len;

		if (cgroup_path__is_hash(id))
			continue;
		snprintf(path, sizeof(path), "%s/%s/config.json", folder_path, id);
		json = state_file__json(tree, path);
		item = json ? add_plain(list, "containerd", id) : NULL;
		if (item) {
			read_labels(get(json, "annotations"), &item->names);
			get_string(get(json, "linux"), "cgroupsPath", path, sizeof(path));
			add_cgroup(item, path);
			snprintf(path, sizeof(path), "%s/%s/init.pid", folder_path, id);
			pid = state_file__text(tree, path, &len);
			item->init_pid = pid ? atoi(pid) : 0;
			free(pid);
		}
		json_object_put(json);
	}
	if (folder)
		closedir(folder);
	return list->err;
}

int runtime_state__plain(const struct state_tree *tree, struct plain_container **items,
			 uint32_t *cnt)
{
	struct plain_list list = {0};

	each_task_folder(tree, list_tasks, &list);
	list_oci(tree, &list, "/run/runc", "state.json", read_runc);
	list_oci(tree, &list, "/run/crun", "status", read_crun);
	*items = NULL;
	*cnt = 0;
	if (list.err) {
		plain_containers__free(list.items, list.cnt);
		return list.err;
	}
	*items = list.items;
	*cnt = list.cnt;
	return 0;
}
