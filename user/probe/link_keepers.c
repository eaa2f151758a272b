/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "probe/link_keepers.h"

#include <errno.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * What a thread is to do is asked for in its slots; it does it, and says so there. Where threads, or
 * tables of their own, cannot be had, links stay in the process's table and are closed in turn.
 */
#define SLOTS  4 /* closed one after the other */
#define SPREAD 8 /* threads, before any has more than one */
#define STACK_BYTES (64u << 10)

enum slot_state {
	SLOT_FREE,
	SLOT_TAKE, /* asked for */
	SLOT_HELD, /* fd is in the thread's table */
	SLOT_OURS, /* fd is in the process's */
	SLOT_CLOSE, /* asked for */
};

struct slot {
	enum slot_state state;
	int fd;
};

struct keeper {
	struct link_keepers *keepers;
	struct slot slots[SLOTS];
	pthread_cond_t asked;
	pthread_t thread;
	bool has_thread;
	bool ends;
};

struct link_keepers {
	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t done;
	struct keeper **list;
	uint32_t cnt;
	bool in_threads; /* false: no more of them, at least */
};

static struct slot *slot_of(const struct link_keepers *keepers, int link)
{
	return &keepers->list[link / SLOTS]->slots[link % SLOTS];
}

/* -- a thread -- */

/* A table of its own, with nothing but the process in it. Its descriptor, or -1. */
static int leave_table(void)
{
	if (syscall(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE))
		return -1;
	return (int)syscall(SYS_pidfd_open, getpid(), 0);
}

/* Without the lock: nobody else touches a slot while something is asked for in it. */
static void serve(struct link_keepers *keepers, struct slot *slot, int process)
{
	enum slot_state state = SLOT_FREE;
	int fd = slot->fd;

	if (slot->state == SLOT_CLOSE) {
		close(fd);
	} else {
		fd = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);
		state = fd < 0 ? SLOT_OURS : SLOT_HELD;
	}
	pthread_mutex_lock(&keepers->lock);
	if (fd >= 0)
		slot->fd = fd;
	slot->state = state;
	pthread_cond_signal(&keepers->done);
	pthread_mutex_unlock(&keepers->lock);
}

/* The next slot in which something is asked for, waited for; NULL at the end. */
static struct slot *next_request(struct keeper *keeper)
{
	struct slot *slot = NULL;

	pthread_mutex_lock(&keeper->keepers->lock);
	for (;;) {
		for (int i = 0; i < SLOTS && !slot; i++)
			if (keeper->slots[i].state == SLOT_TAKE ||
			    keeper->slots[i].state == SLOT_CLOSE)
				slot = &keeper->slots[i];
		if (slot || keeper->ends)
			break;
		pthread_cond_wait(&keeper->asked, &keeper->keepers->lock);
	}
	pthread_mutex_unlock(&keeper->keepers->lock);
	return slot;
}

static void *keep(void *arg)
{
	struct keeper *keeper = arg;
	int process = leave_table();
	struct slot *slot;

	while ((slot = next_request(keeper)))
		serve(keeper->keepers, slot, process);
	return NULL;
}

/* Signals are the main thread's. */
static bool start_thread(struct keeper *keeper)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int err;

	if (pthread_attr_init(&attr))
		return false;
	sigfillset(&all);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&keeper->thread, &attr, keep, keeper);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return !err;
}

/* -- the main thread; all with the lock -- */

static bool add_keeper(struct link_keepers *keepers)
{
	struct keeper **list = reallocarray(keepers->list, keepers->cnt + 1, sizeof(struct keeper *));
	struct keeper *keeper = list ? calloc(1, sizeof(*keeper)) : NULL;

	if (list)
		keepers->list = list;
	if (!keeper)
		return false;
	keeper->keepers = keepers;
	pthread_cond_init(&keeper->asked, NULL);
	keeper->has_thread = keepers->in_threads && start_thread(keeper);
	keepers->list[keepers->cnt++] = keeper;
	return true;
}

static int free_slot(const struct keeper *keeper)
{
	int i = 0;

	while (i < SLOTS && keeper->slots[i].state != SLOT_FREE)
		i++;
	return i;
}

