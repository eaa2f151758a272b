#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Traces a few victims in every way that this kernel has, and writes what came out.

    matrix.py [-t SECONDS] [-k SUBSTRING] [MODE...]     one JSON object a line on stdout

It runs on this machine and under other kernels alike, so that the two can be compared: whatever the
kernel and the mode, the numbers and the stacks must be the same (tests/vm/run sees to that). A line
has the keys mode, stack, how and victim, and "error" if the trace failed, "unavailable" if the
kernel cannot attach like that, or totals, losses and sites. A site is [functions of its stack, how
that ended, live blocks, live bytes, allocated, freed]: no address, pid or time in it.
"""

import argparse
import itertools
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "live"))

import harness  # noqa: E402  (needs the path)

MODES = ("session", "multi", "perf")
STACKS = ("auto", "fp")

# name: options of the tool, the victim's arguments when traced by -p and the gates that it passes
# meanwhile, and its arguments when launched, to run through (None: it is not).
VICTIMS = {
    "sites": ([], [], ["DONE leaks"], []),
    "reallocs": ([], [], ["DONE reallocs"], []),
    "threads": ([], [], ["DONE dying", "DONE freeing", "DONE race"], []),
    "forks": (["--follow", "--per-process"], ["fork"], ["DONE shared", "DONE fork", "DONE parent", "DONE child"],
              ["serial"]),
    # In a library that was just loaded stacks may be cut: this one is not launched.
    "own_new": ([], [], ["DONE deletes", "DONE throws", "DONE handler"], None),
    # "plain": without what old kernels have not. Not launched: what the dynamic linker maps has
    # stacks that end at its entry, without CFI.
    "regions": (["--mmap"], ["plain"], ["DONE whole", "DONE over", "DONE remap", "DONE break",
                                        "DONE fail", "DONE malloc", "DONE own", "DONE threads"],
                None),
}

UNAVAILABLE = "this kernel cannot attach like that"


class Case:
    """One trace."""

    def __init__(self, mode, stack, how, victim):
        self.key = {"mode": mode, "stack": stack, "how": how, "victim": victim}
        self.name = f"{mode} {stack} {how} {victim}"
        self.options, self.args, self.gates, self.launch_args = VICTIMS[victim]

    def start_tool(self, *args, **kwargs):
        """The tool, with the options of this case."""
        return harness.Unfreed("--attach", self.key["mode"], "--stack", self.key["stack"],
                               *self.options, *args, **kwargs)

    def attach(self):
        """Traces a running victim from its first gate to its last."""
        victim = harness.Victim(self.key["victim"], *self.args)
        tool = self.start_tool("-p", victim.pid)
        try:
            tool.wait_attached()
            for gate in self.gates:
                victim.go(gate)
            return harness.only_last(tool.stop())
        finally:
            tool.release()

    def launch(self):
        """Traces a victim from its first instruction to its end."""
        program = harness.program(self.key["victim"])
        tool = self.start_tool(command=[program, *self.launch_args])
        try:
            return harness.only_last(tool.wait())
        finally:
            tool.release()

    def run(self):
        """The line about it."""
        try:
            result = condense(self.attach() if self.key["how"] == "-p" else self.launch())
        except AssertionError as error:
            kind = "unavailable" if UNAVAILABLE in str(error) else "error"
            result = {kind: str(error)}
        finally:
            harness.kill_descendants()
        return {**self.key, **result}


def condense(report):
    """What must be the same on every kernel."""
    sites = [[[frame["function"] or frame["module"] for frame in site["frames"]],
              site["stack_end"], site["live_count"], site["live_bytes"], site["alloc_count"],
              site["free_count"]] for site in report["sites"]]
    return {"totals": report["totals"], "sites": sorted(sites),
            "losses": {name: count for name, count in report["losses"].items() if count}}


def cases(modes):
    """All of them. By frame pointers only the first victim: the others count the same."""
    for mode, stack, how in itertools.product(modes, STACKS, ("-p", "--")):
        for victim in VICTIMS if stack == "auto" else ["sites"]:
            case = Case(mode, stack, how, victim)
            if how == "-p" or case.launch_args is not None:
                yield case


def set_timeout(seconds):
    """An emulated machine is slow; some of the harness's functions have the limit as a default."""
    harness.TIMEOUT_S = seconds
    harness.Lines.next.__defaults__ = (seconds,)


def main():
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-t", metavar="SECONDS", type=int, default=30, help="limit on each wait")
    parser.add_argument("-k", metavar="SUBSTRING", default="", help="only cases whose name has it")
    parser.add_argument("modes", metavar="MODE", nargs="*", help="auto, session, multi, perf")
    options = parser.parse_args()

    set_timeout(options.t)
    harness.become_subreaper()
    for case in cases(options.modes or MODES):
        if options.k in case.name:
            print(json.dumps(case.run()), flush=True)


if __name__ == "__main__":
    main()
