/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/long_work.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define TURN_NS 20000000L /* mapped files wait so long for their probes, or less */

struct job {
	long_work_fn work;
	void *arg;
};

static void *run(void *arg)
{
	const struct job *job = arg;

	job->work(job->arg);
	return NULL;
}

static struct timespec next_turn(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	time.tv_nsec += TURN_NS;
	if (time.tv_nsec >= 1000000000L) {
		time.tv_nsec -= 1000000000L;
		time.tv_sec++;
	}
	return time;
}

void long_work__run(long_work_fn work, void *work_arg, long_work_fn meanwhile,
		    void *meanwhile_arg)
{
	struct job job = {work, work_arg};
	struct timespec turn;
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, &job)) {
		work(work_arg);
		return;
	}
	for (;;) {
		turn = next_turn();
		if (pthread_timedjoin_np(thread, NULL, &turn) != ETIMEDOUT)
			return;
		meanwhile(meanwhile_arg);
	}
}
