/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "sym_fixture.h"

#include <errno.h>
#include <link.h>
#include <sys/auxv.h>

/*
 * Goal of this test: places in real binaries get the function, file, line and
 * inlined frames that their compilers wrote down, from wherever the debug
 * information is: in the file, beside it, or under the debug root.
 */

static struct fixture fix;
static struct symbolizer *sym;

static void setup(void)
{
	struct symbolizer_opts opts = {.debug_root = "/nonexistent"};

	fixture__setup(&fix);
	sym = symbolizer__new(&opts);
	ck_assert_ptr_nonnull(sym);
}

static void teardown(void)
{
	symbolizer__free(sym);
	fixture__cleanup(&fix);
}

/* Replaces the symbolizer by one with this debug root (in the scratch directory) and limit. */
static void use_options(const char *root, size_t limit_bytes)
{
	struct symbolizer_opts opts = {.cache_limit_bytes = limit_bytes};

	symbolizer__free(sym);
	opts.debug_root = root && root[0] != '/' ? fixture__path(&fix, root) : root;
	sym = symbolizer__new(&opts);
	ck_assert_ptr_nonnull(sym);
}

static struct sym_module *open_fixture(const char *name)
{
	struct sym_module *mod = open_module(sym, fixture__path(&fix, name));

	ck_assert_ptr_nonnull(mod);
	return mod;
}

static struct place fixture_symbol(const char *name)
{
	struct place place = find_symbol(fixture__path(&fix, "prog"), SHT_SYMTAB, name);

	ck_assert_uint_gt(place.size_bytes, 0);
	return place;
}

/* ---- this program itself ---- */

struct self {
	uint64_t pc, offset;
};

static int find_self(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct self *self = arg;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD &&
		    self->pc - info->dlpi_addr - ph->p_vaddr < ph->p_filesz)
			self->offset = self->pc - info->dlpi_addr - ph->p_vaddr + ph->p_offset;
	}
	return 1; /* the first one is the program */
}

static inline __attribute__((always_inline)) uint64_t here(void)
{
	uint64_t pc;

#ifdef __aarch64__
	__asm__ volatile("adr %0, ." : "=r"(pc));
#else
	__asm__ volatile("lea 0(%%rip), %0\n\tnop" : "=r"(pc));
#endif
	return pc;
}

static __attribute__((noinline)) uint64_t calls_here(uint32_t *line)
{
	uint64_t pc;

	*line = __LINE__ + 1;
	pc = here();
	__asm__ volatile("" : "+r"(pc));
	return pc;
}

START_TEST(own_executable_has_inlined_call_with_its_line)
{
	struct sym_frame frames[MAX_FRAMES];
	struct sym_module *mod;
	struct self self = {0};
	uint32_t line;

	self.pc = calls_here(&line);
	dl_iterate_phdr(find_self, &self);
	mod = open_module(sym, "/proc/self/exe");
	ck_assert_ptr_nonnull(mod);
	ck_assert_int_eq(symbolizer__resolve(sym, mod, self.offset, false, frames, MAX_FRAMES), 2);
	ck_assert_str_eq(frames[0].function, "here");
	ck_assert_str_eq(frames[1].function, "calls_here");
	ck_assert_uint_eq(frames[1].line, line);
	ck_assert_msg(ends_with(frames[1].file, "test_sym.c"), "%s", frames[1].file);
	ck_assert_uint_eq(frames[1].offset, self.pc - (uint64_t)(uintptr_t)calls_here);
}
END_TEST

