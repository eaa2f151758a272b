/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * A note: three addresses (of the nop, of .stapsdt.base when the file was linked, of the
 * semaphore or 0), then provider, name and arguments, each with its NUL. Where a tool has moved
 * the file's segments since (prelink), .stapsdt.base has moved with them and the notes have not.
 *
 * An argument is "SIZE@OPERAND", the size negative for a signed one, the operand in the
 * assembler's words:
 *
 *	-4@112(%rsp)  8@%r12  -4@$5  2@%ax  4@-20(%rbp)
 *	8@symbol(%rip)  4@(%rax,%rbx,4)     not followed
 *
 * Bounds: NOTES_MAX_BYTES of notes; what is past them is not looked at.
 */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "probe/usdt.h"

#define NOTES_MAX_BYTES (16u << 20)
#define NOTE_TYPE       3 /* NT_STAPSDT */
#define NOTE_OWNER      "stapsdt"
#define ALIGN4(n)       (((n) + 3) & ~(uint64_t)3)

struct note {
	uint64_t location, base, semaphore;
	const char *provider, *name, *args;
};

/* The string at *at, which is stepped past its NUL; NULL if it has none before end. */
static const char *take_string(const char **at, const char *end)
{
	const char *string = *at;
	const char *nul = string < end ? memchr(string, 0, (size_t)(end - string)) : NULL;

	if (nul)
		*at = nul + 1;
	return nul ? string : NULL;
}

static bool parse_note(const uint8_t *desc, uint64_t size, struct note *note)
{
	const char *at = (const char *)desc + 3 * sizeof(uint64_t), *end = (const char *)desc + size;

	if (size < 3 * sizeof(uint64_t))
		return false;
	memcpy(&note->location, desc, sizeof(uint64_t));
	memcpy(&note->base, desc + 8, sizeof(uint64_t));
	memcpy(&note->semaphore, desc + 16, sizeof(uint64_t));
	note->provider = take_string(&at, end);
	note->name = note->provider ? take_string(&at, end) : NULL;
	note->args = note->name ? take_string(&at, end) : NULL;
	return note->args;
}

/* The next note at *pos, which is stepped past it. False: no more. */
static bool next_note(const uint8_t *notes, uint64_t size, uint64_t *pos, struct note *note)
{
	while (size - *pos >= sizeof(Elf64_Nhdr)) {
		uint64_t name, desc, left;
		Elf64_Nhdr nh;

		memcpy(&nh, notes + *pos, sizeof(nh));
		name = *pos + sizeof(nh);
		left = size - name;
		desc = ALIGN4((uint64_t)nh.n_namesz);
		if (desc > left || nh.n_descsz > left - desc)
			return false;
		desc += name;
		*pos = ALIGN4(desc + nh.n_descsz);
		if (*pos > size)
			*pos = size;
		if (nh.n_type == NOTE_TYPE && nh.n_namesz == sizeof(NOTE_OWNER) &&
		    !memcmp(notes + name, NOTE_OWNER, sizeof(NOTE_OWNER)) &&
		    parse_note(notes + desc, nh.n_descsz, note))
			return true;
	}
	return false;
}

/* False: the note leads to no place that can be probed. */
static bool find_place(const struct elf_image *img, const struct note *note, uint64_t moved_by,
		       struct usdt_place *place)
{
	size_t size = strlen(note->args) + 1;

	place->semaphore_offset = 0;
	if (size > sizeof(place->args) ||
	    elf_image__find_offset(img, note->location + moved_by, &place->offset) ||
	    (note->semaphore && elf_image__find_offset(img, note->semaphore + moved_by,
						       &place->semaphore_offset)))
		return false;
	memcpy(place->args, note->args, size);
	return true;
}

/* An allocated copy of the notes. 0; -ENOENT: there are none; or another -errno. */
static int read_notes(const struct elf_image *img, uint8_t **notes, uint64_t *size)
{
	struct elf_section section;
	int err = elf_image__find_section(img, ".note.stapsdt", &section);
	long n;

	if (err)
		return err;
	if (section.size_bytes > NOTES_MAX_BYTES)
		section.size_bytes = NOTES_MAX_BYTES;
	*notes = malloc(section.size_bytes + 1);
	if (!*notes)
		return -ENOMEM;
	n = elf_image__read_code(img, section.file_offset, *notes, section.size_bytes);
	if (n < 0) {
		free(*notes);
		return (int)n;
	}
	*size = (uint64_t)n;
	return 0;
}

