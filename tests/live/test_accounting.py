# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What counts, and where: every allocator function, calls within calls, failures, full tables."""

import harness

PAGE = 4096

# sites.c: function, blocks, bytes each
SITES = [
    ("leak_malloc", 101, 1009),
    ("leak_calloc", 103, 7 * 149),
    ("leak_realloc_of_null", 107, 1013),
    ("leak_realloc", 109, 2003),
    ("leak_reallocarray", 113, 11 * 97),
    ("leak_posix_memalign", 127, 1019),
    ("leak_aligned_alloc", 131, 64 * 17),
    ("leak_memalign", 137, 1021),
    ("leak_valloc", 139, 1031),
    ("leak_pvalloc", 149, PAGE),
]
STRDUP = ("strdup", 151, 37)
BALANCED_CNT = 1009
REALLOC_FIRST_CNT = 109

# sites_cxx.cc: function that calls operator new, blocks, bytes each
CXX_SITES = [
    ("leak_new", 157, 1039),
    ("leak_new_array", 163, 1049),
    ("leak_new_nothrow", 167, 1051),
    ("leak_new_aligned", 173, 192),
]
MEMBER = ("demo::leaker::leak_member", 181, 1061)


def total(sites):
    """Blocks and bytes of rows that end in (blocks, bytes each)."""
    return sum(row[-2] for row in sites), sum(row[-2] * row[-1] for row in sites)


class Sites(harness.LiveTest):
    """Goal: each allocator function's blocks count once, at the line that asked for them."""

    def check_sites(self, report):
        """All of sites.c, and nothing else."""
        for function, count, size in SITES:
            with self.subTest(function=function):
                site = self.assert_site(report, function, count, count * size, count, 0,
                                        line=harness.line_of("sites.c", function))
                self.assertEqual(site["frames"][0]["function"], function)
        self.assert_live(report, *total(SITES + [STRDUP]))
        self.assert_no_loss(report)

    def test_every_allocator_function_counts_exactly(self):
        count = total(SITES + [STRDUP])[0] + BALANCED_CNT + REALLOC_FIRST_CNT
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                report = self.trace(self.victim("sites"), "DONE leaks", args=args)
                self.check_sites(report)
                self.assertEqual(report["totals"]["alloc_count"], count)
                self.assertEqual(report["totals"]["free_count"], BALANCED_CNT + REALLOC_FIRST_CNT)

    def test_strdup_is_an_allocation_of_its_caller(self):
        report = self.trace(self.victim("sites"), "DONE leaks")
        site = self.assert_site(report, "leak_strdup", 151, 151 * 37, 151, 0,
                                line=harness.line_of("sites.c", "leak_strdup"), anywhere=True)
        self.assertIn("strdup", site["frames"][0]["function"])
        self.assertEqual(harness.functions(site)[1:3], ["leak_strdup", "main"])

    def test_operator_new_counts_exactly(self):
        report = self.trace(self.victim("sites_cxx"), "DONE leaks")
        # All forms of operator new end in one that calls malloc, or aligned_alloc.
        sites = harness.find_sites(report, "operator new")
        self.assertEqual(sorted((site["live_count"], site["live_bytes"]) for site in sites),
                         [(count, count * size) for _, count, size in CXX_SITES],
                         harness.describe(report))
        self.assert_live(report, *total(CXX_SITES + [MEMBER]))
        self.assert_no_loss(report)

    def test_operator_new_is_an_allocation_of_its_caller(self):
        report = self.trace(self.victim("sites_cxx"), "DONE leaks")
        for function, count, size in CXX_SITES:
            with self.subTest(function=function):
                self.assert_site(report, function, count, count * size, count, 0, anywhere=True)

    def test_cxx_names_are_demangled(self):
        report = self.trace(self.victim("sites_cxx"), "DONE leaks")
        function, count, size = MEMBER
        self.assert_site(report, function, count, count * size, count, 0,
                         line=harness.line_of("sites_cxx.cc", "leak_member"))

    def test_two_traces_of_one_process_see_the_same(self):
        victim = self.victim("sites")
        first = self.unfreed("-p", victim.pid)
        second = self.unfreed("-p", victim.pid)
        victim.go("DONE leaks")
        self.check_sites(first.last_report())
        self.check_sites(second.last_report())

    def test_a_second_trace_starts_with_nothing(self):
        victim = self.victim("batches", 11, 101, 13, 103, 17, 107)
        self.assert_live(self.trace(victim, "DONE a"), 11, 11 * 101)
        self.assert_live(self.trace(victim, "DONE b"), 13, 13 * 103)
        self.assert_live(self.trace(victim, "DONE c", "DONE free a"), 17, 17 * 107)

    def test_two_processes_of_one_program_are_told_apart(self):
        one = self.victim("batches", 11, 101, 13, 103, 17, 107)
        two = self.victim("batches", 19, 109, 23, 113, 29, 127)
        tool = self.unfreed("-p", f"{one.pid},{two.pid}", "--per-process")
        one.go("DONE a")
        two.go("DONE a")
        one.go("DONE b")
        report = tool.last_report()
        self.assert_site(report, "batch_a", 11, 11 * 101, pid=one.pid)
        self.assert_site(report, "batch_b", 13, 13 * 103, pid=one.pid)
        self.assert_site(report, "batch_a", 19, 19 * 109, pid=two.pid)
        self.assert_no_site(report, "batch_b", pid=two.pid)
        self.assertEqual(sorted(target["pid"] for target in report["targets"]),
                         sorted([one.pid, two.pid]))

    def test_processes_that_were_not_named_are_not_traced(self):
        named = self.victim("batches", 11, 101)
        other = self.victim("batches", 13, 103)
        tool = self.unfreed("-p", named.pid)
        named.go("DONE a")
        other.go("DONE a")
        self.assert_live(tool.last_report(), 11, 11 * 101)


