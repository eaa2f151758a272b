/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/agent.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/cohorts.h"
#include "agent/collector.h"
#include "agent/cost_meter.h"
#include "agent/gate.h"
#include "agent/gc_watch.h"
#include "agent/internal.h"
#include "agent/long_work.h"
#include "agent/places.h"
#include "agent/kernel_memory.h"
#include "agent/kernel_names.h"
#include "agent/pauses.h"
#include "agent/pools.h"
#include "agent/pythons.h"
#include "agent/regions.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "agent/unwinder.h"
#include "cli/options.h"
#include "render/emit.h"
#include "sym/symbolizer.h"
#include "target/clock.h"
#include "target/container.h"
#include "target/proc_info.h"

#define FIRST_BUDGET_NS  20000000
#define FIRST_COST_NS    20000000
#define MAX_LINE_COLUMNS 1000 /* of a message; longer is cut */

void agent__say(const struct agent *agent, int min_verbosity, const char *format, ...)
{
	char text[8192];
	va_list args;

	if (agent->opts->verbosity < min_verbosity)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fputs("unfreed: ", stderr);
	/* Names of processes and files are somebody else's text. */
	emit__text(stderr, text, MAX_LINE_COLUMNS);
	fputc('\n', stderr);
}

static bool check_targets(const struct agent *agent)
{
	for (uint32_t i = 0; i < agent->opts->cgroup_cnt; i++) {
		if (cgroup__exists(agent->opts->cgroups[i]))
			continue;
		agent__say(agent, -1, "no control group %s below /sys/fs/cgroup: see 'systemd-cgls' or "
			   "/proc/PID/cgroup", agent->opts->cgroups[i]);
		return false;
	}
	for (uint32_t i = 0; i < agent->pid_cnt; i++) {
		pid_t pid = agent->pids[i];

		if (proc_info__exists(pid))
			continue;
		agent__say(agent, -1, "no process with pid %d: has it ended, or is it a thread's number "
			   "or one of another pid namespace? see 'ps -e'", (int)pid);
		return false;
	}
	return true;
}

/* Signals come through a descriptor; the command gets the mask that we were started with. */
static int block_signals(struct agent *agent)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGPIPE);
	if (sigprocmask(SIG_BLOCK, &mask, &agent->old_mask))
		return -errno;
	agent->mask_is_set = true;
	sigdelset(&mask, SIGPIPE); /* seen as EPIPE of the write */
	agent->fds[FD_SIGNAL] = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return agent->fds[FD_SIGNAL] < 0 ? -errno : 0;
}

static int launch_command(struct agent *agent)
{
	int err = launch__prepare(&agent->launch, agent->opts->command, agent->launch_env,
				  &agent->old_mask);

	if (err)
		return err;
	agent->pids = &agent->launch.pid;
	agent->pid_cnt = 1;
	return 0;
}

static void say_why_no_tracer(const struct agent *agent, int err)
{
	switch (-err) {
	case EPERM:
	case EACCES:
		agent__say(agent, -1, "not permitted to load BPF programs: run as root (sudo), or with "
			   "CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN");
		break;
	case ENODEV:
		agent__say(agent, -1, "this kernel does not have the tracepoints that --kernel needs "
			   "(kmem:kmalloc and others, CONFIG_TRACEPOINTS)");
		break;
	case ENOSYS:
		agent__say(agent, -1, "this kernel has no BPF (CONFIG_BPF_SYSCALL)");
		break;
	case ENOMEM:
		agent__say(agent, -1, "no memory for the tables: try fewer --max-blocks or --max-sites");
		break;
	case EOPNOTSUPP:
		agent__say(agent, -1, "this kernel cannot attach like that: try --attach auto");
		break;
	case ESRCH:
		agent__say(agent, -1, "this kernel has no BTF (/sys/kernel/btf/vmlinux): it must be "
			   "built with CONFIG_DEBUG_INFO_BTF");
		break;
	default:
		agent__say(agent, -1, "cannot load the BPF programs: %s; -v -v shows the kernel's words",
			   strerror(-err));
	}
}

