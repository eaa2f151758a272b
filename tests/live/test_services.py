# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: what several processes of one program keep at one place is one site, the same one while
processes come and go; --per-process tells them apart; nothing else is joined."""

import os
import shutil

import harness
from test_fork import SHARED, SIZE

PYTHON = "/usr/bin/python3"

# A master that forks workers after it has read its code. Each keeps blocks and waits for its end.
WORKERS = r"""
import os
kept = []
def keep(i):
    kept.append("%d" % (i % 10) * 4999)
def work(n):
    for i in range(n):
        keep(i)
def start(n):
    end, let_end = os.pipe()
    done, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(let_end)
        work(n)
        os.write(tell, b"d")
        os.read(end, 1)
        os._exit(0)
    os.close(end)
    os.read(done, 1)
    return pid, let_end
def gate(*words):
    print(*words, flush=True)
    if not os.read(0, 1):
        os._exit(0)
gate("READY")
workers = []
for counts in ((101, 103, 107), (109,)):
    for n in counts:
        workers.append(start(n))
    gate("DONE work", *[pid for pid, _ in workers])
    if len(workers) == 3:
        os.write(workers[0][1], b"e")
        os.waitpid(workers[0][0], 0)
        gate("DONE end")
"""
KEEP_LINE = 5

# One process that keeps blocks, for several to be started.
ALONE = r"""
import os, sys
kept = []
def keep(i):
    kept.append("%d" % (i % 10) * 4999)
def gate(word):
    print(word, flush=True)
    os.read(0, 1)
gate("READY")
for i in range(int(sys.argv[1])):
    keep(i)
gate("DONE work")
"""

ONE_LINE = r"""
import os, time; time.sleep(0.5)  # the interpreter is found a moment after it has come up
kept = []
def keep():
    kept.append(b"%04999d" % 1); kept.append(b"%05003d" % 1)
for i in range(11):
    keep()
