# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: the report names the Python function, file and line that allocates, whatever comes and goes.
That the names and lines are the interpreter's own is for test_python_truth.py to show."""

import subprocess

import harness

PYTHON = "/usr/bin/python3"

# Functions whose code objects are freed and their addresses used again; each leaks one block of
# its own size.
REUSE = r"""
import os, time
time.sleep(0.5)  # the interpreter is found a moment after it has come up
keep, seen, reused = [], set(), 0
def make(i):
    source = "def func_%d(keep):\n%s    keep.append(bytes(5000 + %d))\n" % (i, "\n" * (i % 7), i)
    names = {}
    exec(compile(source, "/virtual/file_%d.py" % i, "exec"), names)
    return names["func_%d" % i]
for i in range(307):
    function = make(i)
    reused += id(function.__code__) in seen
    seen.add(id(function.__code__))
    function(keep)
    del function
print(reused, flush=True)
os._exit(0)
"""
BYTES_HEADER = 33

TRANSIENT = r"""
import os
keep = []
for i in range(400):
    lines = ["def f%d(x): return len(bytes(6000 + x))" % k for k in range(20)]
    names = {}
    exec(compile("\n".join(lines), "/virtual/%d.py" % i, "exec"), names)
    keep.append(names)
    for k in range(20):
        names["f%d" % k](i)
os._exit(0)
"""

# A growing service, told to stop by its input's end: lines that keep, and one that does not.
SERVICE = r"""
import sys
cache, count = [], 0
def keep_page(i):
    cache.append("%d" % (i % 10) * 4999)
def keep_nothing(i):
    return len("%d" % (i % 10) * 6007)
def serve():
    for i in range(1009):
        keep_page(i)
        keep_nothing(i)
sys.stdout.write("READY\n"); sys.stdout.flush()
sys.stdin.readline()
serve()
sys.stdout.write("DONE\n"); sys.stdout.flush()
sys.stdin.readline()
"""
STR_HEADER = 49


def python_frames(site):
    return [frame for frame in site["frames"] if frame["kind"] == "python"]


class Python(harness.LiveTest):
    """CPython's frames."""

    def run_python(self, *command, args=()):
        """Standard output and the last report of a python that was traced from its start."""
        result = self.run_command(PYTHON, *command, args=args)
        report = harness.only_last(result)
        self.assertEqual(report["targets"][0]["note"], "")
        return result.stdout, report

    def test_a_code_objects_address_used_again_names_the_new_function(self):
        out, report = self.run_python("-c", REUSE)
        self.assertGreater(int(out.split()[0]), 7, "the victim did not do what it is for")
        found = {}
        for site in report["sites"]:
            frames = python_frames(site)
            if frames and frames[0]["function"].startswith("func_") and site["live_bytes"] > 4999:
                found[site["live_bytes"]] = frames[0]
        for i in range(307):
            frame = found.get(5000 + i + BYTES_HEADER)
            self.assertIsNotNone(frame, f"func_{i}")
            self.assertEqual((frame["function"], frame["file"], frame["line"]),
                             (f"func_{i}", f"/virtual/file_{i}.py", 2 + i % 7))

    def test_the_line_that_keeps_is_told_from_the_one_that_does_not(self):
        victim = subprocess.Popen([PYTHON, "-c", SERVICE], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(victim.wait)
        self.addCleanup(victim.kill)
        self.assertEqual(victim.stdout.readline(), "READY\n")
        tool = self.unfreed("-p", victim.pid)
        victim.stdin.write("\n")
        victim.stdin.flush()
        self.assertEqual(victim.stdout.readline(), "DONE\n")
        report = tool.last_report()
        victim.stdin.close()
        victim.stdout.close()
        by_line = {}
        for site in report["sites"]:
            frames = python_frames(site)
            if frames and site["alloc_bytes"] >= 1009 * 4999:
                by_line[frames[0]["function"], frames[0]["line"]] = site
        kept = by_line["keep_page", 5]
        self.assertEqual(kept["live_count"], 1009)
        self.assertEqual(kept["live_bytes"], 1009 * (4999 + STR_HEADER))
        self.assertEqual([(frame["function"], frame["line"]) for frame in python_frames(kept)],
                         [("keep_page", 5), ("serve", 10), ("<module>", 14)])
        self.assertEqual(harness.sums([site for (name, _), site in by_line.items()
                                       if name == "keep_nothing"])[0], 0)

    def test_stacks_that_come_and_go_make_room(self):
        # 8,000 functions, each with a stack of its own that keeps nothing, in a table of 8,192 that holds all of Python's start as well.
        # Without pools of small objects: how many are seen opened in the first moments, chance says.
        no_pools = ["--max-size", "16383"]
        _, full = self.run_python("-c", TRANSIENT, args=no_pools)
        result = self.run_command(PYTHON, "-c", TRANSIENT, args=["--max-sites", "8K", *no_pools])
        report = harness.only_last(result)
        # A slow reader may lose copies of code objects: names, no numbers.
        self.assert_no_loss(report, allowed=["events_full"])
        for name in ("live_bytes", "live_count", "alloc_bytes", "alloc_count", "free_count"):
            self.assertEqual(report["totals"][name], full["totals"][name], name)
        # Too small for what comes at once: what was not recorded is counted.
        result = self.run_command(PYTHON, "-c", TRANSIENT, args=["--max-sites", "256", *no_pools])
        report = harness.only_last(result)
        lost = sum(report["losses"].get(name, 0) for name in ("site_table_full", "stack_table_full"))
        self.assertEqual(report["totals"]["alloc_count"] + lost, full["totals"]["alloc_count"],
                         report["losses"])
        self.assertGreater(lost, 0)

    def test_a_process_without_python_has_no_python_frames(self):
        report = self.trace(self.victim("sites"), "DONE leaks")
        self.assertEqual([site for site in report["sites"] if python_frames(site)], [])
