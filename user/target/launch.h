/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_LAUNCH_H
#define UNFREED_TARGET_LAUNCH_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * A command that we start ourselves, held at the gate between fork and exec
 * until the probes are in place. It inherits everything a shell would give it:
 * arguments, environment, descriptors, terminal and process group; the signal
 * mask is the one given.
 */

struct launch {
	pid_t pid;      /* the command's; 0: none */
	int gate_fd;    /* writing one byte lets it go */
	int result_fd;  /* what execvp said; nothing if it succeeded */
};

/* Forks; the child waits. env: NAME=VALUE strings that the command gets besides, NULL at the end; or
 * NULL. 0 or -errno. */
int launch__prepare(struct launch *launch, char **argv, char *const *env,
		    const sigset_t *child_mask);
/*
 * Lets the command execute. Returns 0 once it has, or execvp's -errno (the child has
 * exited then and is reaped), or -EPIPE if it was killed at the gate (the release reaps it).
 * SIGPIPE must be blocked or ignored.
 */
int launch__go(struct launch *launch);
/* Ends a command that is still at the gate, closes what is open. Takes a zeroed struct. */
void launch__release(struct launch *launch);

/* Exit status for our own exit: the command's, or 128 + the signal that ended it. */
int launch__exit_code(int wait_status);

#endif
