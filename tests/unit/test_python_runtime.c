/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include "elf_builder.h"
#include "python/code_object.h"
#include "python/offsets.h"
#include "python/runtime.h"
#include "python/threads.h"
#include "python/version.h"
#include "python_fixture.h"
#include "python_process.h"

/*
 * Goal of this test: with what is found from outside of a live interpreter, and
 * nothing else, every frame of every thread can be read as the interpreter itself tells it, under
 * every CPython of this machine; at no instant of its start or end is a wrong answer
 * given; and what does not fit is refused with a reason.
 */

/*
 * Parks threads in functions of all shapes, then prints their frames, innermost first, with
 * "line file name", strings in hex; then waits for its standard input to end.
 */
static const char park_script[] =
	"import ctypes, functools, sys, threading, _thread\n"
	"gate = _thread.allocate_lock(); gate.acquire()\n"
	"def nested(park):\n"
	"    def a(): return b()\n"
	"    def b(): return (lambda: park())()\n"
	"    a()\n"
	"def deep(park, n=150):\n"
	"    if n: deep(park, n - 1)\n"
	"    else: park()\n"
	"def generators(park):\n"
	"    def inner():\n"
	"        yield 1\n"
	"        park()\n"
	"    def outer():\n"
	"        yield from inner()\n"
	"    for _ in outer(): pass\n"
	"def coroutines(park):\n"
	"    async def leaf(): park()\n"
	"    async def numbers():\n"
	"        yield 1\n"
	"        await leaf()\n"
	"    async def middle():\n"
	"        return [x async for x in numbers()]\n"
	"    try: middle().send(None)\n"
	"    except StopIteration: pass\n"
	"def through_c(park):\n"
	"    class Odd:\n"
	"        def __len__(self): sorted([1], key=lambda x: park()); return 1\n"
	"        @property\n"
	"        def size(self): return len(self)\n"
	"    list(map(functools.partial(lambda a, b: b.size, 1), [Odd()]))\n"
	"def comprehension(park):\n"
	"    return [[park() for y in (1,)]\n"
	"            for x in (1,)]\n"
	"def class_body(park):\n"
	"    class Body:\n"
	"        x = 1\n"
	"        y = park()\n"
	"def several_lines(park):\n"
	"    return print(1,\n"
	"        functools.reduce(lambda a, b:\n"
	"                         park(\n"
	"                             a,\n"
	"                         ), (1,\n"
	"                  2)), 3)\n"
	"def in_handler(park):\n"
	"    try:\n"
	"        1 / 0\n"
	"    except ZeroDivisionError:\n"
	"        with threading.Lock():\n"
	"            try: pass\n"
	"            finally: park()\n"
	"def elsewhere(park):\n"
	"    text = '\\n' * 70000 + 'def gr\\xf6\\xdfe(): park()\\ngr\\xf6\\xdfe()'\n"
	"    exec(compile(text, '\\u043f\\u0440\\u0438\\u043b/\\U0001f40d.py', 'exec'), {'park': park})\n"
	"def start_c_thread(fn):\n"
	"    callback = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: fn())\n"
	"    keep.append(callback)\n"
	"    ctypes.CDLL(None).pthread_create(ctypes.byref(ctypes.c_ulong()), None, callback, None)\n"
	"keep = []\n"
	"def start(how, fn):\n"
	"    ready = _thread.allocate_lock(); ready.acquire()\n"
	"    def park(*_): (ready.release(), gate.acquire())\n"
	"    how(lambda: fn(park))\n"
	"    ready.acquire()\n"
	"for fn in (nested, deep, generators, coroutines, through_c, comprehension, class_body,\n"
	"           several_lines, in_handler, elsewhere):\n"
	"    start(lambda f: threading.Thread(target=f, daemon=True).start(), fn)\n"
	"start(start_c_thread, through_c)\n"
	"def tell(frame):\n"
	"    while frame:\n"
	"        code = frame.f_code\n"
	"        name = getattr(code, 'co_qualname', code.co_name)\n"
	"        print('F', frame.f_lineno, 'x' + code.co_filename.encode().hex(),\n"
	"              'x' + name.encode().hex())\n"
	"        frame = frame.f_back\n"
	"def report():\n"
	"    own = threading.get_ident()\n"
	"    for ident, frame in sys._current_frames().items():\n"
	"        print('T', ident)\n"
	"        tell(sys._getframe(1) if ident == own else frame)\n"
	"    print('end')\n"
	"    sys.stdout.flush()\n"
	"class Main:\n"
	"    def run(self): (report(), sys.stdin.buffer.read())\n"
	"Main().run()\n";

