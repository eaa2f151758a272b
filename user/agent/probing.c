/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "agent/gate.h"
#include "agent/gc_watch.h"
#include "agent/internal.h"
#include "agent/nested_calls.h"
#include "agent/places.h"
#include "agent/pythons.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "agent/unwinder.h"
#include "cli/options.h"
#include "probe/catalog.h"
#include "probe/elf_image.h"
#include "python/runtime.h"
#include "target/clock.h"
#include "target/command_files.h"

/* Which files to probe: every mapped one that defines allocator functions, and those of --object. */

static struct probed_inode *find_probed(const struct agent *agent, const struct stat *st)
{
	for (uint32_t i = 0; i < agent->inode_cnt; i++)
		if (agent->inodes[i].dev == st->st_dev && agent->inodes[i].ino == st->st_ino)
			return &agent->inodes[i];
	return NULL;
}

static int remember_inode(struct agent *agent, const struct stat *st, uint32_t slot,
			  struct code_ranges *allocator_code)
{
	struct probed_inode *inodes =
		reallocarray(agent->inodes, agent->inode_cnt + 1, sizeof(*inodes));

	if (!inodes)
		return -ENOMEM;
	inodes[agent->inode_cnt++] = (struct probed_inode){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.slot = slot,
		.allocator_code = allocator_code,
	};
	agent->inodes = inodes;
	return 0;
}

void agent__file_has_moved(struct agent *agent, uint32_t from_slot, uint32_t to_slot)
{
	for (uint32_t i = 0; i < agent->inode_cnt; i++)
		if (agent->inodes[i].slot == from_slot)
			agent->inodes[i].slot = to_slot;
}

/* What may be missing from the counts is said unasked. */
static void warn_of_refused(const struct agent *agent, const char *path,
			    const struct probe_points *points)
{
	if (points->refused_cnt)
		agent__say(agent, 0, "%s: %u functions that may throw are not traced, what they "
			   "allocate is not counted: %s", path, points->refused_cnt, points->refused);
}

static void describe_points(const struct agent *agent, const struct probe_points *points)
{
	for (uint32_t i = 0; i < points->cnt; i++) {
		const struct probe_point *point = &points->points[i];

		agent__say(agent, 1, "  %s+%u: %s: %s%s%s", point->name, point->placement.offset,
			   point->placement.insn,
			   point->placement.emulated ? "" : "single-stepped, expensive, as nothing "
							    "else will do: ",
			   point->placement.why,
			   point->placement.offset ? "; to be verified" : "");
	}
}

static void remember_found(struct agent *agent, const struct elf_image *image, const char *path)
{
	char prefix[16] = "";
	enum allocator allocator = allocator__recognize(image, prefix, sizeof(prefix));

	if (allocator == ALLOCATOR_NONE || agent->found[0])
		return;
	if (prefix[0])
		snprintf(agent->found, sizeof(agent->found),
			 "; found %s in %.120s, its functions with the prefix '%s': try --prefix %s",
			 allocator__name(allocator), path, prefix, prefix);
	else
		snprintf(agent->found, sizeof(agent->found), "; found %s in %.120s",
			 allocator__name(allocator), path);
}

/*
 * Probes an image's functions. Its slot, -ENOENT if it has none, or another -errno. In a trace that
 * samples *code is set, and the caller's.
 */
static int probe_image(struct agent *agent, int fd, const struct elf_image *image,
		       const char *path, const char *prefix, struct code_ranges **code)
{
	struct probe_points points = {0};
	int result = gate__is_passed_over(agent, image) ? -ENOENT
							: probe_points__find(image, prefix, &points);

	/* Half an allocator would be counted wrong: what it allocates is freed elsewhere. */
	if (!result && (!points.cnt || !points.has_alloc || !points.has_free))
		result = -ENOENT;
	if (!result && agent->sample_bytes) {
		*code = code_ranges__new(&points);
		result = *code ? 0 : -ENOMEM;
	}
	if (!result)
		result = tracer__attach_file(agent->tracer, fd, &points);
	if (result >= 0) {
		agent__say(agent, 1, "%s: %s, %u functions by %s", path,
			   allocator__name(points.allocator), points.cnt,
			   tracer__mode(agent->tracer));
		describe_points(agent, &points);
		warn_of_refused(agent, path, &points);
		places__add(agent->places, fd, path, result, &points);
	}
	probe_points__release(&points);
	return result;
}

