/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The catalogue: one table of allocator functions, and the tell-tale symbols by
 * which the allocator in a file is known.
 *
 * A file is gone through twice: first for the functions themselves, then for the
 * function symbols next to them, which bound those without a size and forbid a
 * place behind another function's entry.
 *
 * C++'s operators new and delete are not here. Over glibc and musl they call
 * malloc and free. jemalloc, tcmalloc and mimalloc bring their own that do not,
 * but a return probe on a function that throws ends the program: the unwinder
 * cannot pass the kernel's return trampoline.
 *
 * Bounds: FOUND_MAX functions and CANDIDATES_MAX prefixes a file; more are not
 * looked at.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe/catalog.h"

#define FOUND_MAX          64
#define CANDIDATES_MAX     8
#define PREFIX_MAX         32
#define CODE_MAX_BYTES     ((64u << 10) + 1) /* one more than placement looks at */
#define UNSIZED_CODE_BYTES 4096

/* The standard names first: of aliases at one address the first here gives the name. */
static const struct catalog_entry {
	const char *name;
	enum uf_func func;
	int arg_cnt;
} catalog[] = {
	{ "malloc",             UF_MALLOC,         1 },
	{ "free",               UF_FREE,           1 },
	{ "calloc",             UF_CALLOC,         2 },
	{ "realloc",            UF_REALLOC,        2 },
	{ "reallocarray",       UF_REALLOCARRAY,   3 }, /* glibc: ends with a jump to realloc */
	{ "posix_memalign",     UF_POSIX_MEMALIGN, 3 },
	{ "aligned_alloc",      UF_ALIGNED,        2 },
	{ "memalign",           UF_ALIGNED,        2 },
	{ "valloc",             UF_MALLOC,         1 },
	{ "pvalloc",            UF_PVALLOC,        1 },
	{ "cfree",              UF_FREE,           1 },
	{ "free_sized",         UF_FREE,           1 },
	{ "free_aligned_sized", UF_FREE,           1 },
};

#define CATALOG_CNT (sizeof(catalog) / sizeof(catalog[0]))

/* A function of the catalogue, as found in the file. */
struct found {
	const struct catalog_entry *entry;
	uint64_t file_offset;
	uint64_t size_bytes;  /* 0: not said */
	uint64_t next_offset; /* of the next function symbol, UINT64_MAX if none */
	bool is_local;
};

struct search {
	const char *prefix;
	size_t prefix_len;
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

/* Keeps one per address: the first name in the catalogue, any size, global if one is. */
static void search__add(struct search *s, const struct catalog_entry *entry,
			const struct elf_symbol *sym)
{
	for (uint32_t i = 0; i < s->cnt; i++) {
		struct found *f = &s->found[i];

		if (f->file_offset != sym->file_offset)
			continue;
		if (entry < f->entry)
			f->entry = entry;
		if (sym->size_bytes > f->size_bytes)
			f->size_bytes = sym->size_bytes;
		f->is_local &= sym->is_local;
		return;
	}
	if (s->cnt == FOUND_MAX)
		return;
	s->found[s->cnt++] = (struct found){
		.entry = entry,
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
	for (size_t i = 0; i < CATALOG_CNT; i++) {
		if (is_name(sym->name, s->prefix, s->prefix_len, catalog[i].name))
			search__add(s, &catalog[i], sym);
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

static bool search__has(const struct search *s, const char *name, bool global_only)
{
	for (uint32_t i = 0; i < s->cnt; i++) {
		if (!strcmp(s->found[i].entry->name, name) &&
		    !(global_only && s->found[i].is_local))
			return true;
	}
	return false;
}

/*
 * A local symbol may be an allocator that the linker hid, or somebody's static
 * function that happens to be called "free": believed only if the file has both
 * malloc and free, and no global one of the name.
 */
static void search__drop_doubtful(struct search *s)
{
	bool whole = search__has(s, "malloc", false) && search__has(s, "free", false);
	bool doubtful[FOUND_MAX];
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->cnt; i++) {
		const struct found *f = &s->found[i];

		doubtful[i] = f->is_local && (!whole || search__has(s, f->entry->name, true));
	}
	for (uint32_t i = 0; i < s->cnt; i++) {
		if (!doubtful[i])
			s->found[kept++] = s->found[i];
	}
	s->cnt = kept;
}

/* -- where to probe them -- */

/* Never at or behind the next function's entry: no two functions share a place. */
static int place(const struct elf_image *img, const struct found *f, uint8_t *code,
		 struct placement *out)
{
	uint64_t to_next = f->next_offset - f->file_offset;
	uint64_t size = f->size_bytes;
	long got;
	int err;

	if (!size)
		size = to_next < UNSIZED_CODE_BYTES ? to_next : UNSIZED_CODE_BYTES;
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
static int add_point(const struct elf_image *img, const struct search *s, const struct found *f,
		     uint8_t *code, struct probe_points *out)
{
	struct probe_point *point = &out->points[out->cnt];
	int err;

	memset(point, 0, sizeof(*point));
	err = place(img, f, code, &point->placement);
	if (err)
		return err == -EINVAL ? 0 : err;
	memcpy(point->name, s->prefix, s->prefix_len);
	strcpy(point->name + s->prefix_len, f->entry->name);
	point->func = f->entry->func;
	point->func_offset = f->file_offset;
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
		err = add_point(img, s, &s->found[i], code, out);
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

static bool prefix_fits(const char *prefix)
{
	size_t len = strlen(prefix);

	for (size_t i = 0; i < CATALOG_CNT; i++) {
		if (len + strlen(catalog[i].name) >= sizeof(((struct probe_point *)0)->name))
			return false;
	}
	return true;
}

int probe_points__find(const struct elf_image *img, const char *prefix, struct probe_points *out)
{
	struct search s = { .prefix = prefix ? prefix : "" };
	struct survey v;
	int err;

	memset(out, 0, sizeof(*out));
	s.prefix_len = strlen(s.prefix);
	if (!prefix_fits(s.prefix))
		return -ENAMETOOLONG;
	err = elf_image__for_each_function(img, search__see_name, &s);
	if (!err)
		err = elf_image__for_each_function(img, search__see_neighbour, &s);
	search__drop_doubtful(&s);
	if (!err)
		err = place_all(img, &s, out);
	if (!err && out->cnt) {
		err = survey__take(&v, img);
		out->allocator = survey__with_prefix(&v, s.prefix);
	}
	if (err)
		probe_points__release(out);
	return err;
}

void probe_points__release(struct probe_points *points)
{
	free(points->points);
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
