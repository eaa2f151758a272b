/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/gc_watch.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/tracees.h"
#include "agent/tracer.h"
#include "probe/usdt.h"
#include "target/proc_info.h"

#define GENERATIONS UF_PYTHON_GENERATIONS
/* The lists of a running process are in motion: attempts to verify them when it is found, and at
 * each poll after, until one succeeds. */
#define FIRST_ATTEMPTS 64
#define POLL_ATTEMPTS  8
#define TICK_NS        1000000000ull

/* A file that was looked at. */
struct watched_file {
	dev_t dev;
	ino_t ino;
	int result; /* of gc_watch__attach */
};

struct gc_watch {
	struct tracer *tracer;
	struct watched_file *files;
	uint32_t file_cnt;
	uint64_t ticked_ns;
};

struct gc_watch *gc_watch__new(struct tracer *tracer)
{
	struct gc_watch *watch = calloc(1, sizeof(*watch));

	if (watch)
		watch->tracer = tracer;
	return watch;
}

void gc_watch__free(struct gc_watch *watch)
{
	if (!watch)
		return;
	free(watch->files);
	free(watch);
}

/* -- probes -- */

/* 1, 0: there are none that we can read, or -errno. */
static int find_places(const struct elf_image *img, const char *name, struct gc_places *out)
{
	struct usdt_place places[GC_PLACES_MAX];
	int cnt = usdt__find(img, "python", name, places, GC_PLACES_MAX);

	if (cnt < 0)
		return cnt;
	out->cnt = 0;
	for (int i = 0; i < cnt; i++) {
		/* All or nothing: a part of the collections is no number. */
		if (usdt__locate_arg(places[i].args, 0, &out->args[i]))
			return 0;
		out->offsets[i] = places[i].offset;
		out->semaphores[i] = places[i].semaphore_offset;
		out->cnt++;
	}
	return out->cnt > 0;
}

static int attach_file(struct gc_watch *watch, int fd)
{
	struct elf_image *img = elf_image__open_fd(fd);
	struct gc_places starts, dones;
	int found, err;

	if (!img)
		return -errno;
	found = elf_image__arch(img) == ELF_ARCH_X86_64 ? find_places(img, "gc__start", &starts) : 0;
	if (found > 0)
		found = find_places(img, "gc__done", &dones);
	elf_image__free(img);
	if (found <= 0)
		return found;
	err = tracer__attach_gc(watch->tracer, fd, &starts, &dones);
	return err ? err : 1;
}

