/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A module has three layers, each made from the one before when first needed:
 *
 *	open		layout, build-id, debuglink, symbols of the file itself
 *	first look-up	symbols of the separate debug file, if there is one
 *	a look-up	the DWARF index; the only layer that is ever dropped again
 *
 * Symbols are small, and are kept; together they may take half of the cache
 * limit, later modules then have none. DWARF indexes share what is left: the
 * least recently used go first, and one that alone is over the limit goes after
 * the look-up that made it so. To make one again, the module keeps a descriptor
 * of its file if the debug information is in there; a separate debug file is
 * searched for again.
 */
#include "sym/symbolizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sym/debug_file.h"
#include "sym/demangle.h"
#include "sym/dwarf_index.h"
#include "sym/elf_handle.h"
#include "sym/plt.h"
#include "sym/str_pool.h"
#include "sym/symtab.h"

#define DEFAULT_DEBUG_ROOT  "/usr/lib/debug"
#define DEFAULT_LIMIT_BYTES ((size_t)512 << 20)
#define MAX_IMAGE_BYTES	    ((size_t)64 << 20)
#define MAX_LINK_NAME	    256
#define MAX_FOREIGN_CRC	    ((uint64_t)4 << 30)

struct sym_module {
	struct sym_module *next;
	char *path;
	uint64_t origin; /* the container whose file this is; 0: the host */
	void *image; /* of a module in memory */
	size_t size_bytes;
	struct elf_layout layout;
	char build_id[BUILD_ID_MAX_HEX];
	char link_name[MAX_LINK_NAME];
	uint32_t link_crc;
	struct symtab *symbols;
	struct elf_handle *own_debug; /* the file itself, if it has DWARF, or the container's own */
	struct dwarf_index *dwarf;
	uint64_t used_at;	/* value of the symbolizer's clock */
	bool has_no_debug;	/* searched in vain, or it was of no use */
	bool own_is_separate;	/* own_debug is not the file itself */
	bool has_debug_symbols; /* those of the separate file are in symbols */
};

struct symbolizer {
	struct sym_module *modules;
	struct str_pool *names;
	char *debug_root;
	size_t limit_bytes;
	uint64_t clock;
	uint64_t foreign_crc_bytes; /* that may yet be read to compare what containers offer */
	void (*run_long)(void *arg, void (*work)(void *work_arg), void *work_arg); /* NULL: none */
	void *run_arg;
};

struct symbolizer *symbolizer__new(const struct symbolizer_opts *opts)
{
	struct symbolizer *sym = calloc(1, sizeof(*sym));
	const char *root = opts && opts->debug_root ? opts->debug_root : DEFAULT_DEBUG_ROOT;

	if (!sym)
		return NULL;
	sym->limit_bytes =
		opts && opts->cache_limit_bytes ? opts->cache_limit_bytes : DEFAULT_LIMIT_BYTES;
	sym->foreign_crc_bytes = MAX_FOREIGN_CRC;
	sym->run_long = opts ? opts->run_long : NULL;
	sym->run_arg = opts ? opts->arg : NULL;
	sym->debug_root = strdup(root);
	sym->names = str_pool__new();
	if (sym->debug_root && sym->names)
		return sym;
	symbolizer__free(sym);
	errno = ENOMEM;
	return NULL;
}

static void free_module(struct sym_module *mod)
{
	if (!mod)
		return;
	dwarf_index__free(mod->dwarf);
	elf_handle__free(mod->own_debug);
	symtab__free(mod->symbols);
	free(mod->image);
	free(mod->path);
	free(mod);
}

void symbolizer__free(struct symbolizer *sym)
{
	struct sym_module *mod, *next;

	if (!sym)
		return;
	for (mod = sym->modules; mod; mod = next) {
		next = mod->next;
		free_module(mod);
	}
	str_pool__free(sym->names);
	free(sym->debug_root);
	free(sym);
}

static size_t symbol_bytes(const struct symbolizer *sym)
{
	size_t total = 0;

	for (const struct sym_module *mod = sym->modules; mod; mod = mod->next)
		total += symtab__bytes(mod->symbols);
	return total;
}

