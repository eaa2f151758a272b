/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * The probe copies a code object out of a process that anybody may have
 * written, while it runs: every count in the copy is compared with the room there is. Strings
 * are converted once, to UTF-8 without gaps: what no character can be (a lone
 * surrogate, as Python makes of file names that do not decode; NUL, which would
 * end the string) becomes U+FFFD.
 *
 * Bounds: strings are as long as the copy allows; a line table is at most
 * LINETABLE_MAX_BYTES, which is millions of instructions in one function.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/code_object.h"
#include "python/line_table.h"

#define LINETABLE_MAX_BYTES (16u << 20)
#define REPLACEMENT         0xfffd
#define UTF8_MAX            4
#define CUT                 "..."

struct python_code {
	char *filename, *qualname;
	int32_t first_line;
	uint32_t version_hex;
	uint64_t linetable_address;
	uint32_t linetable_length;   /* of the whole */
	uint32_t linetable_byte_cnt; /* held */
	uint8_t *linetable;
};

/* Writes a character; returns its bytes, at most UTF8_MAX. */
static size_t put_utf8(char *out, uint32_t c)
{
	if (!c || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
		c = REPLACEMENT;
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* The characters that are there in full; 0 if the string could not be read. */
static uint32_t char_cnt(const struct uf_python_str *str)
{
	uint32_t bytes = str->byte_cnt < UF_PYTHON_STR_BYTES ? str->byte_cnt : UF_PYTHON_STR_BYTES;

	if (str->kind != 1 && str->kind != 2 && str->kind != 4)
		return 0;
	return bytes / str->kind < str->length ? bytes / str->kind : str->length;
}

/* Allocated; NULL without memory. */
static char *to_utf8(const struct uf_python_str *str)
{
	uint32_t cnt = char_cnt(str);
	char *out = malloc((size_t)cnt * UTF8_MAX + sizeof(CUT));
	size_t len = 0;

	if (!out)
		return NULL;
	for (uint32_t i = 0; i < cnt; i++) {
		uint32_t c = 0; /* the characters are little-endian, as we are */

		memcpy(&c, str->bytes + (size_t)i * str->kind, str->kind);
		len += put_utf8(out + len, c);
	}
	out[len] = '\0';
	if (cnt && cnt < str->length)
		memcpy(out + len, CUT, sizeof(CUT));
	return out;
}

/*
 * Code can be given another name than that of its function's definition, as numpy does for what it
 * generates: then the qualified name still tells the old one.
 */
static bool was_renamed(const struct uf_python_code *copy, const char *qualname, const char *name)
{
	const char *dot = strrchr(qualname, '.');

	return *name && char_cnt(&copy->qualname) == copy->qualname.length &&
	       strcmp(dot ? dot + 1 : qualname, name) != 0;
}

/* The qualified name, or its new name if it was renamed. Allocated; NULL without memory. */
static char *name_of(const struct uf_python_code *copy)
{
	char *qualname = to_utf8(&copy->qualname), *name = to_utf8(&copy->name);

	if (qualname && name && was_renamed(copy, qualname, name)) {
		free(qualname);
		return name;
	}
	free(name);
	return qualname;
}

static int copy_linetable(struct python_code *code, const void *bytes, uint32_t length)
{
	uint8_t *table = malloc(length ? length : 1);

	if (!table)
		return -ENOMEM;
	memcpy(table, bytes, length);
	free(code->linetable);
	code->linetable = table;
	code->linetable_byte_cnt = length;
	return 0;
}

struct python_code *python_code__new(const struct uf_python_code *copy)
{
	uint32_t byte_cnt = copy->linetable_byte_cnt;
	struct python_code *code;

	if (byte_cnt > UF_PYTHON_LINETABLE_BYTES)
		byte_cnt = UF_PYTHON_LINETABLE_BYTES;
	if (byte_cnt > copy->linetable_length)
		byte_cnt = copy->linetable_length;
	if (!byte_cnt && !char_cnt(&copy->filename) && !char_cnt(&copy->qualname)) {
		errno = EINVAL;
		return NULL;
	}
	code = calloc(1, sizeof(*code));
	if (!code)
		return NULL;
	code->first_line = copy->firstlineno;
	code->version_hex = copy->version_hex;
	code->linetable_address = copy->linetable_address;
	code->linetable_length = copy->linetable_length;
	code->filename = to_utf8(&copy->filename);
	code->qualname = name_of(copy);
	if (!code->filename || !code->qualname ||
	    copy_linetable(code, copy->linetable, byte_cnt) < 0) {
		python_code__free(code);
		errno = ENOMEM;
		return NULL;
	}
	return code;
}

void python_code__free(struct python_code *code)
{
	if (!code)
		return;
	free(code->filename);
	free(code->qualname);
	free(code->linetable);
	free(code);
}

const char *python_code__filename(const struct python_code *code)
{
	return code->filename;
}

const char *python_code__qualname(const struct python_code *code)
{
	return code->qualname;
}

uint32_t python_code__line(const struct python_code *code, uint32_t instr_offset_bytes)
{
	struct line_table table = {
		.bytes = code->linetable,
		.size_bytes = code->linetable_byte_cnt,
		.is_cut = code->linetable_byte_cnt < code->linetable_length,
		.first_line = code->first_line,
		.version_hex = code->version_hex,
	};

	return line_table__find(&table, (int32_t)instr_offset_bytes);
}

bool python_code__needs_more(const struct python_code *code, uint64_t *address, uint32_t *length)
{
	*address = code->linetable_address;
	*length = code->linetable_length;
	return code->linetable_byte_cnt < code->linetable_length && code->linetable_address &&
	       code->linetable_length <= LINETABLE_MAX_BYTES;
}

int python_code__set_linetable(struct python_code *code, const void *bytes, uint32_t length)
{
	if (length > code->linetable_length || length < code->linetable_byte_cnt)
		return -EINVAL;
	if (length > LINETABLE_MAX_BYTES)
		return -EFBIG;
	if (memcmp(bytes, code->linetable, code->linetable_byte_cnt))
		return -ESTALE;
	return copy_linetable(code, bytes, length);
}