int gc_watch__attach(struct gc_watch *watch, int fd)
{
	struct watched_file *files;
	struct stat st;
	int result;

	if (fstat(fd, &st))
		return -errno;
	for (uint32_t i = 0; i < watch->file_cnt; i++)
		if (watch->files[i].dev == st.st_dev && watch->files[i].ino == st.st_ino)
			return watch->files[i].result;
	files = reallocarray(watch->files, watch->file_cnt + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	watch->files = files;
	result = attach_file(watch, fd);
	files[watch->file_cnt++] = (struct watched_file){st.st_dev, st.st_ino, result};
	return result;
}

bool gc_watch__forget(struct gc_watch *watch, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	for (uint32_t i = 0; i < watch->file_cnt; i++) {
		if (watch->files[i].dev != st.st_dev || watch->files[i].ino != st.st_ino)
			continue;
		if (watch->files[i].result > 0)
			return false;
		watch->files[i] = watch->files[--watch->file_cnt];
		break;
	}
	return true;
}

/* -- statistics -- */

static bool verify(struct tracee *tracee, const struct python_memory *mem, int attempts)
{
	struct python_gc_place *place = &tracee->gc.place;

	if (python_gc_place__is_verified(place))
		return true;
	for (int i = 0; i < attempts && python_gc_place__verify(place, mem); i++)
		sched_yield();
	return python_gc_place__is_verified(place);
}

/* Collections that the probes have seen; false if that cannot be read. */
static bool read_probed(const struct gc_watch *watch, const struct tracee *tracee,
			uint64_t probed[GENERATIONS])
{
	struct uf_python_gc gc;

	if (tracer__read_gc(watch->tracer, tracee->image, &gc))
		return false;
	for (int i = 0; i < GENERATIONS; i++)
		probed[i] = gc.generations[i].collections;
	return true;
}

static void poll_tracee(struct gc_watch *watch, struct tracee *tracee, int attempts)
{
	struct tracee_gc *gc = &tracee->gc;
	const struct python_memory mem = {proc_info__read_memory, &tracee->pid};
	uint64_t before[GENERATIONS], after[GENERATIONS];
	struct python_gc_stats stats;

	if (!python_gc_place__is_known(&gc->place) || !verify(tracee, &mem, attempts))
		return;
	/* Both sources must speak of the same moment: no collection between them. */
	for (int i = 0; i < POLL_ATTEMPTS; i++) {
		if (!read_probed(watch, tracee, before) ||
		    python_gc_stats__read(&gc->place, &mem, &stats) ||
		    !read_probed(watch, tracee, after))
			return;
		if (!memcmp(before, after, sizeof(before)))
			break;
	}
	gc->stats = stats;
	memcpy(gc->probed, before, sizeof(before));
	if (!gc->is_read && !tracee->began_in_trace)
		gc->first = stats;
	gc->is_read = true;
}

void gc_watch__begin(struct gc_watch *watch, struct tracee *tracee, int fd,
		     const struct python_gc_place *place)
{
	tracee->gc.has_interpreter = true;
	tracee->gc.place = *place;
	tracee->gc.has_probes = gc_watch__attach(watch, fd) > 0;
	poll_tracee(watch, tracee, FIRST_ATTEMPTS);
}

void gc_watch__poll(struct gc_watch *watch, const struct tracees *tracees)
{
	for (struct tracee *tracee = tracees__first(tracees); tracee; tracee = tracee->next)
		if (tracee->gc.has_interpreter && !tracee->has_ended && !tracee->is_dropped)
			poll_tracee(watch, tracee, POLL_ATTEMPTS);
}

void gc_watch__tick(struct gc_watch *watch, const struct tracees *tracees, uint64_t now_ns)
{
	if (now_ns - watch->ticked_ns < TICK_NS)
		return;
	watch->ticked_ns = now_ns;
	gc_watch__poll(watch, tracees);
}

/* -- reporting -- */

/* What the process's memory said, at the last poll. */
static void describe_stats(const struct tracee *tracee, int i,
			   struct snapshot_gc_generation *out)
{
	const struct python_gc_generation *last = &tracee->gc.stats.generations[i];
	const struct python_gc_generation *first = &tracee->gc.first.generations[i];

	out->threshold = last->threshold;
	out->collections = (int64_t)last->collections;
	out->collected = (int64_t)last->collected;
	out->uncollectable = (int64_t)last->uncollectable;
	out->trace_collections = (int64_t)(last->collections - first->collections);
	out->trace_unreachable = (int64_t)(last->collected - first->collected +
					   last->uncollectable - first->uncollectable);
	/* It moves with every object: of a process that has ended the last is not known. */
	if (!tracee->has_ended)
		out->count = last->count;
}

/* What the probes have seen, which is more than the last poll if the process has ended. */
static void describe_probed(const struct tracee *tracee, int i,
			    const struct uf_python_generation *probed,
			    struct snapshot_gc_generation *out)
{
	out->trace_collections = (int64_t)probed->collections;
	out->trace_unreachable = (int64_t)probed->unreachable;
	out->pause_s = probed->pause_ns / 1e9;
	out->longest_pause_s = probed->longest_ns / 1e9;
	if (!tracee->gc.is_read || !tracee->has_ended || probed->collections == tracee->gc.probed[i])
		return;
	out->collections += (int64_t)(probed->collections - tracee->gc.probed[i]);
	out->collected = out->uncollectable = -1;
}

void gc_watch__describe(const struct gc_watch *watch, const struct tracee *tracee,
			struct snapshot_python *out)
{
	const struct tracee_gc *gc = &tracee->gc;
	struct uf_python_gc probed;
	bool has_probed = gc->has_probes &&
			  !tracer__read_gc(watch->tracer, tracee->image, &probed);

	for (int i = 0; i < GENERATIONS; i++) {
		struct snapshot_gc_generation *generation = &out->generations[i];

		*generation = (struct snapshot_gc_generation){-1, -1, -1, -1, -1, -1, -1, NAN, NAN};
		if (gc->is_read)
			describe_stats(tracee, i, generation);
		if (has_probed)
			describe_probed(tracee, i, &probed.generations[i], generation);
	}
	out->gc_enabled = gc->is_read ? gc->stats.is_enabled : -1;
	out->gc_source = has_probed ? "usdt" : gc->is_read ? "polling" : "none";
	if (gc->is_read && (has_probed || !tracee->has_ended))
		out->gc_why = "";
	else if (gc->is_read)
		out->gc_why = "as last read before the process ended";
	else if (!python_gc_place__is_known(&gc->place))
		out->gc_why = "the collector of this version is not known";
	else if (tracee->has_ended)
		out->gc_why = "the process ended before the collector's statistics could be read";
	else
		out->gc_why = "the collector's statistics are not where they are known to be";
}
