/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "agent/tracees.h"
#include "agent/tracer.h"
#include "cli/options.h"
#include "cli/parse.h"
#include "gate_contract.h"
#include "probe/catalog.h"
#include "probe/elf_image.h"
#include "target/gate_library.h"

/* -- before the trace -- */

/* NAME=VALUE, or NULL. */
static char *assignment(const char *name, const char *value, const char *more)
{
	char *text = NULL;

	if (asprintf(&text, "%s=%s%s%s", name, value, more ? ":" : "", more ? more : "") < 0)
		return NULL;
	return text;
}

/* -s, or what the environment has for it, or the standard. False: said what is wrong. */
static bool choose_interval(struct agent *agent)
{
	const char *text = getenv(UF_GATE_SAMPLE);
	uint64_t bytes = UF_GATE_SAMPLE_STANDARD;
	int err = 0;

	if (agent->opts->has_sample)
		bytes = agent->opts->sample_bytes;
	else if (text)
		err = parse__size_bytes(text, UF_GATE_SAMPLE_MIN, UF_GATE_SAMPLE_MAX, &bytes);
	agent->sample_bytes = bytes;
	if (err)
		agent__say(agent, -1, UF_GATE_SAMPLE "='%s' is not a size from 1 to 256M, like 64K or 1M",
			   text);
	return !err;
}

/* What the command finds in its environment: the library before others that it is to preload. */
static bool make_environment(struct agent *agent, const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	char interval[32];

	agent->launch_env[0] = assignment("LD_PRELOAD", library, others && *others ? others : NULL);
	if (!agent->launch_env[0])
		return false;
	snprintf(interval, sizeof(interval), "%llu", (unsigned long long)agent->sample_bytes);
	agent->launch_env[1] = assignment(UF_GATE_SAMPLE, interval, NULL);
	return agent->launch_env[1];
}

static bool prepare_command(struct agent *agent)
{
	char why[512];
	int err = gate_library__find(agent->gate_path, sizeof(agent->gate_path));

	if (err == -EINVAL)
		agent__say(agent, -1, "--gate: LD_PRELOAD cannot name %s, for the space or colon in it: "
			   "install it elsewhere", agent->gate_path);
	else if (err)
		agent__say(agent, -1, "--gate: no " UF_GATE_LIBRARY " beside unfreed, nor %s: 'make' and "
			   "'make install' put it there", agent->gate_path);
	else if (!gate_library__fits(agent->opts->command, why, sizeof(why)))
		agent__say(agent, -1, "--gate: %s: trace it without --gate", why);
	else if (!make_environment(agent, agent->gate_path))
		agent__say(agent, -1, "out of memory");
	else
		return true;
	return false;
}

/* How many of the processes run with it already, and the interval of the last of them. */
static uint32_t count_gated(const struct agent *agent, uint64_t *interval_bytes)
{
	struct uf_gate_state state;
	uint32_t cnt = 0;

	for (uint32_t i = 0; i < agent->pid_cnt; i++) {
		if (gate_library__read_state(agent->pids[i], &state))
			continue;
		*interval_bytes = state.interval_bytes;
		cnt++;
	}
	return cnt;
}

/* Processes that run with it already are traced by it, if all of them do. */
static void look_at_processes(struct agent *agent)
{
	const struct options *opts = agent->opts;
	uint64_t interval_bytes = 0;
	uint32_t cnt;

	if (opts->object_cnt || *opts->prefix || (opts->has_sample && !opts->sample_bytes))
		return;
	cnt = count_gated(agent, &interval_bytes);
	if (!cnt)
		return;
	if (cnt < agent->pid_cnt) {
		agent__say(agent, 0, "%u of these processes run with " UF_GATE_LIBRARY ", others do not: "
			   "all are traced without it", cnt);
		return;
	}
	agent->is_gated = true;
	agent->sample_bytes = interval_bytes;
	if (opts->has_sample && opts->sample_bytes != interval_bytes)
		agent__say(agent, 0, "-s is not looked at: " UF_GATE_LIBRARY " samples as "
			   UF_GATE_SAMPLE " had it when the process started");
}

bool gate__prepare(struct agent *agent)
{
	const struct options *opts = agent->opts;

	agent->sample_bytes = opts->sample_bytes;
	agent->is_gated = opts->gate;
	if (opts->gate)
		return choose_interval(agent) && prepare_command(agent);
	if (opts->pid_cnt && !opts->kernel)
		look_at_processes(agent);
	return true;
}

/* -- its probes -- */

/* What the library stands before; others of an allocator's functions go past it. */
static bool is_covered(const char *name)
{
	static const char *const covered[] = {
		"malloc",   "calloc", "realloc", "reallocarray", "posix_memalign", "aligned_alloc",
		"memalign", "valloc", "pvalloc", "free",	  "cfree",	    "free_sized",
		"free_aligned_sized",
	};

	for (size_t i = 0; i < sizeof(covered) / sizeof(covered[0]); i++)
		if (!strcmp(name, covered[i]))
			return true;
	return false;
}

static void say_what_goes_past(const struct agent *agent, const struct probe_points *points,
			       const char *path)
{
	uint32_t cnt = points->refused_cnt;
	const char *name = points->refused;

	for (uint32_t i = 0; i < points->cnt; i++) {
		const struct probe_point *point = &points->points[i];

		if (is_covered(point->name) || point->func == UF_FREE)
			continue;
		name = point->name;
		cnt++;
	}
	if (cnt)
		agent__say(agent, 0, "%s: %u functions go past the gate (%s), what they allocate is not "
			   "counted", path, cnt, name);
}

bool gate__has_allocator(int fd)
{
	struct elf_image *image = elf_image__open_fd(fd);
	struct probe_points points = {0};
	struct gate_offsets offsets;
	bool has = false;

	if (image && !gate_library__find_offsets(image, &offsets) &&
	    !probe_points__find(image, "", &points))
		has = points.has_alloc && points.has_free;
	probe_points__release(&points);
	elf_image__free(image);
	return has;
}

bool gate__is_passed_over(const struct agent *agent, const struct elf_image *image)
{
	struct gate_offsets offsets;

	return agent->sample_bytes && gate_library__find_offsets(image, &offsets);
}

int gate__probe_image(struct agent *agent, int fd, const struct elf_image *image, const char *path)
{
	struct probe_points points = {0};
	struct gate_offsets offsets;
	int slot;

	if (!gate_library__find_offsets(image, &offsets)) {
		if (!probe_points__find(image, "", &points))
			say_what_goes_past(agent, &points, path);
		probe_points__release(&points);
		return -ENOENT;
	}
	slot = tracer__attach_gate(agent->tracer, fd, offsets.alloc, offsets.tell);
	if (slot >= 0)
		agent__say(agent, 1, "%s: what it samples, by %s", path, tracer__mode(agent->tracer));
	return slot;
}

void gate__describe(const struct agent *agent, char *text, size_t size)
{
	snprintf(text, size, "one sample per %llu bytes on average, taken by " UF_GATE_LIBRARY,
		 (unsigned long long)agent->sample_bytes);
}

void gate__explain_absence(const char *program, char *text, size_t size)
{
	snprintf(text, size, "%.150s runs without " UF_GATE_LIBRARY " (a static or set-user-ID program, or "
		 "started without LD_PRELOAD): what it allocates is not counted", program);
}
