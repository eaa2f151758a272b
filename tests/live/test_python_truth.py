# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: what the report says of a Python process is what the process itself can tell: frames equal
to its own frame objects and, at the instant of each allocation, to faulthandler's; numbers equal to
tracemalloc's.

On Debian's Python, on the next release's in a container, and on those in the folder that
UNFREED_PYTHONS names."""

import collections
import glob
import itertools
import json
import os
import re
import shutil
import socket
import subprocess

import container
import harness

DEBIAN = "/usr/bin/python3"
DUMPED = os.path.join(harness.SOURCES, "py_dumped.py")
FRAMES = os.path.join(harness.SOURCES, "py_frames.py")
MEMORY = os.path.join(harness.SOURCES, "py_memory.py")
FRAMES_MAX = 100  # of faulthandler


def other_pythons():
    """CPythons in the folder that the environment names, by default pyenv's: DIR/*/bin/python3, and
    programs in it."""
    folder = os.environ.get("UNFREED_PYTHONS", os.path.expanduser("~/.pyenv/versions"))
    inside = glob.glob(os.path.join(folder, "*", "bin", "python3"))
    return sorted(inside + [path for path in glob.glob(os.path.join(folder, "*"))
                            if os.path.isfile(path) and os.access(path, os.X_OK)])


def version_of(python):
    """(3, 11)"""
    out = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"],
                         stdout=subprocess.PIPE, check=True, text=True).stdout
    return tuple(int(word) for word in out.split())


# A frame of the interpreter's own below __init__, from 3.12 on: neither traceback nor we show it.
INIT_CLEANUP = ("__init__", "__init__", 0)

CUT = "  <invalid frame>"  # 3.14's faulthandler does not pass that frame


def line_of(source, marker):
    """Number of the one line of a Python program that has the comment LINE: marker."""
    with open(os.path.join(harness.SOURCES, source), encoding="utf-8") as text:
        number, = [number for number, line in enumerate(text, 1) if f"# LINE: {marker} " in line]
    return number


def added(numbers, site):
    """(count, bytes) with a site's."""
    return numbers[0] + site["live_count"], numbers[1] + site["live_bytes"]


FRAME = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')


def unescape(text):
    """faulthandler writes ASCII."""
    return re.sub(r"\\x(..)|\\u(....)|\\U(........)",
                  lambda match: chr(int(match[1] or match[2] or match[3], 16)), text)


def read_dumps(path):
    """{frames: [count, bytes]} of the allocations between two gates; frames are (function, file,
    line), innermost first."""
    found = collections.defaultdict(lambda: [0, 0])
    size, frames = None, []

    def end():
        if size is not None:
            found[tuple(frames)][0] += 1
            found[tuple(frames)][1] += size
    with open(path, encoding="utf-8") as text:
        for line in text:
            match = FRAME.match(line)
            if match:
                frame = (unescape(match[3]), unescape(match[1]),
                         0 if match[2] == "???" else int(match[2]))
                if frame != INIT_CLEANUP:
                    frames.append(frame)
            elif line == CUT + "\n":
                frames.append(CUT)
            elif line[0] in "=#":
                end()
                size, frames = (int(line[2:]) if line[0] == "=" else None), []
    return found


def cut_as_told(told, seen):
    """Stacks that a cut dump is the beginning of, in both, become that beginning."""
    cuts = {frames[:-1] for frames in told if frames[-1:] == (CUT,)}
    both = []
    for stacks in told, seen:
        both.append(collections.defaultdict(lambda: [0, 0]))
        for frames, (count, size) in stacks.items():
            cut = next((cut for cut in cuts if frames[:len(cut)] == cut), frames)
            both[-1][cut][0] += count
            both[-1][cut][1] += size
    return both


def python_frames(site):
    """As faulthandler names them: without the qualification that 3.11 and later have."""
    return tuple((frame["function"].rpartition(".")[2], frame["file"], frame["line"] or 0)
                 for frame in site["frames"] if frame["kind"] == "python")


