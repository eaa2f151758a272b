/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sym/demangle.h"
#include "sym/str_pool.h"
#include "sym/symtab.h"

/*
 * Goal of this test: names are demangled within bounds whatever they stand for,
 * strings are interned once, and among symbols that could name an address the
 * one that a reader expects is chosen.
 */

/* ---- demangle ---- */

static const struct {
	const char *mangled, *plain;
} names[] = {
	{"_ZN3foo3barEi", "foo::bar(int)"},
	{"_ZNSt6vectorIiSaIiEE9push_backEOi",
	 "std::vector<int, std::allocator<int> >::push_back(int&&)"},
	{"_Z1fv.isra.0", "f() [clone .isra.0]"},
	{"_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"},
	{"_RNvNtCs1234_7mycrate3mod4func", "mycrate::mod::func"},
	{"_RINvCs1234_7mycrate3maplE", "mycrate::map::<i32>"},
};

START_TEST(cplusplus_and_rust_names_are_demangled)
{
	char buf[DEMANGLED_MAX];

	ck_assert(demangle__name(names[_i].mangled, buf));
	ck_assert_str_eq(buf, names[_i].plain);
}
END_TEST

static const char *const plain_names[] = {"",	"main", "_start",	 "_Zero",
					  "_R", "_Z",	"__libc_malloc", "_ZN3fooE_nonsense"};

START_TEST(other_names_are_left_alone)
{
	char buf[DEMANGLED_MAX];

	ck_assert(!demangle__name(plain_names[_i], buf));
}
END_TEST

/* Cut to the buffer, and marked. Doubling 60 times over would not end otherwise. */
static void assert_cut(const char *mangled)
{
	char buf[DEMANGLED_MAX];

	memset(buf, 'x', sizeof(buf));
	ck_assert(demangle__name(mangled, buf));
	ck_assert_uint_eq(strnlen(buf, sizeof(buf)), DEMANGLED_MAX - 1);
	ck_assert_str_eq(buf + DEMANGLED_MAX - 4, "...");
}

START_TEST(cplusplus_name_that_doubles_with_each_letter_is_cut)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	char mangled[1024] = "_Z1fSt4pairIiiE"; /* S_: std::pair, S0_: pair<int, int> */
	size_t len = strlen(mangled);

	/* pair<S0_, S0_> is S1_, and so on */
	for (int i = 0; i < 34; i++)
		len += (size_t)snprintf(mangled + len, sizeof(mangled) - len, "S_IS%c_S%c_E",
					digits[i], digits[i]);
	assert_cut(mangled);
}
END_TEST

/* A base-62 number of Rust's v0: "_" is 0, "0_" is 1. */
static int base62(char *out, size_t size, size_t value)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	if (!value)
		return snprintf(out, size, "_");
	value--;
	if (value < 62)
		return snprintf(out, size, "%c_", digits[value]);
	return snprintf(out, size, "%c%c_", digits[value / 62], digits[value % 62]);
}

START_TEST(rust_name_that_doubles_with_each_letter_is_cut)
{
	char mangled[1024] = "_RINvC1a1b", number[8];
	size_t len = strlen(mangled), last;

	last = len - 2; /* back references count from after _R */
	len += (size_t)sprintf(mangled + len, "TmmE");
	for (int i = 0; i < 50; i++) {
		base62(number, sizeof(number), last);
		last = len - 2;
		len += (size_t)sprintf(mangled + len, "TB%sB%sE", number, number);
	}
	strcpy(mangled + len, "E");
	assert_cut(mangled);
}
END_TEST

static const char nesting[] = {'P', 'I', 'N', 'X', 'T', 'L', 'S', 'F', '('};

START_TEST(deep_nesting_does_not_exhaust_the_stack)
{
	static const size_t lengths[] = {100, 1000, 1020, 2000, 4000, 1000000};
	char *mangled = malloc(1000000 + 16), buf[DEMANGLED_MAX];

	ck_assert_ptr_nonnull(mangled);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		strcpy(mangled, "_Z1f");
		memset(mangled + 4, nesting[_i], lengths[i]);
		strcpy(mangled + 4 + lengths[i], "i");
		if (demangle__name(mangled, buf))
			ck_assert_uint_lt(strnlen(buf, sizeof(buf)), sizeof(buf));
		memcpy(mangled, "_RNvC", 4);
		if (demangle__name(mangled, buf))
			ck_assert_uint_lt(strnlen(buf, sizeof(buf)), sizeof(buf));
	}
	free(mangled);
}
END_TEST

/* ---- str_pool ---- */

