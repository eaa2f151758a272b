# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The rows of other tools. Each is judged by what it says at its end, where it says anything."""

import contextlib
import glob
import json
import math
import os
import re
import signal
import subprocess

from processes import TIMEOUT_S, BenchError, Process, wait_for_breakpoints
from rows import FLASK, LOOP, PYTHON, REDIS, SAMPLE_BYTES, Row
from truth import SIGMAS, check_at_least, known_live, parse_size
from which import which

FOR_EVER_S = "3600"
LIBRARIES = "/usr/lib/*-linux-gnu/"


def count_entries(pid, map_name):
    """Of a BPF hash that a process has."""
    for number in os.listdir(f"/proc/{pid}/fdinfo"):
        with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as text:
            map_id = re.search(r"^map_id:\s*(\d+)", text.read(), re.M)
        if not map_id:
            continue
        command = [which("bpftool"), "-j", "map", "show", "id", map_id.group(1)]
        if f'"name":"{map_name}"' in subprocess.run(command, capture_output=True, text=True,
                                                    check=False).stdout:
            command[3] = "dump"
            return len(json.loads(subprocess.run(command, capture_output=True,
                                                 check=True).stdout))
    return 0


class Peer(Row):
    """Another tool, that a package has."""

    is_peer = True


class Memleak(Peer):
    """libbpf-tools' memleak (Debian: from 13 on), or whatever BENCH_MEMLEAK names."""

    is_probed = True
    entry_count = 0

    def command(self):
        """Its path, or None."""
        return os.environ.get("BENCH_MEMLEAK") or which("memleak-libbpf", "memleak")

    def why_missing(self):
        if not self.command():
            return "no memleak-libbpf (libbpf-tools of Debian 13), and no BENCH_MEMLEAK"
        return None

    @contextlib.contextmanager
    def traced(self, subject, folder):
        tracer = Process([*self.prefix(), self.command(), "-p", str(subject.pid), FOR_EVER_S, "1"])
        self.note = f"{wait_for_breakpoints(tracer, subject.pid)} breakpoints"
        yield
        self.entry_count = count_entries(tracer.pid, "allocs")
        tracer.stop(signal.SIGKILL)

    def judge(self, folder, truth):
        """By its table of live blocks: it would print no more than the largest."""
        if self.entry_count < 0.95 * truth.live_count:
            raise BenchError(f"it has {self.entry_count} of {truth.live_count} live blocks")

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


class Wrapped(Peer):
    """A tool that starts the subject itself. argv may name FOLDER, for its files."""

    def __init__(self, key, title, argv, note="", **more):
        super().__init__(key, title, **more)
        self.argv = argv
        self.note = note

    def why_missing(self):
        return None if which(self.argv[0]) else f"no {self.argv[0]}"

    @contextlib.contextmanager
    def traced(self, subject, folder):
        yield

    def wrapper(self, folder):
        return [which(self.argv[0])] + [word.replace("FOLDER", folder) for word in self.argv[1:]]


