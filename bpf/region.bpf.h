/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_REGION_BPF_H
#define UNFREED_REGION_BPF_H

/*
 * Memory that the program maps itself, around its allocator: --mmap.
 *
 * An unmap may take any part of what was mapped, and of several mappings at once; the kernel's
 * tables have no look-up for that. So here the system calls are only told, in order, and user
 * space keeps the intervals (user/agent/regions.c). A mapping is counted at its site here, when it
 * is made, so that the site is never found idle while its event is on the way; what is unmapped is
 * taken from the site there.
 *
 * The order, between threads: an address can be mapped again as soon as it is unmapped, so an unmap
 * is told at the call's entry and a mapping at its return. At its return an unmap also says whether
 * it succeeded. mremap is both, as realloc is.
 *
 * What is mapped inside a probed allocator function is the allocator's and does not count. What is
 * unmapped there may be anybody's.
 *
 * The programs are at the tracepoints of all system calls: every call of the machine looks in here
 * for some nanoseconds while somebody traces with --mmap. (Those of single calls are not much
 * cheaper for the others, as one flag sends all calls the slow way, and need tracefs.)
 *
 * Newer kernels run such programs with preemption enabled, and leave one out while another thread
 * has been interrupted in it on the same CPU: one call in ten, in the worst case on Linux 7.3. So
 * each program is there several times, one to stand by for the other: they are left out one by one.
 * Which of them is the first that comes to a call is in the thread's state, which the call's entry
 * and its return change in turn. It also shows when a call was not seen by any of them.
 *
 * For 64-bit callers only.
 */

#if defined(__TARGET_ARCH_x86)
#define NR_MMAP	  9
#define NR_MUNMAP 11
#define NR_BRK	  12
#define NR_MREMAP 25
#define SYSCALL_NR(regs) ((long)(regs)->orig_ax)
#else
#define NR_MMAP	  222
#define NR_MUNMAP 215
#define NR_BRK	  214
#define NR_MREMAP 216
#define SYSCALL_NR(regs) ((long)(regs)->syscallno)
#endif

#define MAP_FIXED         0x10
#define MAP_ANONYMOUS     0x20
#define MAP_HUGETLB       0x40000
#define MAP_HUGE_SHIFT    26
#define MAP_HUGE_MASK     0x3f
#define MREMAP_FIXED      2
#define MREMAP_DONTUNMAP  4
#define MAX_ERRNO         4095

/* Events of regions leave room for those of processes. */
#define MAX_EVENT_BYTES (1u << 22)

const volatile __u64 cfg_huge_page_bytes = 1 << 21; /* of a MAP_HUGETLB that names no size */

static __always_inline __u64 round_up(__u64 bytes, __u64 unit)
{
	return (bytes + unit - 1) & -unit;
}

static __always_inline __u64 page_up(__u64 bytes)
{
	return round_up(bytes, cfg_page_size_bytes);
}

static __always_inline bool is_error(__u64 result)
{
	return result >= (__u64)-MAX_ERRNO;
}

/* NULL: no room (counted, and user space is told to look). */
static __always_inline struct uf_region_event *region_event(uf_image_id image, __u32 op)
{
	struct uf_region_event *event = NULL;

	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) <= MAX_EVENT_BYTES)
		event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		loss_add(REGION_EVENTS_FULL, 1);
		regions_are_lost = 1;
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->type = UF_EVENT_REGION;
	event->tgid = bpf_get_current_pid_tgid() >> 32;
	event->tid = (__u32)bpf_get_current_pid_tgid();
	event->image = image;
	event->op = op;
	return event;
}

static __always_inline void region_tell(uf_image_id image, __u32 op, __u64 start, __u64 bytes)
{
	struct uf_region_event *event = region_event(image, op);

	if (!event)
		return;
	event->start = start;
	event->bytes = bytes;
	bpf_ringbuf_submit(event, 0);
}

