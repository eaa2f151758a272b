/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/command_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe/elf_image.h"

#define MAX_SCRIPTS 5   /* interpreters that are scripts themselves; the kernel's own limit */
#define MAX_LINE    256 /* of "#!", as the kernel reads it */

static bool is_program(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

/* Where execvp would find the name. False: nowhere. */
static bool find_in_path(const char *name, char *path, size_t size)
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/'))
		return (size_t)snprintf(path, size, "%s", name) < size;
	if (!dirs)
		dirs = "/bin:/usr/bin";
	for (;; dirs++) {
		int len = strcspn(dirs, ":");

		/* An empty entry, also after the last colon, is the current directory. */
		if ((size_t)snprintf(path, size, "%.*s/%s", len ? len : 1, len ? dirs : ".",
				     name) < size &&
		    is_program(path))
			return true;
		dirs += len;
		if (!*dirs)
			return false;
	}
}

/* The "#!" line without the mark; false if the file has none. */
static bool read_shebang(int fd, char *line)
{
	ssize_t n = pread(fd, line, MAX_LINE, 0);

	if (n < 3 || line[0] != '#' || line[1] != '!')
		return false;
	line[n < MAX_LINE ? n : MAX_LINE - 1] = 0;
	line[strcspn(line, "\n")] = 0;
	memmove(line, line + 2, strlen(line + 2) + 1);
	return true;
}

/* A library's path in a line of the dynamic linker's list, or NULL:
 *	linux-vdso.so.1 (0x00007ffd5a1f2000)
 *	./preloaded.so (0x00007f1d3a600000)
 *	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1d3a400000)
 *	libgone.so => not found
 *	/lib64/ld-linux-x86-64.so.2 (0x00007f1d3a6b2000)
 */
static char *parse_list_line(char *line)
{
	char *path = line + strspn(line, " \t"), *arrow = strstr(line, " => "), *end;

	if (arrow)
		path = arrow + strlen(" => ");
	end = strstr(path, " (0x");
	if (!end)
		return NULL;
	*end = 0;
	return strchr(path, '/') ? path : NULL;
}

/* Starts the linker; *list is what it prints. Its pid, or -errno. */
static pid_t start_linker(const char *linker, const char *program, FILE **list)
{
	int pair[2], null, err;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC))
		return -errno;
	*list = fdopen(pair[0], "r");
	pid = *list ? fork() : -1;
	err = -errno;
	if (!pid) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, 0);
		dup2(pair[1], 1);
		dup2(null, 2);
		execl(linker, linker, "--list", program, (char *)NULL);
		_exit(127);
	}
	close(pair[1]);
	if (pid > 0)
		return pid;
	if (*list)
		fclose(*list);
	else
		close(pair[0]);
	return err;
}

static int list_libraries(const char *linker, const char *program, command_file_fn fn, void *arg)
{
	char *line = NULL;
	size_t size = 0;
	FILE *list = NULL;
	pid_t pid = start_linker(linker, program, &list);

	if (pid < 0)
		return pid;
	while (getline(&line, &size, list) > 0) {
		char *path = parse_list_line(line);

		if (path)
			fn(arg, path);
	}
	free(line);
	fclose(list);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static int find_files_of(const char *path, int depth, command_file_fn fn, void *arg);

/* The interpreter of a script, and the program that env would look up. */
static int find_interpreter(char *shebang, int depth, command_file_fn fn, void *arg)
{
	char *save, *interpreter = strtok_r(shebang, " \t", &save), *word;
	char path[PATH_MAX];
	int err;

	if (!interpreter)
		return 0;
	err = find_files_of(interpreter, depth + 1, fn, arg);
	word = strrchr(interpreter, '/');
	if (err || strcmp(word ? word + 1 : interpreter, "env"))
		return err;
	/* env [-S] [-u NAME] [-C DIR] [NAME=VALUE...] PROGRAM */
	while ((word = strtok_r(NULL, " \t", &save)) && (word[0] == '-' || strchr(word, '=')))
		if (!strcmp(word, "-u") || !strcmp(word, "-C"))
			strtok_r(NULL, " \t", &save);
	if (!word || !find_in_path(word, path, sizeof(path)))
		return 0;
	return find_files_of(path, depth + 1, fn, arg);
}

static bool is_no_elf(int fd)
{
	char magic[4];
	ssize_t n = pread(fd, magic, sizeof(magic), 0);

	return n >= 0 && (n < (ssize_t)sizeof(magic) || memcmp(magic, "\177ELF", sizeof(magic)));
}

static int find_files_of(const char *path, int depth, command_file_fn fn, void *arg)
{
	char shebang[MAX_LINE], linker[PATH_MAX];
	struct elf_image *image;
	const char *name;
	int fd, err = 0;
	bool is_text;

	if (depth > MAX_SCRIPTS)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return 0;
	if (read_shebang(fd, shebang)) {
		close(fd);
		return find_interpreter(shebang, depth, fn, arg);
	}
	image = elf_image__open_fd(fd);
	is_text = !image && is_no_elf(fd);
	close(fd);
	/* To execvp, what the kernel does not know is a script of the shell. */
	if (is_text)
		return find_files_of("/bin/sh", depth + 1, fn, arg);
	if (!image)
		return 0;
	name = elf_image__interpreter(image);
	snprintf(linker, sizeof(linker), "%s", name ? name : "");
	elf_image__free(image);
	fn(arg, path);
	if (linker[0])
		err = list_libraries(linker, path, fn, arg);
	return err;
}

int command_files__find(char *const argv[], command_file_fn fn, void *arg)
{
	char path[PATH_MAX];

	if (!find_in_path(argv[0], path, sizeof(path)))
		return 0;
	return find_files_of(path, 0, fn, arg);
}
