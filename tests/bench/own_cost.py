# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What unfreed itself takes: CPU time a report and memory, and how both grow."""

import os
import statistics
import tempfile
import time

from processes import TIMEOUT_S, BenchError, Victim, bpf_map_bytes, cpu_ns, status_bytes
from rows import start_unfreed

INTERVAL = "200ms"
# Live blocks, sites.
CASES = [(1000, 1), (100000, 1), (1000000, 1), (10000, 10000), (1000000, 10000)]
QUICK_CASES = [(1000, 1), (100000, 1), (10000, 10000)]


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
        time.sleep(0.002)


def measure(block_cnt, site_cnt, report_cnt):
    """One case: nanoseconds of CPU a report, resident bytes, bytes of maps in the kernel.

    The victim holds still. The first two reports after that do not count: names are looked up
    once. The median of the others: unfreed also follows what the host executes and maps.
    """
    with tempfile.TemporaryDirectory(prefix="unfreed-bench-") as folder:
        output = os.path.join(folder, "reports")
        victim = Victim()
        tracer = start_unfreed(victim.pid, output, INTERVAL)
        victim.ask(f"hold {block_cnt} {site_cnt}", "held")
        first = report_count(output) + 3
        spent = []
        for number in range(first, first + report_cnt + 1):
            wait_for_reports(tracer, output, number)
            spent.append(cpu_ns(tracer.pid))
        per_report = [after - before for before, after in zip(spent, spent[1:])]
        result = (statistics.median(per_report), status_bytes(tracer.pid, "VmRSS"),
                  bpf_map_bytes(tracer.pid))
        tracer.stop()
        victim.finish()
    return result
