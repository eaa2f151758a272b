/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_GATE_H
#define UNFREED_AGENT_GATE_H

#include <stdbool.h>
#include <stddef.h>

struct agent;
struct elf_image;

/*
 * Traces of processes that run with libunfreed-gate.so (include/gate_contract.h): a command with --gate, or
 * processes that were all started with it. The whole trace is one of samples then: no allocator is
 * probed, only that library, so that the processes do not run into probes for what is not sampled.
 * Blocks that were counted one by one and blocks that stand for others never meet. In any other trace
 * the library is a wrapper of malloc() like others.
 */

/* Finds out whether it is such a trace, and prepares the command's environment. Before the command is
 * launched and the tracer loaded. False: said why it cannot be done. */
bool gate__prepare(struct agent *agent);

/* Is this the library, not to be probed in a trace without it? One that samples could not tell what the
 * library passes on from what the program asks for, as it leaves no frame. */
bool gate__is_passed_over(const struct agent *agent, const struct elf_image *image);

/* Is there an allocator in the file open at fd, other than this library? */
bool gate__has_allocator(int fd);

/* In place of the allocator's probes. The slot of the file, -ENOENT if it is not the library, or
 * another -errno. */
int gate__probe_image(struct agent *agent, int fd, const struct elf_image *image, const char *path);

/* What is traced. */
void gate__describe(const struct agent *agent, char *text, size_t size);
/* Why nothing of a process is seen. */
void gate__explain_absence(const char *program, char *text, size_t size);

#endif
