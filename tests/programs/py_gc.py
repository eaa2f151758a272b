# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""A Python victim whose garbage collector runs exactly when it says so.

    py_gc.py COUNT0 COUNT1 COUNT2 [fork]

Automatic collections are off. At the gate it collects generation N COUNTN times, each time with
200 objects to find, once with an object whose finalizer takes SLEEP_S; then it says what the
collector itself says: STATS pid, then collections, collected and uncollectable objects of each
generation, the thresholds, the counts. With "fork" three children do so instead, with COUNTN plus
the child's number, and all stay until the input ends."""

import gc
import os
import sys
import time

SLEEP_S = 0.05


class Node:
    """Part of a cycle; its finalizer may take a while."""

    def __init__(self, sleep_s=0):
        self.sleep_s = sleep_s

    def __del__(self):
        if self.sleep_s:
            time.sleep(self.sleep_s)


def leave_cycles(count, sleep_s=0):
    """Garbage: count pairs of objects (with their dictionaries, before 3.13)."""
    for _ in range(count):
        one, other = Node(sleep_s), Node()
        one.other, other.other = other, one


def collect(counts):
    """Each generation as often as told."""
    for generation, count in enumerate(counts):
        for i in range(count):
            leave_cycles(100)
            if generation == 2 and not i:
                leave_cycles(1, SLEEP_S)
            gc.collect(generation)


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def say_stats():
    """What the collector says, in one line."""
    stats = [number for generation in gc.get_stats() for number in
             (generation["collections"], generation["collected"], generation["uncollectable"])]
    say("STATS", os.getpid(), *stats, *gc.get_threshold(), *gc.get_count())


def main():
    """The gates."""
    gc.disable()
    gc.set_threshold(1009, 13, 7)
    counts = [int(word) for word in sys.argv[1:4]]
    say("READY")
    os.read(0, 1)
    if sys.argv[4:] == ["fork"]:
        for child in range(3):
            if not os.fork():
                # The tool looks at a new process within milliseconds; without probes it can
                # count only from then on.
                time.sleep(0.5)
                collect([count + child for count in counts])
                say_stats()
                while os.read(0, 1):
                    pass
                os._exit(0)
    else:
        collect(counts)
        say_stats()
    while os.read(0, 1):
        pass
    os._exit(0)


main()