os._exit(0)
"""

BLOCK = 4999 + 49  # a str of one byte characters has a head of 49


def kept_sites(report):
    """Sites whose innermost Python function is keep()."""
    found = []
    for site in report["sites"]:
        frames = [frame for frame in site["frames"] if frame["kind"] == "python"]
        if frames and frames[0]["function"] == "keep" and site["live_bytes"] > 4999:
            found.append(site)
    return found


class Services(harness.LiveTest):
    """Forked workers, and workers that were started one by one."""

    def python(self, *args):
        """A Python victim."""
        return harness.Victim("python", *args, path=PYTHON)

    def kept(self, report):
        """The one site of keep(), at its line."""
        sites = kept_sites(report)
        self.assertEqual(len(sites), 1, harness.describe(report))
        frame = next(frame for frame in sites[0]["frames"] if frame["kind"] == "python")
        self.assertEqual(frame["line"], KEEP_LINE)
        return sites[0]

    def check(self, site, counts, pids):
        """It has these blocks of these processes."""
        self.assertEqual((site["live_count"], site["live_bytes"]),
                         (sum(counts), sum(counts) * BLOCK))
        self.assertEqual(site["pids"], sorted(pids))
        self.assertEqual(site["pid"], pids[0] if len(pids) == 1 else None)

    def test_forked_c_processes_are_one(self):
        victim = self.victim("forks", "fork")
        tool = self.unfreed("-p", victim.pid, "--follow")
        victim.go("DONE shared")
        child, _ = victim.go("DONE fork")
        victim.go("DONE parent")
        victim.go("DONE child")
        report = tool.last_report()
        self.assertEqual({target["pid"] for target in report["targets"]}, {victim.pid, child})
        live = SHARED - 401 + SHARED - 211 - 89 - 53
        site = self.assert_site(report, "alloc_shared", live, live * SIZE)
        self.assertEqual((site["pid"], site["pids"]), (None, sorted([victim.pid, child])))
        self.assertEqual(site["ages"][0]["count"], live)
        self.assertEqual(site["ages"][0]["bytes"], live * SIZE)
        site = self.assert_site(report, "alloc_in_child", 307, 307 * 499, 307, 0)
        self.assertEqual((site["pid"], site["pids"]), (child, [child]))
        site = self.assert_site(report, "alloc_in_parent", 313, 313 * 491, 313, 0)
        self.assertEqual((site["pid"], site["pids"]), (victim.pid, [victim.pid]))
        self.assertEqual(report["totals"]["sites"], len(report["sites"]))
        self.assert_live(report, *harness.sums(report["sites"]))
        self.assert_no_loss(report)

    def test_children_from_before_the_trace_are_followed(self):
        victim = self.victim("forks", "fork")
        victim.go("DONE shared")
        child, _ = victim.go("DONE fork")
        tool = self.unfreed("-p", victim.pid, "--follow", "--per-process")
        self.assertIn(" and 1 child: ", tool.stderr.all[-1])
        victim.go("DONE parent")
        victim.go("DONE child")
        report = tool.last_report()
        self.assert_site(report, "alloc_in_parent", 313, 313 * 491, pid=victim.pid)
        self.assert_site(report, "realloc_shared", 53, 53 * 2011, pid=child)
        self.assert_live(report, 313 + 53, 313 * 491 + 53 * 2011)
        # The parent's, the child's, and what the child reallocates.
        self.assertEqual(report["unknown_free_count"], 401 + 89 + 53)
        self.assert_no_loss(report)

    def test_grandchildren_from_before_the_trace_are_followed(self):
        victim = self.victim("forks", "grandchild")
        victim.go("DONE shared")
        family = victim.go("DONE fork")
        tool = self.unfreed("-p", victim.pid, "--follow")
        self.assertIn(" and 2 children: ", tool.stderr.all[-1])
        report = tool.last_report()
        self.assertEqual({target["pid"] for target in report["targets"]}, {victim.pid, *family})

    def test_a_process_and_its_child_both_named_are_each_once(self):
        victim = self.victim("forks", "fork")
        victim.go("DONE shared")
        child, _ = victim.go("DONE fork")
        tool = self.unfreed("-p", f"{child},{victim.pid}", "--follow")
        victim.go("DONE parent")
        victim.go("DONE child")
        report = tool.last_report()
        self.assertEqual(sorted(target["pid"] for target in report["targets"]),
                         sorted([victim.pid, child]))
        self.assert_site(report, "alloc_in_parent", 313, 313 * 491)
        self.assert_site(report, "realloc_shared", 53, 53 * 2011)

    def test_python_workers_are_one_and_go_on_as_one(self):
        victim = self.python("-c", WORKERS)
        tool = self.unfreed("-p", victim.pid, "--follow", interval="200ms")
        pids = victim.go("DONE work")
        site = self.kept(tool.fresh_report())
        self.check(site, [101, 103, 107], pids)
        victim.go("DONE end")
        tool.fresh_report()
        self.check(self.kept(tool.fresh_report()), [103, 107], pids[1:])
        # The one that has ended was reported once more, with what it had.
        ends = [report for report in tool.reports()
                if any(target["exited"] for target in report["targets"])]
        self.assertEqual(len(ends), 1)
        self.check(self.kept(ends[0]), [101, 103, 107], pids)
        *_, fresh = victim.go("DONE work")
        report = tool.last_report()
        self.check(self.kept(report), [103, 107, 109], [*pids[1:], fresh])
        reports = [report for report in tool.reports() if kept_sites(report)]
        self.assertEqual({self.kept(report)["id"] for report in reports}, {site["id"]})
        self.check_growth(reports)
        self.assert_no_loss(report)

    def check_growth(self, reports):
        """Each growth is the difference of what there was, of all processes."""
        rises = falls = 0
        for before, after in zip(reports, reports[1:]):
            bytes_before, bytes_after = (self.kept(report)["live_bytes"]
                                         for report in (before, after))
            change, passed = bytes_after - bytes_before, after["elapsed_s"] - before["elapsed_s"]
            # The report's times are rounded to milliseconds.
            rate, least = change / passed, change / (passed + 0.002)
            self.assertAlmostEqual(self.kept(after)["growth_bytes_per_s"], rate,
                                   delta=1 + 2 * abs(rate - least))
            rises += rate > 0
            falls += rate < 0
        self.assertGreater(rises, 0)
        self.assertGreater(falls, 0)

    def test_python_workers_apart(self):
        victim = self.python("-c", WORKERS)
        tool = self.unfreed("-p", victim.pid, "--follow", "--per-process")
        pids = victim.go("DONE work")
        report = tool.last_report()
        sites = {site["pid"]: site for site in kept_sites(report)}
        self.assertEqual(sorted(sites), sorted(pids))
        for pid, count in zip(pids, (101, 103, 107)):
            self.check(sites[pid], [count], [pid])
        self.assertEqual(len({site["id"] for site in sites.values()}), 1)

    def test_python_processes_started_one_by_one_are_one(self):
        victims = [self.python("-c", ALONE, count) for count in (101, 103)]
        tool = self.unfreed("-p", f"{victims[0].pid},{victims[1].pid}")
        for victim in victims:
            victim.go("DONE work")
        report = tool.last_report()
        self.check(self.kept(report), [101, 103], [victim.pid for victim in victims])

    def test_a_site_has_its_id_in_the_next_trace_too(self):
        ids = set()
        for count in (101, 103):
            victim = self.python("-c", ALONE, count)
            ids.add(self.kept(self.trace(victim, "DONE work"))["id"])
        self.assertEqual(len(ids), 1)

    def test_two_places_in_one_line_are_one(self):
        report = harness.only_last(self.run_command(PYTHON, "-c", ONE_LINE))
        sites = kept_sites(report)
        self.assertEqual(len(sites), 1, harness.describe(report))
        self.assertEqual(sites[0]["alloc_count"] - sites[0]["free_count"], 22)

    def test_another_executable_is_another_service(self):
        copies = [shutil.copy(harness.program("batches"), os.path.join(self.folder, name))
                  for name in ("one", "two")]
        self.check_apart(harness.program("batches"), copies[0])
        # They differ in the last letters of a long path only.
        self.check_apart(*copies)

    def check_apart(self, first, second):
        """Sites of two executables, which are the same but for their names, are two."""
        one = self.victim("batches", 11, 101, path=first)
        two = self.victim("batches", 13, 103, path=second)
        tool = self.unfreed("-p", f"{one.pid},{two.pid}")
        for victim in (one, two):
            victim.go("DONE a")
        report = tool.last_report()
        self.assertEqual(sorted((site["live_count"], site["pid"])
                                for site in harness.find_sites(report, "batch_a")),
                         [(11, one.pid), (13, two.pid)])