/*
 * Probes the file open at fd, unless it is already: functions with the prefix,
 * and if plain_first those without in preference. 1: it has probes, 0: it has
 * nothing to probe, or -errno. Probes of a file that is not owned stay for good.
 */
static int probe_fd(struct agent *agent, int fd, const char *path, const char *prefix,
		    bool plain_first, bool is_owned)
{
	struct code_ranges *code = NULL;
	struct probed_inode *probed;
	struct elf_image *image;
	struct stat st;
	int slot, err;

	if (fstat(fd, &st))
		return -errno;
	probed = find_probed(agent, &st);
	if (probed) {
		probed->is_shared = true;
		return 1;
	}
	image = elf_image__open_fd(fd);
	if (!image)
		return errno == ENOEXEC ? 0 : -errno;
	if (agent->is_gated) {
		slot = gate__probe_image(agent, fd, image, path);
	} else {
		slot = plain_first ? probe_image(agent, fd, image, path, "", &code) : -ENOENT;
		if (slot == -ENOENT && (prefix[0] || !plain_first))
			slot = probe_image(agent, fd, image, path, prefix, &code);
	}
	if (slot == -ENOENT)
		remember_found(agent, image, path);
	elf_image__free(image);
	err = slot < 0 ? slot : remember_inode(agent, &st, slot, code);
	if (err)
		free(code);
	if (err)
		return err == -ENOENT ? 0 : err;
	agent->inodes[agent->inode_cnt - 1].is_shared = !is_owned;
	return 1;
}

static void say_failure(const struct agent *agent, const char *path, int err)
{
	const char *hint = "";

	if (err == -EPERM || err == -EACCES)
		hint = "; is CAP_PERFMON (or root) missing?";
	else if (err == -EMFILE)
		hint = "; raise the limit of open files (ulimit -n)";
	else if (err == -ENOSPC)
		hint = "; too many files with allocators";
	else if (err == -EINVAL)
		hint = "; does another tracer hold a USDT probe at one of these places? "
		       "(bpftool perf, /sys/kernel/tracing/uprobe_events)";
	agent__say(agent, -1, "cannot probe %s: %s%s", path, strerror(-err), hint);
}

/* What the interpreter's probes need stays open with it. */
static bool has_other_probes(const struct mapped_file *file)
{
	return file->may_be_python || file->has_code_probe || file->exit_probe_is_tried ||
	       file->pool_probe_is_tried;
}

/* The probes of a file that nobody has mapped. False: they stay. */
static bool take_probes_out(struct agent *agent, const struct stat *st)
{
	struct probed_inode *probed = find_probed(agent, st);

	if (!probed)
		return true;
	if (probed->is_shared)
		return false;
	places__forget(agent->places, probed->slot);
	tracer__detach_file(agent->tracer, probed->slot);
	free(probed->allocator_code);
	*probed = agent->inodes[--agent->inode_cnt];
	return true;
}

/* Probes that are there when a program starts see its first blocks: without need they stay. */
static bool has_many_files(const struct agent *agent)
{
	return file_table__open_cnt(agent->files) > file_table__open_max() / 4 * 3 ||
	       tracer__file_cnt(agent->tracer) > UF_MAX_FILES / 4 * 3;
}

