# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What unfreed itself takes: CPU time a report and memory, and how both grow."""

import os
import signal
import statistics
import tempfile
import time
from collections import namedtuple

from processes import TIMEOUT_S, BenchError, bpf_map_bytes, cpu_ns, status_bytes
from rows import FOR_EVER, Row, start_unfreed
from subjects import Loop

INTERVAL = "200ms"

# Live blocks, sites, and seconds over which the blocks are born: each site has as many ages.
Case = namedtuple("Case", "blocks sites seconds")
CASES = [Case(1000, 1, 1), Case(100000, 1, 1), Case(1000000, 1, 1), Case(10000, 10000, 1),
         Case(1000000, 10000, 1), Case(1000000, 10000, 20)]
QUICK_CASES = [Case(1000, 1, 1), Case(10000, 10000, 1)]
GOAL_CASES = CASES[-2:]
GOAL_NS = 50e6

# CPU nanoseconds of the first report, which looks up names, and of one of the later ones; bytes.
Cost = namedtuple("Cost", "first_ns report_ns rss_bytes map_bytes")


def report_count(output):
    """Reports written so far: one a line."""
    with open(output, "rb") as text:
        return text.read().count(b"\n")


def wait_for_reports(tracer, output, count):
    """Until there are so many."""
    deadline = time.monotonic() + TIMEOUT_S
    while report_count(output) < count:
        if tracer.proc.poll() is not None:
            raise BenchError(f"unfreed has ended, status {tracer.proc.returncode}")
        if time.monotonic() > deadline:
            raise BenchError("unfreed writes no reports")
        tracer.discard_output()
        time.sleep(0.001)


def fill(subject, case):
    """A share of the blocks each second."""
    for second in range(case.seconds):
        if second:
            time.sleep(1)
        subject.hold(case.blocks // case.seconds, case.sites)


def wait_until_idle(pid):
    """Until it has taken in what came; its CPU time then."""
    before = cpu_ns(pid)
    for _ in range(100):
        time.sleep(0.2)
        now = cpu_ns(pid)
        if now - before < 2e5:
            return now
        before = now
    raise BenchError("unfreed does not come to rest")


def first_report(case):
    """Of a trace that has not made any; which is its last one, too: it is asked to end."""
    with tempfile.TemporaryDirectory(prefix="unfreed-bench-") as folder:
        output = os.path.join(folder, "reports")
        subject = Loop(Row("victim", ""), folder)
        tracer = start_unfreed(subject.pid, output, FOR_EVER)
        fill(subject, case)
        before = wait_until_idle(tracer.pid)
        tracer.proc.send_signal(signal.SIGINT)
        wait_for_reports(tracer, output, 1)
        spent = cpu_ns(tracer.pid) - before
        tracer.stop(sig=None)
        subject.finish()
    return spent


def measure(case, report_cnt):
    """One case: its cost.

    The subject holds still. The first two reports after that do not count. Of the others the
    median: unfreed also follows what the host executes and maps.
    """
    first_ns = first_report(case)
    with tempfile.TemporaryDirectory(prefix="unfreed-bench-") as folder:
        output = os.path.join(folder, "reports")
        subject = Loop(Row("victim", ""), folder)
        tracer = start_unfreed(subject.pid, output, INTERVAL)
        fill(subject, case)
        first = report_count(output) + 3
        spent = []
        for number in range(first, first + report_cnt + 1):
            wait_for_reports(tracer, output, number)
            spent.append(cpu_ns(tracer.pid))
        per_report = [after - before for before, after in zip(spent, spent[1:])]
        result = Cost(first_ns, statistics.median(per_report),
                      status_bytes(tracer.pid, "VmRSS"), bpf_map_bytes(tracer.pid))
        tracer.stop()
        subject.finish()
    return result
