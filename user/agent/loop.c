/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/cohorts.h"
#include "agent/collector.h"
#include "agent/cost_meter.h"
#include "agent/gate.h"
#include "agent/gc_watch.h"
#include "agent/internal.h"
#include "agent/kernel_memory.h"
#include "agent/pauses.h"
#include "agent/places.h"
#include "agent/pools.h"
#include "agent/pythons.h"
#include "agent/regions.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "agent/unwinder.h"
#include "cli/options.h"
#include "render/render.h"
#include "target/clock.h"
#include "target/proc_info.h"

/* Running a trace: events in, reports out, until it is over. */

#define PYTHON_RETRY_MS 5
#define MAX_ENDED 4096 /* processes kept after their end, until a report */

static void drop(struct tracee *tracee)
{
	if (tracee)
		tracee->is_dropped = true;
}

static void retire_site(void *arg, const struct uf_site *site)
{
	const struct agent *agent = arg;
	struct tracee *tracee;

	if (agent->opts->kernel) {
		collector__retire_kernel(agent->collector, site);
		return;
	}
	tracee = tracees__find(agent->tracees, site->image);
	if (!tracee)
		return;
	tracee->retired.bytes += site->alloc_bytes;
	tracee->retired.count += site->alloc_cnt;
	if (site->kind == UF_SITE_PYMALLOC) {
		tracee->retired.pool_bytes += site->alloc_bytes;
		tracee->retired.pool_count += site->alloc_cnt;
	} else if (site->kind == UF_SITE_MMAP) {
		tracee->retired.region_bytes += site->alloc_bytes;
		tracee->retired.region_count += site->alloc_cnt;
	}
}

static void reclaim(struct agent *agent);

/* What ended and has not been reported goes first: there may be any number of short processes. */
static void reclaim_early(struct agent *agent)
{
	uint32_t waiting = 0;

	for (const struct tracee *tracee = tracees__first(agent->tracees); tracee;
	     tracee = tracee->next)
		waiting += tracee->has_ended && !tracee->is_dropped;
	agent->unreported_cnt += waiting;
	reclaim(agent);
}

static void make_room(struct agent *agent)
{
	int err;

	/* Of processes that the user named the last report is worth more than room for others. */
	if (agent->opts->whole_host && agent->ended_cnt && tracer__wants_room(agent->tracer))
		reclaim_early(agent);
	err = tracer__make_room(agent->tracer, retire_site, agent);

	if (err)
		agent__say(agent, 0, "cannot make room in the tables: %s", strerror(-err));
}

/* Forked by a target; one that is none may fork before the kernel is told so. */
static bool is_targets_child(const struct agent *agent, const struct uf_event *event)
{
	const struct tracee *parent = tracees__find(agent->tracees, event->old_image);

	return event->type == UF_EVENT_FORK && event->old_image && parent && !parent->is_dropped;
}

/* Of a trace of the whole host: does the filter let the new process in? Its children are in, too. */
static bool is_wanted(struct agent *agent, const struct uf_event *event)
{
	if (!agent->opts->whole_host || is_targets_child(agent, event) ||
	    target_filter__matches(&agent->filter, event->tgid))
		return true;
	agent->unidentified_cnt += !proc_info__exists(event->tgid);
	return false;
}

/* What it did until now is freed at the next reclaim. */
static void drop_unwanted(struct agent *agent, const struct uf_event *event)
{
	struct tracee *tracee = tracees__add(agent->tracees, event->image, event->tgid);

	tracer__drop_process(agent->tracer, event->tgid, event->image);
	drop(tracee);
	if (++agent->ended_cnt >= MAX_ENDED)
		reclaim_early(agent);
}

static struct tracee *add_image(struct agent *agent, const struct uf_event *event)
{
	struct tracee *tracee;

	if (!event->image)
		return NULL; /* the kernel side had no room (images_full) */
	tracee = tracees__add(agent->tracees, event->image, event->tgid);
	if (!tracee)
		agent__say(agent, -1, "out of memory: pid %u is not reported", event->tgid);
	return tracee;
}

/* The event may have come after the records were read last, and theirs before it. */
static bool knows_mappings(struct agent *agent, pid_t pid)
{
	if (!mapping_log__knows(agent->mappings, pid))
		mapping_log__drain(agent->mappings);
	return mapping_log__knows(agent->mappings, pid);
}

static bool is_file(const struct mapped_file *file)
{
	return file->inode;
}

/*
 * Short processes are gone before /proc can be asked: the kernel's records have their names. A
 * program is mapped before its interpreter and its libraries.
 */
