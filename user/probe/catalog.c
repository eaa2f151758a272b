/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Finding the functions of the catalogue (catalog_names.c) in a file, and the tell-tale
 * symbols by which the allocators in it are known.
 *
 * A file is gone through for the tell-tales first, which say under which prefixes to
 * look; then for the functions themselves; then for the function symbols next to them,
 * which bound those without a size and forbid a place behind another function's entry.
 *
 * C++'s operators new and delete call malloc and free over glibc and musl. jemalloc,
 * tcmalloc and mimalloc bring their own that do not. They throw, and a return
 * probe on a function that throws ends the program: the unwinder cannot pass the
 * kernel's return trampoline. So their returns are looked up one by one (exits.h).
 *
 * Bounds: FOUND_MAX functions and CANDIDATES_MAX prefixes a file; more are not
 * looked at.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe/catalog.h"
#include "probe/catalog_names.h"
#include "probe/exits.h"

#define FOUND_MAX          192
#define CANDIDATES_MAX     8
#define PREFIX_MAX         32
#define CODE_MAX_BYTES     ((64u << 10) + 1) /* one more than placement looks at */
#define UNSIZED_CODE_BYTES 4096

#define SETS_MAX           (CANDIDATES_MAX + 1) /* the plain names, the candidates but one, operators */

/* Names that are looked for: of these families, each with the prefix. */
struct name_set {
	const char *prefix;
	size_t prefix_len;
	uint32_t families;
};

/* A function of the catalogue, as found in the file. */
struct found {
	const struct catalog_name *entry;
	const struct name_set *set;
	uint32_t flags;
	uint64_t vaddr;
	uint64_t file_offset;
	uint64_t size_bytes;  /* 0: not said */
	uint64_t next_offset; /* of the next function symbol, UINT64_MAX if none */
	bool is_local;
};

struct search {
	struct name_set sets[SETS_MAX];
	uint32_t set_cnt;
	struct found found[FOUND_MAX];
	uint32_t cnt;
};

/* Whether name is prefix + base. */
static bool is_name(const char *name, const char *prefix, size_t prefix_len, const char *base)
{
	return !strncmp(name, prefix, prefix_len) && !strcmp(name + prefix_len, base);
}

/* The part of name before suffix, as a length; -1 if it ends otherwise. */
static long head_len(const char *name, const char *suffix)
{
	size_t len = strlen(name), tail = strlen(suffix);

	return len >= tail && !strcmp(name + len - tail, suffix) ? (long)(len - tail) : -1;
}

static bool allocates(enum uf_func func)
{
	return func != UF_FREE && func != UF_FUNC_NONE;
}

/* -- which functions -- */

static void search__add_set(struct search *s, const char *prefix, uint32_t families)
{
	s->sets[s->set_cnt++] = (struct name_set){
		.prefix = prefix,
		.prefix_len = strlen(prefix),
		.families = families,
	};
}

/* Sets and names are in order of preference. */
static bool is_better(const struct name_set *set, const struct catalog_name *entry,
		      const struct found *than)
{
	return set < than->set || (set == than->set && entry < than->entry);
}

/*
 * Keeps one per address: the first name, any size, global if one is. One name that may throw is
 * enough: no return probe then.
 */
static void search__add(struct search *s, const struct name_set *set,
			const struct catalog_name *entry, const struct elf_symbol *sym)
{
	for (uint32_t i = 0; i < s->cnt; i++) {
		struct found *f = &s->found[i];
		uint32_t throws = (f->flags | entry->flags) & UF_COOKIE_MAY_THROW;

		if (f->file_offset != sym->file_offset)
			continue;
		if (is_better(set, entry, f)) {
			f->set = set;
			f->entry = entry;
		}
		f->flags = f->entry->flags | throws;
		if (sym->size_bytes > f->size_bytes)
			f->size_bytes = sym->size_bytes;
		f->is_local &= sym->is_local;
		return;
	}
	if (s->cnt == FOUND_MAX)
		return;
	s->found[s->cnt++] = (struct found){
		.entry = entry,
		.set = set,
		.flags = entry->flags,
		.vaddr = sym->vaddr,
		.file_offset = sym->file_offset,
		.size_bytes = sym->size_bytes,
		.next_offset = UINT64_MAX,
		.is_local = sym->is_local,
	};
}