static size_t dwarf_bytes(const struct symbolizer *sym)
{
	size_t total = 0;

	for (const struct sym_module *mod = sym->modules; mod; mod = mod->next)
		total += mod->dwarf ? dwarf_index__bytes(mod->dwarf) : 0;
	return total;
}

size_t symbolizer__memory_bytes(const struct symbolizer *sym)
{
	return symbol_bytes(sym) + dwarf_bytes(sym) + str_pool__bytes(sym->names);
}

/* Room that one more symbol table may take. */
static size_t symbol_budget(const struct symbolizer *sym)
{
	size_t used = symbol_bytes(sym), limit = sym->limit_bytes / 2;

	return used < limit ? limit - used : 0;
}

static int load_symbols(struct sym_module *mod, const struct elf_handle *file, size_t budget)
{
	int err;

	mod->symbols = symtab__new(budget);
	if (!mod->symbols)
		return -ENOMEM;
	err = symtab__add_elf(mod->symbols, file, &mod->layout);
	if (!err)
		err = plt__add_symbols(mod->symbols, file);
	if (err == -ENOSPC)
		err = 0; /* a table that is full is still good for what it holds */
	symtab__seal(mod->symbols);
	return err;
}

/*
 * Copies of one file share an entry, so equal build-ids mean the same module;
 * but a stripped copy differs from an unstripped one, and a file that lies about
 * its build-id must at least have the layout of its model. A container's model
 * is for its own files only, as it may lie on purpose.
 */
static struct sym_module *find_same(struct symbolizer *sym, const struct sym_module *wanted)
{
	struct sym_module *mod;

	if (!wanted->build_id[0])
		return NULL;
	for (mod = sym->modules; mod; mod = mod->next)
		if ((mod->origin == wanted->origin || (!mod->origin && !wanted->own_debug)) &&
		    mod->size_bytes == wanted->size_bytes &&
		    !strcmp(mod->build_id, wanted->build_id) &&
		    mod->layout.segment_cnt == wanted->layout.segment_cnt &&
		    !memcmp(mod->layout.segments, wanted->layout.segments,
			    mod->layout.segment_cnt * sizeof(mod->layout.segments[0])))
			return mod;
	return NULL;
}

static struct debug_query query_of(struct symbolizer *sym, const struct sym_module *mod)
{
	return (struct debug_query){
		.debug_root = sym->debug_root,
		.path = mod->path,
		.build_id = mod->build_id,
		.link_name = mod->link_name,
		.link_crc = mod->link_crc,
		.crc_budget_bytes = mod->origin ? &sym->foreign_crc_bytes : NULL,
	};
}

/* Has the host what a container's module needs? It is to be trusted more. */
static bool host_has_debug(const struct symbolizer *sym, const struct sym_module *mod)
{
	const struct debug_query query = {
		.debug_root = sym->debug_root,
		.path = "",
		.build_id = mod->build_id,
		.link_name = "",
	};
	struct elf_handle *file = debug_file__find(&query);

	elf_handle__free(file);
	return file;
}

/* What the container has. It is kept, as there is no other time to look for it. */
static void find_foreign_debug(struct symbolizer *sym, struct sym_module *mod)
{
	const struct debug_query query = query_of(sym, mod);

	if (!host_has_debug(sym, mod))
		mod->own_debug = debug_file__find(&query);
	mod->own_is_separate = mod->own_debug;
}

/* Fills mod from the file. Returns the module to use: mod, an older one of the same, or NULL. */
static struct sym_module *load_module(struct symbolizer *sym, struct sym_module *mod,
				      const struct elf_handle *file)
{
	struct sym_module *same;
	int err;

	if (!elf_handle__is_loadable(file)) {
		errno = ENOEXEC;
		return NULL;
	}
	mod->size_bytes = elf_handle__size_bytes(file);
	elf_handle__layout(file, &mod->layout);
	elf_handle__build_id(file, mod->build_id);
	if (elf_handle__debuglink(file, mod->link_name, sizeof(mod->link_name), &mod->link_crc))
		mod->link_name[0] = '\0';
	if (elf_handle__has_dwarf(file))
		mod->own_debug = elf_handle__reopen(file);
	else if (mod->origin)
		find_foreign_debug(sym, mod);
	same = find_same(sym, mod);
	if (same)
		return same;
	err = load_symbols(mod, file, symbol_budget(sym));
	if (err) {
		errno = -err;
		return NULL;
	}
	return mod;
}

