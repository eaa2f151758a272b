# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: memory of Python's small objects, which no allocator function is called for, is shown by
the line that holds it, in pools, and goes from the report when the pools are empty."""

import os
import re

import harness

PYTHON = "/usr/bin/python3"
PROGRAM = os.path.join(harness.ROOT, "tests", "programs", "py_pools.py")
POOL = 16384
POOL_HEADER = 48

# Begun when the interpreter has been found for sure, over before any report.
SHORT = """
import time
class Row: __slots__ = tuple("column%d" % i for i in range(16))
time.sleep(0.5)
rows = [Row() for _ in range(20011)]
"""

# Changes to CPython's allocate_from_new_pool() that it runs as well with. Pools that were never
# used are marked by another number, by which the function is not recognised any more:
# movl $0xffff,0x24(%rax).
MARKS_OTHERWISE = (b"\xc7\x40\x24\xff\xff\0\0", b"\xc7\x40\x24\xfe\xff\0\0")
# Pools are used up to 12 KiB, which no pool is known to be: lea 0x30(%rax),%rbx; mov $0x4000,%ecx.
USES_LESS = (b"\x48\x8d\x58\x30\xb9\0\x40\0\0", b"\x48\x8d\x58\x30\xb9\0\x30\0\0")

# Small objects and nothing else, with an allocator that has no pools.
WITHOUT_POOLS = "kept = [float(i) for i in range(30011)]"


def line_of(marker):
    """Number of the line of the victim that is marked so."""
    with open(PROGRAM, encoding="utf-8") as text:
        return next(number for number, line in enumerate(text, 1)
                    if re.search("# LINE: %s$" % marker, line))


class PythonPools(harness.LiveTest):
    """CPython's pools of small objects."""

    def start_victim(self, *args):
        """At its first gate."""
        return self.victim(None, PROGRAM, *args, path=PYTHON)

    def of_line(self, report, marker, pid=None):
        """(live bytes, live pools) of the sites of a line."""
        sites = []
        for site in report["sites"]:
            frames = [frame for frame in site["frames"] if frame["kind"] == "python"]
            if (site["kind"] == "pymalloc" and frames and frames[0]["line"] == line_of(marker)
                    and pid in (None, site["pid"])):
                self.assertEqual(frames[0]["file"], PROGRAM)
                self.assertEqual(frames[0]["function"].split(".")[0], marker)
                sites.append(site)
        count, size = harness.sums(sites)
        return size, count

    def assert_kept(self, report, blocks_bytes, marker="keep", pid=None):
        """What the line holds: within a pool or 10 % of what its objects take."""
        live_bytes, live_count = self.of_line(report, marker, pid)
        self.assertEqual(live_bytes, live_count * POOL)
        expected = blocks_bytes * POOL / (POOL - POOL_HEADER)
        self.assertLessEqual(abs(live_bytes - expected), max(POOL, expected / 10),
                             harness.describe(report))

    def assert_empty(self, report, marker, pid=None):
        """What is left of a line's: a pool that others use as well."""
        self.assertLessEqual(self.of_line(report, marker, pid)[1], 1, harness.describe(report))

    def test_the_line_that_keeps_small_objects_is_told_from_the_one_that_does_not(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim = self.start_victim()
                tool = self.unfreed("-p", victim.pid, *args)
                kept, = victim.go("DONE keep")
                churned, = victim.go("DONE churn")
                report = tool.last_report()
                self.assert_kept(report, kept)
                self.assert_empty(report, "churn")
                # Each of its two rounds opened pools, but for what was free in others.
                opened = report["pymalloc_totals"]["alloc_count"]
                self.assertGreater(opened, 0.98 * (kept + 2 * churned) / POOL)
                self.assert_no_loss(report)
                pools = [site for site in report["sites"] if site["kind"] == "pymalloc"]
                totals = report["pymalloc_totals"]
                self.assertEqual(harness.sums(pools), (totals["live_count"], totals["live_bytes"]))

    def test_what_is_freed_goes_from_a_later_report(self):
        victim = self.start_victim()
        tool = self.unfreed("-p", victim.pid, interval="100ms")
        kept, = victim.go("DONE keep")
        self.assert_kept(tool.fresh_report(), kept)
        victim.go("DONE churn")
        victim.go("DONE clear")
        self.assert_empty(tool.fresh_report(), "keep")
        kept, = victim.go("DONE again")
        report = tool.last_report()
        self.assert_kept(report, kept)
        self.assertGreater(report["pymalloc_totals"]["alloc_count"], 0.98 * 2 * kept / POOL)
        self.assert_no_loss(report)

    def test_pools_are_the_keeping_lines_whoever_opened_them(self):
        """Of 307 objects at a time eleven are kept: pools are opened by the line that keeps nothing
        as well as by the other, which fills them all."""
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                kept, report = self.serve("requests", *args)
                self.assert_kept(report, kept, "remember")
                self.assertLessEqual(self.of_line(report, "answer")[1], 3, harness.describe(report))

    def test_pools_that_are_nobodys_are_not_said_to_be_kept(self):
        """What the keeping line has was allocated by the other, and came by way of the
        interpreter's free list: nobody can tell."""
        kept, report = self.serve("dicts")
        live_bytes, _ = self.of_line(report, "answer_with_dicts")
        sites = [site for site in report["sites"] if site["kind"] == "pymalloc"]
        self.assertGreater(live_bytes, 0.8 * kept)
        self.assertGreater(sum(site["foreign_bytes"] for site in sites), 0.8 * kept)
        self.assertLess(sum(site["used_bytes"] for site in sites), 0.2 * kept)

    def serve(self, what, *args):
        """(bytes of the kept objects, report) of the victim that has served its requests."""
        victim = self.start_victim(what)
        tool = self.unfreed("-p", victim.pid, *args, interval="200ms")
        kept, = victim.go("DONE requests")
        for _ in range(5):
            report = tool.fresh_report()
        self.assert_no_loss(report)
        for site in report["sites"]:
            self.assertGreaterEqual(site["live_count"], 0)
            self.assertEqual(site["live_count"], site["alloc_count"] - site["free_count"])
            self.assertLessEqual(site.get("used_bytes", 0), site["live_bytes"])
        return kept, report

    def test_ages_of_pools(self):
        victim = self.start_victim()
        tool = self.unfreed("-p", victim.pid, "--older", "400ms", interval="100ms")
        kept, = victim.go("DONE keep")
        self.assert_empty(tool.fresh_report(), "keep")
        for _ in range(8):
            report = tool.fresh_report()
        self.assert_kept(report, kept)

    def test_a_forked_child_has_copies_of_its_own(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim = self.start_victim()
                tool = self.unfreed("-p", victim.pid, "--follow", "--per-process", *args, interval="100ms")
                for phase in ("keep", "churn", "clear", "again"):
                    said = victim.go("DONE " + phase)
                kept, = said
                child, = victim.go("DONE fork")
                report = tool.fresh_report()
                self.assert_kept(report, kept, pid=victim.pid)
                self.assert_kept(report, kept, pid=child)
                victim.go("CHILD cleared")
                report = tool.fresh_report()
                self.assert_kept(report, kept, pid=victim.pid)
                self.assert_empty(report, "keep", pid=child)
                victim.go("DONE parent")
                report = tool.last_report()
                self.assert_empty(report, "keep", pid=victim.pid)
                self.assert_empty(report, "keep", pid=child)
                self.assert_no_loss(report)

    def test_what_the_interpreter_frees_at_its_end_is_seen(self):
        result = self.run_command(PYTHON, "-c", SHORT)
        report = harness.only_last(result)
        # There was no report before.
        self.assertEqual(len(result.reports), 1)
        opened = report["pymalloc_totals"]["alloc_count"]
        self.assertGreater(opened, 20011 * 160 / POOL)
        self.assertLess(report["pymalloc_totals"]["live_count"], opened / 5)

    def changed_victim(self, change):
        """The victim, at its first gate, run by an interpreter with one instruction changed."""
        before, after = change
        with open(PYTHON, "rb") as file:
            code = file.read()
        if code.count(before) != 1:
            self.skipTest(f"{PYTHON} is not the build that this test knows how to change")
        path = os.path.join(self.folder, "python3.11")
        with open(path, "wb") as file:
            file.write(code.replace(before, after))
        os.chmod(path, 0o755)
        return self.victim(None, PROGRAM, path=path, env=dict(os.environ, PYTHONHOME="/usr"))

    def test_where_the_function_is_not_found_page_faults_tell(self):
        victim = self.changed_victim(MARKS_OTHERWISE)
        tool = self.unfreed("-p", victim.pid, interval="100ms")
        kept, = victim.go("DONE keep")
        report = tool.fresh_report()
        self.assertIn("page faults", report["targets"][0]["note"])
        self.assertEqual(report["targets"][0]["python"]["frames"], "ok")
        self.assert_kept(report, kept)
        self.assert_empty(report, "churn")
        victim.go("DONE churn")
        victim.go("DONE clear")
        report = tool.last_report()
        self.assert_empty(report, "keep")
        self.assert_no_loss(report)

    def test_what_is_no_pool_as_known_is_not_believed(self):
        victim = self.changed_victim(USES_LESS)
        tool = self.unfreed("-p", victim.pid, interval="100ms")
        victim.go("DONE keep")
        tool.fresh_report()
        victim.go("DONE churn")
        result = tool.stop()
        report = harness.only_last(result)
        self.assertEqual(report["pymalloc_totals"]["alloc_count"], 0)
        # The probe gives up before it has cost much, and is taken out.
        self.assertLess(abs(report["losses"]["pool_unsound"] - 65), 8)
        self.assertIn("small objects of a Python are not traced from here on", result.stderr)
        victim.go("DONE clear")

    def test_without_pools_there_are_none(self):
        env = dict(os.environ, PYTHONMALLOC="malloc")
        report = harness.only_last(self.run_command(PYTHON, "-c", WITHOUT_POOLS, env=env))
        self.assertEqual(report["pymalloc_totals"]["alloc_count"], 0)
        self.assertEqual({site["kind"] for site in report["sites"]}, {"malloc"})

    def test_sizes_that_are_not_wanted_are_not_recorded(self):
        victim = self.start_victim()
        tool = self.unfreed("-p", victim.pid, "--min-size", POOL + 1)
        victim.go("DONE keep")
        self.assertEqual(tool.last_report()["pymalloc_totals"]["alloc_count"], 0)