def sum_by_frames(report):
    """{frames: [count, bytes]} of what was allocated."""
    found = collections.defaultdict(lambda: [0, 0])
    for site in harness.malloc_sites(report):
        frames = python_frames(site)[:FRAMES_MAX]
        found[frames][0] += site["alloc_count"]
        found[frames][1] += site["alloc_bytes"]
    return found


class Truth(harness.LiveTest):
    """What the tests of this module share."""

    def for_other_pythons(self, check):
        """Calls check(python), a subtest each."""
        pythons = other_pythons()
        if not pythons:
            self.skipTest("no other Pythons: pyenv has none, nor the folder UNFREED_PYTHONS")
        for python in pythons:
            with self.subTest(python=python):
                if version_of(python) >= (3, 8):
                    check(python)

    def start_python(self, python, *args, preload=None):
        """A Python victim at its first gate; python may be a container that has one."""
        if isinstance(python, container.Container):
            return python.victim("python3", *args, preload=preload,
                                 folders=[harness.SOURCES, harness.PROGRAMS, self.folder])
        return self.victim("", *args, path=python, preload=preload)


class OwnFrames(Truth):
    """One allocation at a time, against the frame objects that the process walked just before."""

    def compare(self, python):
        """Traces py_frames.py from its start."""
        result = self.run_command(python, FRAMES)
        report = harness.only_last(result)
        self.assertEqual(report["targets"][0]["python"]["frames"], "ok")
        cases = [line.split("\t") for line in result.stdout.splitlines() if line[:1].isdigit()]
        self.assertGreater(len(cases), 15)
        for size, *frames in cases:
            sites = [site for site in report["sites"]
                     if site["alloc_bytes"] == int(size) and site["alloc_count"] == 1]
            self.assertEqual(len(sites), 1, (size, frames[:3]))
            # Bottom frames of the import system and runpy are compared like all others.
            self.assertEqual([f"{frame['function']}|{frame['file']}|{frame['line']}"
                              for frame in sites[0]["frames"] if frame["kind"] == "python"], frames)
            self.assertEqual(sites[0]["stack_end"], "complete")

    def test_frames_equal_those_of_debians_python(self):
        self.compare(DEBIAN)

    def test_frames_equal_those_of_other_pythons(self):
        self.for_other_pythons(self.compare)


