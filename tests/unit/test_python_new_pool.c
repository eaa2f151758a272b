/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "python/new_pool.h"
#include "python/pool.h"
#include "target_fixture.h"

/*
 * Goal of this test: the function that opens pools is found by what its code does, at its entry and
 * nowhere else, whichever compiler made it; where there is no such function, none is found; and a
 * pool's header is believed only if it is one.
 */

#define PYTHON "/usr/bin/python3.11"

/* An allocator in pools, as CPython's in what matters. */
static const char source[] =
	"#include <stdint.h>\n"
	"#include <stddef.h>\n"
	"struct pool {\n"
	"	union { char *pad; unsigned cnt; } ref;\n"
	"	char *free;\n"
	"	struct pool *next, *prev;\n"
	"	unsigned arena, class, offset, max;\n"
	"};\n"
	"struct arena {\n"
	"	uintptr_t address;\n"
	"	char *pool;\n"
	"	unsigned free_cnt, total_cnt;\n"
	"	struct pool *free;\n"
	"	struct arena *next, *prev;\n"
	"};\n"
	"extern struct arena *more(void);\n"
	"extern void *large(void *, size_t), *wide(void *, size_t);\n"
	"static struct arena *usable, *all;\n"
	"struct pool *used[64];\n"
	"static KIND void *open_pool(unsigned class)\n"
	"{\n"
	"	struct pool *pool, *next;\n"
	"	unsigned size;\n"
	"	char *block;\n"
	"	if (!usable && !(usable = more()))\n"
	"		return NULL;\n"
	"	pool = usable->free;\n"
	"	if (pool) {\n"
	"		usable->free = pool->next;\n"
	"	} else {\n"
	"		pool = (struct pool *)usable->pool;\n"
	"		pool->arena = usable - all;\n"
	"		pool->class = 0xffff;\n"
	"		usable->pool += POOL;\n"
	"	}\n"
	"	if (!--usable->free_cnt)\n"
	"		usable = usable->next;\n"
	"	next = used[class + class];\n"
	"	pool->next = pool->prev = next;\n"
	"	next->next = next->prev = pool;\n"
	"	pool->ref.cnt = 1;\n"
	"	if (pool->class == class) {\n"
	"		block = pool->free;\n"
	"		pool->free = *(char **)block;\n"
	"		return block;\n"
	"	}\n"
	"	pool->class = class;\n"
	"	size = (class + 1) << 4;\n"
	"	block = (char *)pool + sizeof(*pool);\n"
	"	pool->offset = sizeof(*pool) + (size << 1);\n"
	"	pool->max = POOL - size;\n"
	"	pool->free = block + size;\n"
	"	*(char **)pool->free = NULL;\n"
	"	return block;\n"
	"}\n"
	"static void *small(void *ctx, size_t n)\n"
	"{\n"
	"	struct pool *pool;\n"
	"	char *block = NULL;\n"
	"	unsigned class = (unsigned)(n - 1) >> 4;\n"
	"	if (n - 1 >= 512)\n"
	"		return large(ctx, n);\n"
	"	pool = used[class + class];\n"
	"	if (pool == pool->next) {\n"
	"		block = open_pool(class);\n"
	"	} else {\n"
	"		pool->ref.cnt++;\n"
	"		block = pool->free;\n"
	"		if (!(pool->free = *(char **)block))\n"
	"			wide(pool, class);\n"
	"	}\n"
	"	return block ? block : large(ctx, n);\n"
	"}\n"
	"static void *other(void *ctx, size_t n) { return wide(ctx, n); }\n"
	"static void *(*current)(void *, size_t) = small, *context;\n"
	"void set(void *function, void *ctx) { current = function; context = ctx; }\n"
	"void *PyObject_Malloc(size_t n)\n"
	"{\n"
	"	if ((ptrdiff_t)n < 0)\n"
	"		return NULL;\n"
	"	if (current == DIRECT)\n"
	"		return DIRECT(context, n);\n"
	"	return current(context, n);\n"
	"}\n";

/* Builds lib.so and, stripped, stripped.so in the test's directory. */
static void build(const char *options)
{
	char command[4096];

	make_test_dir();
	write_file(test_path("lib.c"), source, sizeof(source) - 1, 0644);
	snprintf(command, sizeof(command),
		 "%s -shared -fPIC -o %s/lib.so %s/lib.c && strip -o %s/stripped.so %s/lib.so",
		 options, test_dir, test_dir, test_dir, test_dir);
	ck_assert_int_eq(system(command), 0);
}

static int find_in(const char *path, struct new_pool *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;
	struct elf_image *img;

	ck_assert_int_ge(fd, 0);
	img = elf_image__open_fd(fd);
	ck_assert_ptr_nonnull(img);
	memset(out, 0xff, sizeof(*out));
	err = new_pool__find(img, fd, NULL, 0, out);
	elf_image__free(img);
	close(fd);
	return err;
}

