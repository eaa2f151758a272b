/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/mapping_log.h"

#include <dlfcn.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "target/perf_stream.h"
#include "target_fixture.h"

/*
 * Goal of this test: an address of a real process is answered with what was
 * mapped there at the time asked for, through dlopen and dlclose, fork and
 * exec, on whatever CPU each of them ran, and whoever has ended since.
 */

#define PAGE 4096

static struct file_table *files;
static struct mapping_log *mappings;

static bool is_used(const struct mapped_file *file)
{
	static uint32_t mark;

	mapping_log__mark_used(mappings, ++mark);
	return file->used_mark == mark;
}
static uint32_t seen_cnt;
static pid_t seen_pid;
static struct mapping seen;

static void see(void *arg, pid_t pid, const struct mapping *mapping)
{
	ck_assert_ptr_eq(arg, &seen_cnt);
	seen_cnt++;
	seen_pid = pid;
	seen = *mapping;
}

/* ---- a process that maps, forks and executes on demand ---- */

struct order {
	char op;
	char path[120];
	uint64_t address;
};

static int to_child, from_child;
static pid_t child;

static uint64_t map_file(const struct order *order)
{
	int fd = open(order->path, O_RDONLY | O_CLOEXEC);
	void *memory = mmap((void *)order->address, PAGE, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE | (order->address ? MAP_FIXED : 0), fd, 0);

	close(fd);
	return (uintptr_t)memory;
}

/* Between two files at one address. */
static uint64_t map_often(struct order *order)
{
	const char other[] = "/b";
	uint64_t cnt = order->address;

	order->address = 0;
	order->address = map_file(order);
	for (uint64_t i = 0; i < cnt; i++) {
		memcpy(strrchr(order->path, '/'), i % 2 ? "/a" : other, sizeof(other));
		map_file(order);
	}
	return order->address;
}

/* A JIT's: never the same twice in a row. */
static uint64_t make_code_often(uint64_t cnt)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *memory = mmap(NULL, 2 * PAGE, PROT_READ, flags, -1, 0);

	for (uint64_t i = 0; i < cnt; i++) {
		mprotect(memory, 2 * PAGE, PROT_READ);
		mmap(memory, PAGE << i % 2, PROT_READ | PROT_EXEC, flags | MAP_FIXED, -1, 0);
	}
	return (uintptr_t)memory;
}

static uint64_t protect_often(const struct order *order)
{
	for (int i = 0; i < 1000; i++) {
		mprotect((void *)order->address, PAGE, PROT_READ);
		mprotect((void *)order->address, PAGE, PROT_READ | PROT_EXEC);
	}
	return 0;
}

static void run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* The child goes on in this process's place; this one waits, or executes something else. */
static uint64_t fork_on(const struct order *order)
{
	pid_t pid;

	if (order->op == 'F')
		run_on_cpu(1);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (order->op == 'F')
			run_on_cpu(0);
		return getpid();
	}
	if (order->op == 'p')
		execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	waitpid(pid, NULL, 0);
	_exit(0);
}

