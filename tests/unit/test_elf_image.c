/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf_builder.h"
#include "probe/elf_image.h"

/*
 * Goal of this test: function symbols, code and identity of well-formed files
 * come out right through every table that a file may have; and a file that lies,
 * is cut or changes underneath gives an error or fewer symbols, never wrong
 * memory (sanitizers watch).
 */

#define SEEN_MAX 8192

struct seen {
	struct elf_symbol syms[SEEN_MAX];
	size_t cnt;
	int stop_at; /* return 7 at this many; 0: never */
};

static struct seen seen;

static int see(const struct elf_symbol *sym, void *arg)
{
	struct seen *s = arg;

	ck_assert_uint_lt(s->cnt, SEEN_MAX);
	s->syms[s->cnt++] = *sym;
	return s->stop_at && s->cnt == (size_t)s->stop_at ? 7 : 0;
}

static int see_all(const struct elf_image *img)
{
	memset(&seen, 0, sizeof(seen));
	return elf_image__for_each_function(img, see, &seen);
}

static const struct elf_symbol *find_seen(const char *name)
{
	for (size_t i = 0; i < seen.cnt; i++) {
		if (!strcmp(seen.syms[i].name, name))
			return &seen.syms[i];
	}
	return NULL;
}

static struct elf_image *open_bytes(const void *bytes, size_t size)
{
	int fd = memfd_with(bytes, size);
	struct elf_image *img = elf_image__open_fd(fd);
	int err = errno;

	close(fd);
	errno = err;
	return img;
}

static struct built_elf built;

static struct elf_image *open_built(const struct elf_spec *spec)
{
	build_elf(&built, spec);
	return open_bytes(built.bytes, built.size);
}

static const struct built_func two_funcs[] = {
	{ .name = "malloc", .code = "\x53\x5b\xc3", .code_len = 3 },
	{ .name = "free", .code = "\x55\x5d\xc3", .code_len = 3, .bind = STB_WEAK },
};

static void check_two_funcs(const struct elf_spec *spec, bool is_dynamic)
{
	struct elf_image *img = open_built(spec);
	const struct elf_symbol *sym;
	uint8_t code[3];

	ck_assert_ptr_nonnull(img);
	ck_assert_int_eq(see_all(img), 0);
	ck_assert_uint_eq(seen.cnt, 2);
	sym = find_seen("free");
	ck_assert_ptr_nonnull(sym);
	ck_assert_uint_eq(sym->vaddr, build__func_vaddr(&built, 1));
	ck_assert_uint_eq(sym->file_offset, build__func_vaddr(&built, 1) - BUILD_VADDR);
	ck_assert_uint_eq(sym->size_bytes, 3);
	ck_assert(sym->is_dynamic == is_dynamic);
	ck_assert(!sym->is_ifunc && !sym->is_local);
	ck_assert_int_eq(elf_image__read_code(img, sym->file_offset, code, sizeof(code)), 3);
	ck_assert_mem_eq(code, "\x55\x5d\xc3", 3);
	elf_image__free(img);
}

START_TEST(functions_are_found_through_any_table)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2 };

	spec.tables = BUILT_SYMTAB;
	check_two_funcs(&spec, false);
	spec.tables = BUILT_DYNSYM;
	check_two_funcs(&spec, true);
	spec.tables = BUILT_HASH;
	check_two_funcs(&spec, true);
	spec.tables = BUILT_GNU_HASH;
	check_two_funcs(&spec, true);
	spec.tables = BUILT_HASH | BUILT_GNU_HASH;
	check_two_funcs(&spec, true);
	spec.tables = BUILT_DYNSYM | BUILT_GNU_HASH; /* once, not once a way */
	check_two_funcs(&spec, true);
}
END_TEST

START_TEST(header_counts_in_section_0_are_followed)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2,
				 .tables = BUILT_SYMTAB | BUILT_EXTENDED };

	check_two_funcs(&spec, false);
}
END_TEST

START_TEST(dynsym_comes_before_symtab)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2,
				 .tables = BUILT_SYMTAB | BUILT_DYNSYM };
	struct elf_image *img = open_built(&spec);

	ck_assert_int_eq(see_all(img), 0);
	ck_assert_uint_eq(seen.cnt, 4);
	ck_assert(seen.syms[0].is_dynamic && seen.syms[1].is_dynamic);
	ck_assert(!seen.syms[2].is_dynamic && !seen.syms[3].is_dynamic);
	elf_image__free(img);
}
END_TEST

