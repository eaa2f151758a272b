/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS 1024 /* power of two */
/* Descriptors kept open; beyond it files go without symbols rather than us without descriptors. */
#define MAX_OPEN_FILES 4096

struct file_table {
	struct mapped_file *buckets[BUCKETS];
	unsigned int open_cnt;
};

struct file_table *file_table__new(void)
{
	return calloc(1, sizeof(struct file_table));
}

static void mapped_file__free(struct mapped_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	free(file);
}

void file_table__free(struct file_table *files)
{
	if (!files)
		return;
	for (int i = 0; i < BUCKETS; i++) {
		while (files->buckets[i]) {
			struct mapped_file *file = files->buckets[i];

			files->buckets[i] = file->next;
			mapped_file__free(file);
		}
	}
	free(files);
}

/*
 * Opens a path that a target's user may control: never blocks on a FIFO, never
 * becomes our terminal, and gives only the regular file with the inode that
 * is mapped. Device numbers are no help: overlayfs and btrfs show others to
 * stat than the kernel has in the mapping.
 */
static int open_inode(const char *path, uint64_t inode)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int err;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -ENOEXEC;
	else if (inode && st.st_ino != inode)
		err = -ESTALE;
	else
		return fd;
	close(fd);
	return err;
}

static int open_mapped(pid_t pid, uint64_t start, uint64_t end, uint64_t inode, const char *path)
{
	char name[4200];
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, start,
		 end);
	/* The link leads to the very file that is mapped, whatever happened to its name. */
	fd = open_inode(name, 0);
	if (fd >= 0 || path[0] != '/')
		return fd;
	snprintf(name, sizeof(name), "/proc/%d/root%s", (int)pid, path);
	fd = open_inode(name, inode);
	return fd >= 0 ? fd : open_inode(path, inode);
}

struct mapped_file *file_table__get(struct file_table *files, pid_t pid, uint64_t start,
				    uint64_t end, dev_t dev, uint64_t inode, uint64_t generation,
				    const char *path)
{
	struct mapped_file *file, **bucket;
	uint64_t hash = (inode * 31 + dev) * 31 + generation;

	/* Special mappings have no inode: their name is their identity. */
	for (const char *c = path; !inode && *c; c++)
		hash = hash * 31 + (unsigned char)*c;
	bucket = &files->buckets[hash % BUCKETS];
	for (file = *bucket; file; file = file->next)
		if (file->inode == inode && file->dev == dev && file->generation == generation &&
		    (inode || !strcmp(file->path, path)))
			return file;

	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->path = strdup(path);
	if (!file->path) {
		free(file);
		errno = ENOMEM;
		return NULL;
	}
	file->dev = dev;
	file->inode = inode;
	file->generation = generation;
	file->fd = -ENOENT;
	if (inode && files->open_cnt < MAX_OPEN_FILES) {
		file->fd = open_mapped(pid, start, end, inode, path);
		files->open_cnt += file->fd >= 0;
	}
	file->next = *bucket;
	*bucket = file;
	return file;
}