#define THREAD_CNT 12 /* of the script */

static char *script_path(const char *text)
{
	static char path[64];
	int fd;

	strcpy(path, "/tmp/unfreed-python.XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return path;
}

/* -- a walk as the probe does it, with struct uf_python only -- */

struct walk {
	struct process *process;
	const struct uf_python *layout;
	uint64_t frame;
};

struct place {
	char filename[1200], name[1200];
	uint32_t line;
};

static void copy_str(const struct walk *walk, uint64_t object, struct uf_python_str *out)
{
	const struct uf_python *layout = walk->layout;
	uint32_t state = (uint32_t)process__u64(walk->process, object + layout->str_state);
	uint32_t size;

	out->length = (uint32_t)process__u64(walk->process, object + layout->str_length);
	out->kind = state >> 2 & 7;
	out->is_ascii = state >> 6 & 1;
	size = out->length * out->kind;
	out->byte_cnt = size < UF_PYTHON_STR_BYTES ? size : UF_PYTHON_STR_BYTES;
	object += out->is_ascii ? layout->str_ascii_data : layout->str_compact_data;
	ck_assert_int_eq(process__read(walk->process, object, out->bytes, out->byte_cnt), 0);
}

static struct python_code *copy_code(const struct walk *walk, uint64_t address)
{
	static struct uf_python_code copy;
	const struct uf_python *layout = walk->layout;
	struct process *process = walk->process;
	uint64_t table = process__u64(process, address + layout->code_linetable);

	memset(&copy, 0, sizeof(copy));
	copy.version_hex = layout->version_hex;
	copy.firstlineno = (int32_t)process__u64(process, address + layout->code_firstlineno);
	copy_str(walk, process__u64(process, address + layout->code_filename), &copy.filename);
	copy_str(walk, process__u64(process, address + layout->code_qualname), &copy.qualname);
	copy.linetable_length = (uint32_t)process__u64(process, table + 16);
	copy.linetable_address = table + layout->bytes_data;
	copy.linetable_byte_cnt = copy.linetable_length;
	ck_assert_uint_le(copy.linetable_byte_cnt, UF_PYTHON_LINETABLE_BYTES);
	ck_assert_int_eq(process__read(process, copy.linetable_address, copy.linetable,
				       copy.linetable_byte_cnt),
			 0);
	return python_code__new(&copy);
}

static uint32_t instr_offset(const struct uf_python *layout, const uint8_t *frame, uint64_t code)
{
	uint64_t instr;
	int32_t lasti;

	memcpy(&lasti, frame + layout->frame_instr, sizeof(lasti));
	if (layout->instr == UF_PYTHON_LASTI_BYTES)
		return (uint32_t)lasti;
	if (layout->instr == UF_PYTHON_LASTI_UNITS)
		return (uint32_t)lasti * 2;
	memcpy(&instr, frame + layout->frame_instr, sizeof(instr));
	return (uint32_t)(instr - code - layout->code_instrs);
}

/* Fills the place of the next frame; false: there is none. entry_cnt counts eval calls begun. */
static bool next_place(struct walk *walk, struct place *place, int *entry_cnt)
{
	const struct uf_python *layout = walk->layout;
	uint8_t frame[128];
	struct python_code *code;
	uint64_t address;

	while (walk->frame) {
		ck_assert_uint_le(layout->frame_size, sizeof(frame));
		ck_assert_int_eq(process__read(walk->process, walk->frame, frame,
					       layout->frame_size),
				 0);
		memcpy(&walk->frame, frame + layout->frame_previous, sizeof(walk->frame));
		if (layout->entry == UF_PYTHON_ENTRY_CSTACK &&
		    frame[layout->frame_owner] == layout->owner_cstack) {
			++*entry_cnt;
			continue;
		}
		if (layout->entry == UF_PYTHON_ENTRY_EACH ||
		    (layout->entry == UF_PYTHON_ENTRY_FLAG && frame[layout->frame_owner]))
			++*entry_cnt;
		memcpy(&address, frame + layout->frame_code, sizeof(address));
		if (layout->frame_code_tagged)
			address &= ~7ull;
		code = copy_code(walk, address);
		ck_assert_ptr_nonnull(code);
		strcpy(place->filename, python_code__filename(code));
		strcpy(place->name, python_code__qualname(code));
		place->line = python_code__line(code, instr_offset(layout, frame, address));
		python_code__free(code);
		return true;
	}
	return false;
}

/* The innermost frame of the thread whose thread pointer that is, found as the probe finds it. */
static uint64_t first_frame(struct process *process, const struct uf_python *layout,
			    uint64_t thread_pointer)
{
	uint64_t tstate = process__u64(process, thread_pointer + layout->tss_offset), frame;

	ck_assert_uint_ne(tstate, 0);
	frame = process__u64(process, tstate + layout->tstate_frame);
	return layout->layout == UF_PYTHON_CFRAME ?
		       process__u64(process, frame + layout->cframe_current_frame) :
		       frame;
}

/* "x6162" to "ab". */
static void from_hex(const char *hex, char *out)
{
	unsigned int byte;

	for (hex++; sscanf(hex, "%2x", &byte) == 1; hex += 2)
		*out++ = (char)byte;
	*out = '\0';
}

/* Reads the report of the script and compares it. Returns the number of frames. */
static int compare_frames(struct process *process, const struct python_runtime *runtime,
			  const char *what)
{
	struct walk walk = { .process = process, .layout = &runtime->layout };
	char line[8192], file[2600], name[2600], expected[1300];
	int threads = 0, frames = 0, entries = 0;
	struct place place;

	while (fgets(line, sizeof(line), process->out) && strcmp(line, "end\n")) {
		unsigned long id;
		unsigned int line_number;

		if (sscanf(line, "T %lu", &id) == 1) {
			ck_assert(!next_place(&walk, &place, &entries));
			walk.frame = first_frame(process, walk.layout, id);
			threads++;
			continue;
		}
		ck_assert_int_eq(sscanf(line, "F %u %2599s %2599s", &line_number, file, name), 3);
		ck_assert_msg(next_place(&walk, &place, &entries), "%s: frames are missing", what);
		from_hex(file, expected);
		ck_assert_str_eq(place.filename, expected);
		from_hex(name, expected);
		ck_assert_str_eq(place.name, expected);
		ck_assert_msg(place.line == line_number, "%s: %s: line %u instead of %u", what,
			      place.name, place.line, line_number);
		frames++;
	}
	ck_assert_str_eq(line, "end\n");
	ck_assert(!next_place(&walk, &place, &entries));
	ck_assert_int_eq(threads, THREAD_CNT);
	ck_assert_int_ge(entries, threads);
	printf("%s: key %u, %d threads, %d frames, %d eval calls\n", what, runtime->layout.tss_key,
	       threads, frames, entries);
	return frames;
}

/* Waits for the report to begin: then all threads are parked. */
static void await_report(struct process *process)
{
	int c = fgetc(process->out);

	ck_assert_int_eq(c, 'T');
	ungetc(c, process->out);
}

static struct process start_python(const struct test_python *python, const char *script,
				   char *const options[])
{
	char *argv[8] = { (char *)(uintptr_t)python->path, (char *)(uintptr_t) "-X",
			  (char *)(uintptr_t) "utf8" };
	int cnt = 3;

	for (int i = 0; options && options[i]; i++)
		argv[cnt++] = options[i];
	argv[cnt++] = (char *)(uintptr_t)script;
	return process__start(argv, NULL);
}

static void check_frames(const struct test_python *python, char *const options[])
{
	char what[128];
	char *script = script_path(park_script);
	struct process process = start_python(python, script, options);
	struct python_runtime runtime;
	enum python_status status;

	await_report(&process);
	unlink(script);
	status = process__find_runtime(&process, &runtime);
	ck_assert_msg(status == PYTHON_FOUND, "%s: status %d: %s", python->path, status,
		      runtime.why);
	ck_assert_str_eq(runtime.version, python->version);
	ck_assert_str_eq(runtime.why, "");
	ck_assert_uint_eq(runtime.layout.version_hex, python->hex);
	ck_assert_uint_lt(runtime.layout.eval[0].start, runtime.layout.eval[0].end);
	ck_assert_uint_ne(runtime.code_dealloc_address, 0);
	snprintf(what, sizeof(what), "%s%s%s", python->version, options ? " " : "",
		 options ? options[0] : "");
	ck_assert_int_gt(compare_frames(&process, &runtime, what), 200);
	process__end(&process);
}

START_TEST(frames_of_all_threads_are_as_the_interpreter_tells)
{
	find_pythons();
	for (int i = 0; i < python_cnt; i++)
		check_frames(&pythons[i], NULL);
}
END_TEST

START_TEST(frames_are_read_under_other_allocators_and_options)
{
	char import_time[] = "-Ximporttime", optimise[] = "-OO", dev[] = "-Xdev";
	char *const options[][2] = { { optimise, NULL }, { dev, NULL }, { import_time, NULL } };

	find_pythons();
	ck_assert_int_eq(setenv("PYTHONMALLOC", "debug", 1), 0);
	check_frames(&pythons[0], NULL);
	ck_assert_int_eq(setenv("PYTHONMALLOC", "malloc", 1), 0);
	check_frames(&pythons[0], NULL);
	unsetenv("PYTHONMALLOC");
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		check_frames(&pythons[0], options[i]);
}
END_TEST

START_TEST(a_process_that_is_no_python_has_none)
{
	char name[] = "/bin/cat";
	char *const argv[] = { name, NULL };
	struct process process = process__start(argv, NULL);
	struct python_runtime runtime;
	struct python_file file = { .path = name };
	char line[8];

	/* What it echoes, it has started to echo. */
	ck_assert_int_eq(write(process.in, "go\n", 3), 3);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), process.out));
	ck_assert_int_eq(process__find_runtime(&process, &runtime), PYTHON_ABSENT);
	file.fd = open(name, O_RDONLY | O_CLOEXEC);
	memset(&runtime, 0xff, sizeof(runtime));
	ck_assert_int_eq(python_runtime__find(&file, process__read, &process, &runtime),
			 PYTHON_ABSENT);
	ck_assert_str_eq(runtime.why, "");
	close(file.fd);
	process__end(&process);
}
END_TEST

