/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Where to look, first to last:
 *
 *	DEBUG_ROOT/.build-id/ab/cdef.debug		on the host, then in the container
 *	DIR/LINK, DIR/.debug/LINK, DEBUG_ROOT/DIR/LINK	in the container, or if the module is in
 *							none on the host; DIR is the module's
 *
 * A module under /proc/PID/root may belong to a container, which can put
 * anything there: names that it chose are resolved inside that root only
 * (RESOLVE_IN_ROOT: no symbolic link leads out), and every candidate is opened
 * with O_PATH first, because just opening a fifo blocks and opening a device may
 * have effects.
 */
#include "sym/debug_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#include "sym/elf_handle.h"

#define MAX_CRC_BYTES ((size_t)4 << 30)
#define CRC_CHUNK     (64 << 10)

/* A place to look in. The host's root has an empty prefix. */
struct root {
	char prefix[64];   /* "/proc/PID/root" */
	const char *inner; /* the module's path inside it */
};

/* What a candidate must prove. */
struct proof {
	const char *build_id; /* NULL: the CRC counts */
	uint32_t crc;
	uint64_t *crc_budget_bytes; /* as in the query */
};

static int open_path(const struct root *root, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	int dir, fd, err;

	if (!root->prefix[0])
		return open(path, O_PATH | O_CLOEXEC);
	dir = open(root->prefix, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	err = errno;
	close(dir);
	errno = err;
	return fd;
}

/* A readable descriptor, if the path leads to a regular file; else -1. */
static int open_regular(const struct root *root, const char *path)
{
	int fd = open_path(root, path), readable = -1;
	char self[32];
	struct stat st;

	if (fd < 0)
		return -1;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		readable = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	}
	close(fd);
	return readable;
}

/* Reads the whole file, within the budget. */
static bool has_crc(int fd, const struct proof *proof)
{
	unsigned char *buf = malloc(CRC_CHUNK);
	uint64_t unlimited = MAX_CRC_BYTES, *left = proof->crc_budget_bytes;
	uLong crc = crc32(0, NULL, 0);
	off_t at = 0;
	ssize_t got = -1;

	if (!left)
		left = &unlimited;
	while (buf && *left >= CRC_CHUNK && (got = pread(fd, buf, CRC_CHUNK, at)) > 0) {
		crc = crc32(crc, buf, (uInt)got);
		at += got;
		*left -= (uint64_t)got;
	}
	free(buf);
	return got == 0 && crc == proof->crc;
}

static bool has_build_id(const struct elf_handle *file, const char *want)
{
	char hex[BUILD_ID_MAX_HEX];

	elf_handle__build_id(file, hex);
	return !strcmp(hex, want);
}

static struct elf_handle *try(const struct root *root, const char *path, const struct proof *proof)
{
	struct elf_handle *file = NULL;
	int fd = open_regular(root, path);

	if (fd < 0)
		return NULL;
	if (proof->build_id || has_crc(fd, proof))
		file = elf_handle__open_fd(fd);
	close(fd);
	if (file && proof->build_id && !has_build_id(file, proof->build_id)) {
		elf_handle__free(file);
		file = NULL;
	}
	return file;
}

static struct elf_handle *try_format(const struct root *root, const struct proof *proof,
				     const char *format, ...) __attribute__((format(printf, 3, 4)));

static struct elf_handle *try_format(const struct root *root, const struct proof *proof,
				     const char *format, ...)
{
	char path[PATH_MAX];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	return len > 0 && (size_t)len < sizeof(path) ? try(root, path, proof) : NULL;
}

/* The roots to look in: the host's, and the container's that the path goes through. */
static int find_roots(const char *path, struct root roots[2])
{
	size_t len = strlen("/proc/"), digits;

	roots[0].prefix[0] = '\0';
	roots[0].inner = path;
	if (strncmp(path, "/proc/", len))
		return 1;
	digits = strspn(path + len, "0123456789");
	if (!digits || digits > 20 || strncmp(path + len + digits, "/root/", 6))
		return 1;
	len += digits + strlen("/root");
	snprintf(roots[1].prefix, sizeof(roots[1].prefix), "%.*s", (int)len, path);
	roots[1].inner = path + len;
	roots[0].inner = path + len;
	return 2;
}

static struct elf_handle *by_build_id(const struct root *root, const char *debug_root,
				      const char *build_id)
{
	const struct proof proof = {.build_id = build_id};

	if (strlen(build_id) < 4)
		return NULL;
	return try_format(root, &proof, "%s/.build-id/%.2s/%s.debug", debug_root, build_id,
			  build_id + 2);
}

static int dir_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (int)(slash - path) : -1;
}

static struct elf_handle *by_link(const struct root *root, const struct debug_query *query)
{
	const struct proof proof = {.crc = query->link_crc,
				    .crc_budget_bytes = query->crc_budget_bytes};
	const char *dir = root->inner, *name = query->link_name;
	struct elf_handle *file;
	int len = dir_length(dir);

	if (len < 0) {
		dir = ".";
		len = 1;
	}
	file = try_format(root, &proof, "%.*s/%s", len, dir, name);
	if (!file)
		file = try_format(root, &proof, "%.*s/.debug/%s", len, dir, name);
	if (!file && root->inner[0] == '/')
		file = try_format(root, &proof, "%s%.*s/%s", query->debug_root, len, dir, name);
	return file;
}

struct elf_handle *debug_file__find(const struct debug_query *query)
{
	/* A link is a bare name; with a slash it would reach anywhere. */
	bool has_link = query->link_name[0] && !strchr(query->link_name, '/');
	struct elf_handle *file = NULL;
	struct root roots[2];
	int cnt = find_roots(query->path, roots);

	for (int i = 0; i < cnt && !file; i++)
		file = by_build_id(&roots[i], query->debug_root, query->build_id);
	/* What a container's file names is the container's. */
	if (!file && has_link)
		file = by_link(&roots[cnt - 1], query);
	if (!file)
		errno = ENOENT;
	return file;
}

/* dwz names the file relative to the one it was split off from. */
static struct elf_handle *alt_by_name(const struct root *root, const struct debug_query *query,
				      const char *name, const char *build_id)
{
	const struct proof proof = {.build_id = build_id};
	struct elf_handle *file = NULL;
	int len = dir_length(root->inner);

	if (name[0] == '/')
		return try(root, name, &proof);
	if (strlen(query->build_id) >= 4)
		file = try_format(root, &proof, "%s/.build-id/%.2s/%s", query->debug_root,
				  query->build_id, name);
	if (!file)
		file = try_format(root, &proof, "%.*s/%s", len < 0 ? 1 : len,
				  len < 0 ? "." : root->inner, name);
	if (!file && len > 0)
		file = try_format(root, &proof, "%s%.*s/%s", query->debug_root, len, root->inner,
				  name);
	return file;
}

struct elf_handle *debug_file__find_alt(const struct debug_query *query,
					const struct elf_handle *from)
{
	char name[PATH_MAX], build_id[BUILD_ID_MAX_HEX];
	struct elf_handle *file = NULL;
	struct root roots[2];
	int cnt;

	if (!elf_handle__altlink(from, name, sizeof(name), build_id)) {
		cnt = find_roots(query->path, roots);
		for (int i = 0; i < cnt && !file; i++)
			file = by_build_id(&roots[i], query->debug_root, build_id);
		if (!file)
			file = alt_by_name(&roots[cnt - 1], query, name, build_id);
	}
	if (!file)
		errno = ENOENT;
	return file;
}
