# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Memory that a program maps itself (--mmap), by tests/programs/regions.c and the mmap module."""

import os
import signal

import harness

PAGE = 4096
GATES = ("whole", "over", "remap", "break", "fail", "malloc", "own", "threads")

# function: (regions, pages) that live after its phase; of some, (mapped, unmapped) regions.
WHOLE = {"map_whole": (7, 7 * 3), "map_parts": (10, 10 * 7)}
OVER = {**WHOLE, "map_area": (1, 101 - 12 - 7 - 1 - 3), "map_over": (1, 5), "map_shared": (1, 5),
        "map_down": (1, 23)}
REMAP = {**OVER, "map_area": (1, 78 - 6), "map_small": (0, 0), "grow": (12, 12 * 4),
         "shrink": (4, 4 * 2), "move_over": (3, 3 * 2), "map_kept": (2, 5 + 6),
         "move_leaving": (1, 5), "move_part": (1, 11), "double_shared": (1, 5),
         "grow_early": (1, 31)}
BREAK = {**REMAP, "raise_break": (4, 8)}
FAIL = {**BREAK, "map_stuck": (1, 4), "map_sealed": (1, 3)}
OWN = {**FAIL, "map_between": (34, 17 * 4), "own_malloc": (6, 6 * 2), "own_free": (11, 11)}
THREADS = {**OWN, "map_in_thread": (62, 62 * 4)}
LIVE = {"whole": WHOLE, "over": OVER, "remap": REMAP, "break": BREAK, "fail": FAIL,
        "malloc": FAIL, "own": OWN, "threads": THREADS}
# Where all regions of a function are of one site.
CALLS = {"map_whole": (13, 6), "grow": (19, 7), "shrink": (7, 3), "map_stuck": (1, 0)}

PYTHON = "/usr/bin/python3"
PYTHON_CODE = """if True:
    import mmap, os, re, sys
    def keep(n):
        return mmap.mmap(-1, n)
    def close(n):
        mmap.mmap(-1, n).close()
    def truth():
        with open("/proc/self/smaps") as text:
            return sum(int(size) for size in re.findall(r"/dev/zero \\(deleted\\)\\nSize: +(\\d+) kB",
                                                        text.read()))
    print("READY", flush=True); sys.stdin.read(1)
    kept = [keep(4096 * (i % 7 + 1)) for i in range(113)]
    for i in range(31):
        close(8192)
    print("DONE", truth(), flush=True); sys.stdin.read(1)
"""


def regions(report, pid=None):
    """Its sites of mapped regions."""
    return [site for site in report["sites"] if site["kind"] == "mmap"
            and (pid is None or site["pid"] == pid)]


