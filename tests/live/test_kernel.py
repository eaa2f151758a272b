# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: what the kernel allocates is counted exactly, by its stack, until it is freed."""

import os
import re
import subprocess
import tempfile
import time
import unittest

import harness

PAGE = 4096
OPENED = ["DONE eventfds", "DONE pipes", "DONE map", "DONE large", "DONE semaphores",
          "DONE memberships"]
# kernel_objects.c
EVENTFDS, PIPES, PIPE_PAGES, MAP_ENTRIES, MAP_BYTES, LARGE_PIPES = 307, 101, 3, 17, 64, 11
SEMAPHORE_BYTES = 66000 * 64
MEMBERSHIPS, GROUPS = 7 * 13, 13
LARGE_BYTES = 16384  # kmalloc's of 256 buffers of 40 bytes

# Where allocations are: functions have other names, or are inlined, in other kernels.
EVENTFD = r"eventfd"
PIPE = r"^alloc_pipe_info$"
PIPE_WRITE = r"pipe_(write|prefill|get_page)"
RESIZE = r"^(pipe_resize_ring|pipe_set_size|pipe_fcntl)"
MAP = r"^(bpf_)?array_(map_)?alloc|^bpf_map_alloc_percpu$"
SEMAPHORES = r"^(newary|sem_alloc)"
MEMBERSHIP = r"ip_mc_join_group"

# Frees that this kernel does not let us see: what was freed by kfree_rcu() may stay.
NO_BULK = "does not let us see what is allocated and freed in bulk"


def kernel_sites(report, memory, pattern, anywhere=False):
    """Sites of a kind of memory that a function of this name allocates (anywhere: leads to)."""
    return [site for site in report["sites"] if site["memory"] == memory
            and any(re.search(pattern, frame["function"])
                    for frame in site["frames"][:None if anywhere else 1])]


def kernel_sums(*args, **kwargs):
    """(live_count, live_bytes) of these sites."""
    return harness.sums(kernel_sites(*args, **kwargs))


