/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#include "render/render.h"

#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snapshot.h"

/*
 * Goal of this test: the text report is exactly what is written here, the JSON
 * report parses and has every field, and no string of a stranger breaks either.
 */

#define HOSTILE      "a\x1b[2Jb\nc\t\x7f\xff\xc2\x9b\xe2\x80\xae\\\"\xc3\xa9"
#define HOSTILE_TEXT "a\\x1b[2Jb\\x0ac\\x09\\x7f\\xff\\xc2\\x9b\\xe2\\x80\\xae\\\\\"\xc3\xa9"
/* What a JSON parser makes of it: the stray byte replaced, the rest as it was. */
#define HOSTILE_JSON "a\x1b[2Jb\nc\t\x7f\xef\xbf\xbd\xc2\x9b\xe2\x80\xae\\\"\xc3\xa9"

static char *render(int (*renderer)(const struct snapshot *, FILE *), const struct snapshot *snap)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(renderer(snap, out), 0);
	fclose(out);
	ck_assert_uint_eq(strlen(text), size);
	return text;
}

static struct snapshot *new_snapshot(void)
{
	struct snapshot *snap = snapshot__new();
	struct snapshot_target *target;

	ck_assert_ptr_nonnull(snap);
	snap->time = (struct timespec){ .tv_sec = 1714564800, .tv_nsec = 123999999 };
	snap->elapsed_s = 35.04;
	snap->probe_cnt = 13;
	snap->probe_file_cnt = 2;
	snap->cost.event_count = 3027;
	target = snapshot__add_target(snap);
	target->pid = 4242;
	target->comm = "leaky";
	target->exe = "/usr/bin/leaky";
	target->rss_bytes = 14785000;
	target->has_rss = true;
	return snap;
}

static void add_leak(struct snapshot *snap)
{
	static struct snapshot_frame frames[] = {
		{ .function = "make_node", .function_offset = 0x1c,
		  .file = "/src/leaky.c", .line = 42,
		  .module = "/usr/bin/leaky", .build_id = "ab12", .offset = 0x1180 },
		{ .function = "grow_list", .file = "/src/leaky.c", .line = 50, .inlined = true,
		  .module = "/usr/bin/leaky", .build_id = "ab12", .offset = 0x1200 },
		{ .function = "main", .function_offset = 0x30, .file = "",
		  .module = "/usr/bin/leaky", .build_id = "ab12", .offset = 0x1234 },
		{ .function = "", .file = "", .module = "/lib/libc.so.6", .build_id = "cd",
		  .offset = 0x271ca, .function_offset = 5 },
		{ .function = "", .file = "", .module = "", .build_id = "", .offset = 0x7f00 },
		{ .kind = FRAME_PYTHON, .function = "handler", .file = "app.py", .line = 7,
		  .module = "", .build_id = "" },
		{ .kind = FRAME_KERNEL, .function = "do_exit", .function_offset = 16, .file = "",
		  .module = "vmlinux", .build_id = "", .offset = 0x10 },
		{ .function = "no_line", .function_offset = 1, .file = "x.c", .module = "m",
		  .build_id = "" },
	};
	static struct snapshot_age ages[] = {
		{ .older_than_s = 0, .bytes = 1148544, .count = 997 },
		{ .older_than_s = 30.5, .bytes = 1024, .count = 1 },
	};
	struct snapshot_site *site = snapshot__add_site(snap);

	site->id = 0xfeed;
	site->pid = 4242;
	site->comm = "leaky";
	site->live_bytes = 1148544;
	site->live_count = 997;
	site->alloc_bytes = 2297088;
	site->alloc_count = 1994;
	site->free_bytes = 1148544;
	site->free_count = 997;
	site->oldest_s = 34.04;
	site->growth_bytes_per_s = 33894.4;
	site->verdict = "leak";
	site->why = "grew in each of 6 reports";
	site->stack_end = "read-fault";
	site->frames = frames;
	site->frame_cnt = sizeof(frames) / sizeof(frames[0]);
	site->ages = ages;
	site->age_cnt = 2;
}

static void add_small_site(struct snapshot *snap, uint64_t id, uint64_t live_bytes)
{
	struct snapshot_site *site = snapshot__add_site(snap);

	site->id = id;
	site->pid = 4242;
	site->comm = "leaky";
	site->live_bytes = live_bytes;
	site->live_count = 1;
	site->alloc_bytes = live_bytes;
	site->alloc_count = 1;
	site->oldest_s = 0.35;
	site->stack_end = "complete";
}

static struct snapshot *full_snapshot(void)
{
	struct snapshot *snap = new_snapshot();
	struct snapshot_target *target = snapshot__add_target(snap);

	target->pid = 4243;
	target->comm = "child";
	target->container = "web";
	target->exited = true;
	target->note = "static binary: nothing is traced";
	target->has_rss = false;
	snap->is_last = true;
	snap->cost.bpf_ns = 1234567890;
	snap->cost.has_bpf_ns = true;
	snap->cost.cpu_share = 0.0345;
	snap->unknown_free_count = 12;
	snap->failed_alloc_count = 1;
	snapshot__add_loss(snap, "live_table_full", "blocks not recorded: the live table was full",
			   54321);
	add_leak(snap);
	add_small_site(snap, 2, 100);
	add_small_site(snap, 3, 50);
	add_small_site(snap, 4, 49);
	snapshot__sum(snap);
	snapshot__select(snap, SORT_SIZE, 2);
	return snap;
}

