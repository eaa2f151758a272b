/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TESTS_SYM_FIXTURE_H
#define UNFREED_TESTS_SYM_FIXTURE_H

/*
 * A scratch directory with a program that is compiled there by the test, and the
 * places in it found through its .symtab, by libelf and not by what is tested.
 */
#include <check.h>
#include <fcntl.h>
#include <gelf.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sym/symbolizer.h"

#define MAX_FRAMES 16

/* Lines count: tests name them. outer() holds middle() holds inner(). */
static const char fixture_source[] =
	"#include <stdlib.h>\n"
	"static inline __attribute__((always_inline)) void *inner(size_t n)\n"
	"{\n"
	"	return malloc(n);\n" /* 4 */
	"}\n"
	"static inline __attribute__((always_inline)) void *middle(size_t n)\n"
	"{\n"
	"	return inner(n + 1);\n" /* 8 */
	"}\n"
	"__attribute__((noinline)) void *outer(size_t n)\n"
	"{\n"
	"	void *p = middle(n + 2);\n" /* 12 */
	"	__asm__ volatile(\"\" : : \"r\"(p));\n"
	"	return p;\n"
	"}\n"
	"__attribute__((noinline)) static void *hidden(size_t n)\n"
	"{\n"
	"	void *p = malloc(n * 3);\n" /* 18 */
	"	__asm__ volatile(\"\" : : \"r\"(p));\n"
	"	return p;\n"
	"}\n"
	"int main(int argc, char **argv)\n"
	"{\n"
	"	(void)argv;\n"
	"	free(outer(argc));\n"
	"	free(hidden(argc));\n"
	"	return 0;\n"
	"}\n";

struct fixture {
	char dir[64];
};

struct place {
	uint64_t file_offset, size_bytes;
};

