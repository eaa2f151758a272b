/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_PYTHON_THREADS_H
#define UNFREED_PYTHON_THREADS_H

#include <stdint.h>
#include "python/memory.h"
#include "python/offsets.h"

/*
 * The thread states of a live interpreter, and how a thread finds its own: through a pthread key,
 * whose number is in _PyRuntime. glibc keeps the values of the first 32 keys in
 * the thread's descriptor, where the thread pointer points; pthread_self(), which thread
 * states hold as thread_id, is that pointer.
 */
#define PYTHON_THREADS_MAX      256 /* more are not looked at */
#define PYTHON_INTERPRETERS_MAX 16

struct python_thread {
	uint64_t tstate;
	uint64_t thread_id; /* thread pointer; 0 before the thread runs */
};

struct python_threads {
	struct python_thread threads[PYTHON_THREADS_MAX];
	uint32_t cnt;
};

/*
 * Reads the thread states of all interpreters. 0 (there may be none); -EFAULT or other errors of
 * reading; -EINVAL: they do not point back to their interpreter. The lists change
 * while they are read, so that one failure means little.
 */
int python_threads__read(const struct python_memory *mem, uint64_t runtime_address,
			 const struct python_offsets *offsets, struct python_threads *out);

/*
 * The key of the thread state. 0; -EAGAIN: not created yet; -ERANGE: past the ones that a probe
 * can find; -EINVAL: that is no key; errors of reading.
 */
int python_threads__read_key(const struct python_memory *mem, uint64_t runtime_address,
			     const struct python_offsets *offsets, uint32_t *key);

/* From the thread pointer to the key's value. */
uint32_t python_threads__tss_offset(uint32_t key);

/* How many threads have their thread state there. */
uint32_t python_threads__count_bound(const struct python_memory *mem,
				     const struct python_threads *threads, uint32_t tss_offset);

#endif
