/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_INTERNAL_H
#define UNFREED_AGENT_INTERNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "agent/frame_names.h"
#include "target/launch.h"
#include "target/mapping_log.h"
#include "target/target_filter.h"

/* What agent.c (setting up), probing.c (which files) and loop.c (running) share. */

struct uf_event;

enum agent_fd { FD_SIGNAL, FD_REPORT, FD_EPOCH, FD_COST, FD_BUDGET, FD_END, FD_EVENTS, FD_MAPPINGS, FD_CNT };

/* A file with probes, as open() shows it: one inode is never probed twice. */
struct probed_inode {
	dev_t dev;
	ino_t ino;
	uint32_t slot;  /* of the tracer's */
	struct code_ranges *allocator_code; /* see agent/nested_calls.h; NULL in an exact trace */
	bool is_shared; /* known by several names, or wanted by the user: its probes stay */
};

#define LAUNCH_ENV_MAX 2

struct agent {
	const struct options *opts;
	pid_t *pids;              /* targets at start: opts->pids, or the command's */
	uint32_t pid_cnt;
	uint32_t found_cnt;       /* found at start: their children (--follow), or all processes */
	struct file_table *files;
	struct symbolizer *symbolizer;
	struct mapping_log *mappings;
	struct unwinder *unwinder;
	struct gc_watch *gc_watch;
	struct places *places;    /* of the probes: are they where they should be? */
	struct pythons *pythons;
	struct pools *pools;
	struct regions *regions;  /* NULL without --mmap */
	struct frame_names names;
	struct kernel_names *kernel_names; /* --kernel: and then there are neither files nor mappings,
					    * and no tracees */
	struct tracer *tracer;
	struct tracees *tracees;
	struct cohorts *cohorts;
	struct collector *collector;
	struct cost_meter *cost;
	struct pauses *pauses;    /* NULL without --max-cost */
	struct probed_inode *inodes;
	uint32_t inode_cnt;
	uint32_t used_mark;       /* of the last look at what is mapped */
	char found[256];          /* an allocator that was recognized but not probed, for the user */
	struct target_filter filter; /* of a trace of the whole host */
	struct launch launch;
	char *launch_env[LAUNCH_ENV_MAX + 1]; /* what it adds to the command's environment */
	bool is_gated;            /* agent/gate.h */
	char gate_path[4096];     /* the library, for the command */
	uint64_t sample_bytes;    /* of a trace that samples, here or in the gate; 0: every block */
	sigset_t old_mask;        /* ours before; the command's */
	bool mask_is_set;
	FILE *out;
	int epoll_fd;
	int fds[FD_CNT];          /* -1: none */
	uint64_t lost_mapping_cnt; /* records of mappings lost, as far as was made up for */
	uint64_t report_cnt;
	bool is_reporting;        /* processes that come and go meanwhile wait in kept_events */
	struct uf_event *kept_events;
	size_t kept_event_cnt;
	uint32_t ended_cnt;       /* processes that ended since the last reclaim */
	uint64_t unreported_cnt;  /* processes that ended and made room before a report */
	uint64_t unidentified_cnt; /* that ended before the filter could look at them */
	uint64_t listing_time_ns; /* when mappings being listed are taken to have come; 0: for ever */
	bool is_listing;          /* mappings from before the trace are coming in */
	bool is_over;
	bool asked_command_to_end;
	int error;                /* -errno of a report that could not be written */
};

/* Begins an epoch (agent/cohorts.h). arg: the agent. */
void agent__begin_epoch(void *arg);
/* One line on stderr: "unfreed: ...". */
void agent__say(const struct agent *agent, int min_verbosity, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Watches the mappings of a running process, beginning with those that it has. 0 or -errno. */
int agent__watch(struct agent *agent, pid_t pid);
/* Lists the mappings of all targets anew if records of mappings were lost. */
void agent__list_again_if_lost(struct agent *agent);
/* Takes in what is mapped while a report is being made. arg: the agent. */
void agent__take_in_mappings(void *arg);
/* A stack met a file without the table that it needs. */
void agent__want_file(struct agent *agent, const struct uf_event *event);
/* Looks at a newly mapped file: gives it an unwind table and probes its allocator functions. */
void agent__see_mapping(void *agent, pid_t pid, const struct mapping *mapping);
/* A file_identify_fn: how BPF programs tell the file from others. arg: the agent. */
bool agent__identify_file(void *arg, int fd, struct file_identity *out);
/* The same for the files that the command will map. 0 or -errno. */
int agent__probe_command_files(struct agent *agent);
/*
 * Takes the probes out of a file that no process has mapped any more, and closes it, if it is
 * unlinked or there are many; up to the next one with probes, as that takes its time.
 */
void agent__close_unused(struct agent *agent);
/* The probes of a file are in another slot now. */
void agent__file_has_moved(struct agent *agent, uint32_t from_slot, uint32_t to_slot);
/* Probes the files of --object; false if one of them cannot be (said on stderr). */
bool agent__probe_objects(struct agent *agent);
/* Has the process an allocator that is traced? */
bool agent__traces_allocator(const struct agent *agent, pid_t pid);
/* Why nothing can be traced in a program, with what to try. */
void agent__explain_no_allocator(const struct agent *agent, const char *program, char *text,
				 size_t size);

#endif