START_TEST(return_address_means_the_byte_before_it)
{
	struct place outer, hidden;
	struct sym_frame frames[MAX_FRAMES];
	struct sym_module *mod;

	fixture__compile(&fix, "-g");
	mod = open_fixture("prog");
	outer = fixture_symbol("outer");
	hidden = fixture_symbol("hidden");
	symbolizer__resolve(sym, mod, outer.file_offset + outer.size_bytes, true, frames,
			    MAX_FRAMES);
	ck_assert_str_eq(frames[0].function, "outer");
	ck_assert_uint_eq(frames[0].offset, outer.size_bytes);
	symbolizer__resolve(sym, mod, hidden.file_offset, false, frames, MAX_FRAMES);
	ck_assert_str_eq(frames[0].function, "hidden");
	ck_assert_uint_eq(frames[0].offset, 0);
	symbolizer__resolve(sym, mod, 0, true, frames, MAX_FRAMES);
	ck_assert_str_eq(frames[0].function, "");
}
END_TEST

/* ---- kinds of debug information ---- */

static const char *const flavours[] = {
	"-g",
	"-g -gdwarf-4",
	"-g -gdwarf-3 -gstrict-dwarf",
	"-g -gdwarf-5 -gz=zlib",
	"-g -gdwarf-4 -gz=zlib-gnu",
	"-g -flto",
	"-g -no-pie -static",
	"-g -ffunction-sections -Wl,--gc-sections",
};

START_TEST(every_flavour_of_dwarf_gives_the_inlined_chain)
{
	fixture__compile(&fix, flavours[_i]);
	assert_fixture_chain(sym, open_fixture("prog"), fixture_symbol("outer"));
}
END_TEST

START_TEST(clang_without_aranges_gives_the_inlined_chain)
{
	fixture__write(&fix, "prog.c", fixture_source, strlen(fixture_source));
	if (!fixture__try(&fix, "clang -O2 -g -o prog prog.c"))
		skip_test("no clang");
	assert_fixture_chain(sym, open_fixture("prog"), fixture_symbol("outer"));
}
END_TEST

static void count_and_run(void *arg, void (*work)(void *work_arg), void *work_arg)
{
	++*(unsigned int *)arg;
	work(work_arg);
}

START_TEST(what_takes_long_is_told_once)
{
	unsigned int cnt = 0;
	struct symbolizer_opts opts = {
		.debug_root = "/nonexistent", .run_long = count_and_run, .arg = &cnt};
	struct sym_module *mod;
	struct place outer, hidden;

	symbolizer__free(sym);
	sym = symbolizer__new(&opts);
	ck_assert_ptr_nonnull(sym);
	fixture__compile(&fix, "-g");
	mod = open_fixture("prog");
	outer = fixture_symbol("outer");
	hidden = fixture_symbol("hidden");
	ck_assert_uint_eq(cnt, 0);
	assert_fixture_chain(sym, mod, outer);
	/* The unit, and it has both. */
	ck_assert_uint_eq(cnt, 1);
	for (int i = 0; i < 2; i++) {
		struct sym_frame frames[MAX_FRAMES];

		symbolizer__resolve(sym, mod, hidden.file_offset, false, frames, MAX_FRAMES);
		ck_assert_str_eq(frames[0].function, "hidden");
	}
	ck_assert_uint_eq(cnt, 1);
}
END_TEST

START_TEST(few_frames_keep_the_innermost_and_the_real_function)
{
	struct sym_frame frames[MAX_FRAMES], two[2];
	struct sym_module *mod;
	struct place outer;
	uint64_t at = 0;

	fixture__compile(&fix, "-g");
	mod = open_fixture("prog");
	outer = fixture_symbol("outer");
	while (symbolizer__resolve(sym, mod, outer.file_offset + at, false, frames, 3) < 3)
		ck_assert_uint_lt(++at, outer.size_bytes);
	ck_assert_int_eq(symbolizer__resolve(sym, mod, outer.file_offset + at, false, two, 2), 2);
	ck_assert_str_eq(two[0].function, frames[0].function);
	ck_assert_uint_eq(two[0].line, frames[0].line);
	ck_assert_str_eq(two[1].function, "outer");
	ck_assert_uint_eq(two[1].line, 12);
	ck_assert_int_eq(two[1].inlined, false);
	ck_assert_int_eq(symbolizer__resolve(sym, mod, outer.file_offset + at, false, two, 1), 1);
	ck_assert_str_eq(two[0].function, "outer");
	ck_assert_uint_eq(two[0].line, 12);
	ck_assert_uint_eq(two[0].offset, at);
}
END_TEST

