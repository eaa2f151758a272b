# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: 200 processes a second that live for milliseconds, under a trace of the whole host: each is
reported once, with its exact numbers, or counted as lost; nothing of them stays in the kernel's
tables, and the tool's memory does not grow with their number.

Ten seconds of it; a minute if UNFREED_LONG is set."""

import json
import os
import shutil
import subprocess
import time

import harness

RATE = 200
SECONDS = 60 if os.environ.get("UNFREED_LONG") else 10
ALLOCATED, LIVE, SIZE = 7, 5, 997 # blocks of each, and their bytes
SLACK_BYTES = 2 << 20 # a kilobyte of each would be more, in a minute six of them
WARM_S = 3
TRIES = 4
TOLD = {"ended_unreported", "ended_unidentified"}
# What can be lost of a process that is reported, where the rest of the host fills the tables.
FULL = {"site_table_full", "stack_table_full", "live_table_full", "images_full", "events_full"}


class ShortLives(harness.LiveTest):
    """spawner.c: processes that come and go."""

    def entries(self, tool, name):
        """Of the tool's map of that name, with BTF's names for what is in it."""
        for fd in os.listdir(f"/proc/{tool.pid}/fdinfo"):
            with open(f"/proc/{tool.pid}/fdinfo/{fd}", encoding="ascii", errors="replace") as text:
                ids = [line.split()[1] for line in text if line.startswith("map_id:")]
            if not ids:
                continue
            shown = subprocess.run(["bpftool", "-j", "map", "show", "id", ids[0]],
                                   capture_output=True, text=True, check=True).stdout
            if json.loads(shown).get("name") != name:
                continue
            dump = subprocess.run(["bpftool", "-j", "map", "dump", "id", ids[0]],
                                  capture_output=True, text=True, check=True).stdout
            return [entry["formatted"] for entry in json.loads(dump)]
        self.fail(f"no map {name}")

    def check_tables(self, tool, pids):
        """They have nothing of these processes, whose blocks have a size of their own."""
        self.assertEqual({entry["key"] for entry in self.entries(tool, "processes")} & pids, set())
        self.assertEqual({entry["value"]["tgid"] for entry in self.entries(tool, "images")} & pids,
                         set())
        sizes = [entry["value"]["size_bytes"] for entry in self.entries(tool, "live")]
        self.assertEqual(sizes.count(SIZE), 0)

    def storm(self, tool, victim):
        """The bytes of the tool's own memory, second by second, and how many processes it was."""
        samples = []
        victim.proc.stdin.write(b"g")
        victim.proc.stdin.flush()
        for _ in range(SECONDS - 1):
            time.sleep(1)
            samples.append(harness.anon_bytes(tool.pid))
        line = victim.lines.next(SECONDS + harness.TIMEOUT_S)
        return samples, int(line.removeprefix("DONE spawn "))

    def ended(self, reports):
        """The groups of those that ended, of all reports, and their pids."""
        groups, pids = [], set()
        for report in reports:
            of_victim = {group["id"]: group for group in report["groups"]
                         if group["exe"] == harness.program("spawner") and group["exited"]}
            groups += of_victim.values()
            pids |= {target["pid"] for target in report["targets"] if target["group"] in of_victim}
        return groups, pids

    def test_none_is_lost_uncounted(self):
        if not shutil.which("bpftool"):
            self.skipTest("no bpftool")
        tool = self.unfreed("--group", "process", interval="1s", top=1)
        victim = self.victim("spawner", RATE, SECONDS)
        _, started = self.storm(tool, victim)
        self.assertEqual(started, RATE * SECONDS)
        tool.fresh_report()
        groups, pids = self.ended(tool.reports())
        self.check_tables(tool, pids)
        losses = tool.last_report()["losses"]
        told = sum(count for name, count in losses.items() if name in TOLD)
        self.assertLessEqual(len(groups), started)
        self.assertGreaterEqual(len(groups) + told, started, losses)
        self.assertGreater(len(groups), started // 2, losses)
        self.assertEqual(len(groups), len({group["id"] for group in groups}))
        numbers = {(group["alloc_count"], group["live_count"]) for group in groups}
        if not FULL & set(losses):
            self.assertEqual(numbers, {(ALLOCATED, LIVE)})

    def test_the_tools_memory_does_not_grow_with_them(self):
        tool = self.unfreed("--comm", "spawner", "--group", "process", interval="1s", top=1)
        seen = []
        for _ in range(TRIES):
            samples, _ = self.storm(tool, self.victim("spawner", RATE, SECONDS))
            seen.append(samples)
            # What else comes up on the host takes memory, too; of this each storm would.
            if max(samples) - samples[WARM_S] <= SLACK_BYTES:
                return
        self.fail(seen)
