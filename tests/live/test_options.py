# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: each option does what DESIGN.md says, and the report has every field that it promises."""

import datetime
import os
import signal
import time

import harness

REPORT_FIELDS = {"unfreed": int, "time": str, "elapsed_s": (int, float), "targets": list,
                 "totals": dict, "losses": dict, "cost": dict, "sites": list, "last": bool}
TARGET_FIELDS = {"pid": int, "comm": str, "exe": str, "container": str, "cgroup": str,
                 "container_id": str, "pod": str, "pod_namespace": str, "unit": str,
                 "rss_bytes": (int, type(None))}
TOTALS_FIELDS = {name: int for name in ("live_bytes", "live_count", "alloc_bytes", "alloc_count",
                                        "free_count", "sites")}
NUMBER_OR_NULL = (int, float, type(None))
COST_FIELDS = {"events": int, "bpf_ns": NUMBER_OR_NULL, "cpu_share": NUMBER_OR_NULL,
               "trap_ns": NUMBER_OR_NULL, "other_events": int, "other_cpu_share": NUMBER_OR_NULL,
               "tool_cpu_share": NUMBER_OR_NULL, "max_cpu_share": NUMBER_OR_NULL,
               "on_share": (int, float), "pauses": int, "window_sample_bytes": NUMBER_OR_NULL}
SITE_FIELDS = {"id": str, "pid": int, "comm": str, "live_bytes": int, "live_count": int,
               "alloc_bytes": int, "alloc_count": int, "free_count": int,
               "oldest_s": NUMBER_OR_NULL, "ages": list, "growth_bytes_per_s": NUMBER_OR_NULL,
               "verdict": str, "why": str, "stack_end": str, "frames": list}
AGE_FIELDS = {"older_than_s": (int, float), "bytes": int, "count": int}
FRAME_FIELDS = {"kind": str, "module": str, "build_id": str, "offset": (int, type(None)),
                "function": str, "file": str, "line": (int, type(None)), "inlined": bool}


class Fields(harness.LiveTest):
    """The JSON report."""

    def check_fields(self, where, value, fields):
        """All the fields are there, of their types."""
        for name, kind in fields.items():
            self.assertIn(name, value, where)
            self.assertIsInstance(value[name], kind, f"{where}.{name}")

    def test_every_promised_field_is_there(self):
        victim = self.victim("sites")
        tool = self.unfreed("-p", victim.pid, interval="200ms")
        victim.go("DONE leaks")
        tool.fresh_report()
        result = tool.stop()
        self.assertGreaterEqual(len(result.reports), 3)
        for report in result.reports:
            self.check_fields("report", report, REPORT_FIELDS)
            self.assertEqual(report["unfreed"], 1)
            datetime.datetime.fromisoformat(report["time"].replace("Z", "+00:00"))
            self.check_fields("totals", report["totals"], TOTALS_FIELDS)
            self.check_fields("cost", report["cost"], COST_FIELDS)
            for target in report["targets"]:
                self.check_fields("target", target, TARGET_FIELDS)
            for site in report["sites"]:
                self.check_fields("site", site, SITE_FIELDS)
                int(site["id"], 16)
                for age in site["ages"]:
                    self.check_fields("age", age, AGE_FIELDS)
                for frame in site["frames"]:
                    self.check_fields("frame", frame, FRAME_FIELDS)
        target = result.reports[-1]["targets"][0]
        self.assertEqual((target["pid"], target["comm"], target["exe"]),
                         (victim.pid, "sites", os.path.realpath(harness.program("sites"))))
        self.assertGreater(target["rss_bytes"], 0)

    def test_totals_are_the_sums_of_all_sites(self):
        victim = self.victim("sites")
        report = self.trace(victim, "DONE leaks")
        for name in ("live_bytes", "live_count"):
            self.assertEqual(report["totals"][name],
                             sum(site[name] for site in report["sites"]), name)
        self.assertEqual(report["totals"]["sites"], len(report["sites"]))
        for site in report["sites"]:
            self.assertEqual(site["live_count"], site["alloc_count"] - site["free_count"])

    def test_totals_count_what_top_leaves_out(self):
        victim = self.victim("sites")
        whole = self.trace(victim, "DONE leaks")["totals"]
        victim = self.victim("sites")
        tool = self.unfreed("-p", victim.pid, top=3)
        victim.go("DONE leaks")
        report = tool.last_report()
        self.assertEqual(len(report["sites"]), 3)
        self.assertEqual(report["totals"], whole)

    def test_a_site_has_the_same_id_in_every_report(self):
        victim = self.victim("batches", 11, 101, 13, 103)
        tool = self.unfreed("-p", victim.pid, interval="100ms")
        victim.go("DONE a")
        first = self.site_by(tool.fresh_report(), "batch_a")["id"]
        victim.go("DONE b")
        self.assertEqual(self.site_by(tool.last_report(), "batch_a")["id"], first)

    def test_an_empty_report_says_what_was_attached_and_seen(self):
        victim = self.victim("batches")
        report = self.trace(victim, "DONE a")
        self.assert_live(report, 0, 0)
        self.assertEqual([target["pid"] for target in report["targets"]], [victim.pid])
        self.assertEqual(report["cost"]["events"], 0)