class Regions(harness.LiveTest):
    """Regions by site."""

    def assert_regions(self, report, expected, pid=None, others=()):
        """These functions, and no others, have mapped what is live: (regions, pages)."""
        found = {}
        for site in regions(report, pid):
            name = site["frames"][0]["function"]
            count, size = found.get(name, (0, 0))
            found[name] = (count + site["live_count"], size + site["live_bytes"])
            self.assertEqual(site["stack_end"], "complete", harness.describe(report))
        for name in others:
            found.pop(name, None)
        self.assertEqual(found, {name: (count, pages * PAGE)
                                 for name, (count, pages) in expected.items() if count},
                         harness.describe(report))

    def assert_totals(self, report):
        """Totals are the sums of the sites."""
        totals = report["mmap_totals"]
        self.assertEqual((totals["live_count"], totals["live_bytes"]),
                         harness.sums(regions(report)))

    def test_each_way_of_mapping_and_unmapping_is_counted_to_the_page(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim = self.victim("regions")
                tool = self.unfreed("--mmap", "-p", victim.pid, *args, interval="100ms")
                for gate in GATES:
                    victim.go("DONE " + gate)
                    report = tool.fresh_report()
                    self.assert_regions(report, LIVE[gate], others=["allocate_stack"])
                    self.assert_totals(report)
                report = tool.last_report()
                self.assert_no_loss(report)
                # mmap over something, unaligned, of everything, over what is sealed.
                self.assertIn(report["failed_alloc_count"], (3, 4))
                stacks = harness.find_sites(report, "pthread_create", anywhere=True)
                self.assertEqual([site["live_count"] for site in stacks if site["kind"] == "mmap"],
                                 [1, 1])

    def test_how_many_were_mapped_and_unmapped(self):
        victim = self.victim("regions")
        report = self.trace(victim, *("DONE " + gate for gate in GATES), args=["--mmap"])
        totals = report["mmap_totals"]
        self.assertEqual(totals["live_count"], totals["alloc_count"] - totals["free_count"])
        self.assertEqual(totals["live_bytes"], totals["alloc_bytes"] - totals["free_bytes"])
        for name, (mapped, unmapped) in CALLS.items():
            sites = harness.find_sites(report, name)
            self.assertEqual((sum(site["alloc_count"] for site in sites),
                              sum(site["free_count"] for site in sites)),
                             (mapped, unmapped), name + "\n" + harness.describe(report))
        in_threads = harness.find_sites(report, "map_in_thread")
        self.assertLessEqual(sum(site["alloc_count"] for site in in_threads),
                             2 * (31 + 2 * 4001))

    def test_without_the_option_there_are_none(self):
        victim = self.victim("regions")
        report = self.trace(victim, *("DONE " + gate for gate in GATES))
        self.assertEqual(regions(report), [])
        self.assertEqual(set(report["mmap_totals"].values()), {0})

    def test_what_a_probed_allocator_maps_is_its_own(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                victim = self.victim("regions")
                for gate in GATES[:GATES.index("own")]:
                    victim.go("DONE " + gate)
                # Sizes that are not wanted make no difference.
                tool = self.unfreed("--mmap", "-p", victim.pid, "-O", harness.program("regions"),
                                    "--prefix", "own_", "--max-size", 3 * PAGE - 1, *args)
                victim.go("DONE own")
                report = tool.last_report()
                self.assert_regions(report, {"map_between": (17, 17)})
                self.assert_sites(report, "use_own", 6, 6 * (PAGE + 1))

    def test_what_an_unwanted_call_of_the_allocator_maps_is_its_own(self):
        victim = self.victim("regions")
        for gate in GATES[:GATES.index("own")]:
            victim.go("DONE " + gate)
        tool = self.unfreed("--mmap", "-p", victim.pid, "-O", harness.program("regions"),
                            "--prefix", "own_", "--min-size", 2 * PAGE)
        victim.go("DONE own")
        report = tool.last_report()
        # A call for less than is wanted maps as much as is.
        self.assert_regions(report, {"map_between": (17, 17 * 3)})
        self.assertEqual(report["failed_alloc_count"], 0)

    def test_sizes_that_are_not_wanted_are_not_recorded(self):
        victim = self.victim("regions")
        tool = self.unfreed("--mmap", "-p", victim.pid, "--min-size", 4 * PAGE, "--max-size",
                            30 * PAGE)
        victim.go("DONE whole")
        victim.go("DONE over")
        self.assert_regions(tool.last_report(), {"map_parts": (10, 70), "map_over": (1, 5),
                                                 "map_shared": (1, 5), "map_down": (1, 23)})

    def test_ages(self):
        victim = self.victim("regions")
        tool = self.unfreed("--mmap", "-p", victim.pid, "--older", "400ms", interval="100ms")
        victim.go("DONE whole")
        self.assert_regions(tool.fresh_report(), {})
        for _ in range(8):
            report = tool.fresh_report()
        self.assert_regions(report, WHOLE)
        for site in regions(report):
            self.assertGreaterEqual(site["oldest_s"], 0.4)
            self.assertEqual(site["ages"][0]["count"], site["live_count"])
            self.assertEqual(site["ages"][0]["bytes"], site["live_bytes"])

    def test_a_forked_child_has_copies_of_its_own(self):
        victim = self.victim("regions")
        tool = self.unfreed("--mmap", "-p", victim.pid, "--follow", "--per-process",
                            interval="100ms")
        for gate in GATES:
            victim.go("DONE " + gate)
        child, = victim.go("DONE child")
        report = tool.fresh_report()
        stacks = ["allocate_stack"]
        self.assert_regions(report, {**THREADS, "map_unforked": (1, 37)}, victim.pid, stacks)
        self.assert_regions(report, {**THREADS, "map_whole": (5, 4 * 3 + 2), "map_in_child": (5, 10)},
                            child, stacks)
        victim.go("DONE exec")
        report = tool.fresh_report()
        in_child = [site for site in regions(report, child)
                    if site["frames"][0]["function"] == "map_early"]
        self.assertEqual(harness.sums(in_child), (1, 3 * PAGE))
        self.assertEqual([site for site in regions(report, child)
                          if site["frames"][0]["function"] == "map_whole"], [])
        self.assert_regions(report, {**THREADS, "map_unforked": (1, 37)}, victim.pid, stacks)
        victim.go("DONE fork")
        victim.go("DONE all")
        report = tool.last_report()
        left = {name: pages for name, pages in THREADS.items() if name != "map_whole"}
        self.assert_regions(report, {**left, "map_unforked": (1, 37)}, victim.pid, stacks)
        self.assert_no_loss(report)

    def test_without_follow_a_child_changes_nothing(self):
        victim = self.victim("regions")
        tool = self.unfreed("--mmap", "-p", victim.pid)
        for gate in GATES:
            victim.go("DONE " + gate)
        victim.go("DONE child")
        victim.go("DONE exec")
        victim.go("DONE fork")
        report = tool.last_report()
        self.assert_regions(report, {**THREADS, "map_unforked": (1, 37)}, others=["allocate_stack"])

    def test_a_command_from_its_start(self):
        result = self.run_command(harness.program("regions"), args=["--mmap"])
        report = harness.only_last(result)
        left = {name: pages for name, pages in THREADS.items() if name != "map_whole"}
        found = {site["frames"][0]["function"] for site in regions(report)}
        self.assertTrue(set(left) - {"map_small"} <= found, harness.describe(report))
        self.assertNotIn("map_whole", found)
        self.assert_sites(report, "map_in_thread", 62, 62 * 4 * PAGE)
        # It was mapped in the trace: unmapped at the end, but for what grow_early moved.
        self.assert_no_site(report, "map_early")
        self.assert_sites(report, "grow_early", 1, 31 * PAGE)
        self.assert_no_loss(report)

    def test_a_process_found_by_name(self):
        tool = self.unfreed("--mmap", "--comm", "regions", interval="100ms")
        victim = self.victim("regions")
        victim.go("DONE whole")
        # Nothing before has asked for the unwind table of its libc.
        tool.fresh_report()
        victim.go("DONE over")
        report = tool.fresh_report()
        for name in ("map_area", "map_over", "map_shared", "map_down"):
            count, pages = OVER[name]
            mine = [site for site in regions(report, victim.pid)
                    if site["frames"][0]["function"] == name]
            self.assertEqual(harness.sums(mine), (count, pages * PAGE))
        totals = harness.sums(regions(report, victim.pid))
        self.assertGreaterEqual(totals[0], sum(count for count, _ in OVER.values()))
        tool.stop()

    def test_events_that_are_lost_are_counted_and_what_is_unmapped_goes(self):
        victim = self.victim("regions", "storm")
        tool = self.unfreed("--mmap", "-p", victim.pid, interval="100ms")
        victim.go("DONE known")
        self.assert_regions(tool.fresh_report(), {"map_known": (59, 59 * 2)})
        os.kill(tool.pid, signal.SIGSTOP)
        victim.go("DONE storm")
        os.kill(tool.pid, signal.SIGCONT)
        report = tool.fresh_report()
        self.assert_regions(report, {})
        self.assertGreater(report["losses"]["region_events_full"], 59)
        self.assertEqual(set(report["losses"]), {"region_events_full"})
        victim.go("DONE again")
        again = tool.last_report()
        self.assert_regions(again, {"map_known": (53, 53 * 2)})
        self.assertEqual(again["losses"], report["losses"])

    def test_pythons_mmap_module(self):
        victim = self.victim(None, "-c", PYTHON_CODE, path=PYTHON)
        tool = self.unfreed("--mmap", "-p", victim.pid)
        truth_kib, = victim.go("DONE")
        report = tool.last_report()
        sites = [site for site in regions(report)
                 if any(frame["function"] == "keep" for frame in site["frames"])]
        expected = sum(i % 7 + 1 for i in range(113)) * PAGE
        self.assertEqual(truth_kib * 1024, expected)
        self.assertEqual(harness.sums(sites), (113, expected), harness.describe(report))
        for site in sites:
            python = [frame for frame in site["frames"] if frame["kind"] == "python"]
            self.assertEqual(python[0]["function"], "keep")
        self.assert_no_site(report, "close")
        self.assert_no_loss(report)
