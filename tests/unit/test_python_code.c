/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/code_object.h"
#include "python_fixture.h"

/*
 * Goal of this test: names and lines of code objects come out as the interpreter itself
 * tells them, for every instruction of many functions under every CPython of this machine;
 * what was cut says so and can be completed; and no copy, however damaged, makes the decoder
 * read outside of it (sanitizers watch).
 */

#define HEX_3_8  0x030800f0u
#define HEX_3_10 0x030a00f0u
#define HEX_3_11 0x030b00f0u

static struct uf_python_code copy;

static void set_string(struct uf_python_str *str, uint8_t kind, const void *chars, uint32_t cnt)
{
	uint32_t size = cnt * kind;

	str->kind = kind;
	str->length = cnt;
	str->byte_cnt = size < UF_PYTHON_STR_BYTES ? size : UF_PYTHON_STR_BYTES;
	memcpy(str->bytes, chars, str->byte_cnt);
}

static void set_table(const void *table, uint32_t size)
{
	copy.linetable_address = 0x1000;
	copy.linetable_length = size;
	copy.linetable_byte_cnt = size < UF_PYTHON_LINETABLE_BYTES ? size :
								    UF_PYTHON_LINETABLE_BYTES;
	memcpy(copy.linetable, table, copy.linetable_byte_cnt);
}

/* A code object with a file, a function and a line table; first line 10. */
static struct python_code *code_with_table(uint32_t version_hex, const void *table, uint32_t size)
{
	memset(&copy, 0, sizeof(copy));
	copy.version_hex = version_hex;
	copy.firstlineno = 10;
	set_string(&copy.filename, 1, "a.py", 4);
	set_string(&copy.qualname, 1, "C.f", 3);
	set_table(table, size);
	return python_code__new(&copy);
}

static void check_lines(uint32_t version_hex, const void *table, uint32_t size,
			const uint32_t *lines, uint32_t cnt)
{
	struct python_code *code = code_with_table(version_hex, table, size);

	ck_assert_ptr_nonnull(code);
	for (uint32_t i = 0; i < cnt; i++)
		ck_assert_msg(python_code__line(code, 2 * i) == lines[i],
			      "offset %u: line %u instead of %u", 2 * i,
			      python_code__line(code, 2 * i), lines[i]);
	python_code__free(code);
}

static void check_qualname(const char *qualname, const char *name, const char *expected)
{
	struct python_code *code;

	memset(&copy, 0, sizeof(copy));
	copy.version_hex = HEX_3_11;
	set_string(&copy.qualname, 1, qualname, (uint32_t)strlen(qualname));
	set_string(&copy.name, 1, name, (uint32_t)strlen(name));
	code = python_code__new(&copy);
	ck_assert_ptr_nonnull(code);
	ck_assert_str_eq(python_code__qualname(code), expected);
	python_code__free(code);
}

START_TEST(code_that_was_renamed_has_its_new_name)
{
	char name[UF_PYTHON_STR_BYTES + 9] = "", cut[UF_PYTHON_STR_BYTES + 4] = "";

	check_qualname("C.f", "f", "C.f");
	check_qualname("f", "f", "f");
	check_qualname("C.f.<locals>.<lambda>", "<lambda>", "C.f.<locals>.<lambda>");
	check_qualname("decorator.<locals>.public_api", "transpose", "transpose");
	check_qualname("f", "g", "g");
	check_qualname("C.f", "", "C.f");
	memset(name, 'n', sizeof(name) - 1); /* that it was cut does not make it another */
	memset(cut, 'n', UF_PYTHON_STR_BYTES);
	memcpy(cut + UF_PYTHON_STR_BYTES, "...", 3);
	check_qualname(name, name, cut);
}
END_TEST

START_TEST(pairs_of_3_8_add_up_and_hold_to_the_end)
{
	/* 4 bytes of line 10; 2 of 12; then back to 9; a step of 0 bytes makes 200 lines of two */
	static const uint8_t table[] = { 4, 2, 2, 0xfd, 2, 127, 0, 73 };
	static const uint32_t lines[] = { 10, 10, 12, 9, 209, 209, 209 };

	check_lines(HEX_3_8, table, sizeof(table), lines, 7);
	check_lines(HEX_3_8, "", 0, (uint32_t[]){ 10, 10 }, 2);
}
END_TEST

