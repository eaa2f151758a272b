/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * The table, how each row takes its argument, and argp as the engine that
 * splits the command line.
 *
 * argp neither prints help nor exits here. What it leaves to getopt (unknown
 * and ambiguous options, missing arguments) getopt says on stderr in the form
 * "unfreed: ...", as it is shown that name in argv[0]; everything else is said
 * by complain(). So each bad usage gives one line, and one more that names
 * --help.
 */
#include "cli/options.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/parse.h"
#include "cli/usage.h"
#include "render/emit.h"
#include "render/render.h"

#define MAX_ROWS      48
#define MAX_COMPLAINT 400 /* columns of a message; longer is cut */
#define MAX_PID_TEXT  24
#define MAX_COST_SAMPLE (512u << 10) /* bytes, if --max-cost samples and --sample does not say */
#define GROUP_TOP     3   /* sites of each group, if --top does not say */

/* Keys of options without a letter. */
enum {
	KEY_FOLLOW = 256,
	KEY_MMAP,
	KEY_POOLS,
	KEY_PER_PROCESS,
	KEY_GROUP,
	KEY_PREFIX,
	KEY_MAX_COST,
	KEY_MAX_BLOCKS,
	KEY_MAX_SITES,
	KEY_ATTACH,
	KEY_STACK,
	KEY_CONTAINER,
	KEY_CGROUP,
	KEY_COMM,
	KEY_GATE,
	KEY_USAGE,
	KEY_MAN,
};

