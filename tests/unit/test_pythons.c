/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pythons.h"
#include "contract.h"

/*
 * Goal of this test: a Python frame gets the names and the line of the code object that was at its
 * address when its stack was seen, and a frame that has not begun the line of the definition.
 */

#define IMAGE    7
#define ADDRESS  0x7f0012345670ULL
#define HEX_3_10 0x030a00f0u

static void set_string(struct uf_python_str *str, const char *chars)
{
	str->kind = 1;
	str->is_ascii = 1;
	str->length = (uint32_t)strlen(chars);
	str->byte_cnt = (uint16_t)strlen(chars);
	memcpy(str->bytes, chars, strlen(chars));
}

/* def at line 40; its body, from the first instruction on, is two lines below. */
static void add_code(struct pythons *pythons, uf_image_id image, uint64_t time_ns, const char *name)
{
	static const uint8_t table[] = { 4, 2, 4, 1 };
	struct uf_python_code copy = {
		.address = ADDRESS,
		.image = image,
		.firstlineno = 40,
		.version_hex = HEX_3_10,
		.linetable_length = sizeof(table),
		.linetable_byte_cnt = sizeof(table),
		.time_ns = time_ns,
	};

	memcpy(copy.linetable, table, sizeof(table));
	set_string(&copy.filename, "/srv/app.py");
	set_string(&copy.qualname, name);
	pythons__add_code(pythons, &copy);
}

static struct python_place place_at(const struct pythons *pythons, uint32_t unit, uint64_t time_ns)
{
	return pythons__place(pythons, IMAGE, UF_PYTHON_FRAME(ADDRESS, unit), time_ns);
}

START_TEST(frame_that_has_not_begun_is_at_its_definition)
{
	struct pythons *pythons = pythons__new(NULL, NULL, NULL, NULL);

	add_code(pythons, IMAGE, 100, "serve");
	ck_assert_uint_eq(place_at(pythons, UF_PYTHON_AT_START, 100).line, 40);
	ck_assert_uint_eq(place_at(pythons, 0, 100).line, 42);
	ck_assert_uint_eq(place_at(pythons, 2, 100).line, 43);
	ck_assert_uint_eq(place_at(pythons, 4, 100).line, 0);
	ck_assert_str_eq(place_at(pythons, 0, 100).file, "/srv/app.py");
	pythons__free(pythons);
}
END_TEST

START_TEST(code_is_the_one_of_the_stacks_time_and_image)
{
	struct pythons *pythons = pythons__new(NULL, NULL, NULL, NULL);

	add_code(pythons, IMAGE, 100, "first");
	add_code(pythons, IMAGE, 200, "second");
	add_code(pythons, IMAGE + 1, 150, "other");
	ck_assert_str_eq(place_at(pythons, 0, 99).function, "");
	ck_assert_str_eq(place_at(pythons, 0, 199).function, "first");
	ck_assert_str_eq(place_at(pythons, 0, 200).function, "second");
	pythons__forget(pythons, IMAGE);
	ck_assert_str_eq(place_at(pythons, 0, 200).function, "");
	ck_assert_str_eq(pythons__place(pythons, IMAGE + 1, UF_PYTHON_FRAME(ADDRESS, 0), 200).function,
			 "other");
	pythons__free(pythons);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pythons");
	TCase *tcase = tcase_create("pythons");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, frame_that_has_not_begun_is_at_its_definition);
	tcase_add_test(tcase, code_is_the_one_of_the_stacks_time_and_image);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