/* -- start and end -- */

static void trace_me(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

/* Looks at every system call until the interpreter is found, then at some. */
static void check_life(const struct test_python *python)
{
	enum { STRIDE = 41 };
	char dash_c[] = "-c", program[] = "import threading\n"
					  "t = threading.Thread(target=lambda: None)\n"
					  "t.start(); t.join()";
	char *const argv[] = { (char *)(uintptr_t)python->path, dash_c, program, NULL };
	struct process process = process__start(argv, trace_me);
	unsigned int counts[PYTHON_FOUND + 1] = { 0 };
	struct python_runtime runtime;
	int status;

	for (unsigned int i = 0;; i++) {
		ck_assert_int_eq(waitpid(process.pid, &status, 0), process.pid);
		if (WIFEXITED(status) || WIFSIGNALED(status))
			break;
		if (!counts[PYTHON_FOUND] || i % STRIDE == 0) {
			enum python_status found = process__find_runtime(&process, &runtime);

			counts[found]++;
			ck_assert_msg(found != PYTHON_UNAVAILABLE, "%s: call %u: %s",
				      python->path, i, runtime.why);
			ck_assert(found != PYTHON_ABSENT || !counts[PYTHON_NOT_YET]);
		}
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, process.pid, NULL, NULL), 0);
	}
	ck_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	printf("%s: absent %u, not yet %u, found %u\n", python->version, counts[PYTHON_ABSENT],
	       counts[PYTHON_NOT_YET], counts[PYTHON_FOUND]);
	ck_assert_uint_gt(counts[PYTHON_NOT_YET], 0);
	ck_assert_uint_gt(counts[PYTHON_FOUND], 0);
	process__end(&process);
}