START_TEST(text_report_is_as_written_here)
{
	static const char expected[] =
		"unfreed  2024-05-01T12:00:00.123Z  after 35.0s  (last report)\n"
		"  pid 4242 leaky, rss 14.1 MiB\n"
		"  pid 4243 child in container web, exited\n"
		"      note: static binary: nothing is traced\n"
		"live       1.1 MiB in 1,000 blocks at 4 sites\n"
		"allocated  2.2 MiB in 1,997 blocks since the start, freed 1.1 MiB in 997 blocks\n"
		"events     3,027, 1.2s in BPF, 3.5% of one CPU; 12 frees of older blocks; "
		"1 failed allocation\n"
		"LOST: 54,321 blocks not recorded: the live table was full (live_table_full)\n"
		"\n"
		" 1. 1.1 MiB in 997 blocks (100.0%)  pid 4242 leaky\n"
		"    in handler at app.py:7\n"
		"    oldest 34.0s, growth +33.1 KiB/s; 1,994 allocated, 997 freed\n"
		"    verdict: leak - grew in each of 6 reports\n"
		"    #0  make_node+0x1c at /src/leaky.c:42\n"
		"    #1  grow_list at /src/leaky.c:50 [inlined]\n"
		"    #2  main+0x30 in /usr/bin/leaky+0x1234\n"
		"    #3  ?? in /lib/libc.so.6+0x271ca\n"
		"    #4  ?? in [unknown]+0x7f00\n"
		"    #5  handler at app.py:7 [python]\n"
		"    ... 2 frames of libraries and the interpreter\n"
		"    (stack ends: read-fault)\n"
		"\n"
		" 2. 100 B in 1 block (<0.1%)  pid 4242 leaky\n"
		"    oldest 350ms; 1 allocated, 0 freed\n"
		"    (no stack)\n"
		"    (stack ends: complete)\n"
		"\n"
		"and 2 more sites (--top shows more): 99 B in 2 blocks\n"
		"\n";
	struct snapshot *snap = full_snapshot();
	char *text = render(render_text, snap);

	ck_assert_str_eq(text, expected);
	free(text);
	snapshot__free(snap);
}
END_TEST

START_TEST(several_processes_of_a_site_are_counted_and_listed)
{
	static uint32_t pids[] = { 4241, 4242, 4243 };
	struct snapshot *snap = new_snapshot();
	char *text;

	add_small_site(snap, 2, 100);
	snap->sites[0].pids = pids;
	snap->sites[0].pid_cnt = 3;
	snapshot__sum(snap);
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, " 1. 100 B in 1 block (100.0%)  3 processes leaky\n"));
	free(text);
	text = render(render_json, snap);
	ck_assert_ptr_nonnull(strstr(text, "\"pid\":null,\"pids\":[4241,4242,4243],"));
	free(text);
	snap->sites[0].pid_cnt = 1;
	text = render(render_json, snap);
	ck_assert_ptr_nonnull(strstr(text, "\"pid\":4242,\"pids\":[4241],"));
	free(text);
	snap->sites[0].pid_cnt = 0;
	text = render(render_json, snap);
	ck_assert_ptr_nonnull(strstr(text, "\"pid\":4242,\"pids\":[4242],"));
	free(text);
	snapshot__free(snap);
}
END_TEST

START_TEST(the_kernel_s_own_memory_has_kinds_and_no_processes)
{
	static struct snapshot_frame frames[] = {
		{ .kind = FRAME_KERNEL, .function = "alloc_pipe_info", .function_offset = 0xa3,
		  .module = "[kernel]", .file = "", .build_id = "", .offset = UINT64_MAX },
		{ .kind = FRAME_KERNEL, .function = "ext4_create", .function_offset = 7,
		  .module = "[ext4]", .file = "", .build_id = "", .offset = UINT64_MAX },
		{ .kind = FRAME_KERNEL, .function = "", .module = "", .file = "", .build_id = "",
		  .offset = 0xffffffffc0001234 },
	};
	static const struct {
		enum snapshot_site_kind kind;
		const char *text, *json;
	} kinds[] = {
		{ SITE_KERNEL_SLAB, " 1. 8.0 KiB in 2 objects (100.0%) [slab]\n    oldest",
		  "\"kind\":\"kernel\",\"memory\":\"slab\",\"pid\":null,\"pids\":[],\"group\":\"\"," },
		{ SITE_KERNEL_PAGES, " 1. 8.0 KiB in 2 pages (100.0%) [pages]\n    oldest",
		  "\"kind\":\"kernel\",\"memory\":\"pages\",\"pid\":null,\"pids\":[]," },
		{ SITE_KERNEL_PERCPU, " 1. 8.0 KiB in 2 blocks (100.0%) [percpu]\n    oldest",
		  "\"kind\":\"kernel\",\"memory\":\"percpu\",\"pid\":null,\"pids\":[]," },
	};
	static uint32_t pids[] = { 0 };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct snapshot *snap = new_snapshot();
		struct snapshot_site *site = snapshot__add_site(snap);
		char *text;

		snap->target_cnt = 0;
		snap->is_kernel = true;
		site->kind = kinds[i].kind;
		site->live_bytes = 8192;
		site->live_count = 2;
		site->stack_end = "complete";
		site->frames = frames;
		site->frame_cnt = 3;
		site->pids = pids; /* as joining leaves it */
		site->pid_cnt = 1;
		snapshot__sum(snap);
		text = render(render_text, snap);
		ck_assert_ptr_nonnull(strstr(text, "\n  the kernel's own memory\nlive "));
		ck_assert_ptr_nonnull(strstr(text, kinds[i].text));
		ck_assert_ptr_nonnull(strstr(text, "    #0  alloc_pipe_info+0xa3 [kernel]\n"
						   "    #1  ext4_create+0x7 [ext4]\n"
						   "    #2  0xffffffffc0001234\n"));
		free(text);
		text = render(render_json, snap);
		ck_assert_ptr_nonnull(strstr(text, kinds[i].json));
		ck_assert_ptr_nonnull(strstr(text, "\"kind\":\"kernel\",\"module\":\"[ext4]\","
						   "\"build_id\":\"\",\"offset\":null,"
						   "\"function\":\"ext4_create\","
						   "\"function_offset\":7,"));
		free(text);
		snapshot__free(snap);
	}
}
END_TEST

START_TEST(nothing_of_the_kernel_says_how_much_was_seen)
{
	struct snapshot *snap = new_snapshot();
	char *text;

	snap->is_kernel = true;
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, "no outstanding allocations: 13 probes, 3,027 events"));
	free(text);
	snapshot__free(snap);
}
END_TEST

#define PYTHON(name, path, number) \
	{ .kind = FRAME_PYTHON, .function = name, .file = path, .line = number, .module = "", \
	  .build_id = "" }
#define INTERPRETER(name) \
	{ .function = name, .file = "", .module = "/usr/bin/python3", .build_id = "", \
	  .is_interpreter = true }
#define MAX_PYTHON_FRAMES 10