START_TEST(equal_strings_are_interned_once_and_never_move)
{
	enum { STRINGS = 20000 };
	struct str_pool *pool = str_pool__new();
	const char **first = calloc(STRINGS, sizeof(*first));
	size_t bytes;
	char text[32];

	for (int round = 0; round < 2; round++) {
		bytes = str_pool__bytes(pool);
		for (int i = 0; i < STRINGS; i++) {
			snprintf(text, sizeof(text), "name %d", i);
			if (!round)
				first[i] = str_pool__intern(pool, text, sizeof(text));
			ck_assert_ptr_eq(str_pool__intern(pool, text, strlen(text)), first[i]);
			ck_assert_str_eq(first[i], text);
		}
	}
	ck_assert_uint_eq(str_pool__bytes(pool), bytes);
	free(first);
	str_pool__free(pool);
}
END_TEST

START_TEST(long_strings_are_cut_and_prefixes_differ)
{
	struct str_pool *pool = str_pool__new();
	char *big = malloc(3 * STR_POOL_MAX_LEN);

	memset(big, 'a', 3 * STR_POOL_MAX_LEN);
	ck_assert_uint_eq(strlen(str_pool__intern(pool, big, 3 * STR_POOL_MAX_LEN)),
			  STR_POOL_MAX_LEN);
	ck_assert_str_eq(str_pool__intern(pool, "abcdef", 3), "abc");
	ck_assert_str_eq(str_pool__intern(pool, "abcdef", 6), "abcdef");
	ck_assert_ptr_eq(str_pool__intern(pool, "abc", 3), str_pool__intern(pool, "abcd", 3));
	ck_assert_str_eq(str_pool__intern(pool, "", 10), "");
	free(big);
	str_pool__free(pool);
}
END_TEST

/* ---- symtab ---- */

struct sample {
	const char *name;
	uint64_t vaddr, size_bytes;
	unsigned int bind, type;
};

static struct str_pool *pool;
static struct symtab *tab;

static void setup(void)
{
	pool = str_pool__new();
	tab = symtab__new(1 << 20);
	ck_assert(pool && tab);
}

static void teardown(void)
{
	symtab__free(tab);
	str_pool__free(pool);
}

static void add(const struct sample *samples, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		ck_assert_int_eq(symtab__add(tab, samples[i].name, strlen(samples[i].name),
					     samples[i].vaddr, samples[i].size_bytes, 0x9000,
					     ELF64_ST_INFO(samples[i].bind, samples[i].type)),
				 0);
	symtab__seal(tab);
}

#define ADD(...)                                                                                   \
	do {                                                                                       \
		const struct sample samples[] = {__VA_ARGS__};                                     \
		add(samples, sizeof(samples) / sizeof(samples[0]));                                \
	} while (0)

static const char *name_at(uint64_t vaddr)
{
	struct symtab_hit hit;

	return symtab__lookup(tab, pool, vaddr, &hit) ? hit.name : "";
}

START_TEST(public_name_is_chosen_among_aliases)
{
	ADD({"__libc_malloc", 0x1000, 16, STB_GLOBAL, STT_FUNC},
	    {"malloc", 0x1000, 16, STB_GLOBAL, STT_FUNC},
	    {"__malloc", 0x1000, 16, STB_LOCAL, STT_FUNC},
	    {"a_label", 0x1000, 0, STB_GLOBAL, STT_NOTYPE},
	    {"_puts", 0x2000, 16, STB_GLOBAL, STT_FUNC}, {"puts", 0x2000, 16, STB_WEAK, STT_FUNC},
	    {"static_one", 0x3000, 16, STB_LOCAL, STT_FUNC},
	    {"_one", 0x3000, 16, STB_GLOBAL, STT_FUNC},
	    {"_ZN1a1bEv", 0x4000, 16, STB_GLOBAL, STT_FUNC},
	    {"_b", 0x4000, 16, STB_GLOBAL, STT_FUNC});
	ck_assert_str_eq(name_at(0x1008), "malloc");
	ck_assert_str_eq(name_at(0x2008), "puts");
	ck_assert_str_eq(name_at(0x3008), "_one");
	ck_assert_str_eq(name_at(0x4008), "a::b()");
}
END_TEST

