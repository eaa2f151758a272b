# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The rows: who traces the victim, and how it is started, awaited and ended.

Each row of a round starts a victim of its own, attaches, runs all the workloads, and ends
everything again: two tracers on one C library would pay for each other.
"""

import contextlib
import glob
import json
import os
import shutil
import signal
import tempfile

from processes import (BUILD, ROOT, BenchError, Process, Victim, breakpoint_count,
                       wait_for_breakpoints)

UNFREED = os.environ.get("UNFREED", os.path.join(ROOT, "unfreed"))
FOR_EVER = "1h"
FOR_EVER_S = "3600"


def which(*names):
    """The first of these programs that is there; /usr/sbin counts."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    return None


class Row:
    """Untraced, unless a subclass says otherwise.

    is_peer: another tool; if it fails the bench goes on and is none the worse. is_probed: by
    uprobes, so that the floor says something about it. note: what is to be said about the row.
    """

    is_peer = False
    is_probed = False

    def __init__(self, key, title, frame_pointers=False):
        self.key = key
        self.title = title
        self.frame_pointers = frame_pointers
        self.note = ""

    def why_missing(self):
        """Why there can be no such row here, or None."""
        return None

    def wrapper(self, folder):
        """What the victim runs under."""
        return []

    @contextlib.contextmanager
    def traced(self, victim, folder):
        """A context in which the victim is traced; gives a function to be told the pairs made."""
        if breakpoint_count(victim.pid):
            raise BenchError("somebody traces every process's C library: there is no base")
        yield lambda pairs: None

    def run(self, workloads):
        """One round: workload -> nanoseconds per pair."""
        with tempfile.TemporaryDirectory(prefix="unfreed-bench-") as folder:
            victim = Victim(self.frame_pointers, self.wrapper(folder))
            results = {}
            with self.traced(victim, folder) as settle:
                # Unmeasured: the first events find nothing prepared (heaptrack's reader starts).
                pair_cnt = victim.measure("tight 1 20")[1]
                for name, command in workloads.items():
                    results[name], pairs = victim.measure(command)
                    pair_cnt += pairs
                settle(pair_cnt)
            victim.finish()
        return results


class Floor(Row):
    """Empty programs at unfreed's places."""

    is_probed = True

    def __init__(self, key, title, options=(), frame_pointers=False):
        super().__init__(key, title, frame_pointers)
        self.options = options

    @contextlib.contextmanager
    def traced(self, victim, folder):
        floor = Process([os.path.join(BUILD, "floor"), *self.options, str(victim.pid)])
        floor.expect("floor: attached")
        if not breakpoint_count(victim.pid):
            raise BenchError("floor has put no breakpoint into the victim")
        yield lambda pairs: None
        floor.stop(sig=None)


class Unfreed(Row):
    """unfreed; of its last report is kept what shows whether it saw everything."""

    is_probed = True

    def __init__(self, key, title, options=(), frame_pointers=False):
        super().__init__(key, title, frame_pointers)
        self.options = options

    @contextlib.contextmanager
    def traced(self, victim, folder):
        output = os.path.join(folder, "reports")
        tracer = start_unfreed(victim.pid, output, FOR_EVER, self.options)
        pair_cnt = 0

        def settle(pairs):
            nonlocal pair_cnt
            pair_cnt = pairs

        yield settle
        tracer.stop(signal.SIGINT)
        with open(output, encoding="utf-8") as text:
            self.judge(json.loads(text.read().splitlines()[-1]), pair_cnt)

    def judge(self, report, pair_cnt):
        """A tracer that misses events is cheap, and so is one with short stacks: say so."""
        seen = report["totals"]["alloc_count"]
        if seen < pair_cnt:
            raise BenchError(f"unfreed has seen {seen} of {pair_cnt} allocations")
        site = max(report["sites"], key=lambda site: site["alloc_count"])
        losses = "".join(f", lost {name} {count}" for name, count in report["losses"].items()
                         if count)
        self.note = f"stacks of {len(site['frames'])}, end: {site['stack_end']}{losses}"


def start_unfreed(pid, output, interval, options=()):
    """unfreed on a process, attached."""
    tracer = Process([UNFREED, "-p", str(pid), "-i", interval, "-f", "json", "-w", output,
                      *options])
    tracer.expect("unfreed: tracing")
    if not breakpoint_count(pid):
        raise BenchError("unfreed has put no breakpoint into the victim")
    return tracer


class Untargeted(Row):
    """The victim's neighbour is traced, not the victim."""

    @contextlib.contextmanager
    def traced(self, victim, folder):
        neighbour = Victim()
        tracer = start_unfreed(neighbour.pid, os.path.join(folder, "reports"), FOR_EVER)
        count = breakpoint_count(victim.pid)
        self.note = f"{count} breakpoints in it" if count else "no breakpoint in it"
        yield lambda pairs: None
        tracer.stop(signal.SIGINT)
        neighbour.finish()


