/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_STATE_FILE_H
#define UNFREED_TARGET_STATE_FILE_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Files that container runtimes keep on disk, read with care: regular ones of the expected owner,
 * of a bounded size, whatever a name leads to. Paths are relative to a tree (another root in tests
 * and where we run in a container ourselves) and never leave it.
 */

#define STATE_FILE_MAX_BYTES   (1 << 20)
#define STATE_FILE_MAX_ENTRIES 4096 /* of a folder; the rest is not read */

struct json_object;

struct state_tree {
	int fd;		 /* of its root */
	uid_t owner;	 /* whose files are believed; root's always are */
	bool is_foreign; /* a user's own: links out of it are not followed, root's files not read */
};

/* Returns 0, or -errno with fd -1. */
int state_tree__open(struct state_tree *tree, const char *path);
/* A user's home, as the parent's etc/passwd has it; likewise. */
int state_tree__open_home(struct state_tree *home, const struct state_tree *parent, uid_t uid);
/* Takes one whose fd is -1. */
void state_tree__close(struct state_tree *tree);

/* The file's text with a zero at its end, for free(); NULL if there is none that is to be believed
 * or it is longer than STATE_FILE_MAX_BYTES. */
char *state_file__text(const struct state_tree *tree, const char *path, size_t *len);
/* The file's object or array, for json_object_put(); NULL also if it is not whole. */
struct json_object *state_file__json(const struct state_tree *tree, const char *path);
/* NULL if there is no such folder. */
DIR *state_file__folder(const struct state_tree *tree, const char *path);
/* The next name in a folder but "." and "..", counting in *n; NULL at the end or at the limit. */
const char *state_file__next(DIR *folder, unsigned int *n);

#endif