class Dumps(Truth):
    """Every allocation of a work load against the dump that the process made of its own stack."""

    def compare(self, python, *args, at_least):
        """Runs a work load of py_dumped.py; at_least: allocations and stacks that it must have."""
        dumps = os.path.join(self.folder, "dumps")
        victim = self.start_python(python, DUMPED, args[0], dumps, *args[1:],
                                   preload=harness.program("py_dumps.so"))
        report = self.trace(victim, "DONE")
        self.assertEqual(report["targets"][0]["python"]["frames"], "ok")
        self.assert_no_loss(report)
        told, seen = read_dumps(dumps), sum_by_frames(report)
        self.assertGreater(sum(count for count, _ in told.values()), at_least[0])
        self.assertGreater(len(told), at_least[1])
        self.assertLess(sum(frames[-1:] == (CUT,) for frames in told), len(told) / 20)
        self.assert_same(*cut_as_told(told, seen))

    def assert_same(self, told, seen):
        """Both are {frames: [count, bytes]}; says only what differs."""
        wrong = [f"{told.get(frames)} told, {seen.get(frames)} seen at\n    "
                 + "\n    ".join(f"{len(list(same))} x {frame}"
                                 for frame, same in itertools.groupby(frames))
                 for frames in list(told) + [frames for frames in seen if frames not in told]
                 if told.get(frames) != seen.get(frames)]
        self.assertEqual(len(wrong), 0, f"of {len(told)}:\n" + "\n".join(wrong[:6]))

    def test_frames_of_all_shapes_on_debians_python(self):
        self.compare(DEBIAN, "shapes", at_least=(900, 150))

    def test_frames_of_all_shapes_in_a_container(self):
        trixie = container.Container("trixie", "python3")
        self.compare(trixie, "shapes", at_least=(900, 150))

    def test_frames_of_all_shapes_on_other_pythons(self):
        self.for_other_pythons(lambda python: self.compare(python, "shapes", at_least=(500, 150)))

    def needs(self, module, package):
        """Skips without a module of Debian's Python."""
        if subprocess.run([DEBIAN, "-c", f"import {module}"], check=False,
                          stderr=subprocess.DEVNULL).returncode:
            self.skipTest(f"{package} is not installed")

    def redis_server(self):
        """Port of a server of our own."""
        server = shutil.which("redis-server")
        if not server:
            self.skipTest("redis-server is not installed")
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        proc = subprocess.Popen([server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
                                cwd=self.folder, stdout=subprocess.PIPE, text=True)
        self.addCleanup(proc.stdout.close)
        self.addCleanup(proc.wait)
        self.addCleanup(proc.terminate)
        for line in proc.stdout:
            if "eady to accept connections" in line:
                return port
        raise AssertionError("redis-server has ended")

    def test_frames_under_redis_py(self):
        self.needs("redis", "python3-redis")
        self.compare(DEBIAN, "redis", self.redis_server(), at_least=(100, 30))

    def test_frames_under_numpy(self):
        self.needs("numpy", "python3-numpy")
        self.compare(DEBIAN, "numpy", at_least=(100, 30))

    def test_frames_under_lxml(self):
        self.needs("lxml", "python3-lxml")
        self.compare(DEBIAN, "lxml", at_least=(1000, 15))


class Memory(Truth):
    """The blocks over 512 bytes, line by line, against tracemalloc in the same process.

    Up to 512 bytes a block is in one of pymalloc's pools, where malloc is not called. A block of
    either is of as many bytes as were asked for, with the collector's header. Two kinds of
    malloc's blocks tracemalloc does not tell of: its own, in hash tables of the interpreter, and
    those of C code that calls malloc itself."""

    DIRECT = (401, sum(3000 + i for i in range(401)))  # at the line that is marked so

    def compare(self, python, limit):
        """Two of tracemalloc's snapshots, with so many frames a block, around the trace."""
        victim = self.start_python(python, MEMORY, limit)
        report = self.trace(victim, "DONE", args=["--min-size", "513"])
        self.assertEqual(victim.finish(), 0)
        self.check(report, json.loads(victim.lines.next()))

    def check(self, report, changes):
        """changes: as py_memory.py prints them."""
        self.assertEqual(report["targets"][0]["python"]["frames"], "ok")
        self.assert_no_loss(report)
        told = {(file, line): (count, size) for file, line, count, size in changes}
        seen = collections.defaultdict(lambda: (0, 0))
        direct, own = (0, 0), 0
        for site in harness.malloc_sites(report):
            inner = list(itertools.takewhile(lambda frame: frame["kind"] != "python",
                                             site["frames"]))
            names = [frame["function"] for frame in inner]
            self.assertLess(len(inner), len(site["frames"]), f"no Python frame: {names}")
            place = site["frames"][len(inner)]
            if any("/libffi." in frame["module"] for frame in inner):
                self.assertEqual(place["line"], line_of("py_memory.py", "direct"))
                direct = added(direct, site)
            elif "_Py_hashtable_set" in names:
                own += site["live_count"]
            else:
                at = place["file"], place["line"]
                seen[at] = added(seen[at], site)
        self.assertGreater(len(told), 15)
        self.assertGreater(sum(count for count, _ in told.values()), 2500)
        self.assertEqual(dict(seen), told)
        self.assertEqual(direct, self.DIRECT)
        self.assertLess(own, 5)

    def test_lines_equal_tracemallocs_on_debians_python(self):
        self.compare(DEBIAN, 1)

    def test_lines_equal_tracemallocs_that_keeps_25_frames(self):
        self.compare(DEBIAN, 25)

    def test_lines_equal_tracemallocs_in_a_container(self):
        self.compare(container.Container("trixie", "python3"), 1)

    def test_lines_equal_tracemallocs_on_other_pythons(self):
        self.for_other_pythons(lambda python: self.compare(python, 1))