START_TEST(only_defined_functions_in_executable_segments_are_told)
{
	static const struct built_func funcs[] = {
		{ .name = "imported", .is_undefined = true },
		{ .name = "object", .type = STT_OBJECT },
		{ .name = "variable", .type = STT_TLS },
		{ .name = "" },
		{ .name = "in_data", .vaddr = BUILD_DATA_VADDR + 16 },
		{ .name = "in_bss", .vaddr = BUILD_DATA_VADDR + 128 },
		{ .name = "nowhere", .vaddr = 0x123456789 },
		{ .name = "low", .vaddr = BUILD_VADDR - 1 },
		{ .name = "good" },
	};
	struct elf_spec spec = { .funcs = funcs, .func_cnt = 9, .tables = BUILT_SYMTAB };
	struct elf_image *img = open_built(&spec);

	ck_assert_int_eq(see_all(img), 0);
	ck_assert_uint_eq(seen.cnt, 1);
	ck_assert_str_eq(seen.syms[0].name, "good");
	elf_image__free(img);
}
END_TEST

START_TEST(variables_are_found_by_name_in_any_table)
{
	static const struct built_func funcs[] = {
		{ .name = "version", .is_undefined = true, .type = STT_OBJECT },
		{ .name = "state", .code = "\xc3", .code_len = 1 }, /* a function */
		{ .name = "state", .type = STT_OBJECT, .vaddr = BUILD_DATA_VADDR + 0x123456 },
		{ .name = "state2", .type = STT_OBJECT, .vaddr = 1 },
		{ .name = "hidden", .type = STT_OBJECT, .is_local = true, .vaddr = 0x1000 },
	};
	static const unsigned int tables[] = { BUILT_SYMTAB, BUILT_DYNSYM, BUILT_HASH,
					       BUILT_GNU_HASH };

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		struct elf_spec spec = { .funcs = funcs, .func_cnt = 5, .tables = tables[i] };
		struct elf_image *img = open_built(&spec);
		uint64_t vaddr = 7;

		ck_assert_ptr_nonnull(img);
		ck_assert_int_eq(elf_image__find_variable(img, "version", &vaddr), -ENOENT);
		ck_assert_int_eq(elf_image__find_variable(img, "stat", &vaddr), -ENOENT);
		ck_assert_uint_eq(vaddr, 7);
		ck_assert_int_eq(elf_image__find_variable(img, "state", &vaddr), 0);
		ck_assert_uint_eq(vaddr, BUILD_DATA_VADDR + 0x123456); /* in no part of the file */
		ck_assert_int_eq(elf_image__find_variable(img, "hidden", &vaddr), 0);
		ck_assert_uint_eq(vaddr, 0x1000);
		elf_image__free(img);
	}
}
END_TEST

START_TEST(data_is_read_by_address_up_to_its_segments_end)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_DYNSYM };
	struct elf_image *img = open_built(&spec);
	uint8_t bytes[8], *whole = malloc(built.size + 1);

	ck_assert_ptr_nonnull(img);
	ck_assert_int_eq(elf_image__read_data(img, build__func_vaddr(&built, 1), bytes, 3), 3);
	ck_assert_mem_eq(bytes, "\x55\x5d\xc3", 3);
	ck_assert_int_eq(elf_image__read_data(img, BUILD_VADDR, whole, built.size + 1), built.size);
	ck_assert_mem_eq(whole, built.bytes, built.size);
	ck_assert_int_eq(elf_image__read_data(img, BUILD_VADDR - 1, bytes, 8), 0);
	ck_assert_int_eq(elf_image__read_data(img, BUILD_VADDR + built.size, bytes, 8), 0);
	ck_assert_int_eq(elf_image__read_data(img, UINT64_MAX, bytes, 8), 0);
	free(whole);
	elf_image__free(img);
}
END_TEST

START_TEST(names_end_before_a_version)
{
	static const struct built_func funcs[] = {
		{ .name = "free@@GLIBC_2.2.5" },
		{ .name = "cfree@GLIBC_2.2.5" },
	};
	struct elf_spec spec = { .funcs = funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };
	struct elf_image *img = open_built(&spec);

	ck_assert_int_eq(see_all(img), 0);
	ck_assert_uint_eq(seen.cnt, 2);
	ck_assert_str_eq(seen.syms[0].name, "free");
	ck_assert_str_eq(seen.syms[1].name, "cfree");
	elf_image__free(img);
}
END_TEST