/* One line on stderr, safe to print. Returns EINVAL, which stops argp. */
__attribute__((format(printf, 1, 2))) static int complain(const char *format, ...)
{
	char text[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fputs("unfreed: ", stderr);
	emit__text(stderr, text, MAX_COMPLAINT);
	putc('\n', stderr);
	return EINVAL;
}

static void *field_of(const struct option_row *row, struct options *opts)
{
	return (char *)opts + row->field;
}

/* A limit of a row; what it says must parse, or otherwise stands (a unit test looks at each). */
static uint64_t limit_of(const struct option_row *row, const char *text, uint64_t otherwise)
{
	uint64_t value = otherwise;

	if (text)
		row->number->parse(text, 0, UINT64_MAX, &value);
	return value;
}

static int parse_number(const struct option_row *row, const char *arg, uint64_t most, uint64_t *out)
{
	uint64_t min = limit_of(row, row->min, 0), max = limit_of(row, row->max, most);
	int err = row->number->parse(arg, min, max, out);

	if (!err)
		return 0;
	if (err == -EINVAL)
		return complain("--%s: '%s' is not %s", row->name, arg, row->number->what);
	return complain("--%s: '%s' is out of range: %s to %s", row->name, arg,
			row->min ? row->min : "0", row->max ? row->max : "2^64 - 1");
}

static int set_u64(const struct option_row *row, struct options *opts, const char *arg)
{
	return parse_number(row, arg, UINT64_MAX, field_of(row, opts));
}

static int set_u32(const struct option_row *row, struct options *opts, const char *arg)
{
	uint64_t value;
	int err = parse_number(row, arg, UINT32_MAX, &value);

	if (!err)
		*(uint32_t *)field_of(row, opts) = (uint32_t)value;
	return err;
}

/* 0, or within the limits. */
static int set_sample(const struct option_row *row, struct options *opts, const char *arg)
{
	opts->has_sample = true;
	if (strcmp(arg, "0") != 0)
		return set_u64(row, opts, arg);
	opts->sample_bytes = 0;
	return 0;
}

static int set_interval(const struct option_row *row, struct options *opts, const char *arg)
{
	opts->has_interval = true;
	return set_u64(row, opts, arg);
}

static int set_top(const struct option_row *row, struct options *opts, const char *arg)
{
	opts->has_top = true;
	return set_u32(row, opts, arg);
}

static int set_true(const struct option_row *row, struct options *opts, const char *arg)
{
	(void)arg;
	*(bool *)field_of(row, opts) = true;
	return 0;
}

static int set_string(const struct option_row *row, struct options *opts, const char *arg)
{
	*(const char **)field_of(row, opts) = arg;
	return 0;
}

static int set_output(const struct option_row *row, struct options *opts, const char *arg)
{
	if (!*arg)
		return complain("--%s: the file's name is empty", row->name);
	opts->output_path = arg;
	return 0;
}

static int set_louder(const struct option_row *row, struct options *opts, const char *arg)
{
	(void)row;
	(void)arg;
	opts->verbosity++;
	return 0;
}

static int set_quieter(const struct option_row *row, struct options *opts, const char *arg)
{
	(void)row;
	(void)arg;
	opts->verbosity--;
	return 0;
}

static int add_pid(const struct option_row *row, struct options *opts, pid_t pid)
{
	for (uint32_t i = 0; i < opts->pid_cnt; i++) {
		if (opts->pids[i] == pid)
			return 0;
	}
	if (opts->pid_cnt == OPTIONS_MAX_PIDS)
		return complain("--%s: more than %d processes", row->name, OPTIONS_MAX_PIDS);
	opts->pids[opts->pid_cnt++] = pid;
	return 0;
}

/* "12,345" */
static int set_pids(const struct option_row *row, struct options *opts, const char *arg)
{
	for (;;) {
		size_t len = strcspn(arg, ",");
		char text[MAX_PID_TEXT];
		uint64_t pid;
		int err;

		snprintf(text, sizeof(text), "%.*s", (int)(len < INT_MAX ? len : INT_MAX), arg);
		if (len >= sizeof(text) || parse__uint(text, 1, INT_MAX, &pid) != 0)
			return complain("--%s: '%s' is not a process id (a number from 1 to %d)",
					row->name, text, INT_MAX);
		err = add_pid(row, opts, (pid_t)pid);
		if (err || !arg[len])
			return err;
		arg += len + 1;
	}
}

static int set_object(const struct option_row *row, struct options *opts, const char *arg)
{
	if (!*arg)
		return complain("--%s: the file's name is empty", row->name);
	if (opts->object_cnt == OPTIONS_MAX_OBJECTS)
		return complain("--%s: more than %d files", row->name, OPTIONS_MAX_OBJECTS);
	opts->objects[opts->object_cnt++] = arg;
	return 0;
}

/* Appends to a list of names. */
static int add_name(const struct option_row *row, const char **names, uint32_t *cnt,
		    const char *arg)
{
	if (!*arg)
		return complain("--%s: the name is empty", row->name);
	if (*cnt == OPTIONS_MAX_NAMES)
		return complain("--%s: more than %d names", row->name, OPTIONS_MAX_NAMES);
	names[(*cnt)++] = arg;
	return 0;
}

static int set_comm(const struct option_row *row, struct options *opts, const char *arg)
{
	return add_name(row, opts->comms, &opts->comm_cnt, arg);
}

static int set_cgroup(const struct option_row *row, struct options *opts, const char *arg)
{
	return add_name(row, opts->cgroups, &opts->cgroup_cnt, arg);
}

static int set_container(const struct option_row *row, struct options *opts, const char *arg)
{
	return add_name(row, opts->containers, &opts->container_cnt, arg);
}

/* Index of arg among the row's choices, or -1 after saying what they are. */
static int find_choice(const struct option_row *row, const char *arg)
{
	char names[256] = "";

	for (uint32_t i = 0; row->choice(i); i++) {
		size_t used = strlen(names);

		if (strcmp(row->choice(i), arg) == 0)
			return (int)i;
		snprintf(names + used, sizeof(names) - used, "%s%s", i ? ", " : "", row->choice(i));
	}
	complain("--%s: unknown %s '%s': one of %s", row->name, row->name, arg, names);
	return -1;
}

static const char *sort_name(uint32_t index)
{
	static const char *const names[] = {
		[SORT_SIZE] = "size",
		[SORT_COUNT] = "count",
		[SORT_GROWTH] = "growth",
		[SORT_AGE] = "age",
	};

	return index < sizeof(names) / sizeof(names[0]) ? names[index] : NULL;
}

static const char *grouping_name(uint32_t index)
{
	static const char *const names[] = {
		[BY_SITE] = "site",
		[BY_PROCESS] = "process",
		[BY_SERVICE] = "service",
		[BY_CONTAINER] = "container",
	};

	return index < sizeof(names) / sizeof(names[0]) ? names[index] : NULL;
}

static const char *attach_name(uint32_t index)
{
	static const char *const names[] = {
		[ATTACH_AUTO] = "auto",
		[ATTACH_SESSION] = "session",
		[ATTACH_MULTI] = "multi",
		[ATTACH_PERF] = "perf",
	};

	return index < sizeof(names) / sizeof(names[0]) ? names[index] : NULL;
}

static const char *pools_name(uint32_t index)
{
	static const char *const names[] = {
		[POOLS_AUTO] = "auto",
		[POOLS_ON] = "on",
		[POOLS_OFF] = "off",
	};

	return index < sizeof(names) / sizeof(names[0]) ? names[index] : NULL;
}

static const char *stack_mode_name(uint32_t index)
{
	static const char *const names[] = {
		[UF_STACK_AUTO] = "auto",
		[UF_STACK_DWARF] = "dwarf",
		[UF_STACK_FP] = "fp",
	};

	return index < sizeof(names) / sizeof(names[0]) ? names[index] : NULL;
}

/* For fields of an enumeration type (an int) whose names row->choice has. */
static int set_choice(const struct option_row *row, struct options *opts, const char *arg)
{
	int choice = find_choice(row, arg);

	if (choice < 0)
		return EINVAL;
	*(int *)field_of(row, opts) = choice;
	return 0;
}

/* The table of formats ends with a NULL name itself. */
static const char *format_name(uint32_t index)
{
	return render_formats[index].name;
}

static int set_format(const struct option_row *row, struct options *opts, const char *arg)
{
	int choice = find_choice(row, arg);

	if (choice < 0)
		return EINVAL;
	opts->format = &render_formats[choice];
	return 0;
}

static const struct number_syntax number = { parse__uint, "a number" };
static const struct number_syntax count = { parse__count, "a count, like 5000, 64K or 1M" };
static const struct number_syntax duration = { parse__duration_ns,
					       "a duration, like 500ms, 30s or 5m" };
static const struct number_syntax percent = { parse__percent, "a percentage, like 2%" };
static const struct number_syntax size = { parse__size_bytes, "a size, like 512, 64K or 1M" };

/* These print, which needs the table. */
static int print_help(const struct option_row *row, struct options *opts, const char *arg);
static int print_usage(const struct option_row *row, struct options *opts, const char *arg);
static int print_version(const struct option_row *row, struct options *opts, const char *arg);
static int print_man(const struct option_row *row, struct options *opts, const char *arg);

#define FIELD(name) .field = offsetof(struct options, name)

/* clang-format off */
static const struct option_row table[] = {
	{ 'p', "pid", "PID[,PID...]", GROUP_TARGET, set_pids,
	  .help = "these running processes; may be repeated" },
	{ KEY_FOLLOW, "follow", NULL, GROUP_TARGET, set_true, FIELD(follow),
	  .help = "child processes too, those there already and those to come" },
	{ KEY_GATE, "gate", NULL, GROUP_TARGET, set_true, FIELD(gate),
	  .help = "start the command with libunfreed-gate.so preloaded, which samples inside the "
		  "process: next to no cost, estimates instead of exact counts" },
	{ KEY_COMM, "comm", "NAME", GROUP_TARGET, set_comm,
	  .help = "processes of this name, as ps -o comm shows it, also those that start later; "
		  "may be repeated" },
	{ KEY_CONTAINER, "container", "NAME", GROUP_TARGET, set_container,
	  .help = "processes in the container of this name or id, also those that start later: "
		  "Docker's, Kubernetes' ([NAMESPACE/]POD/NAME), podman's, LXC's, runc's and others; may be repeated" },
	{ KEY_CGROUP, "cgroup", "PATH", GROUP_TARGET, set_cgroup,
	  .help = "processes in this control group or one below it, also those that start later; "
		  "may be repeated" },
	{ 'K', "kernel", NULL, GROUP_TARGET, set_true, FIELD(kernel),
	  .help = "the kernel's own memory, by its own stacks: slab objects, pages, per-CPU memory; "
		  "with -p only what is allocated while these processes run" },

	{ 'i', "interval", "DUR", GROUP_REPORT, set_interval, FIELD(interval_ns), &duration,
	  .min = "10ms", .max = "365d", .standard = "5s", .help = "time between reports" },
	{ 'n', "count", "N", GROUP_REPORT, set_u64, FIELD(count), &number,
	  .min = "1", .help = "end after this many reports; without it there is no limit" },
	{ 'd', "duration", "DUR", GROUP_REPORT, set_u64, FIELD(duration_ns), &duration,
	  .min = "1ms", .max = "365d",
	  .help = "end after this time; without it there is no limit" },
	{ 'T', "top", "N", GROUP_REPORT, set_top, FIELD(top), &number,
	  .min = "1", .max = "1000000", .standard = "10",
	  .help = "sites shown; with --group, of each group, and 3 if not given" },
	{ 'S', "sort", "KEY", GROUP_REPORT, set_choice, FIELD(sort), .choice = sort_name,
	  .standard = "size", .help = "largest first by" },
	{ KEY_GROUP, "group", "KEY", GROUP_REPORT, set_choice, FIELD(grouping),
	  .choice = grouping_name, .standard = "site",
	  .help = "what the report is divided by, each with its own numbers and sites; a service is "
		  "an executable in a control group. One of" },
	{ KEY_PER_PROCESS, "per-process", NULL, GROUP_REPORT, set_true, FIELD(per_process),
	  .help = "each process's sites by themselves; otherwise those of processes that run the same "
		  "executable are one where the code is" },
	{ 'f', "format", "NAME", GROUP_REPORT, set_format, .choice = format_name,
	  .standard = "text", .help = "form of the reports" },

	{ KEY_MMAP, "mmap", NULL, GROUP_FILTER, set_true, FIELD(mmap),
	  .help = "also memory that the program itself maps: anonymous mmap, mremap, brk; without it "
		  "only what comes from the allocator" },
	{ KEY_POOLS, "pools", "WHEN", GROUP_FILTER, set_choice, FIELD(pools), .choice = pools_name,
	  .standard = "auto",
	  .help = "Python's objects of up to 512 bytes, by pools: to tell who holds one each malloc and "
		  "free is looked at, so auto means off behind libunfreed-gate.so, and on without it" },
	{ 'o', "older", "DUR", GROUP_FILTER, set_u64, FIELD(older_ns), &duration,
	  .min = "0", .max = "365d", .standard = "0", .help = "only blocks at least this old" },
	{ 'z', "min-size", "SIZE", GROUP_FILTER, set_u64, FIELD(min_size_bytes), &size,
	  .standard = "0", .help = "only allocations of at least this size" },
	{ 'Z', "max-size", "SIZE", GROUP_FILTER, set_u64, FIELD(max_size_bytes), &size,
	  .help = "only allocations of at most this size" },
	{ 's', "sample", "SIZE", GROUP_FILTER, set_sample, FIELD(sample_bytes), &size,
	  .min = "1K", .max = "256M", .standard = "0",
	  .help = "record one allocation in SIZE bytes on average, chosen by chance, which costs "
		  "less, and report estimates with 95% ranges; 0 records every one" },
	{ KEY_MAX_COST, "max-cost", "PERCENT", GROUP_FILTER, set_u32, FIELD(max_cost_ppm), &percent,
	  .min = "1%", .max = "100%",
	  .help = "take no more than this share of one CPU from what is traced, on average; samples, "
		  "512K if --sample does not say, and takes the probes out for some of the time" },
	{ KEY_MAX_BLOCKS, "max-blocks", "N", GROUP_FILTER, set_u32, FIELD(max_blocks), &count,
	  .min = "16", .max = "1G", .standard = "1M",
	  .help = "live blocks kept at a time; what is past that is counted as lost" },
	{ KEY_MAX_SITES, "max-sites", "N", GROUP_FILTER, set_u32, FIELD(max_sites), &count,
	  .min = "16", .max = "1M", .standard = "32K",
	  .help = "sites kept; what is past that is counted as lost" },

	{ 'w', "write", "FILE", GROUP_FILES, set_output,
	  .help = "write the reports to this file instead of standard output" },
	{ 'O', "object", "PATH", GROUP_FILES, set_object,
	  .help = "look for allocator functions in this file; may be repeated" },
	{ KEY_PREFIX, "prefix", "STR", GROUP_FILES, set_string, FIELD(prefix), .standard = "",
	  .help = "their names start with this, as in je_malloc" },

	{ KEY_STACK, "stack", "HOW", GROUP_OTHER, set_choice, FIELD(stack_mode),
	  .choice = stack_mode_name, .standard = "auto",
	  .help = "how stacks are walked: by unwind tables (dwarf), by frame pointers (fp), or by "
		  "tables with frame pointers for code that has none (auto)" },
	{ KEY_ATTACH, "attach", "HOW", GROUP_OTHER, set_choice, FIELD(attach),
	  .choice = attach_name, .standard = "auto",
	  .help = "how the probes are attached, where the kernel offers several ways" },
	{ 'q', "quiet", NULL, GROUP_OTHER, set_quieter, .help = "say less; may be repeated" },
	{ 'v', "verbose", NULL, GROUP_OTHER, set_louder, .help = "say more; may be repeated" },
	{ 'V', "version", NULL, GROUP_OTHER, print_version, .help = "print the version" },
	{ 'h', "help", NULL, GROUP_OTHER, print_help, .help = "print this" },
	{ KEY_USAGE, "usage", NULL, GROUP_OTHER, print_usage,
	  .help = "print only the usage lines" },
	{ KEY_MAN, "man", NULL, GROUP_HIDDEN, print_man, .help = "print the man page (roff)" },
	{ .name = NULL },
};
/* clang-format on */

#define ROW_CNT (sizeof(table) / sizeof(table[0]))
_Static_assert(ROW_CNT <= MAX_ROWS, "build_argp_options has no room");

/* ECANCELED stops argp without an error having been made. */

static int print_help(const struct option_row *row, struct options *opts, const char *arg)
{
	(void)row;
	(void)opts;
	(void)arg;
	usage__help(stdout, table);
	return ECANCELED;
}

static int print_usage(const struct option_row *row, struct options *opts, const char *arg)
{
	(void)row;
	(void)opts;
	(void)arg;
	usage__short(stdout);
	return ECANCELED;
}

static int print_version(const struct option_row *row, struct options *opts, const char *arg)
{
	(void)row;
	(void)opts;
	(void)arg;
	puts("unfreed " UNFREED_VERSION);
	return ECANCELED;
}

static int print_man(const struct option_row *row, struct options *opts, const char *arg)
{
	(void)row;
	(void)opts;
	(void)arg;
	usage__man(stdout, table);
	return ECANCELED;
}

/* What the callback of argp needs. */
struct parse_run {
	struct options *opts;
	char **argv; /* main's own */
};

/* An argument that is no option's: fine only after --, where it starts the command. */
static int take_operand(struct parse_run *run, struct argp_state *state, const char *arg)
{
	if (!state->quoted)
		return complain("unexpected argument '%s': "
				"to trace a command write 'unfreed -- %s ...'",
				arg, arg);
	run->opts->command = run->argv + state->next - 1;
	state->next = state->argc;
	return 0;
}

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
	struct parse_run *run = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->err_stream = NULL; /* argp's own "Try ..." says too much */
		return 0;
	case ARGP_KEY_ARG:
		return take_operand(run, state, arg);
	case ARGP_KEY_END:
		if (state->quoted && !run->opts->command)
			return complain("no command after '--'");
		return 0;
	}
	for (const struct option_row *row = table; row->name; row++) {
		if (row->key == key)
			return row->set(row, run->opts, arg);
	}
	return ARGP_ERR_UNKNOWN;
}

