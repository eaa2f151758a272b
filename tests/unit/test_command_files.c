/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/command_files.h"

#include <elf.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "target_fixture.h"

/*
 * Goal of this test: the files listed are those that the kernel and the dynamic
 * linker will map when execvp starts the command, for every way in which a
 * command can be named; and listing leaves no process and no descriptor behind.
 */

#define MAX_LISTED 64

static char *listed[MAX_LISTED];
static int listed_cnt, fds_before;

static void forget_listed(void)
{
	while (listed_cnt)
		free(listed[--listed_cnt]);
}

static void set_up(void)
{
	make_test_dir();
	ck_assert_int_eq(chdir(test_dir), 0);
	mkdir("bin", 0755);
	unsetenv("LD_PRELOAD");
	unsetenv("LD_LIBRARY_PATH");
	setenv("PATH", "/usr/bin:/bin", 1);
	fds_before = open_fd_cnt();
}

static void tear_down(void)
{
	assert_no_children();
	ck_assert_int_eq(open_fd_cnt(), fds_before);
	forget_listed();
	remove_test_dir();
}

static void take(void *arg, const char *path)
{
	ck_assert_ptr_eq(arg, &listed_cnt);
	ck_assert_int_lt(listed_cnt, MAX_LISTED);
	listed[listed_cnt++] = strdup(path);
}

static int find(const char *command)
{
	char *argv[] = {(char *)command, "an argument", NULL};

	forget_listed();
	return command_files__find(argv, take, &listed_cnt);
}

static bool is_listed(const char *path)
{
	for (int i = 0; i < listed_cnt; i++)
		if (!strcmp(listed[i], path))
			return true;
	return false;
}

static bool has_file_named(const char *name)
{
	for (int i = 0; i < listed_cnt; i++) {
		const char *slash = strrchr(listed[i], '/');

		ck_assert_ptr_nonnull(slash);
		if (!strncmp(slash + 1, name, strlen(name)))
			return true;
	}
	return false;
}

static void assert_program(const char *command, const char *program)
{
	ck_assert_int_eq(find(command), 0);
	ck_assert_msg(is_listed(program), "%s does not list %s but %s", command, program,
		      listed_cnt ? listed[0] : "nothing");
	ck_assert(has_file_named("libc.so.6"));
	ck_assert(has_file_named("ld-linux"));
	for (int i = 0; i < listed_cnt; i++)
		ck_assert_int_eq(access(listed[i], R_OK), 0);
}

static void assert_nothing(const char *command)
{
	ck_assert_int_eq(find(command), 0);
	ck_assert_msg(!listed_cnt, "%s lists %s", command, listed[0]);
}

START_TEST(a_program_is_found_as_execvp_finds_it)
{
	assert_program("env", "/usr/bin/env");
	assert_program("/usr/bin/env", "/usr/bin/env");
	copy_file("/usr/bin/env", "bin/tool");
	assert_nothing("tool");
	assert_program("bin/tool", "bin/tool");
	assert_program("./bin/tool", "./bin/tool");
	setenv("PATH", "/nonexistent:bin:/usr/bin", 1);
	assert_program("tool", "bin/tool");
	assert_program("env", "/usr/bin/env");
	unsetenv("PATH");
	assert_program("env", access("/bin/env", X_OK) ? "/usr/bin/env" : "/bin/env");
}
END_TEST

START_TEST(an_empty_entry_of_path_is_the_current_directory)
{
	static const char *const paths[] = {"", ":", ":/usr/bin", "/usr/bin:", "/usr/bin::/bin"};

	copy_file("/usr/bin/env", "tool");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		setenv("PATH", paths[i], 1);
		assert_program("tool", "./tool");
		assert_nothing("no-such-tool");
	}
}
END_TEST

START_TEST(what_cannot_be_executed_is_passed_over)
{
	mkdir("first", 0755);
	mkdir("first/tool", 0755);
	mkdir("second", 0755);
	write_file("second/tool", "x", 1, 0644);
	copy_file("/usr/bin/env", "bin/tool");
	setenv("PATH", "first:second:bin", 1);
	assert_program("tool", "bin/tool");
}
END_TEST