START_TEST(ifuncs_locals_and_sizes_are_told)
{
	static const struct built_func funcs[] = {
		{ .name = "resolver", .type = STT_GNU_IFUNC },
		{ .name = "hidden", .is_local = true },
		{ .name = "unsized", .is_unsized = true },
		{ .name = "endless", .size_bytes = UINT64_MAX },
	};
	struct elf_spec spec = { .funcs = funcs, .func_cnt = 4, .tables = BUILT_SYMTAB };
	struct elf_image *img = open_built(&spec);
	const struct elf_symbol *sym;

	ck_assert_int_eq(see_all(img), 0);
	ck_assert(find_seen("resolver")->is_ifunc);
	ck_assert(!find_seen("resolver")->is_local);
	ck_assert(find_seen("hidden")->is_local);
	ck_assert_uint_eq(find_seen("unsized")->size_bytes, 0);
	sym = find_seen("endless");
	ck_assert_uint_eq(sym->file_offset + sym->size_bytes, built.size);
	elf_image__free(img);
}
END_TEST

START_TEST(identity_and_dependencies_are_told)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_GNU_HASH,
				 .interp = "/lib/ld-musl.so", .flags_1 = DF_1_PIE,
				 .needed = { "libone.so", "libtwo.so.2" } };
	struct elf_image *img = open_built(&spec);
	const char *first = elf_image__needed(img, 0);

	ck_assert_int_eq(elf_image__arch(img), ELF_ARCH_X86_64);
	ck_assert_str_eq(elf_image__build_id(img), "deadbeef");
	ck_assert_str_eq(elf_image__interpreter(img), "/lib/ld-musl.so");
	ck_assert(elf_image__is_executable(img));
	ck_assert_str_eq(first, "libtwo.so.2"); /* as the builder orders them */
	ck_assert_str_eq(elf_image__needed(img, 1), "libone.so");
	ck_assert_ptr_null(elf_image__needed(img, 2));
	elf_image__free(img);
}
END_TEST

START_TEST(libraries_and_static_programs_are_told_apart)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };
	struct elf_image *img = open_built(&spec);

	ck_assert(!elf_image__is_executable(img));
	ck_assert_ptr_null(elf_image__interpreter(img));
	ck_assert_ptr_null(elf_image__needed(img, 0));
	elf_image__free(img);
	spec.type = ET_EXEC;
	spec.machine = EM_AARCH64;
	img = open_built(&spec);
	ck_assert(elf_image__is_executable(img));
	ck_assert_int_eq(elf_image__arch(img), ELF_ARCH_AARCH64);
	elf_image__free(img);
}
END_TEST

START_TEST(the_callbacks_value_ends_the_walk)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2,
				 .tables = BUILT_SYMTAB | BUILT_DYNSYM };
	struct elf_image *img = open_built(&spec);

	memset(&seen, 0, sizeof(seen));
	seen.stop_at = 1;
	ck_assert_int_eq(elf_image__for_each_function(img, see, &seen), 7);
	ck_assert_uint_eq(seen.cnt, 1);
	elf_image__free(img);
}
END_TEST

START_TEST(names_outlive_the_walk_and_the_callers_descriptor)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };
	struct elf_image *img = open_built(&spec); /* has closed its descriptor */
	const char *name;

	ck_assert_int_eq(see_all(img), 0);
	name = seen.syms[0].name;
	ck_assert_int_eq(see_all(img), 0);
	ck_assert_str_eq(name, "malloc");
	ck_assert_ptr_eq(seen.syms[0].name, name);
	elf_image__free(img);
	elf_image__free(NULL);
}
END_TEST

static void check_refused(size_t at, uint8_t value)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };

	build_elf(&built, &spec);
	built.bytes[at] = value;
	ck_assert_ptr_null(open_bytes(built.bytes, built.size));
	ck_assert_int_eq(errno, ENOEXEC);
}