static void build_argp_options(struct argp_option rows[MAX_ROWS])
{
	memset(rows, 0, MAX_ROWS * sizeof(*rows));
	for (size_t i = 0; table[i].name; i++) {
		rows[i].name = table[i].name;
		rows[i].key = table[i].key;
		rows[i].arg = table[i].arg;
		rows[i].doc = "";
	}
}

static void set_defaults(struct options *opts)
{
	memset(opts, 0, sizeof(*opts));
	opts->max_size_bytes = UINT64_MAX;
	for (const struct option_row *row = table; row->name; row++) {
		if (row->standard)
			row->set(row, opts, row->standard);
	}
	opts->has_interval = opts->has_top = opts->has_sample = false;
}

/* argp over a copy of argv that starts with "unfreed", whatever the program was called by. */
static int run_argp(struct options *opts, int argc, char **argv)
{
	struct argp_option rows[MAX_ROWS];
	struct argp argp = { .options = rows, .parser = parse_one };
	struct parse_run run = { .opts = opts, .argv = argv };
	char name[] = "unfreed";
	char **copy = calloc((size_t)argc + 2, sizeof(*copy)); /* 2: argc may be 0 */
	int err;

	if (!copy)
		return complain("%s", strerror(ENOMEM));
	if (argc > 0)
		memcpy(copy, argv, (size_t)argc * sizeof(*copy));
	copy[0] = name;
	build_argp_options(rows);
	err = argp_parse(&argp, argc > 0 ? argc : 1, copy,
			 ARGP_IN_ORDER | ARGP_NO_EXIT | ARGP_NO_HELP, NULL, &run);
	if (err == ENOMEM)
		complain("%s", strerror(err));
	free(copy);
	return err;
}

