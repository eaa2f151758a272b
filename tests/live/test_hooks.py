# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: whatever happens in the middle of an allocator call, counts stay exact."""

import harness

CNT = 131


class Hooks(harness.LiveTest):
    """hooks.c with its interposed allocator."""

    def hooked(self, mode, *args):
        """The victim and the tool."""
        wrapper = harness.program("wrapper.so")
        victim = self.victim("hooks", mode, preload=wrapper)
        return victim, self.unfreed("-p", victim.pid, "-O", wrapper, *args, interval="50ms")

    def test_a_call_that_executes_a_new_image(self):
        """Stacks are at random addresses: try often enough to have them above and below."""
        for attempt in range(6):
            with self.subTest(attempt=attempt):
                victim, tool = self.hooked("exec")
                victim.go("DONE image")
                report = tool.last_report()
                self.assert_site(report, "alloc_in_image", CNT, CNT * 547, CNT, 0)
                self.assert_site(report, "alloc_deep", 1, 541, 1, 0)
                self.assert_no_loss(report, allowed=["call_abandoned"])

    def test_a_call_that_forks(self):
        victim, tool = self.hooked("fork", "--follow", "--per-process")
        (child,) = victim.go("DONE fork")
        report = tool.fresh_report()
        self.assert_site(report, "alloc_around_fork", 1, 557, 1, 0, pid=victim.pid)
        self.assert_site(report, "alloc_after_fork", CNT, CNT * 563, CNT, 0, pid=child)
        victim.go("DONE free")
        report = tool.last_report()
        self.assert_no_site(report, "alloc_around_fork", pid=victim.pid)
        self.assert_no_loss(report)

    def test_a_thread_that_ends_in_a_call(self):
        """The block that it was about to resize is still there, and is freed by another."""
        victim, tool = self.hooked("end")
        victim.go("DONE end")
        self.assert_site(tool.fresh_report(), "alloc_to_resize", CNT, CNT * 569, CNT, 0)
        victim.go("DONE free")
        report = tool.last_report()
        self.assert_site(report, "alloc_to_resize", CNT - 101, (CNT - 101) * 569, CNT, 101)
        self.assert_no_loss(report, allowed=["call_abandoned"])
        self.assertEqual(report["losses"].get("call_abandoned"), CNT)

    def test_a_call_that_frees_the_programs_blocks(self):
        victim, tool = self.hooked("frees")
        victim.go("DONE frees")
        report = tool.last_report()
        self.assert_site(report, "alloc_that_shrinks", 101, 101 * 5770, 101, 0)
        self.assert_site(report, "alloc_cached", CNT - 101, (CNT - 101) * 571, CNT, 101)
        self.assert_no_loss(report)

    def test_a_call_that_waits_for_another_threads_calls(self):
        victim, tool = self.hooked("thread")
        victim.go("DONE first")
        victim.go("DONE thread")
        report = tool.last_report()
        self.assert_sites(report, "alloc_in_thread", CNT + 1, (CNT + 1) * 587)
        self.assert_site(report, "alloc_with_thread", CNT, CNT * 599, CNT, 0)
        self.assert_no_loss(report)