START_TEST(what_is_no_supported_elf_is_refused)
{
	int pipe_fds[2], fd;

	check_refused(0, 'X');
	check_refused(EI_CLASS, ELFCLASS32);
	check_refused(EI_DATA, ELFDATA2MSB);
	check_refused(offsetof(Elf64_Ehdr, e_type), ET_REL);
	check_refused(offsetof(Elf64_Ehdr, e_type), ET_CORE);
	check_refused(offsetof(Elf64_Ehdr, e_machine), EM_386);
	check_refused(offsetof(Elf64_Ehdr, e_phentsize), 32);
	check_refused(offsetof(Elf64_Ehdr, e_phnum), 0);
	check_refused(offsetof(Elf64_Ehdr, e_phoff) + 7, 0x80);
	ck_assert_ptr_null(open_bytes("", 0));
	ck_assert_int_eq(errno, ENOEXEC);
	ck_assert_ptr_null(open_bytes("#!/bin/sh\n", 10));
	ck_assert_int_eq(errno, ENOEXEC);
	ck_assert_ptr_null(elf_image__open_fd(-1));
	ck_assert_int_eq(errno, EBADF);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_ptr_null(elf_image__open_fd(pipe_fds[0]));
	ck_assert_int_eq(errno, ENOEXEC);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	ck_assert_ptr_null(elf_image__open_fd(fd));
	ck_assert_int_eq(errno, ENOEXEC);
	close(fd);
}
END_TEST

/* Changes section header i of a built file with .symtab (4), its strings (2). */
static int see_with_section(int i, const Elf64_Shdr *change, size_t file_size)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };
	struct elf_image *img;
	Elf64_Shdr sh;
	int fd, err;

	build_elf(&built, &spec);
	memcpy(&sh, built.bytes + built.sections + (size_t)i * sizeof(sh), sizeof(sh));
	if (change->sh_type)
		sh.sh_type = change->sh_type;
	if (change->sh_offset)
		sh.sh_offset = change->sh_offset;
	if (change->sh_size)
		sh.sh_size = change->sh_size;
	if (change->sh_link)
		sh.sh_link = change->sh_link;
	if (change->sh_entsize)
		sh.sh_entsize = change->sh_entsize;
	memcpy(built.bytes + built.sections + (size_t)i * sizeof(sh), &sh, sizeof(sh));
	fd = memfd_with(built.bytes, built.size);
	if (file_size)
		ck_assert_int_eq(ftruncate(fd, (off_t)file_size), 0);
	img = elf_image__open_fd(fd);
	ck_assert_ptr_nonnull(img);
	err = see_all(img);
	elf_image__free(img);
	close(fd);
	return err;
}

START_TEST(sections_outside_the_file_are_absent)
{
	const struct { int section; Elf64_Shdr change; } cases[] = {
		{ 4, { .sh_offset = UINT64_MAX - 7 } },
		{ 4, { .sh_offset = 1ull << 62 } },
		{ 4, { .sh_size = UINT64_MAX } },
		{ 4, { .sh_size = BUILD_MAX_BYTES } },
		{ 4, { .sh_link = 5 } },
		{ 4, { .sh_link = UINT32_MAX } },
		{ 4, { .sh_link = 1 } }, /* not a string table */
		{ 4, { .sh_entsize = 1 } },
		{ 2, { .sh_offset = UINT64_MAX } },
		{ 2, { .sh_size = UINT64_MAX } },
		{ 2, { .sh_type = SHT_PROGBITS } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(see_with_section(cases[i].section, &cases[i].change, 0), 0);
		ck_assert_uint_eq(seen.cnt, 0);
	}
}
END_TEST

START_TEST(names_outside_the_strings_are_skipped)
{
	Elf64_Shdr change = { .sh_size = 3 }; /* cuts "malloc" off in the middle, "free" whole */

	ck_assert_int_eq(see_with_section(2, &change, 0), 0);
	ck_assert_uint_eq(seen.cnt, 1);
}
END_TEST

START_TEST(tables_too_big_to_hold_are_refused)
{
	Elf64_Shdr change = { .sh_size = 513ull << 20 };

	/* sparse: takes no memory */
	ck_assert_int_eq(see_with_section(4, &change, 1ull << 30), -EFBIG);
	ck_assert_int_eq(see_with_section(2, &change, 1ull << 30), -EFBIG);
}
END_TEST

START_TEST(tables_of_a_huge_file_are_found_at_its_end)
{
	const uint64_t far = 3ull << 30;
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };
	struct elf_image *img;
	Elf64_Shdr *sh;
	Elf64_Ehdr *eh;
	int fd;

	build_elf(&built, &spec);
	eh = (Elf64_Ehdr *)built.bytes;
	sh = (Elf64_Shdr *)(built.bytes + built.sections);
	sh[2].sh_offset += far;
	sh[4].sh_offset += far;
	eh->e_shoff += far;
	fd = memfd_with(built.bytes, built.size);
	ck_assert_int_eq(pwrite(fd, built.bytes, built.size, (off_t)far), (ssize_t)built.size);
	img = elf_image__open_fd(fd);
	ck_assert_ptr_nonnull(img);
	ck_assert_int_eq(see_all(img), 0);
	ck_assert_uint_eq(seen.cnt, 2);
	elf_image__free(img);
	close(fd);
}
END_TEST

