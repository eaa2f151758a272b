# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: a probe's place inside a function is compared with the function's entry, by calls: it is
said to be right if they agree, and given up where they do not. Then what follows is exact."""

import os
import platform
import subprocess
import time
import unittest

import harness

# As in inner.c.
KEPT, KEPT_SIZE, GIVEN = 1009, 48, 307
MADE, MADE_SIZE = 503, 80
REFUTED = "{} was not as expected at its place"
ANY_REFUTED = REFUTED.format("")
VERIFIED = "{}+{} verified by "
# A tool whose decoder sees neither writes of arguments nor branches (Makefile).
MISPLACED = os.path.join(os.path.dirname(os.path.abspath(harness.UNFREED)), "build", "misplaced",
                         "unfreed")


@unittest.skipUnless(platform.machine() == "x86_64", "the program is written for x86-64")
class Places(harness.LiveTest):
    """Right and wrong ones."""

    def wait_for(self, tool, *texts):
        """Until the tool has said each."""
        deadline = time.monotonic() + harness.TIMEOUT_S
        missing = texts
        while missing and time.monotonic() < deadline:
            time.sleep(0.02)
            said = "\n".join(tool.stderr.all)
            missing = [text for text in texts if text not in said]
        self.assertEqual(list(missing), [], tool.stderr.all)

    def said(self, tool, text):
        """The lines that have it."""
        return [line for line in tool.stderr.all if text in line]

    def trace_inner(self, tool_path, args, *refuted):
        """Everything is exact once wrong places are given up."""
        program = harness.program("inner")
        victim = self.victim("inner")
        tool = self.unfreed("-v", "-O", program, "--prefix", "in_", "-p", victim.pid, *args,
                            interval="200ms", tool=tool_path)
        tool.fresh_report() # the checks have begun
        victim.go("DONE warm")
        self.wait_for(tool, *[REFUTED.format(name) for name in refuted])
        for _ in range(3):
            tool.fresh_report() # what was replaced is gone
        victim.go("DONE kept")
        report = tool.last_report()
        said = [line for line in self.said(tool, ANY_REFUTED) if program in line]
        self.assertEqual(len(said), len(refuted), tool.stderr.all)
        self.assert_site(report, "keep_malloc", KEPT - GIVEN, (KEPT - GIVEN) * KEPT_SIZE,
                         alloc_count=KEPT, free_count=GIVEN)
        self.assert_site(report, "keep_realloc", MADE, MADE * MADE_SIZE)
        self.assertEqual(victim.finish(), 0)

    def test_a_function_that_is_entered_behind_its_entry(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                self.trace_inner(harness.UNFREED, args, "in_free")

    def test_a_decoder_that_is_wrong(self):
        if not os.path.exists(MISPLACED):
            self.skipTest("no build/misplaced/unfreed")
        for mode in ("session", "multi"):
            with self.attached_by(mode) as args:
                self.trace_inner(MISPLACED, args, "in_malloc", "in_realloc", "in_free")

    def test_right_places_are_verified_and_the_checks_taken_out(self):
        victim = self.victim("churn", "steady", 3)
        tool = self.unfreed("-v", "-p", victim.pid)
        self.wait_for(tool, VERIFIED.format("free", 3))
        tool.stop()
        self.assertEqual(self.said(tool, ANY_REFUTED), [])
        rest = "\n".join(self.said(tool, "not verified, for want of calls"))
        self.assertIn("posix_memalign", rest)
        self.assertNotIn(" free+", rest)

    def test_signal_handlers_that_allocate(self):
        victim = self.victim("signals")
        tool = self.unfreed("-v", "-p", victim.pid)
        victim.finish()
        result = tool.wait()
        self.assertNotIn(ANY_REFUTED, result.stderr)
        self.assertIn(VERIFIED.format("free", 3), result.stderr)
