/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * check_stacks: traces like unfreed, and has libdw walk again the stacks that
 * the probe walked, on copies taken in the same hit (bpf/truth.bpf.h).
 *
 * It is the whole agent with another report: what would be a report looks at
 * the samples that have come since the last one.
 *
 * Exit status: 0 good, 1 not, 2 bad usage, 3 not good but the host mapped more
 * than the log could take, so that libdw may have been told wrong: try again.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/internal.h"
#include "agent/tracer_internal.h"
#include "cli/options.h"
#include "compare.h"
#include "render/render.h"

#define MAX_ARGS 256
#define EXIT_TRY_AGAIN 3
#define TICK_MS  50 /* between two looks */
#define TICK     "50ms"

static const char usage[] =
	"usage: check_stacks [--every N] [--samples N] [--min-percent P] [--min-complete P]\n"
	"                    [--min-recalled P] [--seconds N] [--return-probe FILE:OFFSET]... [unfreed's options]\n"
	"                    -p PID | -- COMMAND\n"
	"  --every N         take each Nth allocation, besides all new stacks (default 97)\n"
	"  --samples N       end after N complete stacks; fewer are a failure (default 1000)\n"
	"  --seconds N       spread them over so long (default 5)\n"
	"  --return-probe FILE:OFFSET  have another tracer's return probe there as well\n"
	"  --min-percent P   at least P % of the complete stacks must be equal (default 100)\n"
	"  --min-complete P  at least P % of all stacks must be complete (default 0)\n"
	"  --min-recalled P  at least P % of the complete ones must not be walked anew (default 0)\n";

struct check {
	uint32_t every;
	uint64_t samples;
	double seconds, min_percent, min_complete, min_recalled;
	struct agent *agent;
	struct compare *compare;
	struct ring_buffer *ring;
};

static struct check check = {.every = 97, .samples = 1000, .seconds = 5, .min_percent = 100};

static bool has_enough(void)
{
	return compare__counts(check.compare)->complete >= check.samples;
}

static int take_sample(void *ctx, void *data, size_t size)
{
	(void)ctx;
	/* Walking takes time, and the rings of the mappings are small. */
	mapping_log__drain(check.agent->mappings);
	if (size >= sizeof(struct truth_sample) && !has_enough())
		compare__add(check.compare, data);
	return 0;
}

/* Until the next tick. */
static void allow_samples(void)
{
	double ticks = check.seconds * 1000 / TICK_MS;

	check.agent->tracer->skel->bss->truth_quota = check.samples / (ticks > 1 ? ticks : 1) + 1;
}

/* In place of a report. */
static int compare_samples(const struct snapshot *snap, FILE *out)
{
	(void)snap, (void)out;
	ring_buffer__consume(check.ring);
	if (has_enough())
		check.agent->is_over = true;
	else
		allow_samples();
	return 0;
}

static const struct render_format compare_format = {"compare", "", compare_samples};

/*
 * A return probe that is none of ours: it replaces return addresses on the stacks that the probe
 * walks. At file offset "FILE:0xOFFSET", until we end.
 */
static bool place_return_probe(char *place)
{
	struct perf_event_attr attr = {.size = sizeof(attr), .config = 1 /* a return probe */};
	FILE *type = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	char *colon = strrchr(place, ':');

	if (!type || fscanf(type, "%u", &attr.type) != 1 || !colon)
		return false;
	fclose(type);
	*colon = 0;
	attr.uprobe_path = (uintptr_t)place;
	attr.probe_offset = strtoull(colon + 1, NULL, 0);
	if (syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC) >= 0)
		return true;
	perror("check_stacks: return probe");
	return false;
}