class Nested(harness.LiveTest):
    """Goal: an allocator that calls another makes one allocation."""

    def test_an_interposed_allocator_counts_once(self):
        wrapper = harness.program("wrapper.so")
        victim = self.victim("sites", preload=wrapper)
        report = self.trace(victim, "DONE leaks", args=["-O", wrapper])
        for function, count, size in SITES:
            with self.subTest(function=function):
                site = self.assert_site(report, function, count, count * size, count, 0)
                self.assertEqual(site["frames"][0]["function"], function)
        self.assert_live(report, *total(SITES + [STRDUP]))
        self.assert_no_loss(report)

    def test_an_interposed_allocator_without_probes_counts_once(self):
        victim = self.victim("sites", preload=harness.program("wrapper.so"))
        report = self.trace(victim, "DONE leaks")
        self.assert_live(report, *total(SITES + [STRDUP]))
        self.assert_no_loss(report)


class Edges(harness.LiveTest):
    """Goal: what allocates nothing counts nothing."""

    def setUp(self):
        super().setUp()
        self.edges = self.victim("edges")

    def test_failed_calls_count_nothing(self):
        report = self.trace(self.edges, "DONE failing")
        self.assert_live(report, 0, 0)
        self.assertEqual(report["totals"]["alloc_count"], 0)
        self.assertEqual(report["totals"]["free_count"], 0)
        self.assert_no_loss(report)

    def test_free_of_null_counts_nothing(self):
        self.edges.go("DONE failing")
        report = self.trace(self.edges, "DONE free_null")
        self.assert_live(report, 0, 0)
        self.assertEqual(report["totals"]["free_count"], 0)

    def test_blocks_of_no_bytes_are_blocks(self):
        self.edges.go("DONE failing")
        self.edges.go("DONE free_null")
        report = self.trace(self.edges, "DONE zero")
        self.assert_site(report, "zero_bytes", 29, 0, 29, 0)
        self.assert_site(report, "zero_bytes_calloc", 31, 0, 31, 0)
        self.assert_live(report, 60, 0)

    def test_aligned_blocks_are_freed(self):
        for gate in ("DONE failing", "DONE free_null", "DONE zero"):
            self.edges.go(gate)
        report = self.trace(self.edges, "DONE aligned")
        self.assert_live(report, 37, 14356)
        self.assertEqual(report["totals"]["alloc_count"], 307)
        self.assertEqual(report["totals"]["free_count"], 270)
        self.assert_no_loss(report)


    def test_a_failed_reallocarray_leaves_the_block(self):
        """Also if the product of its arguments is 0 in a machine word."""
        for gate in ("DONE failing", "DONE free_null", "DONE zero", "DONE aligned"):
            self.edges.go(gate)
        report = self.trace(self.edges, "DONE overflow")
        self.assert_site(report, "overflow_to_zero", 17, 17 * 53, 41, 24)
        self.assert_live(report, 17, 17 * 53)
        self.assert_no_loss(report)


class Limits(harness.LiveTest):
    """Goal: what does not fit is counted as a loss, by name, and never twice."""

    def test_a_full_live_table_loses_exactly_what_does_not_fit(self):
        victim = self.victim("batches", 5003, 101, 0, 0, 503, 103)
        tool = self.unfreed("-p", victim.pid, "--max-blocks", 1024, interval="100ms")
        victim.go("DONE a")
        report = tool.fresh_report()
        kept = report["totals"]["live_count"]
        # A hash table of the kernel's may keep a few more or less; never none, never all.
        self.assertTrue(0 < kept <= 1024, harness.describe(report))
        self.assertEqual(report["losses"].get("live_table_full"), 5003 - kept)
        self.assert_site(report, "batch_a", kept, kept * 101, kept, 0)
        victim.go("DONE b")
        victim.go("DONE c")
        victim.go("DONE free a")
        report = tool.fresh_report()
        self.assert_no_site(report, "batch_a")
        lost = report["losses"]["live_table_full"]
        kept_c = report["totals"]["live_count"]
        self.assertEqual(lost, 5003 - kept + 503 - kept_c)
        victim.go("DONE free b")
        victim.go("DONE c again")
        report = tool.last_report()
        self.assert_site(report, "batch_c", kept_c + 503, (kept_c + 503) * 103)
        self.assertEqual(report["losses"]["live_table_full"], lost)

    def test_every_stack_is_a_site(self):
        report = self.trace(self.victim("stacks", 101, 3), "DONE stacks")
        self.assert_live(report, 303, 303 * 907)
        self.assertEqual(len(report["sites"]), 101)
        self.assertEqual({site["live_count"] for site in report["sites"]}, {3})
        self.assertEqual(len({site["id"] for site in report["sites"]}), 101)
        self.assert_no_loss(report)

    def test_a_full_site_table_loses_exactly_what_does_not_fit(self):
        victim = self.victim("stacks", 101, 3)
        report = self.trace(victim, "DONE stacks", args=["--max-sites", 16])
        kept = report["totals"]["live_count"]
        full = ("site_table_full", "stack_table_full")
        self.assertTrue(0 < kept <= 16 * 3, harness.describe(report))
        self.assertEqual(sum(report["losses"].get(name, 0) for name in full), 303 - kept)
        self.assert_no_loss(report, allowed=full)


