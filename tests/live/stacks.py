# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Stacks compared from the allocator's caller to the outermost function."""

import collections
import os

import harness

LIBC = "(libc)"  # in an expected stack: one frame or more of the C library
START = [LIBC, "_start"]
THREAD = ["start_thread", LIBC]


def plain_name(frame):
    """A function's name without arguments and without the mark of a part that was split off."""
    name = frame["function"].split("(")[0]
    return name.split(".cold")[0].split(" [clone")[0]


def in_libc(frame):
    """Is it a frame of the C library (with its start-up code and its threads)?"""
    return os.path.basename(frame["module"]).startswith(("libc.so", "libc-", "libpthread"))


def outline(frames):
    """The names, with every run of frames in libc as one LIBC, but for the thread's start."""
    names = []
    for frame in frames:
        name = plain_name(frame)
        if not in_libc(frame) or name == "start_thread":
            names.append(name)
        elif names[-1:] != [LIBC]:
            names.append(LIBC)
    return names


class StackTest(harness.LiveTest):
    """Victims with stacks that are known."""

    def stacks(self, report, size):
        """Outlines of the sites with blocks of that size, as often as there are blocks."""
        found = collections.Counter()
        for site in report["sites"]:
            if site["live_bytes"] == size * site["live_count"]:
                found[(site["stack_end"], *outline(site["frames"]))] += site["live_count"]
        return found

    def assert_stacks(self, report, size, expected):
        """Of the blocks of that size there are exactly these stacks, (end, outline): blocks."""
        expected, found = collections.Counter(expected), self.stacks(report, size)
        self.assertEqual((expected - found, found - expected), ({}, {}), "missing, and too much")

    def primed(self, victim, *args, prime, gates):
        """The last report on a victim whose files the tool knows after the gate prime."""
        tool = self.unfreed("-p", victim.pid, *args, interval="50ms")
        victim.go(prime)
        tool.fresh_report()
        for gate in gates:
            self.said = victim.go(gate)
        return tool.last_report()