static bool load_tracer(struct agent *agent)
{
	const struct options *opts = agent->opts;
	const struct tracer_opts tracer_opts = {
		.min_size_bytes = opts->min_size_bytes,
		.max_size_bytes = opts->max_size_bytes,
		.pauses = opts->max_cost_ppm,
		.sample_bytes = agent->sample_bytes,
		.no_pools = opts->pools == POOLS_OFF || (opts->pools == POOLS_AUTO && agent->is_gated),
		.max_blocks = opts->max_blocks,
		.max_sites = opts->max_sites,
		.follow = opts->follow,
		.every_process = opts->follow, /* children have no number yet */
		.whole_host = opts->whole_host || opts->kernel, /* all but ourselves */
		.is_kernel = opts->kernel,
		.pids = agent->pids,
		.pid_cnt = agent->pid_cnt,
		.attach = opts->attach,
#if defined(__x86_64__)
		.stack_mode = opts->stack_mode,
#else
		.stack_mode = UF_STACK_FP, /* the tables are for x86-64 */
#endif
		.mmap = opts->mmap,
		.huge_page_bytes = opts->mmap ? proc_info__huge_page_bytes() : 0,
		.debug = opts->verbosity >= 2,
	};
	int err;

	agent->tracer = tracer__new(&tracer_opts);
	if (!agent->tracer) {
		say_why_no_tracer(agent, -errno);
		return false;
	}
	err = opts->kernel ? 0 : tracer__attach_process(agent->tracer);
	if (err) {
		say_why_no_tracer(agent, err);
		return false;
	}
	err = opts->mmap ? tracer__attach_regions(agent->tracer) : 0;
	if (err)
		agent__say(agent, -1, "cannot watch mmap, munmap, mremap and brk: %s; has this kernel "
			   "tracepoints of system calls? go "
			   "without --mmap, or see -v -v", strerror(-err));
	return !err;
}

/*
 * The names of an interpreter's first stacks take seconds: meanwhile files that are mapped get
 * their probes and tables, or the stacks in them would end there.
 */
static void run_long(void *arg, long_work_fn work, void *work_arg)
{
	long_work__run(work, work_arg, agent__take_in_mappings, arg);
}

/* What only a trace of processes needs. */
static bool make_process_parts(struct agent *agent)
{
	const struct symbolizer_opts symbolizer_opts = {.run_long = run_long, .arg = agent};

	agent->files = file_table__new();
	agent->symbolizer = symbolizer__new(&symbolizer_opts);
	agent->unwinder = agent->files ? unwinder__new(agent->tracer, agent->files) : NULL;
	if (!agent->files || !agent->symbolizer || !agent->unwinder) {
		agent__say(agent, -1, "out of memory");
		return false;
	}
	file_table__set_identify(agent->files, agent__identify_file, agent);
	agent->mappings = mapping_log__new(agent->files, agent__see_mapping, agent);
	if (!agent->mappings) {
		agent__say(agent, -1, "cannot watch mappings (perf_event_open): %s; run as root, or "
			   "with CAP_PERFMON", strerror(errno));
		return false;
	}
	agent->places = places__new(agent);
	agent->gc_watch = gc_watch__new(agent->tracer);
	agent->pythons = agent->gc_watch
				 ? pythons__new(agent->tracer, agent->mappings, agent->unwinder,
						agent->gc_watch)
				 : NULL;
	agent->pools = pools__new(agent->tracer, agent->tracees);
	if (agent->opts->mmap)
		agent->regions = regions__new(agent->tracer, agent->tracees);
	if (!agent->places || !agent->pythons || !agent->pools || (agent->opts->mmap && !agent->regions)) {
		agent__say(agent, -1, "out of memory");
		return false;
	}
	agent->names = (struct frame_names){agent->symbolizer, agent->unwinder, agent->mappings,
					    agent->pythons};
	return true;
}

static struct pauses *make_pauses(struct agent *agent)
{
	const struct pauses_opts pauses_opts = {
		.max_share = agent->opts->max_cost_ppm / 1e6,
		.sample_bytes = agent->opts->sample_bytes,
		.max_blocks = agent->opts->max_blocks,
		.begin_epoch = agent__begin_epoch,
		.arg = agent,
	};

	return pauses__new(&pauses_opts, agent->tracer, agent->cost, monotonic_ns());
}

