/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/container.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "target/cgroup_path.h"
#include "target/clock.h"
#include "target/runtime_state.h"
#include "target/state_file.h"

#define MAX_KEPT	 4096  /* cgroups remembered; then the one kept longest goes */
#define KEEP_S		 60    /* a container may be renamed */
#define KEEP_NAMELESS_S	 5     /* or its file come later than its first process */
#define MAX_CGROUP_BYTES 65536 /* of /proc/PID/cgroup */
#define SHORT_ID_LEN	 12
#define MAX_LISTED	 4096 /* containers of a list */

_Static_assert(CONTAINER_TEXT_SIZE == CGROUP_NAME_SIZE, "names fit");

/* What the kernel says of a process. */
struct placement {
	char *text; /* /proc/PID/cgroup, lines ended by zeros */
	size_t len;
	struct cgroup_path path; /* of the line that says most */
	const char *path_text;
	/* "pid:[4026531836]" if it and the mount namespace are foreign; else, or if unknown, "" */
	char pid_ns[32];
};

struct kept {
	char *key;
	uint64_t until_ns;
	bool is_nameless; /* or no container: there may be news of it */
	struct container container;
};

struct containers {
	struct state_tree tree;
	char proc[PATH_MAX / 2];
	char host_pid_ns[32], host_mnt_ns[32];
	char own_id[CONTAINER_TEXT_SIZE]; /* of the container that pid 1 is in: ours; "" */
	struct plain_container *plain;
	uint32_t plain_cnt;
	uint64_t plain_until_ns;
	struct kept *kept[MAX_KEPT];
	uint64_t hashes[MAX_KEPT]; /* of their keys */
	uint32_t next_kept;
};

/* ---- what the kernel says ---- */

