/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_CLI_OPTIONS_H
#define UNFREED_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "contract.h"
#include "probe/features.h"
#include "snapshot/snapshot.h"

/*
 * The command line, parsed and checked; const afterwards. One table in
 * options.c drives the parser, the help text and the man page.
 */

#define OPTIONS_MAX_PIDS    1024
#define OPTIONS_MAX_OBJECTS 32
#define OPTIONS_MAX_NAMES   32

enum pools_mode {
	POOLS_AUTO, /* unless the processes run with the gate */
	POOLS_ON,
	POOLS_OFF,
};

struct options {
	pid_t pids[OPTIONS_MAX_PIDS]; /* -p, each once */
	uint32_t pid_cnt;
	bool follow;                  /* children too */
	bool mmap;                    /* --mmap: what the program maps itself */
	bool gate;                    /* --gate: start the command with libunfreed-gate.so */
	enum pools_mode pools;        /* --pools: are Python's small objects traced? */
	bool whole_host;              /* neither -p nor a command: every process, or those below */
	const char *comms[OPTIONS_MAX_NAMES];   /* --comm; any of them, or of the next two */
	uint32_t comm_cnt;
	const char *cgroups[OPTIONS_MAX_NAMES]; /* --cgroup */
	uint32_t cgroup_cnt;
	const char *containers[OPTIONS_MAX_NAMES]; /* --container */
	uint32_t container_cnt;
	char **command;               /* argv after --; NULL-terminated, points into main's argv; or NULL */
	uint64_t interval_ns;         /* -i, default 5 s, at least 10 ms */
	bool has_interval;            /* given by the user */
	uint64_t count;               /* -n; 0: no limit */
	uint64_t duration_ns;         /* -d; 0: no limit */
	uint64_t older_ns;            /* -o */
	uint32_t top;                 /* -T, default 10 (3 with grouping), 1 - 1,000,000 */
	bool has_top;                 /* given by the user */
	enum snapshot_grouping grouping; /* --group, default BY_SITE */
	enum snapshot_sort sort;      /* -S, default size */
	bool per_process;             /* --per-process */
	bool kernel;                  /* -K: the kernel's own memory; whole_host and pids as else */
	uint64_t min_size_bytes;      /* -z, default 0 */
	uint64_t max_size_bytes;      /* -Z, default UINT64_MAX */
	uint32_t max_cost_ppm;        /* --max-cost, of one CPU; 0: no limit. Then there is a sample */
	uint64_t sample_bytes;        /* -s: one sample in so many bytes; 0: every allocation */
	bool has_sample;              /* given by the user */
	const struct render_format *format; /* -f, default text */
	const char *output_path;      /* -w; NULL: stdout */
	const char *objects[OPTIONS_MAX_OBJECTS]; /* -O */
	uint32_t object_cnt;
	const char *prefix;           /* --prefix; "" if none */
	uint32_t max_blocks;          /* --max-blocks, of the live table, default 1 Mi (1048576), 16 - 1 Gi */
	uint32_t max_sites;           /* --max-sites, default 32768, 16 - 1 Mi */
	enum uf_stack_mode stack_mode; /* --stack, default auto */
	enum attach_mode attach;      /* --attach, default auto: the cheapest that works */
	int verbosity;                /* -q: -1 each, -v: +1 each */
};

enum options_result {
	OPTIONS_RUN,    /* go on */
	OPTIONS_DONE,   /* --help, --version, --usage: printed; exit 0 */
	OPTIONS_BAD,    /* bad usage: said on stderr; exit 2 */
};

/* Fills *opts from main's arguments; prints what it must itself. */
enum options_result options__parse(struct options *opts, int argc, char **argv);

#endif
