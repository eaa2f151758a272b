# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The results as Markdown: ratios first, nanoseconds beside them, never alone."""

import os
import statistics
import time

import own_cost


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


def nanoseconds(value):
    """Three digits, in a unit that suits."""
    if value >= 1e6:
        return f"{value / 1e6:.3g} ms"
    return f"{value / 1e3:.3g} us" if value >= 1e4 else f"{value:.3g} ns" \
        if value < 1000 else f"{value:.0f} ns"


class Results:
    """Nanoseconds of all rounds: subject, row and column (joined) -> list."""

    def __init__(self, samples=None):
        self.samples = samples or {}

    @staticmethod
    def _name(subject, row, column):
        return f"{subject}|{row}|{column}"

    def add(self, subject, row, round_results):
        """One round of a row."""
        for column, value in round_results.items():
            self.samples.setdefault(self._name(subject, row, column), []).append(value)

    def drop(self, subject, row):
        """Forgets a row of a subject."""
        for name in [name for name in self.samples if name.startswith(f"{subject}|{row}|")]:
            del self.samples[name]

    def has(self, subject, row):
        """Whether there is anything."""
        return any(name.startswith(f"{subject}|{row}|") for name in self.samples)

    def rounds(self):
        """How many there were at most."""
        return max((len(values) for values in self.samples.values()), default=0)

    def median(self, subject, row, column):
        """Nanoseconds, or None."""
        samples = self.samples.get(self._name(subject, row, column))
        return statistics.median(samples) if samples else None

    def spread(self, subject, row, column):
        """Smallest and largest as shares of the median."""
        samples = self.samples[self._name(subject, row, column)]
        median = statistics.median(samples)
        return f"{min(samples) / median:.2f}-{max(samples) / median:.2f}"


def column_rows(results, rows, subject, column):
    """A table of one column: each row's cells."""
    for row in rows:
        median = results.median(subject, row.key, column)
        if median is None or subject not in row.subjects:
            continue
        yield [row.title,
               ratio(median, results.median(subject, row.base, column)),
               ratio(median, results.median(subject, row.floor, column)
                     if row.is_probed else None),
               nanoseconds(median),
               results.spread(subject, row.key, column)]


def subject_header(columns):
    """Of a table of all columns of a subject."""
    return ["", *columns.values(), "is", "min-max"]


def subject_rows(results, rows, subject, columns):
    """Each row's ratios to its base by column; of the first one also what it is."""
    first = next(iter(columns))
    for row in rows:
        if subject not in row.subjects or not results.has(subject, row.key):
            continue
        yield [row.title,
               *(ratio(results.median(subject, row.key, column),
                       results.median(subject, row.base, column)) for column in columns),
               nanoseconds(results.median(subject, row.key, first)),
               results.spread(subject, row.key, first)]


class Goals:
    """What was asked for, as far as the rows are there."""

    def __init__(self, results, own):
        self.results, self.own = results, own

    def _quotient(self, row, base, subject="loop", column="tight 1", base_column=None):
        value = self.results.median(subject, row, column)
        base_value = self.results.median(subject, base, base_column or column)
        return value / base_value if value and base_value else None

    def _cheapest_memleak(self):
        peers = [key for key in ("memleak", "memleak-bcc")
                 if self.results.median("loop", key, "tight 1")]
        return min(peers, key=lambda key: self.results.median("loop", key, "tight 1"),
                   default=None)

    def _found(self):
        quotient = self._quotient
        yield "exact, true stacks: of the floor, tight loop", 2.4, quotient("unfreed", "floor")
        yield ("exact, true stacks: of the floor, live set", 2.4,
               quotient("unfreed", "floor", column="live 1"))
        yield ("exact, true stacks: of the cheapest memleak, tight loop", 0.25,
               quotient("unfreed", self._cheapest_memleak()))
        yield ("two threads: of one thread, per pair, tight loop", 1.3,
               quotient("unfreed", "unfreed", column="tight 2", base_column="tight 1"))
        yield "sampled: of the floor, tight loop", 1.2, quotient("sampled", "floor")
        yield ("sampled: of the floor, live set", 1.2,
               quotient("sampled", "floor", column="live 1"))
        yield "--gate: of untraced, redis, CPU", 1.03, quotient("gate", "untraced", "redis", "cpu")
        yield ("--gate: of untraced, redis, CPU, pipeline", 1.03,
               quotient("gate", "untraced", "redis", "cpu16"))
        yield ("--gate: of untraced, Flask, CPU", 1.03,
               quotient("gate", "untraced", "flask", "request"))
        yield ("--stack dwarf: of --stack fp, frame-pointer build, tight loop", 1.3,
               quotient("unfreed-dwarf-twin", "unfreed-fp-twin"))
        yield "not targeted: of untraced, tight loop", 1.05, quotient("untargeted", "untraced")
        for case in own_cost.GOAL_CASES:
            cost = self.own.get(case)
            if cost:
                yield (f"a report, {case_title(case)}: of 50 ms CPU", 1.0,
                       cost.report_ns / own_cost.GOAL_NS)
                yield (f"the first one, {case_title(case)}: of 50 ms CPU", 1.0,
                       cost.first_ns / own_cost.GOAL_NS)

    def rows(self):
        """What, limit, measured, met."""
        for what, limit, value in self._found():
            if value is not None:
                yield [what, f"<= {limit:g}x", f"{value:.3g}x", "yes" if value <= limit else "NO"]


def case_title(case):
    """A case of unfreed's own cost."""
    ages = f", of {case.seconds} ages" if case.seconds > 1 else ""
    return f"{case.blocks:,} blocks, {case.sites:,} site{'s' * (case.sites > 1)}{ages}"


def own_cost_rows(own):
    """unfreed's own cost, and each as a multiple of that of the case before."""
    before = None
    for case in own_cost.CASES:
        cost = own.get(case)
        if not cost:
            continue
        base = before or cost
        yield [case_title(case),
               ratio(cost.report_ns, base.report_ns), f"{cost.report_ns / 1e6:.3g} ms",
               f"{cost.report_ns / 5e9:.2%}",
               ratio(cost.first_ns, base.first_ns), f"{cost.first_ns / 1e6:.3g} ms",
               ratio(cost.rss_bytes, base.rss_bytes), f"{cost.rss_bytes / 2**20:.0f} MiB",
               ratio(cost.map_bytes, base.map_bytes), f"{cost.map_bytes / 2**20:.0f} MiB"]
        before = cost


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
