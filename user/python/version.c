/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * Which CPython is this? Before 3.11 no symbol tells, and file names lie (an interpreter
 * linked into a server, a renamed file), but every interpreter holds two strings: the tag of
 * its .pyc files, "cpython-310" (sys.implementation.cache_tag), which nothing but an interpreter
 * has alone between two NULs; and PY_VERSION, "3.10.13", which linkers like to make the end
 * of another string ("/opt/python/3.10.13") and which versions of libraries look
 * like. So that is the latter only if it fits the tag, and if all that do are the same.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python/version.h"

#define SCAN_MAX_BYTES  (256u << 20) /* of a file; what is past it is not looked at */
#define CHUNK_BYTES     (64u << 10)
#define STRING_MAX      24           /* what is looked at of a string, with its NUL */
#define TAG             "cpython-3"  /* of sys.implementation.cache_tag: the minor version follows */
#define MINOR_UNKNOWN   (-1)
#define MINOR_AMBIGUOUS (-2)
#define RELEASE_FINAL   0xf0

struct version_scan {
	int minor;         /* or MINOR_... */
	uint32_t version;  /* of that minor version, 0: not seen */
	bool is_ambiguous; /* more than one such version */
};

/* A number of at most 3 digits at *s, which it steps over; -1 if there is none. */
static int parse_number(const char **s)
{
	int value = 0, digits = 0;

	for (; **s >= '0' && **s <= '9' && digits < 3; (*s)++, digits++)
		value = 10 * value + (**s - '0');
	return digits && value <= 255 ? value : -1;
}

/* "f0" of PY_VERSION_HEX from what follows the micro version: "", "+", "rc1", "a2+". 0: neither. */
static uint32_t parse_level(const char *s)
{
	uint32_t level;
	int serial;

	if (!*s || !strcmp(s, "+"))
		return RELEASE_FINAL;
	if (*s == 'a' || *s == 'b')
		level = *s++ == 'a' ? 0xa0 : 0xb0;
	else if (!strncmp(s, "rc", 2))
		level = 0xc0, s += 2;
	else
		return 0;
	serial = parse_number(&s);
	if (serial < 0 || serial > 15 || (*s && strcmp(s, "+")))
		return 0;
	return level | (uint32_t)serial;
}

/* PY_VERSION as PY_VERSION_HEX, or 0. */
static uint32_t parse_version(const char *s)
{
	int minor, micro;
	uint32_t level;

	if (strncmp(s, "3.", 2))
		return 0;
	s += 2;
	minor = parse_number(&s);
	if (minor < 0 || *s++ != '.')
		return 0;
	micro = parse_number(&s);
	level = parse_level(s);
	if (micro < 0 || !level)
		return 0;
	return PYTHON_VERSION_HEX(3, minor) | (uint32_t)micro << 8 | level;
}

/* string: of at most STRING_MAX bytes and a NUL, and the byte before it in the file. */
typedef void (*see_fn)(struct version_scan *scan, char before, const char *string);

static void see_tag(struct version_scan *scan, char before, const char *string)
{
	int minor;

	if (before)
		return;
	string += strlen(TAG);
	minor = parse_number(&string);
	if (minor < 0 || *string)
		return;
	if (scan->minor == MINOR_UNKNOWN)
		scan->minor = minor;
	else if (scan->minor != minor)
		scan->minor = MINOR_AMBIGUOUS;
}

static void see_version(struct version_scan *scan, char before, const char *string)
{
	uint32_t version = parse_version(string);

	if (!version || (before && strchr("0123456789.", before)))
		return;
	if (scan->version && scan->version != version)
		scan->is_ambiguous = true;
	scan->version = version;
}

/* Gives see what begins with needle in [buf + 1, buf + 1 + CHUNK_BYTES). */
static void see_chunk(struct version_scan *scan, const char *buf, size_t size, const char *needle,
		      see_fn see)
{
	const char *at = buf, *end = buf + size;

	while (++at < end && (at = memmem(at, (size_t)(end - at), needle, strlen(needle)))) {
		char string[STRING_MAX + 1] = "";
		size_t left = (size_t)(end - at);

		if (at > buf + CHUNK_BYTES)
			return;
		memcpy(string, at, left < STRING_MAX ? left : STRING_MAX);
		see(scan, at[-1], string);
	}
}

/* Gives see all that begins with needle in the file. A needle is shorter than STRING_MAX. */
static void for_each_match(const struct elf_image *img, struct version_scan *scan,
			   const char *needle, see_fn see)
{
	const size_t size = 1 + CHUNK_BYTES + STRING_MAX; /* chunks overlap */
	char *buf = malloc(size);
	long got = buf ? (long)size : 0;

	for (uint64_t pos = 0; got > (long)CHUNK_BYTES && pos < SCAN_MAX_BYTES;
	     pos += CHUNK_BYTES) {
		got = elf_image__read_code(img, pos, buf, size);
		if (got > 0)
			see_chunk(scan, buf, (size_t)got, needle, see);
	}
	free(buf);
}

static uint32_t version_from_strings(const struct elf_image *img)
{
	struct version_scan scan = { .minor = MINOR_UNKNOWN };
	char prefix[STRING_MAX];

	for_each_match(img, &scan, TAG, see_tag);
	if (scan.minor < 0)
		return 0;
	snprintf(prefix, sizeof(prefix), "3.%d.", scan.minor);
	for_each_match(img, &scan, prefix, see_version);
	if (scan.version && !scan.is_ambiguous)
		return scan.version;
	return PYTHON_VERSION_HEX(3, scan.minor);
}

uint32_t python_version__find(const struct elf_image *img, const struct python_memory *mem,
			      uint64_t bias)
{
	uint64_t vaddr, version;

	if (!elf_image__find_variable(img, "Py_Version", &vaddr) &&
	    !python_memory__read_u64(mem, vaddr + bias, &version) &&
	    version >= PYTHON_VERSION_HEX(3, 11) && version < PYTHON_VERSION_HEX(4, 0))
		return (uint32_t)version;
	return version_from_strings(img);
}

void python_version__format(uint32_t version_hex, char *out, size_t out_size)
{
	uint32_t major = version_hex >> 24, minor = version_hex >> 16 & 0xff;
	uint32_t micro = version_hex >> 8 & 0xff, level = version_hex & 0xf0;
	uint32_t serial = version_hex & 0xf;

	if (!(version_hex & 0xffff))
		snprintf(out, out_size, "%u.%u", major, minor);
	else if (level == RELEASE_FINAL)
		snprintf(out, out_size, "%u.%u.%u", major, minor, micro);
	else
		snprintf(out, out_size, "%u.%u.%u%s%u", major, minor, micro,
			 level == 0xa0 ? "a" : level == 0xb0 ? "b" : "rc", serial);
}
