/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_PYTHON_FIXTURE_H
#define UNFREED_TESTS_PYTHON_FIXTURE_H

/*
 * The CPython interpreters of this machine: python3.N in $PATH, pyenv's, and those that
 * $UNFREED_TEST_PYTHONS names (paths with ':' between). Each is asked for its version and for
 * its real path, so that wrappers, links and what does not run are left out; those from the
 * environment may be wrappers (of another root directory's loader). There must be one at
 * least: tests that found none would have tested nothing.
 */
#include <check.h>
#include <glob.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PYTHONS_MAX 32

struct test_python {
	char path[PATH_MAX];
	char version[32]; /* "3.11.2" */
	unsigned int hex; /* PY_VERSION_HEX */
};

static struct test_python pythons[PYTHONS_MAX];
static int python_cnt;

static void add_python_as(const char *path, bool is_wrapper)
{
	static const char ask[] =
		"import os, sys; print(hex(sys.hexversion), '%d.%d.%d' % sys.version_info[:3],"
		" os.path.realpath(sys.executable))"
		" if sys.implementation.name == 'cpython' and sys.hexversion >= 0x3080000 else 0";
	struct test_python *new = &pythons[python_cnt];
	char command[PATH_MAX + sizeof(ask) + 32], answer[PATH_MAX + 64] = "";
	FILE *pipe;

	ck_assert_int_lt(python_cnt, PYTHONS_MAX);
	snprintf(command, sizeof(command), "'%s' -c \"%s\" 2>/dev/null", path, ask);
	pipe = popen(command, "re");
	ck_assert_ptr_nonnull(pipe);
	if (!fgets(answer, sizeof(answer), pipe))
		answer[0] = '\0';
	pclose(pipe);
	if (sscanf(answer, "%x %31s %4095s", &new->hex, new->version, new->path) != 3)
		return;
	if (is_wrapper)
		snprintf(new->path, sizeof(new->path), "%s", path);
	for (int i = 0; i < python_cnt; i++) {
		if (!strcmp(pythons[i].path, new->path))
			return;
	}
	python_cnt++;
}

static void add_python(const char *path)
{
	add_python_as(path, false);
}

static void add_wrapper(const char *path)
{
	add_python_as(path, true);
}

/* python3.N and python3.Nd in a directory. */
static void add_pythons_in(const char *dir)
{
	static const char *const names[] = { "python3.[0-9]", "python3.[0-9][0-9]",
					     "python3.[0-9]d", "python3.[0-9][0-9]d" };
	char pattern[PATH_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		glob_t found = { 0 };

		snprintf(pattern, sizeof(pattern), "%s/%s", dir, names[i]);
		if (!glob(pattern, 0, NULL, &found)) {
			for (size_t k = 0; k < found.gl_pathc; k++)
				add_python(found.gl_pathv[k]);
		}
		globfree(&found);
	}
}

static void for_each_in_list(const char *list, void (*fn)(const char *))
{
	char *copy = list ? strdup(list) : NULL, *save = NULL;

	for (char *at = copy ? strtok_r(copy, ":", &save) : NULL; at;
	     at = strtok_r(NULL, ":", &save))
		fn(at);
	free(copy);
}

static void find_pythons(void)
{
	char dir[PATH_MAX];

	if (python_cnt)
		return;
	for_each_in_list(getenv("UNFREED_TEST_PYTHONS"), add_wrapper);
	for_each_in_list(getenv("PATH"), add_pythons_in);
	snprintf(dir, sizeof(dir), "%s/.pyenv/versions/*/bin",
		 getenv("HOME") ? getenv("HOME") : "");
	add_pythons_in(dir);
	ck_assert_msg(python_cnt > 0, "there is no CPython to test with");
}

#endif
