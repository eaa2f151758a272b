/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PROCESS_BPF_H
#define UNFREED_PROCESS_BPF_H

/*
 * The life of traced processes: fork, exec, exit, and signals (for
 * bpf/thread.bpf.h). Each exec and each fork that copies the address space
 * makes a new image; vfork borrows the parent's until it executes.
 */

static __always_inline void event_send(const struct uf_event *event)
{
	if (bpf_ringbuf_output(&events, (void *)event, sizeof(*event), 0))
		loss_add(EVENTS_FULL, 1);
}

/* What an image starts as. Not on the stack: it takes half of that, and copy_site wants some too. */
static const struct uf_image blank_image;

static __always_inline uf_image_id image_new(__u32 tgid, uf_image_id parent, __u32 parent_fork_gen)
{
	uf_image_id id = __sync_fetch_and_add(&next_image, 1);
	struct uf_image *image = NULL;

	if (!bpf_map_update_elem(&images, &id, &blank_image, BPF_NOEXIST))
		image = bpf_map_lookup_elem(&images, &id);
	if (!image) {
		loss_add(IMAGES_FULL, 1);
		return 0;
	}
	/* Nobody else knows the number yet. */
	image->tgid = tgid;
	image->parent = parent;
	image->parent_fork_gen = parent_fork_gen;
	return id;
}

/* Enters child among parent's heirs. */
__noinline int image_add_heir(uf_image_id parent, uf_image_id child)
{
	struct uf_image *image = bpf_map_lookup_elem(&images, &parent);

	if (!image)
		return false;
	for (int i = 0; i < UF_MAX_HEIRS; i++)
		if (!__sync_val_compare_and_swap(&image->heirs[i], 0, child))
			return true;
	return false;
}

/*
 * Takes a dead image without heirs from its parent's heirs. Returns the parent if it is in the
 * same position now, else 0.
 */
__noinline uf_image_id image_leave_parent(uf_image_id id)
{
	struct uf_image *image = bpf_map_lookup_elem(&images, &id), *parent;
	struct uf_process *process;
	uf_image_id parent_id;
	__u32 tgid;

	if (!image || !image->is_dead)
		return 0;
	for (int i = 0; i < UF_MAX_HEIRS; i++)
		if (image->heirs[i])
			return 0;
	parent_id = image->parent;
	parent = bpf_map_lookup_elem(&images, &parent_id);
	if (!parent)
		return 0;
	for (int i = 0; i < UF_MAX_HEIRS; i++) {
		if (__sync_val_compare_and_swap(&parent->heirs[i], id, 0) != id)
			continue;
		tgid = parent->tgid;
		process = bpf_map_lookup_elem(&processes, &tgid);
		if (process && process->image == parent_id)
			__sync_fetch_and_add(&process->heir_cnt, -1);
		return parent_id;
	}
	return 0;
}

/*
 * The image has ended, by exec or exit. While it has heirs it goes on inheriting, for them: they
 * find in its table what its parent hands down.
 */
static __always_inline void image_end(uf_image_id id)
{
	struct uf_image *image = bpf_map_lookup_elem(&images, &id);

	if (!image)
		return;
	image->is_dead = 1;
	for (int i = 0; i < UF_MAX_LINEAGE && id; i++)
		id = image_leave_parent(id);
}

/* Copies one site of the parent's image for the child's: what is live, as inherited. */
static long copy_site(void *map, struct uf_site_key *key, __u32 *index,
		      struct site_copy *copy)
{
	struct uf_site_key child_key = {.stack_id = key->stack_id};
	struct uf_site *from, *to;
	struct uf_cohort *rest;
	__u64 bytes, cnt;
	__u32 i = *index;