static int search__see_name(const struct elf_symbol *sym, void *arg)
{
	struct search *s = arg;

	if (sym->is_ifunc) /* where it leads is only known in the process */
		return 0;
	for (uint32_t i = 0; i < s->set_cnt; i++) {
		const struct name_set *set = &s->sets[i];
		const struct catalog_name *entry = NULL;

		if (!strncmp(sym->name, set->prefix, set->prefix_len))
			entry = catalog_names__find(sym->name + set->prefix_len, set->families);
		if (entry)
			search__add(s, set, entry, sym);
	}
	return 0;
}

static int search__see_neighbour(const struct elf_symbol *sym, void *arg)
{
	struct search *s = arg;

	for (uint32_t i = 0; i < s->cnt; i++) {
		struct found *f = &s->found[i];

		if (sym->file_offset > f->file_offset && sym->file_offset < f->next_offset)
			f->next_offset = sym->file_offset;
	}
	return 0;
}

static bool search__has(const struct search *s, const struct name_set *set, const char *name,
			bool global_only)
{
	for (uint32_t i = 0; i < s->cnt; i++) {
		const struct found *f = &s->found[i];

		if (f->set == set && !strcmp(f->entry->name, name) &&
		    !(global_only && f->is_local))
			return true;
	}
	return false;
}

/*
 * A local symbol may be an allocator that the linker hid, or somebody's static
 * function that happens to be called "free": believed only if the file has both
 * malloc and free, and no global one of the name.
 */
static bool search__doubts(const struct search *s, const struct found *f)
{
	bool whole = f->set->families == FAMILY_BIT(FAMILY_CXX) ||
		     (search__has(s, f->set, "malloc", false) &&
		      search__has(s, f->set, "free", false));

	return f->is_local && (!whole || search__has(s, f->set, f->entry->name, true));
}

static void search__drop_doubtful(struct search *s)
{
	bool doubtful[FOUND_MAX];
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->cnt; i++)
		doubtful[i] = search__doubts(s, &s->found[i]);
	for (uint32_t i = 0; i < s->cnt; i++) {
		if (!doubtful[i])
			s->found[kept++] = s->found[i];
	}
	s->cnt = kept;
}

static const struct found *search__at(const struct search *s, uint64_t vaddr)
{
	for (uint32_t i = 0; i < s->cnt; i++)
		if (s->found[i].vaddr == vaddr)
			return &s->found[i];
	return NULL;
}

/* -- which of them are needed, and where those return that may throw -- */

static bool is_found(void *arg, uint64_t vaddr)
{
	return search__at(arg, vaddr);
}

/* What only jumps to another, as operator delete to free, is told of by that. */
static void search__drop_forwarders(struct search *s, const struct exits *exits)
{
	bool forwards[FOUND_MAX];
	uint32_t kept = 0;
	uint64_t target;

	for (uint32_t i = 0; i < s->cnt; i++) {
		const struct found *f = &s->found[i], *to = NULL;

		if (exits__forwards(exits, f->vaddr, &target) && target != f->vaddr)
			to = search__at(s, target);
		forwards[i] = to && to->entry->func == f->entry->func;
	}
	for (uint32_t i = 0; i < s->cnt; i++) {
		if (!forwards[i])
			s->found[kept++] = s->found[i];
	}
	s->cnt = kept;
}