class Heaptrack(Wrapped):
    """heaptrack, judged by the peak that its own heaptrack_print finds."""

    def judge(self, folder, truth):
        files = glob.glob(os.path.join(folder, "heaptrack*"))
        if not files or not which("heaptrack_print"):
            raise BenchError("heaptrack has left no file, or there is no heaptrack_print")
        done = subprocess.run([which("heaptrack_print"), "-f", files[0], "-l", "0", "-T", "0"],
                              capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        peak = re.search(r"peak heap memory consumption: (\S+)", done.stdout)
        if not peak:
            raise BenchError("heaptrack_print names no peak")
        check_at_least("heaptrack", parse_size(peak.group(1)), truth)


class Massif(Wrapped):
    """valgrind's massif, by its snapshots."""

    def judge(self, folder, truth):
        with open(os.path.join(folder, "massif"), encoding="utf-8") as text:
            sizes = [int(size) for size in re.findall(r"^mem_heap_B=(\d+)", text.read(), re.M)]
        check_at_least("massif", max(sizes, default=0), truth)


class Preloaded(Peer):
    """An allocator in place of the C library's, which may have a profiler. FOLDER as above."""

    package = ""

    def __init__(self, key, title, library, environment, **more):
        super().__init__(key, title, **more)
        self.library = library
        self.variables = environment

    def path(self):
        """The library's, or None."""
        found = glob.glob(LIBRARIES + self.library)
        return found[0] if found else None

    def why_missing(self):
        return None if self.path() else f"no {self.library} ({self.package})"

    def environment(self, folder):
        variables = {name: value.replace("FOLDER", folder)
                     for name, value in self.variables.items()}
        return dict(variables, LD_PRELOAD=self.path())

    def profile(self, folder):
        """The last one that it has written."""
        files = sorted(glob.glob(os.path.join(folder, "profile*")), key=os.path.getmtime)
        if not files:
            raise BenchError(f"{self.library} has written no profile")
        with open(files[-1], encoding="utf-8", errors="replace") as text:
            return text.read()


class Jemalloc(Preloaded):
    """jemalloc, with its heap profiler if interval_bytes is not 0."""

    package = "libjemalloc2"

    def __init__(self, key, title, interval_bytes=0, **more):
        conf = ""
        if interval_bytes:
            conf = (f"prof:true,lg_prof_sample:{interval_bytes.bit_length() - 1},prof_final:true,"
                    "prof_prefix:FOLDER/profile")
        super().__init__(key, title, "libjemalloc.so.2", {"MALLOC_CONF": conf}, **more)
        self.interval_bytes = interval_bytes

    def why_missing(self):
        missing = super().why_missing()
        if missing or not self.interval_bytes:
            return missing
        done = subprocess.run(["/bin/true"], capture_output=True, text=True, check=False,
                              env={"LD_PRELOAD": self.path(), "MALLOC_CONF": "stats_print:true"})
        return None if "config.prof: true" in done.stderr else "this libjemalloc2 has no profiler"

    def judge(self, folder, truth):
        """As many samples as are to be expected; "  t*: 203: 197000 [0: 0]" is their sum."""
        if not self.interval_bytes:
            return
        total = re.search(r"^\s*t\*: (\d+): (\d+)", self.profile(folder), re.M)
        samples, size = (int(number) for number in total.groups()) if total else (0, 0)
        self.note = f"{samples} samples live at the end"
        if self.interval_bytes == 1:
            check_at_least("jemalloc", size, truth)
            return
        expected = known_live(truth) / self.interval_bytes
        if samples < expected - SIGMAS * math.sqrt(expected):
            raise BenchError(f"jemalloc has {samples} samples, where {expected:.0f} are expected")


class Gperftools(Preloaded):
    """gperftools' tcmalloc. HEAPPROFILE follows every block."""

    package = "libgoogle-perftools4"

    def judge(self, folder, truth):
        """Of "heap profile: 203: 197000 [...": what is live at the end."""
        if "HEAPPROFILE" not in self.variables:
            return
        total = re.search(r"^heap profile:\s*\d+:\s*(\d+)", self.profile(folder))
        check_at_least("gperftools", int(total.group(1)) if total else 0, truth)


class Tracemalloc(Peer):
    """Python's own; the subject says what it knows."""

    def __init__(self, frame_count, **more):
        super().__init__(f"tracemalloc-{frame_count}",
                         f"tracemalloc, {frame_count} frame{'s' * (frame_count > 1)}", **more)
        self.frame_count = frame_count
        self.note = "follows every object"

    def python_options(self):
        return ["-X", f"tracemalloc={self.frame_count}"]


class Memray(Peer):
    """memray, which starts the program."""

    def why_missing(self):
        done = subprocess.run(["/usr/bin/python3", "-c", "import memray"], capture_output=True,
                              check=False)
        return "no memray (python3-memray of Debian 13)" if done.returncode else None

    def python_options(self):
        return ["-m", "memray", "run", "-q", "-o", "/dev/null"]


ONE_THREAD = "runs one thread at a time"
PYTHONS = PYTHON + FLASK
JEMALLOC = {"base": "jemalloc"}
TCMALLOC = {"base": "tcmalloc"}
JEMALLOC_ALL = 1  # bytes: every block

PEERS = [
    Memleak("memleak", "libbpf-tools memleak"),
    BccMemleak("memleak-bcc", "bcc memleak (Python)"),
    Heaptrack("heaptrack", "heaptrack", ["heaptrack", "-o", "FOLDER/heaptrack"],
              subjects=LOOP + REDIS),
    Massif("massif", "valgrind massif",
           ["valgrind", "-q", "--tool=massif", "--massif-out-file=FOLDER/massif"], ONE_THREAD),
    Wrapped("memcheck", "valgrind memcheck",
            ["valgrind", "-q", "--tool=memcheck", "--leak-check=no"], ONE_THREAD),
    Jemalloc("jemalloc", "untraced, jemalloc", **JEMALLOC),
    Jemalloc("jemalloc-512K", "jemalloc's profiler, one sample per 512K", SAMPLE_BYTES,
             **JEMALLOC),
    Jemalloc("jemalloc-all", "jemalloc's profiler, every block", JEMALLOC_ALL, **JEMALLOC),
    Jemalloc("redis-jemalloc-512K", "jemalloc's profiler, one sample per 512K", SAMPLE_BYTES,
             subjects=REDIS),
    Jemalloc("redis-jemalloc-all", "jemalloc's profiler, every block", JEMALLOC_ALL,
             subjects=REDIS),
    Gperftools("tcmalloc", "untraced, gperftools' tcmalloc", "libtcmalloc.so.4", {}, **TCMALLOC),
    Gperftools("tcmalloc-512K", "tcmalloc's sampling, one per 512K", "libtcmalloc.so.4",
               {"TCMALLOC_SAMPLE_PARAMETER": str(SAMPLE_BYTES)}, **TCMALLOC),
    Gperftools("tcmalloc-all", "gperftools' heap profiler", "libtcmalloc.so.4",
               {"HEAPPROFILE": "FOLDER/profile"}, **TCMALLOC),
    Tracemalloc(1, subjects=PYTHONS),
    Tracemalloc(25, subjects=PYTHONS),
    Memray("memray", "memray", subjects=PYTHONS),
]