/* Counts [start, start + bytes) at the site of the system call. False: it could not (counted). */
static __always_inline bool region_map(struct pt_regs *regs, uf_image_id image, __u64 start,
				       __u64 bytes, bool is_fixed)
{
	struct uf_block block = {.size_bytes = bytes};
	struct thread_state *thread = thread_state_get(true);
	struct uf_region_event *event;

	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return false;
	}
	if (!site_here(regs, thread, image, UF_SITE_MMAP, &block.site))
		return false;
	block.epoch = *(volatile __u32 *)&current_epoch;
	event = region_event(image, UF_REGION_MAPPED);
	if (!event)
		return true;
	site_add_counted(&block, 1);
	event->site = block.site;
	event->epoch = block.epoch;
	event->is_fixed = is_fixed;
	event->start = start;
	event->bytes = bytes;
	bpf_ringbuf_submit(event, 0);
	return true;
}

/* May what the thread maps count? Of any size. */
static __always_inline bool is_programs_own(const struct pt_regs *regs)
{
	struct thread_state *thread = thread_state_get(false);

	return !thread || !thread_is_in_allocator(thread, regs);
}

static __always_inline bool is_counted(const struct pt_regs *regs, __u64 bytes)
{
	return bytes && size_is_wanted(bytes) && is_programs_own(regs);
}

/* ---- mmap ---- */

static __always_inline __u64 mapped_bytes(__u64 bytes, __u64 flags)
{
	__u32 shift = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;

	if (!(flags & MAP_HUGETLB))
		return page_up(bytes);
	return round_up(bytes, shift ? 1ULL << shift : cfg_huge_page_bytes);
}

static __noinline int mmap_return(struct pt_regs *regs, __u64 result)
{
	__u64 flags = PT_REGS_PARM4_SYSCALL(regs);
	__u64 bytes = mapped_bytes(PT_REGS_PARM2_SYSCALL(regs), flags);
	struct uf_process *process = current_process();
	uf_image_id image;
	bool counts;

	if (!process)
		return 0;
	stats_add(event_cnt, 1);
	image = process->image;
	counts = flags & MAP_ANONYMOUS && is_counted(regs, bytes);
	if (is_error(result)) {
		if (counts)
			stats_add(failed_alloc_cnt, 1);
		if (flags & MAP_FIXED)
			region_tell(image, UF_REGION_DOUBTED, 0, 0);
		return 0;
	}
	if (counts && region_map(regs, image, result, bytes, flags & MAP_FIXED))
		return 0;
	if (flags & MAP_FIXED)
		region_tell(image, UF_REGION_COVERED, result, bytes);
	return 0;
}

/* ---- munmap ---- */

static __noinline int munmap_enter(struct pt_regs *regs)
{
	struct uf_process *process = current_process();

	if (!process)
		return 0;
	stats_add(event_cnt, 1);
	region_tell(process->image, UF_REGION_TAKEN, PT_REGS_PARM1_SYSCALL(regs),
		    page_up(PT_REGS_PARM2_SYSCALL(regs)));
	return 0;
}

static __noinline int munmap_return(__u64 result)
{
	struct uf_process *process = current_process();

	if (process)
		region_tell(process->image, result ? UF_REGION_RESTORED : UF_REGION_SETTLED, 0, 0);
	return 0;
}

/* ---- brk ---- */

static __noinline int brk_enter(struct pt_regs *regs)
{
	struct uf_process *process = current_process();
	__u64 to = page_up(PT_REGS_PARM1_SYSCALL(regs)), from;
	struct thread_state *thread;

	if (!process)
		return 0;
	stats_add(event_cnt, 1);
	thread = thread_state_get(true);
	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return 0;
	}
	from = page_up(BPF_CORE_READ(bpf_get_current_task_btf(), mm, brk));
	thread->brk_before = from;
	/* brk(0) and the like ask for where it is. */
	if (to < from && to >= BPF_CORE_READ(bpf_get_current_task_btf(), mm, start_brk))
		region_tell(process->image, UF_REGION_TAKEN, to, from - to);
	return 0;
}