/* Drops those that cannot be probed; the others' exits are in exits. */
static int search__find_exits(struct search *s, struct exits *exits, int exits_err,
			      struct probe_points *out)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->cnt; i++) {
		const struct found *f = &s->found[i];
		char why[80] = "the file has no .eh_frame";
		int err = 0;

		if (f->flags & UF_COOKIE_MAY_THROW)
			err = exits ? exits__add(exits, f->vaddr, why, sizeof(why)) : exits_err;
		if (err == -ENOMEM || err == -EIO)
			return err;
		if (err && !out->refused_cnt++)
			snprintf(out->refused, sizeof(out->refused), "%s%.48s: %s", f->set->prefix,
				 f->entry->name, why);
		if (!err)
			s->found[kept++] = *f;
	}
	s->cnt = kept;
	return 0;
}

static int copy_exits(const struct exits *exits, struct probe_points *out)
{
	const uint64_t *offsets = exits__offsets(exits, &out->exit_cnt);

	if (!out->exit_cnt)
		return 0;
	out->exits = malloc(out->exit_cnt * sizeof(*out->exits));
	if (!out->exits)
		return -ENOMEM;
	memcpy(out->exits, offsets, out->exit_cnt * sizeof(*out->exits));
	return 0;
}

static bool search__has_operators(const struct search *s)
{
	for (uint32_t i = 0; i < s->cnt; i++)
		if (s->found[i].flags & UF_COOKIE_MAY_THROW)
			return true;
	return false;
}

static int search__settle_operators(struct search *s, const struct elf_image *img,
				    struct probe_points *out)
{
	struct exits *exits;
	int err;

	if (!search__has_operators(s))
		return 0;
	exits = elf_image__arch(img) == ELF_ARCH_X86_64 ? exits__new(img, is_found, s) : NULL;
	err = exits ? 0 : -EOPNOTSUPP;
	if (exits)
		search__drop_forwarders(s, exits);
	err = search__find_exits(s, exits, err, out);
	if (!err && exits)
		err = copy_exits(exits, out);
	exits__free(exits);
	return err;
}

/* -- where to probe them -- */

static uint64_t code_bytes(const struct found *f)
{
	uint64_t to_next = f->next_offset - f->file_offset;

	if (f->size_bytes)
		return f->size_bytes;
	return to_next < UNSIZED_CODE_BYTES ? to_next : UNSIZED_CODE_BYTES;
}

/* Never at or behind the next function's entry: no two functions share a place. */
static int place(const struct elf_image *img, const struct found *f, uint8_t *code,
		 struct placement *out)
{
	uint64_t to_next = f->next_offset - f->file_offset, size = code_bytes(f);
	long got;
	int err;

	got = elf_image__read_code(img, f->file_offset, code,
				   size < CODE_MAX_BYTES ? size : CODE_MAX_BYTES);
	if (got < 0)
		return (int)got;
	err = placement__choose(elf_image__arch(img), code, (size_t)got, f->entry->arg_cnt, out);
	if (!err && out->offset >= to_next)
		err = placement__at_entry(elf_image__arch(img), code, (size_t)got, out);
	return err;
}

/* Appends a point; leaves out a function that cannot be decoded: no probe would attach. */
static int add_point(const struct elf_image *img, const struct found *f, uint8_t *code,
		     struct probe_points *out)
{
	struct probe_point *point = &out->points[out->cnt];
	int err;

	memset(point, 0, sizeof(*point));
	err = place(img, f, code, &point->placement);
	if (err)
		return err == -EINVAL ? 0 : err;
	snprintf(point->name, sizeof(point->name), "%s%s", f->set->prefix, f->entry->name);
	point->func = f->entry->func;
	point->flags = f->flags;
	point->arg_cnt = f->entry->arg_cnt;
	point->func_offset = f->file_offset;
	point->func_bytes = code_bytes(f);
	point->probe_offset = f->file_offset + point->placement.offset;
	out->cnt++;
	return 0;
}

