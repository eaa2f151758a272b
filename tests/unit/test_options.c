/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "cli/options.h"

#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "render/render.h"

/*
 * Goal of this test: every option does what the command line in DESIGN says,
 * every bad usage gives exactly one line that says what was wrong, one that
 * names --help, and never an exit of argp's own.
 */

#define MAX_ARGS 8
#define TRY      "Try 'unfreed --help'\n"
#define TARGET   "give processes with -p PID or a command with -- COMMAND"

static struct options opts;
static char out_text[32768], err_text[8192];

static void read_back(FILE *file, int fd, int saved, char *buf, size_t size)
{
	size_t len;

	dup2(saved, fd);
	close(saved);
	rewind(file);
	len = fread(buf, 1, size - 1, file);
	buf[len] = '\0';
	fclose(file);
}

/* options__parse with what it writes to both streams caught. argv ends with NULL. */
static enum options_result parse(char **argv)
{
	FILE *out = tmpfile(), *err = tmpfile();
	int saved_out = dup(1), saved_err = dup(2), argc = 0;
	enum options_result result;

	ck_assert(out && err && saved_out >= 0 && saved_err >= 0);
	fflush(NULL);
	dup2(fileno(out), 1);
	dup2(fileno(err), 2);
	while (argv[argc])
		argc++;
	result = options__parse(&opts, argc, argv);
	fflush(NULL);
	read_back(out, 1, saved_out, out_text, sizeof(out_text));
	read_back(err, 2, saved_err, err_text, sizeof(err_text));
	return result;
}

#define PARSE(...) parse((char *[]){ "unfreed", __VA_ARGS__, NULL })

static void check_run(enum options_result result)
{
	ck_assert_str_eq(err_text, "");
	ck_assert_str_eq(out_text, "");
	ck_assert_int_eq(result, OPTIONS_RUN);
}

START_TEST(defaults_are_those_of_the_header)
{
	check_run(PARSE("-p", "1"));
	ck_assert(!opts.follow && !opts.mmap && !opts.per_process && !opts.command && !opts.has_interval);
	ck_assert_uint_eq(opts.interval_ns, 5000000000ull);
	ck_assert_uint_eq(opts.count, 0);
	ck_assert_uint_eq(opts.duration_ns, 0);
	ck_assert_uint_eq(opts.older_ns, 0);
	ck_assert_uint_eq(opts.top, 10);
	ck_assert_int_eq(opts.sort, SORT_SIZE);
	ck_assert_int_eq(opts.grouping, BY_SITE);
	ck_assert_uint_eq(opts.min_size_bytes, 0);
	ck_assert_uint_eq(opts.max_size_bytes, UINT64_MAX);
	ck_assert_ptr_eq(opts.format, render_format__find("text"));
	ck_assert_ptr_null(opts.output_path);
	ck_assert_uint_eq(opts.object_cnt, 0);
	ck_assert_str_eq(opts.prefix, "");
	ck_assert_uint_eq(opts.sample_bytes, 0);
	ck_assert_uint_eq(opts.max_blocks, 1 << 20);
	ck_assert_uint_eq(opts.max_sites, 32768);
	ck_assert_int_eq(opts.verbosity, 0);
}
END_TEST

#define U64(field) offsetof(struct options, field), 8
#define U32(field) offsetof(struct options, field), 4
#define ONE(field) offsetof(struct options, field), 1

