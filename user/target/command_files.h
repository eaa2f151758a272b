/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_COMMAND_FILES_H
#define UNFREED_TARGET_COMMAND_FILES_H

/*
 * Which files a command will map when it starts: found before it runs, so that
 * its allocator is probed from the first instruction on.
 *
 * The command is looked up as execvp does. For a script the interpreter counts
 * (/bin/sh if it names none, and what /usr/bin/env would start). The libraries are asked of the
 * program's own dynamic linker, which knows about LD_LIBRARY_PATH, LD_PRELOAD,
 * run paths and caches: it is run with --list, as ldd does, and maps the
 * libraries without running any of their code.
 */

typedef void (*command_file_fn)(void *arg, const char *path);

/*
 * Calls fn for the program and each library, in the environment of this process. A command
 * that cannot be found is no error: execvp will say so. Returns 0 or -errno.
 */
int command_files__find(char *const argv[], command_file_fn fn, void *arg);

#endif