/* The file part of PT_DYNAMIC's entry with this tag, in built; it must be there. */
static uint8_t *find_dynamic(int64_t tag)
{
	for (size_t at = built.dynamic; at < built.size; at += sizeof(Elf64_Dyn)) {
		Elf64_Dyn dyn;

		memcpy(&dyn, built.bytes + at, sizeof(dyn));
		if (dyn.d_tag == tag)
			return built.bytes + at;
	}
	ck_abort_msg("no such entry");
}

/* What such an entry's address leads to. */
static uint8_t *follow_dynamic(int64_t tag)
{
	Elf64_Dyn dyn;

	memcpy(&dyn, find_dynamic(tag), sizeof(dyn));
	return built.bytes + (dyn.d_un.d_val - BUILD_VADDR);
}

static size_t count_built(void)
{
	struct elf_image *img = open_bytes(built.bytes, built.size);

	ck_assert_ptr_nonnull(img);
	ck_assert_int_eq(see_all(img), 0);
	elf_image__free(img);
	return seen.cnt;
}

START_TEST(lying_hash_tables_do_not_lead_out_of_the_file)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_GNU_HASH };

	for (unsigned int word = 0; word < 16; word++) {
		uint32_t bad = word & 1 ? 0x7fffffff : 0xfffffffe;

		build_elf(&built, &spec);
		memcpy(follow_dynamic(DT_GNU_HASH) + 4 * (word / 2), &bad, sizeof(bad));
		count_built();
	}
}
END_TEST

START_TEST(hash_tables_say_how_many_symbols_there_are)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_HASH };
	const uint32_t two = 2, three = 3, none = 0;

	build_elf(&built, &spec);
	memcpy(follow_dynamic(DT_HASH) + 4, &two, sizeof(two));
	ck_assert_uint_eq(count_built(), 1);
	spec.tables = BUILT_GNU_HASH;
	build_elf(&built, &spec);
	memcpy(follow_dynamic(DT_GNU_HASH) + 4, &three, sizeof(three)); /* nothing hashed */
	memcpy(follow_dynamic(DT_GNU_HASH) + 24, &none, sizeof(none));
	ck_assert_uint_eq(count_built(), 2);
}
END_TEST

START_TEST(dependencies_outside_the_strings_are_skipped)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_HASH,
				 .needed = { "libone.so", "libtwo.so" } };
	uint64_t bad = UINT64_MAX / 2;
	struct elf_image *img;

	build_elf(&built, &spec);
	memcpy(find_dynamic(DT_NEEDED) + offsetof(Elf64_Dyn, d_un), &bad, sizeof(bad));
	img = open_bytes(built.bytes, built.size);
	ck_assert_str_eq(elf_image__needed(img, 0), "libone.so");
	ck_assert_ptr_null(elf_image__needed(img, 1));
	elf_image__free(img);
}
END_TEST

/* A built file with extra bytes behind it, whose header or program header is to point there. */
static uint8_t big[256 << 10];

static void write_at(size_t at, const void *src, size_t len)
{
	ck_assert_uint_le(at + len, sizeof(big));
	memcpy(big + at, src, len);
}

START_TEST(more_dependencies_than_fit_are_ignored)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_HASH,
				 .needed = { "libone.so" } };
	struct elf_image *img;
	Elf64_Phdr *ph;
	Elf64_Dyn dyn;
	size_t cnt = 0;

	build_elf(&built, &spec);
	memset(big, 0, sizeof(big));
	write_at(0, built.bytes, built.size);
	memcpy(&dyn, find_dynamic(DT_NEEDED), sizeof(dyn));
	for (size_t i = 0; i < 2000; i++)
		write_at((128 << 10) + i * sizeof(dyn), &dyn, sizeof(dyn));
	write_at((128 << 10) + 2000 * sizeof(dyn), built.bytes + built.dynamic,
		 built.size - built.dynamic);
	ph = (Elf64_Phdr *)(big + sizeof(Elf64_Ehdr)) + 3;
	ck_assert_uint_eq(ph->p_type, PT_DYNAMIC);
	ph->p_offset = 128 << 10;
	ph->p_filesz = 100 << 10;
	img = open_bytes(big, sizeof(big));
	while (elf_image__needed(img, cnt))
		ck_assert_str_eq(elf_image__needed(img, cnt++), "libone.so");
	ck_assert_uint_eq(cnt, 1024);
	elf_image__free(img);
}
END_TEST

