# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: a tool that finds leaks has none: its memory and its files do not grow, and the sanitizers
have nothing to say. (What it leaves in the kernel: test_ends.py.)"""

import os
import time

import harness

SLACK_BYTES = 512 * 1024
LONG_S = 600
SHORT_S = 4


class Flat(harness.LiveTest):
    """The tool's own memory and files."""

    def watch(self, tool, seconds):
        """The fewest bytes, open files and mappings of each second, after some warm-up: while it
        makes a report it has some of each for a moment."""
        time.sleep(1.5)
        seen = []
        for _ in range(seconds):
            samples = []
            for _ in range(20):
                time.sleep(0.05)
                samples.append((harness.anon_bytes(tool.pid), harness.fd_count(tool.pid),
                                harness.mapping_count(tool.pid)))
            seen.append(tuple(min(column) for column in zip(*samples)))
        return seen

    def setUp(self):
        super().setUp()
        with open(harness.UNFREED, "rb") as data:
            if b"__asan_init" in data.read():
                self.skipTest("AddressSanitizer keeps freed memory")

    def check_flat(self, tool, seconds):
        """Nothing grows."""
        seen = self.watch(tool, seconds)
        grown = [max(column) - column[0] for column in zip(*seen)]
        self.assertLessEqual(grown[0], SLACK_BYTES, f"bytes, files, mappings: {seen[::10]}")
        self.assertEqual(grown[1:], [0, 0], f"bytes, files, mappings: {seen[::10]}")
        self.assertGreater(len(tool.reports()), seconds * 10)

    def test_reports_cost_no_memory(self):
        seconds = LONG_S if os.environ.get("UNFREED_LONG") else SHORT_S
        victim = self.victim("churn", "steady", 3)
        self.check_flat(self.unfreed("-p", victim.pid, interval="20ms"), seconds)

    def test_children_that_come_and_go_cost_no_memory(self):
        script = "while :; do /bin/true; done"
        tool = self.start("--follow", command=["/bin/sh", "-c", script], interval="20ms")
        tool.wait_attached()
        self.check_flat(tool, LONG_S if os.environ.get("UNFREED_LONG") else SHORT_S)

    def test_a_killed_tool_leaves_the_victim_running(self):
        victim = self.victim("churn", "busy", 4)
        tool = self.unfreed("-p", victim.pid)
        tool.proc.kill()
        tool.proc.wait()
        victim.go("DONE quiet")
        victim.go("DONE leaks")
        self.assertEqual(victim.finish(), 0)


class Sanitized(harness.LiveTest):
    """build/asan/unfreed, if the Makefile has built it."""

    def session(self, *args, command=None, victim=None, gates=()):
        """A short run with AddressSanitizer and LeakSanitizer, which must be silent."""
        tool = os.path.join(os.path.dirname(os.path.abspath(harness.UNFREED)),
                            "build", "asan", "unfreed")
        if not os.path.exists(tool):
            self.skipTest("no build/asan/unfreed")
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:exitcode=42",
               "UBSAN_OPTIONS": "print_stacktrace=1"}
        tool = self.start(*args, command=command, tool=tool, env=env, interval="50ms")
        if victim:
            tool.wait_attached()
            for gate in gates:
                victim.go(gate)
            tool.fresh_report()
            result = tool.stop()
        else:
            result = tool.wait()
        for word in ("Sanitizer", "runtime error"):
            self.assertNotIn(word, result.stderr)
        harness.only_last(result)

    def test_attaching_and_reporting(self):
        victim = self.victim("symbols", harness.program("plugin.so"))
        self.session("-p", victim.pid, victim=victim,
                     gates=["DONE load", "DONE leaks", "DONE unload"])

    def test_a_command_and_its_children(self):
        self.session("--follow", command=[harness.program("forks"), "serial"])

    def test_cxx_and_ages(self):
        victim = self.victim("sites_cxx")
        self.session("-p", victim.pid, "-o", "10ms", victim=victim,
                     gates=["DONE leaks"])