static const struct {
	char *args[MAX_ARGS];
	size_t offset, size;
	uint64_t value;
} good_numbers[] = {
	{ { "-p1", "--follow" }, ONE(follow), 1 },
	{ { "-p1", "--mmap" }, ONE(mmap), 1 },
	{ { "-p1", "--per-process" }, ONE(per_process), 1 },
	{ { "-p1", "--group", "site" }, U32(grouping), BY_SITE },
	{ { "-p1", "--group=process" }, U32(grouping), BY_PROCESS },
	{ { "-p1", "--group=service" }, U32(grouping), BY_SERVICE },
	{ { "-p1", "--group", "container" }, U32(grouping), BY_CONTAINER },
	{ { "-p1", "--group", "container" }, U32(top), 3 },
	{ { "-p1", "--group", "container", "-T10" }, U32(top), 10 },
	{ { "-p1", "-s", "512K" }, U64(sample_bytes), 512 << 10 },
	{ { "-p1", "-s1024" }, U64(sample_bytes), 1024 },
	{ { "-p1", "--max-cost=2%" }, U64(sample_bytes), 512 << 10 },
	{ { "-p1", "-s1M", "--max-cost=2%" }, U64(sample_bytes), 1 << 20 },
	{ { "-p1", "-s256M" }, U64(sample_bytes), 256 << 20 },
	{ { "-p1", "-s512K", "--sample=0" }, U64(sample_bytes), 0 },
	{ { "-p1", "-i", "10ms" }, U64(interval_ns), 10000000 },
	{ { "-p1", "-i500ms" }, U64(interval_ns), 500000000 },
	{ { "-p1", "-i", "5s" }, ONE(has_interval), 1 },
	{ { "-p1", "--interval", "1.5" }, U64(interval_ns), 1500000000 },
	{ { "-p1", "--interval=365d" }, U64(interval_ns), 31536000000000000ull },
	{ { "-p1", "-i", "1s", "-i", "2s" }, U64(interval_ns), 2000000000 },
	{ { "-p1", "--int=3s" }, U64(interval_ns), 3000000000 },
	{ { "-p1", "-n", "1" }, U64(count), 1 },
	{ { "-p1", "--count=18446744073709551615" }, U64(count), UINT64_MAX },
	{ { "-p1", "-d", "1ms" }, U64(duration_ns), 1000000 },
	{ { "-p1", "--duration", "5m" }, U64(duration_ns), 300000000000ull },
	{ { "-p1", "-d", "365d" }, U64(duration_ns), 31536000000000000ull },
	{ { "-p1", "-o", "0" }, U64(older_ns), 0 },
	{ { "-p1", "--older=100us" }, U64(older_ns), 100000 },
	{ { "-p1", "-T", "1" }, U32(top), 1 },
	{ { "-p1", "--top", "1000000" }, U32(top), 1000000 },
	{ { "-p1", "-S", "size" }, U32(sort), SORT_SIZE },
	{ { "-p1", "-S", "count" }, U32(sort), SORT_COUNT },
	{ { "-p1", "--sort=growth" }, U32(sort), SORT_GROWTH },
	{ { "-p1", "--sort", "age" }, U32(sort), SORT_AGE },
	{ { "-p1", "-z", "64K" }, U64(min_size_bytes), 65536 },
	{ { "-p1", "--min-size=1MiB" }, U64(min_size_bytes), 1 << 20 },
	{ { "-p1", "-Z", "512" }, U64(max_size_bytes), 512 },
	{ { "-p1", "--max-size", "0" }, U64(max_size_bytes), 0 },
	{ { "-p1", "-Z", "18446744073709551615" }, U64(max_size_bytes), UINT64_MAX },
	{ { "-p1", "-z", "1K", "-Z", "1024" }, U64(min_size_bytes), 1024 },
	{ { "-p1", "--max-blocks", "16" }, U32(max_blocks), 16 },
	{ { "-p1", "--max-blocks=1G" }, U32(max_blocks), 1 << 30 },
	{ { "-p1", "--max-blocks", "5000" }, U32(max_blocks), 5000 },
	{ { "-p1", "--max-sites", "16" }, U32(max_sites), 16 },
	{ { "-p1", "--max-sites=1M" }, U32(max_sites), 1 << 20 },
	{ { "-p1", "-v" }, U32(verbosity), 1 },
	{ { "-p1", "-vv", "--verbose" }, U32(verbosity), 3 },
	{ { "-p1", "-q" }, U32(verbosity), UINT32_MAX },
	{ { "-p1", "--quiet", "-v" }, U32(verbosity), 0 },
};

static enum options_result parse_row(char *const args[MAX_ARGS])
{
	char *argv[MAX_ARGS + 2] = { "/usr/local/bin/some-name" };

	memcpy(argv + 1, args, MAX_ARGS * sizeof(*argv));
	return parse(argv);
}