START_TEST(more_segments_than_fit_are_ignored)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };
	Elf64_Phdr load = { .p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = 64,
			    .p_vaddr = 0x10000000 };
	struct elf_image *img;
	Elf64_Ehdr *eh = (Elf64_Ehdr *)big;

	build_elf(&built, &spec);
	memset(big, 0, sizeof(big));
	write_at(0, built.bytes, built.size);
	for (size_t i = 0; i < 300; i++)
		write_at((128 << 10) + i * sizeof(load), &load, sizeof(load));
	write_at((128 << 10) + 300 * sizeof(load), built.bytes + eh->e_phoff, sizeof(load));
	eh->e_phoff = 128 << 10;
	eh->e_phnum = 301; /* the last one has the code */
	img = open_bytes(big, sizeof(big));
	ck_assert_int_eq(see_all(img), 0);
	ck_assert_uint_eq(seen.cnt, 0);
	elf_image__free(img);
}
END_TEST

START_TEST(build_ids_too_long_or_outside_their_note_are_none)
{
	static const struct { uint32_t desc_size; uint64_t note_size; bool is_good; } cases[] = {
		{ 4, 20, true }, { 20, 36, true }, { 64, 80, true },
		{ 0, 20, false }, { 5, 20, false }, { 60, 20, false }, { 65, 256, false },
		{ UINT32_MAX, 20, false }, { UINT32_MAX - 3, UINT64_MAX, false },
		{ 4, 19, false }, { 4, 8, false },
	};
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct elf_image *img;
		Elf64_Phdr *ph;

		build_elf(&built, &spec);
		ph = (Elf64_Phdr *)(built.bytes + sizeof(Elf64_Ehdr)) + 2;
		ck_assert_uint_eq(ph->p_type, PT_NOTE);
		memcpy(built.bytes + ph->p_offset + 4, &cases[i].desc_size, 4);
		ph->p_filesz = cases[i].note_size;
		img = open_bytes(built.bytes, built.size);
		ck_assert_ptr_nonnull(img);
		ck_assert_uint_eq(strlen(elf_image__build_id(img)),
				  cases[i].is_good ? 2 * cases[i].desc_size : 0);
		elf_image__free(img);
	}
}
END_TEST

START_TEST(a_file_cut_before_its_section_headers_still_has_dynamic_symbols)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2,
				 .tables = BUILT_SYMTAB | BUILT_DYNSYM | BUILT_GNU_HASH };

	build_elf(&built, &spec);
	ck_assert_uint_eq(count_built(), 4);
	built.size--; /* of the last section header */
	ck_assert_uint_eq(count_built(), 2);
	built.size = built.sections; /* none is left */
	ck_assert_uint_eq(count_built(), 2);
}
END_TEST

START_TEST(code_is_read_up_to_the_end_of_the_file)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };
	struct elf_image *img = open_built(&spec);
	uint8_t *buf = malloc(built.size + 1);

	ck_assert_int_eq(elf_image__read_code(img, 0, buf, built.size + 1), (long)built.size);
	ck_assert_mem_eq(buf, built.bytes, built.size);
	ck_assert_int_eq(elf_image__read_code(img, built.size - 2, buf, 16), 2);
	ck_assert_int_eq(elf_image__read_code(img, built.size, buf, 16), 0);
	ck_assert_int_eq(elf_image__read_code(img, UINT64_MAX, buf, 16), 0);
	free(buf);
	elf_image__free(img);
}
END_TEST

