/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PLACE_BPF_H
#define UNFREED_PLACE_BPF_H

/*
 * Is a probe's place in a function as good as its entry? The place was chosen by decoding
 * (user/probe/placement.c); here the program itself shows it. Both places have this probe until
 * enough calls have come by: each must, once, with the arguments, the stack pointer, the frame
 * pointer and the return address that it was entered with.
 *
 * What looks like a disagreement and is none:
 *   - what a thread does first, when the probes have just been placed: it may have been between
 *     the two. So a thread is judged from the second thing on that it does.
 *   - a signal handler that comes between the two and calls the same function. Its call is the
 *     lower one on the stack, or on another stack, and the interrupted one comes by afterwards.
 *   - another tracer's return probe at the entry, which replaces the return address.
 */
struct place_call_key {
	__u64 thread;
	__u32 check;
	__u32 pad;
};

/* The last call of a thread. */
struct place_call {
	__u64 sp, fp, return_address;
	__u64 args[UF_PLACE_ARGS];
	__u64 interrupted_sp; /* of the one that it has come between, most likely; or 0 */
	__u64 is_entered; /* and has not come by */
};

/* By number. By user space, and counted by the probe. */
struct uf_place_check place_checks[UF_MAX_PLACE_CHECKS];

/*
 * Inserted by the probe, deleted by user space at the end of the check. Full: the thread's calls
 * are not judged.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct place_call_key);
	__type(value, struct place_call);
} place_calls SEC(".maps");

static __always_inline void place_call_read(struct place_call *call, struct pt_regs *ctx)
{
	call->sp = PT_REGS_SP(ctx);
	call->fp = PT_REGS_FP(ctx);
	call->args[0] = PT_REGS_PARM1(ctx);
	call->args[1] = PT_REGS_PARM2(ctx);
	call->args[2] = PT_REGS_PARM3(ctx);
	call->args[3] = PT_REGS_PARM4(ctx);
#if defined(__TARGET_ARCH_x86)
	bpf_probe_read_user(&call->return_address, sizeof(call->return_address),
			    (void *)call->sp);
#else
	call->return_address = PT_REGS_RET(ctx);
#endif
}

static __always_inline bool place_call_is_same(const struct place_call *entered,
					       const struct place_call *now, __u32 arg_cnt)
{
	if (entered->sp != now->sp || entered->fp != now->fp)
		return false;
	if (entered->return_address != now->return_address &&
	    now->return_address != return_trampoline())
		return false;
	for (int i = 0; i < UF_PLACE_ARGS; i++)
		if ((__u32)i < arg_cnt && entered->args[i] != now->args[i])
			return false;
	return true;
}

static __always_inline void place_enter(struct uf_place_check *check, struct place_call *known,
					struct place_call *now)
{
	if (known && known->is_entered) {
		if (now->sp < known->sp ||
		    on_alternate_stack(now->sp) != on_alternate_stack(known->sp))
			now->interrupted_sp = known->sp;
		else
			__sync_fetch_and_add(&check->missing_cnt, 1);
	}
	now->is_entered = 1;
}

static __always_inline void place_reach(struct uf_place_check *check, struct place_call *known,
					struct place_call *now)
{
	if (!known)
		return;
	if (!known->is_entered) {
		if (now->sp != known->interrupted_sp)
			__sync_fetch_and_add(&check->stray_cnt, 1);
		return;
	}
	now->interrupted_sp = known->interrupted_sp;
	if (place_call_is_same(known, now, check->arg_cnt))
		__sync_fetch_and_add(&check->agreed_cnt, 1);
	else
		__sync_fetch_and_add(&check->changed_cnt, 1);
}

/* Tells user space, once. */
static __always_inline void place_judge(struct uf_place_check *check, __u32 number)
{
	__u32 strays = check->missing_cnt + check->stray_cnt;
	struct uf_event event = {.type = UF_EVENT_PLACE_CHECKED, .address = number};

	if (!check->changed_cnt && strays < UF_PLACE_STRAYS &&
	    check->agreed_cnt < UF_PLACE_CALLS * (1 + strays))
		return;
	if (__sync_lock_test_and_set(&check->is_decided, 1))
		return;
	check->is_on = 0;
	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		loss_add(EVENTS_FULL, 1);
}

SEC("uprobe")
int place_check(struct pt_regs *ctx)
{
	struct place_call_key key = {};
	struct place_call now = {}, *known;
	struct uf_place_check *check;
	__u64 cookie;
	__u32 number;

	refuse_private_stack(ctx, no_programs);
	cookie = bpf_get_attach_cookie(ctx);
	number = cookie & (UF_MAX_PLACE_CHECKS - 1);
	check = &place_checks[number];
	if (!*(volatile __u32 *)&check->is_on)
		return 0;
	key.thread = bpf_get_current_pid_tgid();
	key.check = number;
	place_call_read(&now, ctx);
	known = bpf_map_lookup_elem(&place_calls, &key);
	if (cookie & UF_PLACE_ENTRY)
		place_enter(check, known, &now);
	else
		place_reach(check, known, &now);
	bpf_map_update_elem(&place_calls, &key, &now, BPF_ANY);
	place_judge(check, number);
	return 0;
}

#endif