/* The lines after the site's first, up to its end. */
static const struct {
	struct snapshot_frame frames[MAX_PYTHON_FRAMES];
	const char *expected;
} python_stacks[] = {
	/* The application calls a library that calls it back; the server's and the like are folded. */
	{ { INTERPRETER("_PyObject_Malloc"), INTERPRETER("PyObject_Malloc"),
	    INTERPRETER("PyUnicode_New"), PYTHON("inner", "/srv/app/views.py", 3),
	    PYTHON("cached", "/usr/lib/python3/dist-packages/cache.py", 5),
	    PYTHON("outer", "/srv/app/main.py", 7),
	    PYTHON("dispatch", "/srv/venv/lib/python3.11/site-packages/flask/app.py", 9),
	    INTERPRETER("PyObject_Call"), PYTHON("<module>", "/usr/bin/gunicorn", 8) },
	  "    in inner at /srv/app/views.py:3\n"
	  "    oldest 350ms; 1 allocated, 0 freed\n"
	  "    ... 3 frames of the interpreter: PyUnicode_New\n"
	  "    #3  inner at /srv/app/views.py:3 [python]\n"
	  "    #4  cached at /usr/lib/python3/dist-packages/cache.py:5 [python]\n"
	  "    #5  outer at /srv/app/main.py:7 [python]\n"
	  "    ... 3 frames of libraries and the interpreter\n" },
	/* Not the application: nothing to fold around, the innermost line is the best there is. */
	{ { INTERPRETER("PyObject_Malloc"), INTERPRETER("_PyObject_Malloc"),
	    PYTHON("get", "/usr/lib/python3.11/queue.py", 3),
	    PYTHON("_run", "<frozen runpy>", 5), PYTHON("<module>", "/usr/local/bin/celery", 8) },
	  "    in get at /usr/lib/python3.11/queue.py:3\n"
	  "    oldest 350ms; 1 allocated, 0 freed\n"
	  "    ... 2 frames of the interpreter\n"
	  "    #2  get at /usr/lib/python3.11/queue.py:3 [python]\n"
	  "    #3  _run at <frozen runpy>:5 [python]\n"
	  "    #4  <module> at /usr/local/bin/celery:8 [python]\n" },
	/* A library below the application: the line is the application's. One frame is not folded. */
	{ { PYTHON("loads", "/usr/lib/python3.11/json/__init__.py", 3),
	    PYTHON("read", "<string>", 5), PYTHON("_run", "<frozen runpy>", 8) },
	  "    in read at <string>:5\n"
	  "    oldest 350ms; 1 allocated, 0 freed\n"
	  "    #0  loads at /usr/lib/python3.11/json/__init__.py:3 [python]\n"
	  "    #1  read at <string>:5 [python]\n"
	  "    #2  _run at <frozen runpy>:8 [python]\n" },
	/* Nothing is folded, nor named at the head, where there is no Python. */
	{ { INTERPRETER("PyObject_Malloc"), INTERPRETER("Py_Main") },
	  "    oldest 350ms; 1 allocated, 0 freed\n"
	  "    #0  PyObject_Malloc+0x0 in /usr/bin/python3+0x0\n"
	  "    #1  Py_Main+0x0 in /usr/bin/python3+0x0\n" },
};

START_TEST(text_shows_the_applications_line_first_and_folds_what_called_it)
{
	struct snapshot *snap = new_snapshot();
	struct snapshot_site *site;
	char *text;

	add_small_site(snap, 2, 100);
	site = &snap->sites[0];
	site->frames = (struct snapshot_frame *)python_stacks[_i].frames;
	while (site->frame_cnt < MAX_PYTHON_FRAMES && site->frames[site->frame_cnt].function)
		site->frame_cnt++;
	snapshot__sum(snap);
	text = render(render_text, snap);
	text[strlen(text) - 1] = '\0'; /* the report ends with an empty line */
	ck_assert_str_eq(strstr(text, "pid 4242 leaky\n") ? strstr(strstr(text, " 1. "), "\n") + 1 : "",
			 python_stacks[_i].expected);
	free(text);
	snapshot__free(snap);
}
END_TEST

START_TEST(text_report_without_sites_says_what_was_seen)
{
	static const char expected[] =
		"unfreed  2024-05-01T12:00:00.123Z  after 35.0s\n"
		"  pid 4242 leaky, rss 14.1 MiB\n"
		"live       0 B in 0 blocks at 0 sites\n"
		"allocated  0 B in 0 blocks since the start, freed 0 B in 0 blocks\n"
		"events     3,027; 1 free of older blocks\n"
		"\n"
		"no outstanding allocations: 13 probes in 2 files, 3,027 events seen, "
		"1 free of older blocks\n"
		"\n";
	struct snapshot *snap = new_snapshot();
	char *text;

	snap->unknown_free_count = 1;
	text = render(render_text, snap);
	ck_assert_str_eq(text, expected);
	free(text);
	snapshot__free(snap);
}
END_TEST

START_TEST(text_report_names_the_age_filter)
{
	struct snapshot *snap = new_snapshot();
	char *text;

	snap->older_s = 90;
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, "\nlive       0 B in 0 blocks at least 1m30s old at "));
	ck_assert_ptr_nonnull(strstr(text, "\nno outstanding allocations at least 1m30s old: 13 "));
	free(text);
	snapshot__free(snap);
}
END_TEST

START_TEST(text_report_counts_targets_that_are_too_many_to_list)
{
	struct snapshot *snap = new_snapshot();
	char *text;

	for (uint32_t i = 2; i <= 20; i++)
		snapshot__add_target(snap)->pid = i;
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, "  pid 20 \nlive "));
	free(text);
	for (uint32_t i = 21; i <= 1009; i++)
		snapshot__add_target(snap)->pid = i;
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, "\n  1,009 processes (-v lists them)\nlive "));
	free(text);
	snap->targets[3].exited = snap->targets[4].exited = true;
	snap->targets[5].container = snap->targets[6].container = snap->targets[7].container =
		"web";
	snap->targets[7].container_id = "another";
	snap->targets[90].note = snap->targets[91].note = "a note";
	snap->targets[90].is_untraced = true;
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(
		text, "\n  1,009 processes, 2 of them exited, 3 in 2 containers (-v lists them)\n"
		      "      note: 1 has no allocator that is known: nothing of it is seen\n"
		      "      note: 1 has notes of its own\nlive "));
	free(text);
	snap->wants_all = true;
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, "\n  pid 91 \n      note: a note\n"));
	ck_assert_ptr_nonnull(strstr(text, "\n  pid 1009 \nlive "));
	free(text);
	snapshot__free(snap);
}
END_TEST