static int by_probe_offset(const void *a, const void *b)
{
	const struct probe_point *pa = a, *pb = b;

	return pa->probe_offset < pb->probe_offset ? -1 : pa->probe_offset > pb->probe_offset;
}

static int place_all(const struct elf_image *img, const struct search *s, struct probe_points *out)
{
	uint8_t *code;
	int err = 0;

	if (!s->cnt)
		return 0;
	code = malloc(CODE_MAX_BYTES);
	out->points = calloc(s->cnt, sizeof(*out->points));
	if (!code || !out->points)
		err = -ENOMEM;
	for (uint32_t i = 0; !err && i < s->cnt; i++)
		err = add_point(img, &s->found[i], code, out);
	free(code);
	if (err)
		return err;
	qsort(out->points, out->cnt, sizeof(*out->points), by_probe_offset);
	for (uint32_t i = 0; i < out->cnt; i++) {
		out->has_alloc |= allocates(out->points[i].func);
		out->has_free |= out->points[i].func == UF_FREE;
	}
	return 0;
}

/* -- which allocator -- */

/* An allocator that a symbol tells of, with the prefix that its name has. */
struct candidate {
	enum allocator allocator;
	char prefix[PREFIX_MAX];
	bool has_free;
	uint64_t malloc_offset; /* 0: none */
};

/*
 * The first candidate stands for the plain names and is told by other symbols;
 * those after it by a symbol that bears the prefix.
 */
struct survey {
	struct candidate candidates[CANDIDATES_MAX];
	uint32_t cnt;
	bool tells[ALLOCATOR_OTHER + 1];
};

static void survey__add(struct survey *v, enum allocator allocator, const char *name, long len)
{
	if (len < 0 || len >= PREFIX_MAX || v->cnt == CANDIDATES_MAX)
		return;
	for (uint32_t i = 1; i < v->cnt; i++) {
		if (v->candidates[i].allocator == allocator &&
		    is_name(v->candidates[i].prefix, name, (size_t)len, ""))
			return;
	}
	v->candidates[v->cnt].allocator = allocator;
	memcpy(v->candidates[v->cnt].prefix, name, (size_t)len);
	v->cnt++;
}

/*
 * Tells, those that only the allocator's own code defines:
 *   mallctl         jemalloc's, with the prefix of its public functions
 *   mi_thread_init  mimalloc's; "mi_" belongs to the prefix. Tracers wrap mi_malloc, not this
 *   tc_malloc       gperftools' tcmalloc's; likewise "tc_"
 *   TCMallocInternalMalloc  Google's newer tcmalloc
 *   gnu_get_libc_version    glibc's; _int_malloc in static programs
 *   __dls3          musl's loader, in its shared library; the others in static programs
 */
static int survey__see_tell(const struct elf_symbol *sym, void *arg)
{
	static const struct { const char *name; enum allocator allocator; } tells[] = {
		{ "TCMallocInternalMalloc", ALLOCATOR_TCMALLOC },
		{ "gnu_get_libc_version",   ALLOCATOR_GLIBC },
		{ "_int_malloc",            ALLOCATOR_GLIBC },
		{ "__dls3",                 ALLOCATOR_MUSL },
		{ "__malloc_donate",        ALLOCATOR_MUSL },
		{ "__libc_malloc_impl",     ALLOCATOR_MUSL },
		{ "__simple_malloc",        ALLOCATOR_MUSL },
		{ "__expand_heap",          ALLOCATOR_MUSL },
	};
	struct survey *v = arg;
	long len;

	survey__add(v, ALLOCATOR_JEMALLOC, sym->name, head_len(sym->name, "mallctl"));
	len = head_len(sym->name, "mi_thread_init");
	survey__add(v, ALLOCATOR_MIMALLOC, sym->name, len < 0 ? len : len + 3);
	if (!strcmp(sym->name, "tc_malloc"))
		survey__add(v, ALLOCATOR_TCMALLOC, sym->name, 3);
	for (size_t i = 0; i < sizeof(tells) / sizeof(tells[0]); i++) {
		if (!strcmp(sym->name, tells[i].name))
			v->tells[tells[i].allocator] = true;
	}
	return 0;
}