static bool make_parts(struct agent *agent)
{
	const struct options *opts = agent->opts;
	const struct collector_opts collector_opts = {
		.older_ns = opts->older_ns,
		.sample_bytes = agent->sample_bytes,
		.sort = opts->sort,
		.top = opts->top,
		.grouping = opts->grouping,
		.wants_all = opts->verbosity > 0,
		.per_process = opts->per_process,
	};
	struct cohorts_shared shared = tracer__cohorts_shared(agent->tracer);

	agent->tracees = tracees__new();
	agent->cohorts = cohorts__new(&shared, opts->older_ns, monotonic_ns());
	if (!agent->tracees || !agent->cohorts) {
		agent__say(agent, -1, "out of memory");
		return false;
	}
	if (opts->kernel)
		agent->kernel_names = kernel_memory__names(agent);
	if (opts->kernel ? !agent->kernel_names : !make_process_parts(agent))
		return false;
	agent->collector = collector__new(&collector_opts, agent->tracer, agent->tracees,
					  agent->cohorts, agent->gc_watch, agent->pools,
					  &agent->names, agent->kernel_names);
	agent->cost = cost_meter__new(agent->tracer, !opts->kernel, monotonic_ns());
	/* Before the first hit: a trace may be short. */
	if (agent->cost)
		cost_meter__time_now(agent->cost);
	if (agent->cost && opts->max_cost_ppm)
		agent->pauses = make_pauses(agent);
	if (agent->collector && agent->cost && (agent->pauses || !opts->max_cost_ppm))
		return true;
	agent__say(agent, -1, "out of memory");
	return false;
}

/*
 * Enters the process in the kernel once everything that its stacks need is there: another target
 * may have brought the probes long ago. 0 or -errno, and the tracee is gone.
 */
static int start_tracee(struct agent *agent, struct tracee *tracee)
{
	pid_t pid = tracee->pid;
	int err;

	err = tracee->waits_exec ? mapping_log__watch_new(agent->mappings, pid)
				 : agent__watch(agent, pid);
	if (!err)
		err = tracer__add_process(agent->tracer, pid, tracee->image, tracee->waits_exec);
	if (err)
		tracees__remove(agent->tracees, tracee->image);
	return err;
}

/* 0, or -errno: -EEXIST if it is a target already, by an event that has yet to come. */
static int add_process(struct agent *agent, pid_t pid)
{
	int64_t image = tracer__new_image(agent->tracer, pid);
	struct tracee *tracee;

	if (image < 0)
		return image;
	tracee = tracees__add(agent->tracees, image, pid);
	if (!tracee)
		return -ENOMEM;
	tracee->waits_exec = pid == agent->launch.pid;
	return start_tracee(agent, tracee);
}

/* Makes a running process a target and probes what it has mapped. False: said why. */
static bool add_target(struct agent *agent, pid_t pid)
{
	int err = add_process(agent, pid);
	const struct tracee *tracee;
	char why[256];

	if (err == -EEXIST)
		return true; /* as the child of another target: its event is on the way */
	if (err) {
		agent__say(agent, -1, "cannot trace pid %d: %s", (int)pid, strerror(-err));
		return false;
	}
	tracee = tracees__find_pid(agent->tracees, pid);
	if (tracee->waits_exec || agent__traces_allocator(agent, pid) || agent->opts->object_cnt ||
	    agent->opts->mmap)
		return true;
	agent__explain_no_allocator(agent, tracee->exe, why, sizeof(why));
	agent__say(agent, -1, "pid %d: %s", (int)pid, why);
	return false;
}