START_TEST(a_command_that_cannot_be_found_lists_nothing)
{
	char name[PATH_MAX + 10];

	assert_nothing("no-such-command-of-unfreed");
	assert_nothing("./no-such-command-of-unfreed");
	assert_nothing("");
	assert_nothing(test_dir);
	mkfifo("fifo", 0755);
	assert_nothing("./fifo");
	symlink("loop", "loop");
	assert_nothing("./loop");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_nothing(name);
	name[1] = '/';
	assert_nothing(name);
}
END_TEST

START_TEST(a_script_lists_its_interpreter)
{
	static const char *const marks[] = {"#!/bin/sh\n",     "#! /bin/sh\n", "#!\t/bin/sh -e\n",
					    "#!/bin/sh -e -x", "#!/bin/sh",    "#!/bin/sh\n\0\n"};

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		write_script("script", marks[i]);
		assert_program("./script", "/bin/sh");
		ck_assert(!is_listed("./script"));
	}
	write_script("bin/script", "#!/bin/sh\n");
	setenv("PATH", "bin", 1);
	assert_program("script", "/bin/sh");
}
END_TEST

START_TEST(text_without_a_mark_is_the_shells)
{
	write_script("script", "echo\n");
	assert_program("./script", "/bin/sh");
	write_script("script", "");
	assert_program("./script", "/bin/sh");
	write_script("script", "#\n");
	assert_program("./script", "/bin/sh");
}
END_TEST

START_TEST(marks_that_lead_nowhere_list_nothing)
{
	char line[400];

	write_script("script", "#!\n");
	assert_nothing("./script");
	write_script("script", "#!   \t \n/bin/sh");
	assert_nothing("./script");
	write_script("script", "#!/nonexistent/interpreter\n");
	assert_nothing("./script");
	memset(line, 'x', sizeof(line));
	memcpy(line, "#!/", 3);
	write_file("script", line, sizeof(line), 0755);
	assert_nothing("./script");
}
END_TEST

START_TEST(env_in_a_mark_lists_what_it_starts)
{
	static const char *const marks[] = {
		"#!/usr/bin/env tool\n",      "#!/usr/bin/env -S tool -x\n",
		"#!/usr/bin/env -S A=1 tool", "#!/usr/bin/env -i -S -u NAME -C /tmp A=1 B=2 tool\n",
	};

	copy_file("/bin/true", "bin/tool");
	setenv("PATH", "bin", 1);
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		write_script("script", marks[i]);
		assert_program("./script", "bin/tool");
		ck_assert(is_listed("/usr/bin/env"));
	}
	write_script("script", "#!/usr/bin/env\n");
	assert_program("./script", "/usr/bin/env");
	write_script("script", "#!/usr/bin/env -u\n");
	assert_program("./script", "/usr/bin/env");
	write_script("script", "#!/usr/bin/env no-such-command-of-unfreed\n");
	assert_program("./script", "/usr/bin/env");
}
END_TEST