START_TEST(ranges_of_3_10_may_have_no_line)
{
	/* an empty range moves the line; -128 neither has nor changes one */
	static const uint8_t table[] = { 0, 100, 4, 1, 2, 0x80, 2, 0, 2, 0x9c };
	static const uint32_t lines[] = { 111, 111, 0, 111, 11, 0, 0 };

	check_lines(HEX_3_10, table, sizeof(table), lines, 7);
}
END_TEST

START_TEST(locations_of_3_11_are_of_five_kinds)
{
	static const uint8_t table[] = {
		0x80 | 3 << 3 | 1, 0x12,             /* short: 2 units of line 10 */
		0x80 | 12 << 3, 1, 2,                /* one line: 1 unit of 12 */
		0x80 | 15 << 3 | 1,                  /* none: 2 units */
		0x80 | 14 << 3, 0x40 | 0x28, 6, 0, 1, 1, /* long: +212, 1 unit of 224 */
		0x80 | 13 << 3, 0x40 | 0x3f, 0x40 | 0x3f, 0, /* no columns: -2047 */
		0x80 | 13 << 3, 0x40 | 0x3e, 0x40 | 0x3f, 0, /* and back */
		0x80 | 10 << 3 | 7, 1, 2,            /* 8 units of the same */
	};
	static const uint32_t lines[] = { 10,  10,  12,  0,	0,   224, 0,   224,
					  224, 224, 224, 224, 224, 224, 224, 224, 0 };

	check_lines(HEX_3_11, table, sizeof(table), lines, 17);
}
END_TEST

START_TEST(a_frame_that_has_not_begun_is_at_the_definition)
{
	static const uint32_t versions[] = { HEX_3_8, HEX_3_10, HEX_3_11 };

	for (int i = 0; i < 3; i++) {
		struct python_code *code = code_with_table(versions[i], "", 0);

		ck_assert_uint_eq(python_code__line(code, (uint32_t)-1), 10);
		ck_assert_uint_eq(python_code__line(code, (uint32_t)-2), 10);
		python_code__free(code);
	}
}
END_TEST

START_TEST(tables_of_unknown_versions_tell_nothing)
{
	struct python_code *code = code_with_table(0x030700f0, "\x04\x02", 2);

	ck_assert_uint_eq(python_code__line(code, 0), 0);
	ck_assert_str_eq(python_code__qualname(code), "C.f");
	python_code__free(code);
	code = code_with_table(0, "\x04\x02", 2);
	ck_assert_uint_eq(python_code__line(code, 0), 0);
	python_code__free(code);
}
END_TEST

static void check_string(uint8_t kind, const void *chars, uint32_t cnt, const char *utf8)
{
	struct python_code *code;

	memset(&copy, 0, sizeof(copy));
	set_string(&copy.filename, kind, chars, cnt);
	set_string(&copy.qualname, 1, "f", 1);
	code = python_code__new(&copy);
	ck_assert_ptr_nonnull(code);
	ck_assert_str_eq(python_code__filename(code), utf8);
	python_code__free(code);
}

START_TEST(characters_of_any_width_become_utf8)
{
	static const uint16_t two[] = { 'a', 0xe9, 0x7ff, 0x800, 0x20ac, 0xffff };
	static const uint32_t four[] = { 'a', 0x10400, 0x10ffff, 0x110000, 0xffffffff };

	check_string(1, "a\xe9\xff", 3, "a\u00e9\u00ff");
	check_string(2, two, 6, "a\u00e9\u07ff\u0800\u20ac\uffff");
	check_string(4, four, 5, "a\U00010400\U0010ffff\ufffd\ufffd");
}
END_TEST

