/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "sym_fixture.h"

#include <elf.h>
#include <errno.h>
#include <zlib.h>

/*
 * Goal of this test: whatever a file claims, symbolizing it ends, soon and
 * without a crash, and the worst it costs is names. (That nothing is read out of
 * bounds is for the sanitizers and valgrind to see.)
 */

static struct fixture fix;
static struct symbolizer *sym;

static void setup(void)
{
	struct symbolizer_opts opts;

	fixture__setup(&fix);
	opts = (struct symbolizer_opts){.debug_root = fixture__path(&fix, "root"),
					.cache_limit_bytes = 64 << 20};
	sym = symbolizer__new(&opts);
	ck_assert_ptr_nonnull(sym);
}

static void teardown(void)
{
	symbolizer__free(sym);
	fixture__cleanup(&fix);
}

static void new_symbolizer(void)
{
	struct symbolizer_opts opts = {.debug_root = fixture__path(&fix, "root"),
				       .cache_limit_bytes = 64 << 20};

	symbolizer__free(sym);
	sym = symbolizer__new(&opts);
	ck_assert_ptr_nonnull(sym);
}

/* Resolves places all over the image, and reads what comes back. */
static void resolve_many(struct sym_module *mod, uint64_t size_bytes)
{
	struct sym_frame frames[MAX_FRAMES];
	size_t total = 0;

	for (uint64_t at = 0; at < size_bytes; at += size_bytes / 97 + 1) {
		int cnt = symbolizer__resolve(sym, mod, at, at & 1, frames, MAX_FRAMES);

		ck_assert_int_ge(cnt, 1);
		ck_assert_int_le(cnt, MAX_FRAMES);
		for (int i = 0; i < cnt; i++)
			total += strlen(frames[i].function) + strlen(frames[i].file);
	}
	ck_assert_uint_le(total, 97 * MAX_FRAMES * 2 * 4096ul);
}

/* Opens the image both ways a module can come, and resolves. True if it was taken for one. */
static bool try_image(const void *image, size_t size_bytes)
{
	struct sym_module *mod;

	new_symbolizer();
	fixture__write(&fix, "image", image, size_bytes);
	mod = open_module(sym, fixture__path(&fix, "image"));
	if (mod)
		resolve_many(mod, 0x3000);
	else
		ck_assert_int_eq(errno, ENOEXEC);
	if (mod) {
		new_symbolizer();
		mod = symbolizer__open_memory(sym, image, size_bytes, "image");
		ck_assert_ptr_nonnull(mod);
		resolve_many(mod, 0x3000);
	}
	return mod;
}

/* ---- what is no module ---- */

static void assert_refused(const char *name)
{
	errno = 0;
	ck_assert_ptr_null(open_module(sym, fixture__path(&fix, name)));
	ck_assert_int_eq(errno, ENOEXEC);
}

START_TEST(files_that_are_no_program_are_refused)
{
	fixture__write(&fix, "prog.c", fixture_source, strlen(fixture_source));
	fixture__run(&fix, ": >empty; mkdir directory; gcc -c prog.c && ar r archive.a prog.o");
	fixture__write(&fix, "magic", ELFMAG, SELFMAG);
	assert_refused("prog.c");
	assert_refused("empty");
	assert_refused("directory");
	assert_refused("prog.o");
	assert_refused("archive.a");
	assert_refused("magic");
	assert_refused("../../dev/null");
}
END_TEST

START_TEST(pipe_is_refused_without_reading_it)
{
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_ptr_null(symbolizer__open_fd(sym, fds[0], "pipe"));
	ck_assert_int_eq(errno, ENOEXEC);
	ck_assert_ptr_null(symbolizer__open_fd(sym, -1, "closed"));
	ck_assert_int_eq(errno, EBADF);
	ck_assert_ptr_null(symbolizer__open_memory(sym, "", 0, "nothing"));
	ck_assert_int_eq(errno, ENOEXEC);
}
END_TEST

/* ---- damaged files ---- */

static const char *const flavours[] = {"-g", "-g -gdwarf-4 -gz", "-g3 -gdwarf-4"};

START_TEST(truncated_file_gives_less)
{
	size_t size_bytes, taken = 0;
	char *image;

	fixture__compile(&fix, flavours[_i]);
	image = fixture__read(&fix, "prog", &size_bytes);
	for (size_t len = 1; len < size_bytes; len += len < 256 ? 7 : size_bytes / 211)
		taken += try_image(image, len);
	ck_assert_uint_gt(taken, 100);
	free(image);
}
END_TEST

