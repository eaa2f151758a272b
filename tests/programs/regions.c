/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * Maps and unmaps memory itself, in every way that leaves it with known numbers: which function has
 * how many regions and pages left after each phase says test_regions.py. Pages are 4 KiB.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "gate.h"

#define PAGE 4096UL

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define SYS_MSEAL 462

static char *check(void *p, const char *what)
{
	if (p == MAP_FAILED)
		gate_die(what);
	return p;
}

static void must(int result, const char *what)
{
	if (result)
		gate_die(what);
}

static void must_fail(int has_failed, const char *what)
{
	if (!has_failed)
		gate_die(what);
}

static void unmap(char *at, size_t pages)
{
	must(munmap(at, pages * PAGE), "munmap");
}

/* Each kind of mapping has a function, and so a site, of its own. */
#define MAPPER(name, flags)                                                                        \
	static NOINLINE char *name(void *at, size_t pages)                                         \
	{                                                                                          \
		void *p = mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, (flags) | MAP_ANONYMOUS,  \
			       -1, 0);                                                             \
		sink = p;                                                                          \
		return check(p, #name);                                                            \
	}

MAPPER(map_early, MAP_PRIVATE)
MAPPER(map_whole, MAP_PRIVATE)
MAPPER(map_parts, MAP_PRIVATE)
MAPPER(map_area, MAP_PRIVATE | MAP_NORESERVE)
MAPPER(map_over, MAP_PRIVATE | MAP_FIXED)
MAPPER(map_shared, MAP_SHARED)
MAPPER(map_down, MAP_PRIVATE | MAP_GROWSDOWN | MAP_STACK)
MAPPER(map_small, MAP_PRIVATE)
MAPPER(map_kept, MAP_PRIVATE)
MAPPER(map_stuck, MAP_PRIVATE)
MAPPER(map_in_thread, MAP_PRIVATE)
MAPPER(map_sealed, MAP_PRIVATE)
MAPPER(map_in_child, MAP_PRIVATE)
MAPPER(map_unforked, MAP_PRIVATE)

#define REMAPPER(name)                                                                             \
	static NOINLINE char *name(char *p, size_t old_pages, size_t pages, int flags, void *to)   \
	{                                                                                          \
		p = mremap(p, old_pages * PAGE, pages * PAGE, flags, to);                          \
		sink = p;                                                                          \
		return check(p, #name);                                                            \
	}

REMAPPER(grow)
REMAPPER(shrink)
REMAPPER(move_over)
REMAPPER(move_leaving)
REMAPPER(move_part)
REMAPPER(double_shared)
REMAPPER(grow_early)

static NOINLINE char *map_file(void *at, size_t pages, int flags)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	void *p = mmap(at, pages * PAGE, PROT_READ, MAP_PRIVATE | flags, fd, 0);

	close(fd);
	sink = p;
	return check(p, "map_file");
}

static NOINLINE char *raise_break(intptr_t bytes)
{
	void *p = sbrk(bytes);

	sink = p;
	return check(p, "sbrk");
}

static char *whole[13], *area, *shared, *small[19], *early;

static void map_and_unmap(void)
{
	for (int i = 0; i < 13; i++)
		whole[i] = map_whole(NULL, 3);
	for (int i = 0; i < 6; i++)
		unmap(whole[i], 3);
	for (int i = 0; i < 11; i++) {
		char *p = map_parts(NULL, 17);

		unmap(p, 2);            /* head */
		unmap(p + 14 * PAGE, 3); /* tail */
		unmap(p + 5 * PAGE, 5);  /* middle */
		/* The whole of a region that is there no more at all. */
		if (!i)
			unmap(p, 17);
	}
	/* Of a length that is not whole pages. */
	must(munmap(map_parts(NULL, 1), 1), "munmap of a byte");
}

