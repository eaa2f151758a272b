# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: every allocator's functions are found without being told, and each block counts once:
with the size that was asked for, at the place that asked for it."""

import glob
import os
import shutil
import subprocess
import time

import harness

SOURCE = "operators.cc"

# operators.cc: function, blocks made, bytes each, how many of them were deleted
OPERATORS = [
    ("new_plain", 101, 103, 12),
    ("new_array", 107, 109, 9),
    ("new_nothrow", 113, 127, 0),
    ("new_array_nothrow", 131, 137, 0),
    ("new_aligned", 139, 149, 9),
    ("new_array_aligned", 151, 157, 8),
    ("new_aligned_nothrow", 163, 167, 0),
    ("new_array_aligned_nothrow", 173, 179, 0),
    ("new_large", 11, 3 << 20, 4),
]


def library(name):
    """Path of a shared library of Debian's, or None."""
    found = glob.glob(f"/usr/lib/*-linux-gnu/{name}")
    return found[0] if found else None


LIBRARIES = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4",
             "mimalloc": "libmimalloc.so.2*"}


class Allocators(harness.LiveTest):
    """What the tests of several allocators share."""

    ends = {"complete"}

    def preload(self, allocator):
        """The library's path."""
        path = library(LIBRARIES[allocator])
        if not path:
            self.skipTest(f"{allocator} is not installed")
        return path

    def assert_below(self, report, function, live_count, live_bytes, alloc_count, free_count):
        """All that was allocated in or below a function."""
        sites = harness.find_sites(report, function, anywhere=True)
        names = ("live_count", "live_bytes", "alloc_count", "free_count")
        self.assertEqual([sum(site[name] for site in sites) for name in names],
                         [live_count, live_bytes, alloc_count, free_count],
                         function + "\n" + harness.describe(report))
        self.assertLessEqual({site["stack_end"] for site in sites}, self.ends)


class OperatorChecks(Allocators):
    """What operators.cc must give."""

    def run_operators(self, victim, *args):
        """The report at the end, and how many exceptions the program says that it caught."""
        tool = self.unfreed("-p", victim.pid, *args)
        victim.go("DONE deletes")
        (caught,) = victim.go("DONE throws")
        (handled,) = victim.go("DONE handler")
        report = tool.last_report()
        self.assertEqual(victim.finish(), 0)
        self.assert_no_loss(report)
        if "1" in victim.proc.args[2:]:
            self.assertEqual(harness.sums(harness.find_sites(report, "handler_alloc")),
                             (handled, handled * 241))
        return report, caught

    def preloaded(self, allocator):
        """operators.cc, in which the new handler allocates too."""
        return self.victim("operators", 1, 1, preload=self.preload(allocator))

    def check_all(self, victim, *args):
        """Everything that operators.cc does; free is never called with what nobody knows."""
        report, caught = self.run_operators(victim, *args)
        self.check_operators(report)
        self.check_throws(report, caught)
        return report

    def check_operators(self, report):
        """Each kind of new, less what was deleted."""
        for function, made, size, deleted in OPERATORS:
            with self.subTest(function=function):
                # Aligned sizes may be rounded up by the operator before it allocates.
                self.assert_below(report, function, made - deleted, (made - deleted) * size, made,
                                  deleted)

    def check_throws(self, report, caught):
        """What was allocated around exceptions, and by places that had thrown."""
        self.assertEqual(caught, 31 * 5 + 11)
        self.assert_below(report, "alloc_deep", 31 + 37, (31 + 37) * 199, 31 + 37, 0)
        self.assert_below(report, "new_deep", 31 + 37, (31 + 37) * 211, 31 + 37, 0)
        self.assert_below(report, "try_here", 20, 20 * 227, 20, 0)
        sites = [site for site in harness.find_sites(report, "with_handler", anywhere=True)
                 if site["frames"][0]["function"] != "handler_alloc()"]
        self.assertEqual(harness.sums(sites), (37 * 2 + 6, 37 * (199 + 211) + 6 * 239))


