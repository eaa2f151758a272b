/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_PERF_STREAM_H
#define UNFREED_TARGET_PERF_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The kernel's side-band stream of one host: executable mappings, exec and
 * fork, through a dummy perf event on each CPU. A drain gives the records of all
 * CPUs in the order of their times (CLOCK_MONOTONIC): a fork before anything
 * that the child does.
 */

enum perf_record_type { PERF_RECORD_MAPPING, PERF_RECORD_COMMAND, PERF_RECORD_FORKED };

struct perf_record {
	enum perf_record_type type;
	pid_t pid;
	pid_t parent_pid;    /* FORKED, only for new processes */
	uint64_t time_ns;
	uint64_t start, end, file_offset; /* MAPPING */
	dev_t dev;
	uint64_t inode, generation;
	const char *name;    /* MAPPING: path; COMMAND: comm. Valid during the callback */
	bool is_exec;        /* COMMAND: by exec; earlier mappings are gone */
};

typedef void (*perf_record_fn)(void *arg, const struct perf_record *record);

struct perf_stream;

/* NULL with errno. */
struct perf_stream *perf_stream__new(perf_record_fn fn, void *arg);
/* Takes NULL. */
void perf_stream__free(struct perf_stream *stream);
/* An epoll descriptor. */
int perf_stream__fd(const struct perf_stream *stream);
/* Calls fn for every record that there is. */
void perf_stream__drain(struct perf_stream *stream);
/* Records that the kernel dropped because a ring was full. */
uint64_t perf_stream__lost_cnt(const struct perf_stream *stream);

#endif