/* ---- symbols ---- */

START_TEST(without_debug_info_symbols_name_the_function)
{
	fixture__compile(&fix, "-g0");
	assert_symbol_only(sym, open_fixture("prog"), fixture_symbol("hidden"), "hidden");
}
END_TEST

START_TEST(stripped_function_has_no_name_rather_than_its_neighbours)
{
	struct place outer, hidden;
	struct sym_module *mod;

	fixture__compile(&fix, "-g -rdynamic");
	outer = fixture_symbol("outer");
	hidden = fixture_symbol("hidden");
	fixture__run(&fix, "strip -o stripped prog");
	mod = open_fixture("stripped");
	assert_symbol_only(sym, mod, outer, "outer");
	assert_symbol_only(sym, mod, hidden, "");
}
END_TEST

static const char *const plt_flavours[] = {
	"-Wl,-z,lazy -fcf-protection=none",
	"-Wl,-z,now -fcf-protection=none -fno-plt -Wl,-z,norelro",
	"-Wl,-z,lazy -fcf-protection=full -Wl,-z,ibtplt",
	"-fuse-ld=lld",
};

/* Whether any stub of the section is called malloc@plt. */
static bool has_malloc_stub(struct sym_module *mod, const char *section)
{
	struct place place = find_section(fixture__path(&fix, "prog"), section);
	struct sym_frame frame;

	for (uint64_t at = 0; at < place.size_bytes; at += 4) {
		symbolizer__resolve(sym, mod, place.file_offset + at, false, &frame, 1);
		if (!strcmp(frame.function, "malloc@plt"))
			return true;
	}
	return false;
}

START_TEST(plt_stubs_have_the_names_of_their_symbols)
{
	struct sym_module *mod;

	fixture__write(&fix, "prog.c", fixture_source, strlen(fixture_source));
	if (!fixture__try(&fix, "gcc -O2 %s -o prog prog.c", plt_flavours[_i]))
		skip_test(plt_flavours[_i]);
	mod = open_fixture("prog");
	/* -fno-plt calls through the GOT: no stub, and nothing else must get the name. */
	ck_assert_int_eq(has_malloc_stub(mod, ".plt") || has_malloc_stub(mod, ".plt.sec") ||
				 has_malloc_stub(mod, ".plt.got"),
			 !strstr(plt_flavours[_i], "-fno-plt"));
}
END_TEST

START_TEST(cplusplus_names_are_demangled_with_their_parameters)
{
	static const char source[] =
		"#include <vector>\n"
		"namespace app {\n"
		"struct store { std::vector<int *> v; __attribute__((noinline)) void add(int n); "
		"};\n"
		"__attribute__((noinline)) void store::add(int n)\n"
		"{\n"
		"	v.push_back(new int(n));\n" /* 6 */
		"}\n"
		"}\n"
		"int main(int argc, char **) { app::store s; s.add(argc); return 0; }\n";
	struct sym_frame frames[MAX_FRAMES];
	struct place place;
	int cnt;

	fixture__write(&fix, "prog.cc", source, strlen(source));
	if (!fixture__try(&fix, "g++ -O2 -g -o prog prog.cc"))
		skip_test("no g++");
	place = fixture_symbol("_ZN3app5store3addEi");
	cnt = resolve_line(sym, open_fixture("prog"), place, "app::store::add(int)", 6, frames);
	ck_assert_int_eq(cnt, 1);
	ck_assert_msg(ends_with(frames[0].file, "/prog.cc"), "%s", frames[0].file);
}
END_TEST