class Operators(OperatorChecks):
    """operators.cc: C++'s, of allocators that have their own."""

    def test_every_operator_counts_once_and_exceptions_pass(self):
        for allocator in ("jemalloc", "tcmalloc"):
            for mode in harness.ATTACH_MODES:
                with self.subTest(allocator=allocator), self.attached_by(mode) as args:
                    report = self.check_all(self.preloaded(allocator), *args)
                    self.assertEqual(report["unknown_free_count"], 0)

    def test_operators_of_an_allocator_in_the_program(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                self.check_all(self.victim("own_new"), *args)

    def test_what_only_jumps_to_another_is_not_probed(self):
        """jemalloc's operator delete jumps to free, operator new[] to operator new."""
        tool = self.unfreed("-v", "-p", self.preloaded("jemalloc").pid)
        tool.last_report()
        # "unfreed:   _Znwm+7: jnbe +0x99: ..."
        listed = [words[1].split("+")[0] for words in map(str.split, tool.stderr.all) if len(words) > 2]
        for name, is_probed in (("_Znwm", True), ("_Znam", False), ("_ZdlPvm", True),
                                ("_ZdlPv", False), ("_ZdaPv", False), ("sdallocx", True)):
            self.assertEqual(name in listed, is_probed, name)

    def test_exceptions_by_frame_pointers(self):
        self.ends = {"complete", "bad-chain", "read-fault"} # the C library has none
        for allocator in ("jemalloc", "tcmalloc"):
            with self.subTest(allocator=allocator):
                self.check_all(self.preloaded(allocator), "--stack", "fp")

    def test_operators_of_sanitizers(self):
        """They replace all of it, and are traced like an allocator that nobody knows."""
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        for sanitizer in ("address", "thread"):
            with self.subTest(sanitizer=sanitizer):
                path = os.path.join(self.folder, sanitizer)
                subprocess.run(["g++", "-std=gnu++17", "-O1", "-g", "-fsanitize=" + sanitizer,
                                "-fno-optimize-sibling-calls",
                                os.path.join(harness.SOURCES, SOURCE), "-o", path], check=True,
                               timeout=300)
                report = self.trace(self.victim("operators", 0, path=path, env=env),
                                    "DONE deletes")
                self.check_operators(report)
                self.assert_no_loss(report)

    def test_threads_that_throw_and_delete_each_others(self):
        for allocator in ("jemalloc", "tcmalloc"):
            with self.subTest(allocator=allocator):
                victim = self.victim("throw_storm", preload=self.preload(allocator))
                tool = self.unfreed("-p", victim.pid, interval="100ms")
                victim.go("DONE storm")
                kept = 4 * 2003
                sites = [site for site in tool.fresh_report()["sites"]
                         if site["frames"][0]["function"] == "work(int)"]
                self.assertEqual(harness.sums(sites), (kept + 64, kept * 311 + 64 * 307))
                victim.go("DONE all")
                report = tool.last_report()
                self.assert_site(report, "work", kept, kept * 311, kept, 0)
                self.assertEqual(report["unknown_free_count"], 0)
                self.assert_no_loss(report)
                self.assertEqual(victim.finish(), 0)

    def test_operators_of_an_interposed_allocator(self):
        """wrapper.so over jemalloc: malloc is the wrapper's, new is jemalloc's."""
        preload = harness.program("wrapper.so") + ":" + self.preload("jemalloc")
        victim = self.victim("operators", preload=preload)
        report = self.trace(victim, "DONE deletes", "DONE throws", "DONE handler")
        self.check_operators(report)
        self.check_throws(report, 31 * 5 + 11)
        self.assert_no_loss(report)
        self.assertEqual(report["unknown_free_count"], 0)

    def test_every_operator_of_mimalloc_counts_once(self):
        """Debian's does not throw, but ends the program, traced or not."""
        victim = self.victim("operators", 0, preload=self.preload("mimalloc"))
        self.check_operators(self.run_operators(victim)[0])


class Families(Allocators):
    """families.c: what allocators have beside malloc's names."""

    def check_families(self, allocator, victim):
        """Every function that is there, and the program's own malloc in between."""
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE rows")
        report = tool.last_report()
        self.assertEqual(victim.finish(), 0)
        rows = [line.split()[1:] for line in victim.lines.rest().split("\n")
                if line.startswith("ROW")]
        self.assertGreater(len(rows), 4)
        for name, blocks, size in rows:
            with self.subTest(allocator=allocator, function=name):
                sites = harness.find_sites(report, "run_" + name, anywhere=True)
                self.assertEqual(harness.sums(sites), (int(blocks), int(size)),
                                 harness.describe({**report, "sites": sites}))
        self.assert_site(report, "run_malloc", 73, 73 * 79, 73, 0)
        self.assertEqual(report["unknown_free_count"], 0)
        self.assert_no_loss(report)
        live = sum(int(row[1]) for row in rows) + 73
        self.assertEqual(report["totals"]["live_count"], live, harness.describe(report))

    def test_preloaded(self):
        for allocator in LIBRARIES:
            self.check_families(allocator, self.victim("families", allocator,
                                                       preload=self.preload(allocator)))

    def test_loaded_beside_the_programs_own(self):
        env = {**os.environ, "GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=16384"}
        for allocator in LIBRARIES:
            self.check_families(allocator, self.victim("families", allocator,
                                                       self.preload(allocator), env=env))


class Static(OperatorChecks):
    """Allocators in the executable itself."""

    def archive(self, name):
        """The static library, to be linked."""
        path = library(name)
        if not path:
            self.skipTest(f"{name} is not installed")
        return path

    def link(self, source, *objects):
        """A C++ program."""
        path = os.path.join(self.folder, source)
        subprocess.run(["g++", "-std=gnu++17", "-O1", "-g", "-fno-optimize-sibling-calls",
                        os.path.join(harness.SOURCES, source), *objects, "-pthread", "-ldl", "-o",
                        path], check=True, timeout=300)
        return path

    def check_linked(self, *archives):
        """operators.cc, linked with an allocator."""
        self.check_all(self.victim("operators", path=self.link("operators.cc", *archives)))

    def test_operators_of_tcmalloc(self):
        self.check_linked(self.archive("libtcmalloc_minimal.a"))

    def test_operators_of_jemalloc(self):
        self.check_linked(self.archive("libjemalloc.a"))

    def test_operators_in_a_static_program(self):
        self.check_linked(self.archive("libjemalloc.a"), "-static")

    def test_two_allocators_and_a_prefix_that_nobody_named(self):
        names = ("aligned_alloc calloc dallocx free mallctl mallctlbymib mallctlnametomib malloc "
                 "malloc_stats_print malloc_usable_size mallocx memalign nallocx posix_memalign "
                 "rallocx realloc sallocx sdallocx valloc xallocx")
        renamed = os.path.join(self.folder, "libje.a")
        subprocess.run(["objcopy", *[f"--redefine-sym={name}=je_{name}" for name in names.split()],
                        self.archive("libjemalloc.a"), renamed], check=True, timeout=300)
        victim = self.victim("je_static", path=self.link("je_static.cpp", renamed))
        report = self.trace(victim, "DONE leaks")
        self.assert_site(report, "leak_malloc", 101, 101 * 103, 101, 0)
        self.assert_site(report, "leak_je", 107, 107 * 109, 107, 0)
        self.assert_site(report, "leak_je_realloc", 113, 113 * 4001, 113, 0)
        self.assert_site(report, "leak_je_mallocx", 96, 96 * 131, 127, 31)
        self.assert_site(report, "leak_new", 137, 137 * 139, 137, 0)
        totals = report["totals"]
        self.assertEqual((totals["live_count"], totals["alloc_count"]),
                         (101 + 107 + 113 + 96 + 137, 101 + 107 + 226 + 127 + 137 + 41 + 2),
                         harness.describe(report))
        self.assertEqual(report["unknown_free_count"], 0)
        self.assert_no_loss(report)


class Languages(Allocators):
    """Other compilers' programs, dynamic and static, with and without symbols."""

    def build(self, compiler, *command, env=None):
        """A program in our folder; skips where there is no compiler."""
        if not shutil.which(compiler):
            self.skipTest(f"{compiler} is not installed")
        path = os.path.join(self.folder, "built")
        result = subprocess.run([compiler, *command, "-o", path], capture_output=True, env=env,
                                timeout=300, check=False)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return path

    def source(self, name):
        """Path of a victim's source."""
        return os.path.join(harness.SOURCES, name)

    def test_rust(self):
        path = self.build("rustc", "-g", "-C", "opt-level=1", "-C", "force-frame-pointers=no",
                          self.source("rust_leaks.rs"))
        report = self.trace(self.victim("rust", path=path), "DONE leaks")
        self.assert_below(report, "leak_boxes", 503, 503 * 1013, 503, 0)
        self.assert_below(report, "leak_vectors", 211, 211 * 134 * 8, 211, 0)
        self.assert_live(report, 714, 503 * 1013 + 211 * 134 * 8)
        totals = report["totals"]
        self.assertEqual((totals["alloc_count"], totals["free_count"]),
                         (503 + 211 + 211 + 307, 211 + 307))
        self.assert_no_loss(report)

    def build_go(self, *args):
        """The Go program; its caches are ours."""
        env = {**os.environ, "GOCACHE": os.path.join(self.folder, "go"), "GO111MODULE": "off",
               "CGO_ENABLED": "1", "GOFLAGS": ""}
        path = os.path.join(self.folder, "built")
        if not shutil.which("go"):
            self.skipTest("go is not installed")
        result = subprocess.run(["go", "build", "-o", path, *args, self.source("go_leaks.go")],
                                capture_output=True, env=env, timeout=300, check=False)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return path

    def check_go(self, path):
        """C's blocks, and none of Go's."""
        report = self.trace(self.victim("go", path=path), "DONE leaks")
        self.assertEqual(harness.sums([site for site in harness.malloc_sites(report)
                                       if site["live_bytes"] == 1021 * site["live_count"]]),
                         (300, 300 * 1021), harness.describe(report))
        sites = harness.find_sites(report, "leak_c", anywhere=True)
        self.assertEqual(harness.sums(sites), (307, 307 * 1031), harness.describe(report))
        self.assert_live(report, 607, 300 * 1021 + 307 * 1031)
        totals = report["totals"]
        self.assertEqual((totals["alloc_count"], totals["free_count"]), (761, 154))
        self.assert_no_loss(report)

    def test_go_with_c(self):
        self.check_go(self.build_go())

    def test_go_with_c_linked_statically(self):
        self.check_go(self.build_go("-ldflags", "-linkmode external -extldflags -static"))

    def musl(self, *args):
        """batches.c with musl."""
        return self.build("musl-gcc", "-std=gnu17", "-O1", "-g", *args, self.source("batches.c"))

    def check_musl(self, path):
        """All of it, freed in part."""
        victim = self.victim("musl", 401, 1021, 307, 1031, 211, 1033, path=path)
        report = self.trace(victim, "DONE a", "DONE b", "DONE c", "DONE free a")
        self.assert_live(report, 307 + 211, 307 * 1031 + 211 * 1033)
        totals = report["totals"]
        self.assertEqual((totals["alloc_count"], totals["free_count"]), (919, 401))
        self.assert_no_loss(report)

    def test_musl(self):
        self.check_musl(self.musl())

    def test_musl_linked_statically(self):
        self.check_musl(self.musl("-static"))

    def test_musl_static_without_symbols_says_so(self):
        victim = self.victim("musl", 1, 1, 1, 1, 1, 1, path=self.musl("-static", "-s"))
        result = self.start("-p", victim.pid).wait()
        self.assertEqual(result.status, 1)
        self.assertIn("no allocator function found", result.stderr)
        self.assertIn("stripped", result.stderr)


JQ = "[range(.)|tostring]|map(length)|add"
PYTHON = """
import json, sys
def gate(line):
    print(line, flush=True)
    sys.stdin.buffer.raw.read(1)
def work():
    blocks = [bytes(1000 + i) for i in range(1009)]
    text = json.dumps(list(range(2003)))
    del blocks[::3]
    return blocks, text
first = work()
gate("READY")
second = work()
gate("DONE work")
"""


class Programs(Allocators):
    """Programs of Debian's with other allocators: the same numbers as with glibc's."""

    def victim_with(self, allocator, path, *args):
        """A process with an allocator; Python's small objects are malloc's."""
        env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc", "LC_ALL": "C"}
        preload = None if allocator == "glibc" else self.preload(allocator)
        if not os.path.exists(path):
            self.skipTest(f"{path} is not installed")
        return self.victim("program", *args, path=path, env=env, preload=preload)

    def check_same(self, count, at_least):
        """Every allocator gives what glibc gives; count runs a program with one of them."""
        expected = None
        for allocator in ("glibc", *LIBRARIES):
            report = count(allocator)
            self.assert_no_loss(report)
            totals = {name: report["totals"][name]
                      for name in ("alloc_count", "free_count", "live_count", "live_bytes")}
            expected = expected or totals
            self.assertGreater(expected["alloc_count"], at_least)
            with self.subTest(allocator=allocator):
                self.assertEqual(totals, expected)

    def python(self, allocator):
        """python3, traced until it waits: what it does after its line is part of it."""
        victim = self.victim_with(allocator, "/usr/bin/python3", "-S", "-c", PYTHON)
        self.wait_reading(victim.pid)
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE work")
        self.wait_reading(victim.pid)
        return tool.last_report()

    def wait_reading(self, pid):
        """Until it waits in read(0, ...)."""
        deadline = time.monotonic() + harness.TIMEOUT_S
        while time.monotonic() < deadline:
            with open(f"/proc/{pid}/syscall", encoding="ascii") as text:
                if text.read().split()[:2] == ["0", "0x0"]:
                    return
            time.sleep(0.01)
        self.fail("the program does not wait")

    def test_python(self):
        self.check_same(self.python, at_least=5000)

    def jq(self, allocator):
        """jq, traced while it works on one input of two."""
        script = 'echo READY; exec jq --unbuffered "$1"'
        victim = self.victim_with(allocator, "/bin/sh", "-c", script, "sh", JQ)
        for number, answer in (("3", "3"), ("2003", "6902")):
            tool = self.unfreed("-p", victim.pid) if number != "3" else None
            victim.proc.stdin.write(number.encode() + b"\n")
            victim.proc.stdin.flush()
            self.assertEqual(victim.lines.next(), answer)
            self.wait_reading(victim.pid)
        return tool.last_report()

    def test_jq(self):
        self.check_same(self.jq, at_least=5000)


class Redis(Allocators):
    """redis-server with Debian's jemalloc, and commands of redis-cli."""

    def setUp(self):
        super().setUp()
        for name in ("redis-server", "redis-cli"):
            if not shutil.which(name):
                self.skipTest(f"{name} is not installed")
        self.socket = os.path.join(self.folder, "socket")
        options = {"port": "0", "unixsocket": self.socket, "save": "", "appendonly": "no",
                   "dir": self.folder, "hz": "1", "dynamic-hz": "no", "activerehashing": "yes"}
        words = [word for name, value in options.items() for word in ("--" + name, value)]
        self.server = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL,
                                       start_new_session=True)
        deadline = time.monotonic() + harness.TIMEOUT_S
        while not os.path.exists(self.socket) or self.cli("PING") != "PONG":
            self.assertLess(time.monotonic(), deadline, "redis-server does not answer")
            time.sleep(0.05)

    def cli(self, *command, commands=None):
        """What redis-cli says."""
        return subprocess.run(["redis-cli", "-s", self.socket, *command],
                              input=commands and "".join(commands).encode(),
                              stdin=None if commands else subprocess.DEVNULL,
                              capture_output=True, timeout=harness.TIMEOUT_S,
                              check=False).stdout.decode().strip()

    def live(self, tool):
        """Blocks and bytes by now, with no client connected."""
        totals = tool.fresh_report()["totals"]
        return totals["live_count"], totals["live_bytes"]

    def test_every_key_is_four_blocks(self):
        """A key, its entry in the table, an object and its value; the table does not grow."""
        self.cli(commands=[f"SET filler:{i} x\n" for i in range(1500)])
        # At its first use each command gets a histogram; the larger table is filled by and by.
        self.cli(commands=["UNLINK filler:0\n", "DEL filler:1\n"])
        time.sleep(2)
        tool = self.unfreed("-p", self.server.pid, interval="200ms")
        self.cli("PING")
        count, size = self.live(tool)
        self.cli(commands=[f"SET key:{i:06} {'v' * 1009}\n" for i in range(503)])
        more_count, more_size = self.live(tool)
        self.assertEqual(more_count - count, 4 * 503)
        # dictEntry, robj; strings with header and NUL: sdshdr5 and sdshdr16
        self.assertEqual(more_size - size, 503 * (24 + 16 + (1 + 10 + 1) + (5 + 1009 + 1)))
        # Values this large are freed by another thread.
        self.cli(commands=[f"UNLINK key:{i:06}\n" for i in range(101)] +
                 [f"DEL key:{i:06}\n" for i in range(101, 307)])
        less_count, less_size = self.live(tool)
        self.assertEqual(less_count - count, 4 * (503 - 307))
        self.assertEqual(less_size - size, (503 - 307) * 1067)
        self.assertEqual(self.cli("DBSIZE"), str(1498 + 503 - 307))
        self.assert_no_loss(tool.last_report())
