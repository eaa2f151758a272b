# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: all of it at full speed on all CPUs is exact, and where tables are too small, what was
recorded and what was lost add up to what was allocated."""

import harness

# What glibc takes of its own for a thread: its vector of thread-local storage, kept for the next.
PTHREAD = "pthread_create"
FULL = ("live_table_full", "realloc_no_room", "site_table_full", "stack_table_full")


class StormTest(harness.LiveTest):
    """Victims with several threads."""

    def split(self, report):
        """The report's numbers without what glibc takes for threads: live blocks, live bytes,
        allocations, frees."""
        names = ("live_count", "live_bytes", "alloc_count", "free_count")
        threads = harness.find_sites(report, PTHREAD, anywhere=True)
        return [report["totals"][name] - sum(site[name] for site in threads) for name in names]


class Storm(StormTest):
    """storm.c: every operation on shared blocks."""

    def storm(self, *args, threads=4, operations=40009):
        """What it says must be outstanding, and the last report."""
        victim = self.victim("storm", threads, operations)
        tool = self.unfreed("-p", victim.pid, *args, interval="100ms")
        said = victim.go("DONE storm")
        return said, tool.last_report()

    def test_every_operation_at_once(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                said, report = self.storm(*args)
                self.assertEqual(self.split(report), said, harness.describe(report))
                self.assert_no_loss(report)

    def test_what_a_small_live_table_loses_adds_up(self):
        said, report = self.storm("--max-blocks", 32)
        _, _, recorded, _ = self.split(report)
        lost = report["losses"]["live_table_full"]
        self.assertGreater(lost, 1000)
        # A thread's own blocks may be among the lost.
        self.assertIn(recorded + lost - said[2], range(0, 5), harness.describe(report))
        for site in report["sites"]:
            self.assertLessEqual(site["free_count"], site["alloc_count"])
            self.assertLessEqual(site["live_count"], 32)
        self.assert_no_loss(report, allowed=FULL)


class Paths(StormTest):
    """paths.c: several threads at each of 2,048 stacks at once."""

    def paths(self, *args):
        """The last report on 4 threads with 2 rounds each."""
        victim = self.victim("paths", 11, 2, 4)
        tool = self.unfreed("-p", victim.pid, *args, interval="50ms")
        victim.go("DONE paths")
        return tool.last_report()

    def check_sums(self, report):
        """What was recorded is right, and the rest was lost. Returns the sites."""
        sites = harness.find_sites(report, "step")
        recorded, size = harness.sums(sites)
        self.assertEqual(size, recorded * 919)
        self.assertEqual(len({site["id"] for site in sites}), len(sites))
        self.assertEqual({site["stack_end"] for site in sites}, {"complete"})
        _, _, allocated, _ = self.split(report)
        self.assertEqual(allocated, recorded)
        lost = sum(report["losses"].get(name, 0) for name in FULL)
        # A thread's own blocks may be among the lost.
        self.assertIn(recorded + lost - 8 * 2048, range(0, 5), harness.describe(report))
        self.assert_no_loss(report, allowed=FULL)
        return sites

    def test_threads_that_make_the_same_sites_at_once(self):
        report = self.paths()
        sites = self.check_sums(report)
        self.assertEqual([site["live_count"] for site in sites], 2048 * [8])
        self.assert_no_loss(report)

    def test_more_sites_than_there_is_room_for(self):
        sites = self.check_sums(self.paths("--max-sites", 1000))
        self.assertTrue(900 <= len(sites) <= 1000, len(sites))
        self.assertEqual({site["live_count"] for site in sites}, {8})

    def test_both_tables_are_full(self):
        report = self.paths("--max-sites", 1500, "--max-blocks", 4096)
        self.check_sums(report)
        self.assertGreater(report["losses"].get("live_table_full", 0), 0)
