/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * hostile COMMAND...: a process that means harm, one gate after all of its commands:
 *   map FILE         maps it as code
 *   flip FILE TARGET maps it, unmaps it, and puts a link to TARGET in its place; many times
 *   pipe FILE        the same once, with a FIFO
 *   many FILE N      N mappings of it at a time
 *   churn FILE N     N mappings of it one after another
 *   name TEXT        its name
 *   keep LIBRARY N   loads it and has its keep() allocate N blocks, at a gate of its own
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "gate.h"

#define PAGE  4096
#define FLIPS 50

static void *map(const char *path)
{
	int fd = open(path, O_RDONLY);
	void *memory = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	if (fd < 0 || memory == MAP_FAILED)
		gate_die(path);
	close(fd);
	return memory;
}

static void flip(const char *path, const char *target)
{
	char kept[256];

	snprintf(kept, sizeof(kept), "%s.kept", path);
	for (int i = 0; i < FLIPS; i++) {
		munmap(map(path), PAGE);
		if (rename(path, kept) || symlink(target, path))
			gate_die("flip");
		if (i < FLIPS - 1 && (unlink(path) || rename(kept, path)))
			gate_die("flip back");
	}
}

static void replace_by_pipe(const char *path)
{
	munmap(map(path), PAGE);
	if (unlink(path) || mkfifo(path, 0666))
		gate_die("pipe");
}

/* Every other page of a reservation: neighbours would be one mapping. */
static void map_many(const char *path, long cnt)
{
	int fd = open(path, O_RDONLY);
	char *area = mmap(NULL, 2 * PAGE * (size_t)cnt, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (fd < 0 || area == MAP_FAILED)
		gate_die("many");
	munmap(area, 2 * PAGE * (size_t)cnt);
	for (long i = 0; i < cnt; i++)
		if (mmap(area + 2 * PAGE * i, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
			 fd, 0) == MAP_FAILED)
			gate_die("many mmap");
	close(fd);
}

static void churn(const char *path, long cnt)
{
	for (long i = 0; i < cnt; i++)
		munmap(map(path), PAGE);
}

static void keep(const char *path, long cnt)
{
	void *library = dlopen(path, RTLD_NOW);
	void (*function)(long) = library ? (void (*)(long))dlsym(library, "keep_blocks") : NULL;

	if (!function)
		gate_die("keep");
	gate("DONE load");
	function(cnt);
}

/* Returns how many words it took. */
static int run(char **words)
{
	if (!words[1])
		gate_die("words");
	if (!strcmp(words[0], "map")) {
		map(words[1]);
		return 2;
	}
	if (!strcmp(words[0], "name")) {
		prctl(PR_SET_NAME, words[1]);
		return 2;
	}
	if (!strcmp(words[0], "pipe")) {
		replace_by_pipe(words[1]);
		return 2;
	}
	if (!words[2])
		gate_die("words");
	if (!strcmp(words[0], "flip"))
		flip(words[1], words[2]);
	else if (!strcmp(words[0], "many"))
		map_many(words[1], strtol(words[2], NULL, 10));
	else if (!strcmp(words[0], "churn"))
		churn(words[1], strtol(words[2], NULL, 10));
	else if (!strcmp(words[0], "keep"))
		keep(words[1], strtol(words[2], NULL, 10));
	else
		gate_die(words[0]);
	return 3;
}

int main(int argc, char **argv)
{
	gate("READY");
	for (int i = 1; i < argc; i += run(argv + i))
		;
	gate("DONE hostile");
	return 0;
}