static void name_ended(struct agent *agent, struct tracee *tracee)
{
	const struct mapping *program;

	if (*tracee->exe && tracee->comm[0])
		return;
	if (!mapping_log__first(agent->mappings, tracee->pid, is_file))
		mapping_log__drain(agent->mappings);
	program = mapping_log__first(agent->mappings, tracee->pid, is_file);
	tracee__name(tracee, mapping_log__comm(agent->mappings, tracee->pid),
		     program ? program->file->path : "");
}

/* For later. False: there is no memory for that. */
static bool keep_event(struct agent *agent, const struct uf_event *event)
{
	struct uf_event *events =
		reallocarray(agent->kept_events, agent->kept_event_cnt + 1, sizeof(*events));

	if (!events)
		return false;
	events[agent->kept_event_cnt++] = *event;
	agent->kept_events = events;
	return true;
}

static void handle_process_event(void *arg, const struct uf_event *event)
{
	struct agent *agent = arg;
	struct tracee *tracee;
	const struct tracee *parent;

	/* Nothing may come or go while a report is being made. */
	if (agent->is_reporting && event->type != UF_EVENT_FILE_WANTED && keep_event(agent, event))
		return;
	switch (event->type) {
	case UF_EVENT_EXEC:
		drop(tracees__find(agent->tracees, event->old_image));
		if (agent->regions)
			regions__forget(agent->regions, event->old_image);
		/* fallthrough */
	case UF_EVENT_FORK:
		if (event->image && !is_wanted(agent, event)) {
			drop_unwanted(agent, event);
			break;
		}
		tracee = add_image(agent, event);
		if (!tracee)
			break;
		tracee->began_in_trace = event->type == UF_EVENT_EXEC;
		parent = tracees__find(agent->tracees, event->old_image);
		if (parent && tracee->began_in_trace)
			tracee__inherit_place(tracee, parent);
		else if (parent)
			tracee__inherit(tracee, parent);
		if (agent->regions && event->type == UF_EVENT_FORK && !agent->opts->whole_host)
			regions__fork(agent->regions, event->old_image, event->image, event->tgid);
		/* Forked while the host was being listed, by a process not yet added. */
		if (!knows_mappings(agent, event->tgid))
			agent__watch(agent, event->tgid);
		break;
	case UF_EVENT_EXIT:
		tracee = tracees__find(agent->tracees, event->image);
		if (agent->regions)
			regions__forget(agent->regions, event->image);
		if (!tracee)
			break;
		tracee->has_ended = true;
		tracee->exit_code = event->exit_code;
		name_ended(agent, tracee);
		/* Their images take room in the kernel, though they may have no site. */
		if (++agent->ended_cnt >= MAX_ENDED)
			reclaim_early(agent);
		break;
	case UF_EVENT_TABLE_FILLS:
		make_room(agent);
		break;
	case UF_EVENT_FILE_WANTED:
		agent__want_file(agent, event);
		break;
	case UF_EVENT_PLACE_CHECKED:
		places__settle(agent->places, event->address);
		break;
	}
}

static void handle_code(void *arg, const struct uf_python_code *code)
{
	struct agent *agent = arg;

	pythons__add_code(agent->pythons, code);
}

static void handle_region(void *arg, const struct uf_region_event *event)
{
	struct agent *agent = arg;
	struct uf_event kept = {0};

	_Static_assert(sizeof(*event) <= sizeof(kept), "is kept among events of processes");
	if (!agent->regions)
		return;
	/* In order with forks. */
	if (agent->is_reporting) {
		memcpy(&kept, event, sizeof(*event));
		if (keep_event(agent, &kept))
			return;
	}
	regions__handle(agent->regions, event);
}

static void take_in(struct agent *agent)
{
	if (!agent->opts->kernel) {
		mapping_log__drain(agent->mappings);
		agent__list_again_if_lost(agent);
	}
	tracer__poll_events(agent->tracer, handle_process_event, handle_code, handle_region,
			    agent);
	if (agent->opts->kernel)
		return;
	pythons__look(agent->pythons, agent->tracees);
}

void agent__take_in_mappings(void *arg)
{
	struct agent *agent = arg;

	agent->is_reporting = true;
	mapping_log__drain(agent->mappings);
	tracer__poll_events(agent->tracer, handle_process_event, handle_code, handle_region,
			    agent);
	agent->is_reporting = false;
}

