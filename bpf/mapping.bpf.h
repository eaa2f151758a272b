/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_MAPPING_BPF_H
#define UNFREED_MAPPING_BPF_H

/*
 * Which file is mapped at a program counter: bpf_find_vma(), or a search of our own where the
 * kernel has none or may not wait for the lock, and a cache of the answers.
 *
 * An answer holds until the address space changes, and a stale one gives a
 * wrong stack (two libraries that take turns at one address). Where the kernel
 * counts changes (mm_lock_seq, with per-VMA locks, 6.4) the cache compares the
 * count; elsewhere it is not believed.
 *
 * While another thread is changing the mappings bpf_find_vma() cannot look. What the search finds
 * then is believed only if the kernel's object is part of this address space, contains the
 * program counter, and reads the same twice. If not, the walk tries again for a moment, and ends
 * there. (No guesses: even the same amount of code mapped proves nothing, two libraries of one
 * size may have changed places.)
 */

/* A mapping of code. */
struct mapping {
	__u64 start, end;
	__u64 bias; /* file offset = pc - bias */
	__u32 file; /* number; 0: none known */
	__u32 is_anonymous;
	__u64 unnumbered; /* what tells a file without a number from another, 0: nothing to tell */
};

struct mapping_key {
	__u64 page; /* pc >> MAPPING_PAGE_BITS */
	uf_image_id image;
	__u32 pad;
};

#define MAPPING_PAGE_BITS 16

struct cached_mapping {
	struct mapping mapping;
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
	struct cached_mapping fresh;
	struct uf_file_key file;
	__u64 inode; /* the kernel's object: told from others, never followed */
};

/* Reads by BPF_CORE_READ, for vma_search() has no pointer that the verifier trusts. */
static long copy_vma(struct task_struct *task, struct vm_area_struct *vma, struct found_vma *found)
{
	struct mapping *mapping = &found->fresh.mapping;
	struct file *file = BPF_CORE_READ(vma, vm_file);

	mapping->start = BPF_CORE_READ(vma, vm_start);
	mapping->end = BPF_CORE_READ(vma, vm_end);
	mapping->bias = mapping->start - (BPF_CORE_READ(vma, vm_pgoff) << 12);
	if (file) {
		struct inode *inode = BPF_CORE_READ(file, f_inode);

		found->inode = (__u64)inode;
		found->file.inode = BPF_CORE_READ(inode, i_ino);
		found->file.generation = BPF_CORE_READ(inode, i_generation);
		found->file.dev = BPF_CORE_READ(inode, i_sb, s_dev);
		return 0;
	}
#if defined(__TARGET_ARCH_x86)
	if ((__u64)task->mm->context.vdso == mapping->start) {
		mapping->bias = mapping->start;
		found->file.inode = UF_VDSO_INODE;
		return 0;
	}
#endif
	mapping->is_anonymous = 1;
	return 0;
}

enum bpf_func_id___find_vma {
	BPF_FUNC_find_vma___find_vma = 180,
};

/* Since 6.15, and from 6.4 on. */
struct vm_area_struct___refcnt {
	refcount_t vm_refcnt;
} __attribute__((preserve_access_index));
struct vm_area_struct___detached {
	bool detached;
} __attribute__((preserve_access_index));

/* The object may have been freed, and used for another mapping: reading it is safe. */
static __always_inline bool vma_is_part_of(struct vm_area_struct *vma, struct mm_struct *mm)
{
	struct vm_area_struct___refcnt *newer = (void *)vma;
	struct vm_area_struct___detached *older = (void *)vma;

	if (bpf_core_field_exists(newer->vm_refcnt) &&
	    BPF_CORE_READ(newer, vm_refcnt.refs.counter) <= 0)
		return false;
	if (bpf_core_field_exists(older->detached) && BPF_CORE_READ(older, detached))
		return false;
	return BPF_CORE_READ(vma, vm_mm) == mm;
}

/*
 * The mapping at pc without the kernel's lock. What a search meets while another thread changes
 * the mappings may be torn, so what it found is looked at twice.
 */
static __always_inline long find_vma_unlocked(struct task_struct *task, __u64 pc,
					      struct found_vma *found)
{
	const struct mapping *mapping = &found->fresh.mapping;
	struct vm_area_struct *vma = (void *)vma_search(pc);

	if (!vma)
		return -EBUSY;
	copy_vma(task, vma, found);
	if (pc < mapping->start || pc >= mapping->end || !vma_is_part_of(vma, task->mm) ||
	    BPF_CORE_READ(vma, vm_start) != mapping->start ||
	    BPF_CORE_READ(vma, vm_end) != mapping->end ||
	    (__u64)BPF_CORE_READ(vma, vm_file, f_inode) != found->inode)
		return -EBUSY;
	return 0;
}

static __always_inline long find_vma(struct task_struct *task, __u64 pc, struct found_vma *found)
{
	long err = -EBUSY;

	if (bpf_core_enum_value_exists(enum bpf_func_id___find_vma, BPF_FUNC_find_vma___find_vma))
		err = bpf_find_vma(task, pc, copy_vma, found, 0);
	return err == -EBUSY ? find_vma_unlocked(task, pc, found) : err;
}

/* Asks user space for a file's table. (Written in place: the stack is short down here.) */
static __always_inline void want_file(const struct uf_file_key *key, __u64 address, bool all_rows)
{
	struct uf_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		loss_add(EVENTS_FULL, 1);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->type = UF_EVENT_FILE_WANTED;
	event->tgid = bpf_get_current_pid_tgid() >> 32;
	event->file = *key;
	event->address = address;
	event->time_ns = bpf_ktime_get_ns();
	event->want_all_rows = all_rows;
	bpf_ringbuf_submit(event, 0);
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
	struct cached_mapping *cached = bpf_map_lookup_elem(&mapping_cache, &key);
	struct task_struct *task = bpf_get_current_task_btf();
	struct found_vma found = {};
	struct cached_mapping *fresh = &found.fresh;
	long err;

	fresh->generation = mapping_generation(task->mm);
	if (cached && (pc < cached->mapping.start || pc >= cached->mapping.end))
		cached = NULL;
	if (cached && cached->generation == fresh->generation && fresh->generation) {
		*out = cached->mapping;
		return 0;
	}
	err = find_vma(task, pc, &found);
	if (err)
		return err == -EBUSY ? -UF_END_BUSY : -UF_END_NO_MAPPING;
	if (!fresh->mapping.is_anonymous)
		fresh->mapping.file = file_number(&found.file, pc);
	if (!fresh->mapping.file)
		fresh->mapping.unnumbered = found.file.inode ^ (__u64)found.file.dev << 32;
	*out = fresh->mapping;
	/* A file without a number gets one soon: ask again. */
	if (fresh->mapping.file || fresh->mapping.is_anonymous)
		bpf_map_update_elem(&mapping_cache, &key, fresh, BPF_ANY);
	return 0;
}

#endif