static __noinline int brk_return(struct pt_regs *regs, __u64 result)
{
	__u64 wanted = PT_REGS_PARM1_SYSCALL(regs), to = page_up(result), from;
	struct uf_process *process = current_process();
	struct thread_state *thread = thread_state_get(false);

	if (!process || !thread || !thread->brk_before)
		return 0;
	from = thread->brk_before;
	thread->brk_before = 0;
	if (to > from) {
		if (is_counted(regs, to - from))
			region_map(regs, process->image, from, to - from, true);
	} else if (page_up(wanted) < from) {
		region_tell(process->image,
			    result == wanted ? UF_REGION_SETTLED : UF_REGION_RESTORED, 0, 0);
	}
	return 0;
}

/* ---- mremap ---- */

/* Shared anonymous memory is a file of the kernel's own; no other's name has a slash. */
static __always_inline bool is_shared_anonymous(struct file *file)
{
	const unsigned char *name = BPF_CORE_READ(file, f_path.dentry, d_name.name);
	char text[8];

	return !bpf_probe_read_kernel(text, sizeof(text), name) && text[0] == 'd' &&
	       text[1] == 'e' && text[2] == 'v' && text[3] == '/' && text[4] == 'z';
}

static long look_if_anonymous(struct task_struct *task, struct vm_area_struct *vma, __u32 *out)
{
	struct file *file = BPF_CORE_READ(vma, vm_file);

	*out = !file || is_shared_anonymous(file);
	return 0;
}

/* Is the mapping at address anonymous? */
static __always_inline bool is_anonymous(__u64 address)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct vm_area_struct *vma;
	__u32 anonymous = 0;
	long err = -EBUSY;

	if (bpf_core_enum_value_exists(enum bpf_func_id___find_vma, BPF_FUNC_find_vma___find_vma))
		err = bpf_find_vma(task, address, look_if_anonymous, &anonymous, 0);
	if (err != -EBUSY)
		return anonymous;
	vma = (void *)vma_search(address);
	if (vma && vma_is_part_of(vma, task->mm) && address >= BPF_CORE_READ(vma, vm_start) &&
	    address < BPF_CORE_READ(vma, vm_end))
		look_if_anonymous(task, vma, &anonymous);
	return anonymous;
}

/*
 * What mremap returns is its caller's from then on, as a block is that realloc returns. Memory from
 * before the trace, too.
 */
static __noinline int mremap_enter(struct pt_regs *regs)
{
	__u64 start = PT_REGS_PARM1_SYSCALL(regs), bytes = page_up(PT_REGS_PARM2_SYSCALL(regs));
	struct uf_process *process = current_process();
	struct thread_state *thread;

	if (!process)
		return 0;
	stats_add(event_cnt, 1);
	thread = thread_state_get(true);
	if (!thread) {
		loss_add(THREAD_STATE, 1);
		return 0;
	}
	thread->remaps_anonymous = is_anonymous(start);
	/* Nothing is unmapped where shared memory is mapped a second time (0 bytes). */
	if (bytes && !(PT_REGS_PARM4_SYSCALL(regs) & MREMAP_DONTUNMAP))
		region_tell(process->image, UF_REGION_TAKEN, start, bytes);
	return 0;
}

static __noinline int mremap_return(struct pt_regs *regs, __u64 result)
{
	__u64 bytes = page_up(PT_REGS_PARM3_SYSCALL(regs)), flags = PT_REGS_PARM4_SYSCALL(regs);
	struct uf_process *process = current_process();
	struct thread_state *thread = thread_state_get(false);
	uf_image_id image;
	bool anonymous;

	if (!process || !thread)
		return 0;
	image = process->image;
	anonymous = thread->remaps_anonymous;
	thread->remaps_anonymous = 0;
	region_tell(image, is_error(result) ? UF_REGION_RESTORED : UF_REGION_SETTLED, 0, 0);
	if (is_error(result)) {
		if (flags & MREMAP_FIXED)
			region_tell(image, UF_REGION_DOUBTED, 0, 0);
		return 0;
	}
	if (anonymous && is_counted(regs, bytes) &&
	    region_map(regs, image, result, bytes, flags & MREMAP_FIXED))
		return 0;
	if (flags & MREMAP_FIXED)
		region_tell(image, UF_REGION_COVERED, result, bytes);
	return 0;
}