	if (key->image != copy->from)
		return 0;
	from = bpf_map_lookup_elem(&sites, &i);
	if (!from || from->kind != UF_SITE_MALLOC)
		return 0;
	cnt = from->alloc_cnt - from->free_cnt;
	bytes = from->alloc_bytes - from->free_bytes;
	if (!cnt)
		return 0;
	child_key.image = copy->to;
	if (!site_new(&child_key, from->stack, UF_SITE_MALLOC, &i))
		return 0;
	to = bpf_map_lookup_elem(&sites, &i);
	if (!to)
		return 0;
	to->alloc_bytes = to->inherited_bytes = bytes;
	to->alloc_cnt = to->inherited_cnt = cnt;
	if (cfg_sampled) {
		to->sampled = from->sampled;
		to->sampled.alloc_cnt -= to->sampled.free_cnt;
		to->sampled.free_cnt = 0;
	}
	for (int c = 0; c < UF_MAX_COHORTS; c++) {
		to->cohorts[c] = from->cohorts[c];
		bytes -= to->cohorts[c].live_bytes;
		cnt -= to->cohorts[c].live_cnt;
	}
	/* User space may have been moving counts between cohorts: keep the sums right. */
	rest = &to->cohorts[oldest_cohort & (UF_MAX_COHORTS - 1)];
	rest->live_bytes += bytes;
	rest->live_cnt += cnt;
	return 0;
}

/* A forked child that has an address space of its own. */
static __always_inline void follow_child(struct uf_process *parent, __u32 parent_tgid, __u32 tgid)
{
	struct uf_process child = {};
	struct uf_event event = {
		.type = UF_EVENT_FORK,
		.tgid = tgid,
		.old_image = parent->image,
		.time_ns = bpf_ktime_get_ns(),
		.parent_tgid = parent_tgid,
	};
	struct site_copy copy = {.from = parent->image};
	struct uf_python *python;

	if (cfg_inherit) {
		/* Blocks born from now on are the parent's alone. */
		__sync_fetch_and_add(&parent->fork_gen, 1);
		child.image = image_new(tgid, parent->image, parent->fork_gen);
		child.flags = UF_PROC_INHERITS;
	} else {
		child.image = image_new(tgid, 0, 0);
	}
	if (!child.image)
		return;
	if (cfg_inherit) {
		if (image_add_heir(parent->image, child.image))
			__sync_fetch_and_add(&parent->heir_cnt, 1);
		else
			loss_add(HEIRS_FULL, 1);
	}
	python = bpf_map_lookup_elem(&pythons, &copy.from);
	copy.to = child.image;
	/* The pools are the child's as its sites are. */
	if (python) {
		bpf_map_update_elem(&pythons, &child.image, python, BPF_ANY);
		if (cfg_inherit)
			bpf_for_each_map_elem(&pool_index, copy_pool, &copy, 0);
	}
	if (cfg_inherit)
		bpf_for_each_map_elem(&site_index, copy_site, &copy, 0);
	event.image = child.image;
	event_send(&event);
	if (bpf_map_update_elem(&processes, &tgid, &child, BPF_ANY))
		loss_add(IMAGES_FULL, 1);
}

#define PF_KTHREAD 0x00200000

/*
 * Under a trace of the whole host: the process becomes a target, with what it allocates from now
 * on. Processes from before the trace are added by user space; a fork or exec may be earlier.
 */
static __always_inline void adopt(__u32 tgid, enum uf_event_type type)
{
	struct uf_process process = {};
	struct uf_event event = {.type = type, .tgid = tgid, .time_ns = bpf_ktime_get_ns()};

	process.image = image_new(tgid, 0, 0);
	if (!process.image)
		return;
	event.image = process.image;
	event_send(&event);
	if (bpf_map_update_elem(&processes, &tgid, &process, BPF_ANY))
		loss_add(IMAGES_FULL, 1);
}