static uint64_t do_order(struct order *order)
{
	static void *library;

	switch (order->op) {
	case 'm': /* maps a file */
		return map_file(order);
	case 'M':
		return map_often(order);
	case 'a': /* anonymous code, as a JIT makes it */
		return (uintptr_t)mmap((void *)order->address, PAGE, PROT_READ | PROT_EXEC,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	case 'A':
		return make_code_often(order->address);
	case 'u':
		return munmap((void *)order->address, PAGE);
	case 'P':
		return protect_often(order);
	case 'o':
		library = dlopen(order->path, RTLD_NOW | RTLD_LOCAL);
		return (uintptr_t)dlsym(library, "cos");
	case 'c':
		return dlclose(library);
	case 'f': /* forks */
	case 'F': /* the same from one CPU to another */
	case 'p': /* the same, and the parent executes another program */
		return fork_on(order);
	case 'x':
		execl("/bin/cat", "cat", "-u", (char *)NULL);
	}
	return 0;
}

static void serve(void)
{
	struct order order;

	while (read(0, &order, sizeof(order)) == sizeof(order)) {
		order.address = do_order(&order);
		if (write(1, &order, sizeof(order)) != sizeof(order))
			break;
	}
	_exit(0);
}

static uint64_t tell(char op, const char *path, uint64_t address)
{
	struct order order = {.op = op, .address = address};

	snprintf(order.path, sizeof(order.path), "%s", path);
	ck_assert_int_eq(write(to_child, &order, sizeof(order)), sizeof(order));
	if (op == 'x') /* cat then gives back what it reads */
		ck_assert_int_eq(write(to_child, &order, sizeof(order)), sizeof(order));
	ck_assert_int_eq(read(from_child, &order, sizeof(order)), sizeof(order));
	return order.address;
}

static void start_child(void)
{
	int in[2], out[2];

	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "server");
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		serve();
	}
	close(in[0]);
	close(out[1]);
	to_child = in[1];
	from_child = out[0];
	/* It has its name once it answers. */
	tell(' ', "", 0);
}

static void set_up(void)
{
	make_test_dir();
	copy_file("/bin/true", test_path("a"));
	copy_file("/bin/false", test_path("b"));
	files = file_table__new();
	mappings = mapping_log__new(files, see, &seen_cnt);
	ck_assert_ptr_nonnull(mappings);
	start_child();
}

static void tear_down(void)
{
	close(to_child);
	close(from_child);
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	mapping_log__free(mappings);
	file_table__free(files);
	remove_test_dir();
}

/* ---- what is asked ---- */

static const struct mapped_file *file_at(uint64_t address)
{
	const struct mapping *mapping = mapping_log__find(mappings, child, address, now_ns());

	ck_assert_ptr_nonnull(mapping);
	return mapping->file;
}

static const char *name_at(pid_t pid, uint64_t address, uint64_t time_ns)
{
	const struct mapping *mapping = mapping_log__find(mappings, pid, address, time_ns);
	const char *slash = mapping ? strrchr(mapping->file->path, '/') : NULL;

	return !mapping ? "none" : slash ? slash + 1 : mapping->file->path;
}

static bool is_b(const struct mapped_file *file)
{
	return !strcmp(file->path, test_path("b"));
}

static void watch(void)
{
	ck_assert_int_eq(mapping_log__watch(mappings, child), 0);
	ck_assert_str_eq(mapping_log__comm(mappings, child), "server");
}

START_TEST(what_a_running_process_has_mapped_is_read)
{
	const struct mapping *mapping;
	uint64_t address = (uintptr_t)do_order;
	char exe[PATH_MAX] = "", code[16];

	watch();
	ck_assert_int_gt(readlink("/proc/self/exe", exe, sizeof(exe) - 1), 0);
	mapping = mapping_log__find(mappings, child, address, now_ns());
	ck_assert_ptr_nonnull(mapping);
	ck_assert_str_eq(mapping->file->path, exe);
	ck_assert_uint_eq(mapping->time_ns, 0);
	/* What the file has there is what the memory has. */
	ck_assert_int_eq(pread(mapping->file->fd, code, sizeof(code),
			       address - mapping->start + mapping->file_offset),
			 sizeof(code));
	ck_assert_int_eq(memcmp(code, (const void *)address, sizeof(code)), 0);
	ck_assert_str_eq(name_at(child, (uintptr_t)getpid, now_ns()), "libc.so.6");
	/* Data is not code. */
	ck_assert_str_eq(name_at(child, (uintptr_t)&mappings, now_ns()), "none");
	ck_assert_uint_gt(seen_cnt, 1);
	ck_assert_int_eq(seen_pid, child);
}
END_TEST

