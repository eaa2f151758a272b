/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BUCKETS 1024 /* power of two */
/* Descriptors kept open; beyond it files go without symbols rather than us without descriptors. */
#define MAX_OPEN_FILES 4096
/* Files told apart; what a target maps beyond it stays unknown. */
#define MAX_FILES 65536

struct file_table {
	struct mapped_file *buckets[BUCKETS];
	unsigned int cnt, open_cnt;
	file_identify_fn identify; /* may be NULL */
	void *identify_arg;
};

void file_table__set_identify(struct file_table *files, file_identify_fn identify, void *arg)
{
	files->identify = identify;
	files->identify_arg = arg;
}

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
 * What a target's user may control is looked at before it is opened for reading: opening a FIFO may
 * block, and opening a device may do anything. Takes path_fd, of O_PATH or -errno, over: only if it
 * is the regular file with the inode that is mapped (0: any). Device numbers are no help: overlayfs
 * and btrfs show others to stat than the kernel has in the mapping.
 */
static int open_regular(int path_fd, uint64_t inode)
{
	char name[64];
	struct stat st;
	int fd;

	if (path_fd < 0)
		return path_fd;
	if (fstat(path_fd, &st)) {
		fd = -errno;
	} else if (!S_ISREG(st.st_mode)) {
		fd = -ENOEXEC;
	} else if (inode && st.st_ino != inode) {
		fd = -ESTALE;
	} else {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		fd = fd < 0 ? -errno : fd;
	}
	close(path_fd);
	return fd;
}

static int open_path(int dir, const char *path, uint64_t resolve)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = resolve};
	int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

size_t mapped_file__name_length(const char *path, size_t length)
{
	static const char mark[] = " (deleted)";
	size_t mark_length = sizeof(mark) - 1;

	if (length > mark_length && !memcmp(path + length - mark_length, mark, mark_length))
		length -= mark_length;
	return length;
}

/* Does the link lead to a file of that path? Its own text may begin with a chroot's directory. */
static bool link_ends_with(const char *link, const char *path)
{
	char text[PATH_MAX];
	ssize_t n = readlink(link, text, sizeof(text));
	size_t text_length, path_length = mapped_file__name_length(path, strlen(path));

	if (n <= 0)
		return false;
	text_length = mapped_file__name_length(text, n);
	return path_length && text_length >= path_length &&
	       !memcmp(text + text_length - path_length, path, path_length);
}

/*
 * The link leads to the very file that is mapped there, whatever happened to
 * its name; but what is mapped there now may be another file than was. Where
 * the file system shows other inode numbers to us, its name must do.
 */
static int open_map_file(pid_t pid, uint64_t start, uint64_t end, uint64_t inode, const char *path)
{
	char link[96];
	int fd;

	snprintf(link, sizeof(link), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, start,
		 end);
	fd = open_regular(open_path(AT_FDCWD, link, 0), inode);
	if (fd == -ESTALE && link_ends_with(link, path))
		fd = open_regular(open_path(AT_FDCWD, link, 0), 0);
	return fd;
}

/* By its name in the process's root; no link there leads out of it. -ESRCH: the process is gone. */
static int open_in_root(pid_t pid, uint64_t inode, const char *path)
{
	char name[64];
	int root, fd;

	snprintf(name, sizeof(name), "/proc/%d/root", (int)pid);
	root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	fd = open_regular(open_path(root, path, RESOLVE_IN_ROOT), inode);
	close(root);
	return fd;
}

/* Has it the kernel's own name for what was mapped? */
static bool is_mapped_one(const struct file_table *files, int fd, dev_t dev, uint64_t inode)
{
	struct file_identity identity;
	struct stat st;

	if (!fstat(fd, &st) && st.st_dev == dev)
		return true;
	return files->identify && files->identify(files->identify_arg, fd, &identity) &&
	       identity.dev == dev && identity.inode == inode;
}

/*
 * A process that is gone has left a name only, and it may have had another root than we have: what
 * is found here must be the very file. A file that was run a moment ago is in the kernel's cache;
 * nothing is read from disk, waited for or mounted for a name that may be made up.
 */
static int open_left(const struct file_table *files, dev_t dev, uint64_t inode, const char *path)
{
	int fd = open_regular(open_path(AT_FDCWD, path, RESOLVE_CACHED | RESOLVE_NO_SYMLINKS),
			      inode);

	if (fd < 0 || is_mapped_one(files, fd, dev, inode))
		return fd;
	close(fd);
	return -ESTALE;
}

static int open_mapped(const struct file_table *files, const struct mapped_file *file, pid_t pid,
		       uint64_t start, uint64_t end, const char *path)
{
	int fd = open_map_file(pid, start, end, file->inode, path);

	if (fd >= 0 || path[0] != '/')
		return fd;
	fd = open_in_root(pid, file->inode, path);
	return fd == -ESRCH ? open_left(files, file->dev, file->inode, path) : fd;
}

static bool is_file(const struct mapped_file *file, dev_t dev, uint64_t inode, uint64_t generation,
		    const char *path)
{
	if (file->inode != inode || file->dev != dev)
		return false;
	/* Special mappings have no inode: their name is their identity. */
	if (!inode)
		return !strcmp(file->path, path);
	if (file->generation == generation)
		return true;
	/*
	 * /proc does not tell the generation. An inode that we hold open is not used again; the
	 * path is compared because on btrfs another subvolume may have the same inode number.
	 */
	return (!file->generation || !generation) && file->fd >= 0 && !strcmp(file->path, path);
}

