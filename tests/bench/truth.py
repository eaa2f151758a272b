# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What a victim has done, by its own account, and whether a tracer has seen that. A tracer that
misses things is cheap: its row must fail, not shine."""

import math
import re
from dataclasses import dataclass, field

from processes import BenchError

# The victim's C library allocates a little, too.
MORE = 1.02
MORE_COUNT = 2000
MORE_BYTES = 1 << 20

# A sample may be off by chance: by so many standard deviations once in 15,000 runs.
SIGMAS = 4
ALWAYS_ALLOWED = 0.05


@dataclass
class Truth:
    """Counts and bytes; 0 of what is not known."""

    alloc_count: int = 0
    alloc_bytes: int = 0
    live_count: int = 0
    live_bytes: int = 0
    sites: dict = field(default_factory=dict)  # a function on the stack -> live (count, bytes)
    units: int = 0  # of work, all of one kind: what tracers see of one must be the same


def check_between(what, seen, truth, more):
    """Nothing is missing, and little else was counted."""
    if truth and not truth <= seen <= truth * MORE + more:
        raise BenchError(f"it has seen {seen} of {truth} {what}")


def live_at(report, function):
    """Live (count, bytes) of the sites that have a function on their stacks."""
    sites = [site for site in report["sites"]
             if any(frame["function"] == function for frame in site["frames"])]
    return (sum(site["live_count"] for site in sites), sum(site["live_bytes"] for site in sites))


def check_exact(report, truth):
    """All of it, to the block."""
    totals = report["totals"]
    check_between("allocations", totals["alloc_count"], truth.alloc_count, MORE_COUNT)
    check_between("bytes allocated", totals["alloc_bytes"], truth.alloc_bytes, MORE_BYTES)
    check_between("live blocks", totals["live_count"], truth.live_count, MORE_COUNT)
    check_between("live bytes", totals["live_bytes"], truth.live_bytes, MORE_BYTES)
    for function, live in truth.sites.items():
        if live_at(report, function) != live:
            raise BenchError(f"{function} has {live[0]} live blocks of {live[1]} bytes, it has "
                             "seen %d of %d" % live_at(report, function))


def allowed(truth_bytes, interval_bytes):
    """By how many bytes an estimate may be off. Of blocks much smaller than the interval the
    variance of their sum is the interval times it, of others it is less."""
    return max(ALWAYS_ALLOWED * truth_bytes, SIGMAS * math.sqrt(truth_bytes * interval_bytes))


def check_estimate(what, seen, truth, interval_bytes):
    """Near enough."""
    if truth and abs(seen - truth) > allowed(truth, interval_bytes):
        raise BenchError(f"its estimate is {seen} of {truth} {what}")


def check_range(totals, truth, interval_bytes):
    """The range that it gives of 95 % (1.96 standard deviations) is as it should be."""
    low, high = totals["live_bytes_low"], totals["live_bytes_high"]
    if truth and high - low > allowed(truth, interval_bytes) * 2:
        raise BenchError(f"its range is {low} to {high} for {truth} live bytes")


def check_sampled(report, truth, interval_bytes):
    """All of it, by estimate."""
    totals = report["totals"]
    check_estimate("bytes allocated", totals["alloc_bytes"], truth.alloc_bytes, interval_bytes)
    check_estimate("live bytes", totals["live_bytes"], truth.live_bytes, interval_bytes)
    check_range(totals, truth.live_bytes, interval_bytes)
    for function, live in truth.sites.items():
        check_estimate(f"live bytes of {function}", live_at(report, function)[1], live[1],
                       interval_bytes)


def known_live(truth):
    """Live bytes that a tool must know of."""
    return truth.live_bytes or sum(size for _, size in truth.sites.values())


def check_at_least(tool, seen, truth):
    """Another tool's largest number of live bytes."""
    if seen < 0.95 * known_live(truth):
        raise BenchError(f"{tool} has seen {seen} of {known_live(truth)} live bytes")


SUFFIXES = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}


def parse_size(text):
    """103.24M"""
    number, suffix = re.fullmatch(r"([0-9.]+)([KMG]?)B?", text).groups()
    return float(number) * SUFFIXES[suffix]