/* ---- */

struct thread_info___bits {
	unsigned long flags;
	u32 status;
} __attribute__((preserve_access_index));
struct task_struct___bits {
	struct thread_info___bits thread_info;
} __attribute__((preserve_access_index));

/* Has a 32-bit program made the call? Then its number means another one. */
static __always_inline bool is_compat(void)
{
	struct task_struct___bits *task = (void *)bpf_get_current_task_btf();

#if defined(__TARGET_ARCH_x86)
	return BPF_CORE_READ(task, thread_info.status) & 2; /* TS_COMPAT */
#else
	return BPF_CORE_READ(task, thread_info.flags) & 1UL << 22; /* TIF_32BIT */
#endif
}

static __always_inline bool is_of_interest(long number)
{
	return (number == NR_MMAP || number == NR_MUNMAP || number == NR_BRK ||
		number == NR_MREMAP) && !is_compat();
}

static __always_inline void call_is_lost(void)
{
	loss_add(REGION_CALL_MISSED, 1);
	regions_are_lost = 1;
}

/* The thread's state if this program is the first that comes to the call. */
static __always_inline bool is_first_at_entry(bool is_stand_by)
{
	struct thread_state *thread;

	if (!current_process())
		return false;
	thread = thread_state_get(true);
	if (!thread) {
		if (!is_stand_by)
			loss_add(THREAD_STATE, 1);
		return false;
	}
	if (thread->system_call == CALL_ENTERED) {
		if (is_stand_by)
			return false;
		call_is_lost();
	}
	thread->system_call = CALL_ENTERED;
	return true;
}

static __always_inline bool is_first_at_exit(bool is_stand_by)
{
	struct thread_state *thread = thread_state_get(false);

	/* Entered before it was a target: nothing is known of it. */
	if (!thread || thread->system_call == CALL_UNKNOWN)
		return false;
	if (thread->system_call == CALL_RETURNED) {
		if (is_stand_by)
			return false;
		call_is_lost();
	}
	thread->system_call = CALL_RETURNED;
	return true;
}

static __always_inline void look_at_entry(struct pt_regs *regs, long number, bool is_stand_by)
{
	if (!is_of_interest(number) || !is_first_at_entry(is_stand_by))
		return;
	switch (number) {
	case NR_MUNMAP:
		munmap_enter(regs);
		break;
	case NR_BRK:
		brk_enter(regs);
		break;
	case NR_MREMAP:
		mremap_enter(regs);
		break;
	}
}

static __always_inline void look_at_exit(struct pt_regs *regs, __u64 result, bool is_stand_by)
{
	long number = SYSCALL_NR(regs);

	if (!is_of_interest(number) || !is_first_at_exit(is_stand_by))
		return;
	switch (number) {
	case NR_MMAP:
		mmap_return(regs, result);
		break;
	case NR_MUNMAP:
		munmap_return(result);
		break;
	case NR_BRK:
		brk_return(regs, result);
		break;
	case NR_MREMAP:
		mremap_return(regs, result);
		break;
	}
}

#define SYSTEM_CALL_PROGRAMS(suffix, is_stand_by)                                                  \
	SEC("tp_btf/sys_enter")                                                                    \
	int BPF_PROG(system_call_entry##suffix, struct pt_regs *regs, long number)                 \
	{                                                                                          \
		look_at_entry(regs, number, is_stand_by);                                          \
		return 0;                                                                          \
	}                                                                                          \
                                                                                                   \
	SEC("tp_btf/sys_exit")                                                                     \
	int BPF_PROG(system_call_exit##suffix, struct pt_regs *regs, long result)                  \
	{                                                                                          \
		look_at_exit(regs, result, is_stand_by);                                           \
		return 0;                                                                          \
	}

/* They are called in the order in which they are attached. */
SYSTEM_CALL_PROGRAMS(, false)
SYSTEM_CALL_PROGRAMS(_2, true)
SYSTEM_CALL_PROGRAMS(_3, true)

#endif
