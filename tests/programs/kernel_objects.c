/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * Makes the kernel allocate known numbers of things, and gives them back: eventfds (one object
 * each), pipes with data (pages), a BPF map (per-CPU memory), large pipes (objects that take
 * pages), semaphores (pages that are allocated many at once and freed one by one), multicast
 * memberships (objects freed by kfree_rcu()).
 *
 * Gates: READY, DONE eventfds, DONE pipes, DONE map, DONE large, DONE semaphores <are there any: 1
 * or 0>, DONE memberships, DONE closed: all of these.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "gate.h"

#define EVENTFDS    307
#define PIPES	    101
#define PIPE_PAGES  3
#define MAP_ENTRIES 17
#define LARGE_PIPES 11
#define SEMAPHORES  66000 /* of 64 bytes: more than kmalloc gives at once */
#define SOCKETS	    7
#define GROUPS	    13

static int eventfds[EVENTFDS], pipes[PIPES][2], large[LARGE_PIPES][2], sockets[SOCKETS];

static void open_eventfds(void)
{
	for (int i = 0; i < EVENTFDS; i++) {
		eventfds[i] = eventfd(0, EFD_CLOEXEC);
		if (eventfds[i] < 0)
			gate_die("eventfd");
	}
}

static void open_pipes(void)
{
	static char pages[PIPE_PAGES * 4096];

	for (int i = 0; i < PIPES; i++)
		if (pipe(pipes[i]) || write(pipes[i][1], pages, sizeof(pages)) != sizeof(pages))
			gate_die("pipe");
}

static int make_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_PERCPU_ARRAY,
		.key_size = 4,
		.value_size = 64,
		.max_entries = MAP_ENTRIES,
	};
	int fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));

	if (fd < 0)
		gate_die("BPF_MAP_CREATE");
	return fd;
}

/* 256 buffers of 40 bytes: more than slab caches have. */
static void open_large_pipes(void)
{
	for (int i = 0; i < LARGE_PIPES; i++)
		if (pipe(large[i]) || fcntl(large[i][0], F_SETPIPE_SZ, 1 << 20) < 0)
			gate_die("F_SETPIPE_SZ");
}

/* In an IPC namespace of our own, which may have as many. -1: it may not. */
static int make_semaphores(void)
{
	static const char limits[] = "66000 66000 500 10";
	int fd = unshare(CLONE_NEWIPC) ? -1 : open("/proc/sys/kernel/sem", O_WRONLY | O_CLOEXEC);
	int id = -1;

	if (fd >= 0 && write(fd, limits, sizeof(limits) - 1) > 0)
		id = semget(IPC_PRIVATE, SEMAPHORES, 0600);
	if (fd >= 0)
		close(fd);
	return id;
}

static void change_memberships(int option)
{
	for (int i = 0; i < SOCKETS; i++) {
		for (int group = 1; group <= GROUPS; group++) {
			struct ip_mreqn request = {
				.imr_multiaddr.s_addr = htonl(0xefff0000u + group),
				.imr_ifindex = 1, /* lo */
			};

			if (setsockopt(sockets[i], IPPROTO_IP, option, &request, sizeof(request)))
				gate_die("membership");
		}
	}
}

static void open_sockets(void)
{
	for (int i = 0; i < SOCKETS; i++) {
		sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (sockets[i] < 0)
			gate_die("socket");
	}
}

static void close_pipes(int (*ends)[2], int cnt)
{
	for (int i = 0; i < cnt; i++) {
		close(ends[i][0]);
		close(ends[i][1]);
	}
}

int main(void)
{
	struct rlimit limit = {4096, 4096};
	int map, semaphores;

	if (setrlimit(RLIMIT_NOFILE, &limit))
		gate_die("setrlimit");
	open_sockets();
	gate("READY");
	open_eventfds();
	gate("DONE eventfds");
	open_pipes();
	gate("DONE pipes");
	map = make_map();
	gate("DONE map");
	open_large_pipes();
	gate("DONE large");
	semaphores = make_semaphores();
	gate("DONE semaphores %d", semaphores >= 0);
	change_memberships(IP_ADD_MEMBERSHIP);
	gate("DONE memberships");
	for (int i = 0; i < EVENTFDS; i++)
		close(eventfds[i]);
	close_pipes(pipes, PIPES);
	close_pipes(large, LARGE_PIPES);
	close(map);
	if (semaphores >= 0)
		semctl(semaphores, 0, IPC_RMID);
	change_memberships(IP_DROP_MEMBERSHIP);
	gate("DONE closed");
	return 0;
}