static __always_inline bool is_host_target(const struct task_struct *task)
{
	return cfg_host_tgid && (__u32)task->tgid != cfg_host_tgid && !(task->flags & PF_KTHREAD);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 parent_tgid = parent->tgid, tgid = child->tgid;
	struct uf_process *process = bpf_map_lookup_elem(&processes, &parent_tgid);
	struct uf_process shared = {};

	if (tgid == parent_tgid)
		return 0;
	if (!process) {
		/* A vfork child is adopted when it executes. */
		if (is_host_target(parent) && is_host_target(child) && child->mm != parent->mm)
			adopt(tgid, UF_EVENT_FORK);
		return 0;
	}
	if (process->flags & UF_PROC_WAITS_EXEC)
		return 0;
	if (child->mm == parent->mm) {
		shared.image = process->image;
		shared.flags = UF_PROC_SHARED_MM;
		if (bpf_map_update_elem(&processes, &tgid, &shared, BPF_ANY))
			loss_add(IMAGES_FULL, 1);
	} else if (cfg_follow) {
		follow_child(process, parent_tgid, tgid);
	}
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct uf_process *process = bpf_map_lookup_elem(&processes, &tgid);
	struct uf_process fresh = {};
	struct uf_event event = {.type = UF_EVENT_EXEC, .tgid = tgid};
	struct thread_state *thread;

	if (!process) {
		if (is_host_target(task))
			adopt(tgid, UF_EVENT_EXEC);
		return 0;
	}
	if (process->flags & UF_PROC_SHARED_MM) {
		if (!cfg_follow) {
			bpf_map_delete_elem(&processes, &tgid);
			return 0;
		}
	} else {
		event.old_image = process->image;
		image_end(process->image);
	}
	/* A call that executes never returns, and the new stack may lie anywhere. */
	thread = thread_state_get(false);
	if (thread && thread->depth) {
		loss_add(CALL_ABANDONED, thread->depth);
		thread->depth = 0;
		thread->level = 0;
	}
	if (thread)
		thread->free_sp = 0;
	fresh.image = image_new(tgid, 0, 0);
	event.image = fresh.image;
	event.time_ns = bpf_ktime_get_ns();
	event_send(&event);
	if (!fresh.image)
		bpf_map_delete_elem(&processes, &tgid);
	else if (bpf_map_update_elem(&processes, &tgid, &fresh, BPF_ANY))
		loss_add(IMAGES_FULL, 1);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct uf_process *process = bpf_map_lookup_elem(&processes, &tgid);
	struct uf_event event = {.type = UF_EVENT_EXIT, .tgid = tgid};
	struct thread_state *thread;

	if (!process)
		return 0;
	thread = thread_state_get(false);
	if (thread && thread->depth) {
		pending_call_abandon(&thread->calls[0]);
		thread_abandon_calls(thread, 1);
		thread->depth = 0;
	}
	if (task->signal->live.counter > 0)
		return 0; /* other threads go on */
	event.image = process->image;
	if (!(process->flags & UF_PROC_SHARED_MM)) {
		image_end(process->image);
		event.time_ns = bpf_ktime_get_ns();
		event.exit_code = task->exit_code;
		event_send(&event);
	}
	bpf_map_delete_elem(&processes, &tgid);
	return 0;
}

#define SA_NODEFER 0x40000000u

/* A handler is about to run in a thread that may be in the middle of a call. */
SEC("tp_btf/signal_deliver")
int BPF_PROG(signal_deliver, int sig, struct kernel_siginfo *info, struct k_sigaction *ka)
{
	struct thread_state *thread = thread_state_get(false);

	/* 0 and 1 are SIG_DFL and SIG_IGN. */
	if (!thread || !thread->depth || (__u64)ka->sa.sa_handler <= 1)
		return 0;
	if (thread_call(thread, thread->depth - 1)->level != thread->level)
		return 0;
	thread->level++;
	thread->signals[thread->level & (MAX_PENDING_CALLS - 1)] =
		ka->sa.sa_flags & SA_NODEFER ? 0 : sig;
	return 0;
}

static long purge_block(void *map, struct uf_block_key *key, struct uf_block *block,
			void *unused)
{
	uf_image_id image = key->image;

	if (bpf_map_lookup_elem(&purged_images, &image))
		live_delete(key);
	return 0;
}

/* Run by user space to delete the blocks of dead images: one walk for all of them. */
SEC("syscall")
int purge_images(void *ctx)
{
	bpf_for_each_map_elem(&live, purge_block, NULL, 0);
	return 0;
}

#endif