static int open_proc(const struct containers *containers, pid_t pid, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%d/%s", containers->proc, (int)pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Up to size - 1 bytes with a zero after them; -errno. */
static ssize_t read_proc(const struct containers *containers, pid_t pid, const char *name,
			 char *buf, size_t size)
{
	int fd = open_proc(containers, pid, name);
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += n;
	if (n < 0)
		n = -errno;
	close(fd);
	buf[len] = 0;
	return n < 0 ? n : (ssize_t)len;
}

static void read_namespace_of(const struct containers *containers, const char *process,
			      const char *name, char buf[static 32])
{
	char path[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s/ns/%s", containers->proc, process, name);
	n = readlink(path, buf, 31);
	buf[n > 0 ? n : 0] = 0;
}

/* "pid:[4026531836]"; "" if unknown. */
static void read_namespace(const struct containers *containers, pid_t pid, const char *name,
			   char buf[static 32])
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	read_namespace_of(containers, text, name, buf);
}

/* Pid 1's, which may be closed to us: then our own, which are the same unless we are in a container
 * ourselves. */
static void read_host_namespaces(struct containers *containers)
{
	static const char *const processes[] = {"1", "self"};

	for (int i = 0; i < 2 && !containers->host_mnt_ns[0]; i++) {
		read_namespace_of(containers, processes[i], "pid", containers->host_pid_ns);
		read_namespace_of(containers, processes[i], "mnt", containers->host_mnt_ns);
	}
}

/* Clock ticks from boot to the start of a process; 0 if unknown. */
static uint64_t start_ticks(const struct containers *containers, pid_t pid)
{
	char stat[1024], *after_comm, *rest, *field = NULL;

	if (read_proc(containers, pid, "stat", stat, sizeof(stat)) <= 0)
		return 0;
	/* A name may have anything in it, ")" too. */
	after_comm = strrchr(stat, ')');
	rest = after_comm ? after_comm + 1 : NULL;
	if (rest && *rest == ' ')
		rest++;
	for (int i = 3; i <= 22 && rest; i++)
		field = strsep(&rest, " ");
	return field ? strtoull(field, NULL, 10) : 0;
}

/* What follows the second colon; NULL if there is none. */
static const char *path_of_line(const char *line)
{
	const char *controllers = strchr(line, ':'), *path;

	path = controllers ? strchr(controllers + 1, ':') : NULL;
	return path ? path + 1 : NULL;
}

/* How much a line tells. */
static int rank_line(const struct cgroup_path *path, const char *text, bool is_unified)
{
	if (path->container_cnt)
		return is_unified ? 4 : 3;
	if (strcmp(text, "/"))
		return is_unified ? 2 : 1;
	return 0;
}

/*
 * Lines are "0::/path" (unified) or "4:memory:/path", "1:name=systemd:/path". On hosts with both,
 * runtimes may have moved a process in the older hierarchies only
 * ("0::/system.slice/docker.service" beside "4:memory:/docker/HASH"): the line that tells of a
 * container counts.
 */
static void choose_line(struct placement *at)
{
	int best = -1;

	for (char *line = at->text; line < at->text + at->len; line += strlen(line) + 1) {
		const char *text = path_of_line(line);
		struct cgroup_path path;
		int rank;

		if (!text)
			continue;
		cgroup_path__parse(text, &path);
		rank = rank_line(&path, text, !strncmp(line, "0::", 3));
		if (rank <= best)
			continue;
		best = rank;
		at->path = path;
		at->path_text = text;
	}
}

/* 0 or -errno; for placement__release in any case. */
static int placement__read(struct placement *at, const struct containers *containers, pid_t pid)
{
	char mnt_ns[32];
	ssize_t len;

	memset(at, 0, sizeof(*at));
	at->text = malloc(MAX_CGROUP_BYTES);
	if (!at->text)
		return -ENOMEM;
	len = read_proc(containers, pid, "cgroup", at->text, MAX_CGROUP_BYTES);
	if (len < 0)
		return len == -ENOENT ? -ESRCH : len;
	at->len = len;
	for (ssize_t i = 0; i < len; i++)
		if (at->text[i] == '\n')
			at->text[i] = 0;
	choose_line(at);
	if (at->path.container_cnt || !containers->host_mnt_ns[0])
		return 0;
	read_namespace(containers, pid, "pid", at->pid_ns);
	if (!strcmp(at->pid_ns, containers->host_pid_ns))
		at->pid_ns[0] = 0;
	if (!at->pid_ns[0])
		return 0;
	read_namespace(containers, pid, "mnt", mnt_ns);
	if (!mnt_ns[0] || !strcmp(mnt_ns, containers->host_mnt_ns))
		at->pid_ns[0] = 0;
	return 0;
}

static void placement__release(struct placement *at)
{
	free(at->text);
}

/* ---- what the runtimes say ---- */

/* At most every few seconds: every process of the host may ask. */
static int refresh_plain(struct containers *containers)
{
	struct plain_container *list;
	uint32_t cnt;
	int err;

	if (containers->plain_until_ns > monotonic_ns())
		return 0;
	err = runtime_state__plain(&containers->tree, &list, &cnt);
	if (err)
		return err;
	plain_containers__free(containers->plain, containers->plain_cnt);
	containers->plain = list;
	containers->plain_cnt = cnt;
	containers->plain_until_ns = monotonic_ns() + 1000000000ULL;
	return 0;
}

/* Is a process's cgroup this one or below it? */
static bool is_within(const char *path, const char *cgroup)
{
	size_t len = strlen(cgroup);

	return !strncmp(path, cgroup, len) && (!path[len] || path[len] == '/');
}

static const struct plain_container *find_by_cgroup(const struct containers *containers,
						    const struct placement *at)
{
	const struct plain_container *best = NULL;
	size_t best_len = 0;

	for (const char *line = at->text; line < at->text + at->len; line += strlen(line) + 1) {
		const char *path = path_of_line(line);

		for (uint32_t i = 0; path && i < containers->plain_cnt; i++) {
			const struct plain_container *plain = &containers->plain[i];

			for (int k = 0; k < 4 && plain->cgroups[k]; k++) {
				size_t len = strlen(plain->cgroups[k]);

				if (len <= best_len || !is_within(path, plain->cgroups[k]))
					continue;
				best = plain;
				best_len = len;
			}
		}
	}
	return best;
}

static const struct plain_container *find_by_namespace(const struct containers *containers,
						       const struct placement *at)
{
	for (uint32_t i = 0; at->pid_ns[0] && i < containers->plain_cnt; i++) {
		const struct plain_container *plain = &containers->plain[i];
		char pid_ns[32];

		if (plain->init_pid <= 0)
			continue;
		read_namespace(containers, plain->init_pid, "pid", pid_ns);
		if (strcmp(pid_ns, at->pid_ns))
			continue;
		/* The container may be gone and its number another's. */
		if (!plain->init_start_ticks ||
		    start_ticks(containers, plain->init_pid) == plain->init_start_ticks)
			return plain;
	}
	return NULL;
}

/* A container that has no name is called by its id, cut if that is long. */
static void name_by_id(const char *id, bool has_hash, char name[static CONTAINER_TEXT_SIZE])
{
	snprintf(name, CONTAINER_TEXT_SIZE, "%.*s",
		 has_hash ? SHORT_ID_LEN : CONTAINER_TEXT_SIZE - 1, id);
}

/* Returns whether it has all the names that it can have. */
static bool fill_names(const struct containers *containers, const struct cgroup_container *from,
		       struct container *out)
{
	struct runtime_names names;
	bool found =
		runtime_state__find(&containers->tree, from->runtime, from->id, from->uid, &names);

	if (found) {
		out->runtime = names.runtime;
		strcpy(out->pod, names.pod);
		strcpy(out->pod_namespace, names.pod_namespace);
		strcpy(out->name, names.name);
	}
	return found && names.name[0];
}

static bool fill_from_path(const struct containers *containers, const struct cgroup_path *path,
			   struct container *out)
{
	/* In a container ourselves, without a cgroup namespace, all paths begin with it. */
	uint32_t first =
		path->container_cnt > 1 && !strcmp(path->containers[0].id, containers->own_id);
	const struct cgroup_container *outer = &path->containers[first],
				      *inner = &path->containers[path->container_cnt - 1];
	struct container named = {.runtime = outer->runtime};
	bool is_named = !outer->has_hash;

	out->runtime = inner->runtime;
	out->uid = outer->uid;
	strcpy(out->id, inner->id);
	name_by_id(inner->id, inner->has_hash, out->name);
	snprintf(out->pod, sizeof(out->pod), "%.*s",
		 cgroup_path__is_hash(inner->pod_id) ? SHORT_ID_LEN : CONTAINER_TEXT_SIZE - 1,
		 inner->pod_id);
	if (outer->has_hash)
		is_named = fill_names(containers, outer, &named);
	if (!named.name[0])
		name_by_id(outer->id, outer->has_hash, named.name);
	if (inner != outer) {
		strcpy(out->outer_id, outer->id);
		strcpy(out->outer_name, named.name);
		return is_named;
	}
	out->runtime = named.runtime;
	strcpy(out->name, named.name);
	if (named.pod[0])
		strcpy(out->pod, named.pod);
	strcpy(out->pod_namespace, named.pod_namespace);
	return is_named;
}

static void fill_from_plain(const struct containers *containers,
			    const struct plain_container *plain, struct container *out)
{
	const struct cgroup_container by_hash = {.runtime = "", .uid = -1};
	struct cgroup_container from = by_hash;

	out->runtime = plain->names.runtime;
	strcpy(out->id, plain->id);
	strcpy(out->name, plain->names.name);
	strcpy(out->pod, plain->names.pod);
	strcpy(out->pod_namespace, plain->names.pod_namespace);
	/* runc may have been called by one that has names. */
	strcpy(from.id, plain->id);
	if (cgroup_path__is_hash(plain->id))
		fill_names(containers, &from, out);
	if (!out->name[0])
		name_by_id(plain->id, cgroup_path__is_hash(plain->id), out->name);
}

/* Returns whether nothing more can be known soon; -errno. */
static int fill(struct containers *containers, const struct placement *at, struct container *out)
{
	const struct plain_container *plain;
	int err;

	out->runtime = "";
	out->uid = -1;
	strcpy(out->unit, at->path.unit);
	if (at->path.container_cnt)
		return fill_from_path(containers, &at->path, out);
	err = refresh_plain(containers);
	if (err)
		return err;
	plain = find_by_cgroup(containers, at);
	if (!plain)
		plain = find_by_namespace(containers, at);
	if (plain) {
		fill_from_plain(containers, plain, out);
		return true;
	}
	if (!at->pid_ns[0])
		return false;
	out->runtime = "namespace";
	snprintf(out->id, sizeof(out->id), "pidns-%.*s", (int)strcspn(at->pid_ns + 5, "]"),
		 at->pid_ns + 5);
	strcpy(out->name, out->id);
	return false;
}

/* ---- what is kept ---- */

static uint64_t hash_bytes(uint64_t hash, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ULL;
	return hash;
}

/* What decides the answer: the path if it tells, else all lines and the namespace. For free(). */
static char *make_key(const struct placement *at, size_t *len)
{
	bool tells = at->path.container_cnt;
	size_t text_len = tells ? strlen(at->path_text) : at->len;
	char *key = malloc(text_len + sizeof(at->pid_ns));

	if (!key)
		return NULL;
	memcpy(key, tells ? at->path_text : at->text, text_len);
	strcpy(key + text_len, at->pid_ns);
	*len = text_len + strlen(at->pid_ns);
	/* Compared as a string. */
	for (size_t i = 0; i < *len; i++)
		if (!key[i])
			key[i] = '\n';
	return key;
}

static struct kept *find_kept(const struct containers *containers, uint64_t hash, const char *key)
{
	for (uint32_t i = 0; i < MAX_KEPT && containers->kept[i]; i++)
		if (containers->hashes[i] == hash && !strcmp(containers->kept[i]->key, key))
			return containers->kept[i];
	return NULL;
}

/* A place for a new one, to be filled; NULL with errno ENOMEM. */
static struct kept *make_room(struct containers *containers, uint64_t hash)
{
	struct kept **place = &containers->kept[containers->next_kept];

	if (!*place)
		*place = calloc(1, sizeof(**place));
	if (!*place)
		return NULL;
	containers->hashes[containers->next_kept] = hash;
	containers->next_kept = (containers->next_kept + 1) % MAX_KEPT;
	return *place;
}

static const struct container *look_up(struct containers *containers, const struct placement *at)
{
	struct container container = {0};
	struct kept *kept;
	size_t len;
	char *key = make_key(at, &len);
	uint64_t hash;
	int known;

	if (!key) {
		errno = ENOMEM;
		return NULL;
	}
	hash = hash_bytes(0xcbf29ce484222325ULL, key, len);
	kept = find_kept(containers, hash, key);
	if (kept && kept->until_ns > monotonic_ns()) {
		free(key);
		return &kept->container;
	}
	known = fill(containers, at, &container);
	if (!kept)
		kept = known < 0 ? NULL : make_room(containers, hash);
	if (known < 0 || !kept) {
		free(key);
		errno = known < 0 ? -known : ENOMEM;
		return NULL;
	}
	free(kept->key);
	*kept = (struct kept){
		.key = key,
		.until_ns = monotonic_ns() + (known ? KEEP_S : KEEP_NAMELESS_S) * 1000000000ULL,
		.is_nameless = !known,
		.container = container,
	};
	return &kept->container;
}

const struct container *containers__of(struct containers *containers, pid_t pid, char *cgroup,
				       size_t cgroup_size)
{
	const struct container *container = NULL;
	struct placement at;
	int err = placement__read(&at, containers, pid);

	if (cgroup)
		snprintf(cgroup, cgroup_size, "%s", at.path_text ? at.path_text : "");
	if (err)
		errno = -err;
	else
		container = look_up(containers, &at);
	placement__release(&at);
	return container;
}

void containers__look_again(struct containers *containers)
{
	containers->plain_until_ns = 0;
	for (uint32_t i = 0; i < MAX_KEPT && containers->kept[i]; i++)
		if (containers->kept[i]->is_nameless)
			containers->kept[i]->until_ns = 0;
}

struct containers *containers__new(const char *root, const char *proc)
{
	struct containers *containers = calloc(1, sizeof(*containers));
	struct placement at;

	if (!containers)
		return NULL;
	snprintf(containers->proc, sizeof(containers->proc), "%s", proc ? proc : "/proc");
	/* Without either there are no names, which is no error. */
	if (state_tree__open(&containers->tree, root ? root : "/proc/1/root") && !root)
		state_tree__open(&containers->tree, "/");
	if (!placement__read(&at, containers, 1)) {
		const struct cgroup_path *path = &at.path;

		if (path->container_cnt)
			strcpy(containers->own_id, path->containers[path->container_cnt - 1].id);
	}
	placement__release(&at);
	read_host_namespaces(containers);
	return containers;
}

void containers__free(struct containers *containers)
{
	if (!containers)
		return;
	for (uint32_t i = 0; i < MAX_KEPT && containers->kept[i]; i++) {
		free(containers->kept[i]->key);
		free(containers->kept[i]);
	}
	plain_containers__free(containers->plain, containers->plain_cnt);
	state_tree__close(&containers->tree);
	free(containers);
}

/* ---- all of them ---- */

struct list {
	struct container *items;
	uint32_t cnt;
};

static bool is_same(const struct container *a, const struct container *b)
{
	return a->uid == b->uid && !strcmp(a->id, b->id) && !strcmp(a->outer_id, b->outer_id);
}

bool container__is_in(const struct container *container, const struct container *which)
{
	if (!container->runtime[0])
		return false;
	return is_same(container, which) || (!which->outer_id[0] && container->uid == which->uid &&
					     !strcmp(container->outer_id, which->id));
}

static int add_once(struct list *list, const struct container *container)
{
	struct container *items;

	for (uint32_t i = 0; i < list->cnt; i++)
		if (is_same(&list->items[i], container))
			return 0;
	if (list->cnt == MAX_LISTED)
		return 0;
	items = reallocarray(list->items, list->cnt + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->cnt] = *container;
	items[list->cnt++].unit[0] = 0; /* a process's, not the container's */
	return 0;
}

static int compare(const void *a_arg, const void *b_arg)
{
	const struct container *a = a_arg, *b = b_arg;
	char a_label[2 * CONTAINER_TEXT_SIZE], b_label[2 * CONTAINER_TEXT_SIZE];
	int order = strcmp(container__label(a, a_label, sizeof(a_label)),
			   container__label(b, b_label, sizeof(b_label)));

	if (!order)
		order = strcmp(a->pod, b->pod);
	return order ? order : strcmp(a->id, b->id);
}

static int add_of_process(struct containers *containers, struct list *list, pid_t pid)
{
	const struct container *container = containers__of(containers, pid, NULL, 0);

	if (!container)
		return errno == ENOMEM ? -ENOMEM : 0;
	return container->runtime[0] ? add_once(list, container) : 0;
}

int containers__list(struct containers *containers, struct container **out, uint32_t *cnt)
{
	struct list list = {0};
	DIR *proc = opendir(containers->proc);
	struct dirent *entry;
	int err = proc ? 0 : -errno;

	while (!err && (entry = readdir(proc))) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (pid > 0 && !*end)
			err = add_of_process(containers, &list, pid);
	}
	if (proc)
		closedir(proc);
	if (err) {
		free(list.items);
		list = (struct list){0};
	} else if (list.cnt) {
		qsort(list.items, list.cnt, sizeof(*list.items), compare);
	}
	*out = list.items;
	*cnt = list.cnt;
	return err;
}

