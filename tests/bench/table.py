# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The results as Markdown: ratios first, nanoseconds beside them, never alone."""

import os
import statistics
import time


def markdown(header, rows):
    """A table whose first column is text and whose others are numbers."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]], *rows]
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        yield "| " + " | ".join(cells) + " |"


def ratio(value, base):
    """A ratio with three digits, or a dash."""
    if not value or not base:
        return "-"
    quotient = value / base
    return f"{quotient:.0f}x" if quotient >= 100 else f"{quotient:.3g}x"


class Results:
    """Nanoseconds per pair of all rounds: row key -> workload -> list."""

    def __init__(self):
        self.samples = {}

    def add(self, key, round_results):
        """One round of a row."""
        for workload, pair_ns in round_results.items():
            self.samples.setdefault(key, {}).setdefault(workload, []).append(pair_ns)

    def drop(self, key):
        """Forgets a row."""
        self.samples.pop(key, None)

    def median(self, key, workload):
        """Nanoseconds, or None."""
        samples = self.samples.get(key, {}).get(workload)
        return statistics.median(samples) if samples else None

    def spread(self, key, workload):
        """Smallest and largest as shares of the median."""
        samples = self.samples[key][workload]
        median = statistics.median(samples)
        return f"{min(samples) / median:.2f}-{max(samples) / median:.2f}"


def workload_rows(results, rows, workload):
    """Each row's cells. The twin's rows are compared with the untraced twin."""
    for row in rows:
        median = results.median(row.key, workload)
        if median is None:
            continue
        suffix = "-twin" if row.frame_pointers else ""
        floor = results.median("floor" + suffix, workload)
        yield [row.title,
               ratio(median, results.median("untraced" + suffix, workload)),
               ratio(median, floor if row.is_probed else None),
               f"{median:.3g}" if median < 100 else f"{median:.0f}",
               results.spread(row.key, workload)]


def goals(results, own_ns):
    """What was asked for (what, limit, measured), as far as the rows are there."""
    def quotient(key, base, workload="tight 1", base_workload=None):
        value = results.median(key, workload)
        base_value = results.median(base, base_workload or workload)
        return value / base_value if value and base_value else None

    peers = [key for key in ("memleak", "memleak-bcc") if results.median(key, "tight 1")]
    cheapest = min(peers, key=lambda key: results.median(key, "tight 1"), default=None)
    report_ns = own_ns.get((1000000, 10000))
    found = [
        ("exact, true stacks: of the floor, tight loop", 2.4, quotient("unfreed-dwarf", "floor")),
        ("exact, true stacks: of the cheapest memleak, tight loop", 0.25,
         quotient("unfreed-dwarf", cheapest)),
        ("two threads: of one thread, per pair, tight loop", 1.3,
         quotient("unfreed-dwarf", "unfreed-dwarf", "tight 2", "tight 1")),
        ("--stack dwarf: of --stack fp, frame-pointer build, tight loop", 1.3,
         quotient("unfreed-dwarf-twin", "unfreed-fp-twin")),
        ("--stack dwarf: of --stack fp, frame-pointer build, live set", 1.3,
         quotient("unfreed-dwarf-twin", "unfreed-fp-twin", "live")),
        ("not targeted: of untraced, tight loop", 1.05, quotient("untargeted", "untraced")),
        ("a report over 1M blocks and 10k sites: of 50 ms CPU", 1.0,
         report_ns / 50e6 if report_ns else None),
    ]
    for what, limit, value in found:
        if value is not None:
            yield [what, f"<= {limit:g}x", f"{value:.3g}x", "yes" if value <= limit else "NO"]


def own_cost_rows(own):
    """unfreed's own cost, as multiples of that of the smallest case."""
    base = next(iter(own.values()))
    for (block_cnt, site_cnt), (cpu, rss, maps) in own.items():
        yield [f"{block_cnt:,} blocks, {site_cnt:,} site{'s' * (site_cnt > 1)}",
               ratio(cpu, base[0]), f"{cpu / 1e6:.3g} ms", f"{cpu / 5e9:.2%}",
               ratio(rss, base[1]), f"{rss / 2**20:.0f} MiB", f"{maps / 2**20:.0f} MiB"]


def cpu_info(key):
    """A line of /proc/cpuinfo, its value; "" if there is none."""
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        for line in text:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def machine_lines(version, busy):
    """The machine, and what about it to keep in mind."""
    name = os.uname()
    yield (f"{version}; {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}; {name.sysname} "
           f"{name.release} {name.machine}; {os.cpu_count()} CPUs ({cpu_info('model name')})")
    yield ""
    if "hypervisor" in cpu_info("flags").split():
        yield ("A virtual machine: traps are dearer than on bare metal, much so where "
               "virtualisation is nested; so are all ratios to untraced.")
    if busy > 0.1:
        yield (f"**The machine was not idle** ({busy:.0%} busy before or after the bench): do not "
               "trust this run.")