class Reports(harness.LiveTest):
    """How many, how often, whereto."""

    def test_count_ends_the_trace(self):
        victim = self.victim("batches")
        result = self.start("-p", victim.pid, "-n", 3, interval="200ms").wait()
        harness.only_last(result)
        self.assertEqual(len(result.reports), 3)
        elapsed = [report["elapsed_s"] for report in result.reports]
        self.assertTrue(0.15 <= elapsed[0] < elapsed[1] < elapsed[2], elapsed)
        self.assertGreaterEqual(elapsed[2], 0.55)

    def test_duration_ends_the_trace(self):
        victim = self.victim("batches")
        began = time.monotonic()
        result = self.start("-p", victim.pid, "-d", "1s", interval="300ms").wait()
        self.assertGreaterEqual(time.monotonic() - began, 0.95)
        report = harness.only_last(result)
        self.assertGreaterEqual(report["elapsed_s"], 0.95)
        self.assertGreaterEqual(len(result.reports), 3)

    def test_sigterm_ends_it_as_sigint_does(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number):
                victim = self.victim("batches", 11, 101)
                tool = self.unfreed("-p", victim.pid)
                victim.go("DONE a")
                self.assert_live(harness.only_last(tool.stop(number)), 11, 11 * 101)

    def test_reports_go_to_stdout_and_the_rest_does_not(self):
        victim = self.victim("batches", 11, 101)
        tool = self.unfreed("-p", victim.pid, output=False)
        victim.go("DONE a")
        result = tool.stop()
        self.assertEqual(result.stdout.count('{"unfreed"'), len(result.stdout.split("\n")))
        self.assert_live(result.reports[-1], 11, 11 * 101)

    def test_a_closed_pipe_ends_the_trace(self):
        victim = self.victim("batches")
        read_end, write_end = os.pipe()
        tool = self.start("-p", victim.pid, output=False, interval="100ms", stdout=write_end)
        os.close(write_end)
        tool.wait_attached()
        os.close(read_end)
        self.assertIn(tool.proc.wait(harness.TIMEOUT_S), (0, 1, -signal.SIGPIPE))

    def test_text_names_functions_and_numbers(self):
        victim = self.victim("sites")
        tool = self.unfreed("-p", victim.pid, fmt="text")
        victim.go("DONE leaks")
        tool.stop()
        text = tool.text()
        self.assertIn("leak_pvalloc", text)
        self.assertIn("leak_malloc", text)
        self.assertIn("sites.c:%d" % harness.line_of("sites.c", "leak_malloc"), text)
        self.assertIn("149", text)
        self.assertNotIn("\x1b", text)

    def test_quiet_says_less_and_verbose_more(self):
        victim = self.victim("batches")
        said = [len(self.start("-p", victim.pid, "-n", 1, *args, interval="50ms").wait().stderr)
                for args in (["-q", "-q"], ["-q"], [], ["-v"])]
        self.assertEqual(said, sorted(said))
        self.assertEqual(said[0], 0)
        self.assertLess(said[2], said[3])

    def test_the_trace_ends_with_its_process(self):
        victim = self.victim("batches", 11, 101)
        tool = self.unfreed("-p", victim.pid)
        victim.finish()
        harness.only_last(tool.wait())