START_TEST(text_report_says_where_a_process_belongs)
{
	static const struct {
		const char *container, *pod, *pod_namespace, *unit, *expected;
	} cases[] = {
		{"", "", "", "nginx.service", "  pid 4242 leaky of nginx.service, rss"},
		{"", "", "", "session-3.scope", "  pid 4242 leaky, rss"},
		{"web", "", "", "", "  pid 4242 leaky in container web, rss"},
		{"db", "", "", "mysql.service", "  pid 4242 leaky in container db of mysql.service, rss"},
		{"app", "shop-1", "prod", "x.service",
		 "  pid 4242 leaky in container app of pod prod/shop-1, rss"},
		{"app", "shop-1", "", "", "  pid 4242 leaky in container app of pod shop-1, rss"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct snapshot *snap = new_snapshot();
		struct snapshot_target *target = &snap->targets[0];
		char *text;

		target->container = cases[i].container;
		target->pod = cases[i].pod;
		target->pod_namespace = cases[i].pod_namespace;
		target->unit = cases[i].unit;
		text = render(render_text, snap);
		ck_assert_msg(strstr(text, cases[i].expected), "%s", text);
		free(text);
		snapshot__free(snap);
	}
}
END_TEST

/* A Python process of which everything is known. */
static struct snapshot_python known_python(void)
{
	return (struct snapshot_python){
		.version = "3.11.2",
		.frames = "ok",
		.gc_source = "usdt",
		.gc_why = "",
		.gc_enabled = 1,
		.generations = {
			{ 700, 251, 1500, 4000, 2, 1310, 3900, 0.0081, 0.0004 },
			{ 10, 3, 12, 50, 0, 11, 40, 0.25, 0.125 },
			{ 10, 1, 1, 0, 0, 0, 0, 0, 0 },
		},
	};
}

static void check_python_line(const struct snapshot_python *python, const char *expected)
{
	struct snapshot *snap = new_snapshot();
	char *text;

	snap->targets[0].python = python;
	text = render(render_text, snap);
	ck_assert_msg(strstr(text, expected), "%s", text);
	free(text);
	snapshot__free(snap);
}

START_TEST(text_has_a_line_of_each_python_process)
{
	struct snapshot_python python = known_python();

	check_python_line(&python, "\n      python 3.11.2: gc 0: 1,310 collections in 8.1ms (longest "
				   "0.4ms), 1: 11 in 250ms (longest 125ms), 2: 0\n");
	python.generations[0].trace_collections = 1;
	python.gc_source = "polling";
	python.gc_enabled = 0;
	for (int i = 0; i < SNAPSHOT_GENERATIONS; i++)
		python.generations[i].pause_s = python.generations[i].longest_pause_s = NAN;
	check_python_line(&python, "\n      python 3.11.2: gc 0: 1 collection, 1: 11, 2: 0 (by "
				   "polling); automatic ones are off\n");
	python.gc_why = "as last read";
	python.gc_enabled = -1;
	check_python_line(&python, ", 2: 0 (by polling): as last read\n");
	python.gc_source = "none";
	python.gc_why = "nobody knows";
	check_python_line(&python, "\n      python 3.11.2: gc unknown: nobody knows\n");
	python.version = "";
	check_python_line(&python, "\n      python ?: gc unknown: nobody knows\n");
}
END_TEST

/* A block at one site, three of Python's pools at another, two mapped regions at a third. */
static struct snapshot *snapshot_of_kinds(void)
{
	struct snapshot *snap = new_snapshot();

	add_small_site(snap, 1, 16384);
	add_small_site(snap, 2, 3 * 16384);
	add_small_site(snap, 3, 4 * 16384);
	snap->sites[1].kind = SITE_PYMALLOC;
	snap->sites[1].live_count = 3;
	snap->sites[2].kind = SITE_MMAP;
	snap->sites[2].live_count = 2;
	snap->sites[1].unused_bytes = 1024;
	snap->sites[1].foreign_bytes = 16384;
	snapshot__sum(snap);
	snapshot__select(snap, SORT_SIZE, 10);
	return snap;
}

START_TEST(text_marks_pools_and_regions)
{
	struct snapshot *snap = snapshot_of_kinds();
	char *text = render(render_text, snap);

	ck_assert_ptr_nonnull(strstr(text, "live       128.0 KiB in 6 blocks at 3 sites\n"
					   "           of these 48.0 KiB in 3 pools of Python's small "
					   "objects at 1 site\n"
					   "           of these 64.0 KiB in 2 regions mapped by the "
					   "program at 1 site\n"));
	ck_assert_ptr_nonnull(
		strstr(text, " 1. 64.0 KiB in 2 regions (50.0%) [mmap]  pid 4242 leaky\n"));
	ck_assert_ptr_nonnull(
		strstr(text, " 2. 48.0 KiB in 3 pools, 31.0 KiB used, 16.0 KiB others' (37.5%) "
			     "[pymalloc]  pid 4242 leaky\n"));
	ck_assert_ptr_nonnull(strstr(text, " 3. 16.0 KiB in 1 block (12.5%)  pid 4242 leaky\n"));
	free(text);
	snapshot__free(snap);
}
END_TEST

/* The same, with blocks that are sampled: one of 8 KiB that stands for two, and not the pools. */
static struct snapshot *sampled_snapshot(void)
{
	struct snapshot *snap = snapshot_of_kinds();

	snap->sample_bytes = 65536;
	snap->unknown_free_count = 17;
	for (uint32_t i = 0; i < snap->site_cnt; i++) {
		if (snap->sites[i].kind != SITE_MALLOC)
			continue;
		snap->sites[i].live_count = 2;
		snap->sites[i].sample = (struct snapshot_sample){
			.count = 1,
			.bytes = 8192,
			.bytes_variance = 2 * 8192.0 * 8192,
			.count_variance = 2,
		};
	}
	snapshot__sum(snap);
	return snap;
}

START_TEST(text_keeps_estimated_and_counted_numbers_apart)
{
	struct snapshot *snap = sampled_snapshot();
	char *text = render(render_text, snap);

	ck_assert_ptr_nonnull(strstr(text, "  blocks are estimated from one sample in 64.0 KiB on "
					   "average; ranges hold with 95% confidence\n"));
	ck_assert_ptr_nonnull(strstr(text, "live       16.0 KiB in 2 blocks at 1 site\n"
					   "           8.0 KiB - 57.8 KiB, from 1 sample\n"
					   "           and 48.0 KiB in 3 pools of Python's small "
					   "objects at 1 site\n"
					   "           and 64.0 KiB in 2 regions mapped by the "
					   "program at 1 site\n"));
	ck_assert_ptr_nonnull(strstr(text, " 1. 64.0 KiB in 2 regions [mmap]  pid 4242 leaky\n"));
	ck_assert_ptr_nonnull(strstr(text, " 3. 16.0 KiB in 2 blocks (100.0%)  pid 4242 leaky\n"
					   "    8.0 KiB - 57.8 KiB, from 1 sample\n"));
	ck_assert_ptr_null(strstr(text, "of older blocks"));
	ck_assert_ptr_null(strstr(text, "more site"));
	free(text);
	/* What is not shown is counted by what it is. */
	snapshot__select(snap, SORT_SIZE, 1);
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, "and 1 more site (--top shows more): 16.0 KiB in 2 blocks\n"));
	ck_assert_ptr_nonnull(strstr(text, "and 1 more site (--top shows more): 48.0 KiB in 3 pools\n"));
	free(text);
	snapshot__free(snap);
}
END_TEST