START_TEST(vdso_in_memory_has_its_public_names)
{
	const ElfW(Ehdr) *image = (const void *)getauxval(AT_SYSINFO_EHDR);
	struct sym_frame frame;
	struct sym_module *mod;
	struct place place;
	size_t size_bytes;

	if (!image)
		skip_test("no vDSO");
	size_bytes = image->e_shoff + (size_t)image->e_shnum * image->e_shentsize;
	mod = symbolizer__open_memory(sym, image, size_bytes, "[vdso]");
	ck_assert_ptr_nonnull(mod);
	ck_assert_str_eq(sym_module__path(mod), "[vdso]");
	fixture__write(&fix, "vdso", image, size_bytes);
#ifdef __aarch64__
	place = find_symbol(fixture__path(&fix, "vdso"), SHT_DYNSYM, "__kernel_clock_gettime");
	symbolizer__resolve(sym, mod, place.file_offset + 4, false, &frame, 1);
	ck_assert_str_eq(frame.function, "__kernel_clock_gettime");
#else
	place = find_symbol(fixture__path(&fix, "vdso"), SHT_DYNSYM, "__vdso_clock_gettime");
	symbolizer__resolve(sym, mod, place.file_offset + 4, false, &frame, 1);
	ck_assert_str_eq(frame.function, "clock_gettime");
#endif
	ck_assert_uint_eq(frame.offset, 4);
}
END_TEST

/* ---- separate debug files ---- */

START_TEST(libc_debug_file_is_found_by_build_id)
{
	struct sym_frame frame;
	struct sym_module *mod;
	struct place place;
	char path[PATH_MAX], debug[PATH_MAX];
	Dl_info info;
	const char *id;

	ck_assert_int_ne(dladdr((void *)getauxval, &info), 0);
	snprintf(path, sizeof(path), "%s", info.dli_fname);
	use_options(NULL, 0);
	mod = open_module(sym, path);
	ck_assert_ptr_nonnull(mod);
	id = sym_module__build_id(mod);
	ck_assert_uint_eq(strlen(id), 40);
	snprintf(debug, sizeof(debug), "/usr/lib/debug/.build-id/%.2s/%s.debug", id, id + 2);
	if (access(debug, R_OK))
		skip_test("no libc6-dbg");
	place = find_symbol(path, SHT_DYNSYM, "malloc");
	symbolizer__resolve(sym, mod, place.file_offset + place.size_bytes / 2, false, &frame, 1);
	ck_assert_str_eq(frame.function, "malloc");
	ck_assert_msg(ends_with(frame.file, "/malloc.c"), "%s", frame.file);
	ck_assert_uint_gt(frame.line, 0);
}
END_TEST

/* prog is stripped into "stripped", its debug information moved to "prog.debug". */
static void split_fixture(const char *flags)
{
	fixture__compile(&fix, flags);
	fixture__run(&fix, "objcopy --only-keep-debug prog prog.debug && strip -o stripped prog");
}

static const char *const link_places[] = {".", ".debug", "root/$PWD"};

START_TEST(debuglink_is_followed_to_each_place)
{
	split_fixture("-g");
	fixture__run(&fix, "objcopy --add-gnu-debuglink=prog.debug stripped");
	fixture__run(&fix, "mkdir -p %s && { test %s = . || mv prog.debug %s/; }", link_places[_i],
		     link_places[_i], link_places[_i]);
	use_options("root", 0);
	assert_fixture_chain(sym, open_fixture("stripped"), fixture_symbol("outer"));
}
END_TEST

START_TEST(debuglink_is_followed_inside_a_containers_root)
{
	struct sym_module *mod;
	char path[2 * PATH_MAX];

	split_fixture("-g");
	fixture__run(&fix, "objcopy --add-gnu-debuglink=prog.debug stripped && "
			   "mkdir .debug && mv prog.debug .debug/");
	snprintf(path, sizeof(path), "/proc/%d/root%s", getpid(), fixture__path(&fix, "stripped"));
	mod = open_module(sym, path);
	ck_assert_ptr_nonnull(mod);
	assert_fixture_chain(sym, mod, fixture_symbol("outer"));
}
END_TEST