/* The containers that the user names. False: said why not. */
static bool find_containers(struct agent *agent)
{
	struct target_filter *filter = &agent->filter;
	const struct options *opts = agent->opts;
	struct container *list = NULL;
	uint32_t cnt = 0;
	char names[1024];

	if (!opts->container_cnt)
		return true;
	filter->containers = tracees__containers(agent->tracees);
	filter->inside = calloc(opts->container_cnt, sizeof(*filter->inside));
	if (!filter->inside || containers__list(filter->containers, &list, &cnt)) {
		agent__say(agent, -1, "cannot list the containers");
		return false;
	}
	for (uint32_t i = 0; i < opts->container_cnt; i++) {
		const char *text = opts->containers[i];
		int err = container__find_in(list, cnt, text, &filter->inside[i]);

		if (!err)
			filter->inside_cnt++;
		else if (err == -ENOTUNIQ)
			agent__say(agent, -1, "several containers are called '%s': %s", text,
				   container__names(list, cnt, text, names, sizeof(names)));
		else if (!cnt)
			agent__say(agent, -1, "no container '%s': there is none that has a process",
				   text);
		else
			agent__say(agent, -1, "no container '%s'; there are: %s", text,
				   container__names(list, cnt, NULL, names, sizeof(names)));
	}
	free(list);
	return filter->inside_cnt == opts->container_cnt;
}

static void add_host_process(void *arg, pid_t pid, pid_t parent)
{
	struct agent *agent = arg;
	int err;

	(void)parent;
	if (pid == getpid() || tracees__find_pid(agent->tracees, pid) ||
	    proc_info__is_kernel_thread(pid) || !target_filter__matches(&agent->filter, pid))
		return;
	err = add_process(agent, pid);
	if (!err)
		agent->found_cnt++;
	else if (err != -EEXIST && err != -ESRCH)
		agent__say(agent, 0, "cannot trace pid %d: %s", (int)pid, strerror(-err));
}

/*
 * Adds processes of a listing. One that is forked meanwhile by a process that is not added yet may
 * be missed, so the listing is repeated until it finds nothing new. False: said why.
 */
static bool add_listed(struct agent *agent, proc_info_fn add)
{
	uint32_t before;
	int err;

	do {
		before = agent->found_cnt;
		err = proc_info__for_each(add, agent);
	} while (!err && agent->found_cnt != before);
	if (err)
		agent__say(agent, -1, "cannot list the processes in /proc: %s", strerror(-err));
	return !err;
}

static bool add_host(struct agent *agent)
{
	if (!find_containers(agent))
		return false;
	mapping_log__watch_all(agent->mappings, getpid());
	return add_listed(agent, add_host_process);
}

/*
 * Children that were there before the trace, and theirs. A traced process's next children are
 * followed in the kernel.
 */
static void add_if_child(void *arg, pid_t pid, pid_t parent)
{
	struct agent *agent = arg;

	if (!tracees__find_pid(agent->tracees, parent) ||
	    tracees__find_pid(agent->tracees, pid) || pid == getpid())
		return;
	if (add_target(agent, pid) && tracees__find_pid(agent->tracees, pid))
		agent->found_cnt++;
}

static bool add_targets(struct agent *agent)
{
	uint32_t added = 0;

	if (agent->opts->kernel)
		return kernel_memory__attach(agent);
	if (!agent__probe_objects(agent))
		return false;
	if (agent->opts->whole_host)
		return add_host(agent);
	for (uint32_t i = 0; i < agent->pid_cnt; i++)
		added += add_target(agent, agent->pids[i]);
	/* One process of several that cannot be traced is a warning. */
	if (!added)
		return false;
	if (agent->opts->follow && !agent->launch.pid && !add_listed(agent, add_if_child))
		return false;
	if (agent->launch.pid && agent__probe_command_files(agent))
		agent__say(agent, 0, "cannot find out the command's libraries beforehand");
	return true;
}

