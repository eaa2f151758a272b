/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/mapped_file.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "target_fixture.h"

/*
 * Goal of this test: the descriptor of a mapped file is that of the very file
 * that was mapped, or none at all, whatever a process or its user puts in the
 * file's place; each file is opened once.
 */

#define PAGE 4096

static struct file_table *files;
static int fds_before;

static void set_up(void)
{
	make_test_dir();
	fds_before = open_fd_cnt();
	files = file_table__new();
	ck_assert_ptr_nonnull(files);
}

static void tear_down(void)
{
	file_table__free(files);
	ck_assert_int_eq(open_fd_cnt(), fds_before);
	remove_test_dir();
}

static struct stat make_file(const char *path, const char *text)
{
	struct stat st;

	write_script(path, text);
	ck_assert_int_eq(stat(path, &st), 0);
	return st;
}

static char *map(const char *path, void *address)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *memory;

	ck_assert_int_ge(fd, 0);
	memory = mmap(address, PAGE, PROT_READ | PROT_EXEC,
		      MAP_PRIVATE | (address ? MAP_FIXED : 0), fd, 0);
	ck_assert_ptr_ne(memory, MAP_FAILED);
	close(fd);
	return memory;
}

/* As if mapped at the address; NULL: no longer mapped anywhere. */
static struct mapped_file *get(const struct stat *st, uint64_t generation, const void *address,
			       const char *path)
{
	uint64_t start = (uintptr_t)address;
	struct mapped_file *file = file_table__get(files, getpid(), start, start + PAGE, st->st_dev,
						   st->st_ino, generation, path);

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(file->inode, st->st_ino);
	return file;
}