/* What nm says of a symbol; 0: there is none. */
static uint64_t symbol_value(const char *path, const char *name)
{
	unsigned long long value = 0;
	char command[4096], line[256];
	FILE *nm;

	snprintf(command, sizeof(command), "nm %s | grep ' %s$'", path, name);
	nm = popen(command, "r");
	ck_assert_ptr_nonnull(nm);
	if (fgets(line, sizeof(line), nm))
		value = strtoull(line, NULL, 16);
	pclose(nm);
	return value;
}

struct compiler {
	const char *command;
	const char *direct; /* which of the two PyObject_Malloc calls without a detour */
	const char *pool_bytes;
};

static const struct compiler compilers[] = {
	{"gcc -O1", "small", "0x4000"},	  {"gcc -O2", "small", "0x4000"},
	{"gcc -O3", "small", "0x4000"},	  {"gcc -Os", "small", "0x4000"},
	{"gcc -O2", "small", "0x1000"},	  {"gcc -O2 -fno-omit-frame-pointer", "small", "0x4000"},
	{"clang -O1", "small", "0x4000"}, {"clang -O2", "small", "0x4000"},
	{"clang -O3", "small", "0x1000"},
};

START_TEST(it_is_found_in_a_stripped_library)
{
	const struct compiler *compiler = &compilers[_i];
	struct new_pool pool;
	char options[256];
	uint64_t entry;

	snprintf(options, sizeof(options), "%s '-DKIND=__attribute__((noinline))' -DPOOL=%s -DDIRECT=%s",
		 compiler->command, compiler->pool_bytes, compiler->direct);
	build(options);
	entry = symbol_value(test_path("lib.so"), "open_pool");
	ck_assert_uint_ne(entry, 0);
	ck_assert_msg(!find_in(test_path("stripped.so"), &pool), "%s", options);
	ck_assert_uint_eq(pool.cnt, 1);
	ck_assert(!pool.by_symbol);
	/* These linkers put code at the address that it has in the file. */
	ck_assert_msg(pool.offsets[0] >= entry && pool.offsets[0] < entry + 16, "%s: %lx not at %lx",
		      options, (long)pool.offsets[0], (long)entry);
	remove_test_dir();
}
END_TEST

START_TEST(what_every_object_goes_through_is_not_taken)
{
	struct new_pool pool;

	build("gcc -O2 '-DKIND=inline __attribute__((always_inline))' -DPOOL=0x4000 -DDIRECT=small");
	ck_assert_int_eq(find_in(test_path("stripped.so"), &pool), -ENOENT);
	ck_assert_uint_eq(pool.cnt, 0);
	remove_test_dir();
	/* Nor another allocator's. */
	build("gcc -O2 '-DKIND=__attribute__((noinline))' -DPOOL=0x4000 -DDIRECT=other");
	ck_assert_int_eq(find_in(test_path("stripped.so"), &pool), -ENOENT);
	ck_assert_int_eq(find_in("/bin/true", &pool), -ENOENT);
	ck_assert_uint_eq(pool.cnt, 0);
	remove_test_dir();
}
END_TEST

struct process {
	uint64_t address;
	uint64_t value;
};

static int read_one_pointer(void *arg, uint64_t address, void *buf, size_t size)
{
	const struct process *process = arg;

	if (address != process->address || size != sizeof(process->value))
		return -EFAULT;
	memcpy(buf, &process->value, size);
	return 0;
}

/* Where nothing is called directly, the pointer in the process leads there. */
START_TEST(pointers_of_the_process_are_followed)
{
	const uint64_t bias = 0x7f0000000000;
	struct process process;
	struct python_memory mem = {read_one_pointer, &process};
	struct new_pool pool;
	struct elf_image *img;
	uint64_t entry;
	int fd;

	build("gcc -O2 '-DKIND=__attribute__((noinline))' -DPOOL=0x4000 -DDIRECT=other");
	entry = symbol_value(test_path("lib.so"), "open_pool");
	process.address = symbol_value(test_path("lib.so"), "current") + bias;
	process.value = symbol_value(test_path("lib.so"), "small") + bias;
	fd = open(test_path("stripped.so"), O_RDONLY | O_CLOEXEC);
	img = elf_image__open_fd(fd);
	ck_assert_int_eq(new_pool__find(img, fd, &mem, bias, &pool), 0);
	ck_assert_uint_eq(pool.cnt, 1);
	ck_assert(pool.offsets[0] >= entry && pool.offsets[0] < entry + 16);
	elf_image__free(img);
	close(fd);
	remove_test_dir();
}
END_TEST