START_TEST(at_no_instant_of_its_life_is_an_interpreter_refused)
{
	find_pythons();
	for (int i = 0; i < python_cnt; i++)
		check_life(&pythons[i]);
}
END_TEST

/* The script prints T and runs on; it is looked at many times. */
static void check_moving(const struct test_python *python, const char *script)
{
	char *path = script_path(script);
	struct process process = start_python(python, path, NULL);

	await_report(&process);
	unlink(path);
	for (int i = 0; i < 20; i++) {
		struct python_runtime runtime;
		enum python_status status = process__find_runtime(&process, &runtime);

		ck_assert_msg(status == PYTHON_FOUND, "%s: status %d: %s", python->path, status,
			      runtime.why);
	}
	process__end(&process);
}

START_TEST(frames_in_motion_are_not_mistaken_for_wrong_ones)
{
	/* One thread: with several, all but one stand still, waiting for the GIL. */
	static const char calls[] = "def churn(n): return n and churn(n - 1) + sum(churn(0)\n"
				    "        for _ in range(2)) + len([churn(0) for _ in '12'])\n"
				    "print('T', flush=True)\n"
				    "while True: churn(20)\n";
	static const char threads[] = "import threading\n"
				      "print('T', flush=True)\n"
				      "while True:\n"
				      "    t = threading.Thread(target=lambda: None)\n"
				      "    t.start(); t.join()\n";

	find_pythons();
	for (int i = 0; i < python_cnt; i++) {
		check_moving(&pythons[i], calls);
		check_moving(&pythons[i], threads);
	}
}
END_TEST

