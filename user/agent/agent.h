/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_AGENT_H
#define UNFREED_AGENT_AGENT_H

/*
 * A trace from beginning to end: targets, probes, reports. The only module
 * that knows all the others.
 */

struct agent;
struct options;

/* Exit statuses of the program. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/*
 * Prepares everything short of letting a command go. opts is borrowed. NULL if
 * it could not be done: said on stderr, with what to try.
 */
struct agent *agent__new(const struct options *opts);
/* Takes NULL. */
void agent__free(struct agent *agent);

/*
 * Traces and reports until the end: of the targets, of --count or --duration,
 * or by a signal. Returns the exit status for the program.
 */
int agent__run(struct agent *agent);

#endif