/* Every string of a snapshot hostile. */
static struct snapshot *hostile_snapshot(void)
{
	static struct snapshot_frame frames[2];
	static struct snapshot_python python;
	struct snapshot *snap = new_snapshot();
	struct snapshot_target *target = &snap->targets[0];

	target->comm = target->exe = target->container = target->cgroup = target->note = HOSTILE;
	target->container_id = target->pod = target->pod_namespace = HOSTILE;
	target->unit = HOSTILE ".service";
	python = known_python();
	python.version = python.frames = python.gc_why = HOSTILE;
	target->python = &python;
	snapshot__add_loss(snap, HOSTILE, HOSTILE, 1);
	frames[0].module = frames[0].build_id = frames[0].function = frames[0].file = HOSTILE;
	frames[1] = frames[0];
	frames[1].file = "";
	add_small_site(snap, 1, 10);
	snap->sites[0].comm = snap->sites[0].verdict = snap->sites[0].why = HOSTILE;
	snap->sites[0].stack_end = HOSTILE;
	snap->sites[0].frames = frames;
	snap->sites[0].frame_cnt = 2;
	snapshot__sum(snap);
	return snap;
}

static int count_of(const char *text, const char *part)
{
	int cnt = 0;

	for (; (text = strstr(text, part)) != NULL; text += strlen(part))
		cnt++;
	return cnt;
}

START_TEST(hostile_strings_are_visible_in_the_text)
{
	struct snapshot *snap = hostile_snapshot();
	char *text = render(render_text, snap);

	/* comm, container, pod with its namespace, note, python: two; loss: two; comm, verdict,
	 * why; frames: two each; stack_end */
	ck_assert_int_eq(count_of(text, HOSTILE_TEXT), 17);
	for (const char *c = text; *c; c++)
		ck_assert(*c == '\n' || (unsigned char)*c >= 0x20);
	ck_assert_ptr_null(strpbrk(text, "\x7f\xff\xc2\xe2"));
	free(text);
	snapshot__free(snap);
}
END_TEST

START_TEST(long_strings_are_cut_and_long_lines_broken_at_the_place)
{
	static char name[5001];
	static struct snapshot_frame frame = { .function = name, .file = "/a/b.c", .line = 1,
					       .module = "", .build_id = "" };
	struct snapshot *snap = new_snapshot();
	char expected[512];
	char *text;

	memset(name, 'f', 5000);
	add_small_site(snap, 1, 10);
	snap->sites[0].frames = &frame;
	snap->sites[0].frame_cnt = 1;
	snap->sites[0].comm = name;
	text = render(render_text, snap);
	snprintf(expected, sizeof(expected), "    #0  %.197s...+0x0\n           at /a/b.c:1\n",
		 name);
	ck_assert_ptr_nonnull(strstr(text, expected));
	snprintf(expected, sizeof(expected), "pid 4242 %.61s...\n", name);
	ck_assert_ptr_nonnull(strstr(text, expected));
	free(text);
	/* Exactly 100 columns stay one line, 101 do not. */
	name[100 - 8 - 4 - 12] = '\0';
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, "f+0x0 at /a/b.c:1\n"));
	free(text);
	strcat(name, "f");
	text = render(render_text, snap);
	ck_assert_ptr_nonnull(strstr(text, "f+0x0\n           at /a/b.c:1\n"));
	free(text);
	snapshot__free(snap);
}
END_TEST

static struct json_object *parse_json(char *text)
{
	struct json_tokener *tokener = json_tokener_new_ex(32);
	size_t len = strlen(text);
	struct json_object *object;

	/* One object, one line. */
	ck_assert_uint_gt(len, 0);
	ck_assert_ptr_eq(strchr(text, '\n'), text + len - 1);
	text[len - 1] = '\0';
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	object = json_tokener_parse_ex(tokener, text, (int)len);
	ck_assert_msg(json_tokener_get_error(tokener) == json_tokener_success, "%s in %s",
		      json_tokener_error_desc(json_tokener_get_error(tokener)), text);
	json_tokener_free(tokener);
	free(text);
	return object;
}

/* The field, which must be there (null included). */
static struct json_object *field(struct json_object *object, const char *name)
{
	struct json_object *value = NULL;

	ck_assert_msg(json_object_object_get_ex(object, name, &value), "no field %s", name);
	return value;
}

static struct json_object *item(struct json_object *object, const char *name, size_t index)
{
	struct json_object *array = field(object, name);