START_TEST(address_past_a_symbols_size_has_no_name)
{
	ADD({"exported", 0x1000, 0x20, STB_GLOBAL, STT_FUNC},
	    {"next", 0x2000, 0x20, STB_GLOBAL, STT_FUNC});
	ck_assert_str_eq(name_at(0xfff), "");
	ck_assert_str_eq(name_at(0x1000), "exported");
	ck_assert_str_eq(name_at(0x101f), "exported");
	ck_assert_str_eq(name_at(0x1020), "");
	ck_assert_str_eq(name_at(0x2020), "");
	ck_assert_str_eq(name_at(UINT64_MAX), "");
}
END_TEST

START_TEST(unsized_symbol_reaches_to_the_next_one_or_its_limit)
{
	ADD({"assembly", 0x1000, 0, STB_GLOBAL, STT_NOTYPE},
	    {"next", 0x1100, 0x10, STB_GLOBAL, STT_FUNC},
	    {"last", 0x8000, 0, STB_GLOBAL, STT_FUNC});
	ck_assert_str_eq(name_at(0x10ff), "assembly");
	ck_assert_str_eq(name_at(0x1100), "next");
	ck_assert_str_eq(name_at(0x1110), "");
	ck_assert_str_eq(name_at(0x8fff), "last");
	ck_assert_str_eq(name_at(0x9000), "");
}
END_TEST

START_TEST(sized_function_wins_over_labels_inside_it)
{
	ADD({"whole", 0x1000, 0x100, STB_GLOBAL, STT_FUNC},
	    {"label", 0x1040, 0, STB_LOCAL, STT_NOTYPE},
	    {"inside", 0x1080, 0x10, STB_LOCAL, STT_FUNC});
	ck_assert_str_eq(name_at(0x1050), "whole");
	ck_assert_str_eq(name_at(0x1088), "inside");
	ck_assert_str_eq(name_at(0x1090), "whole");
}
END_TEST

START_TEST(symbols_added_after_sealing_count_after_the_next)
{
	ADD({"assembly", 0x1000, 0, STB_GLOBAL, STT_NOTYPE});
	ck_assert_str_eq(name_at(0x1500), "assembly");
	ADD({"hidden", 0x1400, 0x200, STB_LOCAL, STT_FUNC});
	ck_assert_str_eq(name_at(0x1500), "hidden");
	ck_assert_str_eq(name_at(0x1700), "");
	ck_assert_str_eq(name_at(0x13ff), "assembly");
}
END_TEST

START_TEST(full_table_keeps_what_it_has)
{
	struct symtab *small = symtab__new(64 << 10);
	struct symtab_hit hit;
	uint64_t added = 0;
	int err = 0;

	for (; !err; added += !err)
		err = symtab__add(small, "function", 8, 16 * added, 16, 0,
				  ELF64_ST_INFO(STB_GLOBAL, STT_FUNC));
	ck_assert_int_eq(err, -ENOSPC);
	ck_assert_uint_gt(added, 100);
	ck_assert_uint_le(symtab__bytes(small), 64 << 10);
	symtab__seal(small);
	ck_assert(symtab__lookup(small, pool, 16 * added - 1, &hit));
	ck_assert(!symtab__lookup(small, pool, 16 * added, &hit));
	symtab__free(small);
}
END_TEST

START_TEST(empty_table_has_no_names)
{
	symtab__seal(tab);
	ck_assert_str_eq(name_at(0), "");
	symtab__free(NULL);
	str_pool__free(NULL);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, cplusplus_and_rust_names_are_demangled, 0, COUNT(names));
	tcase_add_loop_test(tcase, other_names_are_left_alone, 0, COUNT(plain_names));
	tcase_add_test(tcase, cplusplus_name_that_doubles_with_each_letter_is_cut);
	tcase_add_test(tcase, rust_name_that_doubles_with_each_letter_is_cut);
	tcase_add_loop_test(tcase, deep_nesting_does_not_exhaust_the_stack, 0, COUNT(nesting));
	tcase_add_test(tcase, equal_strings_are_interned_once_and_never_move);
	tcase_add_test(tcase, long_strings_are_cut_and_prefixes_differ);
	tcase_add_test(tcase, public_name_is_chosen_among_aliases);
	tcase_add_test(tcase, address_past_a_symbols_size_has_no_name);
	tcase_add_test(tcase, unsized_symbol_reaches_to_the_next_one_or_its_limit);
	tcase_add_test(tcase, sized_function_wins_over_labels_inside_it);
	tcase_add_test(tcase, symbols_added_after_sealing_count_after_the_next);
	tcase_add_test(tcase, full_table_keeps_what_it_has);
	tcase_add_test(tcase, empty_table_has_no_names);
}

int main(void)
{
	Suite *suite = suite_create("sym_parts");
	TCase *tcase = tcase_create("sym_parts");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	add_tests(tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
