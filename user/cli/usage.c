/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */

/*
 * Help text and man page, both from the options table. argp could print the help, but sorts the
 * options by letter, knows no limits or defaults, and obeys an environment variable; an own printer
 * is as short as the hooks for it.
 */
#include "cli/usage.h"

#include <string.h>

#include "snapshot/snapshot.h"

#define LINE_COLUMNS 100
#define HELP_COLUMN  29 /* where the explanations start */
#define MAX_HELP     400 /* bytes of a row's help with its limits; longer is cut */

static const char summary[] =
	"Finds the memory that running processes allocate and never free, without restarting them.";

/* What may follow "unfreed ". */
static const char *const synopses[] = {
	"[options]",
	"[options] -p PID[,PID...]",
	"[options] -- COMMAND ARG...",
	"[options] --kernel [-p PID[,PID...]]",
	NULL,
};

static const char *const group_names[GROUP_CNT] = {
	[GROUP_TARGET] = "What to trace",
	[GROUP_REPORT] = "Reports",
	[GROUP_FILTER] = "Filters and limits",
	[GROUP_FILES] = "Files",
	[GROUP_OTHER] = "Other",
};

static const char *const notes[] = {
	"Without a target every process of the host is traced, those that start later too.",
	"DUR is 100us, 500ms, 30s, 5m, 2h or 1d; a plain number is seconds; 1.5s is fine.",
	"SIZE is 512, 64K, 1M or 2G, powers of 1024; N of --max-blocks and --max-sites likewise.",
	"Reports go to standard output, everything else to standard error.",
	"Python processes: the head of a report says how often their garbage collector ran and how\n"
	"long that took (no times without USDT probes in the interpreter).",
	"With --kernel bytes are what allocations take, pages are counted one by one, and allocations of\n"
	"unfreed itself are left out; with -p the trace goes on when the processes have ended.",
	"Exit status: 0 done, 1 could not, 2 bad usage; or that of a traced command that failed.",
	NULL,
};

/* clang-format off */
static const struct {
	const char *command;
	const char *what;
} examples[] = {
	{ "unfreed -o 5m",
	  "every process of the host: what has been held for five minutes" },
	{ "unfreed -p 4242",
	  "watch a process, a report every 5 seconds" },
	{ "unfreed -p 4242 -o 1m -S growth",
	  "only blocks at least a minute old, fastest growing sites first" },
	{ "unfreed -p 4242 --follow -d 10m",
	  "with its children, for ten minutes" },
	{ "unfreed -p 4242 -i 1h -n 1 -f json -w leaks.json",
	  "one report after an hour, for programs" },
	{ "unfreed -- ./server --port 8080",
	  "a command, from its first instruction" },
	{ "unfreed -K -o 10m",
	  "the kernel: what it has held for ten minutes" },
	{ "unfreed -O /opt/lib/libpool.so --prefix pool_ -p 4242",
	  "an allocator that nobody knows: pool_malloc, pool_free" },
	{ NULL, NULL },
};
/* clang-format on */

/* Appends, cutting what does not fit. */
static void append(char *buf, size_t size, const char *text)
{
	size_t used = strlen(buf);

	snprintf(buf + used, size - used, "%s", text);
}

static void append_choices(char *buf, size_t size, const struct option_row *row)
{
	for (uint32_t i = 0; row->choice(i); i++) {
		append(buf, size, i ? ", " : ": ");
		append(buf, size, row->choice(i));
	}
}

/* A row's help, choices, limits and default: "time between reports (10ms to 365d; default 5s)". */
static void describe(const struct option_row *row, char *buf, size_t size)
{
	const char *opening = " (";

	buf[0] = '\0';
	append(buf, size, row->help);
	if (row->choice)
		append_choices(buf, size, row);
	if (row->min || row->max) {
		append(buf, size, opening);
		append(buf, size, row->max ? "" : "at least ");
		append(buf, size, row->min ? row->min : "0");
		append(buf, size, row->max ? " to " : "");
		append(buf, size, row->max ? row->max : "");
		opening = "; ";
	}
	if (row->standard && *row->standard) {
		append(buf, size, opening);
		append(buf, size, "default ");
		append(buf, size, row->standard);
		opening = "; ";
	}
	append(buf, size, *opening == ';' ? ")" : "");
}