static void close_if_unused(struct agent *agent, struct mapped_file *file)
{
	struct stat st;

	if (file->used_mark == agent->used_mark || file->is_pinned || has_other_probes(file) ||
	    fstat(file->fd, &st) || (st.st_nlink && !has_many_files(agent)))
		return;
	/* One whose generation is not known could not be told from the next of its inode. */
	if (!file->generation || !take_probes_out(agent, &st) ||
	    !gc_watch__forget(agent->gc_watch, file->fd))
		return;
	file->allocator_code = NULL;
	file_table__close(agent->files, file);
}

/* To take a probe out the kernel waits for all that may run it: a tenth of a second and more. */
struct closing {
	struct agent *agent;
	uint32_t probed_cnt;
};

static bool close_next(void *arg, struct mapped_file *file)
{
	struct closing *closing = arg;

	close_if_unused(closing->agent, file);
	return tracer__file_cnt(closing->agent->tracer) == closing->probed_cnt;
}

void agent__close_unused(struct agent *agent)
{
	struct closing closing = {agent, tracer__file_cnt(agent->tracer)};

	mapping_log__mark_used(agent->mappings, ++agent->used_mark);
	file_table__for_each_open(agent->files, close_next, &closing);
}

/* --prefix belongs to the objects if there are any. */
static const char *mapped_prefix(const struct agent *agent)
{
	return agent->opts->object_cnt ? "" : agent->opts->prefix;
}

static void probe_mapped_file(struct agent *agent, const struct mapping *mapping)
{
	struct mapped_file *file = mapping->file;
	const struct probed_inode *probed;
	bool has_stat, was_probed;
	struct stat st;
	int n;

	if (file->fd < 0) {
		agent__say(agent, 1, "cannot open %s: %s", file->path, strerror(-file->fd));
		return;
	}
	has_stat = !fstat(file->fd, &st);
	was_probed = has_stat && find_probed(agent, &st);
	n = probe_fd(agent, file->fd, file->path, mapped_prefix(agent), true, true);
	/* One of these may be what is being named. */
	if (n == -ENOSPC && !agent->is_reporting) {
		agent__close_unused(agent);
		n = probe_fd(agent, file->fd, file->path, mapped_prefix(agent), true, true);
	}
	if (n < 0)
		say_failure(agent, file->path, n);
	else
		file->has_probes = n;
	file->has_allocator =
		(agent->is_gated || file->has_probes) && gate__has_allocator(file->fd);
	probed = n > 0 && has_stat ? find_probed(agent, &st) : NULL;
	if (probed)
		file->allocator_code = probed->allocator_code;
	if (n > 0 && !was_probed && mapping->time_ns)
		agent__say(agent, 0, "%s was mapped after the start: what it allocated before is unknown",
			   file->path);
}

static void add_table(struct agent *agent, struct mapped_file *file, bool all_rows)
{
	int err;

	if (agent->opts->stack_mode == UF_STACK_FP)
		return;
	err = unwinder__add_file(agent->unwinder, file, all_rows);
	if (err)
		agent__say(agent, 1, "no unwind table for %s: %s", file->path, strerror(-err));
}

/* Before the interpreter has come up, so that no collection is missed. */
static void watch_gc(struct agent *agent, int fd, const char *path)
{
	int found = gc_watch__attach(agent->gc_watch, fd);

	if (found < 0 && found != -ENOEXEC)
		agent__say(agent, 1, "%s: cannot attach to its garbage collector's probes: %s", path,
			   strerror(-found));
}

/* An interpreter? What takes long is done before it runs; what fails is said when it is needed. */
static bool prepare_for_python(struct agent *agent, int fd)
{
	bool may_be = python_file__may_be_python(fd);

	if (may_be && tracer__wants_pools(agent->tracer))
		tracer__load_pools(agent->tracer);
	return may_be;
}

