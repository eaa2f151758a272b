/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
/*
 * From a file of a live process to a layout that was tried on it:
 *
 *	_PyRuntime -> is it mapped? -> version -> offsets (table, _Py_DebugOffsets)
 *	-> initialised? -> key of the thread state -> thread states -> frames -> eval loop
 *
 * The process may be anywhere in its life, the dynamic linker's work on this file
 * included. It maps all of the file first, then each segment in its right place; until
 * then our addresses have other parts of the file, or nothing. So nothing counts before a
 * part of the data that never changes was seen to be there.
 *
 * Later the process runs on: lists and frames change while they are read. What does not fit
 * is therefore tried again, ATTEMPTS times, before it counts (of a process that does nothing
 * but call functions, on one thread, two attempts of three fail); what fits need not be: it
 * cannot fit by chance.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "probe/elf_image.h"
#include "python/eval_loop.h"
#include "python/memory.h"
#include "python/offsets.h"
#include "python/runtime.h"
#include "python/threads.h"
#include "python/verify.h"
#include "python/version.h"

#define ATTEMPTS         64
#define OLDEST           PYTHON_VERSION_HEX(3, 8)
#define DEBUG_TABLES     PYTHON_VERSION_HEX(3, 13) /* from this on */
/* In a PyTypeObject of any version: tp_basicsize and tp_itemsize; tp_dealloc. */
#define TYPE_SIZES       32
#define TYPE_SIZES_BYTES 16
#define TYPE_DEALLOC     48

/* One attempt to understand one interpreter. */
struct find {
	const struct python_file *file;
	struct elf_image *image;
	struct python_memory mem;
	struct python_offsets offsets;
	uint64_t code_type; /* address of PyCode_Type, 0: not among the symbols */
	bool runtime_is_in_file; /* else in .bss */
	struct python_runtime *out;
};

