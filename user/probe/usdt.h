/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_USDT_H
#define UNFREED_PROBE_USDT_H

#include <stdint.h>
#include "probe/elf_image.h"
#include "usdt_arg.h"

/*
 * Statically defined probes (USDT, as <sys/sdt.h> leaves them): places in a
 * file that its programmer has named. At each there is a nop; a note in
 * .note.stapsdt says where, what the arguments are and which semaphore, a
 * counter in the program's data, makes the program compute them.
 * The notes are hostile input.
 */
#define USDT_ARGS_BYTES 256 /* of the string of arguments; places with longer ones are left out */

struct usdt_place {
	uint64_t offset;           /* of the nop, in the file */
	uint64_t semaphore_offset; /* in the file; 0: it has none */
	char args[USDT_ARGS_BYTES]; /* as in the note: "-4@112(%rsp) 8@%r12" */
};

/*
 * The places of a probe; where the compiler copied it there are several. The first max are
 * written. Returns how many there are of those (0: the file has none), or -errno.
 */
int usdt__find(const struct elf_image *img, const char *provider, const char *name,
	       struct usdt_place *places, int max);

/*
 * Where an integer argument is, as UF_USDT_ARG has it; index counts from 0. x86-64. 0; -ENOENT:
 * there is no such argument; -EOPNOTSUPP: it is where we cannot follow.
 */
int usdt__locate_arg(const char *args, int index, uint64_t *arg);

#endif
