# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What the live tests need: victims in step with a test, the tool, and its reports.

A victim (tests/programs/, gate.h) says one line on its stdout at each gate and waits for one byte
on its stdin, so that a test attaches, looks and detaches exactly between two phases. The tool says
"unfreed: tracing ..." on stderr once it is attached, and writes one JSON report a line; SIGINT asks
it for a last one.

Nothing here waits without a limit, and nothing that a test starts outlives it: all are descendants
of this process (it is their subreaper) and are killed after each test.

The environment may name another tool (UNFREED) and another folder of victims (UNFREED_PROGRAMS).
"""

import collections
import contextlib
import ctypes
import json
import os
import platform
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

TIMEOUT_S = 30
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = os.path.join(ROOT, "tests", "programs")
PROGRAMS = os.environ.get("UNFREED_PROGRAMS", os.path.join(ROOT, "build", "tests", "programs"))
UNFREED = os.environ.get("UNFREED", os.path.join(ROOT, "unfreed"))
ATTACHED = "unfreed: tracing"

# Values of --attach, and what the tool says of each when it has attached so.
ATTACH_MODES = {"session": "by uprobe session", "multi": "by uprobe multi",
                "perf": "by perf uprobe"}


def program(name):
    """Path of a built victim."""
    return os.path.join(PROGRAMS, name)


def line_of(source, marker):
    """Number of the one line of a victim's source that carries the comment LINE: marker."""
    pattern = re.compile(r"/\* LINE: %s \*/" % re.escape(marker))
    with open(os.path.join(SOURCES, source), encoding="utf-8") as text:
        lines = [number for number, line in enumerate(text, 1) if pattern.search(line)]
    if len(lines) != 1:
        raise LookupError(f"{source}: {len(lines)} lines are marked {marker}")
    return lines[0]


def bpf_refusal():
    """Why the kernel refuses bpf(2) to us, or None: tries to make a map of one element."""
    number = {"x86_64": 321, "aarch64": 280, "riscv64": 280}.get(platform.machine())
    if number is None:
        return f"bpf(2) is not known for {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    attr = (ctypes.c_uint32 * 18)(2, 4, 4, 1)  # BPF_MAP_TYPE_ARRAY, key, value, entries
    fd = libc.syscall(number, 0, attr, ctypes.sizeof(attr))  # BPF_MAP_CREATE
    if fd < 0:
        return f"bpf(2): {os.strerror(ctypes.get_errno())}"
    os.close(fd)
    return None


def why_unavailable():
    """Why no live test can run here, or None."""
    if os.geteuid() != 0:
        return "not root"
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        return "no /sys/kernel/btf/vmlinux"
    return bpf_refusal()