class Selection(harness.LiveTest):
    """Which blocks and which sites."""

    def three(self, *args, sizes=(13, 101, 7, 100003, 1009, 17), top=100000):
        """The last report on a, b and c."""
        victim = self.victim("batches", *sizes)
        tool = self.unfreed("-p", victim.pid, *args, top=top)
        for gate in ("DONE a", "DONE b", "DONE c"):
            victim.go(gate)
        return tool.last_report()

    def names(self, report):
        """The sites' functions in the report's order."""
        return [site["frames"][0]["function"] for site in report["sites"]]

    def test_sites_are_sorted_by_size(self):
        self.assertEqual(self.names(self.three()), ["batch_b", "batch_c", "batch_a"])
        self.assertEqual(self.names(self.three("-S", "size", top=1)), ["batch_b"])

    def test_sites_are_sorted_by_count(self):
        self.assertEqual(self.names(self.three("-S", "count")), ["batch_c", "batch_a", "batch_b"])
        self.assertEqual(self.names(self.three("--sort", "count", top=1)), ["batch_c"])

    def test_sites_are_sorted_by_age(self):
        victim = self.victim("batches", 13, 101, 7, 100003, 1009, 17)
        tool = self.unfreed("-p", victim.pid, "-S", "age")
        for gate in ("DONE a", "DONE b", "DONE c"):
            victim.go(gate)
            time.sleep(1.5)
        report = tool.last_report()
        self.assertEqual(self.names(report), ["batch_a", "batch_b", "batch_c"])
        oldest = [site["oldest_s"] for site in report["sites"]]
        self.assertTrue(oldest[0] > oldest[1] > oldest[2], oldest)

    def test_sites_are_sorted_by_growth(self):
        victim = self.victim("batches", 13, 101, 7, 100003)
        tool = self.unfreed("-p", victim.pid, "-S", "growth", interval="300ms", top=1)
        victim.go("DONE a")
        tool.fresh_report()
        seen = len(tool.reports())
        victim.go("DONE b")
        tool.fresh_report()
        self.assertIn(["batch_b"], [self.names(report) for report in tool.reports()[seen:]])
        grown = [site["growth_bytes_per_s"] for report in tool.reports()[seen:]
                 for site in report["sites"] if self.names(report) == ["batch_b"]]
        self.assertGreater(max(rate or 0 for rate in grown), 0)

    def test_sizes_out_of_range_are_left_out(self):
        sizes = (11, 89, 13, 101, 17, 211)
        report = self.three("-z", 101, "-Z", 210, sizes=sizes)
        self.assertEqual(self.names(report), ["batch_b"])
        self.assert_live(report, 13, 13 * 101)
        report = self.three("--max-size", 101, sizes=sizes)
        self.assert_live(report, 24, 11 * 89 + 13 * 101)
        report = self.three("--min-size", 102, sizes=sizes)
        self.assert_live(report, 17, 17 * 211)
        self.assert_no_loss(report)

    def test_sizes_have_units(self):
        report = self.three("-z", "1K", "-Z", "64K", sizes=(11, 1023, 13, 1024, 17, 65537))
        self.assert_live(report, 13, 13 * 1024)

    def test_frees_of_blocks_out_of_range_do_no_harm(self):
        victim = self.victim("batches", 101, 89, 103, 101, 107, 89)
        report = self.trace(victim, "DONE a", "DONE b", "DONE c", "DONE free a",
                            args=["-z", 100])
        self.assert_live(report, 103, 103 * 101)
        self.assert_no_loss(report)


