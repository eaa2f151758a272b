/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/mapping_log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "target/perf_stream.h"
#include "target/proc_info.h"

#define BUCKETS       1024  /* power of two */
#define MAX_MAPPINGS  65536 /* kept of a process; beyond it the oldest are forgotten */
#define MAX_ANCESTORS 16    /* forks without exec that a look-up follows */

struct process_log {
	pid_t pid;
	char comm[16];
	uint64_t exec_ns;          /* mappings from before are gone */
	struct mapping *mappings;  /* in the order of arrival; times may be out of order by CPUs */
	uint32_t cnt, capacity;
	struct process_log *parent; /* forked from it at fork_ns; referenced */
	uint64_t fork_ns;
	unsigned int refs;         /* children, and the table */
	struct process_log *next;
};

struct mapping_log {
	struct file_table *files;
	struct perf_stream *stream;
	mapping_fn fn;
	void *arg;
	struct process_log *buckets[BUCKETS];
	bool watches_all;
	pid_t except;
};

static struct process_log **find_slot(struct mapping_log *log, pid_t pid)
{
	struct process_log **slot = &log->buckets[(uint32_t)pid % BUCKETS];

	while (*slot && (*slot)->pid != pid)
		slot = &(*slot)->next;
	return slot;
}

static struct process_log *find_process(const struct mapping_log *log, pid_t pid)
{
	return *find_slot((struct mapping_log *)log, pid);
}

static void process_log__put(struct process_log *process)
{
	while (process && !--process->refs) {
		struct process_log *parent = process->parent;

		free(process->mappings);
		free(process);
		process = parent;
	}
}

static struct process_log *add_process(struct mapping_log *log, pid_t pid)
{
	struct process_log **slot = &log->buckets[(uint32_t)pid % BUCKETS], *process;

	/* A number used again is another process. */
	mapping_log__forget(log, pid);
	process = calloc(1, sizeof(*process));
	if (!process)
		return NULL;
	process->pid = pid;
	process->refs = 1;
	process->next = *slot;
	*slot = process;
	return process;
}

void mapping_log__forget(struct mapping_log *log, pid_t pid)
{
	struct process_log **slot = find_slot(log, pid), *process = *slot;

	if (!process)
		return;
	*slot = process->next;
	process_log__put(process);
}

/* A process that maps code without end. A JIT's is soon replaced; that of files goes last. */
static void forget_oldest(struct process_log *process)
{
	uint32_t half = process->cnt / 2, kept = 0;

	for (uint32_t i = 0; i < process->cnt; i++)
		if (i >= half || process->mappings[i].file->inode)
			process->mappings[kept++] = process->mappings[i];
	if (kept > half + half / 2) {
		for (uint32_t i = 0; i < kept - half; i++)
			process->mappings[i].file->is_pinned = true;
		memmove(process->mappings, process->mappings + kept - half,
			half * sizeof(*process->mappings));
		kept = half;
	}
	process->cnt = kept;
}

static bool make_room(struct process_log *process)
{
	uint32_t capacity = process->capacity ? process->capacity * 2 : 32;
	struct mapping *mappings;

	if (process->cnt < process->capacity)
		return true;
	if (process->cnt >= MAX_MAPPINGS) {
		forget_oldest(process);
		return true;
	}
	mappings = realloc(process->mappings, capacity * sizeof(*mappings));
	if (!mappings)
		return false;
	process->mappings = mappings;
	process->capacity = capacity;
	return true;
}

/*
 * The latest mapping there, if the record only repeats it: a JIT that changes
 * protections back and forth, or what /proc/PID/maps showed already.
 */
static struct mapping *find_repeated(const struct process_log *process,
				     const struct perf_record *record,
				     const struct mapped_file *file)
{
	uint32_t i = process->cnt;
	struct mapping *mapping;

	do {
		if (!i--)
			return NULL;
		mapping = &process->mappings[i];
	} while (mapping->end <= record->start || mapping->start >= record->end);
	return mapping->start == record->start && mapping->end == record->end &&
			       mapping->file_offset == record->file_offset &&
			       mapping->file == file && mapping->time_ns >= process->exec_ns &&
			       mapping->time_ns <= record->time_ns
		       ? mapping
		       : NULL;
}