START_TEST(numbers_and_flags_reach_their_fields)
{
	uint64_t value = 0;

	check_run(parse_row(good_numbers[_i].args));
	if (good_numbers[_i].size == 8)
		memcpy(&value, (char *)&opts + good_numbers[_i].offset, 8);
	else if (good_numbers[_i].size == 4)
		value = *(uint32_t *)((char *)&opts + good_numbers[_i].offset);
	else
		value = *(bool *)((char *)&opts + good_numbers[_i].offset);
	ck_assert_uint_eq(value, good_numbers[_i].value);
}
END_TEST

START_TEST(strings_reach_their_fields)
{
	check_run(PARSE("-p1", "-f", "json", "-w", "out.json"));
	ck_assert_ptr_eq(opts.format, render_format__find("json"));
	ck_assert_str_eq(opts.output_path, "out.json");
	check_run(PARSE("-p1", "--format=text", "--write=a b"));
	ck_assert_ptr_eq(opts.format, render_format__find("text"));
	ck_assert_str_eq(opts.output_path, "a b");
	check_run(PARSE("-p1", "-O", "/lib/a.so", "--object", "/lib/b.so", "--prefix", "je_"));
	ck_assert_uint_eq(opts.object_cnt, 2);
	ck_assert_str_eq(opts.objects[0], "/lib/a.so");
	ck_assert_str_eq(opts.objects[1], "/lib/b.so");
	ck_assert_str_eq(opts.prefix, "je_");
	check_run(PARSE("-p1", "--prefix=x"));
	ck_assert_str_eq(opts.prefix, "x");
}
END_TEST

START_TEST(pids_are_kept_in_order_and_once_each)
{
	check_run(PARSE("-p", "30,10,30", "--pid=20", "-p10,2147483647"));
	ck_assert_uint_eq(opts.pid_cnt, 4);
	ck_assert_int_eq(opts.pids[0], 30);
	ck_assert_int_eq(opts.pids[1], 10);
	ck_assert_int_eq(opts.pids[2], 20);
	ck_assert_int_eq(opts.pids[3], 2147483647);
}
END_TEST

/* "1,2,...,cnt" */
static char *pid_list(int cnt)
{
	char *list = malloc((size_t)cnt * 8), *end = list;

	ck_assert_ptr_nonnull(list);
	for (int i = 1; i <= cnt; i++)
		end += sprintf(end, "%s%d", i > 1 ? "," : "", i);
	return list;
}

START_TEST(as_many_pids_as_fit_and_no_more)
{
	char *list = pid_list(OPTIONS_MAX_PIDS), *longer = pid_list(OPTIONS_MAX_PIDS + 1);

	check_run(PARSE("-p", list, "-p", "7"));
	ck_assert_uint_eq(opts.pid_cnt, OPTIONS_MAX_PIDS);
	ck_assert_int_eq(opts.pids[OPTIONS_MAX_PIDS - 1], OPTIONS_MAX_PIDS);
	ck_assert_int_eq(PARSE("-p", longer), OPTIONS_BAD);
	ck_assert_str_eq(err_text, "unfreed: --pid: more than 1024 processes\n" TRY);
	free(list);
	free(longer);
}
END_TEST

START_TEST(as_many_objects_as_fit_and_no_more)
{
	char *argv[OPTIONS_MAX_OBJECTS + 4] = { "unfreed", "-p1" };

	for (int i = 0; i < OPTIONS_MAX_OBJECTS; i++)
		argv[2 + i] = "-Ox";
	check_run(parse(argv));
	ck_assert_uint_eq(opts.object_cnt, OPTIONS_MAX_OBJECTS);
	argv[2 + OPTIONS_MAX_OBJECTS] = "-Ox";
	ck_assert_int_eq(parse(argv), OPTIONS_BAD);
	ck_assert_str_eq(err_text, "unfreed: --object: more than 32 files\n" TRY);
}
END_TEST

