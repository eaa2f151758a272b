# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: a block has the size and the site of the last realloc that succeeded."""

import harness

# reallocs.c: function, blocks, bytes each
LIVE = [
    ("grow", 11, 20011),
    ("shrink", 13, 211),
    ("origin_fail", 19, 107),
    ("origin_array_fail", 23, 109),
    ("ping_pong", 31, 4001),
    ("grow_unknown", 37, 4003),
]
GONE = ["origin_grow", "origin_shrink", "origin_zero", "to_zero", "fail", "array_fail",
        "origin_free", "grow_and_free", "origin_ping_pong"]


class Reallocs(harness.LiveTest):
    """One run of reallocs.c, which moves, resizes, fails and frees."""

    def check(self, report):
        """What must be there at the end."""
        for function, count, size in LIVE:
            with self.subTest(function=function):
                self.assert_site(report, function, count, count * size)
        for function in GONE:
            with self.subTest(function=function):
                self.assert_no_site(report, function)
        self.assert_live(report, sum(row[1] for row in LIVE), sum(row[1] * row[2] for row in LIVE))
        self.assert_no_loss(report)

    def test_every_kind_of_realloc_settles_exactly(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim = self.victim("reallocs")
                tool = self.unfreed("-p", victim.pid, *args)
                moved = victim.go("DONE reallocs")
                self.assertEqual(moved, [11, 0], "blocks that moved on growing and on shrinking")
                report = tool.last_report()
                self.check(report)
                # A realloc that succeeds is an allocation here and a free there.
                self.assert_site(report, "ping_pong", 31, 31 * 4001, 31 * 41, 31 * 40)
                self.assert_site(report, "origin_fail", 19, 19 * 107, 19, 0)

    def test_an_interposed_realloc_settles_exactly(self):
        wrapper = harness.program("wrapper.so")
        victim = self.victim("reallocs", preload=wrapper)
        self.check(self.trace(victim, "DONE reallocs", args=["-O", wrapper]))

    def test_a_block_leaves_the_size_range_by_realloc(self):
        """Only 150 to 4001 bytes: blocks come in by growing and go out by shrinking."""
        victim = self.victim("reallocs")
        report = self.trace(victim, "DONE reallocs", args=["-z", 150, "-Z", 4001])
        self.assert_site(report, "shrink", 13, 13 * 211)
        self.assert_site(report, "ping_pong", 31, 31 * 4001)
        self.assert_live(report, 44, 13 * 211 + 31 * 4001)
        self.assert_no_loss(report)