START_TEST(a_file_cut_while_open_gives_an_error)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .tables = BUILT_SYMTAB };
	struct elf_image *img;
	uint8_t code[4];
	int fd;

	build_elf(&built, &spec);
	fd = memfd_with(built.bytes, built.size);
	img = elf_image__open_fd(fd);
	ck_assert_ptr_nonnull(img);
	ck_assert_int_eq(ftruncate(fd, 64), 0);
	ck_assert_int_eq(see_all(img), -EIO);
	ck_assert_int_eq(elf_image__read_code(img, built.text, code, sizeof(code)), 0);
	elf_image__free(img);
	close(fd);

	fd = memfd_with(built.bytes, built.size);
	img = elf_image__open_fd(fd);
	ck_assert_int_eq(see_all(img), 0); /* has the names now */
	ck_assert_int_eq(ftruncate(fd, (off_t)built.symbols + 30), 0);
	ck_assert_int_eq(see_all(img), -EIO);
	elf_image__free(img);
	close(fd);
}
END_TEST

/* -- the C library that this test runs on -- */

static int find_libc(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *base = strrchr(info->dlpi_name, '/');

	(void)size;
	if (!base || (strncmp(base, "/libc.", 6) && strncmp(base, "/ld-musl", 8)))
		return 0;
	*(char **)arg = strdup(info->dlpi_name);
	return 1;
}

/* A private copy of it. */
static int copy_libc(size_t *size)
{
	char *path = NULL, *bytes;
	struct stat st;
	int fd, copy;

	dl_iterate_phdr(find_libc, &path);
	ck_assert_ptr_nonnull(path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	*size = (size_t)st.st_size;
	bytes = malloc(*size);
	ck_assert_int_eq(pread(fd, bytes, *size, 0), st.st_size);
	close(fd);
	copy = memfd_with(bytes, *size);
	free(bytes);
	return copy;
}

START_TEST(the_c_library_has_malloc_and_free)
{
	size_t size;
	int fd = copy_libc(&size);
	struct elf_image *img = elf_image__open_fd(fd);

	ck_assert_ptr_nonnull(img);
	ck_assert_int_eq(see_all(img), 0);
	ck_assert_ptr_nonnull(find_seen("malloc"));
	ck_assert_uint_gt(find_seen("free")->size_bytes, 0);
	ck_assert(!elf_image__is_executable(img));
	elf_image__free(img);
	close(fd);
}
END_TEST

START_TEST(the_c_library_without_section_headers_has_the_same_functions)
{
	const uint64_t none = 0;
	size_t size, with_cnt = 0;
	int fd = copy_libc(&size);
	struct elf_image *img = elf_image__open_fd(fd);

	ck_assert_int_eq(see_all(img), 0);
	for (size_t i = 0; i < seen.cnt; i++)
		with_cnt += seen.syms[i].is_dynamic;
	elf_image__free(img);
	ck_assert_int_eq(pwrite(fd, &none, sizeof(none), offsetof(Elf64_Ehdr, e_shoff)),
			 sizeof(none));
	img = elf_image__open_fd(fd);
	ck_assert_int_eq(see_all(img), 0);
	ck_assert_uint_eq(seen.cnt, with_cnt);
	ck_assert_uint_gt(with_cnt, 100);
	elf_image__free(img);
	close(fd);
}
END_TEST

/* Reads all that there is; whatever comes out must lie within the file. */
static void read_everything(int fd, uint64_t size)
{
	struct elf_image *img = elf_image__open_fd(fd);
	uint64_t vaddr;

	if (!img)
		return;
	see_all(img);
	for (size_t i = 0; i < seen.cnt; i++) {
		const struct elf_symbol *sym = &seen.syms[i];

		ck_assert_uint_lt(sym->file_offset, size);
		ck_assert_uint_le(sym->size_bytes, size - sym->file_offset);
		ck_assert_uint_gt(strlen(sym->name), 0);
	}
	elf_image__find_variable(img, "environ", &vaddr);
	ck_assert_uint_le(strlen(elf_image__build_id(img)), 128);
	for (size_t i = 0; elf_image__needed(img, i); i++)
		ck_assert_uint_le(strlen(elf_image__needed(img, i)), 4096);
	elf_image__free(img);
}

START_TEST(a_truncated_c_library_is_survived)
{
	size_t size, step;
	int fd = copy_libc(&size);

	step = size / 150;
	for (size_t len = size; len > 4096; len -= len > step ? step : 509) {
		ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
		read_everything(fd, len);
	}
	for (size_t len = 4096; len; len--) {
		ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
		read_everything(fd, len);
	}
	close(fd);
}
END_TEST

START_TEST(a_truncated_small_file_is_survived_at_every_length)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .interp = "/ld.so",
				 .needed = { "libc.so" },
				 .tables = BUILT_SYMTAB | BUILT_HASH | BUILT_GNU_HASH };
	int fd;

	build_elf(&built, &spec);
	fd = memfd_with(built.bytes, built.size);
	for (size_t len = built.size; len; len--) {
		ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
		read_everything(fd, len);
	}
	close(fd);
}
END_TEST

