/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "python/code_copy.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python.h"
#include "python/code_object.h"
#include "python/memory.h"

/*
 * Goal of this test: a copy that lacks a name or the lines is read again as the
 * probe would have, whole, and one that cannot be read stays what it was.
 */

/* A code object and what it points to, in our own memory, laid out as the layout below says. */
struct fake_str {
	uint64_t length;
	uint32_t state, pad;
	uint8_t compact[64]; /* an ASCII string's characters are 8 bytes before */
};

struct fake_bytes {
	uint64_t refs, type, length;
	uint8_t data[4096];
};

struct fake_code {
	const struct fake_str *filename, *qualname;
	const struct fake_bytes *linetable;
	int32_t firstlineno, pad;
};

#define STATE(kind, is_ascii) ((kind) << 2 | 1 << 5 | (is_ascii) << 6)

static const struct uf_python layout = {
	.code_filename = offsetof(struct fake_code, filename),
	.code_qualname = offsetof(struct fake_code, qualname),
	.code_linetable = offsetof(struct fake_code, linetable),
	.code_firstlineno = offsetof(struct fake_code, firstlineno),
	.bytes_data = offsetof(struct fake_bytes, data),
	.str_length = offsetof(struct fake_str, length),
	.str_state = offsetof(struct fake_str, state),
	.str_ascii_data = offsetof(struct fake_str, compact),
	.str_compact_data = offsetof(struct fake_str, compact) + 16,
};

static struct fake_str filename, qualname;
static struct fake_bytes linetable;
static struct fake_code code;
static uint64_t unreadable; /* reads of this address fail; 0: none */
static int read_cnt;

static int read_own(void *arg, uint64_t address, void *buf, size_t size)
{
	(void)arg;
	read_cnt++;
	if (unreadable && address <= unreadable && unreadable < address + size)
		return -EFAULT;
	memcpy(buf, (const void *)(uintptr_t)address, size);
	return 0;
}

static const struct python_memory memory = { read_own, NULL };

static void setup(void)
{
	unreadable = 0;
	filename = (struct fake_str){ .length = 6, .state = STATE(1, 1) };
	memcpy(filename.compact, "app.py", 6);
	qualname = (struct fake_str){ .length = 3, .state = STATE(2, 0) };
	memcpy(qualname.compact + 16, "k\0\344\0p\0", 6); /* "käp" in UCS-2 */
	linetable = (struct fake_bytes){ .length = 3001 };
	for (int i = 0; i < 3001; i++)
		linetable.data[i] = (uint8_t)(i * 7);
	code = (struct fake_code){ &filename, &qualname, &linetable, 41, 0 };
}

static struct uf_python_code sent_copy(void)
{
	return (struct uf_python_code){
		.address = (uintptr_t)&code,
		.image = 3,
		.tgid = 5,
		.version_hex = 0x030b02f0,
		.time_ns = 7,
	};
}

START_TEST(what_is_missing_is_read)
{
	struct uf_python_code copy = sent_copy();
	struct python_code *names;

	ck_assert(!code_copy__is_whole(&copy));
	ck_assert_int_eq(code_copy__read_again(&memory, &layout, &copy), 0);
	ck_assert(code_copy__is_whole(&copy));
	ck_assert_int_eq(copy.firstlineno, 41);
	ck_assert_uint_eq(copy.linetable_length, 3001);
	ck_assert_uint_eq(copy.linetable_byte_cnt, UF_PYTHON_LINETABLE_BYTES);
	ck_assert_uint_eq(copy.linetable_address, (uintptr_t)linetable.data);
	ck_assert_int_eq(memcmp(copy.linetable, linetable.data, UF_PYTHON_LINETABLE_BYTES), 0);
	ck_assert_uint_eq(copy.image, 3);
	ck_assert_uint_eq(copy.time_ns, 7);
	names = python_code__new(&copy);
	ck_assert_str_eq(python_code__filename(names), "app.py");
	ck_assert_str_eq(python_code__qualname(names), "k\303\244p");
	python_code__free(names);
}
END_TEST

START_TEST(a_copy_that_lacks_one_of_three_is_not_whole)
{
	struct uf_python_code copy = sent_copy();

	ck_assert_int_eq(code_copy__read_again(&memory, &layout, &copy), 0);
	copy.filename.kind = 0;
	ck_assert(!code_copy__is_whole(&copy));
	copy.filename.kind = 1;
	copy.qualname.kind = 0;
	ck_assert(!code_copy__is_whole(&copy));
	copy.qualname.kind = 2;
	ck_assert(code_copy__is_whole(&copy));
	copy.linetable_byte_cnt = 0;
	ck_assert(!code_copy__is_whole(&copy));
}
END_TEST

/* Whatever cannot be read, nothing of the copy has changed. */
START_TEST(a_failed_read_leaves_the_copy)
{
	const uint64_t places[] = {
		(uintptr_t)&code.firstlineno, (uintptr_t)&code.filename, (uintptr_t)&code.qualname,
		(uintptr_t)&code.linetable, (uintptr_t)&filename.length, (uintptr_t)&filename.state,
		(uintptr_t)filename.compact, (uintptr_t)&qualname.length,
		(uintptr_t)(qualname.compact + 16), (uintptr_t)&linetable.length,
		(uintptr_t)linetable.data,
	};
	struct uf_python_code before = sent_copy(), copy = before;

	unreadable = places[_i];
	ck_assert_int_eq(code_copy__read_again(&memory, &layout, &copy), -EFAULT);
	ck_assert_int_eq(memcmp(&copy, &before, sizeof(copy)), 0);
	unreadable = 0;
	ck_assert_int_eq(code_copy__read_again(&memory, &layout, &copy), 0);
}
END_TEST

START_TEST(lengths_that_cannot_be_are_refused)
{
	struct uf_python_code copy = sent_copy();

	filename.length = (1u << 20) + 1;
	ck_assert_int_eq(code_copy__read_again(&memory, &layout, &copy), -EFBIG);
	filename.length = 6;
	linetable.length = (1u << 24) + 1;
	ck_assert_int_eq(code_copy__read_again(&memory, &layout, &copy), -EFBIG);
	linetable.length = UINT64_MAX;
	ck_assert_int_eq(code_copy__read_again(&memory, &layout, &copy), -EFBIG);
	linetable.length = 0;
	ck_assert_int_eq(code_copy__read_again(&memory, &layout, &copy), 0);
	code.filename = NULL;
	ck_assert_int_lt(code_copy__read_again(&memory, &layout, &copy), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("python_code_copy");
	TCase *tcase = tcase_create("python_code_copy");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, what_is_missing_is_read);
	tcase_add_test(tcase, a_copy_that_lacks_one_of_three_is_not_whole);
	tcase_add_loop_test(tcase, a_failed_read_leaves_the_copy, 0, 11);
	tcase_add_test(tcase, lengths_that_cannot_be_are_refused);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
