/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "target/perf_stream.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define RING_PAGES  256  /* a CPU's ring, in pages; power of two */
#define MAX_CPUS    4096
#define MAX_RECORD  65536 /* a record's size is 16 bits */

struct ring {
	int fd;
	struct perf_event_mmap_page *page; /* NULL: not mapped */
	/* During a drain: read up to tail; seen and head are data_head at the two readings. */
	uint64_t tail, seen, head;
	uint64_t next_ns; /* of the record at tail; UINT64_MAX: none */
};

struct perf_stream {
	perf_record_fn fn;
	void *arg;
	int epoll_fd;
	size_t page_size, data_size;
	struct ring *rings;
	unsigned int ring_cnt;
	uint64_t lost_cnt;
	unsigned char record[MAX_RECORD]; /* one that wraps around, made whole */
};

static int open_ring(struct perf_stream *stream, unsigned int cpu)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
		.sample_id_all = 1,
		.mmap = 1,
		.mmap2 = 1,
		.comm = 1,
		.comm_exec = 1,
		.task = 1,
		.watermark = 1,
		.wakeup_watermark = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
	};
	struct epoll_event event = {.events = EPOLLIN};
	struct ring *ring = &stream->rings[stream->ring_cnt];
	void *page;

	ring->fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (ring->fd < 0)
		return errno == ENODEV ? 0 : -errno; /* an offline CPU */
	stream->ring_cnt++;
	page = mmap(NULL, stream->page_size + stream->data_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    ring->fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	ring->page = page;
	if (epoll_ctl(stream->epoll_fd, EPOLL_CTL_ADD, ring->fd, &event))
		return -errno;
	return 0;
}

struct perf_stream *perf_stream__new(perf_record_fn fn, void *arg)
{
	struct perf_stream *stream = calloc(1, sizeof(*stream));
	long cpu_cnt = sysconf(_SC_NPROCESSORS_CONF);
	int err = 0;

	if (!stream)
		return NULL;
	stream->fn = fn;
	stream->arg = arg;
	stream->page_size = sysconf(_SC_PAGESIZE);
	stream->data_size = RING_PAGES * stream->page_size;
	stream->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (cpu_cnt < 1 || cpu_cnt > MAX_CPUS)
		cpu_cnt = cpu_cnt < 1 ? 1 : MAX_CPUS;
	stream->rings = calloc(cpu_cnt, sizeof(*stream->rings));
	if (stream->epoll_fd < 0 || !stream->rings)
		err = -errno;
	for (long cpu = 0; !err && cpu < cpu_cnt; cpu++)
		err = open_ring(stream, cpu);
	if (err) {
		perf_stream__free(stream);
		errno = -err;
		return NULL;
	}
	return stream;
}

void perf_stream__free(struct perf_stream *stream)
{
	if (!stream)
		return;
	for (unsigned int i = 0; i < stream->ring_cnt; i++) {
		if (stream->rings[i].page)
			munmap(stream->rings[i].page, stream->page_size + stream->data_size);
		close(stream->rings[i].fd);
	}
	free(stream->rings);
	if (stream->epoll_fd >= 0)
		close(stream->epoll_fd);
	free(stream);
}

int perf_stream__fd(const struct perf_stream *stream)
{
	return stream->epoll_fd;
}

uint64_t perf_stream__lost_cnt(const struct perf_stream *stream)
{
	return stream->lost_cnt;
}

static const unsigned char *ring_data(const struct perf_stream *stream, const struct ring *ring)
{
	return (const unsigned char *)ring->page + stream->page_size;
}

/* The sample_id at the end of every record: u32 pid, tid; u64 time. */
static uint64_t record_time(const struct perf_event_header *header)
{
	uint64_t time_ns;

	memcpy(&time_ns, (const char *)header + header->size - sizeof(time_ns), sizeof(time_ns));
	return time_ns;
}

struct mmap2_record {
	struct perf_event_header header;
	__u32 pid, tid;
	__u64 addr, len, pgoff;
	__u32 maj, min;
	__u64 ino, ino_generation;
	__u32 prot, flags;
	char filename[];
};

struct comm_record {
	struct perf_event_header header;
	__u32 pid, tid;
	char comm[];
};

struct fork_record {
	struct perf_event_header header;
	__u32 pid, ppid, tid, ptid;
	__u64 time;
};

struct lost_record {
	struct perf_event_header header;
	__u64 id, lost;
};

/* The kernel ends these strings with NUL; so do we, in case. */
static bool string_ends(const struct perf_event_header *header, const char *string)
{
	return memchr(string, 0, (const char *)header + header->size - string);
}