START_TEST(a_new_mapping_is_known_from_its_time_on)
{
	uint64_t before, address;

	watch();
	mapping_log__drain(mappings);
	seen_cnt = 0;
	before = now_ns();
	address = tell('m', test_path("b"), 0);
	mapping_log__drain(mappings);
	ck_assert_uint_eq(seen_cnt, 1);
	ck_assert_int_eq(seen_pid, child);
	ck_assert_uint_eq(seen.start, address);
	ck_assert_uint_eq(seen.end, address + PAGE);
	ck_assert_uint_eq(seen.file_offset, 0);
	ck_assert_uint_ge(seen.time_ns, before);
	ck_assert_uint_le(seen.time_ns, now_ns());
	ck_assert_str_eq(name_at(child, address, before), "none");
	ck_assert_str_eq(name_at(child, address, seen.time_ns), "b");
	ck_assert_str_eq(name_at(child, address, now_ns()), "b");
	ck_assert_str_eq(name_at(child, address + PAGE - 1, now_ns()), "b");
	ck_assert_str_ne(name_at(child, address + PAGE, now_ns()), "b");
	ck_assert_str_ne(name_at(child, address - 1, now_ns()), "b");
	ck_assert(mapping_log__has(mappings, child, is_b));
}
END_TEST

START_TEST(the_descriptor_becomes_readable)
{
	struct pollfd fd = {.fd = mapping_log__fd(mappings), .events = POLLIN};

	while (poll(&fd, 1, 0) == 1)
		mapping_log__drain(mappings);
	tell('m', test_path("a"), 0);
	ck_assert_int_eq(poll(&fd, 1, 10000), 1);
}
END_TEST

START_TEST(an_address_is_answered_by_its_time)
{
	uint64_t address, none_ns = now_ns(), a_ns, b_ns, anon_ns;

	watch();
	address = tell('m', test_path("a"), 0);
	a_ns = now_ns();
	tell('u', "", address);
	tell('m', test_path("b"), address);
	b_ns = now_ns();
	tell('a', "", address);
	anon_ns = now_ns();
	mapping_log__drain(mappings);
	ck_assert_str_eq(name_at(child, address, none_ns), "none");
	ck_assert_str_eq(name_at(child, address, a_ns), "a");
	ck_assert_str_eq(name_at(child, address, b_ns), "b");
	ck_assert_str_eq(name_at(child, address, anon_ns), "anon");
}
END_TEST

START_TEST(libraries_come_and_go)
{
	uint64_t address, again, open_ns;

	watch();
	copy_file(access("/lib/x86_64-linux-gnu/libm.so.6", R_OK)
			  ? "/lib/aarch64-linux-gnu/libm.so.6"
			  : "/lib/x86_64-linux-gnu/libm.so.6",
		  test_path("first.so"));
	copy_file(test_path("first.so"), test_path("second.so"));
	address = tell('o', test_path("first.so"), 0);
	ck_assert_uint_ne(address, 0);
	open_ns = now_ns();
	ck_assert_uint_eq(tell('c', "", 0), 0);
	again = tell('o', test_path("second.so"), 0);
	mapping_log__drain(mappings);
	ck_assert_str_eq(name_at(child, address, open_ns), "first.so");
	ck_assert_str_eq(name_at(child, again, now_ns()), "second.so");
	/* An ifunc is in the library all the same. */
	if (again == address)
		ck_assert_str_eq(name_at(child, address, now_ns()), "second.so");
}
END_TEST

