/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "agent/kernel_memory.h"

#include <errno.h>
#include <string.h>

#include "agent/internal.h"
#include "agent/kernel_names.h"
#include "agent/tracer.h"
#include "cli/options.h"

struct kernel_names *kernel_memory__names(const struct agent *agent)
{
	struct kernel_names *names = kernel_names__new();

	if (names)
		return names;
	if (errno == EACCES)
		agent__say(agent, -1, "/proc/kallsyms shows no addresses, so stacks would have no "
			   "names: run as root, or with CAP_SYSLOG, and if that does not help "
			   "'sysctl kernel.kptr_restrict=1'");
	else if (errno == ENOENT)
		agent__say(agent, -1, "no /proc/kallsyms, where the kernel's functions have their "
			   "names: is /proc mounted? the kernel must be built with CONFIG_KALLSYMS");
	else
		agent__say(agent, -1, "cannot read /proc/kallsyms: %s", strerror(errno));
	return NULL;
}

bool kernel_memory__attach(struct agent *agent)
{
	int err = tracer__attach_kernel(agent->tracer);

	if (err) {
		agent__say(agent, -1, "cannot attach to the kernel's allocators: %s; -v -v shows more",
			   strerror(-err));
		return false;
	}
	if (tracer__kernel_lacks_bulk(agent->tracer))
		agent__say(agent, 0, "this kernel does not let us see what is allocated and freed in "
			   "bulk: sites whose objects are freed by kfree_rcu() or as network buffers "
			   "may show what is not there any more");
	return true;
}

void kernel_memory__say_start(const struct agent *agent)
{
	uint32_t probes = tracer__probe_cnt(agent->tracer);

	if (agent->pid_cnt)
		agent__say(agent, 0, "tracing the kernel's own memory, allocated while pid %d%s runs: "
			   "%u probes", (int)agent->pids[0], agent->pid_cnt > 1 ? " or others" : "",
			   probes);
	else
		agent__say(agent, 0, "tracing the kernel's own memory: %u probes", probes);
}