/* Moves prog.debug to where its build-id, or another one, leads. */
static void file_by_build_id(const char *id)
{
	fixture__run(&fix,
		     "mkdir -p root/.build-id/%.2s && "
		     "cp prog.debug root/.build-id/%.2s/%s.debug",
		     id, id, id + 2);
}

/* The fixture's directory as a container's root, which we are in ourselves. */
static struct sym_module *open_in_container(const char *name, uint64_t origin)
{
	char path[2 * PATH_MAX];
	struct sym_module *mod;
	int fd = open(fixture__path(&fix, name), O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	snprintf(path, sizeof(path), "/proc/%d/root%s", getpid(), fixture__path(&fix, name));
	mod = symbolizer__open_foreign_fd(sym, fd, path, origin);
	close(fd);
	ck_assert_ptr_nonnull(mod);
	return mod;
}

START_TEST(a_containers_debug_file_is_found_when_its_file_is_opened)
{
	struct sym_module *mod;

	split_fixture("-g");
	fixture__run(&fix, "objcopy --add-gnu-debuglink=prog.debug stripped");
	mod = open_in_container("stripped", 7);
	fixture__run(&fix, "mv prog.debug gone"); /* as it will be when the container has ended */
	assert_fixture_chain(sym, mod, fixture_symbol("outer"));
	assert_symbol_only(sym, mod, fixture_symbol("_start"), "_start");
}
END_TEST

START_TEST(a_containers_names_are_its_own)
{
	struct sym_module *first, *hosts, *other;

	split_fixture("-g");
	fixture__run(&fix, "objcopy --add-gnu-debuglink=prog.debug stripped");
	first = open_in_container("stripped", 7);
	ck_assert_ptr_eq(open_in_container("stripped", 7), first);
	fixture__run(&fix, "mv prog.debug gone");
	hosts = open_fixture("stripped");
	other = open_in_container("stripped", 11);
	ck_assert_ptr_ne(hosts, first);
	ck_assert_ptr_eq(other, hosts); /* it has nothing to add to it */
	assert_fixture_chain(sym, first, fixture_symbol("outer"));
	assert_symbol_only(sym, hosts, fixture_symbol("outer"), "");
	fixture__run(&fix, "mv gone prog.debug");
	ck_assert_ptr_ne(open_in_container("stripped", 13), hosts);
	ck_assert_ptr_ne(open_in_container("stripped", 13), first);
}
END_TEST

START_TEST(the_hosts_debug_file_is_preferred_and_must_have_the_build_id)
{
	struct sym_module *mod;

	split_fixture("-g");
	use_options("root", 0);
	fixture__run(&fix, "objcopy --add-gnu-debuglink=prog.debug stripped");
	mod = open_fixture("stripped");
	file_by_build_id(sym_module__build_id(mod));
	use_options("root", 0); /* without that module */
	/* The container's would do as well, but the host's has the last word. */
	ck_assert_ptr_eq(open_in_container("stripped", 7), open_in_container("stripped", 7));
	fixture__run(&fix, "rm prog.debug");
	assert_fixture_chain(sym, open_in_container("stripped", 11), fixture_symbol("outer"));
}
END_TEST

START_TEST(debuglink_with_another_crc_is_refused)
{
	split_fixture("-g");
	fixture__run(&fix, "objcopy --add-gnu-debuglink=prog.debug stripped && echo >>prog.debug");
	assert_symbol_only(sym, open_fixture("stripped"), fixture_symbol("outer"), "");
}
END_TEST

START_TEST(debug_root_is_searched_by_build_id)
{
	struct sym_module *mod;

	split_fixture("-g -gz=zlib");
	use_options("root", 0);
	mod = open_fixture("stripped");
	file_by_build_id(sym_module__build_id(mod));
	assert_fixture_chain(sym, mod, fixture_symbol("outer"));
	/* The debug file's .symtab counts too. */
	assert_symbol_only(sym, mod, fixture_symbol("_start"), "_start");
}
END_TEST

START_TEST(debug_file_of_another_build_is_refused)
{
	struct sym_module *mod;

	split_fixture("-g");
	use_options("root", 0);
	fixture__run(&fix,
		     "gcc -O1 -g -Wl,--build-id=sha1 -o other prog.c && strip -o stripped2 other");
	mod = open_fixture("stripped2");
	file_by_build_id(sym_module__build_id(mod));
	assert_symbol_only(sym, mod, find_symbol(fixture__path(&fix, "other"), SHT_SYMTAB, "outer"),
			   "");
}
END_TEST

/* Two programs whose common names dwz moves into a supplementary file. */
static bool make_dwz(void)
{
	fixture__compile(&fix, "-g -gdwarf-4");
	fixture__run(&fix, "gcc -O1 -g -gdwarf-4 -Wl,--build-id=sha1 -o second prog.c");
	return fixture__try(&fix, "dwz -m common.dwz -r prog second && "
				  "readelf -S prog | grep -q gnu_debugaltlink");
}

START_TEST(dwz_supplementary_file_is_followed)
{
	if (!make_dwz())
		skip_test("no dwz");
	assert_fixture_chain(sym, open_fixture("prog"), fixture_symbol("outer"));
}
END_TEST

START_TEST(missing_dwz_file_costs_names_but_not_lines)
{
	struct sym_frame frames[MAX_FRAMES];
	struct sym_module *mod;
	struct place outer;

	if (!make_dwz())
		skip_test("no dwz");
	fixture__run(&fix, "rm common.dwz");
	mod = open_fixture("prog");
	outer = fixture_symbol("outer");
	symbolizer__resolve(sym, mod, outer.file_offset, false, frames, MAX_FRAMES);
	ck_assert_str_eq(frames[0].function, "outer"); /* by its symbol */
	ck_assert_uint_eq(frames[0].line, 11);
}
END_TEST

/* ---- modules and memory ---- */

START_TEST(copies_of_a_file_are_one_module)
{
	struct sym_module *mod, *copy, *stripped;

	split_fixture("-g");
	fixture__run(&fix, "cp prog copy");
	mod = open_fixture("prog");
	copy = open_fixture("copy");
	stripped = open_fixture("stripped");
	ck_assert_ptr_eq(mod, copy);
	ck_assert_ptr_ne(mod, stripped); /* the same build-id, another size */
	ck_assert_str_eq(sym_module__build_id(mod), sym_module__build_id(stripped));
	ck_assert_msg(ends_with(sym_module__path(copy), "/prog"), "%s", sym_module__path(copy));
}
END_TEST

/* Bytes that the fixture takes once its places were looked up, names left out. */
static size_t fixture_bytes(size_t *strings_bytes)
{
	*strings_bytes = symbolizer__memory_bytes(sym) + (65 << 10); /* and their first chunk */
	assert_fixture_chain(sym, open_fixture("prog"), fixture_symbol("outer"));
	ck_assert_uint_gt(symbolizer__memory_bytes(sym), *strings_bytes);
	return symbolizer__memory_bytes(sym) - *strings_bytes;
}

START_TEST(cache_limit_holds_and_dropped_modules_come_back)
{
	enum { PROGRAMS = 6, ROUNDS = 3 };
	struct sym_module *mods[PROGRAMS];
	size_t strings_bytes, module_bytes;
	struct place outer;
	char name[32];

	fixture__compile(&fix, "-g");
	module_bytes = fixture_bytes(&strings_bytes);
	use_options("/nonexistent", 3 * module_bytes);
	for (int i = 0; i < PROGRAMS; i++) {
		fixture__run(&fix, "gcc -O2 -g -Wl,--build-id=0x%08x -o prog%d prog.c", i + 1, i);
		snprintf(name, sizeof(name), "prog%d", i);
		mods[i] = open_fixture(name);
	}
	outer = find_symbol(fixture__path(&fix, "prog0"), SHT_SYMTAB, "outer");
	for (int i = 0; i < ROUNDS * PROGRAMS; i++) {
		assert_fixture_chain(sym, mods[i % PROGRAMS], outer);
		ck_assert_uint_le(symbolizer__memory_bytes(sym), 3 * module_bytes + strings_bytes);
	}
}
END_TEST

START_TEST(limit_too_small_for_debug_info_leaves_symbols)
{
	fixture__compile(&fix, "-g3"); /* its macros alone are more than that */
	use_options("/nonexistent", 32 << 10);
	assert_symbol_only(sym, open_fixture("prog"), fixture_symbol("outer"), "outer");
}
END_TEST

START_TEST(strings_outlive_the_debug_info_they_came_from)
{
	struct sym_frame frames[MAX_FRAMES];
	size_t module_bytes, strings_bytes;
	struct sym_module *mod;

	fixture__compile(&fix, "-g");
	module_bytes = fixture_bytes(&strings_bytes);
	use_options("/nonexistent", module_bytes - 1); /* one look-up, and the index goes */
	mod = open_fixture("prog");
	ck_assert_int_eq(resolve_line(sym, mod, fixture_symbol("outer"), "inner", 4, frames), 3);
	ck_assert_uint_lt(symbolizer__memory_bytes(sym), strings_bytes + module_bytes / 2);
	ck_assert_str_eq(frames[1].function, "middle");
	ck_assert_msg(ends_with(frames[1].file, "/prog.c"), "%s", frames[1].file);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, own_executable_has_inlined_call_with_its_line);
	tcase_add_test(tcase, return_address_means_the_byte_before_it);
	tcase_add_loop_test(tcase, every_flavour_of_dwarf_gives_the_inlined_chain, 0,
			    (int)(sizeof(flavours) / sizeof(flavours[0])));
	tcase_add_test(tcase, clang_without_aranges_gives_the_inlined_chain);
	tcase_add_test(tcase, what_takes_long_is_told_once);
	tcase_add_test(tcase, few_frames_keep_the_innermost_and_the_real_function);
	tcase_add_test(tcase, without_debug_info_symbols_name_the_function);
	tcase_add_test(tcase, stripped_function_has_no_name_rather_than_its_neighbours);
	tcase_add_loop_test(tcase, plt_stubs_have_the_names_of_their_symbols, 0,
			    (int)(sizeof(plt_flavours) / sizeof(plt_flavours[0])));
	tcase_add_test(tcase, cplusplus_names_are_demangled_with_their_parameters);
	tcase_add_test(tcase, vdso_in_memory_has_its_public_names);
	tcase_add_test(tcase, libc_debug_file_is_found_by_build_id);
	tcase_add_loop_test(tcase, debuglink_is_followed_to_each_place, 0,
			    (int)(sizeof(link_places) / sizeof(link_places[0])));
	tcase_add_test(tcase, debuglink_is_followed_inside_a_containers_root);
	tcase_add_test(tcase, a_containers_debug_file_is_found_when_its_file_is_opened);
	tcase_add_test(tcase, a_containers_names_are_its_own);
	tcase_add_test(tcase, the_hosts_debug_file_is_preferred_and_must_have_the_build_id);
	tcase_add_test(tcase, debuglink_with_another_crc_is_refused);
	tcase_add_test(tcase, debug_root_is_searched_by_build_id);
	tcase_add_test(tcase, debug_file_of_another_build_is_refused);
	tcase_add_test(tcase, dwz_supplementary_file_is_followed);
	tcase_add_test(tcase, missing_dwz_file_costs_names_but_not_lines);
	tcase_add_test(tcase, copies_of_a_file_are_one_module);
	tcase_add_test(tcase, cache_limit_holds_and_dropped_modules_come_back);
	tcase_add_test(tcase, limit_too_small_for_debug_info_leaves_symbols);
	tcase_add_test(tcase, strings_outlive_the_debug_info_they_came_from);
}

int main(void)
{
	Suite *suite = suite_create("sym");
	TCase *tcase = tcase_create("sym");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120); /* compilers run under it */
	add_tests(tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