static inline void fixture__setup(struct fixture *fix)
{
	strcpy(fix->dir, "/tmp/unfreed-sym-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fix->dir));
}

/* Runs a shell command in the scratch directory; true if it succeeded. */
__attribute__((format(printf, 2, 3))) static inline bool fixture__try(const struct fixture *fix,
								      const char *format, ...)
{
	char command[4096], whole[5000];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	/* Not our sanitizers' business what the compiler leaks. */
	snprintf(whole, sizeof(whole), "cd %s && { %s; } >log 2>&1", fix->dir, command);
	return system(whole) == 0;
}

#define fixture__run(fix, ...)                                                                     \
	ck_assert_msg(fixture__try((fix), __VA_ARGS__), "command failed: %s", #__VA_ARGS__)

static inline void fixture__cleanup(struct fixture *fix)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", fix->dir);
	ck_assert_int_eq(system(command), 0);
}

static inline const char *fixture__path(const struct fixture *fix, const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", fix->dir, name);
	return path;
}

static inline void fixture__write(const struct fixture *fix, const char *name, const void *bytes,
				  size_t len)
{
	FILE *file = fopen(fixture__path(fix, name), "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

static inline void *fixture__read(const struct fixture *fix, const char *name, size_t *len)
{
	int fd = open(fixture__path(fix, name), O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *bytes;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	bytes = malloc(*len);
	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(read(fd, bytes, *len), st.st_size);
	close(fd);
	return bytes;
}

/* Compiles the fixture as "prog". */
static inline void fixture__compile(const struct fixture *fix, const char *flags)
{
	fixture__write(fix, "prog.c", fixture_source, strlen(fixture_source));
	fixture__run(fix, "gcc -O2 -fno-lto %s -Wl,--build-id=sha1 -o prog prog.c", flags);
}

static inline bool fixture__to_offset(Elf *elf, uint64_t vaddr, uint64_t *offset)
{
	GElf_Phdr ph;
	size_t cnt;

	ck_assert_int_eq(elf_getphdrnum(elf, &cnt), 0);
	for (size_t i = 0; i < cnt; i++) {
		ck_assert_ptr_nonnull(gelf_getphdr(elf, (int)i, &ph));
		if (ph.p_type == PT_LOAD && vaddr - ph.p_vaddr < ph.p_filesz) {
			*offset = vaddr - ph.p_vaddr + ph.p_offset;
			return true;
		}
	}
	return false;
}

/* Where a symbol is in a file, from the first symbol table of the type. */
static inline struct place find_symbol(const char *path, unsigned int table, const char *name)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct place place = {0};
	Elf_Scn *scn = NULL;
	GElf_Shdr shdr;
	GElf_Sym sym;
	Elf *elf;

	ck_assert_int_ge(fd, 0);
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	ck_assert_ptr_nonnull(elf);
	while ((scn = elf_nextscn(elf, scn))) {
		Elf_Data *data;

		if (!gelf_getshdr(scn, &shdr) || shdr.sh_type != table)
			continue;
		data = elf_getdata(scn, NULL);
		for (int i = 1; gelf_getsym(data, i, &sym); i++) {
			if (strcmp(elf_strptr(elf, shdr.sh_link, sym.st_name), name) ||
			    !fixture__to_offset(elf, sym.st_value, &place.file_offset))
				continue;
			place.size_bytes = sym.st_size;
		}
	}
	elf_end(elf);
	close(fd);
	return place;
}

/* A section's place in a file; size 0 if there is none. */
static inline struct place find_section(const char *path, const char *name)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct place place = {0};
	Elf_Scn *scn = NULL;
	GElf_Shdr shdr;
	size_t ndx;
	Elf *elf;

	ck_assert_int_ge(fd, 0);
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	ck_assert_ptr_nonnull(elf);
	ck_assert_int_eq(elf_getshdrstrndx(elf, &ndx), 0);
	while ((scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &shdr) && !strcmp(elf_strptr(elf, ndx, shdr.sh_name), name))
			place = (struct place){shdr.sh_offset, shdr.sh_size};
	elf_end(elf);
	close(fd);
	return place;
}

static inline struct sym_module *open_module(struct symbolizer *sym, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct sym_module *mod;

	ck_assert_int_ge(fd, 0);
	mod = symbolizer__open_fd(sym, fd, path);
	close(fd); /* the interface allows it at once */
	return mod;
}

static inline bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && !strcmp(text + len - end_len, end);
}

/*
 * Resolves each byte of a function until its innermost frame has the name and
 * line; returns the number of frames, 0 if there is no such byte.
 */
static inline int resolve_line(struct symbolizer *sym, struct sym_module *mod, struct place place,
			       const char *function, uint32_t line, struct sym_frame *frames)
{
	for (uint64_t at = 0; at < place.size_bytes; at++) {
		int cnt = symbolizer__resolve(sym, mod, place.file_offset + at, false, frames,
					      MAX_FRAMES);

		if (!strcmp(frames[0].function, function) && frames[0].line == line)
			return cnt;
	}
	return 0;
}

/* Asserts the chain inner, middle, outer with the lines of the fixture's calls. */
static inline void assert_fixture_chain(struct symbolizer *sym, struct sym_module *mod,
					struct place outer)
{
	static const struct {
		const char *function;
		uint32_t line;
	} want[] = {{"inner", 4}, {"middle", 8}, {"outer", 12}};
	struct sym_frame frames[MAX_FRAMES];

	ck_assert_uint_gt(outer.size_bytes, 0);
	ck_assert_int_eq(resolve_line(sym, mod, outer, "inner", 4, frames), 3);
	for (int i = 0; i < 3; i++) {
		ck_assert_str_eq(frames[i].function, want[i].function);
		ck_assert_uint_eq(frames[i].line, want[i].line);
		ck_assert_msg(ends_with(frames[i].file, "/prog.c"), "%s", frames[i].file);
		ck_assert_int_eq(frames[i].file[0], '/');
		ck_assert_int_eq(frames[i].inlined, i < 2);
	}
	ck_assert_uint_eq(frames[0].offset, 0);
	ck_assert_uint_lt(frames[2].offset, outer.size_bytes);
}

/* Asserts that the function's start has its name by a symbol, without a line. */
static inline void assert_symbol_only(struct symbolizer *sym, struct sym_module *mod,
				      struct place place, const char *name)
{
	struct sym_frame frames[MAX_FRAMES];

	ck_assert_int_eq(
		symbolizer__resolve(sym, mod, place.file_offset + 1, false, frames, MAX_FRAMES), 1);
	ck_assert_str_eq(frames[0].function, name);
	ck_assert_str_eq(frames[0].file, "");
	ck_assert_uint_eq(frames[0].line, 0);
	ck_assert_int_eq(frames[0].inlined, false);
	if (name[0])
		ck_assert_uint_eq(frames[0].offset, 1);
}

/* check has no skip: say so, and end the test. */
#define skip_test(reason)                                                                          \
	do {                                                                                       \
		printf("# skipped %s: %s\n", __func__, (reason));                                  \
		return;                                                                            \
	} while (0)

#endif
