#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What --max-cost keeps of its promise: max_cost.py [loss] [rank] [-m PERCENT] [-w WORK] [-c CACHED].

loss: throughput of tests/programs/busy_leak.c with and without unfreed --max-cost, in turns; the
      median of the phases of one second of each (not those in which unfreed starts).
rank: how long it takes until the planted leak, 1 % of the allocations, ranks first and stays there,
      among what is freed at once and a cache whose blocks live for some seconds.

Each takes less than 90 seconds, or two minutes. As root, after 'make unfreed programs'.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time

import processes

VICTIM = os.path.join(processes.ROOT, "build", "tests", "programs", "busy_leak")
UNFREED = os.path.join(processes.ROOT, "unfreed")
ROUNDS = 4
OFF_PHASES = 7
STARTING_PHASES = 4
ON_PHASES = 8
RANK_S = 120


class Victim:
    """busy_leak, phase by phase."""

    def __init__(self, args):
        self.process = processes.Process([VICTIM, "1000", str(args.cached), str(args.work)])
        self.process.expect("READY")
        self.pid = self.process.pid

    def phase(self):
        """Allocations in a phase, in all; blocks in the cache; leaked blocks."""
        self.process.proc.stdin.write(b"g")
        return [int(word) for word in self.process.expect("DONE").split()[2:]]


class Tool:
    """unfreed with --max-cost, attached. Keeps what its reports have first."""

    def __init__(self, victim, args):
        self.reports = []
        self.process = processes.Process(
            [UNFREED, "-p", str(victim.pid), "--max-cost", f"{args.max_cost}%", "-f", "json",
             "-i", "1s", "-T", "3"])
        self.process.expect("unfreed: tracing")
        self.is_over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        """Reads the reports."""
        while not self.is_over:
            try:
                self.reports.append(json.loads(self.process.line()))
            except (processes.BenchError, ValueError, OSError):
                return

    def stop(self):
        """Ends it."""
        self.is_over = True
        self.thread.join(5)
        self.process.stop()


def measure_loss(args):
    """Prints it."""
    victim = Victim(args)
    victim.phase()
    off, on, costs = [], [], []
    for _ in range(ROUNDS):
        off += [victim.phase()[0] for _ in range(OFF_PHASES)]
        tool = Tool(victim, args)
        for _ in range(STARTING_PHASES):
            victim.phase()
        on += [victim.phase()[0] for _ in range(ON_PHASES)]
        tool.stop()
        costs += [report["cost"] for report in tool.reports]
    loss = 1 - statistics.median(on) / statistics.median(off)
    mean = 1 - statistics.mean(on) / statistics.mean(off)
    said = statistics.mean(cost["cpu_share"] for cost in costs)
    share = costs[-1]["on_share"]
    print(f"{statistics.median(off):,.0f} allocations a second untraced, "
          f"{statistics.median(on):,.0f} with --max-cost {args.max_cost}%: loss {100 * loss:.1f}% "
          f"(of the means {100 * mean:.1f}%); said {100 * said:.1f}%, probes in "
          f"{100 * share:.1f}% of the time")
    print("  off", " ".join(f"{n / 1e6:.2f}" for n in off))
    print("  on ", " ".join(f"{n / 1e6:.2f}" for n in on))


def measure_rank(args):
    """Prints it."""
    victim = Victim(args)
    for _ in range(3):
        victim.phase()
    tool = Tool(victim, args)
    end = time.monotonic() + RANK_S
    while time.monotonic() < end:
        _, _, cached, leaked = victim.phase()
    tool.stop()
    last = tool.reports[-1]
    first = None
    for report in tool.reports:
        is_first = report["sites"] and report["sites"][0]["frames"][0]["function"] == "leak_session"
        if not is_first:
            first = None
        elif first is None:
            first = report["elapsed_s"]
    print(f"the leak ranks first from {first} s on, {last['elapsed_s']} s in all; "
          f"{leaked:,} leaked, {cached:,} cached; {last['cost']['pauses']} pauses, probes in "
          f"{100 * last['cost']['on_share']:.1f}% of the time")
    for site in last["sites"]:
        print(f"  {site['frames'][0]['function']}: {site['live_count']:,} blocks "
              f"({site['live_count_low']:,} - {site['live_count_high']:,}), "
              f"{site['late_free_count']:,} late")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", nargs="*", default=["loss", "rank"])
    parser.add_argument("-m", dest="max_cost", type=float, default=2)
    parser.add_argument("-w", dest="work", type=int, default=1000)
    parser.add_argument("-c", dest="cached", type=int, default=600000)
    args = parser.parse_args()
    try:
        if "loss" in args.what:
            measure_loss(args)
        if "rank" in args.what:
            measure_rank(args)
    except processes.BenchError as error:
        print(f"max_cost: {error}", file=sys.stderr)
        return 1
    finally:
        processes.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
