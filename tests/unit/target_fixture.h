/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_TARGET_FIXTURE_H
#define UNFREED_TESTS_TARGET_FIXTURE_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the tests of user/target share: a directory of their own, files, what is left over. */

static char test_dir[64];
static char test_path_buf[8][PATH_MAX];

__attribute__((unused)) static void make_test_dir(void)
{
	strcpy(test_dir, "/tmp/unfreed-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(test_dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

__attribute__((unused)) static void remove_test_dir(void)
{
	nftw(test_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Valid until eight more are asked for. */
__attribute__((unused)) static const char *test_path(const char *name)
{
	static unsigned int next;
	char *path = test_path_buf[next++ % 8];

	snprintf(path, PATH_MAX, "%s/%s", test_dir, name);
	return path;
}

__attribute__((unused)) static void write_file(const char *path, const void *data, size_t size,
					       mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, size), size);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

__attribute__((unused)) static void write_script(const char *path, const char *text)
{
	write_file(path, text, strlen(text), 0755);
}

/* Malloced; for the caller to free. */
__attribute__((unused)) static char *read_whole(const char *path, size_t *size)
{
	FILE *file = fopen(path, "re");
	char *data;

	ck_assert_ptr_nonnull(file);
	fseek(file, 0, SEEK_END);
	*size = ftell(file);
	rewind(file);
	data = malloc(*size + 1);
	ck_assert_uint_eq(fread(data, 1, *size, file), *size);
	fclose(file);
	return data;
}

__attribute__((unused)) static void copy_file(const char *from, const char *to)
{
	size_t size;
	char *data = read_whole(from, &size);

	write_file(to, data, size, 0755);
	free(data);
}

__attribute__((unused)) static int open_fd_cnt(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

__attribute__((unused)) static void assert_no_children(void)
{
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}

/* A number that no process has. */
__attribute__((unused)) static pid_t gone_pid(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	return pid;
}

__attribute__((unused)) static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

__attribute__((unused)) static int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