/* An option given that means nothing for the kernel's own memory; NULL: none. */
static const char *kernel_excludes(const struct options *opts)
{
	const struct {
		bool is_given;
		const char *name;
	} others[] = {
		{opts->command, "a command"},
		{opts->follow, "--follow"},
		{opts->mmap, "--mmap"},
		{opts->pools != POOLS_AUTO, "--pools"},
		{opts->comm_cnt, "--comm"},
		{opts->cgroup_cnt, "--cgroup"},
		{opts->container_cnt, "--container"},
		{opts->per_process, "--per-process"},
		{opts->grouping != BY_SITE, "--group"},
		{opts->object_cnt, "--object"},
		{*opts->prefix, "--prefix"},
		{opts->max_cost_ppm, "--max-cost"},
		{opts->sample_bytes, "--sample"},
		{opts->stack_mode != UF_STACK_AUTO, "--stack"},
		{opts->attach != ATTACH_AUTO, "--attach"},
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (others[i].is_given)
			return others[i].name;
	return NULL;
}

/* What only the whole command line shows. */
static int check(struct options *opts)
{
	if (opts->pid_cnt && opts->command)
		return complain("-p and a command: give one of them");
	if (opts->min_size_bytes > opts->max_size_bytes)
		return complain("--min-size is greater than --max-size: nothing is of such a size");
	if ((opts->pid_cnt || opts->command) &&
	    (opts->comm_cnt || opts->cgroup_cnt || opts->container_cnt))
		return complain("%s and --%s: give one of them", opts->command ? "a command" : "-p",
				opts->comm_cnt	   ? "comm"
				: opts->cgroup_cnt ? "cgroup"
						   : "container");
	if (opts->gate && !opts->command)
		return complain("--gate: starts a command: 'unfreed --gate -- COMMAND ...'; a process "
				"that was started with it (LD_PRELOAD) needs only -p");
	if (opts->gate && opts->has_sample && !opts->sample_bytes)
		return complain("--gate and --sample 0: only samples come through the gate");
	if (opts->gate && (opts->object_cnt || *opts->prefix))
		return complain("--gate and --%s: give one of them", opts->object_cnt ? "object" : "prefix");
	if (opts->kernel && kernel_excludes(opts))
		return complain("--kernel and %s: give one of them; --kernel takes -p",
				kernel_excludes(opts));
	if (opts->max_cost_ppm && opts->mmap)
		return complain("--max-cost and --mmap: give one of them; what is mapped while the "
				"probes are paused would be shown wrongly");
	if (opts->max_cost_ppm && !opts->sample_bytes)
		opts->sample_bytes = MAX_COST_SAMPLE;
	if (opts->grouping != BY_SITE && !opts->has_top)
		opts->top = GROUP_TOP;
	opts->whole_host = !opts->pid_cnt && !opts->command;
	opts->follow |= opts->whole_host;
	return 0;
}

enum options_result options__parse(struct options *opts, int argc, char **argv)
{
	int err;

	set_defaults(opts);
	err = run_argp(opts, argc, argv);
	if (err == ECANCELED)
		return OPTIONS_DONE;
	if (!err)
		err = check(opts);
	if (err) {
		fputs("Try 'unfreed --help'\n", stderr);
		return OPTIONS_BAD;
	}
	return OPTIONS_RUN;
}
