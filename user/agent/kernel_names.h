/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_KERNEL_NAMES_H
#define UNFREED_AGENT_KERNEL_NAMES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Frames of the kernel's stacks, with names. A stack begins in the BPF program
 * that took it, in the allocator; these frames are left out, so that the first
 * one is of who wanted memory.
 *
 * Modules and BPF programs come and go, and the list of functions is of one
 * moment: it is read anew where a stack is younger and has such a frame.
 */

struct kallsyms;
struct kernel_names;
struct snapshot;
struct snapshot_site;
struct uf_stack;

/* Reads the functions' names. NULL with errno as kallsyms__read. */
struct kernel_names *kernel_names__new(void);
/* From a listing, which is the object's from now on, and is never read anew. NULL with ENOMEM. */
struct kernel_names *kernel_names__of(struct kallsyms *syms);
/* Takes NULL. */
void kernel_names__free(struct kernel_names *names);

/*
 * A hash of what the stack's frames name and of how it ends (snapshot/site_id.h); 0 for pages that
 * an allocator of smaller things took: what lies in them is counted by itself.
 */
uint64_t kernel_names__hash(struct kernel_names *names, const struct uf_stack *stack);

/* Fills site->frames, allocated from the snapshot. 0 or -ENOMEM. */
int kernel_names__resolve(const struct kernel_names *names, struct snapshot *snap,
			  struct snapshot_site *site, const struct uf_stack *stack);

#endif