/* What came during a report. */
static void handle_kept_events(struct agent *agent)
{
	for (size_t i = 0; i < agent->kept_event_cnt; i++) {
		const struct uf_event *event = &agent->kept_events[i];
		struct uf_region_event region;

		if (event->type != UF_EVENT_REGION) {
			handle_process_event(agent, event);
			continue;
		}
		memcpy(&region, event, sizeof(region));
		handle_region(agent, &region);
	}
	free(agent->kept_events);
	agent->kept_events = NULL;
	agent->kept_event_cnt = 0;
}

/* An exit whose event was lost (EVENTS_FULL) must not keep us for ever. */
static void look_for_lost_exits(struct agent *agent)
{
	for (struct tracee *tracee = tracees__first(agent->tracees); tracee; tracee = tracee->next)
		if (!tracee->is_dropped && !tracee->has_ended && !proc_info__exists(tracee->pid))
			tracee->has_ended = true;
}

/* Says in the report what is not traced. */
static void write_notes(struct agent *agent)
{
	for (struct tracee *tracee = tracees__first(agent->tracees); tracee; tracee = tracee->next) {
		if (tracee->is_dropped || agent->opts->object_cnt)
			continue;
		/* Once seen it is for good, even if the mappings are forgotten. */
		tracee->has_allocator |= agent__traces_allocator(agent, tracee->pid);
		tracee->note[0] = 0;
		if (!tracee->has_allocator)
			agent__explain_no_allocator(agent,
						    *tracee->exe ? tracee->exe : tracee->comm,
						    tracee->note, sizeof(tracee->note));
	}
}

static bool file_is_needed(void *arg, const struct mapped_file *file)
{
	const struct agent *agent = arg;

	return file->used_mark == agent->used_mark;
}

/* What ended has been reported: its blocks, sites and mappings go. */
static void reclaim(struct agent *agent)
{
	uf_image_id *images;
	uint32_t cnt = 0;
	struct tracee *tracee, *next;

	agent->ended_cnt = 0;
	for (tracee = tracees__first(agent->tracees); tracee; tracee = tracee->next) {
		tracee->is_dropped |= tracee->has_ended;
		cnt += tracee->is_dropped;
	}
	if (!cnt)
		return;
	images = calloc(cnt, sizeof(*images));
	if (!images)
		return; /* next time */
	cnt = 0;
	for (tracee = tracees__first(agent->tracees); tracee; tracee = tracee->next)
		if (tracee->is_dropped)
			images[cnt++] = tracee->image;
	if (!tracer__reclaim(agent->tracer, images, &cnt)) {
		for (tracee = tracees__first(agent->tracees); tracee; tracee = next) {
			bool keep = !tracee->is_dropped;
			pid_t pid = tracee->pid;

			next = tracee->next;
			for (uint32_t i = 0; i < cnt; i++)
				keep |= images[i] == tracee->image;
			if (keep)
				continue;
			pythons__forget(agent->pythons, tracee->image);
			pools__forget(agent->pools, tracee->image);
			if (agent->regions)
				regions__forget(agent->regions, tracee->image);
			tracees__remove(agent->tracees, tracee->image);
			if (!tracees__find_pid(agent->tracees, pid))
				mapping_log__forget(agent->mappings, pid);
		}
	}
	free(images);
	agent__close_unused(agent);
	unwinder__drop(agent->unwinder, file_is_needed, agent);
}

/* What only we know of. */
static int add_losses(const struct agent *agent, struct snapshot *snap)
{
	int err = snapshot__add_loss(snap, "ended_unreported",
				     "processes that ended and made room before a report",
				     agent->unreported_cnt);

	if (!err)
		err = snapshot__add_loss(snap, "ended_unidentified",
					 "processes that ended before it was known whether they are "
					 "targets", agent->unidentified_cnt);
	if (!err && agent->regions)
		err = regions__add_losses(agent->regions, snap);
	if (err)
		errno = -err;
	return err;
}

/* What a report says of processes. */
static void look_at_processes(struct agent *agent)
{
	if (agent->regions)
		regions__check(agent->regions);
	if (pools__look(agent->pools))
		agent__say(agent, 0, "small objects of a Python are not traced from here on: the "
			   "function that opens pools is not where it was thought to be");
	write_notes(agent);
	places__settle(agent->places, UF_MAX_PLACE_CHECKS); /* an event may be lost */
	places__tick(agent->places);
	gc_watch__poll(agent->gc_watch, agent->tracees);
}

static void tell_windows(struct agent *agent)
{
	struct snapshot_cost cost = {0};
	uint64_t now_ns = monotonic_ns();

	pauses__report(agent->pauses, now_ns, &cost);
	collector__set_windows(agent->collector, pauses__windows(agent->pauses),
			       pauses__seen_share(agent->pauses, now_ns), cost.on_share);
}

