/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_GATE_NEXT_H
#define UNFREED_GATE_NEXT_H

/*
 * The function of this name that the process would call if this library were not there: as
 * dlsym(RTLD_NEXT, name) finds it, from the dynamic linker's list of what is loaded. dlsym itself
 * allocates, is in another library on older systems, and would be called before the C library has
 * come up. NULL: there is none. For the start of the process: nothing is locked.
 */
void *next__find(const char *name);
/* The one that it does call. */
void *next__first(const char *name);

#endif