START_TEST(what_is_no_character_is_replaced)
{
	static const uint16_t surrogates[] = { 'a', 0xdc80, 0xd800, 'b' };

	check_string(2, surrogates, 4, "a\ufffd\ufffdb");
	check_string(1, "a\0b", 3, "a\ufffdb"); /* a name does not end early */
}
END_TEST

START_TEST(cut_strings_end_in_dots)
{
	static uint32_t four[UF_PYTHON_STR_BYTES / 4 + 1];
	char name[UF_PYTHON_STR_BYTES + 1], expected[UF_PYTHON_STR_BYTES + 8];

	memset(name, 'x', sizeof(name));
	snprintf(expected, sizeof(expected), "%.*s", UF_PYTHON_STR_BYTES, name);
	check_string(1, name, UF_PYTHON_STR_BYTES, expected);
	snprintf(expected, sizeof(expected), "%.*s...", UF_PYTHON_STR_BYTES, name);
	check_string(1, name, UF_PYTHON_STR_BYTES + 1, expected);
	for (size_t i = 0; i < sizeof(four) / sizeof(four[0]); i++)
		four[i] = 'x';
	snprintf(expected, sizeof(expected), "%.*s...", UF_PYTHON_STR_BYTES / 4, name);
	check_string(4, four, UF_PYTHON_STR_BYTES / 4 + 1, expected);
}
END_TEST

START_TEST(what_could_not_be_read_is_unknown)
{
	struct python_code *code;

	memset(&copy, 0, sizeof(copy));
	errno = 0;
	ck_assert_ptr_null(python_code__new(&copy));
	ck_assert_int_eq(errno, EINVAL);
	set_string(&copy.qualname, 1, "f", 1);
	copy.filename.length = 4;
	copy.filename.byte_cnt = 4; /* kind 0 */
	code = python_code__new(&copy);
	ck_assert_ptr_nonnull(code);
	ck_assert_str_eq(python_code__filename(code), "");
	ck_assert_str_eq(python_code__qualname(code), "f");
	python_code__free(code);
	python_code__free(NULL);
}
END_TEST

/* 3.11: every entry is one unit of the line after the one before. */
static void fill_long_table(uint8_t *table, uint32_t entry_cnt)
{
	for (uint32_t i = 0; i < entry_cnt; i++)
		memcpy(table + 3 * i, "\xd8\x01\x02", 3);
}

START_TEST(a_cut_table_tells_no_line_past_its_end_until_it_is_completed)
{
	enum { ENTRIES = 1000, HELD = UF_PYTHON_LINETABLE_BYTES / 3 };
	uint8_t table[3 * ENTRIES];
	struct python_code *code;
	uint64_t address = 0;
	uint32_t length = 0;

	fill_long_table(table, ENTRIES);
	code = code_with_table(HEX_3_11, table, sizeof(table));
	ck_assert(python_code__needs_more(code, &address, &length));
	ck_assert_uint_eq(address, 0x1000);
	ck_assert_uint_eq(length, sizeof(table));
	ck_assert_uint_eq(python_code__line(code, 2 * (HELD - 1)), 10 + HELD);
	ck_assert_uint_eq(python_code__line(code, 2 * HELD), 0);
	ck_assert_int_eq(python_code__set_linetable(code, table, length), 0);
	ck_assert(!python_code__needs_more(code, &address, &length));
	ck_assert_uint_eq(python_code__line(code, 2 * HELD), 11 + HELD);
	ck_assert_uint_eq(python_code__line(code, 2 * (ENTRIES - 1)), 10 + ENTRIES);
	ck_assert_uint_eq(python_code__line(code, 2 * ENTRIES), 0);
	python_code__free(code);
}
END_TEST

START_TEST(an_entry_cut_in_its_middle_is_not_believed)
{
	/* +64 lines is cut to +0 */
	static const uint8_t table[] = { 0xd8, 1, 2, 0x80 | 13 << 3, 0x40, 0x02 };
	struct python_code *code = code_with_table(HEX_3_11, table, sizeof(table));

	ck_assert_uint_eq(python_code__line(code, 2), 75);
	python_code__free(code);
	copy.linetable_byte_cnt = sizeof(table) - 1;
	code = python_code__new(&copy);
	ck_assert_uint_eq(python_code__line(code, 0), 11);
	ck_assert_uint_eq(python_code__line(code, 2), 0);
	python_code__free(code);
}
END_TEST