START_TEST(scripts_of_scripts_are_followed_as_far_as_the_kernel_does)
{
	char name[16], text[32];

	write_script("s1", "#!/bin/sh\n");
	for (int i = 2; i <= 6; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		snprintf(text, sizeof(text), "#!./s%d\n", i - 1);
		write_script(name, text);
	}
	for (int i = 1; i <= 6; i++) {
		int status;
		pid_t pid = fork();

		snprintf(name, sizeof(name), "./s%d", i);
		if (!pid) {
			execl(name, name, (char *)NULL);
			_exit(126);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (status == 0)
			assert_program(name, "/bin/sh");
		else
			assert_nothing(name);
		/* The kernel's own limit. */
		ck_assert_int_eq(status == 0, i <= 5);
	}
}
END_TEST

START_TEST(a_script_that_runs_itself_ends)
{
	write_script("self", "#!./self\n");
	assert_nothing("./self");
	write_script("bin/again", "#!/usr/bin/env again\n");
	setenv("PATH", "bin", 1);
	assert_program("again", "/usr/bin/env");
}
END_TEST

/* Sets the type of the program header of PT_INTERP. */
static void change_interpreter(const char *path, bool remove, const char *name)
{
	size_t size;
	char *data = read_whole(path, &size);
	const Elf64_Ehdr *header = (const void *)data;
	Elf64_Phdr *segments = (void *)(data + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++) {
		if (segments[i].p_type != PT_INTERP)
			continue;
		if (remove)
			segments[i].p_type = PT_NULL;
		else
			strcpy(data + segments[i].p_offset, name);
	}
	write_file(path, data, size, 0755);
	free(data);
}

START_TEST(a_static_program_lists_itself_alone)
{
	copy_file("/bin/true", "tool");
	change_interpreter("tool", true, NULL);
	ck_assert_int_eq(find("./tool"), 0);
	ck_assert_int_eq(listed_cnt, 1);
	ck_assert_str_eq(listed[0], "./tool");
}
END_TEST

START_TEST(a_dynamic_linker_that_is_none_lists_no_libraries)
{
	static const char *const names[] = {"/nonexistent", "/tmp", "", "/bin/true", "/bin/false"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		copy_file("/bin/true", "tool");
		change_interpreter("tool", false, names[i]);
		ck_assert_int_eq(find("./tool"), 0);
		ck_assert_int_eq(listed_cnt, 1);
		ck_assert_str_eq(listed[0], "./tool");
	}
}
END_TEST

START_TEST(preloaded_libraries_are_listed_also_by_relative_paths)
{
	const char *libm = "/lib/x86_64-linux-gnu/libm.so.6";

	if (access(libm, R_OK))
		libm = "/lib/aarch64-linux-gnu/libm.so.6";
	mkdir("lib", 0755);
	copy_file(libm, "lib/pre.so");
	setenv("LD_PRELOAD", test_path("lib/pre.so"), 1);
	assert_program("/bin/true", "/bin/true");
	ck_assert(is_listed(test_path("lib/pre.so")));
	setenv("LD_PRELOAD", "./lib/pre.so", 1);
	assert_program("/bin/true", "/bin/true");
	ck_assert(is_listed("./lib/pre.so"));
	setenv("LD_PRELOAD", "lib/pre.so:no-such-library.so", 1);
	assert_program("/bin/true", "/bin/true");
	ck_assert(is_listed("lib/pre.so"));
	setenv("LD_PRELOAD", "pre.so", 1);
	setenv("LD_LIBRARY_PATH", "lib", 1);
	assert_program("/bin/true", "/bin/true");
	ck_assert(is_listed("lib/pre.so"));
}
END_TEST

START_TEST(the_program_itself_is_not_run)
{
	/* Run as "./tool --list ..." by mistake, it would leave a file of that name. */
	copy_file("/usr/bin/touch", "tool");
	write_script("script", "#!./tool\n");
	assert_program("./tool", "./tool");
	assert_program("./script", "./tool");
	ck_assert_int_ne(access("an argument", F_OK), 0);
	ck_assert_int_ne(access("--list", F_OK), 0);
}
END_TEST

START_TEST(without_descriptors_nothing_is_left)
{
	struct rlimit limit;
	int next = dup(0);

	close(next);
	getrlimit(RLIMIT_NOFILE, &limit);
	for (int room = 0; room < 3; room++) {
		limit.rlim_cur = next + room;
		setrlimit(RLIMIT_NOFILE, &limit);
		ck_assert_int_le(find("/bin/true"), 0);
		assert_no_children();
	}
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_int_eq(open_fd_cnt(), fds_before);
	assert_program("/bin/true", "/bin/true");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command_files");
	TCase *tcase = tcase_create("command_files");

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, a_program_is_found_as_execvp_finds_it);
	tcase_add_test(tcase, an_empty_entry_of_path_is_the_current_directory);
	tcase_add_test(tcase, what_cannot_be_executed_is_passed_over);
	tcase_add_test(tcase, a_command_that_cannot_be_found_lists_nothing);
	tcase_add_test(tcase, a_script_lists_its_interpreter);
	tcase_add_test(tcase, text_without_a_mark_is_the_shells);
	tcase_add_test(tcase, marks_that_lead_nowhere_list_nothing);
	tcase_add_test(tcase, env_in_a_mark_lists_what_it_starts);
	tcase_add_test(tcase, scripts_of_scripts_are_followed_as_far_as_the_kernel_does);
	tcase_add_test(tcase, a_script_that_runs_itself_ends);
	tcase_add_test(tcase, a_static_program_lists_itself_alone);
	tcase_add_test(tcase, a_dynamic_linker_that_is_none_lists_no_libraries);
	tcase_add_test(tcase, preloaded_libraries_are_listed_also_by_relative_paths);
	tcase_add_test(tcase, the_program_itself_is_not_run);
	tcase_add_test(tcase, without_descriptors_nothing_is_left);
	return run_suite(suite);
}