class Memleak(Row):
    """libbpf-tools' memleak (Debian: from 13 on), or whatever BENCH_MEMLEAK names."""

    is_peer = True
    is_probed = True

    def command(self):
        """Its path, or None."""
        return os.environ.get("BENCH_MEMLEAK") or which("memleak-libbpf", "memleak")

    def why_missing(self):
        if not self.command():
            return "no memleak-libbpf (libbpf-tools >= 0.31), and no BENCH_MEMLEAK"
        return None

    @contextlib.contextmanager
    def traced(self, victim, folder):
        tracer = Process([*self.prefix(), self.command(), "-p", str(victim.pid), FOR_EVER_S, "1"])
        self.note = f"{wait_for_breakpoints(tracer, victim.pid)} breakpoints"
        yield lambda pairs: None
        tracer.stop(signal.SIGKILL)

    def prefix(self):
        """What it runs under."""
        return []


# $1, $2: headers of a kernel. The mount is this namespace's own and gone with it.
WITH_HEADERS = """mount -t tmpfs none /lib/modules && mkdir "/lib/modules/$(uname -r)" &&
ln -s "$1" "/lib/modules/$(uname -r)/build" && ln -s "$2" "/lib/modules/$(uname -r)/source" &&
shift 2 && exec "$@"
"""


def with_kernel_headers():
    """How to run bcc, which compiles against headers of the running kernel.

    memleak needs little of them: where those are missing, Debian's newest do, in a mount namespace
    in which they are the running kernel's. None if there are none.
    """
    release = os.uname().release
    if (os.path.isdir(f"/lib/modules/{release}/build")
            or os.path.exists("/sys/kernel/kheaders.tar.xz")):
        return []
    for build in sorted(glob.glob("/lib/modules/*/build"), reverse=True):
        source = os.path.join(os.path.dirname(build), "source")
        if os.path.isdir(build):
            return ["unshare", "--mount", "sh", "-c", WITH_HEADERS, "sh", os.path.realpath(build),
                    os.path.realpath(source if os.path.isdir(source) else build)]
    return None


class BccMemleak(Memleak):
    """bcc's memleak in Python."""

    def command(self):
        return which("memleak-bpfcc")

    def why_missing(self):
        if not self.command():
            return "no memleak-bpfcc (bpfcc-tools)"
        if with_kernel_headers() is None:
            return "memleak-bpfcc needs kernel headers (linux-headers-amd64)"
        return None

    def prefix(self):
        return with_kernel_headers()


class Wrapped(Row):
    """A tool that starts the victim itself. argv may name FOLDER, for its files."""

    is_peer = True

    def __init__(self, key, title, argv, note=""):
        super().__init__(key, title)
        self.argv = argv
        self.note = note

    def why_missing(self):
        return None if which(self.argv[0]) else f"no {self.argv[0]}"

    @contextlib.contextmanager
    def traced(self, victim, folder):
        yield lambda pairs: None

    def wrapper(self, folder):
        return [which(self.argv[0])] + [word.replace("FOLDER", folder) for word in self.argv[1:]]


ONE_THREAD = "runs one thread at a time"

ROWS = [
    Row("untraced", "untraced"),
    Untargeted("untargeted", "not targeted, while unfreed traces another process"),
    Floor("floor", "floor: empty probes at unfreed's places"),
    Floor("floor-skip", "floor, the return skipped", ["-r"]),
    Unfreed("unfreed-fp", "unfreed --stack fp", ["--stack", "fp"]),
    Unfreed("unfreed-dwarf", "unfreed --stack dwarf", ["--stack", "dwarf"]),
    Row("untraced-twin", "untraced, frame-pointer build", True),
    Floor("floor-twin", "floor, frame-pointer build", [], True),
    Unfreed("unfreed-fp-twin", "unfreed --stack fp, frame-pointer build", ["--stack", "fp"], True),
    Unfreed("unfreed-dwarf-twin", "unfreed --stack dwarf, frame-pointer build",
            ["--stack", "dwarf"], True),
    Memleak("memleak", "libbpf-tools memleak"),
    BccMemleak("memleak-bcc", "bcc memleak (Python)"),
    Wrapped("heaptrack", "heaptrack", ["heaptrack", "-o", "FOLDER/heaptrack"]),
    Wrapped("massif", "valgrind massif",
            ["valgrind", "-q", "--tool=massif", "--massif-out-file=FOLDER/massif"], ONE_THREAD),
    Wrapped("memcheck", "valgrind memcheck",
            ["valgrind", "-q", "--tool=memcheck", "--leak-check=no"], ONE_THREAD),
]