START_TEST(pairs_of_3_8_that_are_cut_tell_no_line_past_their_end)
{
	struct python_code *code;

	python_code__free(code_with_table(HEX_3_8, "\x04\x01\x04\x01\x04\x01", 6));
	copy.linetable_byte_cnt = 5;
	code = python_code__new(&copy);
	ck_assert_uint_eq(python_code__line(code, 6), 11);
	ck_assert_uint_eq(python_code__line(code, 8), 0);
	ck_assert_uint_eq(python_code__line(code, 100), 0);
	python_code__free(code);
}
END_TEST

START_TEST(a_table_that_begins_otherwise_is_refused)
{
	uint8_t table[3 * 1000];
	struct python_code *code;

	fill_long_table(table, 1000);
	code = code_with_table(HEX_3_11, table, sizeof(table));
	table[2047] ^= 1;
	ck_assert_int_eq(python_code__set_linetable(code, table, sizeof(table)), -ESTALE);
	ck_assert_uint_eq(python_code__line(code, 2 * 900), 0);
	table[2047] ^= 1;
	ck_assert_int_eq(python_code__set_linetable(code, table, sizeof(table) + 1), -EINVAL);
	ck_assert_int_eq(python_code__set_linetable(code, table, 2047), -EINVAL);
	ck_assert_int_eq(python_code__set_linetable(code, table, 2048), 0);
	python_code__free(code);
}
END_TEST

START_TEST(tables_of_absurd_length_are_not_asked_for)
{
	struct python_code *code;
	uint64_t address;
	uint32_t length;

	python_code__free(code_with_table(HEX_3_11, "\xd8\x01\x02", 3));
	copy.linetable_length = UINT32_MAX;
	code = python_code__new(&copy);
	ck_assert(!python_code__needs_more(code, &address, &length));
	python_code__free(code);
}
END_TEST

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

START_TEST(random_copies_are_survived)
{
	static const uint32_t versions[] = { HEX_3_8, 0x03090000, HEX_3_10, HEX_3_11, 0x030e0000 };
	uint64_t seed = 0x70795f636f6465ull;

	for (int round = 0; round < 20000; round++) {
		struct python_code *code;
		uint8_t *bytes = (uint8_t *)&copy;

		for (size_t i = 0; i < sizeof(copy); i++)
			bytes[i] = (uint8_t)(next_random(&seed) >> 24);
		copy.version_hex = versions[round % 5];
		copy.filename.kind &= 7;
		copy.qualname.kind &= 7;
		if (round & 1) { /* else counts of 32 bits, nearly all too long */
			copy.linetable_byte_cnt %= 64;
			copy.linetable_length %= 80;
			copy.filename.length %= 300;
			copy.filename.byte_cnt %= 300;
		}
		code = python_code__new(&copy);
		if (!code)
			continue;
		ck_assert_uint_le(strlen(python_code__filename(code)), 4 * UF_PYTHON_STR_BYTES);
		ck_assert_uint_le(strlen(python_code__qualname(code)), 4 * UF_PYTHON_STR_BYTES);
		for (uint32_t i = 0; i < 16; i++)
			ck_assert_uint_le(python_code__line(code, next_random(&seed) % 600),
					  INT32_MAX);
		python_code__line(code, INT32_MAX);
		python_code__free(code);
	}
}
END_TEST

/* -- against the interpreters -- */

/*
 * Compiles programs and prints of each code object in them, in hex: file name and name as the
 * interpreter stores them and as UTF-8; then the table, and the lines of all instructions
 * as PyCode_Addr2Line tells them, 0 for none.
 */
