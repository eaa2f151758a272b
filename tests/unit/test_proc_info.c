/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/proc_info.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "target_fixture.h"

/*
 * Goal of this test: what /proc says of a process comes out whole, or cut to the
 * buffer, or "unknown"; a process's choice of name cannot change the answer.
 */

static void *do_in_thread(void *arg)
{
	pid_t tid = syscall(SYS_gettid);

	(void)arg;
	ck_assert_int_ne(tid, getpid());
	ck_assert(!proc_info__exists(tid));
	ck_assert(proc_info__exists(getpid()));
	return NULL;
}

START_TEST(a_process_exists_and_its_threads_are_none)
{
	pthread_t thread;

	ck_assert(proc_info__exists(getpid()));
	ck_assert(proc_info__exists(1));
	ck_assert(!proc_info__exists(0));
	ck_assert(!proc_info__exists(-1));
	ck_assert(!proc_info__exists(INT_MAX));
	ck_assert(!proc_info__exists(gone_pid()));
	ck_assert_int_eq(pthread_create(&thread, NULL, do_in_thread, NULL), 0);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(a_process_name_cannot_pose_as_a_line_of_proc)
{
	ck_assert_int_eq(prctl(PR_SET_NAME, "x\nTgid:\t1"), 0);
	ck_assert(proc_info__exists(getpid()));
}
END_TEST

START_TEST(the_executable_is_told_cut_or_unknown)
{
	char expected[PATH_MAX] = "", path[PATH_MAX], small[8];

	memset(small, 'x', sizeof(small));
	ck_assert_int_gt(readlink("/proc/self/exe", expected, sizeof(expected) - 1), 8);
	ck_assert_str_eq(proc_info__exe(getpid(), path, sizeof(path)), expected);
	ck_assert_ptr_eq(proc_info__exe(getpid(), small, sizeof(small)), small);
	ck_assert_uint_eq(strlen(small), sizeof(small) - 1);
	ck_assert_int_eq(strncmp(small, expected, sizeof(small) - 1), 0);
	ck_assert_str_eq(proc_info__exe(gone_pid(), path, sizeof(path)), "");
}
END_TEST

/* The unified one's if it says anything, else the first that does. */
static void find_cgroup(char *path)
{
	char line[PATH_MAX], *colon;
	FILE *file = fopen("/proc/self/cgroup", "re");

	strcpy(path, "/");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		colon = strchr(strchr(line, ':') + 1, ':');
		if (strcmp(colon + 1, "/") && (!strcmp(path, "/") || line[0] == '0'))
			strcpy(path, colon + 1);
	}
	fclose(file);
}

START_TEST(the_cgroup_is_told_cut_or_unknown)
{
	char expected[PATH_MAX], path[PATH_MAX], small[2];

	if (access("/proc/self/cgroup", R_OK)) {
		fprintf(stderr, "skipped: this kernel has no cgroups\n");
		return;
	}
	find_cgroup(expected);
	ck_assert_str_eq(proc_info__cgroup(getpid(), path, sizeof(path)), expected);
	ck_assert_str_eq(proc_info__cgroup(getpid(), small, sizeof(small)), "/");
	ck_assert_str_eq(proc_info__cgroup(gone_pid(), path, sizeof(path)), "");
}
END_TEST

START_TEST(resident_bytes_follow_what_is_touched)
{
	const size_t size = 64 << 20;
	uint64_t before, after, unchanged = 7;
	void *memory;

	ck_assert(proc_info__rss_bytes(getpid(), &before));
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(memory, MAP_FAILED);
	memset(memory, 1, size);
	ck_assert(proc_info__rss_bytes(getpid(), &after));
	/* The kernel counts in batches per CPU. */
	ck_assert_uint_ge(after, before + size - (8 << 20));
	ck_assert_uint_le(after, before + size + (8 << 20));
	ck_assert(!proc_info__rss_bytes(gone_pid(), &unchanged));
	ck_assert_uint_eq(unchanged, 7);
	munmap(memory, size);
}
END_TEST