static int survey__see_function(const struct elf_symbol *sym, void *arg)
{
	struct survey *v = arg;

	for (uint32_t i = 0; i < v->cnt; i++) {
		struct candidate *c = &v->candidates[i];
		size_t len = strlen(c->prefix);

		if (is_name(sym->name, c->prefix, len, "malloc"))
			c->malloc_offset = sym->file_offset;
		else if (is_name(sym->name, c->prefix, len, "free"))
			c->has_free = true;
	}
	return 0;
}

static int survey__take(struct survey *v, const struct elf_image *img)
{
	int err;

	memset(v, 0, sizeof(*v));
	v->cnt = 1;
	err = elf_image__for_each_function(img, survey__see_tell, v);
	if (!err)
		err = elf_image__for_each_function(img, survey__see_function, v);
	return err;
}

static bool is_whole(const struct candidate *c)
{
	return c->malloc_offset && c->has_free;
}

/* Whether the plain malloc is an alias of a candidate's: the prefix is then not needed. */
static bool survey__overrides(const struct survey *v, const struct candidate *c)
{
	return is_whole(c) && c->malloc_offset == v->candidates[0].malloc_offset;
}

/* Whose the functions without a prefix are. */
static enum allocator survey__plain(const struct survey *v)
{
	static const enum allocator order[] = {
		ALLOCATOR_TCMALLOC, ALLOCATOR_GLIBC, ALLOCATOR_MUSL,
	};
	const struct candidate *plain = &v->candidates[0];

	if (!plain->malloc_offset)
		return ALLOCATOR_NONE;
	for (uint32_t i = 1; i < v->cnt; i++) {
		if (survey__overrides(v, &v->candidates[i]))
			return v->candidates[i].allocator;
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (v->tells[order[i]])
			return order[i];
	}
	return is_whole(plain) ? ALLOCATOR_OTHER : ALLOCATOR_NONE;
}

static enum allocator survey__with_prefix(const struct survey *v, const char *prefix)
{
	if (!prefix[0])
		return survey__plain(v);
	for (uint32_t i = 1; i < v->cnt; i++) {
		if (is_whole(&v->candidates[i]) && !strcmp(v->candidates[i].prefix, prefix))
			return v->candidates[i].allocator;
	}
	return ALLOCATOR_OTHER;
}

/* -- the interface -- */

const char *allocator__name(enum allocator allocator)
{
	switch (allocator) {
	case ALLOCATOR_NONE:     return "none";
	case ALLOCATOR_GLIBC:    return "glibc";
	case ALLOCATOR_MUSL:     return "musl";
	case ALLOCATOR_JEMALLOC: return "jemalloc";
	case ALLOCATOR_TCMALLOC: return "tcmalloc";
	case ALLOCATOR_MIMALLOC: return "mimalloc";
	case ALLOCATOR_OTHER:    return "other";
	}
	return "unknown";
}

/* The families that a prefix may stand before. */
static uint32_t families_of(const char *prefix)
{
	uint32_t families = FAMILY_BIT(FAMILY_STANDARD) | FAMILY_BIT(FAMILY_JEMALLOC);

	if (head_len(prefix, "tc_") >= 0)
		families |= FAMILY_BIT(FAMILY_TCMALLOC);
	if (head_len(prefix, "mi_") >= 0)
		families |= FAMILY_BIT(FAMILY_MIMALLOC);
	return families;
}

static bool prefix_fits(const char *prefix)
{
	uint32_t families = families_of(prefix);
	size_t len = strlen(prefix);

	for (size_t i = 0; i < catalog_name_cnt; i++) {
		if (families & FAMILY_BIT(catalog_names[i].family) &&
		    len + strlen(catalog_names[i].name) >=
			    sizeof(((struct probe_point *)0)->name))
			return false;
	}
	return true;
}

