/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * floor [-r] PID: the floor under every tracer that works by uprobes. It puts empty
 * BPF programs where unfreed puts its own, by the same code (user/probe), so that
 * only the kernel's trap is left to measure. -r: the returns of allocations are
 * skipped.
 *
 * Says "floor: attached ..." on stdout and stays until its input ends.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contract.h"
#include "probe/catalog.h"
#include "probe/elf_image.h"
#include "probe/features.h"
#include "probe/uprobe_link.h"
#include "tests/bench/floor.skel.h"

#define MAX_FILES 256 /* executable mappings looked at; more are left out */

struct floor {
	struct floor_bpf *skel;
	int mode; /* enum attach_mode */
	bool skip_return;
	pid_t pid;
	ino_t seen[MAX_FILES];
	uint32_t seen_cnt;
	uint32_t place_cnt;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(-err));
	return err;
}

static void set_attach_type(struct bpf_program *prog, int mode, int type)
{
	if (mode != ATTACH_PERF)
		bpf_program__set_expected_attach_type(prog, (enum bpf_attach_type)type);
}

static int floor__load(struct floor *floor)
{
	bool session;
	struct features features;
	int err = features__detect(&features);

	if (!err)
		err = features__choose(&features, ATTACH_AUTO);
	if (err < 0)
		return fail("cannot load BPF programs", err);
	floor->mode = err;
	floor->skel = floor_bpf__open();
	if (!floor->skel)
		return fail("open", -errno);
	session = floor->mode == ATTACH_SESSION;
	floor->skel->rodata->cfg_skip_return = floor->skip_return;
	bpf_program__set_autoload(floor->skel->progs.empty_session, session);
	set_attach_type(floor->skel->progs.empty_session, floor->mode, UPROBE_ATTACH_SESSION);
	set_attach_type(floor->skel->progs.empty_entry, floor->mode, UPROBE_ATTACH_MULTI);
	set_attach_type(floor->skel->progs.empty_exit, floor->mode, UPROBE_ATTACH_MULTI);
	err = floor_bpf__load(floor->skel);
	return err ? fail("load", err) : 0;
}

/* Links live until the process ends. */
static int attach(const struct floor *floor, const struct bpf_program *prog, bool is_return,
		  const struct uprobe_places *places)
{
	int type = prog == floor->skel->progs.empty_session ? UPROBE_ATTACH_SESSION
							    : UPROBE_ATTACH_MULTI;
	int err, *fds;

	if (!places->cnt)
		return 0;
	if (floor->mode != ATTACH_PERF) {
		err = uprobe_link__multi(bpf_program__fd(prog), type, is_return, places);
		return err < 0 ? err : 0;
	}
	fds = calloc(places->cnt, 2 * sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	err = uprobe_link__perf(bpf_program__fd(prog), is_return, places, fds);
	free(fds);
	return err;
}

static int attach_places(const struct floor *floor, bool are_frees,
			 const struct uprobe_places *places)
{
	int err = 0;

	if (!are_frees && floor->mode == ATTACH_SESSION)
		return attach(floor, floor->skel->progs.empty_session, false, places);
	if (!are_frees && !floor->skip_return)
		err = attach(floor, floor->skel->progs.empty_exit, true, places);
	return err ? err : attach(floor, floor->skel->progs.empty_entry, false, places);
}

/* The places of one kind: frees, or everything else. */
static int attach_kind(struct floor *floor, const char *path, const struct probe_points *points,
		       bool are_frees)
{
	uint64_t *offsets = calloc(points->cnt, sizeof(*offsets));
	uint64_t *cookies = calloc(points->cnt, sizeof(*cookies));
	struct uprobe_places places = {
		.path = path, .offsets = offsets, .cookies = cookies, .pid = floor->pid};
	int err = -ENOMEM;

	if (offsets && cookies) {
		for (uint32_t i = 0; i < points->cnt; i++)
			if ((points->points[i].func == UF_FREE) == are_frees)
				offsets[places.cnt++] = points->points[i].probe_offset;
		err = attach_places(floor, are_frees, &places);
		floor->place_cnt += places.cnt;
	}
	free(offsets);
	free(cookies);
	return err;
}

static int attach_file(struct floor *floor, const char *path, int fd)
{
	struct probe_points points = {0};
	struct elf_image *image = elf_image__open_fd(fd);
	int err;

	if (!image)
		return errno == ENOEXEC ? 0 : -errno;
	err = probe_points__find(image, "", &points);
	elf_image__free(image);
	if (!err && points.has_alloc && points.has_free) {
		err = attach_kind(floor, path, &points, true);
		if (!err)
			err = attach_kind(floor, path, &points, false);
	}
	probe_points__release(&points);
	return err;
}

/* True the first time. The bench's victim has all its files on one file system. */
static bool is_new(struct floor *floor, int fd)
{
	struct stat st;

	if (fstat(fd, &st) || floor->seen_cnt >= MAX_FILES)
		return false;
	for (uint32_t i = 0; i < floor->seen_cnt; i++)
		if (floor->seen[i] == st.st_ino)
			return false;
	floor->seen[floor->seen_cnt++] = st.st_ino;
	return true;
}

/*
 * Sample input:
 * 7f3fd2a28000-7f3fd2b7d000 r-xp 00028000 fe:00 2097 /usr/lib/x86_64-linux-gnu/libc.so.6
 */
static int attach_line(struct floor *floor, const char *line)
{
	unsigned long start, end;
	char rights[8], path[128];
	int fd, err = 0;

	if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 || !strchr(rights, 'x') ||
	    !strchr(line, '/'))
		return 0;
	/* Without the zeros that maps has before a small address. */
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", floor->pid, start, end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (is_new(floor, fd))
		err = attach_file(floor, path, fd);
	close(fd);
	return err;
}

static int floor__attach(struct floor *floor)
{
	char line[4352], path[64];
	FILE *maps;
	int err = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", floor->pid);
	maps = fopen(path, "re");
	if (!maps)
		return fail(path, -errno);
	while (!err && fgets(line, sizeof(line), maps))
		err = attach_line(floor, line);
	fclose(maps);
	if (err)
		return fail("attach", err);
	return floor->place_cnt ? 0 : fail("no allocator function", -ENOENT);
}

int main(int argc, char **argv)
{
	struct floor floor = {0};
	int opt, err;

	while ((opt = getopt(argc, argv, "r")) == 'r')
		floor.skip_return = true;
	if (opt != -1 || optind + 1 != argc) {
		fprintf(stderr, "Usage: floor [-r] PID\n");
		return 2;
	}
	floor.pid = (pid_t)strtol(argv[optind], NULL, 10);
	err = floor__load(&floor);
	if (!err)
		err = floor__attach(&floor);
	if (!err) {
		printf("floor: attached to %u places\n", floor.place_cnt);
		fflush(stdout);
		while (getchar() != EOF)
			;
	}
	floor_bpf__destroy(floor.skel);
	return err ? 1 : 0;
}