static const char dump_script[] =
	"import sys, types, ctypes\n"
	"addr2line = ctypes.pythonapi.PyCode_Addr2Line\n"
	"addr2line.argtypes = [ctypes.py_object, ctypes.c_int]\n"
	"def stored(s):\n"
	"    top = max(map(ord, s), default=0)\n"
	"    kind, codec = ((1, 'latin-1') if top < 256 else (2, 'utf-16-le') if top < 65536\n"
	"                   else (4, 'utf-32-le'))\n"
	"    utf8 = ''.join('\\ufffd' if 0xd800 <= ord(c) < 0xe000 else c for c in s)\n"
	"    return '%d %d x%s x%s' % (kind, len(s), s.encode(codec, 'surrogatepass').hex(),\n"
	"                              utf8.encode().hex())\n"
	"def dump(co):\n"
	"    table = co.co_linetable if hasattr(co, 'co_linetable') else co.co_lnotab\n"
	"    name = getattr(co, 'co_qualname', co.co_name)\n"
	"    print(co.co_firstlineno, stored(co.co_filename), stored(name), 'x' + table.hex())\n"
	"    lines = [addr2line(co, i) for i in range(0, len(co.co_code), 2)]\n"
	"    print(len(lines), *[max(line, 0) for line in lines])\n"
	"    for const in co.co_consts:\n"
	"        if isinstance(const, types.CodeType):\n"
	"            dump(const)\n"
	"shapes = '''\n"
	"import functools\n"
	"def deco(n):\n"
	"    def wrap(f):\n"
	"        @functools.wraps(f)\n"
	"        def inner(*a,\n"
	"                  **k):\n"
	"            return f(*a, **k)\n"
	"        return inner\n"
	"    return wrap\n"
	"class Outer:\n"
	"    x = 1; y = lambda self: (self,\n"
	"                             1)\n"
	"    class Inner:\n"
	"        @deco(1)\n"
	"        @deco(\n"
	"            2)\n"
	"        def method(self, a, b=1,\n"
	"                   *, c=(1,\n"
	"                         2)):\n"
	"            try:\n"
	"                with open(a) as f, \\\\\n"
	"                     open(b) as g:\n"
	"                    for line in f:\n"
	"                        if line: continue\n"
	"                        yield line\n"
	"            except (OSError,\n"
	"                    ValueError) as e:\n"
	"                raise RuntimeError(\n"
	"                    'x') from e\n"
	"            finally:\n"
	"                self.z = [i\n"
	"                    for i in range(10)\n"
	"                    if i]\n"
	"            return {k: v\n"
	"                for k, v in\n"
	"                zip(a, b)}\n"
	"async def co(a):\n"
	"    async with a as b:\n"
	"        async for c in b:\n"
	"            await c.d(\n"
	"                1,\n"
	"                2)\n"
	"    return [x async for x in a]\n"
	"def gr\\xf6\\xdfe(): return {1, 2}\n"
	"def \\u6570(): pass\n"
	"def \\U00010400(): pass\n"
	"def expression(a, b):\n"
	"    r = (a\n"
	"         .b(1)\n"
	"         .c(b if a\n"
	"            else 2)\n"
	"         [0])\n"
	"    assert a, (\n"
	"        b)\n"
	"    while a and \\\\\n"
	"          b: a -= 1; b -= 1\n"
	"    del r\n"
	"    global G; G = 1\n"
	"    return f'{a}' \\\\\n"
	"           f'{b!r:>{a}}'\n"
	"'''\n"
	"far = 'def f(a):\\n    a(1)' + '\\n' * 500 + '    a(2,' + '\\n' * 300 + '    3)\\n' \\\n"
	"    + '    return [' + '\\n' * 70000 + 'a]\\n'\n"
	"long = 'def f(a):\\n' + ''.join(\n"
	"    '    a.b(%d,\\n        c=a[%d])\\n' % (i, i) for i in range(540))\n"
	"dump(compile(shapes, '/srv/app/shapes.py', 'exec'))\n"
	"dump(compile(far, '/srv/\\u043f\\u0440\\u0438\\u043b.py', 'exec'))\n"
	"dump(compile('\\n' * 1000000 + 'x = 1\\n\\ny = (lambda:\\n 1)', 'sm\\xf8r.py', 'exec'))\n"
	"dump(compile(long, '/' + 'long/' * 80 + '.py', 'exec'))\n"
	"dump(compile('x = 1', 'bad\\udc80.py', 'exec'))\n"
	"dump(compile('[1,\\n2,\\nlambda: 3]', '\\U0001f40d.py', 'eval'))\n"
	"import dis, argparse, inspect, tokenize\n"
	"for module in dis, argparse, inspect, tokenize:\n"
	"    with open(module.__file__, encoding='utf-8') as f:\n"
	"        dump(compile(f.read(), module.__file__, 'exec'))\n"
	"print('end')\n";