static void report(struct agent *agent, bool is_last)
{
	struct snapshot *snap;
	int err;

	look_for_lost_exits(agent);
	take_in(agent);
	if (!agent->opts->kernel)
		look_at_processes(agent);
	if (agent->pauses)
		tell_windows(agent);
	snap = collector__take(agent->collector, is_last);
	if (snap && add_losses(agent, snap)) {
		snapshot__free(snap);
		snap = NULL;
	}
	if (!snap) {
		agent__say(agent, -1, "no report: %s", strerror(errno));
		agent->error = -errno;
		handle_kept_events(agent);
		return;
	}
	cost_meter__report(agent->cost, monotonic_ns(), &snap->cost);
	if (agent->pauses)
		pauses__report(agent->pauses, monotonic_ns(), &snap->cost);
	err = agent->opts->format->render(snap, agent->out);
	snapshot__free(snap);
	if (err) {
		agent__say(agent, -1, "cannot write the report: %s", strerror(-err));
		agent->error = err;
		agent->is_over = true;
	}
	agent->report_cnt++;
	if (!is_last)
		reclaim(agent);
	handle_kept_events(agent);
}

/*
 * A terminal sends its signals to the command as well, which decides what they
 * mean; others are passed on. Without a command they end the trace.
 */
static void handle_signals(struct agent *agent)
{
	struct signalfd_siginfo info;

	while (read(agent->fds[FD_SIGNAL], &info, sizeof(info)) == sizeof(info)) {
		if (!agent->launch.pid)
			agent->is_over = true;
		else if (info.ssi_code != SI_KERNEL)
			kill(agent->launch.pid, info.ssi_signo);
	}
}

static void read_timer(int fd)
{
	uint64_t expirations;

	if (read(fd, &expirations, sizeof(expirations)) < 0)
		return; /* nothing was due after all */
}

static void handle_report_timer(struct agent *agent)
{
	read_timer(agent->fds[FD_REPORT]);
	if (agent->opts->count && agent->report_cnt + 1 >= agent->opts->count)
		agent->is_over = true; /* the next one is the last */
	else
		report(agent, false);
}

