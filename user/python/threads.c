/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <errno.h>

#include "python/threads.h"

#define PTHREAD_KEYS_MAX 1024
/* glibc, x86-64: struct pthread's specific_1stblock, of { uintptr_t seq; void *data; }. */
#define GLIBC_FIRST_KEY 0x310
#define GLIBC_KEY_BYTES 16
#define GLIBC_KEY_DATA  8

static int read_thread(const struct python_memory *mem, const struct python_offsets *offsets,
		       uint64_t interp, struct python_thread *thread, uint64_t *next)
{
	uint64_t owner;
	int err = python_memory__read_u64(mem, thread->tstate + offsets->tstate_interp, &owner);

	if (!err && owner != interp)
		err = -EINVAL;
	if (!err)
		err = python_memory__read_u64(mem, thread->tstate + offsets->tstate_thread_id,
					      &thread->thread_id);
	if (!err)
		err = python_memory__read_u64(mem, thread->tstate + offsets->tstate_next, next);
	return err;
}

static int read_interpreter(const struct python_memory *mem, const struct python_offsets *offsets,
			    uint64_t interp, struct python_threads *out)
{
	uint64_t tstate;
	int err = python_memory__read_u64(mem, interp + offsets->interp_threads_head, &tstate);

	while (!err && tstate && out->cnt < PYTHON_THREADS_MAX) {
		struct python_thread thread = { .tstate = tstate };

		err = read_thread(mem, offsets, interp, &thread, &tstate);
		if (!err)
			out->threads[out->cnt++] = thread;
	}
	return err;
}

int python_threads__read(const struct python_memory *mem, uint64_t runtime_address,
			 const struct python_offsets *offsets, struct python_threads *out)
{
	uint64_t interp;
	int err;

	out->cnt = 0;
	err = python_memory__read_u64(mem, runtime_address + offsets->runtime_interpreters_head,
				      &interp);
	for (int i = 0; !err && interp && i < PYTHON_INTERPRETERS_MAX; i++) {
		err = read_interpreter(mem, offsets, interp, out);
		if (!err)
			err = python_memory__read_u64(mem, interp + offsets->interp_next, &interp);
	}
	return err;
}

int python_threads__read_key(const struct python_memory *mem, uint64_t runtime_address,
			     const struct python_offsets *offsets, uint32_t *key)
{
	/* Py_tss_t: { int _is_initialized; pthread_key_t _key; } */
	uint32_t tss[2];
	int err = python_memory__read(mem, runtime_address + offsets->runtime_tss_key, tss,
				      sizeof(tss));

	if (err)
		return err;
	if (!tss[0])
		return -EAGAIN;
	if (tss[0] != 1 || tss[1] >= PTHREAD_KEYS_MAX)
		return -EINVAL;
	*key = tss[1];
	return tss[1] < UF_PYTHON_MAX_TSS_KEY ? 0 : -ERANGE;
}

uint32_t python_threads__tss_offset(uint32_t key)
{
	return GLIBC_FIRST_KEY + key * GLIBC_KEY_BYTES + GLIBC_KEY_DATA;
}

uint32_t python_threads__count_bound(const struct python_memory *mem,
				     const struct python_threads *threads, uint32_t tss_offset)
{
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < threads->cnt; i++) {
		const struct python_thread *thread = &threads->threads[i];
		uint64_t value;

		if (thread->thread_id &&
		    !python_memory__read_u64(mem, thread->thread_id + tss_offset, &value) &&
		    value == thread->tstate)
			cnt++;
	}
	return cnt;
}
