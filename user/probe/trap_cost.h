/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_TRAP_COST_H
#define UNFREED_PROBE_TRAP_COST_H

#include "probe/features.h"

/*
 * What the kernel takes for a probe, whatever its program does: measured on this machine, in the
 * attach mode that is used, by calling probed functions of our own. Machines, and virtual ones more
 * so, differ by a factor of ten.
 */

struct trap_costs {
	double entry_ns;   /* a hit on an instruction that is emulated */
	double stepped_ns; /* on one that is single-stepped */
	double return_ns;  /* what a return probe that is run adds */
	double run_ns;     /* that the kernel's statistics give to an empty program; 0: not known */
};

/*
 * Measures in a thread of its own: it takes some tens of milliseconds (half a second with perf
 * uprobes), nearly all of it waiting. mode is not ATTACH_AUTO. NULL with errno: no thread.
 */
struct trap_meter;
struct trap_meter *trap_meter__start(enum attach_mode mode);
/* What was measured, once it has been; NULL: it could not be. Lives as long as the meter. */
const struct trap_costs *trap_meter__get(struct trap_meter *meter);
/* Takes NULL. Waits until the probes are out again. */
void trap_meter__free(struct trap_meter *meter);

#endif