/* -- refusals: a process whose memory is otherwise than it should be -- */

struct victim {
	struct process process;
	struct python_runtime runtime;
	const struct python_offsets *offsets;
	struct python_threads threads;
};

static struct victim start_victim(const struct test_python *python)
{
	struct victim victim;
	struct python_memory mem;
	char *path = script_path(park_script);

	victim.process = start_python(python, path, NULL);
	await_report(&victim.process);
	unlink(path);
	ck_assert_int_eq(process__find_runtime(&victim.process, &victim.runtime), PYTHON_FOUND);
	victim.offsets = python_offsets__for_version(python->hex);
	ck_assert_ptr_nonnull(victim.offsets);
	mem = (struct python_memory){ process__read, &victim.process };
	ck_assert_int_eq(python_threads__read(&mem, victim.runtime.runtime_address,
					      victim.offsets, &victim.threads),
			 0);
	ck_assert_uint_eq(victim.threads.cnt, THREAD_CNT);
	return victim;
}

static void check_refusal(struct victim *victim, const char *reason)
{
	struct python_runtime runtime;
	char prefix[64];

	ck_assert_int_eq(process__find_runtime(&victim->process, &runtime), PYTHON_UNAVAILABLE);
	snprintf(prefix, sizeof(prefix), "Python %s frames unavailable: ",
		 victim->runtime.version);
	ck_assert_msg(!strncmp(runtime.why, prefix, strlen(prefix)), "%s", runtime.why);
	ck_assert_msg(strstr(runtime.why, reason), "'%s' instead of '%s'", runtime.why, reason);
	ck_assert_uint_eq(runtime.layout.eval[0].end, 0); /* nothing to work with by mistake */
	victim->process.patch_cnt = 0;
}

START_TEST(a_key_that_a_probe_cannot_find_is_refused)
{
	struct victim victim;
	uint64_t key;

	find_pythons();
	victim = start_victim(&pythons[0]);
	key = victim.runtime.runtime_address + victim.offsets->runtime_tss_key;
	process__patch(&victim.process, key, 32ull << 32 | 1);
	check_refusal(&victim, "its thread-specific key is 32, past the first 32");
	process__patch(&victim.process, key, 5000ull << 32 | 1);
	check_refusal(&victim, "key is not where it should be");
	process__patch(&victim.process, key, 77);
	check_refusal(&victim, "key is not where it should be");
	process__end(&victim.process);
}
END_TEST

START_TEST(thread_states_that_are_not_where_glibc_keeps_them_are_refused)
{
	struct victim victim;

	find_pythons();
	victim = start_victim(&pythons[0]);
	/* Another key, which no thread has a value for: as under another C library. */
	process__patch(&victim.process,
		       victim.runtime.runtime_address + victim.offsets->runtime_tss_key,
		       31ull << 32 | 1);
	check_refusal(&victim, "not where glibc would keep them");
	process__end(&victim.process);
}
END_TEST

START_TEST(thread_states_of_another_shape_are_refused)
{
	struct victim victim;
	uint64_t tstate;

	find_pythons();
	victim = start_victim(&pythons[0]);
	tstate = victim.threads.threads[3].tstate;
	process__patch(&victim.process, tstate + victim.offsets->tstate_interp, 0x1234);
	check_refusal(&victim, "thread states are not as known");
	process__patch(&victim.process, tstate + victim.offsets->tstate_next, 0x1234);
	check_refusal(&victim, "thread states are not as known");
	process__end(&victim.process);
}
END_TEST