/* The number of a free slot, or -ENOMEM. The first links have a thread each. */
static int find_room(struct link_keepers *keepers)
{
	int room = -ENOMEM, max = (int)keepers->cnt * SLOTS;

	for (int link = max - SLOTS; link >= 0; link -= SLOTS) {
		int slot = free_slot(keepers->list[link / SLOTS]);

		if (slot < SLOTS)
			room = link + slot;
	}
	if (room >= 0 && (keepers->cnt >= SPREAD || room % SLOTS == 0))
		return room;
	return add_keeper(keepers) ? max : room;
}

static void ask(struct link_keepers *keepers, int link, enum slot_state state)
{
	slot_of(keepers, link)->state = state;
	pthread_cond_signal(&keepers->list[link / SLOTS]->asked);
}

static void wait_for(struct link_keepers *keepers, int link)
{
	const struct slot *slot = slot_of(keepers, link);

	while (slot->state == SLOT_TAKE || slot->state == SLOT_CLOSE)
		pthread_cond_wait(&keepers->done, &keepers->lock);
}

static void put(struct link_keepers *keepers, int link, int fd)
{
	slot_of(keepers, link)->fd = fd;
	slot_of(keepers, link)->state = SLOT_OURS;
	if (!keepers->list[link / SLOTS]->has_thread || !keepers->in_threads)
		return;
	ask(keepers, link, SLOT_TAKE);
	wait_for(keepers, link);
	if (slot_of(keepers, link)->state == SLOT_HELD)
		close(fd);
	else
		keepers->in_threads = false;
}

static void close_ours(struct slot *slot)
{
	close(slot->fd);
	slot->state = SLOT_FREE;
}

/* -- for everybody -- */

struct link_keepers *link_keepers__new(bool in_threads)
{
	struct link_keepers *keepers = calloc(1, sizeof(*keepers));

	if (!keepers)
		return NULL;
	keepers->in_threads = in_threads;
	pthread_mutex_init(&keepers->lock, NULL);
	pthread_cond_init(&keepers->done, NULL);
	return keepers;
}

int link_keepers__take(struct link_keepers *keepers, int fd)
{
	int link;

	pthread_mutex_lock(&keepers->lock);
	link = find_room(keepers);
	if (link >= 0)
		put(keepers, link, fd);
	pthread_mutex_unlock(&keepers->lock);
	if (link < 0)
		close(fd);
	return link;
}

static void let_go(struct link_keepers *keepers, const int *links, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (slot_of(keepers, links[i])->state == SLOT_HELD)
			ask(keepers, links[i], SLOT_CLOSE);
	for (uint32_t i = 0; i < cnt; i++)
		if (slot_of(keepers, links[i])->state == SLOT_OURS)
			close_ours(slot_of(keepers, links[i]));
}

void link_keepers__let_go(struct link_keepers *keepers, const int *links, uint32_t cnt)
{
	pthread_mutex_lock(&keepers->lock);
	let_go(keepers, links, cnt);
	pthread_mutex_unlock(&keepers->lock);
}

void link_keepers__close(struct link_keepers *keepers, const int *links, uint32_t cnt)
{
	pthread_mutex_lock(&keepers->lock);
	let_go(keepers, links, cnt);
	for (uint32_t i = 0; i < cnt; i++)
		wait_for(keepers, links[i]);
	pthread_mutex_unlock(&keepers->lock);
}

static void end_keeper(struct keeper *keeper)
{
	if (keeper->has_thread)
		pthread_join(keeper->thread, NULL);
	pthread_cond_destroy(&keeper->asked);
	free(keeper);
}

void link_keepers__free(struct link_keepers *keepers)
{
	if (!keepers)
		return;
	pthread_mutex_lock(&keepers->lock);
	for (uint32_t i = 0; i < keepers->cnt; i++) {
		for (int k = 0; k < SLOTS; k++)
			if (keepers->list[i]->slots[k].state == SLOT_HELD)
				keepers->list[i]->slots[k].state = SLOT_CLOSE;
		keepers->list[i]->ends = true;
		pthread_cond_signal(&keepers->list[i]->asked);
	}
	pthread_mutex_unlock(&keepers->lock);
	for (uint32_t i = 0; i < keepers->cnt * SLOTS; i++)
		if (slot_of(keepers, (int)i)->state == SLOT_OURS)
			close_ours(slot_of(keepers, (int)i));
	for (uint32_t i = 0; i < keepers->cnt; i++)
		end_keeper(keepers->list[i]);
	pthread_mutex_destroy(&keepers->lock);
	pthread_cond_destroy(&keepers->done);
	free(keepers->list);
	free(keepers);
}
