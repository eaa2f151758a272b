/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_FEATURES_H
#define UNFREED_PROBE_FEATURES_H

#include <stdbool.h>

/* How probes are attached, the cheapest first; AUTO: the first that works. */
enum attach_mode { ATTACH_AUTO, ATTACH_SESSION, ATTACH_MULTI, ATTACH_PERF };

/*
 * What this kernel can do, found out by trying and never by version number:
 * distributions backport.
 */
struct features {
	bool uprobe_multi;   /* many uprobes in one link (6.6) */
	bool uprobe_session; /* entry and return in one program, the return skippable (6.13) */
	bool grows_maps;     /* hash maps of ours may allocate as they fill (6.1) */
};

/*
 * Fills *out. Returns 0, or -errno if not even a trivial BPF program can be loaded:
 * -EPERM without the privilege, -ENOSYS without BPF.
 */
int features__detect(struct features *out);
/* The mode to use for a wanted one; -EOPNOTSUPP if the kernel cannot. */
int features__choose(const struct features *features, enum attach_mode wanted);

#endif
