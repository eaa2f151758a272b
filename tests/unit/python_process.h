/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_PYTHON_PROCESS_H
#define UNFREED_TESTS_PYTHON_PROCESS_H

/*
 * Programs that run while they are looked at: pipes to and from them, their
 * files, and their memory, which a test may pretend to be otherwise.
 */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "python/runtime.h"

#define PATCHES_MAX 8

/* Bytes that differ, for the tests' eyes, from what the process has. */
struct patch {
	uint64_t address, value;
};

struct process {
	pid_t pid;
	FILE *out; /* what it prints */
	int in;    /* its standard input */
	struct patch patches[PATCHES_MAX];
	int patch_cnt;
	unsigned int read_cnt, fail_at; /* fail_at: reads from that one on fail; 0: none */
};

/* in_child: run in the child before exec, or NULL. */
static struct process process__start(char *const argv[], void (*in_child)(void))
{
	struct process process = { 0 };
	int to[2], from[2];

	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	process.pid = fork();
	ck_assert_int_ge(process.pid, 0);
	if (!process.pid) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		if (in_child)
			in_child();
		execv(argv[0], argv);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	process.in = to[1];
	process.out = fdopen(from[0], "r");
	ck_assert_ptr_nonnull(process.out);
	return process;
}

static void process__end(struct process *process)
{
	kill(process->pid, SIGKILL);
	waitpid(process->pid, NULL, 0);
	fclose(process->out);
	close(process->in);
}

static void apply_patches(const struct process *process, uint64_t address, uint8_t *buf,
			  size_t size)
{
	for (int i = 0; i < process->patch_cnt; i++) {
		const struct patch *patch = &process->patches[i];
		const uint8_t *value = (const uint8_t *)&patch->value;

		for (size_t k = 0; k < sizeof(patch->value); k++) {
			if (patch->address + k - address < size)
				buf[patch->address + k - address] = value[k];
		}
	}
}

static int process__read(void *arg, uint64_t address, void *buf, size_t size)
{
	struct process *process = arg;
	struct iovec local = { buf, size }, remote = { (void *)(uintptr_t)address, size };
	ssize_t n = process_vm_readv(process->pid, &local, 1, &remote, 1, 0);

	if (process->fail_at && ++process->read_cnt >= process->fail_at)
		return -EIO;
	if (n < 0)
		return -errno;
	if ((size_t)n != size)
		return -EFAULT;
	apply_patches(process, address, buf, size);
	return 0;
}

static uint64_t process__u64(struct process *process, uint64_t address)
{
	uint64_t value;

	ck_assert_int_eq(process__read(process, address, &value, sizeof(value)), 0);
	return value;
}

static void process__patch(struct process *process, uint64_t address, uint64_t value)
{
	ck_assert_int_lt(process->patch_cnt, PATCHES_MAX);
	process->patches[process->patch_cnt++] = (struct patch){ address, value };
}

/* What to add to the file's addresses when its first byte is mapped at start. */
static uint64_t bias_of(int fd, uint64_t start)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	ck_assert_int_eq(pread(fd, &eh, sizeof(eh), 0), sizeof(eh));
	for (int i = 0; i < eh.e_phnum; i++) {
		ck_assert_int_eq(pread(fd, &ph, sizeof(ph), (off_t)(eh.e_phoff + i * sizeof(ph))),
				 sizeof(ph));
		if (ph.p_type == PT_LOAD)
			return start - (ph.p_vaddr & ~4095ull) + (ph.p_offset & ~4095ull);
	}
	ck_abort_msg("no PT_LOAD");
}

/*
 * The file in the process that may be an interpreter; fd -1: none is mapped. The caller closes
 * fd. path: PATH_MAX bytes, for file->path.
 */
static struct python_file process__find_python(const struct process *process, char *path)
{
	struct python_file file = { .fd = -1, .path = path };
	char line[PATH_MAX + 128], name[64], last[PATCHES_MAX + PATH_MAX] = "";
	FILE *maps;

	snprintf(name, sizeof(name), "/proc/%d/maps", process->pid);
	maps = fopen(name, "re");
	ck_assert_ptr_nonnull(maps);
	while (file.fd < 0 && fgets(line, sizeof(line), maps)) {
		unsigned long start, offset;

		if (sscanf(line, "%lx-%*x %*s %lx %*s %*s %4095[^\n]", &start, &offset, path) != 3 ||
		    path[0] != '/' || offset || !strcmp(path, last))
			continue;
		strcpy(last, path);
		file.fd = open(path, O_RDONLY | O_CLOEXEC);
		if (file.fd >= 0 && !python_file__may_be_python(file.fd)) {
			close(file.fd);
			file.fd = -1;
		}
		if (file.fd >= 0)
			file.bias = bias_of(file.fd, start);
	}
	fclose(maps);
	return file;
}

/* Looks for an interpreter as it is now. */
static enum python_status process__find_runtime(struct process *process,
						struct python_runtime *out)
{
	char path[PATH_MAX];
	struct python_file file = process__find_python(process, path);
	enum python_status status = PYTHON_ABSENT;

	memset(out, 0, sizeof(*out));
	if (file.fd >= 0)
		status = python_runtime__find(&file, process__read, process, out);
	if (file.fd >= 0)
		close(file.fd);
	return status;
}

#endif