/* Takes our own options out of argv; the rest is unfreed's, in *args. False: bad usage. */
static bool parse(int argc, char **argv, char **args, int *arg_cnt)
{
	static char *const first[] = {"check_stacks", "-q", "-i", TICK, "-T", "1"};
	int i = 1;

	for (size_t n = 0; n < sizeof(first) / sizeof(first[0]); n++)
		args[(*arg_cnt)++] = first[n];
	for (; i < argc && strcmp(argv[i], "--"); i++) {
		char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (*arg_cnt + 2 >= MAX_ARGS)
			return false;
		if (!strcmp(argv[i], "--every") && value)
			check.every = strtoul(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--samples") && value)
			check.samples = strtoull(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--seconds") && value)
			check.seconds = strtod(argv[++i], NULL);
		else if (!strcmp(argv[i], "--return-probe") && value &&
			 place_return_probe(argv[++i]))
			continue;
		else if (!strcmp(argv[i], "--min-percent") && value)
			check.min_percent = strtod(argv[++i], NULL);
		else if (!strcmp(argv[i], "--min-complete") && value)
			check.min_complete = strtod(argv[++i], NULL);
		else if (!strcmp(argv[i], "--min-recalled") && value)
			check.min_recalled = strtod(argv[++i], NULL);
		else
			args[(*arg_cnt)++] = argv[i];
	}
	for (; i < argc && *arg_cnt + 1 < MAX_ARGS; i++)
		args[(*arg_cnt)++] = argv[i];
	args[*arg_cnt] = NULL;
	return check.every && check.samples && i == argc;
}

static bool begin(const struct options *opts)
{
	check.agent = agent__new(opts);
	if (!check.agent)
		return false;
	check.compare = compare__new(check.agent);
	check.ring = ring_buffer__new(bpf_map__fd(check.agent->tracer->skel->maps.truth_samples),
				      take_sample, NULL, NULL);
	if (!check.compare || !check.ring) {
		perror("check_stacks");
		return false;
	}
	check.agent->tracer->skel->data->truth_every = check.every;
	allow_samples();
	return true;
}

/* Judges; says why not, if not. */
static bool is_good(void)
{
	const struct compare_counts *counts = compare__counts(check.compare);
	double percent = counts->complete ? 100.0 * counts->equal / counts->complete : 0;
	double complete = counts->stacks ? 100.0 * (counts->complete + counts->cut) / counts->stacks
					 : 0;

	if (counts->complete < check.samples)
		printf("too few: %llu complete stacks were to come\n",
		       (unsigned long long)check.samples);
	else if (percent < check.min_percent)
		printf("wrong: %.2f %% of the complete stacks are equal\n", percent);
	else if (counts->wrong_part && check.min_percent == 100)
		printf("wrong: incomplete stacks\n");
	else if (complete < check.min_complete)
		printf("too many incomplete: %.2f %% are complete\n", complete);
	else if (100.0 * counts->recalled < check.min_recalled * counts->complete)
		printf("too few: %llu stacks were not walked anew\n",
		       (unsigned long long)counts->recalled);
	else
		return true;
	return false;
}

static int finish(void)
{
	uint64_t unplaced = check.agent->tracer->skel->bss->truth_lost_cnt;
	uint64_t lost = mapping_log__lost_cnt(check.agent->mappings);
	bool good = is_good();

	if (unplaced)
		printf("%llu samples found no room\n", (unsigned long long)unplaced);
	if (lost)
		printf("%llu mappings of the host were not seen\n", (unsigned long long)lost);
	compare__print(check.compare);
	if (good)
		return EXIT_DONE;
	return lost ? EXIT_TRY_AGAIN : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	static struct options opts;
	char *args[MAX_ARGS];
	int arg_cnt = 0, code;

	if (!parse(argc, argv, args, &arg_cnt)) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (options__parse(&opts, arg_cnt, args) != OPTIONS_RUN)
		return EXIT_USAGE;
	opts.format = &compare_format;
	if (!begin(&opts))
		return EXIT_FAILED;
	/* What the host has mapped meanwhile is in the way. */
	mapping_log__drain(check.agent->mappings);
	agent__run(check.agent);
	code = finish();
	ring_buffer__free(check.ring);
	compare__free(check.compare);
	agent__free(check.agent);
	return code;
}
