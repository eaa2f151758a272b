/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_DEBUG_FILE_H
#define UNFREED_SYM_DEBUG_FILE_H

#include <stdint.h>

/*
 * Finds the separate debug file of a module, and the supplementary file that
 * dwz split off that one. Only a regular file is ever opened for reading, and
 * it must prove that it belongs to the module: same build-id, or the CRC of the
 * debuglink.
 */

struct elf_handle;

struct debug_query {
	const char *debug_root;
	const char *path;      /* of the module; /proc/PID/root/... means inside a container */
	const char *build_id;  /* hex, "" if none */
	const char *link_name; /* .gnu_debuglink, "" if none */
	uint32_t link_crc;
	uint64_t *crc_budget_bytes; /* read for CRCs at most, and taken from; NULL: no matter */
};

/* NULL with errno: ENOENT if there is none, ENOMEM. */
struct elf_handle *debug_file__find(const struct debug_query *query);
/*
 * The file that .gnu_debugaltlink of file names. query is that of the module;
 * file is what debug_file__find() gave for it, or the module itself.
 */
struct elf_handle *debug_file__find_alt(const struct debug_query *query,
					const struct elf_handle *file);

#endif
