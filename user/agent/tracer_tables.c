/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/tracer_internal.h"

int tracer__number_file(struct tracer *tracer, const struct uf_file_key *key, uint32_t number)
{
	return bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.file_numbers), key, &number,
				   BPF_ANY)
		       ? -errno
		       : 0;
}

/* A full barrier: the change is between the two as the probes see it. */
static void raise_memo_generation(struct tracer *tracer, uint32_t by)
{
	__atomic_fetch_add(&tracer->skel->bss->memo_generation, by, __ATOMIC_SEQ_CST);
}

void tracer__begin_replacing(struct tracer *tracer)
{
	raise_memo_generation(tracer, 1);
}

void tracer__end_replacing(struct tracer *tracer)
{
	raise_memo_generation(tracer, 1);
}

void tracer__forget_walks(struct tracer *tracer)
{
	raise_memo_generation(tracer, 2);
}

struct uf_unwind_file *tracer__unwind_file(const struct tracer *tracer, uint32_t number)
{
	return &tracer->unwind_files[number];
}

/* Makes a chunk, maps it, hands it to the kernel's table of chunks. */
static int add_chunk(struct tracer *tracer, uint32_t i)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "unfreed_chunk", sizeof(uint32_t),
				sizeof(uint64_t), UF_CHUNK_WORDS, &opts);
	void *chunk;
	int err = 0;

	if (fd < 0)
		return fd;
	chunk = mmap(NULL, UF_CHUNK_WORDS * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		     0);
	if (chunk == MAP_FAILED)
		err = -errno;
	else if (bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.unwind_chunks), &i, &fd,
				     BPF_ANY))
		err = -errno;
	else
		tracer->chunks[i] = chunk;
	if (err && chunk != MAP_FAILED)
		munmap(chunk, UF_CHUNK_WORDS * sizeof(uint64_t));
	if (!i && !err)
		tracer->first_chunk_fd = fd; /* for tracer__synchronize */
	else
		close(fd);
	return err;
}

int tracer__synchronize(struct tracer *tracer)
{
	const uint32_t first = 0;
	int err = tracer->chunks[0] ? 0 : add_chunk(tracer, 0);

	if (err)
		return err;
	/* The kernel lets no update of a map of maps return before all programs that may have
	 * seen the old map are done (maybe_wait_bpf_programs); this one changes nothing else. */
	return bpf_map_update_elem(bpf_map__fd(tracer->skel->maps.unwind_chunks), &first,
				   &tracer->first_chunk_fd, BPF_ANY)
		       ? -errno
		       : 0;
}

int tracer__write_words(struct tracer *tracer, uint32_t first, const uint64_t *words,
			uint32_t cnt)
{
	while (cnt) {
		uint32_t chunk = first >> UF_CHUNK_WORD_BITS, at = first & (UF_CHUNK_WORDS - 1);
		uint32_t n = UF_CHUNK_WORDS - at;
		int err = 0;

		if (n > cnt)
			n = cnt;
		if (chunk >= UF_MAX_CHUNKS)
			return -ENOSPC;
		if (!tracer->chunks[chunk])
			err = add_chunk(tracer, chunk);
		if (err)
			return err;
		memcpy(tracer->chunks[chunk] + at, words, n * sizeof(*words));
		first += n;
		words += n;
		cnt -= n;
	}
	return 0;
}

/* An iterator over one process; kernels before 6.1 cannot and go over all: the program looks. */
static struct bpf_link *attach_iterator(struct tracer *tracer, pid_t pid)
{
	union bpf_iter_link_info info = {.task.pid = pid};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(tracer->skel->progs.list_mappings, &opts);

	return link ? link : bpf_program__attach_iter(tracer->skel->progs.list_mappings, NULL);
}

/* Reads exactly one record; 1, 0 at the end, or -errno. */
static int read_mapping(int fd, struct uf_mapping *mapping)
{
	size_t done = 0;

	while (done < sizeof(*mapping)) {
		ssize_t n = read(fd, (char *)mapping + done, sizeof(*mapping) - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return done ? -EIO : 0;
		done += n;
	}
	mapping->path[sizeof(mapping->path) - 1] = 0;
	return 1;
}

int tracer__list_mappings(struct tracer *tracer, pid_t pid, tracer_mapping_fn fn, void *arg)
{
	struct uf_mapping *mapping = malloc(sizeof(*mapping));
	/* fn may list as well: the program looks at iter_tgid only while we read. */
	const uint32_t outer_tgid = tracer->skel->bss->iter_tgid;
	struct bpf_link *link = NULL;
	int fd = -1, err = -ENOMEM;

	if (!mapping)
		return -ENOMEM;
	tracer->skel->bss->iter_tgid = pid;
	link = attach_iterator(tracer, pid);
	if (!link) {
		err = -errno;
		goto free_mapping;
	}
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0) {
		err = fd;
		goto destroy_link;
	}
	while ((err = read_mapping(fd, mapping)) > 0)
		fn(arg, mapping);
	close(fd);
destroy_link:
	bpf_link__destroy(link);
free_mapping:
	tracer->skel->bss->iter_tgid = outer_tgid;
	free(mapping);
	return err;
}
