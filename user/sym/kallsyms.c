/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "sym/kallsyms.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 *	ffffffff81000000 T _text
 *	ffffffffc0a01000 t ext4_alloc_inode	[ext4]
 *
 * The text is kept as it is, with NULs in it; a symbol is where its name and its module begin.
 */

struct symbol {
	uint64_t start;
	uint32_t name;   /* offset into the text */
	uint32_t module; /* likewise */
	uint32_t order;  /* of the listing: of several names of an address the first is taken */
};

struct kallsyms {
	char *text;
	struct symbol *symbols;
	uint32_t cnt, max;
	bool has_addresses;
};

/* The whole stream, NUL-terminated; the caller's. NULL with errno. */
static char *read_all(FILE *in, size_t *size)
{
	size_t max = 1 << 20, used = 0;
	char *text = malloc(max + 1);

	while (text) {
		char *more;

		used += fread(text + used, 1, max - used, in);
		if (used < max)
			break;
		max *= 2;
		more = max <= KALLSYMS_MAX_BYTES ? realloc(text, max + 1) : NULL;
		if (!more) {
			errno = max <= KALLSYMS_MAX_BYTES ? ENOMEM : EFBIG;
			free(text);
			return NULL;
		}
		text = more;
	}
	if (text && ferror(in)) {
		errno = EIO;
		free(text);
		return NULL;
	}
	if (text)
		text[used] = 0;
	*size = used;
	return text;
}

static int add_symbol(struct kallsyms *syms, uint64_t start, uint32_t name, uint32_t module)
{
	if (syms->cnt == syms->max) {
		uint32_t max = syms->max ? syms->max * 2 : 1 << 16;
		struct symbol *symbols = reallocarray(syms->symbols, max, sizeof(*symbols));

		if (!symbols)
			return -ENOMEM;
		syms->symbols = symbols;
		syms->max = max;
	}
	syms->symbols[syms->cnt] = (struct symbol){start, name, module, syms->cnt};
	syms->cnt++;
	return 0;
}

/* Where "[ext4]" of a line has its name, which is cut to it; empty: the line's end. */
static char *cut_module(char *after_name, char *end)
{
	char *open = memchr(after_name, '[', end - after_name);
	char *close = open ? memchr(open, ']', end - open) : NULL;

	if (!close)
		return end;
	*close = 0;
	return open + 1;
}

/* One line, whose end is a NUL already. 0 or -ENOMEM. */
static int parse_line(struct kallsyms *syms, char *line, char *end)
{
	char *type, *name, *after, *module;
	uint64_t start;

	if (!isxdigit((unsigned char)*line))
		return 0;
	errno = 0;
	start = strtoull(line, &type, 16);
	/* " T name" */
	if (errno || end - type < 4 || type[0] != ' ' || type[2] != ' ')
		return 0;
	syms->has_addresses |= start != 0;
	if (!type[1] || !strchr("tTwW", type[1]) || !start)
		return 0;
	name = type + 3;
	after = name + strcspn(name, " \t");
	if (after == name)
		return 0;
	module = after < end ? cut_module(after + 1, end) : end;
	*after = 0;
	return add_symbol(syms, start, name - syms->text, module - syms->text);
}

static int compare_symbols(const void *left, const void *right)
{
	const struct symbol *a = left, *b = right;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

static int parse_text(struct kallsyms *syms, size_t size)
{
	char *at = syms->text, *end = syms->text + size;
	int err = 0;

	while (!err && at < end) {
		char *line_end = memchr(at, '\n', end - at);

		if (!line_end)
			line_end = end;
		*line_end = 0;
		err = parse_line(syms, at, line_end);
		at = line_end + 1;
	}
	if (err)
		return err;
	if (!syms->has_addresses)
		return -EACCES;
	if (syms->cnt)
		qsort(syms->symbols, syms->cnt, sizeof(*syms->symbols), compare_symbols);
	return 0;
}

struct kallsyms *kallsyms__parse(FILE *in)
{
	struct kallsyms *syms = calloc(1, sizeof(*syms));
	size_t size = 0;
	int err;

	if (!syms)
		return NULL;
	syms->text = read_all(in, &size);
	err = syms->text ? parse_text(syms, size) : -errno;
	if (err) {
		kallsyms__free(syms);
		errno = -err;
		return NULL;
	}
	return syms;
}

struct kallsyms *kallsyms__read(void)
{
	FILE *in = fopen("/proc/kallsyms", "re");
	struct kallsyms *syms;
	int err;

	if (!in)
		return NULL;
	syms = kallsyms__parse(in);
	err = errno;
	fclose(in);
	errno = err;
	return syms;
}

void kallsyms__free(struct kallsyms *syms)
{
	if (!syms)
		return;
	free(syms->symbols);
	free(syms->text);
	free(syms);
}

/* Marks where the kernel's code ends; nothing lies in it. */
static bool is_end(const char *name)
{
	return strcmp(name, "_etext") == 0 || strcmp(name, "_einittext") == 0;
}

/* Index of the last symbol that starts at or before the address; -1: none. */
static int64_t last_before(const struct kallsyms *syms, uint64_t address)
{
	int64_t low = 0, high = syms->cnt;

	while (low < high) {
		int64_t middle = low + (high - low) / 2;

		if (syms->symbols[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

bool kallsyms__find(const struct kallsyms *syms, uint64_t address, struct kernel_symbol *out)
{
	const struct symbol *symbols = syms->symbols;
	int64_t i = last_before(syms, address);
	bool ends;

	if (i < 0)
		return false;
	ends = is_end(syms->text + symbols[i].name);
	for (; i && symbols[i - 1].start == symbols[i].start; i--)
		ends |= is_end(syms->text + symbols[i - 1].name);
	out->name = syms->text + symbols[i].name;
	out->module = syms->text + symbols[i].module;
	out->offset = address - symbols[i].start;
	return out->offset < KALLSYMS_MAX_FUNCTION_BYTES && !ends;
}