START_TEST(a_replaced_file_is_another_file)
{
	const struct mapped_file *old_file, *new_file;
	uint64_t old_address, new_address;
	struct stat old_st, st;

	watch();
	ck_assert_int_eq(stat(test_path("a"), &old_st), 0);
	old_address = tell('m', test_path("a"), 0);
	/* Replaced before we hear of the first mapping. */
	ck_assert_int_eq(rename(test_path("b"), test_path("a")), 0);
	new_address = tell('m', test_path("a"), 0);
	mapping_log__drain(mappings);
	old_file = file_at(old_address);
	new_file = file_at(new_address);
	ck_assert_str_eq(old_file->path, new_file->path);
	ck_assert_ptr_ne(old_file, new_file);
	ck_assert_int_eq(fstat(new_file->fd, &st), 0);
	ck_assert_uint_ne(st.st_ino, old_st.st_ino);
	if (geteuid()) /* without /proc/PID/map_files the old one is out of reach */
		ck_assert_int_eq(old_file->fd, -ESTALE);
	else
		ck_assert_int_eq(fstat(old_file->fd, &st), 0);
	ck_assert(geteuid() || st.st_ino == old_st.st_ino);
	/* What /proc says of the file, without a generation, is the same file. */
	watch();
	ck_assert_ptr_eq(file_at(new_address), new_file);
}
END_TEST

START_TEST(a_forked_child_has_what_its_parent_had)
{
	uint64_t address, later, before_ns;
	const struct mapped_file *file;
	pid_t grandchild;

	watch();
	address = tell('m', test_path("a"), 0);
	grandchild = tell('f', "", 0);
	before_ns = now_ns();
	later = tell('m', test_path("b"), 0);
	mapping_log__drain(mappings);
	ck_assert_str_eq(mapping_log__comm(mappings, grandchild), "server");
	ck_assert_str_eq(name_at(grandchild, address, now_ns()), "a");
	ck_assert_str_eq(name_at(grandchild, (uintptr_t)getpid, now_ns()), "libc.so.6");
	ck_assert_str_eq(name_at(grandchild, later, before_ns), "none");
	ck_assert_str_eq(name_at(grandchild, later, now_ns()), "b");
	ck_assert_str_eq(name_at(child, later, now_ns()), "none");
	ck_assert(mapping_log__has(mappings, grandchild, is_b));
	ck_assert(!mapping_log__has(mappings, child, is_b));
	/* Also when the parent has ended. */
	file = file_at(address);
	mapping_log__forget(mappings, child);
	ck_assert(is_used(file));
	ck_assert_str_eq(name_at(child, address, now_ns()), "none");
	ck_assert_str_eq(name_at(grandchild, address, now_ns()), "a");
	mapping_log__forget(mappings, grandchild);
	ck_assert_str_eq(name_at(grandchild, address, now_ns()), "none");
	ck_assert(!is_used(file));
}
END_TEST

START_TEST(a_parents_later_exec_takes_nothing_from_its_child)
{
	uint64_t address;
	pid_t grandchild;

	watch();
	address = tell('m', test_path("b"), 0);
	grandchild = tell('p', "", 0);
	while (strcmp(mapping_log__comm(mappings, child), "sleep"))
		mapping_log__drain(mappings);
	ck_assert_str_eq(name_at(grandchild, address, now_ns()), "b");
	ck_assert(mapping_log__has(mappings, grandchild, is_b));
	ck_assert_str_eq(name_at(child, address, now_ns()), "none");
	ck_assert(!mapping_log__has(mappings, child, is_b));
}
END_TEST

START_TEST(exec_begins_anew)
{
	uint64_t address, before_ns;

	watch();
	address = tell('m', test_path("b"), 0);
	before_ns = now_ns();
	mapping_log__drain(mappings);
	seen_cnt = 0;
	tell('x', "", 0);
	mapping_log__drain(mappings);
	ck_assert_str_eq(mapping_log__comm(mappings, child), "cat");
	ck_assert_str_eq(name_at(child, address, before_ns), "b");
	ck_assert_str_ne(name_at(child, address, now_ns()), "b");
	ck_assert_str_eq(name_at(child, (uintptr_t)do_order, before_ns),
			 strrchr(program_invocation_name, '/') + 1);
	ck_assert(!mapping_log__has(mappings, child, is_b));
	/* At least the program, the linker and libc. */
	ck_assert_uint_ge(seen_cnt, 3);
	ck_assert_ptr_nonnull(mapping_log__find(mappings, child, seen.start, now_ns()));
}
END_TEST