/* ---- by name ---- */

/* How well a text names a container. What is nested chose its id itself, and comes last. */
enum fit {
	FIT_NONE,
	FIT_NESTED_PREFIX,
	FIT_NESTED,
	FIT_OUTER_PREFIX,
	FIT_PREFIX,
	FIT_OUTER,
	FIT_EXACT,
	FIT_ID, /* a container may be called as another's id is */
};

static bool is_prefix_of_hash(const char *id, const char *text)
{
	return cgroup_path__is_hash(id) && !strncmp(id, text, strlen(text));
}

/* "POD/NAME", "NAMESPACE/POD/NAME" or "OUTER/NAME"? */
static bool is_qualified(const struct container *container, const char *text)
{
	char whole[3 * CONTAINER_TEXT_SIZE];

	if (container->outer_id[0])
		return !strcmp(text, container__label(container, whole, sizeof(whole)));
	if (!container->pod[0])
		return false;
	snprintf(whole, sizeof(whole), "%s/%s/%s", container->pod_namespace, container->pod,
		 container->name);
	return !strcmp(text, whole) || !strcmp(text, whole + strlen(container->pod_namespace) + 1);
}

static enum fit fit(const struct container *container, const char *text)
{
	bool is_nested = container->outer_id[0];

	if (!container->runtime[0] || !text[0])
		return FIT_NONE;
	if (!is_nested && !strcmp(container->id, text))
		return FIT_ID;
	if (is_qualified(container, text))
		return FIT_EXACT;
	if (is_nested &&
	    (!strcmp(container->outer_name, text) || !strcmp(container->outer_id, text)))
		return FIT_OUTER;
	if (!strcmp(container->name, text) || !strcmp(container->id, text))
		return is_nested ? FIT_NESTED : FIT_EXACT;
	if (is_nested && is_prefix_of_hash(container->outer_id, text))
		return FIT_OUTER_PREFIX;
	if (is_prefix_of_hash(container->id, text))
		return is_nested ? FIT_NESTED_PREFIX : FIT_PREFIX;
	return FIT_NONE;
}

