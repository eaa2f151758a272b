# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What matrix.py writes, read back and compared with what it should be."""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
KEY = ("stack", "how", "victim")


class Failure(Exception):
    """What could not be done, in one line."""


def parse_results(text):
    """The results by (mode, stack, how, victim); half a last line does not count."""
    results = {}
    for line in text.split("\n")[:-1]:
        result = json.loads(line)
        results[(result["mode"], *(result[name] for name in KEY))] = result
    return results


def run_here(tool, programs, substring=""):
    """What comes out of a tool on this machine, by (stack, how, victim)."""
    command = [sys.executable, os.path.join(HERE, "matrix.py"), "-k", substring, "auto"]
    env = {**os.environ, "UNFREED": tool, "UNFREED_PROGRAMS": programs}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=env, check=False)
    return {key[1:]: result for key, result in parse_results(done.stdout.decode()).items()}


def reference(tool, programs):
    """The same of a tool that must be right: what it counts is what others are measured by."""
    results = run_here(tool, programs)
    for key, result in results.items():
        if "totals" not in result or result["losses"]:
            raise Failure(f"{' '.join(key)} fails with {tool} on this machine: {result}")
    return results


def fold_busy(sites):
    """Sites without those that were cut, added to the ones whose beginning they are.

    While another thread changes the mappings of its process, a file that the probe has not seen yet
    cannot be looked up; the stack then ends with "busy". That is rare, but no failure.
    """
    whole = [list(site) for site in sites if site[1] != "busy"]
    for frames, end, *counts in sites:
        if end != "busy":
            continue
        matches = [site for site in whole if site[0][:len(frames)] == frames]
        if not matches:
            whole.append([frames, end, *counts])
            continue
        matches[0][2:] = [a + b for a, b in zip(matches[0][2:], counts)]
    return whole


def why_wrong(result, expected):
    """Why a case fails, in one line; None if it passes."""
    if "totals" not in result:
        return result.get("error") or result.get("unavailable")
    sites = fold_busy(result["sites"])
    for name in ("totals", "losses"):
        counts, right = ({**counts, "sites": 0} if name == "totals" else counts
                         for counts in (result[name], expected[name]))
        if counts != right:
            return f"{name} are {counts}, not {right}"
    if result["losses"]:
        return f"losses {result['losses']}"
    for site, right in zip(sites, expected["sites"]):
        if site != right:
            return f"a site is {site}, not {right}"
    if len(sites) != len(expected["sites"]):
        return f"{len(sites)} sites, not {len(expected['sites'])}"
    ends = {site[1] for site in sites} - {"complete"}
    if result["stack"] != "fp" and ends:
        return f"stacks end with {' '.join(ends)}"
    return None