START_TEST(file_truncated_after_opening_gives_less)
{
	struct sym_frame frames[MAX_FRAMES];
	struct sym_module *mod;
	struct place outer;

	fixture__compile(&fix, "-g");
	outer = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, "outer");
	mod = open_module(sym, fixture__path(&fix, "prog"));
	ck_assert_ptr_nonnull(mod);
	ck_assert_int_eq(truncate(fixture__path(&fix, "prog"), 100), 0);
	symbolizer__resolve(sym, mod, outer.file_offset, false, frames, MAX_FRAMES);
	ck_assert_str_eq(frames[0].function, "outer");
	ck_assert_str_eq(frames[0].file, "");
}
END_TEST

/* Not rand(): the same damage everywhere. */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static const char *const damaged[] = {".debug_info",	 ".debug_abbrev",   ".debug_line",
				      ".debug_rnglists", ".debug_line_str", ".symtab",
				      ".strtab",	 ".dynsym",	    ".rela.plt"};

/* SYM_ROUNDS in the environment asks for more of them than a test run can afford. */
START_TEST(damaged_section_gives_less)
{
	int rounds = getenv("SYM_ROUNDS") ? atoi(getenv("SYM_ROUNDS")) : 60;
	uint32_t state = 0x9e3779b9u + (uint32_t)_i;
	char *image, *copy;
	struct place place;
	size_t size_bytes;

	fixture__compile(&fix, "-g");
	place = find_section(fixture__path(&fix, "prog"), damaged[_i]);
	ck_assert_uint_gt(place.size_bytes, 0);
	image = fixture__read(&fix, "prog", &size_bytes);
	copy = malloc(size_bytes);
	for (int round = 0; round < rounds; round++) {
		memcpy(copy, image, size_bytes);
		for (uint32_t i = next_random(&state) % 8; i < 8; i++)
			copy[place.file_offset + next_random(&state) % place.size_bytes] =
				(char)(next_random(&state) % 3 ? next_random(&state) : 0xff);
		ck_assert(try_image(copy, size_bytes));
	}
	free(copy);
	free(image);
}
END_TEST

START_TEST(damaged_headers_give_less)
{
	int rounds = getenv("SYM_ROUNDS") ? atoi(getenv("SYM_ROUNDS")) : 200;
	uint32_t state = 0xdeadbeef;
	size_t size_bytes, headers;
	char *image, *copy;
	Elf64_Ehdr ehdr;

	fixture__compile(&fix, "-g");
	image = fixture__read(&fix, "prog", &size_bytes);
	memcpy(&ehdr, image, sizeof(ehdr));
	headers = ehdr.e_shnum * sizeof(Elf64_Shdr);
	copy = malloc(size_bytes);
	for (int round = 0; round < rounds; round++) {
		bool sections = next_random(&state) % 4;
		size_t base = sections ? ehdr.e_shoff : 0, len = sections ? headers : 0x400;

		memcpy(copy, image, size_bytes);
		for (int i = 0; i < 4; i++)
			copy[base + next_random(&state) % len] = (char)next_random(&state);
		try_image(copy, size_bytes);
	}
	free(copy);
	free(image);
}
END_TEST

/* ---- claims ---- */

static Elf64_Shdr *section_header(char *image, const char *name)
{
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)image;
	Elf64_Shdr *shdrs = (Elf64_Shdr *)(image + ehdr->e_shoff);
	const char *names = image + shdrs[ehdr->e_shstrndx].sh_offset;

	for (int i = 0; i < ehdr->e_shnum; i++)
		if (!strcmp(names + shdrs[i].sh_name, name))
			return &shdrs[i];
	ck_abort_msg("no section %s", name);
	return NULL;
}

/* Writes the image as a sparse file of a terabyte. */
static struct sym_module *open_sparse(const char *image, size_t size_bytes)
{
	fixture__write(&fix, "sparse", image, size_bytes);
	ck_assert_int_eq(truncate(fixture__path(&fix, "sparse"), 1l << 40), 0);
	return open_module(sym, fixture__path(&fix, "sparse"));
}