struct blob {
	uint8_t *bytes;
	uint32_t size;
};

static uint8_t hex_digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* " x6162" of a line; steps over it. */
static struct blob parse_hex(const char **at)
{
	struct blob blob = { 0 };
	size_t digits;

	*at += strspn(*at, " ");
	ck_assert_int_eq(*(*at)++, 'x');
	digits = strspn(*at, "0123456789abcdef");
	blob.bytes = malloc(digits / 2 + 1);
	for (; blob.size < digits / 2; blob.size++) {
		const char *pair = *at + 2 * blob.size;

		blob.bytes[blob.size] = (uint8_t)(hex_digit(pair[0]) << 4 | hex_digit(pair[1]));
	}
	blob.bytes[blob.size] = '\0';
	*at += digits;
	return blob;
}

static long parse_long(const char **at)
{
	char *end;
	long value = strtol(*at, &end, 10);

	ck_assert_ptr_ne(*at, end);
	*at = end;
	return value;
}

/* Sets str from what the script wrote; returns the UTF-8 to expect. */
static char *parse_string(const char **at, struct uf_python_str *str)
{
	uint8_t kind = (uint8_t)parse_long(at);
	uint32_t cnt = (uint32_t)parse_long(at);
	struct blob chars = parse_hex(at), utf8 = parse_hex(at);

	ck_assert_uint_eq(chars.size, cnt * kind);
	set_string(str, kind, chars.bytes, cnt);
	free(chars.bytes);
	return (char *)utf8.bytes;
}

static void check_name(const struct uf_python_str *str, const char *name, char *expected)
{
	size_t kept = strlen(name);

	if (str->length * str->kind > UF_PYTHON_STR_BYTES) {
		ck_assert_uint_gt(kept, 3);
		ck_assert_str_eq(name + kept - 3, "...");
		ck_assert_int_eq(strncmp(name, expected, kept - 3), 0);
	} else {
		ck_assert_str_eq(name, expected);
	}
	free(expected);
}

struct tally {
	unsigned int codes, lines, completed, no_lines;
};

/* Compares the lines; what the copied part of the table does not reach may be 0. */
static void check_all_lines(const struct python_code *code, const char *at, bool is_cut,
			    const struct test_python *python, struct tally *tally)
{
	long cnt = parse_long(&at);

	for (long i = 0; i < cnt; i++) {
		uint32_t expected = (uint32_t)parse_long(&at);
		uint32_t line = python_code__line(code, (uint32_t)(2 * i));

		if (is_cut && !line)
			continue;
		ck_assert_msg(line == expected, "%s: %s, offset %ld: line %u instead of %u",
			      python->path, python_code__qualname(code), 2 * i, line, expected);
		tally->lines++;
		tally->no_lines += !expected;
	}
}

/* head: of the code object; lines: of its instructions. */
static void check_code(const char *head, const char *lines, const struct test_python *python,
		       struct tally *tally)
{
	struct python_code *code;
	char *filename, *qualname;
	struct blob table;
	uint64_t address;
	uint32_t length;