static bool stat_of(const char *process, const char *name, struct stat *st)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/%s", process, name);
	return !stat(path, st);
}

uint64_t mapped_file__origin(pid_t pid)
{
	struct stat ns, root, our_ns, our_root;
	char process[16];
	uint64_t origin;

	snprintf(process, sizeof(process), "%d", (int)pid);
	if (!stat_of(process, "ns/mnt", &ns) || !stat_of(process, "root", &root) ||
	    !stat_of("self", "ns/mnt", &our_ns) || !stat_of("self", "root", &our_root))
		return 0;
	if (ns.st_ino == our_ns.st_ino && root.st_ino == our_root.st_ino &&
	    root.st_dev == our_root.st_dev)
		return 0;
	origin = (ns.st_ino * 31 + root.st_dev) * 31 + root.st_ino;
	return origin ? origin : 1;
}

static void open_file(struct file_table *files, struct mapped_file *file, pid_t pid, uint64_t start,
		      uint64_t end, const char *path)
{
	if (!file->inode || files->open_cnt >= MAX_OPEN_FILES)
		return;
	file->fd = open_mapped(files, file, pid, start, end, path);
	if (file->fd < 0)
		return;
	file->origin = mapped_file__origin(pid);
	files->open_cnt++;
	/* If it could not be opened before, whoever tried to read it may try again. */
	file->examined = file->user_failed = false;
}

static struct mapped_file *add_file(struct file_table *files, dev_t dev, uint64_t inode,
				    uint64_t generation, const char *path)
{
	struct mapped_file *file = files->cnt < MAX_FILES ? calloc(1, sizeof(*file)) : NULL;

	if (file)
		file->path = strdup(path);
	if (!file || !file->path) {
		free(file);
		errno = ENOMEM;
		return NULL;
	}
	file->dev = dev;
	file->inode = inode;
	file->generation = generation;
	file->fd = -ENOENT;
	files->cnt++;
	return file;
}

static struct mapped_file **find_file(struct file_table *files, dev_t dev, uint64_t inode,
				      uint64_t generation, const char *path)
{
	struct mapped_file **link;
	uint64_t hash = inode * 31 + dev;

	for (const char *c = path; !inode && *c; c++)
		hash = hash * 31 + (unsigned char)*c;
	link = &files->buckets[hash % BUCKETS];
	while (*link && !is_file(*link, dev, inode, generation, path))
		link = &(*link)->next;
	return link;
}

static bool is_on_overlay(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && st.f_type == OVERLAYFS_SUPER_MAGIC;
}

/* The file of the layer, which gets the descriptor; the file itself if it is no other. */
static struct mapped_file *find_real(struct file_table *files, struct mapped_file *file)
{
	struct file_identity identity;
	struct mapped_file **link, *real;

	if (!files->identify || !is_on_overlay(file->fd) ||
	    !files->identify(files->identify_arg, file->fd, &identity) ||
	    (identity.inode == file->inode && identity.dev == file->dev))
		return file;
	link = find_file(files, identity.dev, identity.inode, identity.generation, file->path);
	if (!*link)
		*link = add_file(files, identity.dev, identity.inode, identity.generation,
				 file->path);
	real = *link;
	if (!real)
		return file;
	if (real->fd < 0) {
		real->fd = file->fd;
		real->origin = file->origin;
		real->examined = real->user_failed = false;
	} else {
		close(file->fd);
		files->open_cnt--;
	}
	file->fd = -ENOENT;
	file->real = real;
	return real;
}

struct mapped_file *file_table__get(struct file_table *files, pid_t pid, uint64_t start,
				    uint64_t end, dev_t dev, uint64_t inode, uint64_t generation,
				    const char *path)
{
	struct mapped_file **link = find_file(files, dev, inode, generation, path), *file = *link;

	if (!file) {
		file = *link = add_file(files, dev, inode, generation, path);
		if (!file)
			return NULL;
	}
	if (!file->generation)
		file->generation = generation;
	/* The real one may have been closed; then it is found and opened again. */
	if (file->real && file->real->fd >= 0)
		return file->real;
	file->real = NULL;
	if (file->fd >= 0)
		return file;
	/* Again if it failed: that process may have been gone, this one lives. */
	open_file(files, file, pid, start, end, path);
	return file->fd >= 0 ? find_real(files, file) : file;
}

uint32_t file_table__open_cnt(const struct file_table *files)
{
	return files->open_cnt;
}

uint32_t file_table__open_max(void)
{
	return MAX_OPEN_FILES;
}

void file_table__for_each_open(struct file_table *files, mapped_file_fn fn, void *arg)
{
	for (int i = 0; i < BUCKETS; i++)
		for (struct mapped_file *file = files->buckets[i]; file; file = file->next)
			if (file->fd >= 0 && !fn(arg, file))
				return;
}

void file_table__close(struct file_table *files, struct mapped_file *file)
{
	if (file->fd < 0 || file->is_pinned)
		return;
	close(file->fd);
	file->fd = -ENOENT;
	file->examined = file->has_probes = file->has_allocator = false;
	files->open_cnt--;
}
