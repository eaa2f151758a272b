/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_TARGET_MAPPED_FILE_H
#define UNFREED_TARGET_MAPPED_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Files that processes have mapped, each once, as the kernel tells them apart:
 * device, inode, generation. Opened when first seen, because the process may be
 * gone, or the file replaced, by the time that somebody wants to read it.
 */

struct file_table;

struct mapped_file {
	dev_t dev;       /* as the kernel prints it in maps; 0 for a file that is none ([vdso]) */
	uint64_t inode;
	uint64_t generation; /* 0: not known (/proc does not tell) */
	uint32_t number; /* of its unwind table, see agent/unwinder.h; 0: none yet */
	char *path;      /* in the process's own root; may be gone */
	uint64_t origin; /* of the root that it was opened in; 0: ours */
	int fd;          /* open for reading, or -errno why it is not */
	void *user;      /* the symbolizer's module, once it is asked for; not owned */
	bool user_failed; /* that was tried and failed */
	bool examined;   /* looked at for allocator functions */
	bool may_be_python; /* defines a CPython interpreter; known once examined */
	bool has_code_probe; /* its code_dealloc() is probed */
	bool pool_probe_is_tried; /* on its function that opens pools, with pool_probe_err */
	bool has_allocator; /* its functions are probed, or the gate stands before them */
	bool exit_probe_is_tried; /* on its _exit(), for a Python */
	int pool_probe_err;  /* 0: it is there; or -errno */
	bool has_probes; /* has some, and they are probed */
	const struct code_ranges *allocator_code; /* these functions; not owned, NULL: not known */
	uint32_t used_mark; /* of mapping_log__mark_used */
	bool is_pinned;  /* who has it mapped is not known any more: it stays open */
	struct mapped_file *real; /* overlayfs: the file of the layer that this is; NULL: itself */
	struct mapped_file *next;
};

/* A number for the mount namespace and the root of a process; 0: they are ours, or it is gone. */
uint64_t mapped_file__origin(pid_t pid);

/* How BPF programs tell the file open at fd from others: what vm_file has in a mapping of it. */
struct file_identity {
	dev_t dev;
	uint64_t inode, generation;
};
typedef bool (*file_identify_fn)(void *arg, int fd, struct file_identity *out);

/* Length of a path without the mark that the kernel puts after the name of an unlinked file. */
size_t mapped_file__name_length(const char *path, size_t length);

/* NULL with errno ENOMEM. */
struct file_table *file_table__new(void);
/* Takes NULL. Closes every descriptor. */
void file_table__free(struct file_table *files);
/*
 * On overlayfs, records of mappings have other names for a file than the kernel's own objects, and
 * the containers that share a layer share its files. With this, all of them get the one file of
 * the layer.
 */
void file_table__set_identify(struct file_table *files, file_identify_fn identify, void *arg);

/*
 * The file mapped at start-end in pid; generation 0: not known. Opened at first
 * sight, or when it is seen again if that failed, through /proc/PID/map_files,
 * then by the path within the process's root, or if the process is gone by the
 * path here; a file there that is another inode is not taken. NULL with errno ENOMEM, also past 65,536 files.
 */
struct mapped_file *file_table__get(struct file_table *files, pid_t pid, uint64_t start,
				    uint64_t end, dev_t dev, uint64_t inode, uint64_t generation,
				    const char *path);

/* How many are open, and how many can be. */
uint32_t file_table__open_cnt(const struct file_table *files);
uint32_t file_table__open_max(void);
/* Calls fn for each open file, until it returns false. */
typedef bool (*mapped_file_fn)(void *arg, struct mapped_file *file);
void file_table__for_each_open(struct file_table *files, mapped_file_fn fn, void *arg);
/*
 * Closes a file that nobody has mapped and nobody probes. It is opened and looked at again if it is
 * seen again, which its generation must prove: the inode may be used again for another.
 */
void file_table__close(struct file_table *files, struct mapped_file *file);

#endif