START_TEST(a_command_points_into_argv_and_keeps_its_options)
{
	char *argv[] = { "unfreed", "-v", "--follow", "--", "cmd",
			 "-x", "--help", "--", "y", NULL };

	check_run(parse(argv));
	ck_assert_ptr_eq(opts.command, argv + 4);
	ck_assert_ptr_null(opts.command[5]);
	ck_assert_str_eq(opts.command[1], "-x");
	ck_assert_str_eq(argv[0], "unfreed");
	ck_assert(opts.follow);
	ck_assert_int_eq(opts.verbosity, 1);
	ck_assert_uint_eq(opts.pid_cnt, 0);
}
END_TEST

START_TEST(a_command_may_be_called_two_dashes)
{
	char *argv[] = { "unfreed", "--", "--", NULL };

	check_run(parse(argv));
	ck_assert_ptr_eq(opts.command, argv + 2);
}
END_TEST

#define RANGE(option, text, range) \
	"--" option ": '" text "' is out of range: " range
#define NOT_DUR(option, text) \
	"--" option ": '" text "' is not a duration, like 500ms, 30s or 5m"
#define NOT_SIZE(option, text) \
	"--" option ": '" text "' is not a size, like 512, 64K or 1M"
#define NOT_KERNEL(what) "--kernel and " what ": give one of them; --kernel takes -p"
#define NOT_COUNT(option, text) \
	"--" option ": '" text "' is not a count, like 5000, 64K or 1M"
#define NOT_PID(text) "--pid: '" text "' is not a process id (a number from 1 to 2147483647)"

