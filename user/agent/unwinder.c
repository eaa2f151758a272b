/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/unwinder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/sysmacros.h>

#include "agent/tracer.h"
#include "target/vdso.h"
#include "unwind/unwind_table.h"
#include "unwind/word_space.h"

/* Epochs after which no probe can still be reading a dropped table. */
#define REST_EPOCHS 3

struct numbered_file {
	struct mapped_file *file; /* NULL: the number is not in use (any more) */
	struct uf_file_key key;
	uint32_t word_cnt;        /* of its table, 0: none */
	bool is_hopeless;         /* no table can be built from it */
};

/* A range of words that a dropped table had. */
struct resting_range {
	uint32_t first, cnt, epochs;
};

struct unwinder {
	struct tracer *tracer;
	struct word_space *space;
	struct numbered_file *files; /* by number; 0 is never used */
	uint32_t file_cnt, capacity;
	struct resting_range *resting;
	uint32_t resting_cnt;
	uint64_t lost_cnt;
};

static struct uf_file_key key_of(const struct mapped_file *file)
{
	if (is_vdso(file->path, file->inode))
		return (struct uf_file_key){.inode = UF_VDSO_INODE};
	return (struct uf_file_key){
		.inode = file->inode,
		.dev = major(file->dev) << 20 | minor(file->dev),
		.generation = file->generation,
	};
}

struct unwinder *unwinder__new(struct tracer *tracer, struct file_table *files)
{
	struct unwinder *unwinder = calloc(1, sizeof(*unwinder));
	struct mapped_file *vdso;

	if (!unwinder)
		return NULL;
	unwinder->tracer = tracer;
	unwinder->file_cnt = 1;
	unwinder->space = word_space__new(UF_MAX_CHUNKS * UF_CHUNK_WORDS);
	vdso = file_table__get(files, 0, 0, 0, 0, 0, 0, VDSO_NAME);
	if (!unwinder->space || !vdso) {
		unwinder__free(unwinder);
		errno = ENOMEM;
		return NULL;
	}
	/* Only a signal interrupts code in there. A kernel without it has no frames in it. */
	unwinder__add_file(unwinder, vdso, true);
	return unwinder;
}

void unwinder__free(struct unwinder *unwinder)
{
	if (!unwinder)
		return;
	word_space__free(unwinder->space);
	free(unwinder->files);
	free(unwinder->resting);
	free(unwinder);
}

/* A number for the file, entered in the kernel. */
static int new_number(struct unwinder *unwinder, struct mapped_file *file)
{
	struct uf_file_key key = key_of(file);
	uint32_t number = unwinder->file_cnt;
	int err;

	if (number >= UF_MAX_UNWIND_FILES)
		return -ENOSPC;
	if (number >= unwinder->capacity) {
		uint32_t capacity = unwinder->capacity ? unwinder->capacity * 2 : 64;
		struct numbered_file *files =
			reallocarray(unwinder->files, capacity, sizeof(*files));

		if (!files)
			return -ENOMEM;
		memset(files + unwinder->capacity, 0,
		       (capacity - unwinder->capacity) * sizeof(*files));
		unwinder->files = files;
		unwinder->capacity = capacity;
	}
	err = tracer__number_file(unwinder->tracer, &key, number);
	if (err)
		return err;
	unwinder->files[number] = (struct numbered_file){.file = file, .key = key};
	unwinder->file_cnt++;
	file->number = number;
	return 0;
}

static int build(struct mapped_file *file, bool all_rows, struct unwind_table *table)
{
	size_t size;
	const void *image;

	if (!is_vdso(file->path, file->inode))
		return file->fd < 0 ? file->fd
				    : unwind_table__build_fd(file->fd, all_rows, table);
	image = vdso_image(&size);
	return image ? unwind_table__build_memory(image, size, all_rows, table) : -ENODATA;
}

/* A table's words: the granules', then the rows'. The caller's; NULL: out of memory. */
static uint64_t *layout(const struct unwind_table *table, struct uf_unwind_file *head,
			uint32_t *word_cnt)
{
	uint32_t last = (table->high_offset - 1) >> UF_GRANULE_BITS, row = 0;
	uint64_t *words;

	head->first_granule = table->low_offset >> UF_GRANULE_BITS;
	head->granule_cnt = last - head->first_granule + 1;
	head->has_all_rows = table->has_all_rows;
	*word_cnt = head->granule_cnt + table->row_cnt;
	words = calloc(*word_cnt, sizeof(*words));
	if (!words)
		return NULL;
	for (uint32_t g = 0; g < head->granule_cnt; g++) {
		uint64_t end = (uint64_t)(head->first_granule + g + 1) << UF_GRANULE_BITS;
		uint64_t first = row;

		while (row < table->row_cnt && table->rows[row].offset < end)
			row++;
		words[g] = first | (uint64_t)row << 32;
	}
	memcpy(words + head->granule_cnt, table->rows, table->row_cnt * sizeof(*table->rows));
	return words;
}