bool container__matches(const struct container *container, const char *text)
{
	return fit(container, text) != FIT_NONE;
}

/* Does another one that fits as well make the text ambiguous? A user can give a container the id of
 * one of the system's, which is then the one that is meant. */
static bool is_other(const struct container *found, const struct container *other, enum fit by)
{
	if (by == FIT_OUTER || by == FIT_OUTER_PREFIX)
		return strcmp(found->outer_id, other->outer_id) || found->uid != other->uid;
	return strcmp(found->id, other->id) || !(found->uid < 0) == !(other->uid < 0);
}

int container__find_in(const struct container *list, uint32_t cnt, const char *text,
		       struct container *found)
{
	enum fit best = FIT_NONE;
	uint32_t best_cnt = 0;

	for (uint32_t i = 0; i < cnt; i++) {
		enum fit this = fit(&list[i], text);

		if (this == FIT_NONE || this < best)
			continue;
		if (this > best)
			best_cnt = 1;
		else if (is_other(found, &list[i], this))
			best_cnt++;
		if (this > best || list[i].uid < 0)
			*found = list[i];
		best = this;
	}
	if (best_cnt != 1)
		return best_cnt ? -ENOTUNIQ : -ENOENT;
	if (best == FIT_OUTER || best == FIT_OUTER_PREFIX) {
		/* It has no process of its own that would have shown it. */
		struct container outer = {.runtime = "oci", .uid = found->uid};

		strcpy(outer.id, found->outer_id);
		strcpy(outer.name, found->outer_name);
		*found = outer;
	}
	return 0;
}

