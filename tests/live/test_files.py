# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: files that come and go, as those of containers do, do not use up what the tool has for
them: their probes and descriptors are given back, and what comes later is counted to the block."""

import os
import shutil

import harness

LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
SLOTS = 256 # UF_MAX_FILES
KEPT, KEPT_SIZE = 211, 59


class Files(harness.LiveTest):
    """One tool, and one libc after another."""

    def copy(self, source, name):
        """A file of its own."""
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(os.path.realpath(source), path)
        return path

    def run_with_libc_of_its_own(self, tool, number):
        """A process with a libc that is unlinked afterwards; its site in the next report."""
        libc = self.copy(LIBC, f"{number}/libc.so.6")
        program = self.copy(harness.program("batches"), f"{number}/batches")
        victim = self.victim("", "--library-path", os.path.dirname(libc), program, 101 + number, 48,
                             path=LOADER)
        tool.fresh_report() # what it maps has been seen by then
        victim.go("DONE a")
        report = tool.fresh_report()
        site, = [site for site in harness.find_sites(report, "batch_a")
                 if site["pids"] == [victim.pid]]
        self.assertEqual((site["live_count"], site["stack_end"]), (101 + number, "complete"))
        for gate in ("DONE b", "DONE c", "DONE free a", "DONE free b", "DONE c again"):
            victim.go(gate)
        victim.finish()
        shutil.rmtree(os.path.dirname(libc))
        return report["probe_files"]

    def held(self, tool):
        """The test's own files that the tool has open."""
        links = [os.readlink(f"/proc/{tool.pid}/fd/{fd}")
                 for fd in os.listdir(f"/proc/{tool.pid}/fd")]
        return sorted({link for link in links if link.startswith(self.folder)})

    def test_unlinked_files_are_given_back(self):
        tool = self.unfreed("--comm", os.path.basename(LOADER)[:15], interval="300ms")
        seen = [self.run_with_libc_of_its_own(tool, number) for number in range(8)]
        # One with probes goes with each report on processes that have ended.
        for number in range(3):
            self.victim("batches").finish()
            tool.fresh_report()
        held = [link for link in self.held(tool) if "libc" in link]
        self.assertLessEqual(len(held), 2, (held, seen))
        self.assertLessEqual(max(seen) - seen[0], 3, seen)
        self.assertEqual(tool.stop().status, 0)

    def map_many(self, name, cnt):
        """Commands that map that many allocators."""
        words = []
        for number in range(cnt):
            words += ["map", self.copy(harness.program("wrapper.so"), f"{name}{number}.so")]
        return words

    def test_more_allocators_one_after_another_than_there_is_room_for(self):
        tool = self.unfreed("--comm", "hostile", interval="300ms")
        for name, cnt in (("a", 200), ("b", 50), ("c", 31)):
            victim = self.victim("hostile", *self.map_many(name, cnt), "keep",
                                 harness.program("keep.so"), KEPT)
            victim.go("DONE load")
            tool.fresh_report()
            victim.go("DONE hostile")
            report = tool.fresh_report()
            self.assertEqual(len([site for site in report["sites"]
                                  if (site["live_count"], site["live_bytes"])
                                  == (KEPT, KEPT * KEPT_SIZE)]), 1, harness.describe(report))
            self.assertIn(report["probe_files"], range(200, SLOTS + 1))
            victim.finish()
        self.assertNotIn("cannot probe", "\n".join(tool.stderr.all))
        self.assertEqual(tool.stop().status, 0)