/* Patches what python's frame chain of the main thread starts at, for all threads. */
static void patch_first_frames(struct victim *victim, uint64_t frame)
{
	const struct uf_python *layout = &victim->runtime.layout;

	victim->threads.cnt = victim->threads.cnt < PATCHES_MAX ? victim->threads.cnt :
								  PATCHES_MAX;
	for (uint32_t i = 0; i < victim->threads.cnt; i++) {
		uint64_t at = victim->threads.threads[i].tstate + layout->tstate_frame;

		if (layout->layout == UF_PYTHON_CFRAME)
			at = process__u64(&victim->process, at) + layout->cframe_current_frame;
		process__patch(&victim->process, at, frame);
	}
}

START_TEST(an_interpreter_with_frames_of_another_shape_is_refused)
{
	/* Few enough threads that all can be patched. */
	static const char script[] = "import sys\nprint('T', flush=True)\nsys.stdin.read()\n";

	find_pythons();
	for (int i = 0; i < python_cnt; i++) {
		char *path = script_path(script);
		struct victim victim = { .process = start_python(&pythons[i], path, NULL) };
		const struct uf_python *layout = &victim.runtime.layout;
		struct python_memory mem = { process__read, &victim.process };
		uint64_t frame, code;

		await_report(&victim.process);
		unlink(path);
		ck_assert_int_eq(process__find_runtime(&victim.process, &victim.runtime),
				 PYTHON_FOUND);
		victim.offsets = python_offsets__for_version(pythons[i].hex);
		ck_assert_int_eq(python_threads__read(&mem, victim.runtime.runtime_address,
						      victim.offsets, &victim.threads),
				 0);
		ck_assert_uint_eq(victim.threads.cnt, 1);
		frame = first_frame(&victim.process, layout, victim.threads.threads[0].thread_id);
		code = process__u64(&victim.process, frame + layout->frame_code);
		if (layout->frame_code_tagged)
			code &= ~7ull;
		patch_first_frames(&victim, 0x10);
		check_refusal(&victim, "a frame cannot be read");
		process__patch(&victim.process, frame + layout->frame_code, frame);
		check_refusal(&victim, "a frame has no code object");
		process__patch(&victim.process, code + layout->code_filename, code);
		check_refusal(&victim, "a code object has no file name");
		process__patch(&victim.process, code + layout->code_qualname, code);
		check_refusal(&victim, "a code object has no name");
		process__patch(&victim.process, code + layout->code_linetable, code);
		check_refusal(&victim, "a code object has no line table");
		process__patch(&victim.process, frame + layout->frame_instr, 0x7fffffff);
		check_refusal(&victim, "a frame is outside of its code");
		/* No frames at all: nothing speaks against it. */
		patch_first_frames(&victim, 0);
		ck_assert_int_eq(process__find_runtime(&victim.process, &victim.runtime),
				 PYTHON_FOUND);
		process__end(&victim.process);
	}
}
END_TEST

START_TEST(an_interpreter_that_is_not_initialised_is_for_later)
{
	struct python_runtime runtime;
	struct victim victim;

	find_pythons();
	victim = start_victim(&pythons[0]);
	process__patch(&victim.process,
		       victim.runtime.runtime_address + victim.offsets->runtime_initialized, 0);
	ck_assert_int_eq(process__find_runtime(&victim.process, &runtime), PYTHON_NOT_YET);
	victim.process.patch_cnt = 0;
	process__patch(&victim.process,
		       victim.runtime.runtime_address + victim.offsets->runtime_tss_key, 0);
	ck_assert_int_eq(process__find_runtime(&victim.process, &runtime), PYTHON_NOT_YET);
	process__end(&victim.process);
}
END_TEST