int containers__find(struct containers *containers, const char *text, struct container *found)
{
	struct container *list;
	uint32_t cnt;
	int err = containers__list(containers, &list, &cnt);

	if (err)
		return err;
	err = container__find_in(list, cnt, text, found);
	free(list);
	return err;
}

const char *container__label(const struct container *container, char *buf, size_t size)
{
	if (container->outer_id[0])
		snprintf(buf, size, "%s/%s", container->outer_name, container->name);
	else
		snprintf(buf, size, "%s", container->name);
	return buf;
}

/* Is there another one with the same label, pod and all? */
static bool is_ambiguous(const struct container *list, uint32_t cnt, uint32_t i)
{
	for (uint32_t k = 0; k < cnt; k++)
		if (k != i && !strcmp(list[k].name, list[i].name) &&
		    !strcmp(list[k].pod, list[i].pod) &&
		    !strcmp(list[k].pod_namespace, list[i].pod_namespace) &&
		    !strcmp(list[k].outer_name, list[i].outer_name))
			return true;
	return false;
}

/* "web", "prod/shop-1/web", "web (0123456789ab)". */
static void describe(const struct container *list, uint32_t cnt, uint32_t i, char *buf, size_t size)
{
	const struct container *container = &list[i];
	char label[2 * CONTAINER_TEXT_SIZE], id[SHORT_ID_LEN + 4] = "";

	container__label(container, label, sizeof(label));
	if (is_ambiguous(list, cnt, i))
		snprintf(id, sizeof(id), " (%.*s)", SHORT_ID_LEN, container->id);
	if (container->pod[0])
		snprintf(buf, size, "%s%s%s/%s%s", container->pod_namespace,
			 container->pod_namespace[0] ? "/" : "", container->pod, label, id);
	else
		snprintf(buf, size, "%s%s", label, id);
}

const char *container__names(const struct container *list, uint32_t cnt, const char *text,
			     char *buf, size_t size)
{
	const size_t room = sizeof(", and 4294967295 more");
	size_t len = 0;
	uint32_t shown = 0, wanted = 0;

	buf[0] = 0;
	for (uint32_t i = 0; i < cnt; i++) {
		char name[5 * CONTAINER_TEXT_SIZE];

		if (text && !container__matches(&list[i], text))
			continue;
		wanted++;
		describe(list, cnt, i, name, sizeof(name));
		if (shown + 1 < wanted || len + 2 + strlen(name) + room > size)
			continue;
		len += snprintf(buf + len, size - len, "%s%s", shown ? ", " : "", name);
		shown++;
	}
	if (shown < wanted)
		snprintf(buf + len, size - len, "%s%u more", shown ? ", and " : "", wanted - shown);
	return buf;
}