static const struct {
	char *args[MAX_ARGS];
	const char *message;
} bad[] = {
	{ { "-p1", "--comm", "a" }, "-p and --comm: give one of them" },
	{ { "--cgroup", "a", "--", "b" }, "a command and --cgroup: give one of them" },
	{ { "--comm", "" }, "--comm: the name is empty" },
	{ { "-p", "0" }, NOT_PID("0") },
	{ { "-p", "-5" }, NOT_PID("-5") },
	{ { "-p", "" }, NOT_PID("") },
	{ { "-p", "12x" }, NOT_PID("12x") },
	{ { "-p", "1,,2" }, NOT_PID("") },
	{ { "-p", "1," }, NOT_PID("") },
	{ { "-p", ",1" }, NOT_PID("") },
	{ { "-p", "1, 2" }, NOT_PID(" 2") },
	{ { "-p", "2147483648" }, NOT_PID("2147483648") },
	{ { "-p", "00000000000000000000001234" }, NOT_PID("00000000000000000000001") },
	{ { "-p1", "-i", "9ms" }, RANGE("interval", "9ms", "10ms to 365d") },
	{ { "-p1", "-i", "0" }, RANGE("interval", "0", "10ms to 365d") },
	{ { "-p1", "-i", "366d" }, RANGE("interval", "366d", "10ms to 365d") },
	{ { "-p1", "-i", "5x" }, NOT_DUR("interval", "5x") },
	{ { "-p1", "-i", "" }, NOT_DUR("interval", "") },
	{ { "-p1", "-n", "0" }, RANGE("count", "0", "1 to 2^64 - 1") },
	{ { "-p1", "-n", "1K" }, "--count: '1K' is not a number" },
	{ { "-p1", "-n", "-1" }, "--count: '-1' is not a number" },
	{ { "-p1", "-d", "0" }, RANGE("duration", "0", "1ms to 365d") },
	{ { "-p1", "-d", "999us" }, RANGE("duration", "999us", "1ms to 365d") },
	{ { "-p1", "-d", "365.1d" }, RANGE("duration", "365.1d", "1ms to 365d") },
	{ { "-p1", "-d", "x" }, NOT_DUR("duration", "x") },
	{ { "-p1", "-o", "366d" }, RANGE("older", "366d", "0 to 365d") },
	{ { "-p1", "-o", "-1s" }, NOT_DUR("older", "-1s") },
	{ { "-p1", "-T", "0" }, RANGE("top", "0", "1 to 1000000") },
	{ { "-p1", "-T", "1000001" }, RANGE("top", "1000001", "1 to 1000000") },
	{ { "-p1", "-T", "4294967297" }, RANGE("top", "4294967297", "1 to 1000000") },
	{ { "-p1", "-T", "ten" }, "--top: 'ten' is not a number" },
	{ { "-p1", "-S", "bytes" },
	  "--sort: unknown sort 'bytes': one of size, count, growth, age" },
	{ { "-p1", "-S", "siz" }, "--sort: unknown sort 'siz': one of size, count, growth, age" },
	{ { "-p1", "-S", "" }, "--sort: unknown sort '': one of size, count, growth, age" },
	{ { "-p1", "-f", "xml" }, "--format: unknown format 'xml': one of text, json" },
	{ { "-p1", "-f", "JSON" }, "--format: unknown format 'JSON': one of text, json" },
	{ { "-p1", "-z", "1X" }, NOT_SIZE("min-size", "1X") },
	{ { "-p1", "-z", "16777216T" }, RANGE("min-size", "16777216T", "0 to 2^64 - 1") },
	{ { "-p1", "-Z", "-1" }, NOT_SIZE("max-size", "-1") },
	{ { "-p1", "-z", "1025", "-Z", "1K" },
	  "--min-size is greater than --max-size: nothing is of such a size" },
	{ { "-p1", "-w", "" }, "--write: the file's name is empty" },
	{ { "-p1", "-O", "" }, "--object: the file's name is empty" },
	{ { "-p1", "--max-blocks", "15" }, RANGE("max-blocks", "15", "16 to 1G") },
	{ { "-p1", "--max-blocks", "1073741825" },
	  RANGE("max-blocks", "1073741825", "16 to 1G") },
	{ { "-p1", "--max-blocks", "1KB" }, NOT_COUNT("max-blocks", "1KB") },
	{ { "-p1", "--max-sites", "15" }, RANGE("max-sites", "15", "16 to 1M") },
	{ { "-p1", "--max-sites", "1048577" }, RANGE("max-sites", "1048577", "16 to 1M") },
	{ { "-p1", "--max-sites", "1e3" }, NOT_COUNT("max-sites", "1e3") },
	{ { "-p1", "-s", "1000" }, "--sample: '1000' is out of range: 1K to 256M" },
	{ { "-p1", "--sample=257M" }, "--sample: '257M' is out of range: 1K to 256M" },
	{ { "-p1", "--max-cost", "2" }, "--max-cost: '2' is not a percentage, like 2%" },
	{ { "-p1", "--max-cost", "%" }, "--max-cost: '%' is not a percentage, like 2%" },
	{ { "-p1", "--max-cost", "-1%" }, "--max-cost: '-1%' is not a percentage, like 2%" },
	{ { "-p1", "--max-cost", "0.9%" }, "--max-cost: '0.9%' is out of range: 1% to 100%" },
	{ { "-p1", "--max-cost", "101%" }, "--max-cost: '101%' is out of range: 1% to 100%" },
	{ { "-p1", "--max-cost", "2%", "--mmap" },
	  "--max-cost and --mmap: give one of them; what is mapped while the probes are paused would "
	  "be shown wrongly" },
	{ { "-K", "--max-cost", "2%" }, NOT_KERNEL("--max-cost") },
	{ { "-p1", "-s", "often" }, "--sample: 'often' is not a size, like 512, 64K or 1M" },
	{ { "-K", "-s", "512K" }, NOT_KERNEL("--sample") },
	{ { "-K", "--", "cmd" }, NOT_KERNEL("a command") },
	{ { "-K", "--follow" }, NOT_KERNEL("--follow") },
	{ { "-K", "--comm", "x" }, NOT_KERNEL("--comm") },
	{ { "-K", "--cgroup", "/" }, NOT_KERNEL("--cgroup") },
	{ { "-K", "--container", "x" }, NOT_KERNEL("--container") },
	{ { "-K", "--per-process" }, NOT_KERNEL("--per-process") },
	{ { "-K", "-O", "x" }, NOT_KERNEL("--object") },
	{ { "-K", "--prefix", "je_" }, NOT_KERNEL("--prefix") },
	{ { "-K", "--stack", "fp" }, NOT_KERNEL("--stack") },
	{ { "-K", "--attach", "perf" }, NOT_KERNEL("--attach") },
	{ { "-p1", "--container", "web" }, "-p and --container: give one of them" },
	{ { "-p1", "--", "cmd" }, "-p and a command: give one of them" },
	{ { "--" }, "no command after '--'" },
	{ { "-p1", "--" }, "no command after '--'" },
	{ { "foo" }, "unexpected argument 'foo': to trace a command write 'unfreed -- foo ...'" },
	{ { "-p1", "foo", "-x" },
	  "unexpected argument 'foo': to trace a command write 'unfreed -- foo ...'" },
	{ { "foo", "--", "cmd" },
	  "unexpected argument 'foo': to trace a command write 'unfreed -- foo ...'" },
	{ { "a\nb\x1b[2J" },
	  "unexpected argument 'a\\x0ab\\x1b[2J': "
	  "to trace a command write 'unfreed -- a\\x0ab\\x1b[2J ...'" },
	{ { "" }, "unexpected argument '': to trace a command write 'unfreed --  ...'" },
	{ { "-?" }, "invalid option -- '?'" },
	{ { "-p1", "-x" }, "invalid option -- 'x'" },
	{ { "-p1", "--nonsense" }, "unrecognized option '--nonsense'" },
	{ { "-p1", "--program-name=x" }, "unrecognized option '--program-name=x'" },
	{ { "-p1", "-i" }, "option requires an argument -- 'i'" },
	{ { "--pid" }, "option '--pid' requires an argument" },
	{ { "-p1", "--follow=1" }, "option '--follow' doesn't allow an argument" },
};

