# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What tracing costs a web application: requests per second of flask_app.py untraced, with Python's
own tracemalloc, and under unfreed. tracemalloc follows every object, unfreed what reaches malloc:
blocks over 512 bytes, and those of C code."""

import json
import os
import signal
import statistics
import subprocess
import tempfile

from processes import HERE, BenchError, Process, breakpoint_count
from rows import FOR_EVER, start_unfreed

PYTHON = "/usr/bin/python3"
LEAK_EVERY, LEAK_BYTES = 4, 1009  # as in flask_app.py

# Title, options of the interpreter, whether unfreed traces it.
CASES = [
    ("untraced", [], False),
    ("tracemalloc, 1 frame (all objects)", ["-X", "tracemalloc=1"], False),
    ("tracemalloc, 25 frames (all objects)", ["-X", "tracemalloc=25"], False),
    ("unfreed, exact, native and Python frames (malloc's blocks)", [], True),
]


def why_missing():
    """Why there can be no such table, or None."""
    if subprocess.run([PYTHON, "-c", "import flask"], capture_output=True, check=False).returncode:
        return "no Flask (python3-flask)"
    return None


def serve(app, ms):
    """Requests per second, and requests."""
    app.proc.stdin.write(b"serve %d\n" % ms)
    _, rate, count = app.expect("rate ").split()
    return float(rate), int(count)


def judge(report, count):
    """All the leaks must be there, at the line that leaks."""
    leaks = sum(site["live_count"] for site in report["sites"]
                if site["live_bytes"] == LEAK_BYTES * site["live_count"]
                and any(frame["function"] == "extension" for frame in site["frames"]))
    if leaks != count // LEAK_EVERY:
        raise BenchError(f"unfreed has seen {leaks} of {count // LEAK_EVERY} leaks")


def run(options, is_traced, ms):
    """One round of a case."""
    app = Process([PYTHON, *options, os.path.join(HERE, "flask_app.py")])
    app.expect("READY")
    if breakpoint_count(app.pid):
        raise BenchError("somebody traces every process's C library: there is no base")
    with tempfile.TemporaryDirectory(prefix="unfreed-bench-") as folder:
        output = os.path.join(folder, "reports")
        tracer = start_unfreed(app.pid, output, FOR_EVER, ["-T", "100000"]) if is_traced else None
        _, first = serve(app, ms // 2)  # unmeasured: caches, and code that is seen first
        rate, count = serve(app, ms)
        if tracer:
            tracer.stop(signal.SIGINT)
            with open(output, encoding="utf-8") as text:
                judge(json.loads(text.read().splitlines()[-1]), first + count)
    app.stop(sig=None)
    return rate


def measure(rounds, ms, progress):
    """Title -> requests per second, a list of all rounds; interleaved, as the other rows are."""
    rates = {title: [] for title, _, _ in CASES}
    for number in range(rounds):
        start = number % len(CASES)
        for title, options, is_traced in CASES[start:] + CASES[:start]:
            progress(f"Flask, round {number + 1} of {rounds}: {title}")
            rates[title].append(run(options, is_traced, ms))
    return rates


def rows(rates):
    """The table's: ratio first."""
    base = statistics.median(rates[CASES[0][0]])
    for title, samples in rates.items():
        median = statistics.median(samples)
        yield [title, f"{median / base:.2f}x", f"{median:.0f}",
               f"{min(samples) / median:.2f}-{max(samples) / median:.2f}"]
