/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_SCOPES_H
#define UNFREED_SYM_SCOPES_H

#include <stddef.h>
#include <stdint.h>
#include <elfutils/libdw.h>

/*
 * The functions of a compilation unit and the calls inlined into them, as a
 * tree, with a map from address to the innermost of them.
 */

struct elf_layout;
struct scopes;

#define SCOPE_NONE UINT32_MAX

struct scope {
	Dwarf_Off die;
	const char *name; /* interned, filled by the first who asks */
	uint32_t parent;  /* the scope it was inlined into; SCOPE_NONE for a function */
	uint32_t call_file, call_line;
	uint8_t is_mangled;
	uint8_t padding[3];
};

/* Walks the unit's DIEs. NULL with errno. */
struct scopes *scopes__new(Dwarf_Die *cudie, const struct elf_layout *layout);
/* Takes NULL. */
void scopes__free(struct scopes *scopes);

/* The innermost scope at vaddr, or SCOPE_NONE. */
uint32_t scopes__find(const struct scopes *scopes, uint64_t vaddr);
struct scope *scopes__at(struct scopes *scopes, uint32_t id);
/* Start of the contiguous part of a function that contains vaddr; 0 if none does. */
uint64_t scopes__function_start(const struct scopes *scopes, uint32_t id, uint64_t vaddr);

size_t scopes__bytes(const struct scopes *scopes);

#endif
