# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: what libunfreed-gate.so samples is counted as what the allocator's own probes see is, whatever
the C library and the allocator; and a process does not notice it.

With an interval of one byte each block of 40 bytes or more is sampled, but for one in 10^17: such
counts must be exact."""

import ctypes.util
import math
import os
import shutil
import subprocess

import harness
from test_accounting import CXX_SITES, MEMBER, SITES, STRDUP, total
from test_realloc import GONE, LIVE

GATE = os.path.join(harness.ROOT, "libunfreed-gate.so")
PYTHON = "/usr/bin/python3"
EMERGENCY_POOL = ("emergency pool", 1, 72704)  # of libstdc++
SLOTS = 1 << 17  # of the gate's table (gate/sampled_set.h)

KEEPS = """
def keep():
    return [bytes(4001) for _ in range(1009)]
def pass_on():
    return sum(len(bytes(4003)) for _ in range(2003))
import os, sys, time
time.sleep(0.5)  # the interpreter has been found by then
kept = keep()
pass_on()
small = [object() for _ in range(20011)]
sys.stdout.write("READY\\n"); sys.stdout.flush()
sys.stdin.read()
os._exit(0)
"""

OWN_MALLOC = """
#include <unistd.h>
static char memory[1 << 20], *next = memory;
void *malloc(size_t size) { char *block = next; next += (size + 15) & ~15ul; return block; }
void free(void *block) { (void)block; }
int main(void) { char c; write(1, "R", 1); return (int)read(0, &c, 1) < 0 || !malloc(11); }
"""

# The same output with the gate and without.
COMMANDS = [
    ["jq", "-n", "[range(1000)] | map(. * 2) | add"],
    ["sqlite3", ":memory:", "with recursive n(i) as (select 1 union all select i + 1 from n limit"
     " 5000) select sum(i), group_concat(i) from n;"],
    [PYTHON, "-c", "import threading, hashlib; r = []\n"
     "def run(n): r.append(hashlib.sha1(bytes(n) * 1000).hexdigest())\n"
     "ts = [threading.Thread(target=run, args=(n,)) for n in range(50)]\n"
     "[t.start() for t in ts]; [t.join() for t in ts]; print(sorted(r))"],
    ["perl", "-e", "print join(',', map { $_ * $_ } 1 .. 5000)"],
    ["node", "-e", "console.log(JSON.stringify(Array.from({length: 5000}, (_, i) => i * i)))"],
    ["bash", "-c", "for i in {1..200}; do x+=$(echo $i); done; echo $x"],
    ["gcc", "-x", "c", "-S", "-O2", "-o", "-", os.path.join(harness.SOURCES, "edges.c")],
]


def environment(interval=1, preload=GATE):
    """Of a process with the gate."""
    return {**os.environ, "LD_PRELOAD": preload, "UNFREED_GATE_SAMPLE": str(interval)}


def library(name):
    """Where the loader finds a library, or None."""
    found = ctypes.util.find_library(name)
    path = found and os.path.join("/usr/lib/x86_64-linux-gnu", found)
    return path if path and os.path.exists(path) else None


class GateTest(harness.LiveTest):
    """Victims that run with the gate."""

    def gated(self, name, *args, interval=1, preload=GATE, **kwargs):
        """At its first gate, of the other kind."""
        return self.victim(name, *args, env=environment(interval, preload), **kwargs)

    def launch(self, name, *args, options=(), interval=1):
        """The last report on a program that is started with the gate and runs through."""
        env = {**os.environ, "UNFREED_GATE_SAMPLE": str(interval)}
        path = name if "/" in name else harness.program(name)
        return harness.only_last(self.run_command(path, *args, args=["--gate", *options], env=env))

    def assert_by_the_gate(self, report):
        """Nothing but its two functions has probes; nothing of it is on a stack."""
        self.assertEqual((report["probes"], report["probe_files"]), (2, 1))
        for site in report["sites"]:
            for frame in site["frames"]:
                self.assertNotEqual(frame["module"], GATE)


class Exact(GateTest):
    """Blocks that are all sampled."""

    def check_sites(self, report, sites):
        """Each function's blocks, at the line that asked for them."""
        for function, count, size in sites:
            with self.subTest(function=function):
                site = self.assert_site(report, function, count, count * size, count, 0)
                self.assertEqual(site["frames"][0]["function"], function)
                self.assertEqual(site["stack_end"], "complete")
        self.assert_no_loss(report)
        self.assert_by_the_gate(report)

    def test_every_allocator_function_in_a_process_that_runs(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                report = self.trace(self.gated("sites"), "DONE leaks", args=args)
                self.check_sites(report, SITES)
                self.assert_live(report, *total(SITES + [STRDUP]))

    def test_every_allocator_function_in_a_command(self):
        report = self.launch("sites")
        self.check_sites(report, SITES)
        self.assert_live(report, *total(SITES + [STRDUP]))

    def test_operators_and_what_libraries_allocate_before_main(self):
        report = self.launch("sites_cxx")
        self.assert_live(report, *total(CXX_SITES + [MEMBER, EMERGENCY_POOL]))
        self.assert_no_loss(report)

    def test_another_c_library(self):
        path = harness.program("batches.musl")
        if not os.path.exists(path):
            self.skipTest("no musl-gcc")
        victim = self.gated("batches.musl", 101, 1009, 103, 47, 11, 100003)
        tool = self.unfreed("-p", victim.pid)
        for gate in ("DONE a", "DONE b", "DONE c", "DONE free a"):
            victim.go(gate)
        report = tool.last_report()
        self.assert_no_site(report, "batch_a")
        self.assert_site(report, "batch_b", 103, 103 * 47, 103, 0)
        self.assert_site(report, "batch_c", 11, 11 * 100003, 11, 0)
        self.assert_no_loss(report)
        self.assert_by_the_gate(report)

    def test_other_preloaded_allocators(self):
        for name in ("jemalloc", "tcmalloc_minimal", "mimalloc"):
            with self.subTest(allocator=name):
                path = library(name)
                if not path:
                    self.skipTest(f"no {name}")
                victim = self.gated("sites", preload=f"{GATE} {path}")
                report = self.trace(victim, "DONE leaks")
                for function, count, size in SITES:
                    self.assert_site(report, function, count, count * size, count, 0)
                self.assert_no_loss(report)
                self.assert_by_the_gate(report)

    def test_every_kind_of_realloc(self):
        report = self.trace(self.gated("reallocs"), "DONE reallocs")
        for function, count, size in LIVE:
            with self.subTest(function=function):
                self.assert_site(report, function, count, count * size)
        for function in GONE:
            self.assert_no_site(report, function)
        self.assert_site(report, "ping_pong", 31, 31 * 4001, 31 * 41, 31 * 40)
        self.assert_site(report, "origin_fail", 19, 19 * 107, 19, 0)
        self.assert_no_loss(report)

    def test_sizes_that_are_not_wanted(self):
        report = self.trace(self.gated("reallocs"), "DONE reallocs", args=["-z", 150, "-Z", 4001])
        self.assert_live(report, 44, 13 * 211 + 31 * 4001)

    def test_another_thread_frees(self):
        victim = self.gated("threads")
        tool = self.unfreed("-p", victim.pid, interval="100ms")
        victim.go("DONE dying")
        self.assert_site(tool.fresh_report(), "alloc_in_dying_thread", 211, 211 * 223)
        victim.go("DONE freeing")
        self.assertLess(harness.sums(harness.find_sites(
            tool.fresh_report(), "alloc_in_dying_thread"))[0], 211)
        report = tool.last_report()
        self.assert_no_loss(report)

    def test_forked_children_have_their_own(self):
        victim = self.gated("forks", "fork")
        tool = self.unfreed("-p", victim.pid, "--follow", "--per-process", interval="100ms")
        victim.go("DONE shared")
        child, _ = victim.go("DONE fork")
        victim.go("DONE parent")
        victim.go("DONE child")
        report = tool.last_report()
        self.assert_site(report, "alloc_shared", 1009 - 401, (1009 - 401) * 503, pid=victim.pid)
        left = 1009 - 211 - 89 - 53
        self.assert_site(report, "alloc_shared", left, left * 503, pid=child)
        self.assert_site(report, "realloc_shared", 53, 53 * 2011, pid=child)
        self.assert_site(report, "alloc_in_child", 307, 307 * 499, pid=child)
        self.assert_no_loss(report)

    def test_python_lines(self):
        report = self.launch_python()
        sites = [site for site in harness.malloc_sites(report)
                 if any(frame["function"] == "keep" and frame["kind"] == "python"
                        for frame in site["frames"])]
        self.assertEqual(sum(site["live_count"] for site in sites if
                             site["live_bytes"] == 4034 * site["live_count"]), 1009)
        self.assert_no_site(report, "pass_on")

    def test_pools_are_left_out_and_said_to_be(self):
        report = self.launch_python()
        self.assertEqual({site["kind"] for site in report["sites"]}, {"malloc"})
        self.assertIn("--pools on", report["targets"][0]["note"])
        # The allocator's functions are not touched by what is traced of Python, either.
        self.assertEqual(report["probe_files"], 1)
        report = self.launch_python("--pools", "on")
        self.assertIn("pymalloc", {site["kind"] for site in report["sites"]})

    def launch_python(self, *args):
        """A report on the interpreter while it has the blocks."""
        tool = self.unfreed("--gate", "-i", "200ms", *args, command=[PYTHON, "-c", KEEPS], interval=None,
                            stdin=subprocess.PIPE,
                            env={**os.environ, "UNFREED_GATE_SAMPLE": "100"})
        self.assertEqual(tool.stdout.next(), "READY")
        report = tool.fresh_report()
        tool.proc.stdin.close()
        tool.wait()
        return report

    def test_a_full_table_is_a_loss(self):
        counts = [65521, 65519, 40009]
        victim = self.gated("batches", counts[0], 64, counts[1], 65, counts[2], 67)
        report = self.trace(victim, "DONE a", "DONE b", "DONE c")
        lost = report["losses"]["gate_full"]
        self.assertGreater(lost, sum(counts) - SLOTS - 32)
        self.assertEqual(report["totals"]["live_count"] + lost, sum(counts))


class Samples(GateTest):
    """Blocks of which some are sampled."""

    COUNT, SIZE = 60013, 211

    def test_the_estimate_is_as_good_as_it_says(self):
        interval = 4096
        victim = self.gated("batches", self.COUNT, self.SIZE, interval=interval)
        tool = self.unfreed("-p", victim.pid, interval="100ms")
        victim.go("DONE a")
        report = tool.fresh_report()
        site = self.site_by(report, "batch_a")
        p = 1 - math.exp(-self.SIZE / interval)
        sigma = math.sqrt(self.COUNT * (1 - p) / p)
        self.assertNotEqual(site["live_count"], self.COUNT, "nothing was left out")
        self.assertLess(abs(site["live_count"] - self.COUNT), 6 * sigma)
        self.assertEqual(site["live_bytes"], site["live_count"] * self.SIZE)
        self.assertEqual(report["totals"]["live_count"], site["live_count"])
        # What was sampled, and nothing else, was told of.
        self.assertLess(abs(report["cost"]["events"] - self.COUNT * p),
                        6 * math.sqrt(self.COUNT * p * (1 - p)))
        for gate in ("DONE b", "DONE c", "DONE free a"):
            victim.go(gate)
        self.assert_live(tool.last_report(), 0, 0)

    def test_the_interval_of_the_command_line(self):
        report = harness.only_last(self.run_command(
            harness.program("sites"), args=["--gate", "-s", "1K"]))
        for function, count, size in SITES:
            if size > 40 * 1024:
                self.assert_site(report, function, count, count * size, count, 0)
        self.assertLess(report["cost"]["events"], total(SITES)[0])


class Beside(GateTest):
    """Traces that do not go by the gate, of processes that have it."""

    def test_an_exact_trace_counts_once(self):
        report = self.trace(self.gated("sites"), "DONE leaks", args=["-s", "0"])
        for function, count, size in SITES:
            self.assert_site(report, function, count, count * size, count, 0)
        self.assert_live(report, *total(SITES + [STRDUP]))
        self.assert_no_loss(report)

    def test_a_sampled_trace_of_both_kinds_counts_once(self):
        with_gate, without = self.gated("batches", 101, 100003), self.victim("batches", 103, 100019)
        tool = self.unfreed("-p", with_gate.pid, "-p", without.pid, "-s", "1K", "--per-process")
        with_gate.go("DONE a")
        without.go("DONE a")
        report = tool.last_report()
        self.assert_sites(report, "batch_a", 103, 103 * 100019, pid=without.pid)
        count, size = harness.sums([site for site in report["sites"]
                                    if site["pid"] == with_gate.pid])
        self.assertEqual((count, size), (101, 101 * 100003))

    def test_a_child_without_it_is_said_to_be_untraced(self):
        static = harness.program("plain.static")
        tool = self.unfreed("--gate", "--follow", command=["/bin/sh", "-c", f"{static}; true"])
        notes = [target["note"] for target in tool.wait().reports[-1]["targets"]
                 if target["exe"].endswith("plain.static")]
        self.assertEqual(len(notes), 1)
        self.assertIn("runs without libunfreed-gate.so", notes[0])


class Unnoticed(GateTest):
    """Programs run as without it."""

    def test_programs_say_the_same(self):
        for command in COMMANDS:
            with self.subTest(command=command[0]):
                if not shutil.which(command[0]):
                    self.skipTest(f"no {command[0]}")
                plain, gated = (subprocess.run(command, env=env, capture_output=True, check=True,
                                               timeout=harness.TIMEOUT_S).stdout
                                for env in (os.environ, environment(64)))
                self.assertEqual(gated, plain)

    def test_it_can_be_loaded_later(self):
        """Then it stands before nobody; the loader may refuse, but not end the program."""
        load = f"import ctypes; ctypes.CDLL({GATE!r}); print([0] * 10)"
        result = subprocess.run([PYTHON, "-c", load], capture_output=True, text=True, check=True)
        self.assertEqual(result.stdout, "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n")

    def test_preloaded_libraries_of_the_user_stay(self):
        other = harness.program("keep.so")
        result = self.run_command("/bin/sh", "-c", "echo $LD_PRELOAD $UNFREED_GATE_SAMPLE >&2",
                                  args=["--gate", "-s", "64K"],
                                  env={**os.environ, "LD_PRELOAD": other})
        self.assertIn(f"{GATE}:{other} 65536", result.stderr)

    def test_it_needs_no_c_library(self):
        text = subprocess.run(["readelf", "-dW", GATE], capture_output=True, text=True,
                              check=True).stdout
        self.assertNotIn("NEEDED", text)
        self.assertIn("STATIC_TLS", text)


class Refused(GateTest):
    """What cannot be is said, with what to try."""

    def refusal(self, *command, args=(), status=1, **kwargs):
        """What the tool says when it ends at once."""
        result = self.run_command(*command, args=["--gate", *args], **kwargs) if command else \
            self.start("--gate", *args).wait()
        self.assertEqual(result.status, status, result.stderr)
        self.assertEqual(result.reports, [])
        return result.stderr

    def test_without_a_command(self):
        self.assertIn("--gate: starts a command", self.refusal(status=2))
        self.assertIn("--gate", self.refusal(args=["-p", os.getpid()], status=2))

    def test_with_options_that_mean_nothing(self):
        for args in (["-O", "/bin/true"], ["--prefix", "je_"], ["-s", "0"]):
            with self.subTest(args=args):
                self.assertIn("--gate", self.refusal("/bin/true", args=args, status=2))

    def test_a_static_program(self):
        self.assertIn("linked statically: trace it without --gate",
                      self.refusal(harness.program("plain.static")))

    def test_a_program_with_its_own_malloc(self):
        path = os.path.join(self.folder, "own")
        subprocess.run(["gcc", "-x", "c", "-o", path, "-"], input=OWN_MALLOC, text=True, check=True)
        self.assertIn("has a malloc() of its own", self.refusal(path))
        victim = subprocess.Popen([path], env=environment(), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        self.assertEqual(victim.stdout.read(1), b"R")
        report = self.unfreed("-p", victim.pid).last_report()
        victim.communicate()
        self.assertGreater(report["probe_files"], 0)
        self.assertGreater(report["probes"], 2)

    def test_a_program_that_gains_privileges(self):
        path = os.path.join(self.folder, "sites")
        shutil.copy(harness.program("sites"), path)
        os.chmod(self.folder, 0o755)
        os.chown(path, 65534, 65534)
        os.chmod(path, 0o4755)
        self.assertIn("gains privileges", self.refusal(path))

    def test_where_the_library_is_not_installed(self):
        tool = os.path.join(self.folder, "unfreed")
        shutil.copy(harness.UNFREED, tool)
        if os.path.exists("/usr/local/lib/unfreed/libunfreed-gate.so"):
            self.skipTest("it is installed")
        self.assertIn("no libunfreed-gate.so beside unfreed", self.refusal("/bin/true", tool=tool))

    def test_an_interval_that_is_none(self):
        for text in ("0", "1T", "x", "", "300M"):
            with self.subTest(interval=text):
                env = {**os.environ, "UNFREED_GATE_SAMPLE": text}
                self.assertIn("is not a size from 1 to 256M", self.refusal("/bin/true", env=env))