START_TEST(bad_usage_says_why_in_one_line)
{
	char expected[1024];

	ck_assert_int_eq(parse_row(bad[_i].args), OPTIONS_BAD);
	snprintf(expected, sizeof(expected), "unfreed: %s\n" TRY, bad[_i].message);
	ck_assert_str_eq(err_text, expected);
	ck_assert_str_eq(out_text, "");
}
END_TEST

START_TEST(ambiguous_abbreviations_are_refused)
{
	ck_assert_int_eq(PARSE("-p1", "--max=5"), OPTIONS_BAD);
	ck_assert_ptr_eq(strstr(err_text, "unfreed: option '--max=5' is ambiguous"), err_text);
	ck_assert_ptr_nonnull(strstr(err_text, "\n" TRY));
}
END_TEST

START_TEST(no_target_is_the_whole_host)
{
	char *argv[] = { NULL };

	ck_assert_int_eq(parse(argv), OPTIONS_RUN);
	ck_assert(opts.whole_host && opts.follow && !opts.comm_cnt && !opts.cgroup_cnt);
	ck_assert_int_eq(PARSE("--comm", "a", "--cgroup", "/b", "--comm", "c"), OPTIONS_RUN);
	ck_assert(opts.whole_host);
	ck_assert_uint_eq(opts.comm_cnt, 2);
	ck_assert_str_eq(opts.comms[1], "c");
	ck_assert_uint_eq(opts.cgroup_cnt, 1);
	ck_assert_str_eq(opts.cgroups[0], "/b");
	ck_assert_int_eq(PARSE("-p1"), OPTIONS_RUN);
	ck_assert(!opts.whole_host && !opts.follow);
}
END_TEST

START_TEST(a_very_long_argument_is_cut_in_the_message)
{
	char argument[10000];

	memset(argument, 'a', sizeof(argument) - 1);
	argument[sizeof(argument) - 1] = '\0';
	ck_assert_int_eq(PARSE(argument), OPTIONS_BAD);
	ck_assert_uint_lt(strlen(err_text), 500);
	ck_assert_ptr_nonnull(strstr(err_text, "aaa...\n" TRY));
}
END_TEST

START_TEST(version_is_printed_on_stdout)
{
	ck_assert_int_eq(PARSE("--version"), OPTIONS_DONE);
	ck_assert_ptr_eq(strstr(out_text, "unfreed "), out_text);
	ck_assert_ptr_eq(strchr(out_text, '\n'), out_text + strlen(out_text) - 1);
	ck_assert_str_eq(err_text, "");
	ck_assert_int_eq(PARSE("-V"), OPTIONS_DONE);
}
END_TEST

