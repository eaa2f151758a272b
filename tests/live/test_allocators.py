# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: every allocator's functions are found without being told, and each block counts once:
with the size that was asked for, at the place that asked for it."""

import glob
import os

import harness

SOURCE = "operators.cc"

# operators.cc: function, blocks made, bytes each, how many of them were deleted
OPERATORS = [
    ("new_plain", 101, 103, 12),
    ("new_array", 107, 109, 9),
    ("new_nothrow", 113, 127, 0),
    ("new_array_nothrow", 131, 137, 0),
    ("new_aligned", 139, 149, 9),
    ("new_array_aligned", 151, 157, 8),
    ("new_aligned_nothrow", 163, 167, 0),
    ("new_array_aligned_nothrow", 173, 179, 0),
    ("new_large", 11, 3 << 20, 4),
]


def library(name):
    """Path of a shared library of Debian's, or None."""
    found = glob.glob(f"/usr/lib/*-linux-gnu/{name}")
    return found[0] if found else None


LIBRARIES = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4",
             "mimalloc": "libmimalloc.so.2*"}


class Allocators(harness.LiveTest):
    """What the tests of several allocators share."""

    def preload(self, allocator):
        """The library's path."""
        path = library(LIBRARIES[allocator])
        if not path:
            self.skipTest(f"{allocator} is not installed")
        return path

    def assert_below(self, report, function, live_count, live_bytes, alloc_count, free_count):
        """All that was allocated in or below a function."""
        sites = harness.find_sites(report, function, anywhere=True)
        names = ("live_count", "live_bytes", "alloc_count", "free_count")
        self.assertEqual([sum(site[name] for site in sites) for name in names],
                         [live_count, live_bytes, alloc_count, free_count],
                         function + "\n" + harness.describe(report))
        self.assertEqual({site["stack_end"] for site in sites}, {"complete"})


class Operators(Allocators):
    """operators.cc: C++'s, of allocators that have their own."""

    def run_operators(self, allocator, throws, *args):
        """The report at the end, and how many exceptions the program says that it caught."""
        victim = self.victim("operators", int(throws), preload=self.preload(allocator))
        tool = self.unfreed("-p", victim.pid, *args)
        victim.go("DONE deletes")
        (caught,) = victim.go("DONE throws")
        victim.go("DONE handler")
        report = tool.last_report()
        self.assertEqual(victim.finish(), 0)
        self.assert_no_loss(report)
        return report, caught

    def check_operators(self, report):
        """Each kind of new, less what was deleted."""
        for function, made, size, deleted in OPERATORS:
            with self.subTest(function=function):
                # Aligned sizes may be rounded up by the operator before it allocates.
                self.assert_below(report, function, made - deleted, (made - deleted) * size, made,
                                  deleted)

    def check_throws(self, report, caught):
        """What was allocated around exceptions, and by places that had thrown."""
        self.assertEqual(caught, 31 * 5 + 11)
        self.assert_below(report, "alloc_deep", 31 + 37, (31 + 37) * 199, 31 + 37, 0)
        self.assert_below(report, "new_deep", 31 + 37, (31 + 37) * 211, 31 + 37, 0)
        self.assert_below(report, "try_here", 20, 20 * 227, 20, 0)
        self.assert_below(report, "with_handler", 37 * 2 + 6, 37 * (199 + 211) + 6 * 239,
                          37 * 2 + 64, 58)

    def test_every_operator_counts_once_and_exceptions_pass(self):
        for allocator in ("jemalloc", "tcmalloc"):
            for mode in harness.ATTACH_MODES:
                with self.subTest(allocator=allocator), self.attached_by(mode) as args:
                    report, caught = self.run_operators(allocator, True, *args)
                    self.check_operators(report)
                    self.check_throws(report, caught)
                    self.assertEqual(report["totals"]["unknown_free_count"], 0)

    def test_every_operator_of_mimalloc_counts_once(self):
        """Debian's does not throw, but ends the program, traced or not."""
        report, _ = self.run_operators("mimalloc", False)
        self.check_operators(report)
