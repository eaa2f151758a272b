# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: threads, signals and jumps leave the counts exact, at full speed too."""

import harness

RACE_KEPT = 2 * 50021
RACE_CHURN = 2 * 20011


class Threads(harness.LiveTest):
    """Blocks do not belong to the thread that asked for them."""

    def test_blocks_of_a_dead_thread_stay(self):
        report = self.trace(self.victim("threads"), "DONE dying")
        self.assert_site(report, "alloc_in_dying_thread", 211, 211 * 223, 211, 0)
        self.assert_no_loss(report)

    def test_another_thread_frees(self):
        report = self.trace(self.victim("threads"), "DONE dying", "DONE freeing")
        self.assert_site(report, "alloc_in_dying_thread", 114, 114 * 223, 211, 97)
        self.assert_no_loss(report)

    def test_two_threads_at_one_site_at_once(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim = self.victim("threads")
                tool = self.unfreed("-p", victim.pid, *args)
                victim.go("DONE dying")
                victim.go("DONE freeing")
                victim.go("DONE race")
                report = tool.last_report()
                self.assert_site(report, "alloc_in_dying_thread", 114, 114 * 223, 211, 97)
                # Two lines of it allocate; of the second's blocks all are freed.
                self.assert_sites(report, "race", RACE_KEPT, RACE_KEPT * 17)
                site = self.site_by(report, "race", line=harness.line_of("threads.c", "race"))
                self.assertEqual((site["live_count"], site["alloc_count"]), (RACE_KEPT, RACE_KEPT))
                self.assertGreaterEqual(report["totals"]["alloc_count"], RACE_KEPT + RACE_CHURN)
                self.assert_no_loss(report)

    def test_addresses_that_come_again_at_once(self):
        victim = self.victim("churn", "pairs", 4, 200003)
        report = self.trace(victim, "DONE pairs")
        self.assert_site(report, "keep_after_pairs", 44, 44 * 48, 44, 0)
        self.assert_no_site(report, "pairs")
        self.assert_no_site(report, "hand_over")
        self.assertGreaterEqual(report["totals"]["alloc_count"], 4 * (200003 + 200003 // 8))
        self.assert_no_loss(report)


class Middle(harness.LiveTest):
    """Calls that are under way when the trace begins or ends."""

    def test_attaching_in_the_middle_of_calls(self):
        for attempt in range(3):
            with self.subTest(attempt=attempt):
                report = self.trace(self.victim("churn", "busy", 4), "DONE quiet", "DONE leaks")
                self.assert_site(report, "leak_when_quiet", 10007, 10007 * 601, 10007, 0)
                self.assert_live(report, 10007, 10007 * 601)
                self.assert_no_loss(report)

    def test_detaching_in_the_middle_of_calls(self):
        """The victim must not notice: it goes on and ends well."""
        victim = self.victim("churn", "busy", 4)
        self.unfreed("-p", victim.pid).last_report()
        victim.go("DONE quiet")
        victim.go("DONE leaks")
        self.assertEqual(victim.finish(), 0)

    def test_a_process_that_exits_in_the_middle_of_calls(self):
        victim = self.victim("churn", "exit", 4)
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE busy")
        self.assertEqual(victim.finish(), 0)
        report = harness.only_last(tool.wait())
        self.assertGreater(report["totals"]["alloc_count"], 0)
        self.assert_no_loss(report, allowed=["call_abandoned"])

    def test_a_process_that_is_killed_in_the_middle_of_calls(self):
        victim = self.victim("churn", "busy", 4)
        tool = self.unfreed("-p", victim.pid)
        victim.proc.kill()
        victim.proc.wait()
        report = harness.only_last(tool.wait())
        self.assert_no_loss(report, allowed=["call_abandoned"])


class Signals(harness.LiveTest):
    """A handler's allocation is one of its own. Its stack goes on in the code that the signal
    interrupted: one site for each place there."""

    def trace_primed(self, victim, gate, *args):
        """The last report after this gate, and the numbers there."""
        tool = self.unfreed("-p", victim.pid, *args, interval="50ms")
        victim.go("DONE prime")
        tool.fresh_report()
        numbers = victim.go(gate)
        return tool.last_report(), numbers

    def assert_handler_sites(self, report, blocks, interrupted):
        """The handler's blocks are all there, with the function that it interrupted on the way."""
        sites = self.assert_sites(report, "alloc_in_handler", blocks, blocks * 307)
        # The rows for places that are no calls are asked for at the first such place in a file:
        # when priming.
        for site in sites:
            if not site["live_count"]:
                continue
            self.assertEqual(site["stack_end"], "complete", harness.describe(report))
            names = harness.functions(site)
            self.assertIn(interrupted, names)
            self.assertEqual(names[-1], "_start")

    def test_a_handler_allocates_between_calls(self):
        victim = self.victim("signals", "timer")
        report, (kept, handled) = self.trace_primed(victim, "DONE timer")
        self.assertGreater(handled, 0, "no signal came while it was allowed to allocate")
        self.assert_sites(report, "alloc_in_loop", kept, kept * 311)
        self.assert_handler_sites(report, handled, "alloc_in_loop")
        self.assert_live(report, kept + handled, kept * 311 + handled * 307)
        self.assert_no_loss(report)

    def check_inside(self, *mode):
        """Handlers inside of allocator calls, which go on after them. Each priming is 2 pairs."""
        wrapper = harness.program("wrapper.so")
        victim = self.victim("signals", "inside", *mode, preload=wrapper)
        report, _ = self.trace_primed(victim, "DONE alloc", "-O", wrapper)
        self.assert_handler_sites(report, 127, "alloc_outer")
        self.assert_site(report, "alloc_outer", 127, 127 * 313, 127, 0)
        self.assert_live(report, 254, 127 * 307 + 127 * 313)
        self.assert_no_loss(report)
        report, _ = self.trace_primed(victim, "DONE free", "-O", wrapper)
        self.assert_handler_sites(report, 127, "free_outer")
        self.assert_sites(report, "free_outer", 0, 0)
        self.assertEqual((report["totals"]["alloc_count"], report["totals"]["free_count"]),
                         (254 + 2, 127 + 2))
        self.assert_live(report, 127, 127 * 307)
        self.assert_no_loss(report)

    def test_a_handler_allocates_inside_a_call(self):
        self.check_inside()

    def test_a_handler_on_its_own_stack_allocates_inside_a_call(self):
        self.check_inside("alt")


class Jumps(harness.LiveTest):
    """Calls and callers that never return."""

    def test_longjmp_between_allocations(self):
        report = self.trace(self.victim("jumps"), "DONE between")
        sites = self.assert_sites(report, "alloc_then_jump", 131, 131 * 401)
        self.assertEqual(len(sites), 7, "one for each depth of recursion")
        self.assert_site(report, "alloc_after_jump", 131, 131 * 409, 131, 0)
        self.assert_no_loss(report)

    def check_inside(self, report):
        """Each of 137 calls was left by siglongjmp; all that came after counts."""
        self.assert_no_site(report, "alloc_abandoned")
        self.assert_sites(report, "alloc_after_abandoned", 137, 137 * 421)
        self.assert_sites(report, "alloc_deeper", 137, 137 * 433)
        self.assert_live(report, 274, 137 * 421 + 137 * 433)
        self.assert_no_loss(report, allowed=["call_abandoned"])

    def test_siglongjmp_out_of_an_allocator_call(self):
        wrapper = harness.program("wrapper.so")
        victim = self.victim("jumps", preload=wrapper)
        victim.go("DONE between")
        self.check_inside(self.trace(victim, "DONE inside", args=["-O", wrapper]))

    def test_siglongjmp_from_a_signal_stack_out_of_an_allocator_call(self):
        wrapper = harness.program("wrapper.so")
        victim = self.victim("jumps", preload=wrapper)
        victim.go("DONE between")
        victim.go("DONE inside")
        self.check_inside(self.trace(victim, "DONE inside alt", args=["-O", wrapper]))