	ck_assert_int_eq(json_object_get_type(array), json_type_array);
	ck_assert_uint_lt(index, json_object_array_length(array));
	return json_object_array_get_idx(array, index);
}

#define CHECK_TYPE(object, name, type) \
	ck_assert_msg(json_object_is_type(field(object, name), type), "type of %s", name)

static void check_uint(struct json_object *object, const char *name, uint64_t value)
{
	CHECK_TYPE(object, name, json_type_int);
	ck_assert_msg(json_object_get_uint64(field(object, name)) == value, "%s is %s", name,
		      json_object_get_string(field(object, name)));
}

static void check_real(struct json_object *object, const char *name, double value)
{
	CHECK_TYPE(object, name, json_type_double);
	ck_assert_double_eq_tol(json_object_get_double(field(object, name)), value, 1e-9);
}

static void check_string(struct json_object *object, const char *name, const char *value)
{
	CHECK_TYPE(object, name, json_type_string);
	ck_assert_str_eq(json_object_get_string(field(object, name)), value);
}

static void check_bool(struct json_object *object, const char *name, bool value)
{
	CHECK_TYPE(object, name, json_type_boolean);
	ck_assert_int_eq(json_object_get_boolean(field(object, name)), value);
}

#define CHECK_NULL(object, name) CHECK_TYPE(object, name, json_type_null)
#define CHECK_FIELD_CNT(object, cnt) ck_assert_int_eq(json_object_object_length(object), cnt)

