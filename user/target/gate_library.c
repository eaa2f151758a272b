/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/gate_library.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "gate_contract.h"
#include "probe/elf_image.h"
#include "target/command_files.h"

/* -- where it is -- */

static bool is_file(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode);
}

/* In a folder as seen from the one that this program is in. */
static bool is_near_us(const char *folder, char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return false;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = 0;
	return (size_t)snprintf(path, size, "%s/%s" UF_GATE_LIBRARY, self, folder) < size &&
	       is_file(path);
}

int gate_library__find(char *path, size_t size)
{
	if (!is_near_us("", path, size) && !is_near_us("../lib/unfreed/", path, size)) {
		snprintf(path, size, "%s", UNFREED_LIBDIR "/" UF_GATE_LIBRARY);
		if (!is_file(path))
			return -ENOENT;
	}
	/* Both separate names there, and nothing quotes them. */
	return strpbrk(path, " :") ? -EINVAL : 0;
}

/* -- which programs it can be preloaded into -- */

struct check {
	char *why;
	size_t size;
	bool fits;
};

static int see_malloc(const struct elf_symbol *symbol, void *arg)
{
	(void)arg;
	return symbol->is_dynamic && !symbol->is_local && !strcmp(symbol->name, "malloc");
}

/* That one comes before any library's. */
static bool has_malloc(const struct elf_image *program)
{
	return elf_image__for_each_function(program, see_malloc, NULL) > 0;
}

/* The dynamic linker then forgets LD_PRELOAD. */
static bool gains_privileges(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	return (st.st_mode & S_ISUID && st.st_uid != getuid()) ||
	       (st.st_mode & S_ISGID && st.st_mode & S_IXGRP && st.st_gid != getgid()) ||
	       (getuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0);
}

static const char *why_not(int fd, const struct elf_image *image)
{
	if (!elf_image__interpreter(image))
		return "it is linked statically";
	if (gains_privileges(fd))
		return "it gains privileges (set-user-ID and the like), which no library can be "
		       "preloaded into";
	if (has_malloc(image))
		return "it has a malloc() of its own";
	return NULL;
}

static void check_file(void *arg, const char *path)
{
	struct check *check = arg;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct elf_image *image = fd < 0 ? NULL : elf_image__open_fd(fd);
	const char *why = NULL;

	/* Libraries come as well. */
	if (image && elf_image__is_executable(image))
		why = why_not(fd, image);
	if (why && check->fits) {
		snprintf(check->why, check->size, "%.200s: %s", path, why);
		check->fits = false;
	}
	elf_image__free(image);
	if (fd >= 0)
		close(fd);
}

bool gate_library__fits(char *const argv[], char *why, size_t size)
{
	struct check check = {why, size, true};

	command_files__find(argv, check_file, &check);
	return check.fits;
}

/* -- the file and the process that has it -- */

static int see_hook(const struct elf_symbol *symbol, void *arg)
{
	struct gate_offsets *out = arg;

	if (!strcmp(symbol->name, UF_GATE_ALLOC))
		out->alloc = symbol->file_offset;
	else if (!strcmp(symbol->name, UF_GATE_TELL))
		out->tell = symbol->file_offset;
	return out->alloc && out->tell;
}

bool gate_library__find_offsets(const struct elf_image *image, struct gate_offsets *out)
{
	*out = (struct gate_offsets){0};
	return elf_image__for_each_function(image, see_hook, out) > 0;
}

static int read_state_at(pid_t pid, uint64_t address, struct uf_gate_state *out)
{
	struct iovec here = {out, sizeof(*out)}, there = {(void *)address, sizeof(*out)};
	ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);

	if (n < 0)
		return -errno;
	if (n != sizeof(*out))
		return -EFAULT;
	return out->version == UF_GATE_VERSION && out->interval_bytes >= UF_GATE_SAMPLE_MIN &&
			       out->interval_bytes <= UF_GATE_SAMPLE_MAX
		       ? 0
		       : -ENOENT;
}

/* The mapping may be any file that is called so. */
static int read_state_of(pid_t pid, uint64_t start, uint64_t end, struct uf_gate_state *out)
{
	struct gate_offsets offsets;
	struct elf_image *image;
	char path[80];
	uint64_t vaddr;
	int fd, err = -ENOENT;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)pid,
		 (unsigned long long)start, (unsigned long long)end);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	image = elf_image__open_fd(fd);
	if (image && gate_library__find_offsets(image, &offsets))
		err = elf_image__find_variable(image, UF_GATE_STATE, &vaddr);
	elf_image__free(image);
	close(fd);
	return err ? err : read_state_at(pid, start + vaddr, out);
}

int gate_library__read_state(pid_t pid, struct uf_gate_state *out)
{
	char path[64], *line = NULL;
	size_t size = 0;
	int err = -ENOENT;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		return -errno;
	/* 7f1d3a600000-7f1d3a601000 r--p 00000000 fe:01 1234    /usr/lib/unfreed/libunfreed-gate.so */
	while (err && getline(&line, &size, maps) > 0) {
		unsigned long long start, end, offset;

		if (strstr(line, "/" UF_GATE_LIBRARY) &&
		    sscanf(line, "%llx-%llx %*s %llx", &start, &end, &offset) == 3 && !offset)
			err = read_state_of(pid, start, end, out);
	}
	free(line);
	fclose(maps);
	return err;
}