static void watch_fork_and_exec(char op)
{
	pid_t grandchild;

	watch();
	for (int i = 0; i < 20; i++) {
		grandchild = tell(op, "", 0);
		tell('x', "", 0);
		mapping_log__drain(mappings);
		ck_assert_str_eq(mapping_log__comm(mappings, grandchild), "cat");
		close(to_child);
		close(from_child);
		kill(child, SIGKILL);
		ck_assert_int_eq(waitpid(child, NULL, 0), child);
		start_child();
		watch();
	}
}

/* The child's records are in another CPU's ring, which is read first. */
START_TEST(a_child_that_executes_on_another_cpu_is_followed)
{
	watch_fork_and_exec('F');
}
END_TEST

START_TEST(a_command_is_watched_from_its_exec_on)
{
	uint64_t address;

	ck_assert_int_eq(mapping_log__watch_new(mappings, child), 0);
	ck_assert_str_eq(mapping_log__comm(mappings, child), "");
	ck_assert_str_eq(name_at(child, (uintptr_t)getpid, now_ns()), "none");
	address = tell('m', test_path("b"), 0);
	tell('x', "", 0);
	mapping_log__drain(mappings);
	ck_assert_str_eq(mapping_log__comm(mappings, child), "cat");
	ck_assert_str_ne(name_at(child, address, now_ns()), "b");
	ck_assert_uint_ge(seen_cnt, 4);
}
END_TEST

static void count_mapping(void *arg, pid_t pid, const struct mapping *mapping)
{
	uint32_t *cnt = arg;

	ck_assert_int_eq(pid, child);
	*cnt += is_b(mapping->file);
}

START_TEST(mappings_listed_by_others_are_taken_in)
{
	struct mapping mapping = {.start = 10 * PAGE, .end = 12 * PAGE, .file_offset = PAGE};
	uint32_t cnt = 0;

	mapping.file = file_table__get(files, child, 10 * PAGE, 12 * PAGE, 0, 0, 0, test_path("b"));
	ck_assert_int_eq(mapping_log__add(mappings, child, &mapping), -ESRCH);
	ck_assert(!is_used(mapping.file));
	ck_assert_int_eq(mapping_log__watch_new(mappings, child), 0);
	for (uint32_t i = 1; i <= 100; i++) {
		ck_assert_int_eq(mapping_log__add(mappings, child, &mapping), 0);
		ck_assert_uint_eq(seen_cnt, i);
	}
	ck_assert_str_eq(name_at(child, 11 * PAGE, now_ns()), "b");
	ck_assert_str_eq(name_at(child, 12 * PAGE, now_ns()), "none");
	ck_assert(mapping_log__has(mappings, child, is_b));
	ck_assert_uint_eq(mapping_log__first(mappings, child, is_b)->file_offset, PAGE);
	ck_assert(is_used(mapping.file));
	mapping_log__for_each(mappings, child, count_mapping, &cnt);
	ck_assert_uint_eq(cnt, 100);
	mapping_log__for_each(mappings, gone_pid(), count_mapping, &cnt);
	ck_assert_uint_eq(cnt, 100);
}
END_TEST

START_TEST(unknown_and_gone_processes_have_nothing)
{
	pid_t gone = gone_pid();

	ck_assert_int_eq(mapping_log__watch(mappings, gone), -ESRCH);
	ck_assert_str_eq(name_at(gone, (uintptr_t)getpid, now_ns()), "none");
	ck_assert_str_eq(mapping_log__comm(mappings, gone), "");
	ck_assert(!mapping_log__has(mappings, gone, is_b));
	mapping_log__forget(mappings, gone);
	tell('m', test_path("b"), 0);
	mapping_log__drain(mappings);
	ck_assert_uint_eq(seen_cnt, 0);
	ck_assert(!mapping_log__has(mappings, child, is_b));
	/* Watched twice is watched anew. */
	watch();
	watch();
	ck_assert(mapping_log__has(mappings, child, is_b));
	mapping_log__free(NULL);
}
END_TEST