static void map_over_others(void)
{
	area = map_area(NULL, 101);
	map_over(area + 10 * PAGE, 5);
	map_over(area + 20 * PAGE, 7);
	unmap(area + 8 * PAGE, 14);  /* of the area 7, of the others 5 and 2 */
	unmap(area + 7 * PAGE, 15);  /* over the gap: 1 more */
	map_file(area + 30 * PAGE, 3, MAP_FIXED);
	map_file(NULL, 2, 0);
	shared = map_shared(NULL, 5);
	map_down(NULL, 23);
}

static void remap(void)
{
	char *p;

	for (int i = 0; i < 19; i++)
		small[i] = grow(map_small(NULL, 1), 1, 4, MREMAP_MAYMOVE, NULL);
	for (int i = 0; i < 7; i++)
		shrink(small[i], 4, 2, 0, NULL);
	for (int i = 0; i < 3; i++)
		move_over(small[i], 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, area + (40 + 2 * i) * PAGE);
	p = map_kept(NULL, 5);
	move_leaving(p, 5, 5, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	p = map_kept(NULL, 8);
	move_part(p + 3 * PAGE, 2, 11, MREMAP_MAYMOVE, NULL);
	double_shared(shared, 0, 5, MREMAP_MAYMOVE, NULL);
	grow_early(early, 2, 31, MREMAP_MAYMOVE, NULL);
	/* Of a file: counts neither before nor after. */
	p = map_file(NULL, 2, 0);
	check(mremap(p, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE), "mremap of a file");
}

static void move_break(void)
{
	uintptr_t at = (uintptr_t)sbrk(0);

	raise_break((intptr_t)(-at & (PAGE - 1))); /* to a page: no new one */
	for (int i = 0; i < 5; i++)
		raise_break(2 * PAGE);
	/* Half of a page, and the other half: the page is the first's. */
	raise_break(PAGE / 2);
	raise_break(PAGE / 2);
	check(sbrk(-(intptr_t)(3 * PAGE)), "sbrk");
}

static void fail(void)
{
	char *p = map_stuck(NULL, 7);

	/* Something behind it, so that it cannot grow in place. */
	unmap(p + 4 * PAGE, 3);
	map_file(p + 4 * PAGE, 1, MAP_FIXED);
	must_fail(mremap(p, 4 * PAGE, 9 * PAGE, 0) == MAP_FAILED, "mremap in place");
	must_fail(mremap(p, 4 * PAGE, 1UL << 46, MREMAP_MAYMOVE) == MAP_FAILED, "mremap");
	must_fail(mremap(p, 4 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) == MAP_FAILED,
		  "mremap onto itself");
	must_fail(munmap(p + 1, PAGE) < 0, "munmap of an unaligned address");
	must_fail(munmap(p, 0) < 0, "munmap of nothing");
	must_fail(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		       0) == MAP_FAILED, "mmap over something");
	must_fail(mmap(p + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		  MAP_FAILED, "mmap at an unaligned address");
	must_fail(mmap(NULL, 1UL << 47, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED,
		  "mmap of everything");
	must_fail(sbrk((intptr_t)1 << 46) == (void *)-1, "sbrk");
}

/* All that malloc maps itself: above its threshold, and an arena of another thread. */
static NOINLINE void *allocate(void *unused)
{
	void *blocks[7];

	for (int i = 0; i < 7; i++)
		blocks[i] = malloc(i % 2 ? 1 << 20 : 1 << 16);
	for (int i = 0; i < 5; i++)
		blocks[i] = realloc(blocks[i], 3 << 20);
	for (int i = 0; i < 6; i++)
		free(blocks[i]);
	return unused ? malloc(1 << 19) : NULL;
}

/*
 * An allocator of our own, for --object and --prefix: whatever it maps, in free as well, is no
 * region of the program's, but what is mapped between two calls of it is.
 */
__attribute__((noinline)) void *own_malloc(size_t bytes);
__attribute__((noinline)) void own_free(void *block);
MAPPER(map_between, MAP_PRIVATE)

void *own_malloc(size_t bytes)
{
	bytes = (bytes + PAGE - 1) & -PAGE;
	return check(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		     "own_malloc");
}

void own_free(void *block)
{
	unmap(block, 2);
	sink = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static NOINLINE void use_own(void)
{
	for (int i = 0; i < 17; i++) {
		void *block = own_malloc(PAGE + 1);

		map_between(NULL, 1);
		if (i % 3)
			own_free(block);
		map_between(NULL, 3);
	}
}

static pthread_barrier_t barrier;

static void *run_thread(void *arg)
{
	char *kept[31];
	unsigned int seed = (unsigned int)(uintptr_t)arg;

	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 31; i++)
		kept[i] = map_in_thread(NULL, 4);
	for (int i = 0; i < 4001; i++) {
		int n = rand_r(&seed) % 31;
		size_t pages = 1 + (size_t)rand_r(&seed) % 5;

		/* In two pieces, so that the other thread gets what is free between them. */
		unmap(kept[n] + PAGE, 3);
		unmap(kept[n], 1);
		kept[n] = map_in_thread(NULL, 4);
		unmap(map_in_thread(NULL, pages), pages);
	}
	allocate(arg);
	return NULL;
}

/* Two threads; what they leave are 62 regions of 4 pages, and their stacks. */
static NOINLINE void run_threads(void)
{
	pthread_t threads[2];

	must(pthread_barrier_init(&barrier, NULL, 2), "barrier");
	for (uintptr_t i = 0; i < 2; i++)
		must(pthread_create(&threads[i], NULL, run_thread, (void *)(i + 1)), "thread");
	for (int i = 0; i < 2; i++)
		must(pthread_join(threads[i], NULL), "join");
}

static void seal(void)
{
	char *p = map_sealed(NULL, 3);

	if (syscall(SYS_MSEAL, p, 3 * PAGE, 0)) {
		unmap(p, 3);
		map_sealed(NULL, 3);
		return;
	}
	must_fail(munmap(p, 3 * PAGE) < 0, "munmap of what is sealed");
	must_fail(mmap(p, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		  MAP_FAILED, "mmap over what is sealed");
}

/* The child gives back 2 of the 7 whole regions, half of a third, and maps 5 of its own. */
static void run_child(char **argv)
{
	pid_t pid;

	must(madvise(map_unforked(NULL, 37), 37 * PAGE, MADV_DONTFORK), "madvise");
	pid = fork();
	if (pid < 0)
		gate_die("fork");
	if (!pid) {
		unmap(whole[6], 3);
		unmap(whole[7], 3);
		unmap(whole[8], 1);
		for (int i = 0; i < 5; i++)
			map_in_child(NULL, 2);
		gate("DONE child %d", getpid());
		execl(argv[0], argv[0], "again", NULL);
		gate_die("exec");
	}
	/* It goes through the next gates. */
	must(waitpid(pid, NULL, 0) != pid, "waitpid");
}

MAPPER(map_known, MAP_PRIVATE)
MAPPER(map_storm, MAP_PRIVATE)

/* More events than the tool has room for while it is stopped. */
static void run_storm(void)
{
	char *known[59];

	gate("READY");
	for (int i = 0; i < 59; i++)
		known[i] = map_known(NULL, 2);
	gate("DONE known");
	for (int i = 0; i < 40009; i++)
		unmap(map_storm(NULL, 1), 1);
	for (int i = 0; i < 59; i++)
		unmap(known[i], 2);
	gate("DONE storm");
	for (int i = 0; i < 53; i++)
		map_known(NULL, 2);
	gate("DONE again");
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "storm")) {
		run_storm();
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "again")) {
		map_early(NULL, 3);
		gate("DONE exec");
		return 0;
	}
	early = map_early(NULL, 2);
	gate("READY");
	map_and_unmap();
	gate("DONE whole");
	map_over_others();
	gate("DONE over");
	remap();
	gate("DONE remap");
	move_break();
	gate("DONE break");
	fail();
	if (argc < 2)
		seal();
	gate("DONE fail");
	allocate(NULL);
	gate("DONE malloc");
	use_own();
	gate("DONE own");
	run_threads();
	gate("DONE threads");
	run_child(argv);
	gate("DONE fork");
	for (int i = 6; i < 13; i++)
		unmap(whole[i], 3);
	gate("DONE all");
	return 0;
}