static void add_mapping(struct mapping_log *log, struct process_log *process,
			const struct perf_record *record)
{
	struct mapping *mapping;
	struct mapped_file *file;

	file = file_table__get(log->files, process->pid, record->start, record->end, record->dev,
			       record->inode, record->generation, record->name);
	if (!file)
		return; /* out of memory: these frames stay addresses */
	if (find_repeated(process, record, file))
		return;
	if (!make_room(process))
		return;
	mapping = &process->mappings[process->cnt++];
	*mapping = (struct mapping){
		.start = record->start,
		.end = record->end,
		.file_offset = record->file_offset,
		.time_ns = record->time_ns,
		.file = file,
	};
	if (log->fn)
		log->fn(log->arg, process->pid, mapping);
}

static void add_fork(struct mapping_log *log, struct process_log *parent,
		     const struct perf_record *record)
{
	struct process_log *child = add_process(log, record->pid);

	if (!child)
		return;
	memcpy(child->comm, parent->comm, sizeof(child->comm));
	child->parent = parent;
	child->fork_ns = record->time_ns;
	parent->refs++;
}

static void handle_perf_record(void *arg, const struct perf_record *record)
{
	struct mapping_log *log = arg;
	pid_t pid = record->type == PERF_RECORD_FORKED ? record->parent_pid : record->pid;
	struct process_log *process = find_process(log, pid);

	if (!process && log->watches_all && record->type == PERF_RECORD_COMMAND &&
	    record->is_exec && pid != log->except)
		process = add_process(log, pid);
	if (!process)
		return;
	switch (record->type) {
	case PERF_RECORD_MAPPING:
		add_mapping(log, process, record);
		break;
	case PERF_RECORD_COMMAND:
		snprintf(process->comm, sizeof(process->comm), "%.15s", record->name);
		if (record->is_exec && record->time_ns > process->exec_ns)
			process->exec_ns = record->time_ns;
		break;
	case PERF_RECORD_FORKED:
		add_fork(log, process, record);
		break;
	}
}

struct mapping_log *mapping_log__new(struct file_table *files, mapping_fn fn, void *arg)
{
	struct mapping_log *log = calloc(1, sizeof(*log));
	int err;

	if (!log)
		return NULL;
	log->files = files;
	log->fn = fn;
	log->arg = arg;
	log->stream = perf_stream__new(handle_perf_record, log);
	if (!log->stream) {
		err = errno;
		mapping_log__free(log);
		errno = err;
		return NULL;
	}
	return log;
}

void mapping_log__free(struct mapping_log *log)
{
	if (!log)
		return;
	perf_stream__free(log->stream);
	for (int i = 0; i < BUCKETS; i++) {
		struct process_log *process = log->buckets[i];

		while (process) {
			struct process_log *next = process->next;

			process_log__put(process);
			process = next;
		}
	}
	free(log);
}

int mapping_log__fd(const struct mapping_log *log)
{
	return perf_stream__fd(log->stream);
}

void mapping_log__drain(struct mapping_log *log)
{
	perf_stream__drain(log->stream);
}

uint64_t mapping_log__lost_cnt(const struct mapping_log *log)
{
	return perf_stream__lost_cnt(log->stream);
}

/*
 * One line of /proc/PID/maps:
 *   7f3a2c021000-7f3a2c176000 r-xp 00026000 fe:01 131213    /usr/lib/x86_64-linux-gnu/libc.so.6
 * False if it is not an executable mapping of something with a name.
 */
static bool parse_maps_line(char *line, struct perf_record *record)
{
	unsigned int major, minor;
	char exec;
	int name_at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%*c%c%*c %" SCNx64 " %x:%x %" SCNu64 " %n",
		   &record->start, &record->end, &exec, &record->file_offset, &major, &minor,
		   &record->inode, &name_at) != 7 ||
	    exec != 'x' || !name_at)
		return false;
	line[strcspn(line, "\n")] = 0;
	record->name = line + name_at;
	record->dev = makedev(major, minor);
	return record->name[0];
}

int mapping_log__watch(struct mapping_log *log, pid_t pid)
{
	struct process_log *process;
	char *line = NULL;
	size_t size = 0;
	FILE *file;

	process = add_process(log, pid);
	if (!process)
		return -ENOMEM;
	proc_info__comm(pid, process->comm, sizeof(process->comm));
	file = proc_info__open(pid, "maps");
	if (!file) {
		int err = errno == ENOENT ? -ESRCH : -errno;

		mapping_log__forget(log, pid);
		return err;
	}
	while (getline(&line, &size, file) > 0) {
		struct perf_record record = {.type = PERF_RECORD_MAPPING, .pid = pid};

		if (parse_maps_line(line, &record))
			add_mapping(log, process, &record);
	}
	free(line);
	fclose(file);
	return 0;
}

