# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: a forked child has a copy of its parent's blocks, a new image has none, and neither
changes what the parent has."""

import os
import re

import harness

SHARED = 1009
SIZE = 503


def max_heirs():
    """How many living children a process's blocks are kept apart for (include/contract.h)."""
    path = os.path.join(harness.ROOT, "include", "contract.h")
    with open(path, encoding="utf-8") as text:
        return int(re.search(r"#define UF_MAX_HEIRS\s+(\d+)", text.read()).group(1))


class Fork(harness.LiveTest):
    """fork without exec."""

    def follow(self, mode, *args):
        """A victim with its shared blocks, traced with its children."""
        victim = self.victim("forks", mode)
        tool = self.unfreed("-p", victim.pid, "--follow", "--per-process", *args, interval="100ms")
        victim.go("DONE shared")
        return victim, tool

    def check_parent(self, report, pid):
        """After it has freed 401 and allocated 313."""
        self.assert_site(report, "alloc_shared", SHARED - 401, (SHARED - 401) * SIZE, pid=pid)
        self.assert_site(report, "alloc_in_parent", 313, 313 * 491, 313, 0, pid=pid)
        for function in ("alloc_in_child", "alloc_in_grandchild", "realloc_shared"):
            self.assert_no_site(report, function, pid=pid)

    def check_fork(self, *args):
        """Both free some of the shared blocks in turns."""
        victim, tool = self.follow("fork", *args)
        child, _ = victim.go("DONE fork")

        report = tool.fresh_report()
        self.assert_site(report, "alloc_shared", SHARED, SHARED * SIZE, pid=victim.pid)
        self.assert_site(report, "alloc_shared", SHARED - 211, (SHARED - 211) * SIZE, pid=child)
        self.assert_site(report, "alloc_in_child", 307, 307 * 499, 307, 0, pid=child)

        victim.go("DONE parent")
        report = tool.fresh_report()
        self.check_parent(report, victim.pid)
        self.assert_site(report, "alloc_shared", SHARED - 211, (SHARED - 211) * SIZE, pid=child)
        self.assert_site(report, "alloc_in_child", 307, 307 * 499, pid=child)
        self.assert_no_site(report, "alloc_in_parent", pid=child)

        victim.go("DONE child")
        report = tool.last_report()
        self.check_parent(report, victim.pid)
        left = SHARED - 211 - 89 - 53
        self.assert_site(report, "alloc_shared", left, left * SIZE, pid=child)
        self.assert_site(report, "realloc_shared", 53, 53 * 2011, pid=child)
        self.assert_site(report, "alloc_in_child", 307, 307 * 499, pid=child)
        self.assertEqual({target["pid"] for target in report["targets"]}, {victim.pid, child})
        self.assert_no_loss(report)

    def test_parent_and_child_each_have_their_own_blocks(self):
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                self.check_fork(*args)

    def test_a_grandchild_inherits_from_both(self):
        victim, tool = self.follow("grandchild")
        child, grandchild = victim.go("DONE fork")
        self.assertNotEqual(child, grandchild)
        victim.go("DONE parent")
        victim.go("DONE child")
        report = tool.last_report()
        self.check_parent(report, victim.pid)
        self.assert_site(report, "alloc_shared", SHARED - 211, (SHARED - 211) * SIZE, pid=child)
        self.assert_site(report, "alloc_in_child", 307, 307 * 499, pid=child)
        self.assert_no_site(report, "alloc_in_grandchild", pid=child)
        left = SHARED - 211 - 199 - 101
        self.assert_site(report, "alloc_shared", left, left * SIZE, pid=grandchild)
        self.assert_site(report, "alloc_in_child", 307, 307 * 499, pid=grandchild)
        self.assert_site(report, "alloc_in_grandchild", 311, 311 * 497, pid=grandchild)
        self.assert_no_loss(report)

    def test_what_a_grandparent_frees_after_the_parent_has_gone(self):
        """As with a daemon, which forks twice."""
        victim, tool = self.follow("middle")
        (last,) = victim.go("DONE fork")
        tool.fresh_report()
        report = tool.fresh_report()
        self.assert_site(report, "alloc_shared", SHARED, SHARED * SIZE, pid=last)
        victim.go("DONE parent")
        report = tool.fresh_report()
        self.assert_site(report, "alloc_shared", SHARED - 401, (SHARED - 401) * SIZE,
                         pid=victim.pid)
        self.assert_site(report, "alloc_shared", SHARED, SHARED * SIZE, pid=last)
        victim.go("DONE child")
        report = tool.last_report()
        self.assert_site(report, "alloc_shared", SHARED - 101, (SHARED - 101) * SIZE, pid=last)
        self.assert_no_loss(report)

    def test_a_vfork_child_frees_in_its_parents_memory(self):
        """Another child has inherited the same blocks, and frees them for itself."""
        victim, tool = self.follow("vfree")
        (child,) = victim.go("DONE vfork")
        report = tool.fresh_report()
        self.assert_site(report, "alloc_shared", SHARED - 211, (SHARED - 211) * SIZE,
                         pid=victim.pid)
        self.assert_site(report, "alloc_in_vfork_child", 13, 13 * 541, pid=victim.pid)
        self.assert_site(report, "alloc_shared", SHARED, SHARED * SIZE, pid=child)
        victim.go("DONE child")
        report = tool.last_report()
        self.assert_site(report, "alloc_shared", SHARED - 211, (SHARED - 211) * SIZE, pid=child)
        self.assert_site(report, "alloc_in_child", 307, 307 * 499, pid=child)
        self.assert_site(report, "alloc_in_vfork_child", 13, 13 * 541, pid=victim.pid)
        self.assert_no_loss(report)

    def test_inherited_blocks_are_freed_once_even_if_the_live_table_is_full(self):
        """The parent's blocks fill it; the child has no room to remember what it has freed."""
        victim, tool = self.follow("again", "--max-blocks", SHARED + 3)
        (child,) = victim.go("DONE again")
        report = tool.last_report()
        sites = [site for site in harness.find_sites(report, "alloc_shared")
                 if site["pid"] == child]
        count = sum(site["live_count"] for site in sites)
        # What could not be kept may be missing, but never more than that.
        self.assertTrue(SHARED - 211 <= count <= SHARED, harness.describe(report))
        self.assertEqual(sum(site["live_bytes"] for site in sites), count * SIZE)
        for site in report["sites"]:
            self.assertLessEqual(site["free_count"], site["alloc_count"])

    def test_without_follow_a_child_is_nobody(self):
        victim = self.victim("forks", "fork")
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE shared")
        child, _ = victim.go("DONE fork")
        victim.go("DONE parent")
        victim.go("DONE child")
        report = tool.last_report()
        self.check_parent(report, victim.pid)
        self.assertEqual([target["pid"] for target in report["targets"]], [victim.pid])
        self.assertNotIn(child, {site["pid"] for site in report["sites"]})
        self.assert_no_loss(report)

    def test_an_orphan_keeps_its_inheritance(self):
        victim, tool = self.follow("orphan")
        (orphan,) = victim.go("DONE orphan")
        victim.proc.wait(harness.TIMEOUT_S)
        report = tool.fresh_report()
        self.assert_site(report, "alloc_shared", SHARED - 211, (SHARED - 211) * SIZE, pid=orphan)
        self.assert_site(report, "alloc_in_child", 307, 307 * 499, 307, 0, pid=orphan)
        report = tool.last_report()
        self.assert_site(report, "alloc_shared", SHARED - 211, (SHARED - 211) * SIZE, pid=orphan)
        self.assert_no_loss(report)

    def check_serial(self, *args):
        """101 children in a row leave the parent as it was."""
        victim = self.victim("forks", "serial")
        tool = self.unfreed("-p", victim.pid, *args)
        victim.go("DONE shared")
        victim.go("DONE serial")
        report = tool.last_report()
        self.assert_site(report, "serial_mode", 101, 101 * SIZE, 101, 0, pid=victim.pid,
                         line=harness.line_of("forks.c", "serial_mode"))
        self.assert_site(report, "alloc_shared", SHARED - 101, (SHARED - 101) * SIZE,
                         pid=victim.pid)
        self.assert_site(report, "alloc_in_parent", 313, 313 * 491, pid=victim.pid)
        self.assert_no_site(report, "alloc_in_child", pid=victim.pid)
        self.assert_no_loss(report)

    def test_children_in_a_row(self):
        self.check_serial("--follow", "--per-process")

    def test_children_in_a_row_without_follow(self):
        self.check_serial()

    def many(self, count):
        """The report on a process with so many living children, each of which has freed 211."""
        victim = self.victim("forks", "many", count)
        tool = self.unfreed("-p", victim.pid, "--follow", "--per-process")
        victim.go("DONE shared")
        victim.go("DONE many")
        report = tool.last_report()
        self.assert_site(report, "alloc_shared", SHARED - 401, (SHARED - 401) * SIZE,
                         pid=victim.pid)
        self.assertEqual(len(report["targets"]), 1 + count)
        return report

    def test_forking_while_other_threads_allocate(self):
        for args in (["--follow", "--per-process"], []):
            with self.subTest(args=args):
                victim = self.victim("churn", "forking", 4)
                tool = self.unfreed("-p", victim.pid, *args)
                victim.go("DONE quiet")
                victim.go("DONE leaks")
                report = tool.last_report()
                self.assert_site(report, "leak_when_quiet", 10007, 10007 * 601, pid=victim.pid)
                self.assertEqual([site["live_count"] for site in report["sites"]
                                  if site["pid"] == victim.pid], [10007],
                                 harness.describe(report))
                self.assert_no_loss(report)

    def test_children_forked_in_the_middle_of_other_threads_calls(self):
        """Each has what had been allocated, but for the calls that were under way."""
        victim = self.victim("churn", "growing", 2)
        tool = self.unfreed("-p", victim.pid, "--follow", "--per-process")
        numbers = victim.go("DONE growing")
        report = tool.last_report()
        for pid, ended, begun in zip(numbers[::3], numbers[1::3], numbers[2::3]):
            count, size = harness.sums(harness.find_sites(report, "grow", pid=pid))
            self.assertTrue(ended <= count <= begun, (pid, ended, count, begun))
            self.assertEqual(size, count * 701)
        self.assertEqual(numbers[-3], victim.pid)
        self.assertEqual(len(numbers), 3 * 24)
        self.assert_no_loss(report)

    def test_many_children_at_a_time(self):
        report = self.many(11)
        self.assertEqual(sorted(site["live_count"] for site in report["sites"]),
                         [SHARED - 401] + 11 * [SHARED - 211], harness.describe(report))
        self.assert_no_loss(report)

    def test_more_children_at_a_time_than_can_be_followed_are_said(self):
        report = self.many(max_heirs() + 7)
        self.assertEqual(report["losses"].get("heirs_full"), 7)
        self.assert_no_loss(report, allowed=["heirs_full"])

    def test_a_long_line_of_descendants(self):
        for depth in (2, 4, 7):
            with self.subTest(depth=depth):
                victim = self.victim("forks", "chain", depth)
                tool = self.unfreed("-p", victim.pid, "--follow", "--per-process")
                victim.go("DONE shared")
                (last,) = victim.go("DONE chain")
                report = tool.last_report()
                self.assert_site(report, "alloc_in_child", 307, 307 * 499, pid=last)
                site = self.site_by(report, "alloc_shared", pid=last)
                # Past some depth it need not be exact, but then it must say so.
                if not any(report["losses"].values()):
                    self.assertEqual(site["live_count"], SHARED - 211, harness.describe(report))


