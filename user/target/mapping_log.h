/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_MAPPING_LOG_H
#define UNFREED_TARGET_MAPPING_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "target/mapped_file.h"

/*
 * What was mapped where, in which process, when.
 *
 * A stack is addresses; the file behind an address changes (dlclose, exec) and
 * is gone with the process. So mappings are recorded as they happen, from the
 * kernel's own stream (a perf event per CPU with mmap2, comm and task
 * records), and an address is looked up with the time at which it was seen.
 * Only executable mappings of watched processes are kept. Times are
 * CLOCK_MONOTONIC.
 */

struct mapping_log;

struct mapping {
	uint64_t start, end;
	uint64_t file_offset; /* of start */
	uint64_t time_ns;     /* mapped at */
	struct mapped_file *file;
};

/* Told of each executable mapping of a watched process. */
typedef void (*mapping_fn)(void *arg, pid_t pid, const struct mapping *mapping);

/*
 * NULL with errno. The file table is borrowed. EPERM or EACCES: no privilege to
 * watch the host's mappings.
 */
struct mapping_log *mapping_log__new(struct file_table *files, mapping_fn fn, void *arg);
/* Takes NULL. */
void mapping_log__free(struct mapping_log *log);

/* Becomes readable when there are records. Belongs to the log. */
int mapping_log__fd(const struct mapping_log *log);
/* Takes in all records up to now. */
void mapping_log__drain(struct mapping_log *log);
/* Records that the kernel dropped because we were slow. */
uint64_t mapping_log__lost_cnt(const struct mapping_log *log);

/*
 * Watches a process that is running already: reads /proc/PID/maps. Children of
 * watched processes are watched by themselves. 0 or -errno (-ESRCH: gone).
 */
int mapping_log__watch(struct mapping_log *log, pid_t pid);
/* Adds a mapping that a watched process has had for long. 0 or -errno. */
int mapping_log__add(struct mapping_log *log, pid_t pid, const struct mapping *mapping);
/* Watches a process that is about to execute; what it has mapped until then does not matter. */
int mapping_log__watch_new(struct mapping_log *log, pid_t pid);
/* From now on also watches every process that executes, but for one: ourselves. */
void mapping_log__watch_all(struct mapping_log *log, pid_t except);
/* Is the process watched? */
bool mapping_log__knows(const struct mapping_log *log, pid_t pid);
/* Forgets a process. */
void mapping_log__forget(struct mapping_log *log, pid_t pid);

/* The mapping that covered address in pid at time_ns; NULL if none is known. Valid until the
 * next drain or forget. */
const struct mapping *mapping_log__find(const struct mapping_log *log, pid_t pid,
					uint64_t address, uint64_t time_ns);

/* Calls fn for each recorded mapping of the process itself. */
void mapping_log__for_each(const struct mapping_log *log, pid_t pid, mapping_fn fn, void *arg);
/* Does the process have any mapping now whose file satisfies the predicate? */
bool mapping_log__has(const struct mapping_log *log, pid_t pid,
		      bool (*predicate)(const struct mapped_file *file));

/* The process's mapping (the first one recorded) whose file satisfies the predicate; NULL: none.
 * Valid until the next drain or forget. */
const struct mapping *mapping_log__first(const struct mapping_log *log, pid_t pid,
					 bool (*predicate)(const struct mapped_file *file));
/* Marks the files that any watched process has mapped with a number of the caller's. O(mappings). */
void mapping_log__mark_used(const struct mapping_log *log, uint32_t mark);

/* The process's name now, "" if unknown. Valid until the next drain or forget. */
const char *mapping_log__comm(const struct mapping_log *log, pid_t pid);

#endif