void agent__see_mapping(void *arg, pid_t pid, const struct mapping *mapping)
{
	struct agent *agent = arg;
	struct mapped_file *file = mapping->file;
	struct tracee *tracee;

	if (!file->inode)
		return;
	/* The table first: a probe may be hit at once. Dropped ones are built again. */
	add_table(agent, file, false);
	if (!file->examined && file->fd >= 0) {
		file->may_be_python = prepare_for_python(agent, file->fd);
		watch_gc(agent, file->fd, file->path);
	}
	tracee = file->may_be_python ? tracees__find_pid(agent->tracees, pid) : NULL;
	if (tracee)
		tracee->has_no_python = false;
	/* At first the mappings are only listed: the stack walk must be ready before any probe. */
	if (file->examined || agent->is_listing)
		return;
	file->examined = true;
	probe_mapped_file(agent, mapping);
}

/* Device numbers have 20 bits for the minor in the kernel, and another layout here. */
static dev_t user_dev(uint32_t kernel_dev)
{
	return makedev(kernel_dev >> 20, kernel_dev & ((1u << 20) - 1));
}

static struct mapped_file *file_of(struct agent *agent, const struct uf_mapping *mapping)
{
	return file_table__get(agent->files, mapping->tgid, mapping->start, mapping->end,
			       user_dev(mapping->file.dev), mapping->file.inode,
			       mapping->file.generation, mapping->path);
}

static void add_listed_mapping(void *arg, const struct uf_mapping *listed)
{
	struct agent *agent = arg;
	struct mapping mapping = {
		.start = listed->start,
		.end = listed->end,
		.file_offset = listed->file_offset,
		.time_ns = agent->listing_time_ns,
	};

	mapping.file = file_of(agent, listed);
	if (mapping.file)
		mapping_log__add(agent->mappings, listed->tgid, &mapping);
}

int agent__watch(struct agent *agent, pid_t pid)
{
	int err = mapping_log__watch_new(agent->mappings, pid);

	if (err)
		return err;
	agent->is_listing = true;
	err = tracer__list_mappings(agent->tracer, pid, add_listed_mapping, agent);
	if (err) {
		agent__say(agent, 1, "cannot list mappings in the kernel (%s): reading /proc",
			   strerror(-err));
		err = mapping_log__watch(agent->mappings, pid);
	}
	agent->is_listing = false;
	if (err)
		return err;
	pythons__look(agent->pythons, agent->tracees);
	mapping_log__for_each(agent->mappings, pid, agent__see_mapping, agent);
	/* What an interpreter needs in its libc, once that is known. */
	pythons__look(agent->pythons, agent->tracees);
	return 0;
}

void agent__list_again_if_lost(struct agent *agent)
{
	uint64_t lost = mapping_log__lost_cnt(agent->mappings);

	if (lost == agent->lost_mapping_cnt)
		return;
	agent->lost_mapping_cnt = lost;
	/* When they were mapped is not known: from now on they are there. */
	agent->listing_time_ns = monotonic_ns();
	for (struct tracee *tracee = tracees__first(agent->tracees); tracee; tracee = tracee->next)
		if (!tracee->has_ended && !tracee->is_dropped && !tracee->waits_exec)
			tracer__list_mappings(agent->tracer, tracee->pid, add_listed_mapping, agent);
	agent->listing_time_ns = 0;
}

void agent__want_file(struct agent *agent, const struct uf_event *event)
{
	const struct mapping *mapping = mapping_log__find(agent->mappings, event->tgid,
							  event->address, event->time_ns);

	if (!mapping || !mapping->file->inode)
		return;
	if (event->file.inode)
		mapping->file->generation = event->file.generation;
	add_table(agent, mapping->file, event->want_all_rows);
}

/* Our own mapping of a file, never to be run, for the kernel's name of it. */
struct own_mapping {
	uint64_t start;
	struct file_identity *identity;
	bool is_found;
};

static void take_identity(void *arg, const struct uf_mapping *mapping)
{
	struct own_mapping *own = arg;

	if (mapping->start != own->start)
		return;
	*own->identity = (struct file_identity){
		user_dev(mapping->file.dev), mapping->file.inode, mapping->file.generation};
	own->is_found = true;
}