START_TEST(protections_changed_to_and_fro_are_no_news)
{
	uint64_t address;

	watch();
	address = tell('m', test_path("b"), 0);
	mapping_log__drain(mappings);
	seen_cnt = 0;
	tell('P', "", address);
	mapping_log__drain(mappings);
	ck_assert_uint_eq(seen_cnt, 0);
	ck_assert_str_eq(name_at(child, address, now_ns()), "b");
}
END_TEST

/*
 * Each of them, in rings that wrapped around many times. A busy host may fill
 * a ring all the same; the loss of one makes the next but one a repetition.
 */
static void assert_seen(uint64_t cnt)
{
	uint32_t seen_of_cnt = seen_cnt;

	/* The kernel tells of a loss with the next record. */
	tell('F', "", 0);
	mapping_log__drain(mappings);
	/* The process may map a little for itself (under valgrind). */
	ck_assert_uint_le(seen_of_cnt, cnt + cnt / 1000);
	ck_assert_uint_ge(seen_of_cnt + 2 * mapping_log__lost_cnt(mappings), cnt);
}

START_TEST(a_flood_of_mappings_forgets_the_oldest_only)
{
	uint64_t address, kept, fd = open_fd_cnt();

	watch();
	kept = tell('m', test_path("a"), 0);
	mapping_log__drain(mappings);
	fd = open_fd_cnt();
	seen_cnt = 0;
	for (int i = 0; i < 200; i++) {
		address = tell('M', test_path("a"), 499);
		mapping_log__drain(mappings);
	}
	assert_seen(200 * 500);
	ck_assert_str_eq(name_at(child, address, now_ns()), "b");
	ck_assert_str_eq(name_at(child, kept, now_ns()), "none");
	ck_assert_int_le(open_fd_cnt(), fd + 1);
}
END_TEST

START_TEST(a_jit_pushes_no_library_out)
{
	uint64_t address, code;

	watch();
	address = tell('m', test_path("a"), 0);
	mapping_log__drain(mappings);
	seen_cnt = 0;
	for (int i = 0; i < 200; i++) {
		code = tell('A', "", 500);
		mapping_log__drain(mappings);
	}
	assert_seen(200 * 500);
	ck_assert_str_eq(name_at(child, address, now_ns()), "a");
	ck_assert_str_eq(name_at(child, (uintptr_t)getpid, now_ns()), "libc.so.6");
	ck_assert_str_eq(name_at(child, code, now_ns()), "anon");
}
END_TEST

START_TEST(lost_records_are_counted_and_later_ones_seen)
{
	uint64_t address;

	watch();
	tell('M', test_path("a"), 20000);
	mapping_log__drain(mappings);
	/* The kernel tells of the loss with the next record that fits. */
	address = tell('m', test_path("b"), 0);
	mapping_log__drain(mappings);
	ck_assert_str_eq(name_at(child, address, now_ns()), "b");
	tell('F', "", 0);
	tell('m', test_path("b"), 0);
	mapping_log__drain(mappings);
	ck_assert_uint_gt(mapping_log__lost_cnt(mappings), 1000);
}
END_TEST

/* ---- the stream itself ---- */

static uint64_t last_ns;

static void check_order(void *arg, const struct perf_record *record)
{
	(void)arg;
	ck_assert_uint_ge(record->time_ns, last_ns);
	last_ns = record->time_ns;
	seen_cnt++;
}

