# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: a stack that a thread has walked before is not taken for another one, and no walk that was
remembered outlives what it depends on."""

import collections

import harness
from test_stacks_hard import ReturnProbes


class Recalled(harness.LiveTest):
    """recalled.nofp.c."""

    def run_case(self, name):
        """The last report of a case."""
        victim = self.victim("recalled.nofp", name)
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE recalled")
        return tool.last_report()

    def counts(self, report, size, names):
        """Blocks of that size by which of the functions is in their stack, and all of them."""
        found = collections.Counter()
        for site in report["sites"]:
            if site["live_bytes"] == size * site["live_count"]:
                self.assertEqual(site["stack_end"], "complete", harness.describe(report))
                here = [name for name in harness.functions(site) if name in names]
                found[tuple(here)] += site["live_count"]
        return dict(found)

    def test_callers_in_turn(self):
        report = self.run_case("callers")
        self.assertEqual(self.counts(report, 1009, ("through_first", "through_second")),
                         {("through_first",): 1009, ("through_second",): 1013})

    def test_callers_whose_return_address_another_tracer_replaced(self):
        victim = self.victim("recalled.nofp", "callers")
        probes = ReturnProbes(harness.program("recalled.nofp"), victim.pid, ["middle"])
        self.addCleanup(probes.close)
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE recalled")
        report = tool.last_report()
        self.assertEqual(probes.hits(), {"middle": 1009 + 1013})
        self.assertEqual(self.counts(report, 1009, ("through_first", "through_second")),
                         {("through_first",): 1009, ("through_second",): 1013})

    def test_callers_of_deep_stacks(self):
        report = self.run_case("deep")
        self.assertEqual(self.counts(report, 1009, ("deep_first", "deep_second")),
                         {("deep_first",): 211, ("deep_second",): 223})

    def test_the_same_words_by_another_frame_pointer(self):
        report = self.run_case("frame_pointer")
        self.assertEqual(self.counts(report, 1009, ("with_small_frame", "with_large_frame")),
                         {("with_small_frame",): 1009, ("with_large_frame",): 1013})

    def test_threads_on_one_stack(self):
        report = self.run_case("threads")
        self.assertEqual(self.counts(report, 1009, ("first_thread", "second_thread")),
                         {("first_thread",): 101, ("second_thread",): 103})

    def test_the_same_words_through_another_library(self):
        libraries = [harness.program(f"twin_{name}.so") for name in "ab"]
        names = ("leak_of_a", "leak_of_b")
        victim = self.victim("recalled.nofp", "twins", *libraries)
        tool = self.unfreed("-p", victim.pid, interval="50ms")
        same, = victim.go("DONE recalled")
        report = tool.last_report()
        self.assertGreater(same, 211)
        sites = [site for site in report["sites"] if site["live_bytes"] == 1021 * site["live_count"]]
        # The first turns find no tables. Then the stack is cut, at the right function.
        found = collections.Counter()
        for site in sites:
            found[site["frames"][0]["function"]] += site["live_count"]
        self.assertEqual(found, dict.fromkeys(names, 3 * 211), harness.describe(report))

    def test_a_site_that_was_given_up(self):
        victim = self.victim("recalled.nofp", "idle")
        tool = self.unfreed("-p", victim.pid, "--max-sites", 64, interval="50ms")
        victim.go("DONE idle")
        victim.go("DONE used")
        # Half of the table was in use, and is not now.
        tool.fresh_report()
        tool.fresh_report()
        victim.go("DONE used")
        victim.go("DONE recalled")
        report = tool.last_report()
        site, = harness.find_sites(report, "allocate_at_idle_site")
        self.assertEqual((site["live_count"], site["live_bytes"]), (101, 101 * 37),
                         harness.describe(report))
        used = harness.find_sites(report, "use_up")
        self.assertEqual(harness.sums(used), (40, 40 * 31), harness.describe(report))
        self.assertEqual({site["live_count"] for site in used}, {1})

    def test_the_same_addresses_after_an_exec(self):
        victim = self.victim("recalled.nofp", "exec", 1)
        tool = self.unfreed("-p", victim.pid)
        victim.go("READY")
        victim.go("DONE recalled")
        report = tool.last_report()
        sites = harness.find_sites(report, "through_first", anywhere=True)
        self.assertEqual([site["live_count"] for site in sites], [107], harness.describe(report))