bool agent__identify_file(void *arg, int fd, struct file_identity *out)
{
	struct agent *agent = arg;
	void *map = mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	struct own_mapping own = {.start = (uintptr_t)map, .identity = out};

	if (map == MAP_FAILED)
		return false;
	tracer__list_mappings(agent->tracer, getpid(), take_identity, &own);
	munmap(map, 1);
	return own.is_found;
}

/*
 * The kernel's name for a file (device, inode, generation) cannot be had from
 * stat on every file system. So the files are mapped here, never to be run,
 * and our own mappings listed.
 */
struct command_files {
	struct agent *agent;
	void **maps;
	uint32_t cnt;
};

static void keep_mapped(struct command_files *files, int fd)
{
	void **maps = reallocarray(files->maps, files->cnt + 1, sizeof(*maps));
	void *map;

	if (!maps)
		return;
	files->maps = maps;
	map = mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	/* Without it the table comes when the command maps the file, a moment too late. */
	if (map != MAP_FAILED)
		files->maps[files->cnt++] = map;
}

static void add_own_table(void *arg, const struct uf_mapping *mapping)
{
	struct command_files *files = arg;
	struct mapped_file *file;

	for (uint32_t i = 0; i < files->cnt; i++) {
		if ((uintptr_t)files->maps[i] != mapping->start)
			continue;
		file = file_of(files->agent, mapping);
		if (file)
			add_table(files->agent, file, false);
	}
}

static void probe_command_file(void *arg, const char *path)
{
	struct command_files *files = arg;
	struct agent *agent = files->agent;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), n;

	if (fd < 0)
		return;
	prepare_for_python(agent, fd);
	n = probe_fd(agent, fd, path, mapped_prefix(agent), true, false);
	if (n < 0)
		say_failure(agent, path, n);
	watch_gc(agent, fd, path);
	keep_mapped(files, fd);
	close(fd);
}

int agent__probe_command_files(struct agent *agent)
{
	struct command_files files = {.agent = agent};
	int err = command_files__find(agent->opts->command, probe_command_file, &files);

	if (agent->gate_path[0])
		probe_command_file(&files, agent->gate_path);
	if (!err && agent->opts->stack_mode != UF_STACK_FP)
		err = tracer__list_mappings(agent->tracer, getpid(), add_own_table, &files);
	while (files.cnt)
		munmap(files.maps[--files.cnt], 1);
	free(files.maps);
	return err;
}

bool agent__probe_objects(struct agent *agent)
{
	for (uint32_t i = 0; i < agent->opts->object_cnt; i++) {
		const char *path = agent->opts->objects[i];
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		int n = fd < 0 ? -errno : probe_fd(agent, fd, path, agent->opts->prefix, false, false);

		if (fd >= 0)
			close(fd);
		if (n > 0)
			continue;
		if (n < 0)
			say_failure(agent, path, n);
		else
			agent__say(agent, -1, "no allocator function%s%s%s found in %s%s",
				   agent->opts->prefix[0] ? " with the prefix '" : "",
				   agent->opts->prefix, agent->opts->prefix[0] ? "'" : "", path,
				   agent->found);
		return false;
	}
	return true;
}

static bool file_has_probes(const struct mapped_file *file)
{
	return file->has_probes;
}

bool agent__traces_allocator(const struct agent *agent, pid_t pid)
{
	return mapping_log__has(agent->mappings, pid, file_has_probes);
}

void agent__explain_no_allocator(const struct agent *agent, const char *program, char *text,
				 size_t size)
{
	if (agent->is_gated) {
		gate__explain_absence(program, text, size);
		return;
	}
	snprintf(text, size, "no allocator function found in %.200s or its libraries%s", program,
		 agent->found[0] ? agent->found
				 : "; a static or stripped binary? name the file and prefix "
				   "with --object and --prefix");
}
