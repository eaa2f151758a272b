/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_UNWINDER_H
#define UNFREED_AGENT_UNWINDER_H

#include <stdbool.h>
#include <stdint.h>
#include "contract.h"
#include "target/mapped_file.h"

/*
 * Gives files numbers and unwind tables in the kernel: once a file, whatever
 * number of processes maps it. A table that no traced process needs any more
 * is dropped; all of them together stay within a budget (UF_MAX_CHUNKS). What
 * does not fit is counted, and stacks that meet it say so.
 */

struct unwinder;
struct tracer;

/* The tracer and the files are borrowed. NULL with errno ENOMEM. */
struct unwinder *unwinder__new(struct tracer *tracer, struct file_table *files);
/* Takes NULL. */
void unwinder__free(struct unwinder *unwinder);

/*
 * A number and a table for the file, if it has none yet. all_rows: also for code interrupted by
 * signals. Returns 0; -ENODATA: no unwind information (a number is given all the same);
 * -ENOSPC: no number or no room for the table; or what reading it said.
 */
int unwinder__add_file(struct unwinder *unwinder, struct mapped_file *file, bool all_rows);
/* The file with that number; NULL if there is none. */
struct mapped_file *unwinder__file(const struct unwinder *unwinder, uint32_t number);

/* Drops the tables of files for which needed says no. */
void unwinder__drop(struct unwinder *unwinder,
		    bool (*needed)(void *arg, const struct mapped_file *file), void *arg);
/* Ends the rest of dropped tables, after which their room is used again. Call once an epoch. */
void unwinder__tick(struct unwinder *unwinder);

/* Tables that had no room, since the start. */
uint64_t unwinder__lost_cnt(const struct unwinder *unwinder);

#endif