START_TEST(debug_offsets_that_are_not_as_known_are_refused)
{
	static const struct {
		int word;
		uint64_t value;
		const char *reason;
	} wrongs[] = {
		{ 0, 0, "does not begin with debug offsets" },
		{ 1, 0x030d00f1, "of another version" },
		{ 2, 1, "free-threaded builds are not supported" },
		{ 8, 1u << 23, "not plausible" },  /* PyInterpreterState.next */
		{ 8, UINT64_MAX, "not plausible" },
	};
	int tried = 0;

	find_pythons();
	for (int i = 0; i < python_cnt; i++) {
		struct victim victim;

		if (pythons[i].hex < PYTHON_VERSION_HEX(3, 13))
			continue;
		victim = start_victim(&pythons[i]);
		for (size_t k = 0; k < sizeof(wrongs) / sizeof(wrongs[0]); k++) {
			process__patch(&victim.process,
				       victim.runtime.runtime_address +
					       8 * (uint64_t)wrongs[k].word,
				       wrongs[k].value);
			check_refusal(&victim, wrongs[k].reason);
		}
		/* The frame's offset in PyThreadState: plausible, but another. */
		process__patch(&victim.process,
			       victim.runtime.runtime_address +
				       8 * (pythons[i].hex < PYTHON_VERSION_HEX(3, 14) ? 23 : 26),
			       80);
		check_refusal(&victim, "not as known of this version");
		process__end(&victim.process);
		tried++;
	}
	printf("%d interpreters with debug offsets\n", tried);
}
END_TEST

START_TEST(memory_that_fails_to_be_read_at_any_time_is_survived)
{
	find_pythons();
	for (int i = 0; i < python_cnt; i += 3) {
		struct victim victim = start_victim(&pythons[i]);
		struct python_runtime runtime;
		enum python_status status = PYTHON_ABSENT;

		for (unsigned int at = 1; at < 40; at++) {
			victim.process.fail_at = at;
			victim.process.read_cnt = 0;
			status = process__find_runtime(&victim.process, &runtime);
			/* Once a few threads were found good, the rest need not be. */
			if (status == PYTHON_FOUND)
				break;
			ck_assert(status == PYTHON_UNAVAILABLE || status == PYTHON_NOT_YET);
			ck_assert_int_eq(!!runtime.why[0], status == PYTHON_UNAVAILABLE);
		}
		process__end(&victim.process);
	}
}
END_TEST

static int read_noise(void *arg, uint64_t address, void *buf, size_t size)
{
	uint64_t *seed = arg;

	(void)address;
	for (size_t i = 0; i < size; i++) {
		*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
		/* Mostly zeros, so that counts and pointers are small at times. */
		((uint8_t *)buf)[i] = *seed >> 62 ? 0 : (uint8_t)(*seed >> 40);
	}
	return *seed >> 60 ? 0 : -EFAULT;
}

START_TEST(noise_is_not_an_interpreter)
{
	struct process process;
	struct python_file file;
	char path[PATH_MAX];
	uint64_t seed = 7;

	find_pythons();
	process = start_python(&pythons[0], "-", NULL);
	do {
		file = process__find_python(&process, path);
	} while (file.fd < 0);
	for (int i = 0; i < 30; i++) {
		struct python_runtime runtime;

		ck_assert_int_ne(python_runtime__find(&file, read_noise, &seed, &runtime),
				 PYTHON_FOUND);
	}
	close(file.fd);
	process__end(&process);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("python_runtime");
	TCase *tcase = tcase_create("python_runtime");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 600);
	tcase_add_test(tcase, frames_of_all_threads_are_as_the_interpreter_tells);
	tcase_add_test(tcase, frames_are_read_under_other_allocators_and_options);
	tcase_add_test(tcase, a_process_that_is_no_python_has_none);
	tcase_add_test(tcase, at_no_instant_of_its_life_is_an_interpreter_refused);
	tcase_add_test(tcase, frames_in_motion_are_not_mistaken_for_wrong_ones);
	tcase_add_test(tcase, a_key_that_a_probe_cannot_find_is_refused);
	tcase_add_test(tcase, thread_states_that_are_not_where_glibc_keeps_them_are_refused);
	tcase_add_test(tcase, thread_states_of_another_shape_are_refused);
	tcase_add_test(tcase, an_interpreter_with_frames_of_another_shape_is_refused);
	tcase_add_test(tcase, an_interpreter_that_is_not_initialised_is_for_later);
	tcase_add_test(tcase, debug_offsets_that_are_not_as_known_are_refused);
	tcase_add_test(tcase, memory_that_fails_to_be_read_at_any_time_is_survived);
	tcase_add_test(tcase, noise_is_not_an_interpreter);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