static void handle_record(struct perf_stream *stream, const struct perf_event_header *header)
{
	struct perf_record record = {.time_ns = record_time(header)};
	const struct mmap2_record *mmap2 = (const void *)header;
	const struct comm_record *comm = (const void *)header;
	const struct fork_record *forked = (const void *)header;

	switch (header->type) {
	case PERF_RECORD_MMAP2:
		if (header->size < sizeof(*mmap2) || !string_ends(header, mmap2->filename))
			return;
		record.type = PERF_RECORD_MAPPING;
		record.pid = mmap2->pid;
		record.start = mmap2->addr;
		record.end = mmap2->addr + mmap2->len;
		record.file_offset = mmap2->pgoff;
		record.dev = makedev(mmap2->maj, mmap2->min);
		record.inode = mmap2->ino;
		record.generation = mmap2->ino_generation;
		record.name = mmap2->filename;
		break;
	case PERF_RECORD_COMM:
		/* Only the main thread's name is the process's. */
		if (header->size < sizeof(*comm) || !string_ends(header, comm->comm) ||
		    comm->pid != comm->tid)
			return;
		record.type = PERF_RECORD_COMMAND;
		record.pid = comm->pid;
		record.name = comm->comm;
		record.is_exec = header->misc & PERF_RECORD_MISC_COMM_EXEC;
		break;
	case PERF_RECORD_FORK:
		if (header->size < sizeof(*forked) || forked->pid == forked->ppid)
			return;
		record.type = PERF_RECORD_FORKED;
		record.pid = forked->pid;
		record.parent_pid = forked->ppid;
		break;
	case PERF_RECORD_LOST:
		stream->lost_cnt += ((const struct lost_record *)(const void *)header)->lost;
		return;
	default:
		return;
	}
	stream->fn(stream->arg, &record);
}

/* The 8 bytes that end at a position; records are multiples of 8, so they never wrap around. */
static uint64_t word_before(const struct perf_stream *stream, const struct ring *ring, uint64_t end)
{
	uint64_t word;

	memcpy(&word, ring_data(stream, ring) + ((end - sizeof(word)) & (stream->data_size - 1)),
	       sizeof(word));
	return word;
}

/* The next record's header, NULL if all were taken. May be cut by the end of the buffer. */
static const struct perf_event_header *peek(const struct perf_stream *stream, struct ring *ring)
{
	const struct perf_event_header *header;

	if (ring->tail >= ring->head)
		return NULL;
	header = (const void *)(ring_data(stream, ring) + (ring->tail & (stream->data_size - 1)));
	if (header->size >= sizeof(*header) + sizeof(uint64_t) && !(header->size & 7) &&
	    header->size <= ring->head - ring->tail)
		return header;
	/* Never seen; the rest cannot be read. */
	ring->tail = ring->head;
	__atomic_store_n(&ring->page->data_tail, ring->tail, __ATOMIC_RELEASE);
	return NULL;
}

static void find_next_time(const struct perf_stream *stream, struct ring *ring)
{
	const struct perf_event_header *header = peek(stream, ring);

	ring->next_ns = header ? word_before(stream, ring, ring->tail + header->size) : UINT64_MAX;
}

static void take_record(struct perf_stream *stream, struct ring *ring)
{
	const struct perf_event_header *header = peek(stream, ring);
	size_t size = header->size;
	size_t first = stream->data_size - (ring->tail & (stream->data_size - 1));

	if (size > first) {
		memcpy(stream->record, header, first);
		memcpy(stream->record + first, ring_data(stream, ring), size - first);
		header = (const void *)stream->record;
	}
	handle_record(stream, header);
	ring->tail += size;
	__atomic_store_n(&ring->page->data_tail, ring->tail, __ATOMIC_RELEASE);
	find_next_time(stream, ring);
}

/* The ring whose next record is the earliest of those to be taken now; NULL if there is none. */
static struct ring *earliest_ring(struct perf_stream *stream, uint64_t until_ns)
{
	struct ring *best = NULL;

	for (unsigned int i = 0; i < stream->ring_cnt; i++) {
		struct ring *ring = &stream->rings[i];

		if (ring->next_ns == UINT64_MAX ||
		    (ring->tail >= ring->seen && ring->next_ns > until_ns))
			continue;
		if (!best || ring->next_ns < best->next_ns)
			best = ring;
	}
	return best;
}

/*
 * The heads are read twice. A record that is there at the first reading was
 * caused by nothing that is not there at the second, so what the first saw,
 * with all that is earlier, can be put in order: a child's mapping on one CPU
 * comes after its parent's fork on another. The rest has woken us again.
 */
void perf_stream__drain(struct perf_stream *stream)
{
	uint64_t until_ns = 0;
	struct ring *ring;

	for (unsigned int i = 0; i < stream->ring_cnt; i++) {
		ring = &stream->rings[i];
		ring->tail = ring->page->data_tail;
		ring->seen = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
		if (ring->seen != ring->tail && word_before(stream, ring, ring->seen) > until_ns)
			until_ns = word_before(stream, ring, ring->seen);
	}
	for (unsigned int i = 0; i < stream->ring_cnt; i++) {
		ring = &stream->rings[i];
		ring->head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
		find_next_time(stream, ring);
	}
	while ((ring = earliest_ring(stream, until_ns)))
		take_record(stream, ring);
}