/* Has the file an allocator of its own but a C library's, over which operators call malloc? */
static bool survey__bypasses_malloc(const struct survey *v)
{
	enum allocator plain = survey__plain(v);

	for (uint32_t i = 1; i < v->cnt; i++)
		if (is_whole(&v->candidates[i]))
			return true;
	return plain != ALLOCATOR_NONE && plain != ALLOCATOR_GLIBC && plain != ALLOCATOR_MUSL;
}

static void search__choose_sets(struct search *s, const struct survey *v, const char *prefix)
{
	search__add_set(s, prefix, families_of(prefix));
	if (prefix[0])
		return;
	for (uint32_t i = 1; i < v->cnt; i++)
		if (is_whole(&v->candidates[i]) && v->candidates[i].prefix[0])
			search__add_set(s, v->candidates[i].prefix,
					families_of(v->candidates[i].prefix));
	if (survey__bypasses_malloc(v))
		search__add_set(s, "", FAMILY_BIT(FAMILY_CXX));
}

/* An allocator of the file. With a prefix of its own, if there is no other. */
static enum allocator survey__any(const struct survey *v, const char *prefix)
{
	enum allocator allocator = survey__with_prefix(v, prefix);

	for (uint32_t i = 1; allocator == ALLOCATOR_NONE && i < v->cnt; i++)
		if (is_whole(&v->candidates[i]))
			allocator = v->candidates[i].allocator;
	return allocator;
}

/*
 * A function that allocates may end with a jump to another that does; but not a C library's own
 * malloc.
 */
static void mark_forwarders(struct probe_points *points)
{
	bool is_libc = points->allocator == ALLOCATOR_GLIBC || points->allocator == ALLOCATOR_MUSL;

	for (uint32_t i = 0; i < points->cnt; i++) {
		struct probe_point *point = &points->points[i];

		if (allocates(point->func) && !(is_libc && point->func == UF_MALLOC))
			point->flags |= UF_COOKIE_MAY_FORWARD;
	}
}

int probe_points__find(const struct elf_image *img, const char *prefix, struct probe_points *out)
{
	struct search s = {0};
	struct survey v;
	int err;

	memset(out, 0, sizeof(*out));
	if (!prefix)
		prefix = "";
	if (!prefix_fits(prefix))
		return -ENAMETOOLONG;
	err = survey__take(&v, img);
	if (!err) {
		search__choose_sets(&s, &v, prefix);
		err = elf_image__for_each_function(img, search__see_name, &s);
	}
	if (!err && s.cnt)
		err = elf_image__for_each_function(img, search__see_neighbour, &s);
	search__drop_doubtful(&s);
	if (!err)
		err = search__settle_operators(&s, img, out);
	if (!err)
		err = place_all(img, &s, out);
	if (out->cnt)
		out->allocator = survey__any(&v, prefix);
	mark_forwarders(out);
	if (err)
		probe_points__release(out);
	return err;
}

void probe_points__release(struct probe_points *points)
{
	free(points->points);
	free(points->exits);
	memset(points, 0, sizeof(*points));
}

enum allocator allocator__recognize(const struct elf_image *img, char *prefix, size_t prefix_size)
{
	struct survey v;

	if (prefix_size)
		prefix[0] = '\0';
	if (survey__take(&v, img))
		return ALLOCATOR_NONE;
	for (uint32_t i = 1; i < v.cnt; i++) {
		const struct candidate *c = &v.candidates[i];

		if (is_whole(c) && c->prefix[0] && !survey__overrides(&v, c) &&
		    strlen(c->prefix) < prefix_size) {
			strcpy(prefix, c->prefix);
			return c->allocator;
		}
	}
	return survey__plain(&v);
}
