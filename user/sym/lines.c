/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * libdw runs the line program and sorts its rows; they are copied into 16 bytes
 * each, because its own look-up wants a DIE and finds the CU by .debug_aranges.
 * libdw makes some 100 bytes of a row that a hostile program states in one, so
 * the program's length is checked before libdw sees it.
 */
#include "sym/lines.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIBDW_ROW_BYTES	 64
#define LIBDW_FILE_BYTES 64
#define MAX_DIR_LEN	 4096
#define END_OF_SEQUENCE	 UINT32_MAX

struct row {
	uint64_t vaddr;
	uint32_t file; /* END_OF_SEQUENCE: no line from here on */
	uint32_t line;
};

struct lines {
	struct row *rows;
	size_t row_cnt, libdw_row_cnt;
	Dwarf_Files *files; /* libdw's */
	size_t file_cnt;
	const char **names;   /* interned, filled by the first who asks */
	const char *comp_dir; /* in libdw's data; NULL if unknown */
};

static Elf_Data *line_section(Elf *elf)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr shdr;
	const char *name;
	size_t ndx;

	if (elf_getshdrstrndx(elf, &ndx))
		return NULL;
	while ((scn = elf_nextscn(elf, scn))) {
		if (!gelf_getshdr(scn, &shdr) || shdr.sh_type == SHT_NOBITS)
			continue;
		name = elf_strptr(elf, ndx, shdr.sh_name);
		if (name && (!strcmp(name, ".debug_line") || !strcmp(name, ".zdebug_line")))
			return elf_rawdata(scn, NULL);
	}
	return NULL;
}

/* Length of the line program at offset of .debug_line, UINT64_MAX if it has none. */
static uint64_t program_bytes(Dwarf_Die *cudie)
{
	Elf *elf = dwarf_getelf(dwarf_cu_getdwarf(cudie->cu));
	Dwarf_Attribute attr;
	Dwarf_Word offset;
	Elf_Data *data;
	const char *ident = elf_getident(elf, NULL);
	unsigned char head[12];
	uint64_t length = 0;
	int size = 4, from = 0;

	if (!dwarf_attr(cudie, DW_AT_stmt_list, &attr) || dwarf_formudata(&attr, &offset))
		return UINT64_MAX;
	data = line_section(elf);
	if (!ident || !data || data->d_size < sizeof(head) || offset > data->d_size - sizeof(head))
		return UINT64_MAX;
	memcpy(head, (const char *)data->d_buf + offset, sizeof(head));
	if (!memcmp(head, "\xff\xff\xff\xff", 4)) {
		size = 8;
		from = 4;
	}
	for (int i = 0; i < size; i++)
		length = length << 8 |
			 head[from + (ident[EI_DATA] == ELFDATA2MSB ? i : size - 1 - i)];
	return length;
}

static void copy_row(struct lines *lines, Dwarf_Line *line)
{
	struct row *row = &lines->rows[lines->row_cnt];
	Dwarf_Files *files;
	Dwarf_Addr vaddr;
	size_t file = 0;
	bool is_end = false;
	int number = 0;

	if (dwarf_lineaddr(line, &vaddr) || dwarf_lineendsequence(line, &is_end))
		return;
	if (!is_end && (dwarf_lineno(line, &number) || dwarf_line_file(line, &files, &file)))
		return;
	row->vaddr = vaddr;
	row->file = is_end || file >= END_OF_SEQUENCE ? END_OF_SEQUENCE : (uint32_t)file;
	row->line = number > 0 ? (uint32_t)number : 0;
	if (lines->row_cnt && row[-1].file == row->file && row[-1].line == row->line)
		return;
	lines->row_cnt++;
}

static int load(struct lines *lines, Dwarf_Die *cudie)
{
	Dwarf_Lines *rows;
	struct row *shrunk;

	if (dwarf_getsrclines(cudie, &rows, &lines->libdw_row_cnt) ||
	    dwarf_getsrcfiles(cudie, &lines->files, &lines->file_cnt))
		return -ENOENT;
	lines->rows = calloc(lines->libdw_row_cnt + 1, sizeof(*lines->rows));
	lines->names = calloc(lines->file_cnt + 1, sizeof(*lines->names));
	if (!lines->rows || !lines->names)
		return -ENOMEM;
	for (size_t i = 0; i < lines->libdw_row_cnt; i++)
		copy_row(lines, dwarf_onesrcline(rows, i));
	shrunk = realloc(lines->rows, (lines->row_cnt + 1) * sizeof(*shrunk));
	if (shrunk)
		lines->rows = shrunk;
	return 0;
}

static const char *compilation_dir(Dwarf_Die *cudie)
{
	Dwarf_Attribute attr;

	return dwarf_formstring(dwarf_attr(cudie, DW_AT_comp_dir, &attr));
}

struct lines *lines__new(Dwarf_Die *cudie, size_t limit_bytes)
{
	uint64_t length = program_bytes(cudie);
	struct lines *lines;
	int err;

	if (length > limit_bytes) {
		errno = length == UINT64_MAX ? ENOENT : EFBIG;
		return NULL;
	}
	lines = calloc(1, sizeof(*lines));
	if (!lines)
		return NULL;
	lines->comp_dir = compilation_dir(cudie);
	err = load(lines, cudie);
	if (!err)
		return lines;
	lines__free(lines);
	errno = -err;
	return NULL;
}

void lines__free(struct lines *lines)
{
	if (!lines)
		return;
	free(lines->rows);
	free(lines->names);
	free(lines);
}

int lines__find(const struct lines *lines, uint64_t vaddr, uint32_t *file, uint32_t *line)
{
	size_t low = 0, high = lines->row_cnt, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (lines->rows[mid].vaddr <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || lines->rows[low - 1].file == END_OF_SEQUENCE)
		return -ENOENT;
	*file = lines->rows[low - 1].file;
	*line = lines->rows[low - 1].line;
	return 0;
}

static const char *intern_path(struct str_pool *pool, const char *dir, const char *name)
{
	char path[2 * MAX_DIR_LEN];
	size_t dir_len;

	if (name[0] == '/' || !dir || dir[0] != '/')
		return str_pool__intern(pool, name, MAX_DIR_LEN);
	dir_len = strnlen(dir, MAX_DIR_LEN - 1);
	memcpy(path, dir, dir_len);
	if (path[dir_len - 1] != '/')
		path[dir_len++] = '/';
	memcpy(path + dir_len, name, strnlen(name, MAX_DIR_LEN - 1) + 1);
	path[sizeof(path) - 1] = '\0';
	return str_pool__intern(pool, path, strnlen(path, sizeof(path)));
}

const char *lines__file(struct lines *lines, struct str_pool *pool, uint32_t file)
{
	const char *name;

	if (file >= lines->file_cnt)
		return "";
	if (!lines->names[file]) {
		name = dwarf_filesrc(lines->files, file, NULL, NULL);
		/* libdw's name for "no file" */
		if (!name || !strcmp(name, "???"))
			name = "";
		lines->names[file] = name[0] ? intern_path(pool, lines->comp_dir, name) : "";
	}
	return lines->names[file];
}

size_t lines__bytes(const struct lines *lines)
{
	return sizeof(*lines) + lines->row_cnt * sizeof(*lines->rows) +
	       lines->libdw_row_cnt * LIBDW_ROW_BYTES +
	       lines->file_cnt * (LIBDW_FILE_BYTES + sizeof(*lines->names));
}