START_TEST(records_of_all_cpus_come_in_the_order_of_time)
{
	struct perf_stream *stream = perf_stream__new(check_order, NULL);
	pid_t pids[8];

	ck_assert_ptr_nonnull(stream);
	for (int i = 0; i < 8; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		for (int n = 0; n < 20; n++) {
			struct order order = {.op = 'm'};

			strcpy(order.path, test_path(n % 2 ? "a" : "b"));
			run_on_cpu(i % 2);
			map_file(&order);
			sched_yield();
		}
		_exit(0);
	}
	for (int i = 0; i < 8; i++)
		waitpid(pids[i], NULL, 0);
	/* All at once: the order of two drains is not promised. */
	perf_stream__drain(stream);
	ck_assert_uint_ge(seen_cnt + perf_stream__lost_cnt(stream), 8 * 21);
	perf_stream__free(stream);
	perf_stream__free(NULL);
}
END_TEST

START_TEST(nothing_stays_open)
{
	int fds = open_fd_cnt();

	for (int i = 0; i < 3; i++) {
		struct mapping_log *log = mapping_log__new(files, NULL, NULL);

		ck_assert_ptr_nonnull(log);
		mapping_log__free(log);
	}
	ck_assert_int_eq(open_fd_cnt(), fds);
}
END_TEST

static bool can_watch(void)
{
	struct mapping_log *log = mapping_log__new(NULL, NULL, NULL);

	if (!log)
		fprintf(stderr, "skipped: perf_event_open: %s\n", strerror(errno));
	mapping_log__free(log);
	return log;
}

START_TEST(without_privilege_it_is_an_error)
{
	int fds = open_fd_cnt();

	if (!geteuid())
		ck_assert_int_eq(setuid(65534), 0);
	errno = 0;
	ck_assert_ptr_null(mapping_log__new(NULL, NULL, NULL));
	ck_assert(errno == EPERM || errno == EACCES || errno == ENOSYS);
	ck_assert_int_eq(open_fd_cnt(), fds);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, what_a_running_process_has_mapped_is_read);
	tcase_add_test(tcase, a_new_mapping_is_known_from_its_time_on);
	tcase_add_test(tcase, the_descriptor_becomes_readable);
	tcase_add_test(tcase, an_address_is_answered_by_its_time);
	tcase_add_test(tcase, libraries_come_and_go);
	tcase_add_test(tcase, a_replaced_file_is_another_file);
	tcase_add_test(tcase, a_forked_child_has_what_its_parent_had);
	tcase_add_test(tcase, a_parents_later_exec_takes_nothing_from_its_child);
	tcase_add_test(tcase, exec_begins_anew);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
		tcase_add_test(tcase, a_child_that_executes_on_another_cpu_is_followed);
		tcase_add_test(tcase, records_of_all_cpus_come_in_the_order_of_time);
	} else {
		fprintf(stderr, "skipped: what needs two CPUs\n");
	}
	tcase_add_test(tcase, a_command_is_watched_from_its_exec_on);
	tcase_add_test(tcase, mappings_listed_by_others_are_taken_in);
	tcase_add_test(tcase, unknown_and_gone_processes_have_nothing);
	tcase_add_test(tcase, protections_changed_to_and_fro_are_no_news);
	tcase_add_test(tcase, a_flood_of_mappings_forgets_the_oldest_only);
	tcase_add_test(tcase, a_jit_pushes_no_library_out);
	tcase_add_test(tcase, lost_records_are_counted_and_later_ones_seen);
	tcase_add_test(tcase, nothing_stays_open);
}

int main(void)
{
	Suite *suite = suite_create("mapping_log");
	TCase *tcase = tcase_create("processes"), *alone = tcase_create("alone");

	suite_add_tcase(suite, tcase);
	suite_add_tcase(suite, alone);
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	if (can_watch())
		add_tests(tcase);
	tcase_add_test(alone, without_privilege_it_is_an_error);
	return run_suite(suite);
}
