/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_VMA_ITER_BPF_H
#define UNFREED_VMA_ITER_BPF_H

/*
 * Lists the executable mappings of a process with the kernel's own names for files: what
 * /proc/PID/maps shows of device and inode is the same, but there is no generation in it. User
 * space reads a run of struct uf_mapping.
 */

__u32 iter_tgid; /* by user space, before each run */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct uf_mapping);
} iter_scratch SEC(".maps");

#define VM_EXEC 4

SEC("iter/task_vma")
int list_mappings(struct bpf_iter__task_vma *ctx)
{
	struct vm_area_struct *vma = ctx->vma;
	struct task_struct *task = ctx->task;
	struct uf_mapping *mapping;
	__u32 zero = 0;
	struct file *file;

	if (!task || !vma || task->pid != task->tgid || (__u32)task->tgid != iter_tgid ||
	    !(vma->vm_flags & VM_EXEC))
		return 0;
	file = vma->vm_file;
	mapping = bpf_map_lookup_elem(&iter_scratch, &zero);
	if (!file || !mapping)
		return 0;
	mapping->start = vma->vm_start;
	mapping->end = vma->vm_end;
	mapping->file_offset = vma->vm_pgoff << 12;
	mapping->file.inode = file->f_inode->i_ino;
	mapping->file.generation = file->f_inode->i_generation;
	mapping->file.dev = file->f_inode->i_sb->s_dev;
	mapping->tgid = task->tgid;
	mapping->path[0] = 0;
	bpf_d_path(&file->f_path, mapping->path, sizeof(mapping->path));
	bpf_seq_write(ctx->meta->seq, mapping, sizeof(*mapping));
	return 0;
}

#endif