START_TEST(json_has_the_collector_of_a_python_process)
{
	struct snapshot_python known = known_python();
	struct snapshot *snap = full_snapshot();
	struct json_object *report, *python, *gc, *generation;

	known.generations[2] = (struct snapshot_gc_generation){ -1, -1, -1, -1, -1,
								-1, -1, NAN, NAN };
	snap->targets[0].python = &known;
	report = parse_json(render(render_json, snap));
	python = field(item(report, "targets", 0), "python");
	CHECK_FIELD_CNT(python, 3);
	check_string(python, "version", "3.11.2");
	check_string(python, "frames", "ok");
	gc = field(python, "gc");
	CHECK_FIELD_CNT(gc, 4);
	check_string(gc, "source", "usdt");
	check_string(gc, "why", "");
	check_bool(gc, "enabled", true);
	ck_assert_uint_eq(json_object_array_length(field(gc, "generations")), 3);
	generation = item(gc, "generations", 0);
	CHECK_FIELD_CNT(generation, 9);
	check_uint(generation, "threshold", 700);
	check_uint(generation, "count", 251);
	check_uint(generation, "collections", 1500);
	check_uint(generation, "collected", 4000);
	check_uint(generation, "uncollectable", 2);
	check_uint(generation, "trace_collections", 1310);
	check_uint(generation, "trace_unreachable", 3900);
	check_real(generation, "pause_s", 0.0081);
	check_real(generation, "longest_pause_s", 0.0004);
	generation = item(gc, "generations", 2);
	CHECK_NULL(generation, "threshold");
	CHECK_NULL(generation, "count");
	CHECK_NULL(generation, "collections");
	CHECK_NULL(generation, "collected");
	CHECK_NULL(generation, "uncollectable");
	CHECK_NULL(generation, "trace_collections");
	CHECK_NULL(generation, "trace_unreachable");
	CHECK_NULL(generation, "pause_s");
	CHECK_NULL(generation, "longest_pause_s");
	json_object_put(report);
	known.gc_enabled = -1;
	report = parse_json(render(render_json, snap));
	CHECK_NULL(field(field(item(report, "targets", 0), "python"), "gc"), "enabled");
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(json_has_the_head_the_targets_and_the_totals)
{
	struct snapshot *snap = full_snapshot();
	struct json_object *report = parse_json(render(render_json, snap));
	struct json_object *target = item(report, "targets", 0), *totals = field(report, "totals");

	CHECK_FIELD_CNT(report, 19);
	check_uint(report, "unfreed", 1);
	check_uint(report, "sample_bytes", 0);
	check_string(report, "time", "2024-05-01T12:00:00.123Z");
	check_real(report, "elapsed_s", 35.04);
	check_real(report, "older_s", 0);
	check_bool(report, "last", true);
	CHECK_FIELD_CNT(target, 14);
	CHECK_NULL(target, "python");
	check_uint(target, "pid", 4242);
	check_string(target, "comm", "leaky");
	check_string(target, "exe", "/usr/bin/leaky");
	check_string(target, "container", "");
	check_string(target, "container_id", "");
	check_string(target, "pod", "");
	check_string(target, "pod_namespace", "");
	check_string(target, "unit", "");
	check_string(target, "cgroup", "");
	check_uint(target, "rss_bytes", 14785000);
	check_bool(target, "exited", false);
	check_string(target, "note", "");
	check_string(target, "group", "");
	check_string(report, "group_by", "site");
	ck_assert_uint_eq(json_object_array_length(field(report, "groups")), 0);
	target = item(report, "targets", 1);
	check_string(target, "container", "web");
	CHECK_NULL(target, "rss_bytes");
	check_bool(target, "exited", true);
	check_string(target, "note", "static binary: nothing is traced");
	CHECK_FIELD_CNT(totals, 7);
	check_uint(totals, "live_bytes", 1148743);
	check_uint(totals, "live_count", 1000);
	check_uint(totals, "alloc_bytes", 2297287);
	check_uint(totals, "alloc_count", 1997);
	check_uint(totals, "free_bytes", 1148544);
	check_uint(totals, "free_count", 997);
	check_uint(totals, "sites", 4);
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(json_has_the_losses_and_the_cost)
{
	struct snapshot *snap = full_snapshot();
	struct json_object *report = parse_json(render(render_json, snap));

	check_uint(report, "unknown_free_count", 12);
	check_uint(report, "failed_alloc_count", 1);
	check_uint(report, "probes", 13);
	check_uint(report, "probe_files", 2);
	CHECK_FIELD_CNT(field(report, "losses"), 1);
	check_uint(field(report, "losses"), "live_table_full", 54321);
	CHECK_FIELD_CNT(field(report, "cost"), 3);
	check_uint(field(report, "cost"), "events", 3027);
	check_uint(field(report, "cost"), "bpf_ns", 1234567890);
	check_real(field(report, "cost"), "cpu_share", 0.0345);
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(json_marks_pools_and_regions)
{
	struct snapshot *snap = snapshot_of_kinds();
	struct json_object *report = parse_json(render(render_json, snap));
	struct json_object *pools = field(report, "pymalloc_totals");
	struct json_object *regions = field(report, "mmap_totals");

	check_string(item(report, "sites", 0), "kind", "mmap");
	check_string(item(report, "sites", 1), "kind", "pymalloc");
	check_string(item(report, "sites", 2), "kind", "malloc");
	check_uint(field(report, "totals"), "live_bytes", 8 * 16384);
	CHECK_FIELD_CNT(regions, 7);
	check_uint(regions, "live_bytes", 4 * 16384);
	check_uint(regions, "live_count", 2);
	check_uint(regions, "sites", 1);
	check_uint(item(report, "sites", 1), "live_bytes", 48 * 1024);
	check_uint(item(report, "sites", 1), "used_bytes", 31 * 1024);
	check_uint(item(report, "sites", 1), "foreign_bytes", 16 * 1024);
	ck_assert(!json_object_object_get_ex(item(report, "sites", 2), "used_bytes", NULL));
	CHECK_FIELD_CNT(pools, 7);
	check_uint(pools, "live_bytes", 3 * 16384);
	check_uint(pools, "live_count", 3);
	check_uint(pools, "sites", 1);
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(json_keeps_estimated_and_counted_numbers_apart)
{
	struct snapshot *snap = sampled_snapshot();
	struct json_object *report = parse_json(render(render_json, snap));
	struct json_object *totals = field(report, "totals"), *site = item(report, "sites", 2);

	check_uint(report, "sample_bytes", 65536);
	CHECK_NULL(report, "unknown_free_count");
	CHECK_FIELD_CNT(totals, 12);
	check_uint(totals, "live_bytes", 16384);
	check_uint(totals, "live_bytes_low", 8192);
	check_uint(totals, "samples", 1);
	check_uint(field(report, "pymalloc_totals"), "live_bytes", 3 * 16384);
	CHECK_FIELD_CNT(field(report, "pymalloc_totals"), 7);
	CHECK_FIELD_CNT(site, 25);
	check_string(site, "kind", "malloc");
	check_uint(site, "samples", 1);
	check_uint(site, "live_bytes", 16384);
	check_uint(site, "live_bytes_low", 8192);
	check_uint(site, "live_count_low", 1);
	ck_assert(json_object_get_uint64(field(site, "live_bytes_high")) > 3 * 16384);
	ck_assert(!json_object_object_get_ex(item(report, "sites", 1), "samples", NULL));
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(json_has_the_sites)
{
	struct snapshot *snap = full_snapshot();
	struct json_object *report = parse_json(render(render_json, snap));
	struct json_object *site = item(report, "sites", 0);

	ck_assert_uint_eq(json_object_array_length(field(report, "sites")), 2);
	CHECK_FIELD_CNT(site, 20);
	check_string(site, "id", "000000000000feed");
	check_string(site, "kind", "malloc");
	check_string(site, "group", "");
	check_uint(site, "pid", 4242);
	check_string(site, "comm", "leaky");
	check_uint(site, "live_bytes", 1148544);
	check_uint(site, "live_count", 997);
	check_uint(site, "alloc_bytes", 2297088);
	check_uint(site, "alloc_count", 1994);
	check_uint(site, "free_bytes", 1148544);
	check_uint(site, "free_count", 997);
	check_real(site, "oldest_s", 34.04);
	check_real(site, "growth_bytes_per_s", 33894.4);
	check_string(site, "verdict", "leak");
	check_string(site, "why", "grew in each of 6 reports");
	check_string(site, "stack_end", "read-fault");
	ck_assert_uint_eq(json_object_array_length(field(site, "ages")), 2);
	CHECK_FIELD_CNT(item(site, "ages", 1), 3);
	check_real(item(site, "ages", 1), "older_than_s", 30.5);
	check_uint(item(site, "ages", 1), "bytes", 1024);
	check_uint(item(site, "ages", 1), "count", 1);
	ck_assert_uint_eq(json_object_array_length(field(site, "frames")), 8);
	site = item(report, "sites", 1);
	CHECK_FIELD_CNT(site, 20);
	CHECK_NULL(site, "growth_bytes_per_s");
	check_string(site, "verdict", "");
	ck_assert_uint_eq(json_object_array_length(field(site, "ages")), 0);
	ck_assert_uint_eq(json_object_array_length(field(site, "frames")), 0);
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(json_has_the_frames)
{
	struct snapshot *snap = full_snapshot();
	struct json_object *report = parse_json(render(render_json, snap));
	struct json_object *site = item(report, "sites", 0), *frame = item(site, "frames", 0);

	CHECK_FIELD_CNT(frame, 9);
	check_string(frame, "kind", "native");
	check_string(frame, "module", "/usr/bin/leaky");
	check_string(frame, "build_id", "ab12");
	check_uint(frame, "offset", 0x1180);
	check_string(frame, "function", "make_node");
	check_uint(frame, "function_offset", 0x1c);
	check_string(frame, "file", "/src/leaky.c");
	check_uint(frame, "line", 42);
	check_bool(frame, "inlined", false);
	check_bool(item(site, "frames", 1), "inlined", true);
	CHECK_NULL(item(site, "frames", 2), "line");
	CHECK_NULL(item(site, "frames", 3), "function_offset"); /* of no function */
	frame = item(site, "frames", 5);
	CHECK_FIELD_CNT(frame, 9);
	check_string(frame, "kind", "python");
	CHECK_NULL(frame, "offset");
	CHECK_NULL(frame, "function_offset");
	check_string(item(site, "frames", 6), "kind", "kernel");
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(json_of_an_empty_snapshot_has_every_field_and_null_for_unknown)
{
	struct snapshot *snap = new_snapshot();
	struct json_object *report;

	snap->target_cnt = 0;
	snap->older_s = 0.5;
	report = parse_json(render(render_json, snap));
	CHECK_FIELD_CNT(report, 19);
	check_bool(report, "last", false);
	check_real(report, "older_s", 0.5);
	ck_assert_uint_eq(json_object_array_length(field(report, "targets")), 0);
	ck_assert_uint_eq(json_object_array_length(field(report, "sites")), 0);
	CHECK_FIELD_CNT(field(report, "losses"), 0);
	CHECK_NULL(field(report, "cost"), "bpf_ns");
	CHECK_NULL(field(report, "cost"), "cpu_share");
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(json_has_extreme_numbers_exactly_and_no_infinities)
{
	struct snapshot *snap = new_snapshot();
	struct json_object *report, *site;

	add_small_site(snap, UINT64_MAX, UINT64_MAX);
	snap->sites[0].oldest_s = INFINITY;
	snap->sites[0].growth_bytes_per_s = -INFINITY;
	snap->elapsed_s = NAN;
	report = parse_json(render(render_json, snap));
	site = item(report, "sites", 0);
	check_string(site, "id", "ffffffffffffffff");
	check_uint(site, "live_bytes", UINT64_MAX);
	CHECK_NULL(site, "oldest_s");
	CHECK_NULL(site, "growth_bytes_per_s");
	CHECK_NULL(report, "elapsed_s");
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(hostile_strings_stay_valid_json)
{
	struct snapshot *snap = hostile_snapshot();
	char *text = render(render_json, snap);
	struct json_object *report, *target, *site, *frame;

	ck_assert_ptr_null(strpbrk(text, "\x1b\x7f\xff\xc2\xe2\t"));
	report = parse_json(text);
	target = item(report, "targets", 0);
	site = item(report, "sites", 0);
	frame = item(site, "frames", 0);
	check_string(target, "comm", HOSTILE_JSON);
	check_string(target, "exe", HOSTILE_JSON);
	check_string(target, "container", HOSTILE_JSON);
	check_string(target, "container_id", HOSTILE_JSON);
	check_string(target, "pod", HOSTILE_JSON);
	check_string(target, "pod_namespace", HOSTILE_JSON);
	check_string(target, "cgroup", HOSTILE_JSON);
	check_string(target, "note", HOSTILE_JSON);
	check_string(field(target, "python"), "version", HOSTILE_JSON);
	check_string(field(target, "python"), "frames", HOSTILE_JSON);
	check_string(field(field(target, "python"), "gc"), "why", HOSTILE_JSON);
	check_uint(field(report, "losses"), HOSTILE_JSON, 1);
	check_string(site, "comm", HOSTILE_JSON);
	check_string(site, "verdict", HOSTILE_JSON);
	check_string(site, "why", HOSTILE_JSON);
	check_string(site, "stack_end", HOSTILE_JSON);
	check_string(frame, "module", HOSTILE_JSON);
	check_string(frame, "build_id", HOSTILE_JSON);
	check_string(frame, "function", HOSTILE_JSON);
	check_string(frame, "file", HOSTILE_JSON);
	json_object_put(report);
	snapshot__free(snap);
}
END_TEST

START_TEST(a_full_device_is_an_error_in_every_format)
{
	struct snapshot *snap = full_snapshot();

	for (const struct render_format *format = render_formats; format->name; format++) {
		for (int unbuffered = 0; unbuffered < 2; unbuffered++) {
			FILE *out = fopen("/dev/full", "w");

			ck_assert_ptr_nonnull(out);
			if (unbuffered)
				setvbuf(out, NULL, _IONBF, 0);
			ck_assert_int_lt(format->render(snap, out), 0);
			if (!unbuffered)
				ck_assert_int_eq(format->render(snap, out), -ENOSPC);
			fclose(out);
		}
	}
	snapshot__free(snap);
}
END_TEST

START_TEST(formats_are_found_by_their_exact_name)
{
	ck_assert_ptr_eq(render_format__find("text")->render, render_text);
	ck_assert_ptr_eq(render_format__find("json")->render, render_json);
	ck_assert_ptr_null(render_format__find("jso"));
	ck_assert_ptr_null(render_format__find("JSON"));
	ck_assert_ptr_null(render_format__find(""));
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, text_report_is_as_written_here);
	tcase_add_loop_test(tcase, text_shows_the_applications_line_first_and_folds_what_called_it,
			    0, sizeof(python_stacks) / sizeof(python_stacks[0]));
	tcase_add_test(tcase, several_processes_of_a_site_are_counted_and_listed);
	tcase_add_test(tcase, the_kernel_s_own_memory_has_kinds_and_no_processes);
	tcase_add_test(tcase, nothing_of_the_kernel_says_how_much_was_seen);
	tcase_add_test(tcase, text_report_without_sites_says_what_was_seen);
	tcase_add_test(tcase, text_report_names_the_age_filter);
	tcase_add_test(tcase, text_report_says_where_a_process_belongs);
	tcase_add_test(tcase, text_report_counts_targets_that_are_too_many_to_list);
	tcase_add_test(tcase, hostile_strings_are_visible_in_the_text);
	tcase_add_test(tcase, long_strings_are_cut_and_long_lines_broken_at_the_place);
	tcase_add_test(tcase, text_has_a_line_of_each_python_process);
	tcase_add_test(tcase, json_has_the_head_the_targets_and_the_totals);
	tcase_add_test(tcase, json_has_the_collector_of_a_python_process);
	tcase_add_test(tcase, json_has_the_losses_and_the_cost);
	tcase_add_test(tcase, json_has_the_sites);
	tcase_add_test(tcase, text_marks_pools_and_regions);
	tcase_add_test(tcase, text_keeps_estimated_and_counted_numbers_apart);
	tcase_add_test(tcase, json_keeps_estimated_and_counted_numbers_apart);
	tcase_add_test(tcase, json_marks_pools_and_regions);
	tcase_add_test(tcase, json_has_the_frames);
	tcase_add_test(tcase, json_of_an_empty_snapshot_has_every_field_and_null_for_unknown);
	tcase_add_test(tcase, json_has_extreme_numbers_exactly_and_no_infinities);
	tcase_add_test(tcase, hostile_strings_stay_valid_json);
	tcase_add_test(tcase, a_full_device_is_an_error_in_every_format);
	tcase_add_test(tcase, formats_are_found_by_their_exact_name);
}

int main(void)
{
	Suite *suite = suite_create("render");
	TCase *tcase = tcase_create("render");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	add_tests(tcase);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
