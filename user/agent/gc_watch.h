/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_GC_WATCH_H
#define UNFREED_AGENT_GC_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include "python/gc_stats.h"
#include "snapshot/snapshot.h"

/*
 * Garbage collections of the traced Python processes, from two sources. Where
 * the build of the interpreter has USDT probes (gc__start, gc__done), each
 * collection is counted and timed by the probe as it happens. What the
 * collector says of itself - its life's totals, thresholds, counts - is read
 * from the process's memory now and then ("polling"), which is all that there
 * is without the probes.
 */

struct gc_watch;
struct tracee;
struct tracees;
struct tracer;

/* What is known of a process's collector; part of struct tracee. */
struct tracee_gc {
	struct python_gc_place place;
	bool has_interpreter;
	bool has_probes; /* of the interpreter's file */
	bool is_read;    /* stats and first are valid */
	struct python_gc_stats stats; /* as last read */
	struct python_gc_stats first; /* when it was read first; zeros if the trace saw it begin */
	uint64_t probed[UF_PYTHON_GENERATIONS]; /* collections that the probes had seen by stats */
};

/* The tracer is borrowed. NULL with errno ENOMEM. */
struct gc_watch *gc_watch__new(struct tracer *tracer);
/* Takes NULL. */
void gc_watch__free(struct gc_watch *watch);

/*
 * Attaches to the collector's probes in the file open at fd, if it is an interpreter's, unless that
 * was done before. 1: it has them; 0: it has none; -errno: they cannot be had.
 */
int gc_watch__attach(struct gc_watch *watch, int fd);
/* Forgets a file that is about to be closed. False: it is watched, and must stay open. */
bool gc_watch__forget(struct gc_watch *watch, int fd);

/* A process's interpreter, of the file open at fd, was found. */
void gc_watch__begin(struct gc_watch *watch, struct tracee *tracee, int fd,
		     const struct python_gc_place *place);
/* Reads what the collectors of all living processes say: a few system calls a process. */
void gc_watch__poll(struct gc_watch *watch, const struct tracees *tracees);
/* The same if that was not done for a second: a process that ends leaves no more than was read. */
void gc_watch__tick(struct gc_watch *watch, const struct tracees *tracees, uint64_t now_ns);
/* Fills the collector's part of a process's record. */
void gc_watch__describe(const struct gc_watch *watch, const struct tracee *tracee,
			struct snapshot_python *out);

#endif
