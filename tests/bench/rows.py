# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The rows: who traces the subject, how it is started, awaited and ended, and whether it has seen
what was to be seen.

Each row of a round starts a subject of its own, attaches, runs all the workloads, and ends
everything again: two tracers on one C library would pay for each other.
"""

import contextlib
import functools
import json
import os
import signal
import subprocess
import tempfile

from processes import BUILD, ROOT, BenchError, Process, breakpoint_count
from truth import check_exact, check_sampled

UNFREED = os.environ.get("UNFREED", os.path.join(ROOT, "unfreed"))
FOR_EVER = "1h"
SAMPLE_BYTES = 512 << 10
SAMPLE = "512K"


@functools.cache
def unfreed_knows(option):
    """Whether this build of unfreed has an option."""
    done = subprocess.run([UNFREED, "--help"], capture_output=True, text=True, check=False)
    return option in done.stdout


class Row:
    """Untraced, unless a subclass says otherwise.

    base, floor: keys of the rows that it is compared with. subjects: keys of what it is run on.
    is_peer: another tool; if it fails the bench goes on and is none the worse. is_probed: by
    uprobes, so that the floor says something about it. note: what is to be said about the row;
    seen_bytes: what was allocated, by the tracer's account.
    """

    is_peer = False
    is_probed = False
    seen_bytes = None

    def __init__(self, key, title, subjects=("loop",), base="untraced", floor="floor",
                 frame_pointers=False):
        self.key, self.title, self.subjects = key, title, subjects
        self.base, self.floor = base, floor
        self.frame_pointers = frame_pointers
        self.note = ""

    def why_missing(self):
        """Why there can be no such row here, or None."""
        return None

    def wrapper(self, folder):
        """What the subject runs under."""
        return []

    def environment(self, folder):
        """Of the subject."""
        return {}

    def python_options(self):
        """Of the interpreter that the subject runs in."""
        return []

    @contextlib.contextmanager
    def traced(self, subject, folder):
        """A context in which the subject is traced."""
        if breakpoint_count(subject.pid):
            raise BenchError("somebody traces every process's C library: there is no base")
        yield

    def judge(self, folder, truth):
        """After the end of all: BenchError if too little was seen."""

    def run(self, make_subject, ms):
        """One round: column -> nanoseconds; and the truth."""
        with tempfile.TemporaryDirectory(prefix="unfreed-bench-") as folder:
            subject = make_subject(self, folder)
            with self.traced(subject, folder):
                subject.warm_up(ms)
                results = subject.measure(ms)
                truth = subject.truth()
            subject.finish()
            self.judge(folder, truth)
        return results, truth


class Floor(Row):
    """Empty programs at unfreed's places."""

    is_probed = True

    def __init__(self, key, title, options=(), **more):
        super().__init__(key, title, **more)
        self.options = options

    @contextlib.contextmanager
    def traced(self, subject, folder):
        floor = Process([os.path.join(BUILD, "floor"), *self.options, str(subject.pid)])
        floor.expect("floor: attached")
        if not breakpoint_count(subject.pid):
            raise BenchError("floor has put no breakpoint into the subject")
        yield
        floor.stop(sig=None)


def reports_into(output, interval):
    """Options of unfreed."""
    return ["-i", interval, "-f", "json", "-w", output]


def start_unfreed(pid, output, interval, options=()):
    """unfreed on a process, attached."""
    tracer = Process([UNFREED, "-p", str(pid), *reports_into(output, interval), *options])
    tracer.expect("unfreed: tracing")
    if not breakpoint_count(pid):
        raise BenchError("unfreed has put no breakpoint into the subject")
    return tracer


class Unfreed(Row):
    """unfreed, every block."""

    is_probed = True

    def __init__(self, key, title, options=(), **more):
        super().__init__(key, title, **more)
        self.options = options

    @contextlib.contextmanager
    def traced(self, subject, folder):
        tracer = start_unfreed(subject.pid, os.path.join(folder, "reports"), FOR_EVER,
                               ["-T", "100000", *self.options])
        yield
        tracer.stop(signal.SIGINT)

    def judge(self, folder, truth):
        with open(os.path.join(folder, "reports"), encoding="utf-8") as text:
            report = json.loads(text.read().splitlines()[-1])
        self.check(report, truth)
        self.seen_bytes = block_bytes(report)
        self.note = describe(report)

    def check(self, report, truth):
        """Has it seen what it was to see?"""
        check_exact(report, truth)


