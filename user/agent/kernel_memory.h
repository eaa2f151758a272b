/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_KERNEL_MEMORY_H
#define UNFREED_AGENT_KERNEL_MEMORY_H

#include <stdbool.h>

/*
 * A trace of the kernel's own memory (--kernel): what takes the place of
 * processes, files and mappings in the agent. Tables, ages, growth and reports
 * are those of any trace.
 */

struct agent;
struct kernel_names;

/* The names of the kernel's functions. NULL: said why, with what to try. */
struct kernel_names *kernel_memory__names(const struct agent *agent);
/* Attaches to the kernel's allocators. False: said why. */
bool kernel_memory__attach(struct agent *agent);
/* One line: what is traced. */
void kernel_memory__say_start(const struct agent *agent);

#endif