/* Words of text from column on, later lines indented to column; ends the line. */
static void put_wrapped(FILE *out, const char *text, size_t column)
{
	size_t at = column;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (at > column && at + 1 + len > LINE_COLUMNS) {
			fprintf(out, "\n%*s", (int)column, "");
			at = column;
		} else if (at > column) {
			putc(' ', out);
			at++;
		}
		fwrite(text, 1, len, out);
		at += len;
		text += len;
		text += strspn(text, " ");
	}
	putc('\n', out);
}

static void put_help_row(FILE *out, const struct option_row *row)
{
	char help[MAX_HELP];
	int columns;

	if (row->key < 128)
		columns = fprintf(out, "  -%c, --%s", row->key, row->name);
	else
		columns = fprintf(out, "      --%s", row->name);
	if (row->arg)
		columns += fprintf(out, " %s", row->arg);
	if (columns + 2 > HELP_COLUMN) {
		putc('\n', out);
		columns = 0;
	}
	fprintf(out, "%*s", HELP_COLUMN - columns, "");
	describe(row, help, sizeof(help));
	put_wrapped(out, help, HELP_COLUMN);
}

void usage__short(FILE *out)
{
	for (size_t i = 0; synopses[i]; i++)
		fprintf(out, "%s unfreed %s\n", i ? "  or: " : "Usage:", synopses[i]);
}

void usage__help(FILE *out, const struct option_row *table)
{
	usage__short(out);
	fprintf(out, "\n%s\n", summary);
	for (int group = 0; group < GROUP_CNT; group++) {
		fprintf(out, "\n%s:\n", group_names[group]);
		for (const struct option_row *row = table; row->name; row++) {
			if ((int)row->group == group)
				put_help_row(out, row);
		}
	}
	putc('\n', out);
	for (size_t i = 0; notes[i]; i++)
		fprintf(out, "%s\n", notes[i]);
	fputs("\nEXAMPLES\n", out);
	for (size_t i = 0; examples[i].command; i++)
		fprintf(out, "  %s\n      %s\n", examples[i].command, examples[i].what);
}

/* Text of a man page, with what troff would take for its own hidden from it. */
static void put_roff(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else
			putc(*text, out);
	}
}

static void put_man_row(FILE *out, const struct option_row *row)
{
	char help[MAX_HELP];

	fputs(".TP\n\\fB", out);
	if (row->key < 128)
		fprintf(out, "\\-%c\\fR, \\fB", row->key);
	fputs("\\-\\-", out);
	put_roff(out, row->name);
	fputs("\\fR", out);
	if (row->arg) {
		fputs(" \\fI", out);
		put_roff(out, row->arg);
		fputs("\\fR", out);
	}
	putc('\n', out);
	describe(row, help, sizeof(help));
	put_roff(out, help);
	putc('\n', out);
}

static void put_man_head(FILE *out)
{
	fputs(".TH UNFREED 8 \"\" \"unfreed " UNFREED_VERSION "\" \"System Administration\"\n",
	      out);
	fputs(".SH NAME\nunfreed \\- find memory that running processes never free\n", out);
	fputs(".SH SYNOPSIS\n", out);
	for (size_t i = 0; synopses[i]; i++) {
		fputs(i ? ".br\n" : "", out);
		fputs(".B unfreed\n", out);
		put_roff(out, synopses[i]);
		putc('\n', out);
	}
	fputs(".SH DESCRIPTION\n", out);
	put_roff(out, summary);
	fputs("\nIt puts BPF probes on their allocators and reports, for each place that "
	      "allocates,\nwhat is outstanding, how old it is and how it grows.\n",
	      out);
	for (size_t i = 0; notes[i]; i++) {
		fputs(".PP\n", out);
		put_roff(out, notes[i]);
		putc('\n', out);
	}
}

void usage__man(FILE *out, const struct option_row *table)
{
	put_man_head(out);
	fputs(".SH OPTIONS\n", out);
	for (int group = 0; group < GROUP_CNT; group++) {
		fprintf(out, ".SS %s\n", group_names[group]);
		for (const struct option_row *row = table; row->name; row++) {
			if ((int)row->group == group)
				put_man_row(out, row);
		}
	}
	fputs(".SH EXAMPLES\n", out);
	for (size_t i = 0; examples[i].command; i++) {
		fputs(".TP\n.B ", out);
		put_roff(out, examples[i].command);
		putc('\n', out);
		put_roff(out, examples[i].what);
		putc('\n', out);
	}
}
