/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * An inlined place has one more frame than it has inlined calls. The innermost
 * function is at the line that the line table gives; each function around it is
 * at the line of the call that was inlined (DW_AT_call_file, DW_AT_call_line).
 */
#include "sym/dwarf_cu.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sym/demangle.h"
#include "sym/lines.h"
#include "sym/scopes.h"

#define MAX_NAME_LEN	 4096
#define MAX_ORIGIN_STEPS 16
#define MAX_CHAIN	 128

struct dwarf_cu {
	Dwarf *dbg;
	struct lines *lines; /* NULL: none */
	struct scopes *scopes;
};

struct dwarf_cu *dwarf_cu__new(Dwarf_Die *cudie, const struct elf_layout *layout,
			       size_t line_limit_bytes)
{
	struct dwarf_cu *cu = calloc(1, sizeof(*cu));
	int err;

	if (!cu)
		return NULL;
	cu->dbg = dwarf_cu_getdwarf(cudie->cu);
	cu->scopes = scopes__new(cudie, layout);
	if (!cu->scopes)
		goto fail;
	cu->lines = lines__new(cudie, line_limit_bytes);
	if (!cu->lines && errno == ENOMEM)
		goto fail;
	return cu;
fail:
	err = errno;
	dwarf_cu__free(cu);
	errno = err;
	return NULL;
}

void dwarf_cu__free(struct dwarf_cu *cu)
{
	if (!cu)
		return;
	lines__free(cu->lines);
	scopes__free(cu->scopes);
	free(cu);
}

static const char *string_attr(Dwarf_Die *die, unsigned int name)
{
	Dwarf_Attribute attr;

	return dwarf_formstring(dwarf_attr(die, name, &attr));
}

/*
 * The linkage name if the DIE or what it is an instance of has one, since it
 * carries scope and parameters; else the plain name; else NULL.
 */
static const char *die_name(Dwarf_Die *die)
{
	const char *name = NULL, *linkage;
	Dwarf_Attribute attr;
	Dwarf_Die at = *die, origin;

	for (int step = 0; step < MAX_ORIGIN_STEPS; step++) {
		linkage = string_attr(&at, DW_AT_linkage_name);
		if (!linkage)
			linkage = string_attr(&at, DW_AT_MIPS_linkage_name);
		if (linkage && linkage[0])
			return linkage;
		if (!name)
			name = string_attr(&at, DW_AT_name);
		if (!dwarf_attr(&at, DW_AT_abstract_origin, &attr) &&
		    !dwarf_attr(&at, DW_AT_specification, &attr))
			break;
		if (!dwarf_formref_die(&attr, &origin))
			break;
		at = origin;
	}
	return name;
}

static const char *scope_name(struct dwarf_cu *cu, struct str_pool *pool, struct scope *scope)
{
	char demangled[DEMANGLED_MAX];
	const char *name = NULL;
	Dwarf_Die die;

	if (scope->name)
		return scope->name;
	if (dwarf_offdie(cu->dbg, scope->die, &die))
		name = die_name(&die);
	if (!name) {
		scope->name = "";
	} else if (demangle__name(name, demangled)) {
		scope->is_mangled = 1;
		scope->name = str_pool__intern(pool, demangled, sizeof(demangled));
	} else {
		scope->name = str_pool__intern(pool, name, MAX_NAME_LEN);
	}
	return scope->name;
}

static void set_place(struct dwarf_cu *cu, struct str_pool *pool, struct sym_frame *frame,
		      uint32_t file, uint32_t line)
{
	frame->file = cu->lines ? lines__file(cu->lines, pool, file) : "";
	frame->line = line;
}

/* Ids from the innermost scope to the function. At most MAX_CHAIN. */
static int scope_chain(struct dwarf_cu *cu, uint64_t vaddr, uint32_t chain[MAX_CHAIN])
{
	uint32_t id = scopes__find(cu->scopes, vaddr);
	int cnt = 0;

	while (id != SCOPE_NONE && cnt < MAX_CHAIN) {
		chain[cnt++] = id;
		id = scopes__at(cu->scopes, id)->parent;
	}
	return cnt;
}

/*
 * Frame i is scope chain[i]; its place is the call in chain[i - 1]. With fewer
 * frames than scopes the outermost inlined ones are left out: the function
 * itself stays the last.
 */
static int fill_chain(struct dwarf_cu *cu, struct str_pool *pool, const uint32_t *chain, int cnt,
		      struct sym_frame *frames, int max)
{
	int used = cnt < max ? cnt : max;

	for (int i = 0; i < used; i++) {
		int at = i == used - 1 ? cnt - 1 : i;

		frames[i].function = scope_name(cu, pool, scopes__at(cu->scopes, chain[at]));
		frames[i].inlined = at < cnt - 1;
		if (at > 0) {
			const struct scope *call = scopes__at(cu->scopes, chain[at - 1]);

			set_place(cu, pool, &frames[i], call->call_file, call->call_line);
		}
	}
	return used;
}

int dwarf_cu__resolve(struct dwarf_cu *cu, struct str_pool *pool, uint64_t vaddr,
		      struct sym_frame *frames, int max, struct dwarf_func *func)
{
	const struct sym_frame unknown = {.function = "", .file = ""};
	uint32_t chain[MAX_CHAIN], file, line;
	bool has_line = cu->lines && !lines__find(cu->lines, vaddr, &file, &line);
	int cnt = scope_chain(cu, vaddr, chain), used;

	memset(func, 0, sizeof(*func));
	if (!cnt && !has_line)
		return 0;
	for (int i = 0; i < max; i++)
		frames[i] = unknown;
	used = cnt ? fill_chain(cu, pool, chain, cnt, frames, max) : 1;
	if (has_line && (cnt <= 1 || max > 1))
		set_place(cu, pool, &frames[0], file, line);
	if (cnt) {
		func->is_found = true;
		func->vaddr = scopes__function_start(cu->scopes, chain[cnt - 1], vaddr);
		func->is_mangled = scopes__at(cu->scopes, chain[cnt - 1])->is_mangled;
	}
	return used;
}

size_t dwarf_cu__bytes(const struct dwarf_cu *cu)
{
	return sizeof(*cu) + (cu->lines ? lines__bytes(cu->lines) : 0) + scopes__bytes(cu->scopes);
}