START_TEST(sparse_file_does_not_back_any_size_it_claims)
{
	static const char *const sections[] = {".symtab",	    ".strtab",	 ".debug_info",
					       ".debug_line",	    ".shstrtab", ".rela.plt",
					       ".note.gnu.build-id"};
	struct sym_module *mod;
	struct place outer;
	size_t size_bytes;
	char *image;

	fixture__compile(&fix, "-g -Wl,-z,lazy");
	outer = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, "outer");
	image = fixture__read(&fix, "prog", &size_bytes);
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		Elf64_Shdr *shdr = section_header(image, sections[i]), saved = *shdr;

		new_symbolizer();
		shdr->sh_size = 1ul << 39;
		mod = open_sparse(image, size_bytes);
		ck_assert_ptr_nonnull(mod);
		resolve_many(mod, outer.file_offset + outer.size_bytes);
		ck_assert_uint_lt(symbolizer__memory_bytes(sym), 64 << 20);
		*shdr = saved;
	}
	free(image);
}
END_TEST

START_TEST(more_sections_than_a_program_has_are_refused)
{
	Elf64_Shdr *shdrs;
	size_t size_bytes;
	Elf64_Ehdr *ehdr;
	char *image;

	fixture__compile(&fix, "-g");
	image = fixture__read(&fix, "prog", &size_bytes);
	ehdr = (Elf64_Ehdr *)image;
	shdrs = (Elf64_Shdr *)(image + ehdr->e_shoff);
	ehdr->e_shnum = 0; /* the count is in section 0 */
	shdrs[0].sh_size = 1ul << 21;
	ck_assert_ptr_null(open_sparse(image, size_bytes));
	ck_assert_int_eq(errno, ENOEXEC);
	shdrs[0].sh_size = 30;
	shdrs[0].sh_info = UINT32_MAX; /* program headers */
	ehdr->e_phnum = PN_XNUM;
	ck_assert_ptr_null(open_sparse(image, size_bytes));
	ck_assert_int_eq(errno, ENOEXEC);
	free(image);
}
END_TEST

START_TEST(compressed_section_that_claims_a_terabyte_is_not_expanded)
{
	struct place outer;
	size_t size_bytes;
	Elf64_Chdr *chdr;
	char *image;

	fixture__compile(&fix, "-g3 -gdwarf-5 -gz=zlib");
	outer = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, "outer");
	image = fixture__read(&fix, "prog", &size_bytes);
	chdr = (Elf64_Chdr *)(image + section_header(image, ".debug_str")->sh_offset);
	chdr->ch_size = 1ul << 40;
	fixture__write(&fix, "bomb", image, size_bytes);
	assert_symbol_only(sym, open_module(sym, fixture__path(&fix, "bomb")), outer, "outer");
	free(image);
}
END_TEST

/* ---- names of other files ---- */

/* prog without debug information, with a debuglink of our own making. */
static struct sym_module *open_linked(const char *link, uint32_t crc)
{
	size_t len = strlen(link) + 1, padded = (len + 3) & ~3ul;
	char section[512] = "";

	memcpy(section, link, len);
	memcpy(section + padded, &crc, sizeof(crc));
	fixture__write(&fix, "section", section, padded + sizeof(crc));
	fixture__run(&fix, "strip -o stripped prog && "
			   "objcopy --add-section .gnu_debuglink=section stripped");
	return open_module(sym, fixture__path(&fix, "stripped"));
}

static uint32_t file_crc(const char *name)
{
	size_t size_bytes;
	void *bytes = fixture__read(&fix, name, &size_bytes);
	uint32_t crc = (uint32_t)crc32(0, bytes, (uInt)size_bytes);

	free(bytes);
	return crc;
}

START_TEST(debuglink_to_what_is_no_file_does_not_block)
{
	static const char *const makers[] = {"mkfifo .debug/link", "ln -s /dev/zero .debug/link",
					     "mkdir .debug/link", "ln -s link .debug/link"};
	struct place outer;

	fixture__compile(&fix, "-g");
	outer = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, "outer");
	fixture__run(&fix, "mkdir .debug && %s", makers[_i]);
	assert_symbol_only(sym, open_linked("link", 0), outer, "");
}
END_TEST

