# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: --max-cost pauses the probes where they cost too much, finds a leak all the same, and claims
nothing that pauses may have hidden."""

import time

import harness

PATIENCE_S = 120


class MaxCost(harness.LiveTest):
    """A program that allocates all the time (tests/programs/busy_leak.c)."""

    def traced(self, *args, cached=20000, work=300):
        """The victim, and the tool on it."""
        victim = self.victim("busy_leak", 200, cached, work)
        tool = self.unfreed("-p", victim.pid, "--max-cost", "2%", *args, interval="500ms")
        return victim, tool

    def phases_until(self, victim, tool, is_done):
        """Runs the victim until a report is as wanted; checks all of them on the way."""
        deadline = time.monotonic() + PATIENCE_S
        seen = 0
        while True:
            _, _, cached, leaked = victim.go("DONE phase")
            reports = tool.reports()
            for report in reports[seen:]:
                self.check_no_more_than_there_is(report, cached, leaked)
                if is_done(report):
                    return report
            seen = len(reports)
            self.assertLess(time.monotonic(), deadline, reports[-1:])

    def check_no_more_than_there_is(self, report, cached, leaked):
        """Once there are pauses: numbers that are true of later, when there is at least as much."""
        if not report["cost"]["pauses"]:
            return
        there = {"cache_insert": cached, "leak_session": leaked, "main": 1}
        for site in report["sites"]:
            function = site["frames"][0]["function"]
            self.assertIn(function, there, harness.describe(report))
            self.assertLessEqual(site["live_count"], there[function], site)
            self.assertLessEqual(site["live_count"], site["unresolved_count"])
            self.assertLessEqual(site["live_count_low"], site["live_count"])
            self.assertGreaterEqual(site["live_count_high"], site["live_count"])

    def test_a_leak_of_one_percent_ranks_first(self):
        victim, tool = self.traced()

        def is_first(report):
            return (report["cost"]["pauses"] > 32 and report["sites"] and
                    harness.is_function(report["sites"][0]["frames"][0], "leak_session"))

        report = self.phases_until(victim, tool, is_first)
        self.assertEqual(report["sites"][0]["late_free_count"], 0)
        self.assertEqual(report["cost"]["max_cpu_share"], 0.02)
        self.assertLess(report["cost"]["on_share"], 1)
        self.assertGreater(report["sample_bytes"], 0)

    def test_what_is_freed_later_is_not_outstanding(self):
        victim, tool = self.traced()

        def has_resolved(report):
            return report["cost"]["pauses"] > 64

        report = self.phases_until(victim, tool, has_resolved)
        self.assert_no_site(report, "cache_insert")
        self.assert_no_site(report, "serve_request")

    def test_pauses_end_with_the_load(self):
        victim, tool = self.traced()
        self.phases_until(victim, tool, lambda report: report["cost"]["pauses"] > 2)
        deadline = time.monotonic() + PATIENCE_S
        # The victim waits at its gate.
        while True:
            cost = tool.fresh_report()["cost"]
            if cost["window_sample_bytes"] == 512 << 10:
                break
            self.assertLess(time.monotonic(), deadline, cost)
        later = tool.fresh_report()["cost"]
        self.assertEqual(later["pauses"], cost["pauses"])
        self.assertGreater(later["on_share"], cost["on_share"])

    def test_each_way_of_attaching_pauses(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim, tool = self.traced(*args)
                report = self.phases_until(
                    victim, tool, lambda report: report["cost"]["pauses"] > 5)
                self.assertGreater(report["totals"]["unresolved_count"], 0)
                self.assertEqual(tool.stop().status, 0)

    def test_a_program_that_allocates_little_is_not_paused(self):
        victim = self.victim("sites")
        tool = self.unfreed("-p", victim.pid, "--max-cost", "100%")
        victim.go("DONE leaks")
        report = tool.last_report()
        self.assertEqual(report["cost"]["pauses"], 0)
        self.assertEqual(report["cost"]["on_share"], 1)
        self.assertEqual(report["sample_bytes"], 512 << 10)