START_TEST(help_ends_the_parsing_and_ends_with_examples)
{
	const char *examples;

	ck_assert_int_eq(PARSE("-h"), OPTIONS_DONE);
	ck_assert_int_eq(PARSE("-p1", "--help", "--nonsense"), OPTIONS_DONE);
	ck_assert_str_eq(err_text, "");
	ck_assert_ptr_eq(strstr(out_text, "Usage: unfreed [options]\n"), out_text);
	examples = strstr(out_text, "\nEXAMPLES\n");
	ck_assert_ptr_nonnull(examples);
	ck_assert_ptr_null(strstr(examples, "\n\n"));
	ck_assert_ptr_nonnull(strstr(out_text, "(10ms to 365d; default 5s)"));
	ck_assert_ptr_nonnull(strstr(out_text, "size, count, growth, age (default size)"));
	ck_assert_ptr_null(strstr(out_text, "--man"));
}
END_TEST

START_TEST(help_keeps_to_100_columns)
{
	ck_assert_int_eq(PARSE("--help"), OPTIONS_DONE);
	for (char *line = strtok(out_text, "\n"); line; line = strtok(NULL, "\n"))
		ck_assert_msg(strlen(line) <= 100, "%s", line);
}
END_TEST

START_TEST(usage_prints_the_synopsis_only)
{
	ck_assert_int_eq(PARSE("--usage"), OPTIONS_DONE);
	ck_assert_str_eq(out_text, "Usage: unfreed [options]\n"
			 "  or:  unfreed [options] -p PID[,PID...]\n"
			 "  or:  unfreed [options] -- COMMAND ARG...\n"
			 "  or:  unfreed [options] --kernel [-p PID[,PID...]]\n");
}
END_TEST

/* "min-size" -> "\-\-min\-size\fR", as the man page has it. */
static void as_roff(const char *name, char *roff)
{
	roff += sprintf(roff, "\\-\\-");
	for (; *name; name++)
		roff += sprintf(roff, *name == '-' ? "\\-" : "%c", *name);
	strcpy(roff, "\\fR");
}

START_TEST(the_man_page_has_each_option_of_the_help)
{
	static char man[sizeof(out_text)];
	char name[64], roff[256];
	int seen = 0;

	ck_assert_int_eq(PARSE("--man"), OPTIONS_DONE);
	strcpy(man, out_text);
	ck_assert_ptr_eq(strstr(man, ".TH UNFREED 8"), man);
	ck_assert_int_eq(PARSE("--help"), OPTIONS_DONE);
	for (char *line = strtok(out_text, "\n"); line; line = strtok(NULL, "\n")) {
		if (sscanf(line, "  -%*c, --%63s", name) != 1 &&
		    sscanf(line, "      --%63s", name) != 1)
			continue;
		as_roff(name, roff);
		ck_assert_msg(strstr(man, roff) != NULL, "%s is missing", name);
		seen++;
	}
	ck_assert_int_eq(seen, 34);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *tcase = tcase_create("options");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, defaults_are_those_of_the_header);
	tcase_add_loop_test(tcase, numbers_and_flags_reach_their_fields, 0,
			    sizeof(good_numbers) / sizeof(good_numbers[0]));
	tcase_add_test(tcase, strings_reach_their_fields);
	tcase_add_test(tcase, pids_are_kept_in_order_and_once_each);
	tcase_add_test(tcase, as_many_pids_as_fit_and_no_more);
	tcase_add_test(tcase, as_many_objects_as_fit_and_no_more);
	tcase_add_test(tcase, a_command_points_into_argv_and_keeps_its_options);
	tcase_add_test(tcase, a_command_may_be_called_two_dashes);
	tcase_add_loop_test(tcase, bad_usage_says_why_in_one_line, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(tcase, ambiguous_abbreviations_are_refused);
	tcase_add_test(tcase, no_target_is_the_whole_host);
	tcase_add_test(tcase, a_very_long_argument_is_cut_in_the_message);
	tcase_add_test(tcase, version_is_printed_on_stdout);
	tcase_add_test(tcase, help_ends_the_parsing_and_ends_with_examples);
	tcase_add_test(tcase, help_keeps_to_100_columns);
	tcase_add_test(tcase, usage_prints_the_synopsis_only);
	tcase_add_test(tcase, the_man_page_has_each_option_of_the_help);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
