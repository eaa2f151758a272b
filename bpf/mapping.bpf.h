/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_MAPPING_BPF_H
#define UNFREED_MAPPING_BPF_H

/*
 * Which file is mapped at a program counter: bpf_find_vma(), and a cache of
 * its answers.
 *
 * An answer holds until the address space changes, and a stale one gives a
 * wrong stack (two libraries that take turns at one address). Where the kernel
 * counts changes (mm_lock_seq, with per-VMA locks, 6.4) the cache compares the
 * count; elsewhere it is not believed. While another thread is changing the
 * mappings bpf_find_vma() cannot look: then the last answer is taken if the
 * process has as much code mapped as it had (exec_vm), else the stack ends.
 */

/* A mapping of code. */
struct mapping {
	__u64 start, end;
	__u64 bias; /* file offset = pc - bias */
	__u32 file; /* number; 0: none known */
	__u32 is_anonymous;
};

struct mapping_key {
	__u64 page;         /* pc >> MAPPING_PAGE_BITS */
	uf_image_id image;
	__u32 pad;
};

#define MAPPING_PAGE_BITS 16

struct cached_mapping {
	struct mapping mapping;
	__u64 exec_pages;
	__u32 generation;
	__u32 pad;
};

/* (image, 64 KiB of address space) -> the mapping found there last. Least recently used go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 15);
	__type(key, struct mapping_key);
	__type(value, struct cached_mapping);
} mapping_cache SEC(".maps");

struct mm_seqcount {
	unsigned int sequence;
} __attribute__((preserve_access_index));

/* Since 6.14, and before. */
struct mm_struct___seqcount {
	struct mm_seqcount mm_lock_seq;
} __attribute__((preserve_access_index));
struct mm_struct___int {
	int mm_lock_seq;
} __attribute__((preserve_access_index));

/* The count of changes to the address space; 0: not known, or being changed. */
static __always_inline __u32 mapping_generation(struct mm_struct *mm)
{
	struct mm_struct___seqcount *newer = (void *)mm;
	struct mm_struct___int *older = (void *)mm;
	__u32 seq = 0;

	if (bpf_core_field_exists(newer->mm_lock_seq.sequence)) {
		seq = BPF_CORE_READ(newer, mm_lock_seq.sequence);
		/* Odd while a writer is at work. */
		return seq & 1 ? 0 : seq;
	}
	if (bpf_core_field_exists(older->mm_lock_seq))
		seq = BPF_CORE_READ(older, mm_lock_seq);
	return seq;
}

struct found_vma {
	struct mapping mapping;
	struct uf_file_key file;
	__u32 has_file;
};

static long copy_vma(struct task_struct *task, struct vm_area_struct *vma, struct found_vma *found)
{
	struct file *file = vma->vm_file;

	found->mapping.start = vma->vm_start;
	found->mapping.end = vma->vm_end;
	found->mapping.bias = vma->vm_start - (vma->vm_pgoff << 12);
	if (file) {
		struct inode *inode = file->f_inode;

		found->file.inode = inode->i_ino;
		found->file.generation = inode->i_generation;
		found->file.dev = inode->i_sb->s_dev;
		found->has_file = 1;
	}
#if defined(__TARGET_ARCH_x86)
	else if ((__u64)task->mm->context.vdso == vma->vm_start) {
		found->mapping.bias = vma->vm_start;
		found->file.inode = UF_VDSO_INODE;
		found->has_file = 1;
	}
#endif
	return 0;
}

/* Asks user space for a file's table. */
static __always_inline void want_file(const struct uf_file_key *key, __u64 address, bool all_rows)
{
	struct uf_event event = {
		.type = UF_EVENT_FILE_WANTED,
		.tgid = bpf_get_current_pid_tgid() >> 32,
		.file = *key,
		.address = address,
		.time_ns = bpf_ktime_get_ns(),
		.want_all_rows = all_rows,
	};

	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		loss_add(EVENTS_FULL, 1);
}

/* The number of a file; 0 if it has none yet: then user space is told, once. */
static __always_inline __u32 file_number(const struct uf_file_key *key, __u64 address)
{
	__u32 *number = bpf_map_lookup_elem(&file_numbers, key);
	const __u32 none = 0;

	if (number)
		return *number;
	if (!bpf_map_update_elem(&file_numbers, key, &none, BPF_NOEXIST))
		want_file(key, address, false);
	return 0;
}

/* The mapping at pc. 0, or -UF_END_... why there is none. */
static __always_inline int mapping_find(struct mapping *out, uf_image_id image, __u64 pc)
{
	struct mapping_key key = {.page = pc >> MAPPING_PAGE_BITS, .image = image};
	struct cached_mapping *cached = bpf_map_lookup_elem(&mapping_cache, &key), fresh = {};
	struct task_struct *task = bpf_get_current_task_btf();
	struct found_vma found = {};
	long err;

	fresh.generation = mapping_generation(task->mm);
	fresh.exec_pages = task->mm->exec_vm;
	if (cached && (pc < cached->mapping.start || pc >= cached->mapping.end))
		cached = NULL;
	if (cached && cached->generation == fresh.generation && fresh.generation) {
		*out = cached->mapping;
		return 0;
	}
	err = bpf_find_vma(task, pc, copy_vma, &found, 0);
	if (err == -EBUSY) {
		if (!cached || cached->exec_pages != fresh.exec_pages)
			return -UF_END_BUSY;
		*out = cached->mapping;
		return 0;
	}
	if (err)
		return -UF_END_NO_MAPPING;
	if (found.has_file)
		found.mapping.file = file_number(&found.file, pc);
	found.mapping.is_anonymous = !found.has_file;
	*out = found.mapping;
	fresh.mapping = found.mapping;
	/* A file without a number gets one soon: ask again. */
	if (found.mapping.file || found.mapping.is_anonymous)
		bpf_map_update_elem(&mapping_cache, &key, &fresh, BPF_ANY);
	return 0;
}

#endif
