# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The processes of the bench, and what the kernel says of processes.

What is started here ends with the bench: stop_all() ends the rest, and the kernel sends SIGKILL
to them if the bench itself is killed.
"""

import ctypes
import os
import select
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build", "tests", "bench")
TIMEOUT_S = 60
PAGE = 4096

libc = ctypes.CDLL(None)
started = []


class BenchError(Exception):
    """Something that a row cannot do without; the text says what."""


def die_with_parent():
    """In the child: SIGKILL when the bench ends."""
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


class Process:
    """A process whose output is read by lines, each with a limit on the waiting."""

    def __init__(self, argv, env=None, stderr=subprocess.STDOUT):
        self.argv = argv
        self.tail = []
        self._text = b""
        self.proc = subprocess.Popen(
            argv, env=dict(os.environ, **(env or {})), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=stderr, start_new_session=True, bufsize=0,
            preexec_fn=die_with_parent)
        self.pid = self.proc.pid
        started.append(self)

    def line(self, timeout=TIMEOUT_S):
        """The next line."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                raise BenchError(f"{self.argv[0]} says nothing for {timeout} s")
            more = os.read(self.proc.stdout.fileno(), 65536)
            if not more:
                raise BenchError(f"{os.path.basename(self.argv[0])} has ended: "
                                 + self.last_words())
            self._text += more
        raw, self._text = self._text.split(b"\n", 1)
        text = raw.decode("utf-8", "replace")
        self.tail = self.tail[-20:] + [text]
        return text

    def expect(self, *starts):
        """Skips lines up to one that starts so."""
        while True:
            text = self.line()
            if text.startswith(starts):
                return text

    def discard_output(self):
        """Reads away what has come, so that a full pipe stops nobody."""
        while select.select([self.proc.stdout], [], [], 0)[0]:
            more = os.read(self.proc.stdout.fileno(), 65536)
            if not more:
                break
            self._text = (self._text + more)[-65536:]

    def last_words(self):
        """The last lines of what it has said."""
        self.discard_output()
        lines = self.tail + self._text.decode("utf-8", "replace").splitlines()
        return " | ".join(line for line in lines[-6:] if line)

    def stop(self, sig=signal.SIGTERM, timeout=20):
        """Ends it, and waits until it has ended."""
        if self.proc.poll() is None:
            if sig:
                self.proc.send_signal(sig)
            self._close_input()
            deadline = time.monotonic() + timeout
            while self.proc.poll() is None and time.monotonic() < deadline:
                self.discard_output()
                time.sleep(0.005)
        self.kill()

    def _close_input(self):
        try:
            self.proc.stdin.close()
        except BrokenPipeError:
            pass

    def kill(self):
        """Its whole session, which we made for it: some tools are wrappers."""
        if self.proc.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.proc.wait()
        self._close_input()
        self.proc.stdout.close()
        if self in started:
            started.remove(self)


def stop_all():
    """Ends what is left."""
    for process in list(started):
        process.kill()


# Of the C library and of the others that have allocator functions.
ALLOCATOR_FILES = ("libc.so", "libc-", "ld-musl", "libjemalloc", "libtcmalloc", "libmimalloc",
                   "libunfreed-gate")


def allocator_texts(pid):
    """Start, end, offset and path of the code of allocators' libraries in a process."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            words = line.split()
            if (words[1].startswith("r-x")
                    and os.path.basename(words[-1]).startswith(ALLOCATOR_FILES)):
                start, end = (int(word, 16) for word in words[0].split("-"))
                found.append((start, end, int(words[2], 16), f"/proc/{pid}/map_files/{words[0]}"))
    if not found:
        raise BenchError(f"no C library in process {pid}")
    return found


def changed_places(ours, theirs):
    """Runs of bytes that differ."""
    count = 0
    for page in range(0, len(ours), PAGE):
        a, b = ours[page:page + PAGE], theirs[page:page + PAGE]
        if a != b:
            differs = [x != y for x, y in zip(a, b)]
            count += sum(now and not before for before, now in zip([False] + differs, differs))
    return count


def breakpoint_count(pid):
    """How many instructions of the allocators' libraries in a process are not what the file says.

    That is: how many probes are in it, whoever put them there and however.
    """
    count = 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, offset, path in allocator_texts(pid):
            with open(path, "rb") as file:
                file.seek(offset)
                ours = file.read(end - start)
            memory.seek(start)
            count += changed_places(ours, memory.read(len(ours)))
    return count


def wait_for_breakpoints(tracer, pid, settle_s=1.0):
    """Until a tracer that does not say so has attached: no new breakpoint for settle_s."""
    deadline = time.monotonic() + TIMEOUT_S
    last, since = 0, time.monotonic()
    while time.monotonic() < deadline:
        tracer.discard_output()
        if tracer.proc.poll() is not None:
            raise BenchError(f"{os.path.basename(tracer.argv[0])} has ended, status "
                             f"{tracer.proc.returncode}: {tracer.last_words()}")
        count = breakpoint_count(pid)
        if count != last:
            last, since = count, time.monotonic()
        elif count and time.monotonic() - since >= settle_s:
            return count
        time.sleep(0.02)
    raise BenchError(f"{os.path.basename(tracer.argv[0])} does not attach")


def cpu_ticks():
    """Of all CPUs since boot: idle, and in all."""
    with open("/proc/stat", encoding="ascii") as text:
        ticks = [int(word) for word in text.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def busy_share(seconds=1.0):
    """How busy the machine is while the bench does nothing: 0 to 1."""
    idle, total = cpu_ticks()
    time.sleep(seconds)
    idle_later, total_later = cpu_ticks()
    return 1 - (idle_later - idle) / max(total_later - total, 1)


def cpu_ns(pid):
    """CPU time of a process so far, its threads together, without the ticks' coarseness."""
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as text:
            total += int(text.read().split()[0])
    return total


def status_bytes(pid, name):
    """A size from /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as text:
        for line in text:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


def bpf_map_bytes(pid):
    """Kernel memory of the BPF maps that a process holds."""
    sizes = {}
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as text:
            fields = dict(line.split(":", 1) for line in text.read().splitlines() if ":" in line)
        if "map_id" in fields:
            sizes[fields["map_id"]] = int(fields.get("memlock", 0))
    return sum(sizes.values())
