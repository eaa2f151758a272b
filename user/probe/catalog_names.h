/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROBE_CATALOG_NAMES_H
#define UNFREED_PROBE_CATALOG_NAMES_H

#include <stddef.h>
#include <stdint.h>
#include "contract.h"

/* The names of allocator functions, by whose they are. */
enum name_family {
	FAMILY_STANDARD, /* of C and the C libraries; others have them too, or under a prefix */
	FAMILY_JEMALLOC, /* under the same prefix */
	FAMILY_TCMALLOC, /* after "tc_" */
	FAMILY_MIMALLOC, /* after "mi_" */
	FAMILY_CXX,	 /* operators new and delete of an allocator that has its own */
	FAMILY_CNT,
};

#define FAMILY_BIT(family) (1u << (family))

struct catalog_name {
	const char *name; /* without prefix */
	enum name_family family;
	enum uf_func func;
	uint32_t flags; /* UF_COOKIE_... */
	int arg_cnt;	/* argument registers that the probe reads */
};

/* Of aliases at one address the first here gives the name. */
extern const struct catalog_name catalog_names[];
extern const size_t catalog_name_cnt;

/* The entry of a name; families: FAMILY_BITs. NULL if it is none of them. */
const struct catalog_name *catalog_names__find(const char *name, uint32_t families);

#endif
