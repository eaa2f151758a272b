/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include <stdio.h>

#include "agent/agent.h"
#include "cli/options.h"

int main(int argc, char **argv)
{
	static struct options opts;
	struct agent *agent;
	int code;

	switch (options__parse(&opts, argc, argv)) {
	case OPTIONS_RUN:
		break;
	case OPTIONS_DONE:
		/* A full disk must not look like success. */
		return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
	case OPTIONS_BAD:
		return EXIT_USAGE;
	}
	agent = agent__new(&opts);
	if (!agent)
		return EXIT_FAILED;
	code = agent__run(agent);
	agent__free(agent);
	return code;
}