	memset(&copy, 0, sizeof(copy));
	copy.version_hex = python->hex;
	copy.firstlineno = (int32_t)parse_long(&head);
	filename = parse_string(&head, &copy.filename);
	qualname = parse_string(&head, &copy.qualname);
	table = parse_hex(&head);
	set_table(table.bytes, table.size);
	code = python_code__new(&copy);
	ck_assert_ptr_nonnull(code);
	check_name(&copy.filename, python_code__filename(code), filename);
	check_name(&copy.qualname, python_code__qualname(code), qualname);
	if (python_code__needs_more(code, &address, &length)) {
		check_all_lines(code, lines, true, python, tally);
		ck_assert_int_eq(python_code__set_linetable(code, table.bytes, table.size), 0);
		tally->completed++;
	}
	check_all_lines(code, lines, false, python, tally);
	tally->codes++;
	python_code__free(code);
	free(table.bytes);
}

static struct tally check_interpreter(const struct test_python *python, const char *options)
{
	char script[] = "/tmp/unfreed-dump.XXXXXX", command[PATH_MAX + 128];
	char *head = NULL, *lines = NULL;
	size_t head_size = 0, lines_size = 0;
	struct tally tally = { 0 };
	int fd = mkstemp(script);
	FILE *pipe;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, dump_script, sizeof(dump_script) - 1), sizeof(dump_script) - 1);
	close(fd);
	snprintf(command, sizeof(command), "'%s' %s %s", python->path, options, script);
	pipe = popen(command, "re");
	ck_assert_ptr_nonnull(pipe);
	while (getline(&head, &head_size, pipe) > 0 && strcmp(head, "end\n")) {
		ck_assert_int_gt(getline(&lines, &lines_size, pipe), 0);
		check_code(head, lines, python, &tally);
	}
	ck_assert_msg(head && !strcmp(head, "end\n"), "%s: the script failed", python->path);
	ck_assert_int_eq(pclose(pipe), 0);
	printf("%s %s: %u code objects (%u with long tables), %u instructions, %u without a line\n",
	       python->version, options, tally.codes, tally.completed, tally.lines,
	       tally.no_lines);
	unlink(script);
	free(head);
	free(lines);
	return tally;
}

START_TEST(every_instruction_has_the_line_that_its_interpreter_tells)
{
	find_pythons();
	for (int i = 0; i < python_cnt; i++) {
		struct tally tally = check_interpreter(&pythons[i], "-X utf8");

		ck_assert_uint_gt(tally.codes, 300);
		ck_assert_uint_gt(tally.completed, 0);
		ck_assert_uint_gt(tally.lines, 10000);
		ck_assert(pythons[i].hex < HEX_3_10 || tally.no_lines > 0);
		/* Without columns, which 3.11 on writes as entries of another kind. */
		if (pythons[i].hex >= HEX_3_11)
			check_interpreter(&pythons[i], "-X utf8 -X no_debug_ranges");
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("python_code");
	TCase *tcase = tcase_create("python_code");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, code_that_was_renamed_has_its_new_name);
	tcase_add_test(tcase, pairs_of_3_8_add_up_and_hold_to_the_end);
	tcase_add_test(tcase, ranges_of_3_10_may_have_no_line);
	tcase_add_test(tcase, locations_of_3_11_are_of_five_kinds);
	tcase_add_test(tcase, a_frame_that_has_not_begun_is_at_the_definition);
	tcase_add_test(tcase, tables_of_unknown_versions_tell_nothing);
	tcase_add_test(tcase, characters_of_any_width_become_utf8);
	tcase_add_test(tcase, what_is_no_character_is_replaced);
	tcase_add_test(tcase, cut_strings_end_in_dots);
	tcase_add_test(tcase, what_could_not_be_read_is_unknown);
	tcase_add_test(tcase, a_cut_table_tells_no_line_past_its_end_until_it_is_completed);
	tcase_add_test(tcase, an_entry_cut_in_its_middle_is_not_believed);
	tcase_add_test(tcase, pairs_of_3_8_that_are_cut_tell_no_line_past_their_end);
	tcase_add_test(tcase, a_table_that_begins_otherwise_is_refused);
	tcase_add_test(tcase, tables_of_absurd_length_are_not_asked_for);
	tcase_add_test(tcase, random_copies_are_survived);
	tcase_add_test(tcase, every_instruction_has_the_line_that_its_interpreter_tells);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