START_TEST(a_zombie_has_no_resident_bytes)
{
	uint64_t bytes;
	pid_t pid = fork();
	siginfo_t info;

	if (!pid)
		_exit(0);
	ck_assert_int_eq(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert(proc_info__exists(pid));
	ck_assert(!proc_info__rss_bytes(pid, &bytes));
	waitpid(pid, NULL, 0);
}
END_TEST

struct seen {
	pid_t pid, parent;
	int times;
};

static void see(void *arg, pid_t pid, pid_t parent)
{
	struct seen *seen = arg;

	ck_assert_int_gt(pid, 0);
	ck_assert_int_ge(parent, 0);
	if (pid != seen->pid)
		return;
	seen->parent = parent;
	seen->times++;
}

START_TEST(each_process_is_told_once_with_its_parent_whatever_its_name)
{
	struct seen seen = { .pid = getpid() };
	int go[2];
	pid_t pid;

	ck_assert_int_eq(proc_info__for_each(see, &seen), 0);
	ck_assert_int_eq(seen.times, 1);
	ck_assert_int_eq(seen.parent, getppid());

	ck_assert_int_eq(pipe(go), 0);
	ck_assert_int_eq(prctl(PR_SET_NAME, "x) Z 1 (y\n) X"), 0);
	pid = fork();
	if (!pid) {
		char byte;

		close(go[1]);
		_exit(read(go[0], &byte, 1) != 0);
	}
	seen = (struct seen){ .pid = pid };
	ck_assert_int_eq(proc_info__for_each(see, &seen), 0);
	ck_assert_int_eq(seen.times, 1);
	ck_assert_int_eq(seen.parent, getpid());
	close(go[1]);
	close(go[0]);
	waitpid(pid, NULL, 0);
}
END_TEST

START_TEST(neither_zombies_nor_who_is_gone_are_told)
{
	struct seen seen = { .pid = fork() };
	siginfo_t info;

	if (!seen.pid)
		_exit(0);
	ck_assert_int_eq(waitid(P_PID, seen.pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(proc_info__for_each(see, &seen), 0);
	ck_assert_int_eq(seen.times, 0);
	waitpid(seen.pid, NULL, 0);
	ck_assert_int_eq(proc_info__for_each(see, &seen), 0);
	ck_assert_int_eq(seen.times, 0);
}
END_TEST

START_TEST(no_descriptor_stays_open)
{
	char text[64];
	uint64_t bytes;
	int fds = open_fd_cnt();
	pid_t gone = gone_pid();

	for (int i = 0; i < 10; i++) {
		pid_t pid = i % 2 ? gone : getpid();

		proc_info__exists(pid);
		proc_info__exe(pid, text, sizeof(text));
		proc_info__cgroup(pid, text, sizeof(text));
		proc_info__rss_bytes(pid, &bytes);
		proc_info__for_each(see, &(struct seen){ .pid = gone });
	}
	ck_assert_int_eq(open_fd_cnt(), fds);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proc_info");
	TCase *tcase = tcase_create("proc_info");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, a_process_exists_and_its_threads_are_none);
	tcase_add_test(tcase, a_process_name_cannot_pose_as_a_line_of_proc);
	tcase_add_test(tcase, the_executable_is_told_cut_or_unknown);
	tcase_add_test(tcase, the_cgroup_is_told_cut_or_unknown);
	tcase_add_test(tcase, resident_bytes_follow_what_is_touched);
	tcase_add_test(tcase, a_zombie_has_no_resident_bytes);
	tcase_add_test(tcase, each_process_is_told_once_with_its_parent_whatever_its_name);
	tcase_add_test(tcase, neither_zombies_nor_who_is_gone_are_told);
	tcase_add_test(tcase, no_descriptor_stays_open);
	return run_suite(suite);
}