int usdt__find(const struct elf_image *img, const char *provider, const char *name,
	       struct usdt_place *places, int max)
{
	struct elf_section base = { 0 };
	uint64_t size = 0, pos = 0;
	uint8_t *notes = NULL;
	struct note note;
	int cnt = 0, err = read_notes(img, &notes, &size);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = elf_image__find_section(img, ".stapsdt.base", &base);
	while (cnt < max && next_note(notes, size, &pos, &note)) {
		if (strcmp(note.provider, provider) || strcmp(note.name, name))
			continue;
		cnt += find_place(img, &note, err ? 0 : base.vaddr - note.base, &places[cnt]);
	}
	free(notes);
	return cnt;
}

/* -- arguments -- */

/* By their place in the kernel's struct pt_regs; as the assembler names 8, 4, 2 and 1 bytes. */
static const char *const registers[][4] = {
	{ "r15", "r15d", "r15w", "r15b" }, { "r14", "r14d", "r14w", "r14b" },
	{ "r13", "r13d", "r13w", "r13b" }, { "r12", "r12d", "r12w", "r12b" },
	{ "rbp", "ebp", "bp", "bpl" },     { "rbx", "ebx", "bx", "bl" },
	{ "r11", "r11d", "r11w", "r11b" }, { "r10", "r10d", "r10w", "r10b" },
	{ "r9", "r9d", "r9w", "r9b" },     { "r8", "r8d", "r8w", "r8b" },
	{ "rax", "eax", "ax", "al" },      { "rcx", "ecx", "cx", "cl" },
	{ "rdx", "edx", "dx", "dl" },      { "rsi", "esi", "si", "sil" },
	{ "rdi", "edi", "di", "dil" },     { NULL, NULL, NULL, NULL }, /* orig_rax */
	{ "rip", NULL, NULL, NULL },       { NULL, NULL, NULL, NULL }, /* cs */
	{ NULL, NULL, NULL, NULL }, /* eflags */
	{ "rsp", "esp", "sp", "spl" },
};

/* Steps past "%rsp". Bytes into struct pt_regs, or -1. */
static int take_register(const char **at)
{
	size_t length = strcspn(*at, "), ");

	if (**at != '%')
		return -1;
	for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
		for (int width = 0; width < 4; width++) {
			const char *name = registers[i][width];

			if (!name || strlen(name) + 1 != length ||
			    memcmp(*at + 1, name, length - 1))
				continue;
			*at += length;
			return (int)(i * sizeof(uint64_t));
		}
	}
	return -1;
}

/* Steps past a number, if there is one (else it is 0). False: it has more than 32 bits. */
static bool take_number(const char **at, long *number)
{
	char *end;

	errno = 0;
	*number = strtol(*at, &end, 0);
	*at = end;
	return !errno && *number >= INT32_MIN && *number <= INT32_MAX;
}

static bool is_at_end(const char *at)
{
	return !*at || *at == ' ';
}

static int parse_operand(const char *at, bool is_signed, long size, uint64_t *arg)
{
	enum uf_usdt_kind kind;
	long number = 0;
	int reg = 0;

	if (*at == '$') {
		at++;
		kind = UF_USDT_CONSTANT;
		if (is_at_end(at) || !take_number(&at, &number))
			return -EOPNOTSUPP;
	} else if (*at == '%') {
		kind = UF_USDT_REGISTER;
		reg = take_register(&at);
	} else {
		kind = UF_USDT_MEMORY;
		if (!take_number(&at, &number) || *at++ != '(')
			return -EOPNOTSUPP;
		reg = take_register(&at);
		if (*at++ != ')')
			return -EOPNOTSUPP;
	}
	if (reg < 0 || !is_at_end(at))
		return -EOPNOTSUPP;
	*arg = UF_USDT_ARG(kind, is_signed, size, reg, number);
	return 0;
}

int usdt__locate_arg(const char *args, int index, uint64_t *arg)
{
	long size;

	while (*args == ' ')
		args++;
	for (; index && *args; index--) {
		args += strcspn(args, " ");
		args += strspn(args, " ");
	}
	if (!*args)
		return -ENOENT;
	if (!take_number(&args, &size) || *args++ != '@')
		return -EOPNOTSUPP;
	if (labs(size) != 1 && labs(size) != 2 && labs(size) != 4 && labs(size) != 8)
		return -EOPNOTSUPP;
	return parse_operand(args, size < 0, labs(size), arg);
}
