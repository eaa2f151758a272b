# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: the collector's activity is reported exactly as the program caused it and as the collector
tells it from inside - by USDT probes with the time that it took, by polling without."""

import glob
import os
import re
import shutil
import signal
import struct
import subprocess
import time

import harness

PYTHON = os.path.realpath("/usr/bin/python3")
SCRIPT = os.path.join(harness.SOURCES, "py_gc.py")
COUNTS = (23, 11, 5)
SLEEP_S = 0.05
SUPPORTED = (3, 8), (3, 14)


def has_probes(path):
    """Has the file the probes of the collector?"""
    notes = subprocess.run(["readelf", "-n", path], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, check=False).stdout
    return b"gc__start" in notes and b"gc__done" in notes


def semaphore_address(path, probe):
    """Of a probe's semaphore, as linked."""
    notes = subprocess.run(["readelf", "-n", path], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, check=True).stdout.decode()
    found = re.search(r"Name: %s\n.*Semaphore: (0x[0-9a-f]+)" % probe, notes)
    return int(found.group(1), 16)


def other_pythons():
    """Interpreters of this machine beside the system's; wrappers too, of $UNFREED_TEST_PYTHONS."""
    paths = glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3"))
    paths += filter(None, os.environ.get("UNFREED_TEST_PYTHONS", "").split(":"))
    for path in sorted(paths):
        asked = subprocess.run([path, "-c", "import sys; print(*sys.version_info[:2])"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        version = tuple(map(int, asked.stdout.split() or [0, 0]))
        if SUPPORTED[0] <= version <= SUPPORTED[1]:
            yield path


class Said:
    """A line of the victim's STATS."""

    def __init__(self, numbers):
        self.pid = numbers[0]
        self.stats = [numbers[1 + 3 * i:4 + 3 * i] for i in range(3)]
        self.thresholds, self.counts = numbers[10:13], numbers[13:16]


class PythonGc(harness.LiveTest):
    """CPython's garbage collector."""

    def setUp(self):
        super().setUp()
        if not has_probes(PYTHON):
            self.skipTest(f"{PYTHON} has no USDT probes")

    def without_probes(self):
        """A copy of the system's interpreter that has no USDT notes."""
        path = os.path.join(self.folder, os.path.basename(PYTHON))
        if not shutil.which("objcopy"):
            self.skipTest("no objcopy")
        subprocess.run(["objcopy", "--remove-section=.note.stapsdt", PYTHON, path], check=True)
        self.assertFalse(has_probes(path))
        return path

    def gc_of(self, report, pid):
        """The process's collector, its thresholds being our victim's."""
        python = [target["python"] for target in report["targets"] if target["pid"] == pid][0]
        self.assertIsNotNone(python)
        self.assert_no_loss(report)
        return python["gc"]

    def assert_gc(self, gc, said, counts, source):
        """All that is known must be as the collector said, and as was caused."""
        self.assertEqual((gc["source"], gc["why"], gc["enabled"]), (source, "", False))
        for i, generation in enumerate(gc["generations"]):
            with self.subTest(generation=i):
                self.assertEqual(generation["trace_collections"], counts[i])
                self.assertEqual([generation[name] for name in
                                  ("collections", "collected", "uncollectable")], said.stats[i])
                self.assertEqual(generation["threshold"], said.thresholds[i])
                # Saying so made and freed a few objects.
                self.assertLessEqual(abs(generation["count"] - said.counts[i]), 0 if i else 100)

    def assert_pauses(self, gc, elapsed_s):
        """Times that can be true; the finalizer's sleep is in the longest of generation 2."""
        total = 0
        for generation in gc["generations"]:
            self.assertGreater(generation["longest_pause_s"], 0)
            self.assertGreaterEqual(generation["pause_s"], generation["longest_pause_s"])
            total += generation["pause_s"]
        self.assertLess(total, elapsed_s)
        self.assertGreaterEqual(gc["generations"][2]["longest_pause_s"], SLEEP_S)
        self.assertLess(gc["generations"][0]["pause_s"], SLEEP_S)

    def run_victim(self, python, source, args=()):
        """Attaches, lets the victim collect, checks."""
        victim = self.victim("", SCRIPT, *COUNTS, path=python)
        tool = self.unfreed("-p", victim.pid, *args)
        began = time.monotonic()
        said = Said(victim.go("STATS"))
        elapsed_s = time.monotonic() - began
        gc = self.gc_of(tool.last_report(), victim.pid)
        self.assert_gc(gc, said, COUNTS, source)
        if source == "usdt":
            self.assert_pauses(gc, elapsed_s)
        else:
            for generation in gc["generations"]:
                self.assertIsNone(generation["pause_s"])
                self.assertIsNone(generation["longest_pause_s"])
        victim.finish()
        return gc

    def test_probes_count_and_time_each_collection(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                gc = self.run_victim(PYTHON, "usdt", args)
                # 100 pairs each time, with their dictionaries as the collector sees them.
                self.assertGreaterEqual(gc["generations"][0]["trace_unreachable"], COUNTS[0] * 200)
                self.assertEqual(gc["generations"][0]["trace_unreachable"] % 2, 0)

    def test_without_probes_the_same_by_polling(self):
        self.run_victim(self.without_probes(), "polling")

    def test_every_python_of_this_machine(self):
        pythons = list(other_pythons())
        if not pythons:
            self.skipTest("no other CPython here; UNFREED_TEST_PYTHONS may name some")
        for python in pythons:
            with self.subTest(python=python):
                with open(python, "rb") as file:
                    is_script = file.read(2) == b"#!"
                source = "polling"
                if is_script or has_probes(os.path.realpath(python)):
                    source = "usdt"  # wrappers are of Debian's builds
                self.run_victim(python, source)

    def run_workers(self, python, source):
        """Three forked workers, each with counts of its own."""
        victim = self.victim("", SCRIPT, *COUNTS, "fork", path=python)
        tool = self.unfreed("--follow", "-p", victim.pid)
        saids = {said.pid: said for said in
                 [Said(victim.go("STATS"))] + [Said(victim.expect("STATS")) for _ in range(2)]}
        report = tool.last_report()
        seen = []
        for pid, said in saids.items():
            gc = self.gc_of(report, pid)
            child = gc["generations"][0]["trace_collections"] - COUNTS[0]
            seen.append(child)
            self.assert_gc(gc, said, [count + child for count in COUNTS], source)
        self.assertEqual(sorted(seen), [0, 1, 2])
        parent = self.gc_of(report, victim.pid)
        self.assertEqual([generation["trace_collections"] for generation in parent["generations"]],
                         [0, 0, 0])
        victim.finish()

    def test_forked_workers_have_numbers_of_their_own(self):
        self.run_workers(PYTHON, "usdt")

    def test_forked_workers_by_polling(self):
        self.run_workers(self.without_probes(), "polling")

    def test_a_command_is_seen_from_its_first_collection_to_its_last(self):
        code = ("import gc; gc.disable()\n"
                "for _ in range(17): gc.collect(1)\n"
                "stats = gc.get_stats()\n"
                "import os, time; print(*[s['collections'] for s in stats], flush=True)\n"
                "time.sleep(0.5); os._exit(0)")
        result = self.run_command(PYTHON, "-c", code)
        said = [int(word) for word in result.stdout.split()]
        report = harness.only_last(result)
        gc = self.gc_of(report, report["targets"][0]["pid"])
        self.assertEqual(gc["source"], "usdt")
        for name in ("trace_collections", "collections"):
            self.assertEqual([generation[name] for generation in gc["generations"]], said, name)
        self.assertGreaterEqual(said[1], 17)
        self.assertGreater(said[0], 0, "Python's start made none: nothing was tested")

    def test_the_probes_semaphores_are_raised_and_lowered_again(self):
        victim = self.victim("", SCRIPT, *COUNTS, path=PYTHON)
        with open(PYTHON, "rb") as file:
            if struct.unpack_from("<H", file.read(18), 16) != (2,):
                self.skipTest(f"{PYTHON} is not linked at a fixed address")

        def semaphores():
            with open(f"/proc/{victim.pid}/mem", "rb") as memory:
                for probe in ("gc__start", "gc__done"):
                    memory.seek(semaphore_address(PYTHON, probe))
                    yield struct.unpack("<H", memory.read(2))[0]

        self.assertEqual(list(semaphores()), [0, 0])
        for end in (signal.SIGINT, signal.SIGKILL):
            tool = self.unfreed("-p", victim.pid)
            self.assertEqual(list(semaphores()), [1, 1])
            tool.stop(end)
            deadline = time.monotonic() + harness.TIMEOUT_S
            while list(semaphores()) != [0, 0] and time.monotonic() < deadline:
                time.sleep(0.01)  # the kernel takes a killed process's probes out a moment later
            self.assertEqual(list(semaphores()), [0, 0])
        victim.finish()

    def test_the_text_has_a_line_of_it(self):
        victim = self.victim("", SCRIPT, *COUNTS, path=PYTHON)
        tool = self.unfreed("-p", victim.pid, fmt="text", top=1)
        victim.go("STATS")
        tool.stop()
        self.assertRegex(tool.text(), r"(?m)^ +python 3\.\d+\.\d+: gc 0: 23 collections in \S+ms "
                         r"\(longest \S+ms\), 1: 11 in \S+ \(longest \S+\), "
                         r"2: 5 in \S+ \(longest \S+\); automatic ones are off$")
        victim.finish()

    def test_a_process_without_python_has_none(self):
        report = self.trace(self.victim("sites"), "DONE leaks")
        self.assertIsNone(report["targets"][0]["python"])