static void set_timer(int fd, uint64_t at_ns, uint64_t every_ns)
{
	const struct itimerspec spec = {
		.it_value = {at_ns / 1000000000, at_ns % 1000000000},
		.it_interval = {every_ns / 1000000000, every_ns % 1000000000},
	};

	timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void begin_epoch(struct agent *agent)
{
	uint64_t now_ns;

	read_timer(agent->fds[FD_EPOCH]);
	now_ns = monotonic_ns();
	cohorts__tick(agent->cohorts, now_ns);
	make_room(agent);
	if (agent->opts->kernel)
		return;
	unwinder__tick(agent->unwinder);
	pythons__look(agent->pythons, agent->tracees);
	gc_watch__tick(agent->gc_watch, agent->tracees, now_ns);
}

static void measure_cost(struct agent *agent)
{
	read_timer(agent->fds[FD_COST]);
	set_timer(agent->fds[FD_COST], cost_meter__tick(agent->cost, monotonic_ns()), 0);
}

/* A full epoch follows: of two in a row one must not be short (agent/cohorts.c). */
void agent__begin_epoch(void *arg)
{
	struct agent *agent = arg;
	uint64_t epoch_ns = cohorts__epoch_ns(agent->cohorts);

	begin_epoch(agent);
	set_timer(agent->fds[FD_EPOCH], monotonic_ns() + epoch_ns, epoch_ns);
}

static void keep_to_budget(struct agent *agent)
{
	uint64_t next_ns = 0;
	int err;

	read_timer(agent->fds[FD_BUDGET]);
	err = pauses__decide(agent->pauses, monotonic_ns(), &next_ns);
	if (!err) {
		set_timer(agent->fds[FD_BUDGET], next_ns, 0);
		return;
	}
	agent__say(agent, -1, "cannot put the probes in again: %s", strerror(-err));
	agent->error = err;
	agent->is_over = true;
}

static void handle_fd(struct agent *agent, enum agent_fd which)
{
	switch (which) {
	case FD_SIGNAL:
		handle_signals(agent);
		break;
	case FD_REPORT:
		handle_report_timer(agent);
		break;
	case FD_EPOCH:
		begin_epoch(agent);
		break;
	case FD_COST:
		measure_cost(agent);
		break;
	case FD_BUDGET:
		keep_to_budget(agent);
		break;
	case FD_END:
		agent->is_over = true;
		break;
	case FD_EVENTS:
	case FD_MAPPINGS:
		take_in(agent);
		break;
	case FD_CNT:
		break;
	}
}

static bool let_command_go(struct agent *agent)
{
	int err;

	/* The rings fill while we prepare; the command's own records must find room. */
	mapping_log__drain(agent->mappings);
	err = launch__go(&agent->launch);

	if (err)
		agent__say(agent, -1, "cannot execute %s: %s", agent->opts->command[0],
			   strerror(-err));
	return !err;
}

/* The command's exit status, after it has ended or been asked to. */
static int end_command(struct agent *agent)
{
	int status, code;

	if (tracees__running_cnt(agent->tracees)) {
		/* --count or --duration is over: so is what we started for it. */
		agent->asked_command_to_end = true;
		kill(agent->launch.pid, SIGTERM);
	}
	/* From here on a signal ends us: the command may not want to. */
	sigprocmask(SIG_SETMASK, &agent->old_mask, NULL);
	while (waitpid(agent->launch.pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILED;
	agent->launch.pid = 0;
	code = launch__exit_code(status);
	if (code && !agent->asked_command_to_end)
		agent__say(agent, 0, WIFSIGNALED(status) ? "the command was ended by signal %d"
							 : "the command ended with status %d",
			   WIFSIGNALED(status) ? WTERMSIG(status) : code);
	return agent->asked_command_to_end ? EXIT_DONE : code;
}

static void say_start(const struct agent *agent)
{
	uint32_t probes = tracer__probe_cnt(agent->tracer), files = tracer__file_cnt(agent->tracer);
	const struct tracee *first = tracees__first(agent->tracees);
	const char *name;
	char why[256], what[128], others[32] = "";

	if (agent->opts->kernel) {
		kernel_memory__say_start(agent);
		return;
	}
	if (agent->opts->whole_host) {
		agent__say(agent, 0, "tracing the whole host, %u processes now: %u allocator functions "
			   "in %u file%s, by %s", tracees__running_cnt(agent->tracees), probes, files,
			   files == 1 ? "" : "s", tracer__mode(agent->tracer));
		return;
	}
	name = agent->launch.pid ? agent->opts->command[0] : first->comm;
	if (agent->found_cnt)
		snprintf(others, sizeof(others), " and %u child%s", agent->found_cnt,
			 agent->found_cnt == 1 ? "" : "ren");
	if (agent->pid_cnt > 1)
		snprintf(others, sizeof(others), " and others");
	if (agent->is_gated)
		gate__describe(agent, what, sizeof(what));
	else
		snprintf(what, sizeof(what), "%u allocator functions in %u file%s", probes, files,
			 files == 1 ? "" : "s");
	agent__say(agent, 0, "tracing pid %d (%s)%s: %s, by %s", (int)first->pid, name, others, what,
		   tracer__mode(agent->tracer));
	if (files)
		return;
	agent__explain_no_allocator(agent, name, why, sizeof(why));
	agent__say(agent, -1, "%s", why);
}

static bool is_python_coming(const struct agent *agent)
{
	return agent->pythons && pythons__is_waiting(agent->pythons);
}

int agent__run(struct agent *agent)
{
	struct epoll_event events[FD_CNT];
	int code = EXIT_DONE;

	if (agent->launch.pid && !let_command_go(agent))
		return EXIT_FAILED;
	say_start(agent);
	while (!agent->is_over) {
		/* An interpreter that is coming up sends no event when it is ready. */
		int timeout_ms = is_python_coming(agent) ? PYTHON_RETRY_MS : -1;
		int n;

		/* It takes its time: after what an interpreter needs. */
		if (agent->places && !is_python_coming(agent))
			places__begin(agent->places);
		n = epoll_wait(agent->epoll_fd, events, FD_CNT, timeout_ms);

		for (int i = 0; i < n; i++)
			handle_fd(agent, events[i].data.u32);
		if (!n)
			pythons__look(agent->pythons, agent->tracees);
		if (!agent->opts->whole_host && !agent->opts->kernel &&
		    !tracees__running_cnt(agent->tracees))
			agent->is_over = true;
	}
	if (!agent->error)
		report(agent, true);
	if (agent->places)
		places__say_rest(agent->places);
	if (agent->launch.pid)
		code = end_command(agent);
	if (agent->error || (!code && !agent->opts->kernel && !agent->opts->mmap &&
			     !tracer__has_probed(agent->tracer)))
		code = EXIT_FAILED;
	return code;
}
