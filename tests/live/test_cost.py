# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: every report says what tracing costs those that are traced, and those that are not."""

import harness


class Cost(harness.LiveTest):
    """What the traps and the programs take."""

    def check_known(self, cost):
        """Each part was measured."""
        for part in ("trap_ns", "bpf_ns", "cpu_share"):
            self.assertIsNotNone(cost[part], cost)
            self.assertGreater(cost[part], 0, cost)
        self.assertIsNotNone(cost["tool_cpu_share"], cost)

    def test_each_way_of_attaching_knows_its_cost(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                report = self.trace(self.victim("sites"), "DONE leaks", args=args)
                self.check_known(report["cost"])
                if mode == "multi":
                    continue  # the kernel's filter is not relied on
                self.assertEqual(report["cost"]["other_events"], 0)
                self.assertEqual(report["cost"]["other_cpu_share"], 0)

    def test_a_share_is_of_the_time_since_the_last_report(self):
        victim = self.victim("sites")
        tool = self.unfreed("-p", victim.pid, interval="200ms")
        victim.go("DONE leaks")
        tool.fresh_report()
        # The victim waits at its gate: whole intervals pass without a hit.
        still = tool.fresh_report()
        result = tool.stop()
        self.assertEqual(still["cost"]["cpu_share"], 0)
        self.assertGreater(still["cost"]["trap_ns"], 0)
        self.assertGreater(max(report["cost"]["cpu_share"] for report in result.reports), 0)

    def test_hits_of_processes_that_are_not_traced_are_counted_apart(self):
        other = self.victim("sites")
        traced = self.victim("batches")
        tool = self.unfreed("--comm", "batches")
        other.go("DONE leaks")
        cost = tool.last_report()["cost"]
        self.assertGreater(cost["other_events"], 1000)
        self.assertGreater(cost["other_cpu_share"], 0)
        self.assertLessEqual(cost["other_cpu_share"], cost["cpu_share"])
        self.assertEqual(traced.proc.poll(), None)

    def test_text_has_it_in_a_line(self):
        tool = self.start(command=[harness.program("sites")], fmt="text")
        tool.wait()
        lines = [line for line in tool.text().splitlines() if line.startswith("cost ")]
        self.assertEqual(len(lines), 1, tool.text())
        self.assertRegex(lines[0], r"^cost +[0-9.]+% of one CPU.*; in all .* of traps and .* in BPF; "
                         r"unfreed itself [0-9.]+%$")
