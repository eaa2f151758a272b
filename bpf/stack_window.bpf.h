/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_STACK_WINDOW_BPF_H
#define UNFREED_STACK_WINDOW_BPF_H

/*
 * Reading user memory costs nearly the same for 8 bytes and for 2 KiB, as much as three frames of
 * a walk: a stack is read in windows, kept in the thread's scratch.
 */

#define WINDOW_WORDS 256 /* power of two */
#define WINDOW_BELOW 64  /* bytes of a window below the address that asked for it */

struct stack_window {
	__u64 at; /* address of words[0]; 0: nothing read yet */
	__u64 words[WINDOW_WORDS];
};

static __always_inline bool window_read(struct stack_window *window, __u64 address, __u64 *out)
{
	__u64 i = (address - window->at) >> 3;

	if (address & 7)
		return !bpf_probe_read_user(out, sizeof(*out), (void *)address);
	if (!window->at || i >= WINDOW_WORDS) {
		__u64 start = address - WINDOW_BELOW;

		if (bpf_probe_read_user(window->words, sizeof(window->words), (void *)start)) {
			/* The window reaches past the stack's end. */
			window->at = 0;
			return !bpf_probe_read_user(out, sizeof(*out), (void *)address);
		}
		window->at = start;
		i = WINDOW_BELOW >> 3;
	}
	*out = window->words[i & (WINDOW_WORDS - 1)];
	return true;
}

#endif