class Exec(harness.LiveTest):
    """A new image has a memory of its own."""

    def check_new_image(self, mode, parents_too):
        """The child's new image has its blocks only; the parent has what it had."""
        victim = self.victim("forks", mode)
        tool = self.unfreed("-p", victim.pid, "--follow", "--per-process")
        victim.go("DONE shared")
        (child,) = victim.go("DONE fork")
        report = tool.last_report()
        self.assert_site(report, "alloc_in_image", 317, 317 * 547, 317, 0, pid=child)
        self.assertEqual({site["live_bytes"] for site in report["sites"] if site["pid"] == child},
                         {317 * 547}, harness.describe(report))
        self.assert_site(report, "alloc_shared", SHARED, SHARED * SIZE, SHARED, 0, pid=victim.pid)
        expected = SHARED
        if parents_too:
            self.assert_site(report, "alloc_in_vfork_child", 13, 13 * 541, 13, 0, pid=victim.pid)
            expected += 13
        self.assertEqual(sum(site["live_count"] for site in report["sites"]
                             if site["pid"] == victim.pid), expected, harness.describe(report))
        self.assert_no_loss(report)

    def test_fork_and_exec(self):
        self.check_new_image("exec", False)

    def test_vfork_and_exec(self):
        """What the child allocates before exec is in its parent's memory."""
        self.check_new_image("vfork", True)

    def test_without_follow_a_new_image_is_nobody(self):
        # What the vfork child allocates may be missing: the kernel's own filter is by process.
        for mode in ("exec", "vfork"):
            with self.subTest(mode=mode):
                victim = self.victim("forks", mode)
                tool = self.unfreed("-p", victim.pid)
                victim.go("DONE shared")
                victim.go("DONE fork")
                report = tool.last_report()
                self.assert_site(report, "alloc_shared", SHARED, SHARED * SIZE, SHARED, 0)
                self.assertEqual([target["pid"] for target in report["targets"]], [victim.pid])
                self.assert_no_loss(report)

    def test_a_process_that_executes_drops_its_blocks(self):
        victim = self.victim("forks", "self")
        tool = self.unfreed("-p", victim.pid, interval="100ms")
        victim.go("DONE shared")
        report = tool.fresh_report()
        self.assert_site(report, "alloc_shared", SHARED, SHARED * SIZE)
        victim.go("DONE image")
        report = tool.last_report()
        self.assert_no_site(report, "alloc_shared")
        self.assert_site(report, "alloc_in_image", 317, 317 * 547, 317, 0, pid=victim.pid)
        self.assert_live(report, 317, 317 * 547)
        self.assert_no_loss(report)
