# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The harness itself: a test that cannot fail is a defect. Needs neither root nor the tool."""

import os
import stat
import tempfile
import time
import unittest

import harness

FAKE = """#!/bin/bash
# Says what a tool would say: unfreed -f json -i 60s -T N -w FILE ARG...
out=$8
report() { printf '{"unfreed":1,"last":%s,"totals":{},"losses":{},"sites":[]}\\n' $1 >>"$out"; }
trap 'report true; exit 0' INT
report false
echo "unfreed: tracing nothing" >&2
# No sleep(1): a signal that comes while the shell starts a program may be lost in it.
exec 9<> <(:)
while :; do read -r -t 0.02 -u 9; BODY; done
"""


def report_of(*sites, losses=None):
    """A report with sites (function, live_count, live_bytes)."""
    return {"losses": losses or {}, "totals": {"live_count": sum(site[1] for site in sites),
                                               "live_bytes": sum(site[2] for site in sites)},
            "sites": [{"pid": 1, "live_count": count, "live_bytes": size, "alloc_count": count,
                       "free_count": 0, "stack_end": "complete",
                       "frames": [{"function": function, "line": 7, "module": ""},
                                  {"function": "main", "line": 9, "module": ""}]}
                      for function, count, size in sites]}


class Looking(harness.LiveTest):
    """Finding and comparing sites. setUp of LiveTest is left out: nothing is traced."""

    def setUp(self):
        pass

    def test_one_site_is_found_by_function_and_line(self):
        report = report_of(("leak", 3, 30), ("leak_more", 5, 50))
        self.assertEqual(self.site_by(report, "leak", 7)["live_count"], 3)
        with self.assertRaises(AssertionError):
            self.site_by(report, "leak", 8)
        with self.assertRaises(AssertionError):
            self.site_by(report, "main")
        with self.assertRaises(AssertionError):
            self.site_by(report, "main", anywhere=True)

    def test_first_frame_is_told_from_the_others(self):
        report = report_of(("leak", 3, 30))
        self.assertEqual(len(harness.find_sites(report, "main", anywhere=True)), 1)
        self.assertEqual(len(harness.find_sites(report, "main")), 0)
        self.assertEqual(len(harness.find_sites(report, "leak", pid=2)), 0)

    def test_cxx_functions_are_found_without_their_arguments(self):
        report = report_of(("demo::leaker::leak_member(int)", 3, 30))
        self.assertEqual(len(harness.find_sites(report, "demo::leaker::leak_member")), 1)
        self.assertEqual(len(harness.find_sites(report, "demo::leaker")), 0)

    def test_wrong_numbers_fail(self):
        report = report_of(("leak", 3, 30), losses={"live_table_full": 2})
        self.assert_site(report, "leak", 3, 30, 3, 0)
        self.assert_live(report, 3, 30)
        for wrong in ((2, 30), (3, 31), (3, 30, 4), (3, 30, 3, 1)):
            with self.assertRaises(AssertionError):
                self.assert_site(report, "leak", *wrong)
        with self.assertRaises(AssertionError):
            self.assert_live(report, 3, 29)
        with self.assertRaises(AssertionError):
            self.assert_no_loss(report)
        self.assert_no_loss(report, allowed=["live_table_full"])

    def test_a_marked_line_is_found_once(self):
        with open(os.path.join(harness.SOURCES, "sites.c"), encoding="utf-8") as text:
            self.assertIn("malloc(1009)", text.readlines()[harness.line_of("sites.c",
                                                                           "leak_malloc") - 1])
        with self.assertRaises(LookupError):
            harness.line_of("sites.c", "no_such_marker")


class Running(unittest.TestCase):
    """Victims and a make-believe tool."""

    def setUp(self):
        self.addCleanup(harness.kill_descendants)
        self.folder = tempfile.TemporaryDirectory(prefix="unfreed-live-")
        self.addCleanup(self.folder.cleanup)

    def fake(self, body):
        """A tool that does body again and again."""
        path = os.path.join(self.folder.name, "fake")
        with open(path, "w", encoding="ascii") as text:
            text.write(FAKE.replace("BODY", body))
        os.chmod(path, stat.S_IRWXU)
        tool = harness.Unfreed(tool=path)
        self.addCleanup(tool.release)
        return tool

    def test_a_victim_stops_at_each_gate(self):
        victim = harness.Victim("edges")
        for gate in ("DONE failing", "DONE free_null", "DONE zero", "DONE aligned"):
            time.sleep(0.02)
            self.assertIsNone(victim.proc.poll())
            victim.go(gate)
        self.assertEqual(victim.finish(), 0)

    def test_a_victim_at_the_wrong_gate_is_noticed(self):
        victim = harness.Victim("edges")
        with self.assertRaises(AssertionError):
            victim.go("DONE zero")

    def test_numbers_behind_a_gate_are_read(self):
        self.assertEqual(harness.Victim("reallocs").go("DONE reallocs"), [11, 0])

    def test_the_last_report_is_read(self):
        self.assertTrue(self.fake(":").wait_attached().last_report()["last"])

    def test_a_fresh_report_is_not_an_old_one(self):
        tool = self.fake("report false").wait_attached()
        seen = len(tool.reports())
        tool.fresh_report()
        self.assertGreaterEqual(len(tool.reports()), seen + 2)

    def test_a_tool_that_fails_is_noticed(self):
        tool = self.fake("exit 3").wait_attached()
        with self.assertRaisesRegex(AssertionError, "ended with 3"):
            harness.only_last(tool.wait())

    def test_a_tool_that_ends_before_it_attaches_is_noticed(self):
        path = os.path.join(self.folder.name, "fake")
        with open(path, "w", encoding="ascii") as text:
            text.write("#!/bin/sh\necho 'no such process' >&2\nexit 1\n")
        os.chmod(path, stat.S_IRWXU)
        tool = harness.Unfreed(tool=path)
        self.addCleanup(tool.release)
        with self.assertRaisesRegex(AssertionError, "ended with 1: no such process"):
            tool.wait_attached()

    def test_two_last_reports_are_one_too_many(self):
        line = {"last": True}
        with self.assertRaises(AssertionError):
            harness.only_last(harness.Result(0, "", "", [line, line]))
        with self.assertRaises(AssertionError):
            harness.only_last(harness.Result(0, "", "", []))
        self.assertEqual(harness.only_last(harness.Result(0, "", "", [{}, line])), line)

    def test_what_a_test_leaves_is_killed(self):
        harness.become_subreaper()
        victim = harness.Victim("forks")
        victim.go("DONE shared")
        victim.go("DONE fork")
        self.assertEqual(len(harness.descendants(os.getpid())), 2)
        harness.kill_descendants()
        self.assertEqual(harness.descendants(os.getpid()), [])

    def test_json_lines_that_are_not_complete_are_left_alone(self):
        tool = self.fake(":").wait_attached()
        with open(tool.output, "a", encoding="ascii") as text:
            text.write('{"unfreed":')
        self.assertEqual(len(tool.reports()), 1)