static void assert_content(const struct mapped_file *file, const char *text)
{
	char content[64] = "";

	ck_assert_msg(file->fd >= 0, "%s: %s", file->path, strerror(-file->fd));
	ck_assert_int_eq(pread(file->fd, content, sizeof(content) - 1, 0), strlen(text));
	ck_assert_str_eq(content, text);
	ck_assert_int_eq(fcntl(file->fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(file->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
}

START_TEST(a_file_is_opened_once_for_all_its_mappings)
{
	const char *path = test_path("a");
	struct stat st = make_file(path, "a");
	char *first = map(path, NULL), *second = map(path, NULL);
	struct mapped_file *file = get(&st, 5, first, path);

	assert_content(file, "a");
	ck_assert_str_eq(file->path, path);
	ck_assert(!file->examined && !file->has_probes && !file->user);
	ck_assert_ptr_eq(get(&st, 5, second, path), file);
	ck_assert_ptr_eq(get(&st, 5, NULL, "/another/name"), file);
	ck_assert_int_eq(open_fd_cnt(), fds_before + 1);
}
END_TEST

START_TEST(an_unlinked_file_is_opened_by_its_mapping)
{
	const char *path = test_path("a");
	struct stat st = make_file(path, "still here");
	char *memory = map(path, NULL), deleted[PATH_MAX + 16];

	unlink(path);
	snprintf(deleted, sizeof(deleted), "%s (deleted)", path);
	assert_content(get(&st, 0, memory, deleted), "still here");
}
END_TEST

START_TEST(a_file_put_in_its_place_is_another)
{
	const char *path = test_path("a"), *other = test_path("b");
	struct stat old_st = make_file(path, "old"), new_st = make_file(other, "new");
	char *memory = map(path, NULL);
	struct mapped_file *old_file, *new_file;

	ck_assert_int_eq(rename(other, path), 0);
	old_file = get(&old_st, 0, memory, path);
	new_file = get(&new_st, 0, map(path, NULL), path);
	ck_assert_ptr_ne(old_file, new_file);
	assert_content(old_file, "old");
	assert_content(new_file, "new");
}
END_TEST

START_TEST(a_path_that_leads_to_another_inode_is_not_taken)
{
	const char *path = test_path("a"), *other = test_path("b");
	struct stat st = make_file(path, "old");

	make_file(other, "new");
	ck_assert_int_eq(rename(other, path), 0);
	ck_assert_int_eq(get(&st, 0, NULL, path)->fd, -ESTALE);
}
END_TEST

START_TEST(a_file_unmapped_since_is_not_taken_for_what_is_mapped_there_now)
{
	const char *path = test_path("a"), *other = test_path("b");
	struct stat st = make_file(path, "a"), other_st = make_file(other, "b");
	char *memory = map(path, NULL);

	map(other, memory);
	assert_content(get(&st, 0, memory, path), "a");
	assert_content(get(&other_st, 0, memory, other), "b");
}
END_TEST

/* As on a file system that shows other inode numbers to stat than to the kernel. */
START_TEST(a_mapping_with_the_files_name_is_taken_whatever_its_inode_number)
{
	const char *path = test_path("a"), *inside = path + strlen("/tmp");
	struct stat st = make_file(path, "a");
	char *memory = map(path, NULL), longer[PATH_MAX];

	st.st_ino += 1000000;
	assert_content(get(&st, 0, memory, path), "a");
	/* As a process in a chroot calls it. */
	st.st_ino++;
	assert_content(get(&st, 0, memory, inside), "a");
	st.st_ino++;
	ck_assert_int_eq(get(&st, 0, memory, "")->fd, -ESTALE);
	st.st_ino++;
	snprintf(longer, sizeof(longer), "/x%s", path);
	ck_assert_int_lt(get(&st, 0, memory, longer)->fd, 0);
	unlink(path);
	st.st_ino++;
	assert_content(get(&st, 0, memory, path), "a");
}
END_TEST

START_TEST(what_is_no_regular_file_is_never_opened)
{
	const char *fifo = test_path("fifo"), *loop = test_path("loop"), *link = test_path("link");
	struct stat st;

	ck_assert_int_eq(mkfifo(fifo, 0666), 0);
	stat(fifo, &st);
	ck_assert_int_eq(get(&st, 0, NULL, fifo)->fd, -ENOEXEC);
	ck_assert_int_eq(symlink(fifo, link), 0);
	ck_assert_int_eq(get(&st, 1, NULL, link)->fd, -ENOEXEC);
	stat(test_dir, &st);
	ck_assert_int_eq(get(&st, 0, NULL, test_dir)->fd, -ENOEXEC);
	stat("/dev/null", &st);
	ck_assert_int_eq(get(&st, 0, NULL, "/dev/null")->fd, -ENOEXEC);
	ck_assert_int_eq(symlink(loop, loop), 0);
	lstat(loop, &st);
	ck_assert_int_eq(get(&st, 0, NULL, loop)->fd, -ELOOP);
	ck_assert_int_eq(open_fd_cnt(), fds_before);
}
END_TEST

START_TEST(a_fifo_in_its_place_sees_no_reader)
{
	const char *path = test_path("a");
	struct stat st = make_file(path, "a");
	pid_t pid;
	int status;

	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0666), 0);
	pid = fork();
	if (!pid) {
		/* Until there is a reader, which there must not be. */
		for (int i = 0; i < 2000; i++)
			if (open(path, O_WRONLY | O_NONBLOCK) >= 0)
				_exit(1);
		_exit(0);
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		ck_assert_int_lt(get(&st, 0, NULL, path)->fd, 0);
	}
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(names_too_long_missing_or_odd_are_errors)
{
	char name[3 * PATH_MAX];
	struct stat st = {.st_dev = 1, .st_ino = 1};

	ck_assert_int_eq(get(&st, 0, NULL, "/nonexistent")->fd, -ENOENT);
	st.st_ino++;
	ck_assert_int_eq(get(&st, 0, NULL, "no slash")->fd, -ENOENT);
	st.st_ino++;
	ck_assert_int_eq(get(&st, 0, NULL, "")->fd, -ENOENT);
	memset(name, '/', sizeof(name));
	name[sizeof(name) - 1] = 0;
	st.st_ino++;
	ck_assert_int_eq(get(&st, 0, NULL, name)->fd, -ENAMETOOLONG);
}
END_TEST

START_TEST(a_file_that_could_not_be_opened_is_tried_again)
{
	const char *path = test_path("a");
	struct stat st = make_file(path, "a");
	struct mapped_file *file = get(&st, 7, NULL, "/a/path/that/is/not/here");

	ck_assert_int_lt(file->fd, 0);
	file->examined = file->user_failed = true;
	ck_assert_ptr_eq(get(&st, 7, NULL, path), file);
	assert_content(file, "a");
	ck_assert(!file->examined && !file->user_failed);
	file->examined = true;
	ck_assert_ptr_eq(get(&st, 7, NULL, path), file);
	ck_assert(file->examined);
}
END_TEST

START_TEST(a_generation_tells_inodes_apart_if_it_is_known)
{
	const char *path = test_path("a"), *other = test_path("b");
	struct stat st = make_file(path, "a"), other_st = make_file(other, "b");
	struct mapped_file *file = get(&st, 0, NULL, path);

	/* From /proc first, from the kernel then, and the other way round. */
	ck_assert_ptr_eq(get(&st, 7, NULL, path), file);
	ck_assert_uint_eq(file->generation, 7);
	ck_assert_ptr_eq(get(&st, 0, NULL, path), file);
	ck_assert_ptr_ne(get(&st, 8, NULL, path), file);
	ck_assert_ptr_eq(get(&st, 7, NULL, path), file);
	file = get(&other_st, 9, NULL, other);
	ck_assert_ptr_eq(get(&other_st, 0, NULL, other), file);
	ck_assert_uint_eq(file->generation, 9);
	/* btrfs: the same numbers in another subvolume. */
	ck_assert_ptr_ne(get(&other_st, 0, NULL, "/elsewhere"), file);
}
END_TEST

START_TEST(special_mappings_are_told_apart_by_name)
{
	struct stat none = {0};
	struct mapped_file *vdso = get(&none, 0, NULL, "[vdso]");
	struct mapped_file *anon = get(&none, 0, NULL, "//anon");

	ck_assert_ptr_ne(vdso, anon);
	ck_assert_ptr_eq(get(&none, 0, NULL, "[vdso]"), vdso);
	ck_assert_ptr_eq(get(&none, 0, NULL, "//anon"), anon);
	ck_assert_str_eq(vdso->path, "[vdso]");
	ck_assert_int_eq(vdso->fd, -ENOENT);
	/* Not even if there were such a file. */
	ck_assert_int_eq(get(&none, 0, NULL, "/bin/sh")->fd, -ENOENT);
}
END_TEST

START_TEST(a_process_that_is_gone_leaves_the_path)
{
	const char *path = test_path("a");
	struct stat st = make_file(path, "a");
	struct mapped_file *file = file_table__get(files, gone_pid(), PAGE, 2 * PAGE, st.st_dev,
						   st.st_ino, 0, path);

	assert_content(file, "a");
}
END_TEST

START_TEST(what_a_process_that_is_gone_has_left_must_be_the_very_file)
{
	const char *path = test_path("a");
	struct stat st = make_file(path, "a");
	struct mapped_file *file = file_table__get(files, gone_pid(), PAGE, 2 * PAGE, st.st_dev + 1,
						   st.st_ino, 0, path);

	ck_assert_int_eq(file->fd, -ESTALE);
}
END_TEST

/* A child that waits in a root of its own; its end is killed with it. */
static pid_t start_in_root(const char *root)
{
	int ready[2];
	pid_t pid;
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		close(ready[0]);
		if (chroot(root) || write(ready[1], "r", 1) != 1)
			_exit(1);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

START_TEST(a_link_in_a_processs_root_does_not_lead_out_of_it)
{
	const char *outside = test_path("outside"), *root = test_path("root");
	const char *file_inside = test_path("root/inside");
	struct stat st = make_file(outside, "out"), inside_st;
	pid_t pid;

	ck_assert_int_eq(mkdir(root, 0755), 0);
	inside_st = make_file(file_inside, "in");
	ck_assert_int_eq(symlink(outside, test_path("root/absolute")), 0);
	ck_assert_int_eq(symlink("../../../../../../../../../../..", test_path("root/up")), 0);
	ck_assert_int_eq(symlink("/inside", test_path("root/good")), 0);
	pid = start_in_root(root);
	ck_assert_uint_ne(mapped_file__origin(pid), 0);
	ck_assert_int_eq(file_table__get(files, pid, 0, PAGE, st.st_dev, st.st_ino, 1,
					 "/absolute")->fd, -ENOENT);
	ck_assert_int_eq(file_table__get(files, pid, 0, PAGE, st.st_dev, st.st_ino, 2,
					 outside)->fd, -ENOENT);
	{
		char up[PATH_MAX];

		snprintf(up, sizeof(up), "/up%s", outside);
		ck_assert_int_eq(file_table__get(files, pid, 0, PAGE, st.st_dev, st.st_ino, 3,
						 up)->fd, -ENOENT);
	}
	assert_content(file_table__get(files, pid, 0, PAGE, inside_st.st_dev, inside_st.st_ino, 4,
				       "/good"), "in");
	ck_assert_uint_eq(file_table__get(files, pid, 0, PAGE, inside_st.st_dev, inside_st.st_ino,
					  4, "/good")->origin, mapped_file__origin(pid));
	ck_assert_uint_eq(mapped_file__origin(getpid()), 0);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_uint_eq(mapped_file__origin(pid), 0);
}
END_TEST

START_TEST(the_table_is_bounded)
{
	struct mapped_file *first = NULL, *file;
	char name[32];
	int cnt = 0;

	/* As a process could make by naming its anonymous memory. */
	for (int i = 0; i < 70000; i++) {
		snprintf(name, sizeof(name), "[anon:%d]", i);
		file = file_table__get(files, getpid(), 0, PAGE, 0, 0, 0, name);
		first = first ? first : file;
		cnt += file != NULL;
		if (!file && errno != ENOMEM)
			ck_abort_msg("errno %d", errno);
	}
	ck_assert_int_eq(cnt, 65536);
	ck_assert_ptr_eq(file_table__get(files, 1, 0, PAGE, 0, 0, 0, "[anon:0]"), first);
}
END_TEST

START_TEST(free_takes_null)
{
	file_table__free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mapped_file");
	TCase *tcase = tcase_create("mapped_file");

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, a_file_is_opened_once_for_all_its_mappings);
	if (access("/proc/self/map_files", R_OK | X_OK) || geteuid()) {
		fprintf(stderr, "skipped: what needs /proc/PID/map_files (CAP_SYS_ADMIN)\n");
	} else {
		tcase_add_test(tcase, an_unlinked_file_is_opened_by_its_mapping);
		tcase_add_test(tcase, a_file_put_in_its_place_is_another);
		tcase_add_test(tcase,
			       a_mapping_with_the_files_name_is_taken_whatever_its_inode_number);
		tcase_add_test(tcase,
			       a_file_unmapped_since_is_not_taken_for_what_is_mapped_there_now);
	}
	tcase_add_test(tcase, a_path_that_leads_to_another_inode_is_not_taken);
	tcase_add_test(tcase, what_is_no_regular_file_is_never_opened);
	tcase_add_test(tcase, a_fifo_in_its_place_sees_no_reader);
	tcase_add_test(tcase, names_too_long_missing_or_odd_are_errors);
	tcase_add_test(tcase, a_file_that_could_not_be_opened_is_tried_again);
	tcase_add_test(tcase, a_generation_tells_inodes_apart_if_it_is_known);
	tcase_add_test(tcase, special_mappings_are_told_apart_by_name);
	tcase_add_test(tcase, a_process_that_is_gone_leaves_the_path);
	tcase_add_test(tcase, what_a_process_that_is_gone_has_left_must_be_the_very_file);
	if (geteuid())
		fprintf(stderr, "skipped: what needs chroot(2)\n");
	else
		tcase_add_test(tcase, a_link_in_a_processs_root_does_not_lead_out_of_it);
	tcase_add_test(tcase, the_table_is_bounded);
	tcase_add_test(tcase, free_takes_null);
	return run_suite(suite);
}