static void damage(unsigned int *seed, uint8_t *bytes, size_t size)
{
	static const uint8_t favourites[] = { 0x00, 0xff, 0x7f, 0x80, 0x01 };
	int n = 1 + rand_r(seed) % 8;

	while (n--) {
		size_t at = (size_t)rand_r(seed) % size;
		int r = rand_r(seed);

		bytes[at] = r & 1 ? favourites[(r >> 1) % 5] : (uint8_t)(r >> 8);
	}
}

/* Seed fixed. Damage goes to the tables: the code has 3 bytes here. */
START_TEST(random_damage_is_survived)
{
	struct elf_spec spec = { .funcs = two_funcs, .func_cnt = 2, .interp = "/ld.so",
				 .needed = { "libc.so" } };
	static const unsigned int tables[] = {
		BUILT_SYMTAB | BUILT_DYNSYM | BUILT_GNU_HASH, BUILT_HASH, BUILT_GNU_HASH,
		BUILT_SYMTAB | BUILT_EXTENDED,
	};
	unsigned int seed = 19700101;

	for (int round = 0; round < 8000; round++) {
		int fd;

		spec.tables = tables[round % 4];
		build_elf(&built, &spec);
		damage(&seed, built.bytes + EI_PAD, built.size - EI_PAD);
		fd = memfd_with(built.bytes, built.size);
		read_everything(fd, built.size);
		close(fd);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("elf_image");
	TCase *tcase = tcase_create("elf_image");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, functions_are_found_through_any_table);
	tcase_add_test(tcase, header_counts_in_section_0_are_followed);
	tcase_add_test(tcase, dynsym_comes_before_symtab);
	tcase_add_test(tcase, only_defined_functions_in_executable_segments_are_told);
	tcase_add_test(tcase, variables_are_found_by_name_in_any_table);
	tcase_add_test(tcase, data_is_read_by_address_up_to_its_segments_end);
	tcase_add_test(tcase, names_end_before_a_version);
	tcase_add_test(tcase, ifuncs_locals_and_sizes_are_told);
	tcase_add_test(tcase, identity_and_dependencies_are_told);
	tcase_add_test(tcase, libraries_and_static_programs_are_told_apart);
	tcase_add_test(tcase, the_callbacks_value_ends_the_walk);
	tcase_add_test(tcase, names_outlive_the_walk_and_the_callers_descriptor);
	tcase_add_test(tcase, what_is_no_supported_elf_is_refused);
	tcase_add_test(tcase, sections_outside_the_file_are_absent);
	tcase_add_test(tcase, names_outside_the_strings_are_skipped);
	tcase_add_test(tcase, tables_too_big_to_hold_are_refused);
	tcase_add_test(tcase, tables_of_a_huge_file_are_found_at_its_end);
	tcase_add_test(tcase, hash_tables_say_how_many_symbols_there_are);
	tcase_add_test(tcase, dependencies_outside_the_strings_are_skipped);
	tcase_add_test(tcase, more_dependencies_than_fit_are_ignored);
	tcase_add_test(tcase, more_segments_than_fit_are_ignored);
	tcase_add_test(tcase, build_ids_too_long_or_outside_their_note_are_none);
	tcase_add_test(tcase, a_file_cut_before_its_section_headers_still_has_dynamic_symbols);
	tcase_add_test(tcase, lying_hash_tables_do_not_lead_out_of_the_file);
	tcase_add_test(tcase, code_is_read_up_to_the_end_of_the_file);
	tcase_add_test(tcase, a_file_cut_while_open_gives_an_error);
	tcase_add_test(tcase, the_c_library_has_malloc_and_free);
	tcase_add_test(tcase, the_c_library_without_section_headers_has_the_same_functions);
	tcase_add_test(tcase, a_truncated_c_library_is_survived);
	tcase_add_test(tcase, a_truncated_small_file_is_survived_at_every_length);
	tcase_add_test(tcase, random_damage_is_survived);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
