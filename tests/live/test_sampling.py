# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: a sample stands for all allocations: what is surely recorded is exact, what is estimated
is unbiased and as near as its range says, and the two are never added up."""

import re

import harness

# Blocks of 30,044 bytes (a header and a zero are added) and pools, once the interpreter has surely
# been found.
PYTHON = """
import os, time
class Row: __slots__ = tuple("column%d" % i for i in range(16))
time.sleep(0.5)
def large(): return [bytes(30011) for _ in range(103)]
def small(): return [Row() for _ in range(20011)]
kept = large(), small()
os._exit(0)
"""

# sampled.c, of 24 KiB and more: function, blocks, bytes each
LARGE = [("by_malloc", 101, 30011), ("by_calloc", 53, 30021), ("by_realloc", 29, 40009),
         ("by_memalign", 31, 26003), ("grow", 37, 50021)]
SMALL = 300007
ARRAYS = 200003
THREADS = 7 * 30011
MIXED = 100003
# Ranges are of 95 %: 1.96 standard deviations each way. Five and more are a bug, not bad luck.
SIGMAS = 5


class Sampling(harness.LiveTest):
    """One sample in 1 KiB, or in 4."""

    def assert_near(self, what, key, truth):
        """An estimate, of a site or of all."""
        low, high = what[key + "_low"], what[key + "_high"]
        self.assertLessEqual(low, what[key])
        self.assertGreaterEqual(high, what[key])
        self.assertGreater(what["samples"], 100)
        self.assertLess(high - low, truth / 3, "the range says nothing")
        self.assertLess(abs(what[key] - truth), (high - low) / 2 / 1.96 * SIGMAS, (key, truth))

    def check_large(self, report):
        """All of them, exactly."""
        for function, count, size in LARGE:
            site = self.assert_site(report, function, count, count * size)
            self.assertEqual((site["live_bytes_low"], site["live_bytes_high"], site["samples"]),
                             (count * size, count * size, count))
        self.assert_no_site(report, "origin")
        self.assert_live(report, sum(row[1] for row in LARGE), sum(row[1] * row[2] for row in LARGE))
        self.assert_no_loss(report)
        self.assertEqual(report["sample_bytes"], 1024)
        self.assertIsNone(report["unknown_free_count"])

    def check_small(self, report, mixed_bytes):
        """About as many."""
        for function, count, size in (("small", SMALL, 48), ("from_nothing", SMALL, 48),
                                      ("by_array", ARRAYS, 48), ("in_thread", THREADS, 96)):
            site = self.site_by(report, function)
            with self.subTest(function=function):
                self.assert_near(site, "live_count", count)
                self.assert_near(site, "live_bytes", count * size)
            # No half-seen frees: what is live is what was allocated.
            self.assertEqual((site["alloc_count"], site["free_count"]), (site["live_count"], 0))
        mixed = self.site_by(report, "many_sizes")
        self.assert_near(mixed, "live_bytes", mixed_bytes)
        self.assert_near(mixed, "live_count", MIXED)
        self.assert_near(report["totals"], "live_bytes",
                         (2 * SMALL + ARRAYS) * 48 + THREADS * 96 + mixed_bytes)
        fleeting = [site for site in report["sites"] if site["frames"][0]["function"] == "fleeting"]
        self.assertEqual(fleeting, [], "each sampled block was seen freed")
        # A call that an allocator function makes is none of the program's.
        frames = [frame for site in report["sites"] for frame in site["frames"]]
        self.assertEqual([frame for frame in frames if re.search(r"/(libc|wrapper)\.so", frame["module"])
                          and re.fullmatch("(__libc_)?(m|c|re)alloc(array)?", frame["function"])],
                         [])

    def check_freed(self, report):
        """The C library keeps something of the threads."""
        for function in ("small", "from_nothing", "by_array", "in_thread", "many_sizes"):
            self.assert_no_site(report, function)

    def test_what_is_surely_recorded_is_exact(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim = self.victim("sampled")
                tool = self.unfreed("-p", victim.pid, "-s", "1K", *args, interval="100ms")
                victim.go("DONE large")
                self.check_large(tool.fresh_report())
                victim.go("FORKED")
                victim.go("DONE large free")
                report = tool.last_report()
                self.assert_live(report, 0, 0)
                self.assertEqual(report["totals"]["alloc_count"], report["totals"]["free_count"])
                self.assertEqual(report["totals"]["alloc_count"],
                                 sum(row[1] for row in LARGE) + 37)
                victim.finish()

    def test_what_is_estimated_is_as_near_as_it_says(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim = self.victim("sampled")
                for gate in ("DONE large", "FORKED", "DONE large free"):
                    victim.go(gate)
                tool = self.unfreed("-p", victim.pid, "-s", "4K", *args, interval="200ms")
                mixed_bytes, = victim.go("DONE small")
                self.check_small(tool.fresh_report(), mixed_bytes)
                victim.go("DONE small free")
                report = tool.last_report()
                self.check_freed(report)
                self.assert_no_loss(report)
                victim.finish()

    def test_an_interposed_allocator_counts_once(self):
        """Its functions call the C library's, which is sampled as well."""
        wrapper = harness.program("wrapper.so")
        victim = self.victim("sampled", preload=wrapper)
        for gate in ("DONE large", "FORKED", "DONE large free"):
            victim.go(gate)
        tool = self.unfreed("-p", victim.pid, "-s", "4K", "-O", wrapper, interval="200ms")
        mixed_bytes, = victim.go("DONE small")
        self.check_small(tool.fresh_report(), mixed_bytes)
        victim.go("DONE small free")
        self.check_freed(tool.last_report())

    def test_a_child_has_the_samples_of_its_parent(self):
        victim = self.victim("sampled")
        tool = self.unfreed("-p", victim.pid, "-s", "1K", "--follow", "--per-process",
                            interval="100ms")
        victim.go("DONE large")
        child, = victim.go("FORKED")
        report = tool.fresh_report()
        self.assert_site(report, "by_malloc", 101 - 17, (101 - 17) * 30011, pid=victim.pid)
        self.assert_site(report, "by_malloc", 101 - 13, (101 - 13) * 30011, pid=child)
        self.assert_site(report, "grow", 37, 37 * 50021, pid=child)
        tool.last_report()
        victim.finish()

    def test_all_blocks_and_mapped_memory_are_told_apart(self):
        """--mmap sees each call to its end; what the allocator maps is not counted twice."""
        victim = self.victim("sampled")
        report = self.trace(victim, "DONE large", args=["-s", "1K", "--mmap"])
        self.check_large(report)
        self.assertEqual(report["mmap_totals"]["live_bytes"], 0)

    def test_pools_are_counted_and_blocks_estimated(self):
        """Python's small objects lie in pools, each of which is seen; its large ones are sampled."""
        report = harness.only_last(self.run_command("/usr/bin/python3", "-c", PYTHON,
                                                    args=["-s", "1K"]))
        for kind, totals in (("malloc", "totals"), ("pymalloc", "pymalloc_totals")):
            sites = [site for site in report["sites"] if site["kind"] == kind]
            self.assertEqual(harness.sums(sites),
                             (report[totals]["live_count"], report[totals]["live_bytes"]))
            self.assertEqual({"samples" in site for site in sites}, {kind == "malloc"})
        large = [site for site in report["sites"] if site["kind"] == "malloc"
                 and any(frame["function"] == "large" for frame in site["frames"])
                 and site["live_count"] == 103]
        self.assertEqual(harness.sums(large), (103, 103 * 30044))
        small = [site for site in report["sites"] if site["kind"] == "pymalloc"
                 and any(frame["function"] == "small" for frame in site["frames"])]
        # 48 bytes of header and bookkeeping and 16 columns: at least 99 in a pool of 16 KiB.
        self.assertGreater(harness.sums(small)[1], 20011 * 150)

    def test_the_report_for_people_says_what_is_estimated(self):
        victim = self.victim("sampled")
        tool = self.unfreed("-p", victim.pid, "-s", "64K", fmt="text", top=10)
        victim.go("DONE large")
        text = tool.stop().stdout or tool.text()
        self.assertIn("one sample in 64.0 KiB on average", text)
        self.assertRegex(text, r"iB - \d+\.\d [KM]iB, from \d+ samples\n")
        self.assertNotIn("frees of older blocks", text)