int mapping_log__add(struct mapping_log *log, pid_t pid, const struct mapping *mapping)
{
	struct process_log *process = find_process(log, pid);

	if (!process)
		return -ESRCH;
	if (!make_room(process))
		return -ENOMEM;
	process->mappings[process->cnt++] = *mapping;
	if (log->fn)
		log->fn(log->arg, pid, mapping);
	return 0;
}

void mapping_log__watch_all(struct mapping_log *log, pid_t except)
{
	log->watches_all = true;
	log->except = except;
}

bool mapping_log__knows(const struct mapping_log *log, pid_t pid)
{
	return find_process(log, pid);
}

int mapping_log__watch_new(struct mapping_log *log, pid_t pid)
{
	return add_process(log, pid) ? 0 : -ENOMEM;
}

/* The latest mapping of one process that covered the address at time_ns. */
static const struct mapping *find_in(const struct process_log *process, uint64_t address,
				     uint64_t time_ns)
{
	const struct mapping *best = NULL;

	for (uint32_t i = 0; i < process->cnt; i++) {
		const struct mapping *mapping = &process->mappings[i];

		if (address < mapping->start || address >= mapping->end ||
		    mapping->time_ns > time_ns || (best && mapping->time_ns < best->time_ns))
			continue;
		if (mapping->time_ns < process->exec_ns && process->exec_ns <= time_ns)
			continue;
		best = mapping;
	}
	return best;
}

const struct mapping *mapping_log__find(const struct mapping_log *log, pid_t pid,
					uint64_t address, uint64_t time_ns)
{
	const struct process_log *process = find_process(log, pid);

	for (int i = 0; process && i < MAX_ANCESTORS; i++) {
		const struct mapping *mapping = find_in(process, address, time_ns);

		if (mapping || (process->exec_ns && process->exec_ns <= time_ns))
			return mapping;
		if (process->parent && process->fork_ns < time_ns)
			time_ns = process->fork_ns;
		process = process->parent;
	}
	return NULL;
}

static const struct mapping *first_at(const struct process_log *process, uint64_t time_ns,
				      bool (*predicate)(const struct mapped_file *file))
{
	uint64_t since_ns = process->exec_ns <= time_ns ? process->exec_ns : 0;

	for (uint32_t i = 0; i < process->cnt; i++)
		if (process->mappings[i].time_ns >= since_ns &&
		    process->mappings[i].time_ns <= time_ns &&
		    predicate(process->mappings[i].file))
			return &process->mappings[i];
	return NULL;
}

const struct mapping *mapping_log__first(const struct mapping_log *log, pid_t pid,
					 bool (*predicate)(const struct mapped_file *file))
{
	const struct process_log *process = find_process(log, pid);
	uint64_t time_ns = UINT64_MAX;

	/* A forked process has what its parent had then. */
	for (int i = 0; process && i < MAX_ANCESTORS; i++) {
		const struct mapping *mapping = first_at(process, time_ns, predicate);

		if (mapping)
			return mapping;
		if (process->exec_ns && process->exec_ns <= time_ns)
			break;
		if (process->parent && process->fork_ns < time_ns)
			time_ns = process->fork_ns;
		process = process->parent;
	}
	return NULL;
}

bool mapping_log__has(const struct mapping_log *log, pid_t pid,
		      bool (*predicate)(const struct mapped_file *file))
{
	return mapping_log__first(log, pid, predicate);
}

void mapping_log__for_each(const struct mapping_log *log, pid_t pid, mapping_fn fn, void *arg)
{
	const struct process_log *process = find_process(log, pid);

	for (uint32_t i = 0; process && i < process->cnt; i++)
		fn(arg, pid, &process->mappings[i]);
}

static void mark_used_by(const struct process_log *process, uint32_t mark)
{
	/* Also by a parent that is forgotten: its children still have what it had. */
	for (; process; process = process->parent)
		for (uint32_t i = 0; i < process->cnt; i++)
			process->mappings[i].file->used_mark = mark;
}

void mapping_log__mark_used(const struct mapping_log *log, uint32_t mark)
{
	for (int i = 0; i < BUCKETS; i++)
		for (const struct process_log *process = log->buckets[i]; process;
		     process = process->next)
			mark_used_by(process, mark);
}

const char *mapping_log__comm(const struct mapping_log *log, pid_t pid)
{
	const struct process_log *process = find_process(log, pid);

	return process ? process->comm : "";
}