__attribute__((format(printf, 2, 3))) static enum python_status
unavailable(struct python_runtime *out, const char *fmt, ...)
{
	char reason[sizeof(out->why)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	if (snprintf(out->why, sizeof(out->why), "Python%s%s frames unavailable: %s",
		     out->version[0] ? " " : "", out->version, reason) < 0)
		out->why[0] = '\0';
	return PYTHON_UNAVAILABLE;
}

/* tp_basicsize and tp_itemsize of PyCode_Type, in the data segment: as the file has them? */
static enum python_status check_mapped(struct find *find)
{
	uint8_t in_file[TYPE_SIZES_BYTES], in_memory[TYPE_SIZES_BYTES];
	uint32_t word;
	uint64_t vaddr;

	if (python_memory__read_u32(&find->mem, find->out->runtime_address, &word))
		return PYTHON_NOT_YET;
	if (elf_image__find_variable(find->image, "PyCode_Type", &vaddr))
		return PYTHON_FOUND;
	find->code_type = vaddr + find->file->bias;
	if (elf_image__read_data(find->image, vaddr + TYPE_SIZES, in_file, sizeof(in_file)) !=
	    (long)sizeof(in_file))
		return PYTHON_FOUND;
	if (python_memory__read(&find->mem, find->code_type + TYPE_SIZES, in_memory,
				sizeof(in_memory)) ||
	    memcmp(in_file, in_memory, sizeof(in_file)))
		return PYTHON_NOT_YET;
	return PYTHON_FOUND;
}

static enum python_status find_version(struct find *find)
{
	uint32_t version = python_version__find(find->image, &find->mem, find->file->bias);

	find->out->layout.version_hex = version;
	if (!version)
		return unavailable(find->out, "its version cannot be told");
	python_version__format(version, find->out->version, sizeof(find->out->version));
	if (version < OLDEST)
		return unavailable(find->out, "only 3.8 and later are supported");
	return PYTHON_FOUND;
}

static enum python_status find_offsets(struct find *find)
{
	uint32_t version = find->out->layout.version_hex;
	const struct python_offsets *known = python_offsets__for_version(version);
	char why[96];
	int err;

	if (!known)
		return unavailable(find->out, "this version is not known");
	find->offsets = *known;
	find->offsets.layout.version_hex = version;
	if (version < DEBUG_TABLES)
		return PYTHON_FOUND;
	err = python_offsets__from_debug(&find->mem, find->out->runtime_address, version,
					 &find->offsets, why, sizeof(why));
	if (err == -EINVAL)
		return unavailable(find->out, "%s", why);
	if (err)
		return unavailable(find->out, "_PyRuntime cannot be read: %s", strerror(-err));
	return PYTHON_FOUND;
}

static enum python_status find_eval_loop(struct find *find)
{
	int err = eval_loop__find(find->image, find->file->fd, find->offsets.layout.eval);

	if (err == -ENOENT)
		return unavailable(find->out, "_PyEval_EvalFrameDefault is not among the symbols");
	if (err)
		return unavailable(find->out, "the file cannot be read: %s", strerror(-err));
	return PYTHON_FOUND;
}

static enum python_status check_initialised(struct find *find)
{
	uint32_t initialised;
	int err = python_memory__read_u32(
		&find->mem, find->out->runtime_address + find->offsets.runtime_initialized,
		&initialised);

	if (err)
		return unavailable(find->out, "_PyRuntime cannot be read: %s", strerror(-err));
	/* Where there is no file behind it the dynamic linker has to clear it first. */
	if (initialised > 1 && find->runtime_is_in_file)
		return unavailable(find->out, "_PyRuntime is not as known");
	return initialised == 1 ? PYTHON_FOUND : PYTHON_NOT_YET;
}

static enum python_status find_key(struct find *find)
{
	struct uf_python *layout = &find->offsets.layout;
	uint32_t key = 0;
	int err = python_threads__read_key(&find->mem, find->out->runtime_address, &find->offsets,
					   &key);

	if (err == -EAGAIN)
		return PYTHON_NOT_YET;
	if (err == -ERANGE)
		return unavailable(find->out, "its thread-specific key is %u, past the first %u",
				   key, UF_PYTHON_MAX_TSS_KEY);
	if (err)
		return unavailable(find->out, "its thread-specific key is not where it should be");
	layout->tss_key = key;
	layout->tss_offset = python_threads__tss_offset(key);
	return PYTHON_FOUND;
}

static enum python_status check_threads(struct find *find, struct python_threads *threads)
{
	int err = python_threads__read(&find->mem, find->out->runtime_address, &find->offsets,
				       threads);

	if (err)
		return unavailable(find->out, "its thread states are not as known");
	if (!threads->cnt)
		return PYTHON_NOT_YET;
	if (!python_threads__count_bound(&find->mem, threads, find->offsets.layout.tss_offset))
		return unavailable(find->out, "its threads' states are not where glibc would "
					      "keep them");
	return PYTHON_FOUND;
}

/* What an attempt says of the live process. */
static enum python_status check_process(struct find *find)
{
	struct python_threads threads;
	struct python_evidence evidence;
	enum python_status status = check_initialised(find);

	if (status == PYTHON_FOUND)
		status = find_key(find);
	if (status == PYTHON_FOUND)
		status = check_threads(find, &threads);
	if (status != PYTHON_FOUND)
		return status;
	python_verify__frames(&find->mem, &find->offsets.layout, &threads, find->code_type,
			      &evidence);
	if (evidence.bad_cnt && !evidence.good_cnt)
		return unavailable(find->out, "%s", evidence.what);
	return PYTHON_FOUND;
}

static enum python_status understand(struct find *find)
{
	enum python_status status = check_mapped(find);

	if (status == PYTHON_FOUND)
		status = find_version(find);
	if (status == PYTHON_FOUND)
		status = find_offsets(find);
	if (status != PYTHON_FOUND)
		return status;
	find->out->gc = python_gc_place__init(find->out->runtime_address, &find->offsets);
	status = check_process(find);
	for (int i = 1; status == PYTHON_UNAVAILABLE && i < ATTEMPTS; i++) {
		sched_yield();
		status = check_process(find);
	}
	return status == PYTHON_FOUND ? find_eval_loop(find) : status;
}

/* PyCode_Type's destructor: the probe wants to know when a code object's address becomes free. */
static void find_code_dealloc(struct find *find)
{
	uint64_t address;

	if (find->code_type &&
	    !python_memory__read_u64(&find->mem, find->code_type + TYPE_DEALLOC, &address))
		find->out->code_dealloc_address = address;
}

bool python_file__may_be_python(int fd)
{
	struct elf_image *image = elf_image__open_fd(fd);
	uint64_t vaddr;
	bool found = image && !elf_image__find_variable(image, "_PyRuntime", &vaddr);

	elf_image__free(image);
	return found;
}

enum python_status python_runtime__find(const struct python_file *file, python_read_fn read,
					void *arg, struct python_runtime *out)
{
	struct find find = { .file = file, .mem = { read, arg }, .out = out };
	enum python_status status = PYTHON_ABSENT;
	uint64_t vaddr;

	memset(out, 0, sizeof(*out));
	find.image = elf_image__open_fd(file->fd);
	if (find.image && !elf_image__find_variable(find.image, "_PyRuntime", &vaddr)) {
		uint8_t byte;

		out->runtime_address = vaddr + file->bias;
		find.runtime_is_in_file = elf_image__read_data(find.image, vaddr, &byte, 1) == 1;
		if (elf_image__arch(find.image) == ELF_ARCH_X86_64)
			status = understand(&find);
		else
			status = unavailable(out, "they are only known for x86-64");
	}
	elf_image__free(find.image);
	if (status == PYTHON_FOUND) {
		out->layout = find.offsets.layout;
		find_code_dealloc(&find);
	}
	if (status != PYTHON_UNAVAILABLE)
		out->why[0] = '\0'; /* an attempt that failed has written it */
	return status;
}
