/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_SYM_SYMBOLIZER_H
#define UNFREED_SYM_SYMBOLIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * From (module, file offset) to function, source file and line, with the
 * inlined calls at that place.
 *
 * A module is one ELF image: a file that somebody opened, or bytes copied from
 * memory ([vdso]). The symbolizer reads .symtab, .dynsym, PLT relocations and
 * .debug_info, from the image itself and from separate debug files (by
 * build-id, then by .gnu_debuglink), once, into sorted indexes of its own.
 * libdw is only the parser. Modules with the same build-id share one entry.
 *
 * Everything in a module is hostile input: a truncated or lying file gives
 * fewer names, never a crash, an endless loop or unbounded memory.
 *
 * Not thread-safe. Knows nothing of processes, BPF or reports.
 */

struct symbolizer;
struct sym_module;

/* One frame of a place. Strings belong to the symbolizer and live until it is freed. */
struct sym_frame {
	const char *function; /* demangled; "" if unknown */
	const char *file;     /* source file as the compiler named it, made absolute; "" if unknown */
	uint32_t line;        /* 0 if unknown */
	uint64_t offset;      /* bytes from the function's start; 0 for an inlined frame */
	bool inlined;         /* this frame was inlined into the next one */
};

struct symbolizer_opts {
	const char *debug_root;  /* directory of separate debug files; NULL: /usr/lib/debug */
	size_t cache_limit_bytes; /* bound of parsed debug info kept at once (LRU); 0: 512 MiB */
	/*
	 * Runs work(work_arg) and returns when it is done: what may take seconds, as parsing the
	 * debug information of an interpreter does, so that the caller can have it done by another
	 * thread and see to other things meanwhile (but not to this symbolizer). NULL: at once.
	 */
	void (*run_long)(void *arg, void (*work)(void *work_arg), void *work_arg);
	void *arg;
};

/* Returns NULL with errno on failure. opts may be NULL. */
struct symbolizer *symbolizer__new(const struct symbolizer_opts *opts);
/* Takes NULL. Frees every module and string. */
void symbolizer__free(struct symbolizer *sym);

/*
 * The module of the ELF file open at fd (any offset; fd stays the caller's and
 * may be closed at once). path is only for display and for finding the
 * debuglink beside it; it may name a file that is gone.
 * Returns NULL with errno: ENOEXEC if it is no ELF, ENOMEM, or read's error.
 * The module belongs to the symbolizer.
 */
struct sym_module *symbolizer__open_fd(struct symbolizer *sym, int fd, const char *path);
/*
 * The same for a file of a container: its debug file is looked for in there too, at once, as the
 * container may be gone later. path is /proc/PID/root/..., or whatever else if there is no such
 * process any more; origin a number, not 0, that is the container's own. What a container says of
 * itself names its own frames only: it shares no entry with the host's modules or another's, unless
 * the host has the same module and the container nothing to add.
 */
struct sym_module *symbolizer__open_foreign_fd(struct symbolizer *sym, int fd, const char *path,
					       uint64_t origin);
/* The same for an image in memory, which is copied. */
struct sym_module *symbolizer__open_memory(struct symbolizer *sym, const void *image,
					   size_t size_bytes, const char *name);

/* Build-id in lower-case hex, "" if it has none. Lives as long as the module. */
const char *sym_module__build_id(const struct sym_module *mod);
/* The name given at open. */
const char *sym_module__path(const struct sym_module *mod);

/*
 * Frames at a file offset of the module, innermost inlined frame first, the
 * real function last. is_return_address says that the offset follows a call,
 * so that the place meant is the byte before it.
 * Returns the number of frames written (at least 1: an unknown place gives one
 * frame with empty strings), at most max (max >= 1).
 */
int symbolizer__resolve(struct symbolizer *sym, struct sym_module *mod, uint64_t file_offset,
			bool is_return_address, struct sym_frame *frames, int max);

/* Bytes of parsed debug information and indexes held now, as far as we count them. */
size_t symbolizer__memory_bytes(const struct symbolizer *sym);

#endif