class Ages(harness.LiveTest):
    """Old blocks and young ones."""

    def test_only_blocks_that_are_old_enough(self):
        victim = self.victim("batches", 101, 1009, 103, 1013)
        tool = self.unfreed("-p", victim.pid, "-o", "2s")
        victim.go("DONE a")
        time.sleep(3.5)
        began = time.monotonic()
        victim.go("DONE b")
        report = tool.last_report()
        if time.monotonic() - began > 1.5:
            self.skipTest("the machine stood still while the young blocks grew old")
        self.assert_live(report, 101, 101 * 1009)
        self.assert_site(report, "batch_a", 101, 101 * 1009)
        self.assert_no_site(report, "batch_b")

    def test_young_blocks_grow_old(self):
        victim = self.victim("batches", 101, 1009, 103, 1013)
        tool = self.unfreed("-p", victim.pid, "-o", "1s")
        victim.go("DONE a")
        victim.go("DONE b")
        time.sleep(2.5)
        report = tool.last_report()
        self.assert_site(report, "batch_a", 101, 101 * 1009)
        self.assert_site(report, "batch_b", 103, 103 * 1013)

    def test_ages_add_up(self):
        victim = self.victim("batches", 101, 1009, 0, 0, 103, 1013)
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE a")
        victim.go("DONE b")
        time.sleep(2.8)
        victim.go("DONE c")
        report = tool.last_report()
        site = self.site_by(report, "batch_a")
        self.assertGreaterEqual(site["oldest_s"], 1.5)
        bounds = [age["older_than_s"] for age in site["ages"]]
        self.assertEqual(bounds, sorted(bounds))
        counts = [age["count"] for age in site["ages"]]
        self.assertEqual(counts, sorted(counts, reverse=True), "older ones are among the younger")
        self.assertLessEqual(max(counts), 101)
        for age in site["ages"]:
            self.assertEqual(age["bytes"], age["count"] * 1009)
            if age["older_than_s"] <= 1:
                self.assertEqual(age["count"], 101)
        self.assertLess(self.site_by(report, "batch_c")["oldest_s"], site["oldest_s"])


class Objects(harness.LiveTest):
    """Other allocators."""

    def test_an_object_with_a_prefix_is_traced(self):
        lib = harness.program("prefixed.so")
        victim = self.victim("prefixed", lib)
        report = self.trace(victim, "DONE leaks", args=["-O", lib, "--prefix", "xx_"])
        self.assert_site(report, "leak_xx_malloc", 701, 701 * 199, 701, 0)
        self.assert_site(report, "leak_xx_calloc", 709, 709 * 17 * 13, 709, 0)
        self.assert_site(report, "leak_xx_realloc", 719, 719 * 191)
        self.assert_no_site(report, "xx_balanced")
        self.assert_no_loss(report)

    def test_an_object_adds_to_the_c_library(self):
        """-O names allocators beside the ones that are found; the prefix is the object's."""
        lib = harness.program("prefixed.so")
        victim = self.victim("prefixed", lib)
        report = self.trace(victim, "DONE leaks", args=["-O", lib, "--prefix", "xx_"])
        self.assert_site(report, "leak_libc_malloc", 733, 733 * 193, 733, 0)
        self.assert_live(report, 701 + 709 + 719 + 733,
                         701 * 199 + 709 * 221 + 719 * 191 + 733 * 193)

    def test_without_the_object_its_blocks_are_not_seen(self):
        victim = self.victim("prefixed", harness.program("prefixed.so"))
        report = self.trace(victim, "DONE leaks")
        self.assert_live(report, 733, 733 * 193)