static int add_fd(struct agent *agent, enum agent_fd which, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = which};

	agent->fds[which] = fd;
	if (fd < 0 || epoll_ctl(agent->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	return 0;
}

static int add_timer(struct agent *agent, enum agent_fd which, uint64_t ns, bool repeats)
{
	struct itimerspec spec = {.it_value = {ns / 1000000000, ns % 1000000000}};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (repeats)
		spec.it_interval = spec.it_value;
	if (fd >= 0 && timerfd_settime(fd, 0, &spec, NULL)) {
		close(fd);
		return -errno;
	}
	return add_fd(agent, which, fd);
}

static bool start_clocks(struct agent *agent)
{
	int err;

	agent->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	err = agent->epoll_fd < 0 ? -errno : add_fd(agent, FD_SIGNAL, agent->fds[FD_SIGNAL]);
	if (!err)
		err = add_fd(agent, FD_EVENTS, tracer__events_fd(agent->tracer));
	if (!err && agent->mappings)
		err = add_fd(agent, FD_MAPPINGS, mapping_log__fd(agent->mappings));
	if (!err)
		err = add_timer(agent, FD_REPORT, agent->opts->interval_ns, true);
	if (!err)
		err = add_timer(agent, FD_EPOCH, cohorts__epoch_ns(agent->cohorts), true);
	if (!err)
		err = add_timer(agent, FD_COST, FIRST_COST_NS, false);
	if (!err && agent->pauses)
		err = add_timer(agent, FD_BUDGET, FIRST_BUDGET_NS, false);
	if (!err && agent->opts->duration_ns)
		err = add_timer(agent, FD_END, agent->opts->duration_ns, false);
	if (err)
		agent__say(agent, -1, "cannot set up the event loop: %s", strerror(-err));
	return !err;
}

static bool open_output(struct agent *agent)
{
	const char *path = agent->opts->output_path;

	agent->out = path ? fopen(path, "we") : stdout;
	if (!agent->out)
		agent__say(agent, -1, "cannot write %s: %s", path, strerror(errno));
	return agent->out;
}

static bool prepare(struct agent *agent)
{
	int err = block_signals(agent);

	if (!err && !gate__prepare(agent))
		return false;
	if (!err && agent->opts->command)
		err = launch_command(agent);
	if (err) {
		agent__say(agent, -1, "cannot start: %s", strerror(-err));
		return false;
	}
	return check_targets(agent) && open_output(agent) && load_tracer(agent) &&
	       make_parts(agent) && add_targets(agent) && start_clocks(agent);
}

/* Files stay open, and perf uprobes take two descriptors each. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

struct agent *agent__new(const struct options *opts)
{
	struct agent *agent = calloc(1, sizeof(*agent));

	if (!agent) {
		fputs("unfreed: out of memory\n", stderr);
		return NULL;
	}
	agent->opts = opts;
	agent->pids = (pid_t *)opts->pids;
	agent->pid_cnt = opts->pid_cnt;
	agent->filter = (struct target_filter){
		.comms = opts->comms,
		.comm_cnt = opts->comm_cnt,
		.cgroups = opts->cgroups,
		.cgroup_cnt = opts->cgroup_cnt,
	};
	agent->epoll_fd = -1;
	for (int i = 0; i < FD_CNT; i++)
		agent->fds[i] = -1;
	if (prepare(agent)) {
		/* After the fork: the command keeps the limit that it was started with. */
		raise_fd_limit();
		return agent;
	}
	agent__free(agent);
	return NULL;
}

void agent__free(struct agent *agent)
{
	if (!agent)
		return;
	launch__release(&agent->launch);
	for (int i = 0; i < FD_CNT; i++)
		if (i != FD_EVENTS && i != FD_MAPPINGS && agent->fds[i] >= 0)
			close(agent->fds[i]);
	if (agent->epoll_fd >= 0)
		close(agent->epoll_fd);
	pauses__free(agent->pauses);
	cost_meter__free(agent->cost);
	collector__free(agent->collector);
	kernel_names__free(agent->kernel_names);
	cohorts__free(agent->cohorts);
	regions__free(agent->regions);
	pools__free(agent->pools);
	pythons__free(agent->pythons);
	gc_watch__free(agent->gc_watch);
	places__free(agent->places);
	unwinder__free(agent->unwinder);
	tracer__free(agent->tracer);
	mapping_log__free(agent->mappings);
	tracees__free(agent->tracees);
	symbolizer__free(agent->symbolizer);
	file_table__free(agent->files);
	for (uint32_t i = 0; i < agent->inode_cnt; i++)
		free(agent->inodes[i].allocator_code);
	free(agent->inodes);
	for (int i = 0; i < LAUNCH_ENV_MAX; i++)
		free(agent->launch_env[i]);
	free(agent->filter.inside);
	if (agent->out && agent->out != stdout)
		fclose(agent->out);
	if (agent->mask_is_set)
		sigprocmask(SIG_SETMASK, &agent->old_mask, NULL);
	free(agent);
}