def block_bytes(report):
    """Allocated at malloc and its like. Of estimates pools and regions are no part, of counts they
    are."""
    others = [] if report["sample_bytes"] else ["pymalloc_totals", "mmap_totals"]
    return (report["totals"]["alloc_bytes"]
            - sum(report[name]["alloc_bytes"] for name in others))


def describe(report):
    """What shows how good the stacks are, and what was lost."""
    site = max(report["sites"], key=lambda site: site["alloc_count"], default=None)
    losses = "".join(f", lost {name} {count}" for name, count in report["losses"].items() if count)
    samples = (f", {report['totals']['samples']} samples live at the end"
               if report["sample_bytes"] else "")
    if not site:
        return "no sites" + samples + losses
    return f"stacks of {len(site['frames'])}, end: {site['stack_end']}{samples}{losses}"


class Sampled(Unfreed):
    """unfreed, one sample in so many bytes."""

    option = "--sample"

    def why_missing(self):
        return None if unfreed_knows(self.option) else f"this unfreed has no {self.option}"

    def check(self, report, truth):
        check_sampled(report, truth, report["sample_bytes"])


class Gated(Sampled):
    """The subject is started by unfreed; it samples by itself, and calls a probe only then."""

    option = "--gate"

    def wrapper(self, folder):
        return [UNFREED, *self.options, *reports_into(os.path.join(folder, "reports"), FOR_EVER),
                "-T", "100000", "--"]

    @contextlib.contextmanager
    def traced(self, subject, folder):
        pid = subject.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as text:
            child = int(text.read().split()[0])
        if not breakpoint_count(child):
            raise BenchError("unfreed has put no breakpoint into the gate")
        yield


class Untargeted(Row):
    """The subject's neighbour is traced, not the subject."""

    def __init__(self, key, title, options=()):
        super().__init__(key, title)
        self.options = options

    @contextlib.contextmanager
    def traced(self, subject, folder):
        other = os.path.join(folder, "neighbour")
        os.mkdir(other)
        neighbour = type(subject)(Row("neighbour", ""), other)
        tracer = start_unfreed(neighbour.pid, os.path.join(folder, "reports"), FOR_EVER,
                               self.options)
        count = breakpoint_count(subject.pid)
        self.note = f"{count} breakpoints in it" if count else "no breakpoint in it"
        yield
        tracer.stop(signal.SIGINT)
        neighbour.finish()


LOOP, REDIS, PYTHON, FLASK = ("loop",), ("redis",), ("python",), ("flask",)
ALL = LOOP + REDIS + PYTHON + FLASK
TWIN = {"frame_pointers": True, "base": "untraced-twin", "floor": "floor-twin"}

OURS = [
    Row("untraced", "untraced", subjects=ALL),
    Untargeted("untargeted", "not targeted, while unfreed traces another process"),
    Untargeted("untargeted-follow", "not targeted, while unfreed --follow traces another",
               ["--follow"]),
    Floor("floor", "floor: empty probes at unfreed's places", subjects=ALL),
    Floor("floor-skip", "floor, the return skipped", ["-r"]),
    Unfreed("unfreed", "unfreed, exact, true stacks", subjects=ALL),
    Sampled("sampled", f"unfreed -s {SAMPLE}", ["-s", SAMPLE], subjects=ALL),
    Gated("gate", "unfreed --gate (one sample per 4M)", ["--gate"], subjects=ALL),
    Row("untraced-twin", "untraced, frame-pointer build", **TWIN),
    Floor("floor-twin", "floor, frame-pointer build", **TWIN),
    Unfreed("unfreed-fp-twin", "unfreed --stack fp, frame-pointer build", ["--stack", "fp"],
            **TWIN),
    Unfreed("unfreed-dwarf-twin", "unfreed --stack dwarf, frame-pointer build",
            ["--stack", "dwarf"], **TWIN),
]