static void rest(struct unwinder *unwinder, uint32_t first, uint32_t cnt)
{
	struct resting_range *resting =
		reallocarray(unwinder->resting, unwinder->resting_cnt + 1, sizeof(*resting));

	if (!resting)
		return; /* this room is not used again */
	resting[unwinder->resting_cnt++] = (struct resting_range){first, cnt, REST_EPOCHS};
	unwinder->resting = resting;
}

static int put_table(struct unwinder *unwinder, uint32_t number, const struct unwind_table *table)
{
	struct numbered_file *file = &unwinder->files[number];
	volatile struct uf_unwind_file *in_kernel = tracer__unwind_file(unwinder->tracer, number);
	struct uf_unwind_file head = {0};
	uint32_t word_cnt, old_first = in_kernel->first_word, old_cnt = file->word_cnt;
	uint64_t *words = layout(table, &head, &word_cnt);
	int64_t first;
	int err;

	if (!words)
		return -ENOMEM;
	first = word_space__take(unwinder->space, word_cnt);
	err = first < 0 ? (int)first
			: tracer__write_words(unwinder->tracer, first, words, word_cnt);
	free(words);
	if (err) {
		if (first >= 0)
			word_space__give(unwinder->space, first, word_cnt);
		unwinder->lost_cnt++;
		return err;
	}
	tracer__begin_replacing(unwinder->tracer);
	/* In the order that include/contract.h says. */
	in_kernel->first_granule = head.first_granule;
	__atomic_store_n(&in_kernel->first_word, (uint32_t)first, __ATOMIC_RELEASE);
	__atomic_store_n(&in_kernel->has_all_rows, head.has_all_rows, __ATOMIC_RELEASE);
	__atomic_store_n(&in_kernel->granule_cnt, head.granule_cnt, __ATOMIC_RELEASE);
	tracer__end_replacing(unwinder->tracer);
	file->word_cnt = word_cnt;
	if (old_cnt)
		rest(unwinder, old_first, old_cnt);
	return 0;
}

int unwinder__add_file(struct unwinder *unwinder, struct mapped_file *file, bool all_rows)
{
	struct unwind_table table = {0};
	struct numbered_file *numbered;
	int err = file->number ? 0 : new_number(unwinder, file);

	if (err) {
		unwinder->lost_cnt += err == -ENOSPC;
		return err;
	}
	numbered = &unwinder->files[file->number];
	if (numbered->is_hopeless)
		return -ENODATA;
	if (numbered->word_cnt &&
	    (!all_rows || tracer__unwind_file(unwinder->tracer, file->number)->has_all_rows))
		return 0;
	err = build(file, all_rows, &table);
	if (!err && table.row_cnt)
		err = put_table(unwinder, file->number, &table);
	else
		numbered->is_hopeless = true;
	unwind_table__release(&table);
	return err;
}

struct mapped_file *unwinder__file(const struct unwinder *unwinder, uint32_t number)
{
	return number < unwinder->file_cnt ? unwinder->files[number].file : NULL;
}

void unwinder__drop(struct unwinder *unwinder,
		    bool (*needed)(void *arg, const struct mapped_file *file), void *arg)
{
	/* The vDSO, number 1, is everybody's. */
	for (uint32_t number = 2; number < unwinder->file_cnt; number++) {
		struct numbered_file *numbered = &unwinder->files[number];
		volatile struct uf_unwind_file *in_kernel;

		if (!numbered->word_cnt || needed(arg, numbered->file))
			continue;
		in_kernel = tracer__unwind_file(unwinder->tracer, number);
		tracer__begin_replacing(unwinder->tracer);
		__atomic_store_n(&in_kernel->granule_cnt, 0, __ATOMIC_RELEASE);
		tracer__end_replacing(unwinder->tracer);
		rest(unwinder, in_kernel->first_word, numbered->word_cnt);
		/* The number stays: kept stacks have frames with it. */
		numbered->word_cnt = 0;
	}
}

void unwinder__tick(struct unwinder *unwinder)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < unwinder->resting_cnt; i++) {
		struct resting_range *range = &unwinder->resting[i];

		if (--range->epochs)
			unwinder->resting[kept++] = *range;
		else
			word_space__give(unwinder->space, range->first, range->cnt);
	}
	unwinder->resting_cnt = kept;
}

uint64_t unwinder__lost_cnt(const struct unwinder *unwinder)
{
	return unwinder->lost_cnt;
}