START_TEST(debuglink_with_a_slash_leads_nowhere)
{
	struct place outer;
	char link[PATH_MAX];

	fixture__compile(&fix, "-g");
	outer = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, "outer");
	fixture__run(&fix, "mkdir sub && cp prog sub/prog.debug && cp prog sub.debug");
	/* Only the slash is wrong with it: */
	assert_fixture_chain(sym, open_linked("sub.debug", file_crc("prog")), outer);
	new_symbolizer();
	assert_symbol_only(sym, open_linked("sub/prog.debug", file_crc("prog")), outer, "");
	new_symbolizer();
	snprintf(link, sizeof(link), "../%s/sub/prog.debug", strrchr(fix.dir, '/') + 1);
	assert_symbol_only(sym, open_linked(link, file_crc("prog")), outer, "");
}
END_TEST

START_TEST(build_id_path_to_a_fifo_does_not_block)
{
	struct sym_module *mod;
	struct place outer;
	const char *id;

	fixture__compile(&fix, "-g");
	outer = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, "outer");
	mod = open_linked("none", 0);
	id = sym_module__build_id(mod);
	fixture__run(&fix, "mkdir -p root/.build-id/%.2s && mkfifo root/.build-id/%.2s/%s.debug",
		     id, id, id + 2);
	assert_symbol_only(sym, mod, outer, "");
}
END_TEST

START_TEST(supplementary_file_that_is_a_fifo_does_not_block)
{
	struct sym_frame frames[MAX_FRAMES];
	struct place outer;

	fixture__compile(&fix, "-g -gdwarf-4");
	fixture__run(&fix, "gcc -O1 -g -gdwarf-4 -o second prog.c");
	if (!fixture__try(&fix, "dwz -m common.dwz -r prog second && "
				"readelf -S prog | grep -q gnu_debugaltlink"))
		skip_test("no dwz");
	/* Beside the program, and where libdw would look by itself. */
	fixture__run(&fix, "rm common.dwz && mkfifo common.dwz");
	outer = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, "outer");
	ck_assert_int_eq(chdir(fix.dir), 0);
	symbolizer__resolve(sym, open_module(sym, fixture__path(&fix, "prog")), outer.file_offset,
			    false, frames, MAX_FRAMES);
	ck_assert_str_eq(frames[0].function, "outer");
	ck_assert_uint_eq(frames[0].line, 11);
}
END_TEST

START_TEST(split_unit_that_is_a_fifo_does_not_block)
{
	struct sym_frame frames[MAX_FRAMES];
	struct place outer;

	fixture__compile(&fix, "-g -gsplit-dwarf");
	fixture__run(&fix, "rm -f *.dwo && mkfifo prog.dwo prog-prog.dwo a-prog.dwo");
	outer = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, "outer");
	ck_assert_int_eq(chdir(fix.dir), 0);
	symbolizer__resolve(sym, open_module(sym, fixture__path(&fix, "prog")), outer.file_offset,
			    false, frames, MAX_FRAMES);
	ck_assert_str_eq(frames[0].function, "outer");
	ck_assert_uint_eq(frames[0].line, 11);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, files_that_are_no_program_are_refused);
	tcase_add_test(tcase, pipe_is_refused_without_reading_it);
	tcase_add_loop_test(tcase, truncated_file_gives_less, 0, COUNT(flavours));
	tcase_add_test(tcase, file_truncated_after_opening_gives_less);
	tcase_add_loop_test(tcase, damaged_section_gives_less, 0, COUNT(damaged));
	tcase_add_test(tcase, damaged_headers_give_less);
	tcase_add_test(tcase, sparse_file_does_not_back_any_size_it_claims);
	tcase_add_test(tcase, more_sections_than_a_program_has_are_refused);
	tcase_add_test(tcase, compressed_section_that_claims_a_terabyte_is_not_expanded);
	tcase_add_loop_test(tcase, debuglink_to_what_is_no_file_does_not_block, 0, 4);
	tcase_add_test(tcase, debuglink_with_a_slash_leads_nowhere);
	tcase_add_test(tcase, build_id_path_to_a_fifo_does_not_block);
	tcase_add_test(tcase, supplementary_file_that_is_a_fifo_does_not_block);
	tcase_add_test(tcase, split_unit_that_is_a_fifo_does_not_block);
}

int main(void)
{
	Suite *suite = suite_create("sym_hostile");
	TCase *tcase = tcase_create("sym_hostile");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120); /* a test that blocks fails by this */
	add_tests(tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
