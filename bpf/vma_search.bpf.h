/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_VMA_SEARCH_BPF_H
#define UNFREED_VMA_SEARCH_BPF_H

/*
 * A process's mapping at an address, searched in the kernel's own tree without its lock: for
 * kernels before 5.17, which have no bpf_find_vma(), and for all when it cannot have the lock
 * because another thread changes the mappings.
 *
 * Nothing holds the tree still meanwhile. Every pointer is read with a check for faults, so that
 * the worst that a torn tree can do is to lead to a wrong object, or to none: whoever asked must
 * verify what the search found (bpf/mapping.bpf.h).
 */

/* Before 6.1 the mappings are in a red-black tree. */
struct rb_node___tree {
	struct rb_node___tree *rb_right, *rb_left;
} __attribute__((preserve_access_index));
struct rb_root___tree {
	struct rb_node___tree *rb_node;
} __attribute__((preserve_access_index));
struct mm_struct___tree {
	struct rb_root___tree mm_rb;
} __attribute__((preserve_access_index));
struct vm_area_struct___tree {
	struct rb_node___tree vm_rb;
} __attribute__((preserve_access_index));

#define MAX_RB_DEPTH 34 /* of 65,536 mappings, the most that a process has by default */

static __always_inline __u64 rb_search(struct mm_struct *mm, __u64 address)
{
	struct mm_struct___tree *tree = (void *)mm;
	struct rb_node___tree *node = BPF_CORE_READ(tree, mm_rb.rb_node);

	for (int i = 0; node && i < MAX_RB_DEPTH; i++) {
		struct vm_area_struct *vma =
			(void *)node - bpf_core_field_offset(struct vm_area_struct___tree, vm_rb);

		if (address < BPF_CORE_READ(vma, vm_start))
			node = BPF_CORE_READ(node, rb_left);
		else if (address >= BPF_CORE_READ(vma, vm_end))
			node = BPF_CORE_READ(node, rb_right);
		else
			return (__u64)vma;
	}
	return 0;
}

/* Since 6.1 they are in a maple tree. Its nodes' types are in the pointers to them. */
struct maple_tree___vma {
	void *ma_root;
} __attribute__((preserve_access_index));
struct mm_struct___maple {
	struct maple_tree___vma mm_mt;
} __attribute__((preserve_access_index));
struct maple_range_64___vma {
	unsigned long pivot[15];
	void *slot[16];
} __attribute__((preserve_access_index));
struct maple_arange_64___vma {
	unsigned long pivot[9];
	void *slot[10];
} __attribute__((preserve_access_index));

enum {
	MAPLE_LEAF_64 = 1,
	MAPLE_RANGE_64 = 2,
	MAPLE_ARANGE_64 = 3,
};

#define MAPLE_NODE_MASK	     255
#define MAPLE_TYPE_SHIFT     3
#define MAPLE_TYPE_MASK	     15
#define MAPLE_IS_NODE(entry) (((entry)&3) == 2 && (entry) > 4096) /* the root alone says so */
#define MAPLE_RANGE_PIVOTS   15
#define MAPLE_ARANGE_PIVOTS  9
#define MAX_MAPLE_DEPTH	     10 /* of 65,536 mappings, at five to a node */

/* A pivot is the last address of its slot; 0, or none, for a node's last slot. */
static __always_inline __u64 maple_slot(__u64 pivots, __u64 slots, __u32 pivot_cnt, __u64 address)
{
	__u64 pivot, entry;
	__u32 i;

	for (i = 0; i < MAPLE_RANGE_PIVOTS && i < pivot_cnt; i++) {
		if (bpf_probe_read_kernel(&pivot, sizeof(pivot), (void *)(pivots + i * 8)))
			return 0;
		if (pivot >= address || (i && !pivot))
			break;
	}
	return bpf_probe_read_kernel(&entry, sizeof(entry), (void *)(slots + i * 8)) ? 0 : entry;
}

static __always_inline __u64 maple_search(struct mm_struct *mm, __u64 address)
{
	struct mm_struct___maple *tree = (void *)mm;
	__u64 entry = (__u64)BPF_CORE_READ(tree, mm_mt.ma_root);

	/* A single mapping of all memory is none that a process has. */
	if (!MAPLE_IS_NODE(entry))
		return 0;
	for (int i = 0; i < MAX_MAPLE_DEPTH; i++) {
		__u32 type = entry >> MAPLE_TYPE_SHIFT & MAPLE_TYPE_MASK;
		__u64 node = entry & ~(__u64)MAPLE_NODE_MASK;
		__u64 pivots = bpf_core_field_offset(struct maple_range_64___vma, pivot);
		__u64 slots = bpf_core_field_offset(struct maple_range_64___vma, slot);
		__u32 pivot_cnt = MAPLE_RANGE_PIVOTS;

		if (type == MAPLE_ARANGE_64) {
			pivots = bpf_core_field_offset(struct maple_arange_64___vma, pivot);
			slots = bpf_core_field_offset(struct maple_arange_64___vma, slot);
			pivot_cnt = MAPLE_ARANGE_PIVOTS;
		} else if (type != MAPLE_LEAF_64 && type != MAPLE_RANGE_64) {
			return 0;
		}
		entry = maple_slot(node + pivots, node + slots, pivot_cnt, address);
		if (!entry || type == MAPLE_LEAF_64)
			return entry;
	}
	return 0;
}

/* Address of the vm_area_struct that seems to hold address in the calling process; 0: none found.
 */
__noinline __u64 vma_search(__u64 address)
{
	struct mm_struct *mm = bpf_get_current_task_btf()->mm;

	if (bpf_core_field_exists(struct mm_struct___tree, mm_rb))
		return rb_search(mm, address);
	if (bpf_core_field_exists(struct mm_struct___maple, mm_mt))
		return maple_search(mm, address);
	return 0;
}

#endif