/* Debian's, stripped, against its own debugging symbols if they are there. */
START_TEST(debians_python)
{
	uint64_t entry = 0;
	struct new_pool pool;
	char path[256] = "/usr/lib/debug/.build-id/";
	struct elf_image *img;
	int fd = open(PYTHON, O_RDONLY | O_CLOEXEC);
	const char *id;

	if (fd < 0)
		return; /* not this Debian */
	ck_assert_int_eq(find_in(PYTHON, &pool), 0);
	ck_assert_uint_eq(pool.cnt, 1);
	img = elf_image__open_fd(fd);
	id = elf_image__build_id(img);
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "%.2s/%s.debug", id, id + 2);
	if (!access(path, R_OK))
		entry = symbol_value(path, "allocate_from_new_pool");
	/* An executable at 4 MiB. */
	if (entry)
		ck_assert(pool.offsets[0] + 0x400000 >= entry &&
			  pool.offsets[0] + 0x400000 < entry + 16);
	elf_image__free(img);
	close(fd);
}
END_TEST

/* Whatever the code is, the answer is a place in the file, or none. */
START_TEST(code_that_is_none)
{
	static uint8_t bytes[1 << 16];
	struct new_pool pool;
	struct stat st;
	uint64_t entry;
	int fd;

	build("gcc -O2 '-DKIND=__attribute__((noinline))' -DPOOL=0x4000 -DDIRECT=small");
	entry = symbol_value(test_path("lib.so"), "open_pool") & ~0xfffULL;
	fd = open(test_path("stripped.so"), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_le(st.st_size, sizeof(bytes));
	ck_assert_int_eq(pread(fd, bytes, st.st_size, 0), st.st_size);
	srandom(7);
	for (int i = 0; i < 500; i++) {
		/* In the code, or anywhere. */
		uint64_t at = i & 1 ? entry + random() % 0x400 : (uint64_t)random() % st.st_size;
		uint8_t byte = random();

		if (at >= (uint64_t)st.st_size)
			continue;
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
		struct elf_image *img = elf_image__open_fd(fd);
		if (img && !new_pool__find(img, fd, NULL, 0, &pool))
			for (uint32_t k = 0; k < pool.cnt; k++)
				ck_assert_uint_lt(pool.offsets[k], st.st_size);
		elf_image__free(img);
		if (i % 5 == 4)
			ck_assert_int_eq(pwrite(fd, bytes, st.st_size, 0), st.st_size);
	}
	close(fd);
	remove_test_dir();
}
END_TEST

/* A pool of 16 KiB with blocks of 48 bytes, 3 of them in use. */
static const struct uf_pool_header good = {
	.block_cnt = 3,
	.free_block = 0x7f0000010090,
	.arena_index = 2,
	.size_class = 2,
	.next_offset = 48 + 4 * 48,
	.max_next_offset = 16384 - 48,
};

START_TEST(headers_of_pools)
{
	struct uf_pool_header header = good;

	ck_assert(python_pool__is_in_use(&header, 16384));
	ck_assert(!python_pool__is_in_use(&header, 4096));
	header.max_next_offset = 4096 - 48;
	ck_assert(python_pool__is_in_use(&header, 4096));
	header = good;
	header.block_cnt = 340; /* full: all ever carved */
	header.next_offset = 16384;
	ck_assert(python_pool__is_in_use(&header, 16384));
	header.block_cnt = 341;
	ck_assert(!python_pool__is_in_use(&header, 16384));
	header.block_cnt = 0;
	ck_assert(!python_pool__is_in_use(&header, 16384));
}
END_TEST

START_TEST(headers_of_none)
{
	struct uf_pool_header header = good;
	uint8_t *bytes = (uint8_t *)&header;

	memset(&header, 0, sizeof(header));
	ck_assert(!python_pool__is_in_use(&header, 16384));
	memset(&header, 0xff, sizeof(header));
	ck_assert(!python_pool__is_in_use(&header, 16384));
	header = good;
	header.size_class = 0xffff; /* carved from its arena, and then not used */
	ck_assert(!python_pool__is_in_use(&header, 16384));
	header.size_class = 32;
	ck_assert(!python_pool__is_in_use(&header, 16384));
	header.size_class = 3;
	ck_assert(!python_pool__is_in_use(&header, 16384));
	header = good;
	header.arena_index = 0x7f000001;
	ck_assert(!python_pool__is_in_use(&header, 16384));
	header = good;
	header.next_offset = 16400;
	ck_assert(!python_pool__is_in_use(&header, 16384));
	header.next_offset = 47;
	ck_assert(!python_pool__is_in_use(&header, 16384));
	srandom(11);
	for (int i = 0; i < 100000; i++) {
		for (size_t k = 0; k < sizeof(header); k++)
			bytes[k] = random();
		ck_assert(!python_pool__is_in_use(&header, i & 1 ? 4096 : 16384));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("python_new_pool");
	TCase *tcase = tcase_create("core");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, it_is_found_in_a_stripped_library, 0,
			    sizeof(compilers) / sizeof(compilers[0]));
	tcase_add_test(tcase, what_every_object_goes_through_is_not_taken);
	tcase_add_test(tcase, pointers_of_the_process_are_followed);
	tcase_add_test(tcase, debians_python);
	tcase_add_test(tcase, code_that_is_none);
	tcase_add_test(tcase, headers_of_pools);
	tcase_add_test(tcase, headers_of_none);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
