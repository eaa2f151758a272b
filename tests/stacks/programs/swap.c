/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * swap SECONDS: loads and unloads two libraries (swap_library.inc.c) in turn, as fast as it can.
 * They come to the same address, and their frames have different sizes: rows of the other one
 * give a wrong stack. Says on stderr how often they did come to the same address; fails if never.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef void work_fn(int depth);

static work_fn *use(const char *dir, char which)
{
	char path[PATH_MAX + 16];
	work_fn *work;
	void *library;

	snprintf(path, sizeof(path), "%s/swap_%c.so", dir, which);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	work = (work_fn *)dlsym(library, "work");
	for (int i = 0; i < 5; i++)
		work(i);
	dlclose(library);
	return work;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
	unsigned long same = 0, all = 0;
	char self[PATH_MAX];
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (size < 0)
		return 1;
	self[size] = 0;
	dirname(self);
	for (; time(NULL) < end; all++)
		same += use(self, 'a') == use(self, 'b');
	fprintf(stderr, "%lu of %lu at the same address\n", same, all);
	return !same;
}