def become_subreaper():
    """Orphans of what we start become our children, so that kill_descendants finds them."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def children(pid):
    """Pids of the children of all of a process's threads."""
    found = []
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as text:
                found += [int(word) for word in text.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def descendants(pid):
    """Pids below pid."""
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def reap():
    """Takes in whoever is dead."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def kill_descendants():
    """Kills what tests have left; returns how many there were."""
    killed = 0
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        reap()
        leftovers = descendants(os.getpid())
        if not leftovers:
            break
        for pid in leftovers:
            try:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
        time.sleep(0.005)
    return killed


def anon_bytes(pid):
    """Resident memory of a process that is its own. The kernel's tables that it maps are not."""
    with open(f"/proc/{pid}/status", encoding="ascii") as text:
        return int(re.search(r"RssAnon:\s+(\d+) kB", text.read()).group(1)) * 1024


def mapping_count(pid):
    """Mappings of a process."""
    with open(f"/proc/{pid}/maps", "rb") as text:
        return len(text.readlines())


def fd_count(pid):
    """Open files of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Lines:
    """The lines of a stream as they come, each with a limit on the waiting; all are kept."""

    def __init__(self, stream, on_line=None):
        self.all = []
        self._queue = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(stream, on_line), daemon=True)
        self._thread.start()

    def _run(self, stream, on_line):
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.all.append(line)
            if on_line:
                on_line(line)
            self._queue.put(line)
        self._queue.put(None)
        stream.close()

    def next(self, timeout=TIMEOUT_S):
        """The next line; None at the end."""
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no line in {timeout} s after {self.all[-3:]}") from None

    def rest(self):
        """Waits for the end."""
        self._thread.join(TIMEOUT_S)
        return "\n".join(self.all)


class Victim:
    """A program under tests/programs/, stopped at its first gate."""

    def __init__(self, name, *args, env=None, preload=None, path=None):
        env = dict(os.environ if env is None else env)
        if preload:
            env["LD_PRELOAD"] = preload
        self.proc = subprocess.Popen(
            [path or program(name), *map(str, args)], env=env, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True)
        self.pid = self.proc.pid
        self.lines = Lines(self.proc.stdout)
        self.expect("READY")

    def expect(self, start):
        """The next line must start so; returns the numbers that follow."""
        line = self.lines.next()
        if line is None or not line.startswith(start):
            raise AssertionError(f"the victim says {line!r}, not {start!r}")
        return [int(word) for word in line[len(start):].split()]

    def go(self, expect):
        """Lets it run to its next gate."""
        self.proc.stdin.write(b"g")
        self.proc.stdin.flush()
        return self.expect(expect)

    def finish(self):
        """Lets it run through to its end; returns its exit status."""
        self.proc.stdin.close()
        return self.proc.wait(TIMEOUT_S)


Result = collections.namedtuple("Result", "status stdout stderr reports")


class Unfreed:
    """The tool, running. Reports go to a file of its own unless output is None (stdout)."""

    def __init__(self, *args, command=None, fmt="json", interval="60s", top=100000, output=True,
                 tool=UNFREED, **popen):
        self.folder = tempfile.mkdtemp(prefix="unfreed-live-")
        self.output = os.path.join(self.folder, "reports") if output else None
        argv = [tool, "-f", fmt]
        argv += ["-i", interval] if interval else []
        argv += ["-T", str(top)] if top else []
        argv += ["-w", self.output] if output else []
        argv += [str(arg) for arg in args]
        argv += ["--", *map(str, command)] if command else []
        popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                 "start_new_session": True, **popen}
        self._attached = threading.Event()
        self.proc = subprocess.Popen(argv, stderr=subprocess.PIPE, **popen)
        self.pid = self.proc.pid
        self.stdout = Lines(self.proc.stdout) if self.proc.stdout else None
        self.stderr = Lines(self.proc.stderr, self._on_stderr)

    def _on_stderr(self, line):
        if line.startswith(ATTACHED):
            self._attached.set()

    def wait_attached(self):
        """Until it traces; fails with what it says if it ends instead."""
        deadline = time.monotonic() + TIMEOUT_S
        while not self._attached.wait(0.01):
            if self.proc.poll() is not None:
                self.stderr.rest()
                if self._attached.is_set():
                    break
                raise AssertionError(f"unfreed ended with {self.proc.returncode}: "
                                     + self.stderr.rest())
            if time.monotonic() > deadline:
                raise AssertionError(f"not attached after {TIMEOUT_S} s: {self.stderr.all}")
        return self

    def text(self):
        """What it has written so far."""
        if not self.output:
            return "".join(line + "\n" for line in self.stdout.all)
        try:
            with open(self.output, encoding="utf-8") as text:
                return text.read()
        except FileNotFoundError:
            return ""

    def reports(self):
        """The complete reports so far; on stdout a command may speak between them."""
        return [json.loads(line) for line in self.text().split("\n")[:-1]
                if self.output or line.startswith("{")]

    def fresh_report(self):
        """A report whose making began after this call."""
        seen = len(self.reports())
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            reports = self.reports()
            if len(reports) >= seen + 2:
                return reports[seen + 1]
            if self.proc.poll() is not None:
                raise AssertionError("unfreed ended: " + self.stderr.rest())
            time.sleep(0.01)
        raise AssertionError(f"no fresh report in {TIMEOUT_S} s")

    def wait(self):
        """Until it ends by itself; status, output and reports."""
        try:
            status = self.proc.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"unfreed does not end: {self.stderr.all[-3:]}") from None
        stdout = self.stdout.rest() if self.stdout else ""
        stderr = self.stderr.rest()
        reports = self.reports() if self.is_json() else []
        return Result(status, stdout, stderr, reports)

    def is_json(self):
        """Are its reports JSON, so that we can read them?"""
        return self.proc.args[2] == "json"

    def stop(self, sig=signal.SIGINT):
        """Asks for the end."""
        self.proc.send_signal(sig)
        return self.wait()

    def last_report(self):
        """Asks for the last report, which must be there, marked so, once, with exit status 0."""
        result = self.stop()
        return only_last(result)

    def release(self):
        """Removes its files."""
        if self.proc.stdout and self.proc.poll() is None:
            self.proc.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def only_last(result):
    """The last report of a run that must have ended well."""
    if result.status != 0:
        raise AssertionError(f"unfreed ended with {result.status}: {result.stderr}")
    lasts = [report.get("last", False) for report in result.reports]
    if not lasts or not lasts[-1] or any(lasts[:-1]):
        raise AssertionError(f"the last report is not marked so, once: {lasts}: {result.stderr}")
    return result.reports[-1]


def is_function(frame, name):
    """Is this a frame of the C function name, or of the C++ function name(...)?"""
    return frame["function"] == name or frame["function"].startswith(name + "(")


def find_sites(report, function, anywhere=False, pid=None):
    """Sites that the allocator was called from in that function (anywhere: further up counts)."""
    return [site for site in report["sites"]
            if (pid is None or site["pid"] == pid)
            and any(is_function(frame, function)
                    for frame in site["frames"][:None if anywhere else 1])]


def malloc_sites(report):
    """Those of malloc's blocks; the others are Python's pools."""
    return [site for site in report["sites"] if site["kind"] == "malloc"]


def functions(site):
    """The names in a site's stack."""
    return [frame["function"] for frame in site["frames"]]


def sums(sites):
    """(live_count, live_bytes) of all of them."""
    return sum(site["live_count"] for site in sites), sum(site["live_bytes"] for site in sites)


def describe(report):
    """The report in a few lines, for the message of a failed assertion."""
    lines = [f"totals {report['totals']} losses {report['losses']}"]
    for site in report["sites"][:20]:
        names = [frame["function"] or frame["module"] for frame in site["frames"][:6]]
        lines.append(f"  pid {site['pid']}: {site['live_count']} blocks, {site['live_bytes']} B, "
                     f"+{site['alloc_count']} -{site['free_count']} {' < '.join(names)} "
                     f"({len(site['frames'])}, {site['stack_end']})")
    return "\n".join(lines)


class LiveTest(unittest.TestCase):
    """A test with victims and the tool; nothing that it starts survives it."""

    maxDiff = None
    said_of_modes = {}

    def setUp(self):
        reason = why_unavailable()
        if reason:
            self.skipTest(reason)
        self.addCleanup(kill_descendants)
        self.folder = tempfile.mkdtemp(prefix="unfreed-live-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def victim(self, name, *args, **kwargs):
        """A victim at its first gate."""
        return Victim(name, *args, **kwargs)

    def unfreed(self, *args, **kwargs):
        """The tool, attached."""
        return self.start(*args, **kwargs).wait_attached()

    @contextlib.contextmanager
    def attached_by(self, mode):
        """A subtest with the arguments for a way of attaching, skipped where it is none."""
        with self.subTest(attach=mode):
            args = ["--attach", mode]
            if mode not in self.said_of_modes:
                tried = self.run_command("/bin/true", args=args)
                self.said_of_modes[mode] = (tried.status, tried.stderr)
            status, said = self.said_of_modes[mode]
            if status:
                self.skipTest(f"this kernel cannot: {said}")
            self.assertIn(ATTACH_MODES[mode], said)
            yield args

    def start(self, *args, **kwargs):
        """The tool, started."""
        tool = Unfreed(*args, **kwargs)
        self.addCleanup(tool.release)
        return tool

    def run_command(self, *command, args=(), **kwargs):
        """The tool with a command of its own, run to its end; victims pass their gates."""
        return self.start(*args, command=command, **kwargs).wait()

    def trace(self, victim, *gates, args=()):
        """Attaches, lets the victim pass the gates, and returns the last report."""
        tool = self.unfreed("-p", victim.pid, *args)
        for gate in gates:
            victim.go(gate)
        return tool.last_report()

    def site_by(self, report, function, line=None, pid=None, anywhere=False):
        """The one site of a function (and of the line in its frame there)."""
        sites = find_sites(report, function, anywhere, pid)
        if line is not None:
            sites = [site for site in sites
                     if any(is_function(frame, function) and frame["line"] == line
                            for frame in site["frames"])]
        self.assertEqual(len(sites), 1, f"sites of {function}, line {line}, pid {pid}\n"
                         + describe(report))
        return sites[0]

    def assert_site(self, report, function, live_count, live_bytes, alloc_count=None,
                    free_count=None, line=None, pid=None, anywhere=False):
        """The function's one site has exactly these numbers. Returns it."""
        site = self.site_by(report, function, line, pid, anywhere)
        expected = {"live_count": live_count, "live_bytes": live_bytes}
        if alloc_count is not None:
            expected["alloc_count"] = alloc_count
        if free_count is not None:
            expected["free_count"] = free_count
        self.assertEqual({key: site[key] for key in expected}, expected,
                         function + "\n" + describe(report))
        return site

    def assert_sites(self, report, function, live_count, live_bytes, pid=None):
        """All sites of a function together have exactly these numbers. Returns them."""
        sites = find_sites(report, function, pid=pid)
        self.assertEqual(sums(sites), (live_count, live_bytes),
                         function + "\n" + describe(report))
        return sites

    def assert_loaded(self, report, function, live_count, live_bytes):
        """The same for a function of a library that the process has loaded a moment ago, and that
        nobody frees from. Stacks in there may end where its table is not built yet, and then
        must say so. Returns the sites."""
        sites = self.assert_sites(report, function, live_count, live_bytes)
        self.assertEqual(sum(site["alloc_count"] for site in sites), live_count)
        self.assertLessEqual({site["stack_end"] for site in sites}, {"complete", "no-table"})
        return sites

    def assert_no_site(self, report, function, pid=None):
        """Nothing that was allocated in or below that function is outstanding."""
        self.assertEqual(find_sites(report, function, anywhere=True, pid=pid), [],
                         describe(report))

    def assert_live(self, report, live_count, live_bytes):
        """All that is outstanding, in the totals and over the sites."""
        totals = report["totals"]
        self.assertEqual((totals["live_count"], totals["live_bytes"]), (live_count, live_bytes),
                         describe(report))
        self.assertEqual(sums(report["sites"]), (live_count, live_bytes), describe(report))

    def assert_no_loss(self, report, allowed=()):
        """Nothing was lost, but for what the test provokes."""
        losses = {name: count for name, count in report["losses"].items()
                  if count and name not in allowed}
        self.assertEqual(losses, {}, describe(report))