static struct sym_module *add_module(struct symbolizer *sym, struct sym_module *mod,
				     struct elf_handle *file, const char *path)
{
	struct sym_module *loaded = NULL;
	int err;

	mod->path = strdup(path ? path : "");
	if (mod->path)
		loaded = load_module(sym, mod, file);
	err = errno;
	elf_handle__free(file);
	if (loaded == mod) {
		mod->next = sym->modules;
		sym->modules = mod;
	} else {
		free_module(mod);
	}
	errno = err;
	return loaded;
}

static struct sym_module *fail_module(struct sym_module *mod, int err)
{
	free_module(mod);
	errno = err;
	return NULL;
}

struct sym_module *symbolizer__open_fd(struct symbolizer *sym, int fd, const char *path)
{
	return symbolizer__open_foreign_fd(sym, fd, path, 0);
}

struct sym_module *symbolizer__open_foreign_fd(struct symbolizer *sym, int fd, const char *path,
					       uint64_t origin)
{
	struct sym_module *mod = calloc(1, sizeof(*mod));
	struct elf_handle *file;

	if (!mod)
		return NULL;
	mod->origin = origin;
	file = elf_handle__open_fd(fd);
	if (!file)
		return fail_module(mod, errno);
	return add_module(sym, mod, file, path);
}

struct sym_module *symbolizer__open_memory(struct symbolizer *sym, const void *image,
					   size_t size_bytes, const char *name)
{
	struct sym_module *mod = calloc(1, sizeof(*mod));
	struct elf_handle *file;

	if (!mod)
		return NULL;
	if (!image || !size_bytes || size_bytes > MAX_IMAGE_BYTES)
		return fail_module(mod, ENOEXEC);
	mod->image = malloc(size_bytes);
	if (!mod->image)
		return fail_module(mod, ENOMEM);
	memcpy(mod->image, image, size_bytes);
	file = elf_handle__open_memory(mod->image, size_bytes);
	if (!file)
		return fail_module(mod, errno);
	return add_module(sym, mod, file, name);
}

const char *sym_module__build_id(const struct sym_module *mod)
{
	return mod->build_id;
}

const char *sym_module__path(const struct sym_module *mod)
{
	return mod->path;
}

/* Adds the symbols of a separate debug file, read through a descriptor of their own. */
static void load_debug_symbols(struct symbolizer *sym, struct sym_module *mod,
			       const struct elf_handle *file)
{
	struct elf_handle *again = elf_handle__reopen(file);
	size_t budget = symbol_budget(sym) + symtab__bytes(mod->symbols);

	mod->has_debug_symbols = true;
	if (!again)
		return;
	symtab__set_limit(mod->symbols, budget);
	symtab__add_elf(mod->symbols, again, &mod->layout);
	symtab__seal(mod->symbols);
	elf_handle__free(again);
}

static void load_dwarf(struct symbolizer *sym, struct sym_module *mod)
{
	struct debug_query query = query_of(sym, mod);
	size_t symbols, limit;
	struct elf_handle *file;

	if (mod->origin && !mod->own_debug)
		query.path = query.link_name = ""; /* the host's only: the container has none */
	file = mod->own_debug ? elf_handle__reopen(mod->own_debug) : debug_file__find(&query);
	if (file && (!mod->own_debug || mod->own_is_separate) && !mod->has_debug_symbols)
		load_debug_symbols(sym, mod, file);
	symbols = symbol_bytes(sym);
	limit = symbols < sym->limit_bytes ? sym->limit_bytes - symbols : 0;
	if (file)
		mod->dwarf = dwarf_index__new(file, debug_file__find_alt(&query, file),
					      &mod->layout, limit);
	if (!mod->dwarf)
		mod->has_no_debug = true;
}

