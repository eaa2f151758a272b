/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef UNFREED_AGENT_LONG_WORK_H
#define UNFREED_AGENT_LONG_WORK_H

typedef void (*long_work_fn)(void *arg);

/*
 * Runs work(work_arg) in a thread of its own and returns when it is done; until then calls
 * meanwhile(meanwhile_arg) in this one, every 20 ms. The two must not touch the same things. Where
 * no thread can be had the work is done at once.
 */
void long_work__run(long_work_fn work, void *work_arg, long_work_fn meanwhile,
		    void *meanwhile_arg);

#endif