class Kernel(harness.LiveTest):
    """unfreed --kernel on a program whose system calls allocate what we know."""

    def kernel(self, *args, **kwargs):
        """The tool, attached to the kernel."""
        return self.unfreed("-K", *args, **kwargs)

    def objects(self):
        """The program, and the tool on what it makes the kernel allocate."""
        victim = self.victim("kernel_objects")
        return victim, self.kernel("-p", victim.pid, interval="200ms")

    def until(self, tool, is_right):
        """The first report that is right, or the last one that came in time."""
        deadline = time.monotonic() + harness.TIMEOUT_S
        report = tool.fresh_report()
        while not is_right(report) and time.monotonic() < deadline:
            report = tool.fresh_report()
        return report

    def check_opened(self, report, has_semaphores):
        """All that the program opens is there."""
        # A pipe is two objects; one of a large pipe was replaced by resizing.
        expected = [("slab", PIPE, 2 * PIPES + LARGE_PIPES, None),
                    ("pages", PIPE_WRITE, PIPES * PIPE_PAGES, PIPES * PIPE_PAGES * PAGE),
                    ("slab", RESIZE, LARGE_PIPES, LARGE_PIPES * LARGE_BYTES),
                    ("pages", RESIZE, 0, 0)]
        for memory, pattern, count, size in expected:
            with self.subTest(memory=memory, pattern=pattern):
                live = kernel_sums(report, memory, pattern)
                self.assertEqual(live, (count, live[1] if size is None else size),
                                 harness.describe(report))
        # do_eventfd() may be inlined, and has one object of its own for each.
        found = [site["live_count"] for site in kernel_sites(report, "slab", EVENTFD)]
        self.assertEqual(found, [EVENTFDS], harness.describe(report))
        count, size = kernel_sums(report, "percpu", MAP, anywhere=True)
        self.assertEqual(count, MAP_ENTRIES, harness.describe(report))
        self.assertGreaterEqual(size, MAP_ENTRIES * MAP_BYTES * os.cpu_count())
        memberships = [site["live_count"]
                       for site in kernel_sites(report, "slab", MEMBERSHIP, anywhere=True)]
        self.assertIn(MEMBERSHIPS, memberships, harness.describe(report))
        count, size = kernel_sums(report, "pages", SEMAPHORES, anywhere=True)
        self.assertEqual(size, count * PAGE)
        if has_semaphores:
            self.assertGreaterEqual(size, SEMAPHORE_BYTES, harness.describe(report))
            self.assertLess(size, SEMAPHORE_BYTES + (4 << 20), harness.describe(report))

    def all_gone(self, report, may_miss):
        """Is everything closed gone?"""
        # The interface keeps one table of its groups.
        members = kernel_sums(report, "slab", MEMBERSHIP, anywhere=True)[0]
        return (may_miss or members <= 1) and not any(
            kernel_sums(report, memory, pattern, anywhere=anywhere)[0]
            for memory, pattern, anywhere in
            [("slab", EVENTFD, False), ("slab", PIPE, False), ("slab", RESIZE, False),
             ("pages", PIPE_WRITE, False), ("percpu", MAP, True), ("pages", SEMAPHORES, True),
             ("slab", SEMAPHORES, False)])

    def test_objects_pages_and_per_cpu_memory_are_counted_until_they_are_freed(self):
        victim, tool = self.objects()
        may_miss = NO_BULK in "\n".join(tool.stderr.all)
        has_semaphores = {gate: victim.go(gate) for gate in OPENED}["DONE semaphores"][0]
        report = tool.fresh_report()
        self.check_opened(report, has_semaphores)
        # Whatever else the host allocates and frees meanwhile may be missed.
        self.assert_no_loss(report, ["kernel_alloc_missed", "kernel_free_missed"]
                            + (["missed_free"] if may_miss else []))
        self.assertEqual({site["kind"] for site in report["sites"]}, {"kernel"})
        self.assertEqual({site["stack_end"] for site in report["sites"]}, {"complete"})
        self.assertEqual(report["targets"], [])
        victim.go("DONE closed")
        report = self.until(tool, lambda report: self.all_gone(report, may_miss))
        self.assertTrue(self.all_gone(report, may_miss), harness.describe(report))
        self.assertEqual(tool.stop().status, 0)
        self.assertEqual(victim.finish(), 0)

    def test_a_site_has_the_frames_and_the_ages_of_any(self):
        victim, tool = self.objects()
        victim.go("DONE eventfds")
        report = tool.fresh_report()
        site = kernel_sites(report, "slab", EVENTFD)[0]
        self.assertEqual((site["pid"], site["pids"], site["comm"]), (None, [], ""))
        self.assertEqual(site["ages"][0]["count"], EVENTFDS)
        for frame in site["frames"]:
            self.assertEqual((frame["kind"], frame["module"]), ("kernel", "[kernel]"))
            self.assertTrue(frame["function"])
            self.assertGreater(frame["function_offset"], 0)
        self.assertRegex(harness.functions(site)[-1], "^(entry_|ret_|el0)", "the outermost frame")
        later = kernel_sites(tool.fresh_report(), "slab", EVENTFD)[0]
        self.assertEqual(later["id"], site["id"])

    def test_the_whole_kernel_is_traced_without_a_target(self):
        victim = self.victim("kernel_objects")
        tool = self.kernel(interval="200ms")
        for gate in OPENED:
            victim.go(gate)
        report = tool.fresh_report()
        # Nobody else has that large pipes.
        self.assertEqual(kernel_sums(report, "slab", RESIZE),
                         (LARGE_PIPES, LARGE_PIPES * LARGE_BYTES))
        self.assertGreaterEqual(kernel_sums(report, "slab", EVENTFD)[0], EVENTFDS)
        victim.go("DONE closed")
        report = self.until(tool, lambda report: not kernel_sums(report, "slab", RESIZE)[0])
        self.assertEqual(kernel_sums(report, "slab", RESIZE), (0, 0))

    def test_only_sizes_asked_for_are_recorded(self):
        victim = self.victim("kernel_objects")
        tool = self.kernel("-p", victim.pid, "-z", LARGE_BYTES, "-Z", LARGE_BYTES,
                           interval="200ms")
        for gate in OPENED:
            victim.go(gate)
        report = tool.last_report()
        self.assertEqual(kernel_sums(report, "slab", RESIZE)[0], LARGE_PIPES)
        self.assertEqual(kernel_sites(report, "slab", EVENTFD), [])

    def test_what_finds_no_room_is_counted(self):
        victim = self.victim("kernel_objects")
        tool = self.kernel("-p", victim.pid, "--max-blocks", 64)
        victim.go("DONE eventfds")
        report = tool.last_report()
        self.assertGreaterEqual(report["losses"]["live_table_full"], EVENTFDS - 64)
        self.assertLessEqual(report["totals"]["live_count"], 64)

    def test_text_names_the_kind_of_memory(self):
        victim = self.victim("kernel_objects")
        tool = self.kernel("-p", victim.pid, fmt="text")
        for gate in OPENED:
            victim.go(gate)
        text = tool.stop() and tool.text()
        self.assertRegex(text, r"  the kernel's own memory\n")
        self.assertRegex(text, r"\d\. 1\.2 MiB in 303 pages \(\d+\.\d%\) \[pages\]\n")
        self.assertRegex(text, r"in 307 objects \(.*\) \[slab\]\n")
        self.assertRegex(text, r"in 17 blocks \(.*\) \[percpu\]\n")
        self.assertRegex(text, r"    #0  alloc_pipe_info\+0x[0-9a-f]+ \[kernel\]\n")


class Refusals(harness.LiveTest):
    """What --kernel cannot do."""

    def run_tool(self, *args, prefix=()):
        """Its status and what it says."""
        result = subprocess.run([*prefix, harness.UNFREED, "-K", *map(str, args)],
                                capture_output=True, stdin=subprocess.DEVNULL,
                                timeout=harness.TIMEOUT_S, check=False)
        return result.returncode, result.stderr.decode()

    def test_options_that_mean_nothing_for_it_are_refused(self):
        for option in (["--follow"], ["--comm", "x"], ["--cgroup", "/"], ["--container", "x"],
                       ["--per-process"], ["--stack", "fp"], ["-O", "/bin/true"],
                       ["--attach", "perf"], ["--prefix", "je_"], ["--", "true"]):
            with self.subTest(option=option):
                status, said = self.run_tool(*option)
                self.assertEqual(status, 2, said)
                self.assertRegex(said, "--kernel and .*: give one of them")

    def test_a_kernel_that_hides_its_addresses(self):
        with tempfile.NamedTemporaryFile("w") as hidden:
            hidden.write("0000000000000000 T _stext\n0000000000000000 T do_eventfd\n")
            hidden.flush()
            # In a mount namespace of its own.
            script = 'mount --bind "$0" /proc/kallsyms && exec "$@"'
            status, said = self.run_tool(
                "-n", 1, "-i", "1s", prefix=["unshare", "-m", "sh", "-c", script, hidden.name])
        if "mount" in said and status not in (0, 1):
            raise unittest.SkipTest(f"cannot mount here: {said}")
        self.assertEqual(status, 1, said)
        self.assertIn("kernel.kptr_restrict", said)

    def test_a_process_that_is_not_there(self):
        status, said = self.run_tool("-p", 2147483646)
        self.assertEqual(status, 1, said)
        self.assertIn("no process with pid", said)