/* Drops indexes, the least recently used first, until the rest is within the limit. */
static void evict(struct symbolizer *sym)
{
	struct sym_module *mod, *oldest;

	while (symbol_bytes(sym) + dwarf_bytes(sym) > sym->limit_bytes) {
		oldest = NULL;
		for (mod = sym->modules; mod; mod = mod->next)
			if (mod->dwarf && (!oldest || mod->used_at < oldest->used_at))
				oldest = mod;
		if (!oldest)
			return;
		dwarf_index__free(oldest->dwarf);
		oldest->dwarf = NULL;
	}
}

/*
 * Whether the symbol at a function's start names it better than DWARF does: DWARF
 * has a bare name where the symbol has scope and parameters, or an internal one
 * (__libc_malloc, __GI___isoc99_vsscanf) where the symbol is what callers write.
 */
static bool is_better_symbol(const struct sym_frame *frame, const struct dwarf_func *func,
			     const struct symtab_hit *hit)
{
	size_t ours = strspn(frame->function, "_"), theirs = strspn(hit->name, "_");

	if (!frame->function[0])
		return true;
	if (hit->vaddr != func->vaddr || func->is_mangled)
		return false;
	if (hit->is_mangled || theirs < ours)
		return true;
	return ours && theirs == ours && strlen(hit->name) < strlen(frame->function);
}

/* Name and offset of the function itself, from the better of DWARF and symbols. */
static void finish_function(struct symbolizer *sym, struct sym_module *mod, uint64_t vaddr,
			    uint64_t shown_vaddr, struct sym_frame *frame,
			    const struct dwarf_func *func)
{
	struct symtab_hit hit;
	bool has_symbol = symtab__lookup(mod->symbols, sym->names, vaddr, &hit);

	if (has_symbol && (!func->is_found || is_better_symbol(frame, func, &hit)))
		frame->function = hit.name;
	if (func->is_found && func->vaddr)
		frame->offset = shown_vaddr - func->vaddr;
	else if (has_symbol)
		frame->offset = shown_vaddr - hit.vaddr;
}

/* One look-up in the debug information. */
struct dwarf_look_up {
	struct symbolizer *sym;
	struct sym_module *mod;
	uint64_t vaddr;
	struct sym_frame *frames;
	int max, cnt;
	struct dwarf_func func;
};

static void look_up(void *arg)
{
	struct dwarf_look_up *look = arg;
	struct sym_module *mod = look->mod;

	if (!mod->dwarf && !mod->has_no_debug)
		load_dwarf(look->sym, mod);
	if (mod->dwarf)
		look->cnt = dwarf_index__resolve(mod->dwarf, look->sym->names, look->vaddr,
						 look->frames, look->max, &look->func);
}

static bool is_long(const struct sym_module *mod, uint64_t vaddr)
{
	return mod->dwarf ? !dwarf_index__is_ready(mod->dwarf, vaddr) : !mod->has_no_debug;
}

int symbolizer__resolve(struct symbolizer *sym, struct sym_module *mod, uint64_t file_offset,
			bool is_return_address, struct sym_frame *frames, int max)
{
	uint64_t back = is_return_address && file_offset > 0;
	struct dwarf_look_up look = {.sym = sym, .mod = mod, .frames = frames, .max = max};
	size_t before = mod->dwarf ? dwarf_index__bytes(mod->dwarf) : 0;

	frames[0] = (struct sym_frame){.function = "", .file = ""};
	/* Back first: a call may be the last instruction of its segment. */
	if (!elf_layout__to_vaddr(&mod->layout, file_offset - back, &look.vaddr))
		return 1;
	mod->used_at = ++sym->clock;
	if (sym->run_long && is_long(mod, look.vaddr))
		sym->run_long(sym->run_arg, look_up, &look);
	else
		look_up(&look);
	if (!look.cnt)
		look.cnt = 1;
	finish_function(sym, mod, look.vaddr, look.vaddr + back, &frames[look.cnt - 1], &look.func);
	if (mod->dwarf && dwarf_index__bytes(mod->dwarf) != before)
		evict(sym);
	return look.cnt;
}
