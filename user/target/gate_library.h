/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_GATE_LIBRARY_H
#define UNFREED_TARGET_GATE_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct elf_image;
struct uf_gate_state;

/* libunfreed-gate.so (gate/, include/gate_contract.h), as seen from outside. */

/*
 * Where it is: beside this program, in ../lib/unfreed from there, or in the build's LIBDIR. 0; -ENOENT;
 * -EINVAL: LD_PRELOAD cannot name that path, which is in path all the same.
 */
int gate_library__find(char *path, size_t size);

/*
 * Can a command be started with it? argv as for execvp. False: why not, in why (up to size
 * bytes). A command that cannot be found can: execvp will say so.
 */
bool gate_library__fits(char *const argv[], char *why, size_t size);

/* Where its functions are in the file. False: it is another file. */
struct gate_offsets {
	uint64_t alloc, tell;
};
bool gate_library__find_offsets(const struct elf_image *image, struct gate_offsets *out);

/*
 * Copies its state out of a process that runs with it. 0; -ENOENT: it does not, or the library is not
 * what the process allocates by; or another -errno. What it says is the process's word.
 */
int gate_library__read_state(pid_t pid, struct uf_gate_state *out);

#endif
