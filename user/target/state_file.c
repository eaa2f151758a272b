/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * openat2 (Linux 5.6) keeps every component within the tree, links and ".." included. A user can
 * also mount file systems of his own below his home, whose files may never answer.
 */
static int open_in(const struct state_tree *tree, const char *path, int flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = tree->is_foreign ? RESOLVE_BENEATH | RESOLVE_NO_XDEV : RESOLVE_IN_ROOT,
	};
	int fd;

	if (tree->is_foreign)
		path += strspn(path, "/");
	do {
		fd = syscall(SYS_openat2, tree->fd, path, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN); /* something was renamed meanwhile */
	return fd < 0 ? -errno : fd;
}

int state_tree__open(struct state_tree *tree, const char *path)
{
	*tree = (struct state_tree){.owner = geteuid()};
	tree->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return tree->fd < 0 ? -errno : 0;
}

void state_tree__close(struct state_tree *tree)
{
	if (tree->fd >= 0)
		close(tree->fd);
	tree->fd = -1;
}

/* "name:x:1000:1000:Full Name:/home/name:/bin/sh" */
static bool find_home(char *passwd, uid_t uid, char home[static PATH_MAX])
{
	char *lines = passwd, *line;

	while ((line = strsep(&lines, "\n"))) {
		char *fields[6] = {0}, *rest = line, *end;
		unsigned long id;
		int n = 0;

		while (n < 6 && (fields[n] = strsep(&rest, ":")))
			n++;
		if (n < 6)
			continue;
		id = strtoul(fields[2], &end, 10);
		if (end == fields[2] || *end || id != uid || fields[5][0] != '/' ||
		    strlen(fields[5]) >= PATH_MAX)
			continue;
		strcpy(home, fields[5]);
		return true;
	}
	return false;
}

int state_tree__open_home(struct state_tree *home, const struct state_tree *parent, uid_t uid)
{
	char path[PATH_MAX], *passwd;
	size_t len;
	bool found;
	int err;

	*home = (struct state_tree){.fd = -1, .owner = uid, .is_foreign = true};
	passwd = state_file__text(parent, "/etc/passwd", &len);
	if (!passwd)
		return -ENOENT;
	found = find_home(passwd, uid, path);
	free(passwd);
	if (!found)
		return -ENOENT;
	home->fd = open_in(parent, path, O_PATH | O_DIRECTORY);
	if (home->fd >= 0)
		return 0;
	err = home->fd;
	home->fd = -1;
	return err;
}

/* Its size, if it is to be believed: not a pipe that would block, not a device, not another user's
 * file behind a hard link; else -1. */
static ssize_t believable_size(const struct state_tree *tree, int fd)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > STATE_FILE_MAX_BYTES)
		return -1;
	if (st.st_uid != tree->owner && (st.st_uid || tree->is_foreign))
		return -1;
	return st.st_size;
}

/* Up to size bytes; what a file grows by meanwhile is left out. */
static ssize_t read_up_to(int fd, char *text, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, text + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += n;
	}
	return len;
}

char *state_file__text(const struct state_tree *tree, const char *path, size_t *len)
{
	int fd = open_in(tree, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
	ssize_t size, n = -1;
	char *text = NULL;

	if (fd < 0)
		return NULL;
	size = believable_size(tree, fd);
	if (size >= 0)
		text = malloc(size + 1);
	if (text)
		n = read_up_to(fd, text, size);
	close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = 0;
	*len = n;
	return text;
}

struct json_object *state_file__json(const struct state_tree *tree, const char *path)
{
	struct json_object *json = NULL;
	struct json_tokener *tokener;
	size_t len;
	char *text = state_file__text(tree, path, &len);

	if (!text)
		return NULL;
	/* Nested at most 32 deep, which is json-c's own limit. */
	tokener = json_tokener_new();
	if (tokener)
		json = json_tokener_parse_ex(tokener, text, len);
	if (tokener)
		json_tokener_free(tokener);
	free(text);
	return json;
}

DIR *state_file__folder(const struct state_tree *tree, const char *path)
{
	int fd = open_in(tree, path, O_RDONLY | O_DIRECTORY);
	DIR *folder;

	if (fd < 0)
		return NULL;
	folder = fdopendir(fd);
	if (!folder)
		close(fd);
	return folder;
}

const char *state_file__next(DIR *folder, unsigned int *n)
{
	struct dirent *entry;

	while ((*n)++ < STATE_FILE_MAX_ENTRIES && (entry = readdir(folder)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			return entry->d_name;
	return NULL;
}
