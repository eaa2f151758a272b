# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: stacks stay true where addresses move, code has no tables, or others change the stack."""

import collections
import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess

import harness
import stacks
from stacks import LIBC, START, outline, plain_name
from test_accounting import SITES

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}


# Keeps 2,003 buffers that malloc gives it.
SCRIPT = """
const kept = [];
function hot(n) { kept.push(Buffer.allocUnsafeSlow(9000 + n % 7)); }
for (let i = 0; i < 2003; i++) hot(i);
process.exit(kept.length == 2003 ? 0 : 1);
"""


def is_jitted(frame):
    """Is it a place in no file?"""
    return not frame["function"] and frame["module"] in ("", "//anon")


class ReturnProbes:
    """Another tracer's return probes on functions of a file, in one process."""

    def __init__(self, path, pid, functions):
        with open("/sys/bus/event_source/devices/uprobe/type", encoding="ascii") as text:
            self.type = int(text.read())
        listed = subprocess.run(["nm", path], capture_output=True, check=True).stdout.decode()
        addresses = {name: int(address, 16)
                     for address, name in re.findall(r"^(\w+) [tT] (\w+)$", listed, re.M)}
        # In what our Makefile links, code lies at its address in the file.
        self.fds = {name: self.place(path, pid, addresses[name]) for name in functions}

    def place(self, path, pid, offset):
        """perf_event_open(2) of a uprobe, with config's bit 0: on return. Returns its fd."""
        name = ctypes.create_string_buffer(os.fsencode(path))
        attr = bytearray(128)
        struct.pack_into("IIQ", attr, 0, self.type, len(attr), 1)
        struct.pack_into("QQ", attr, 56, ctypes.addressof(name), offset)
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.syscall(PERF_EVENT_OPEN[platform.machine()],
                          (ctypes.c_char * len(attr)).from_buffer(attr), pid, -1, -1, 8)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")
        return fd

    def hits(self):
        """How often each function has returned."""
        return {name: struct.unpack("Q", os.read(fd, 8))[0] for name, fd in self.fds.items()}

    def close(self):
        """Takes them away."""
        for fd in self.fds.values():
            os.close(fd)


class Others(stacks.StackTest):
    """Return addresses that other tracers replaced."""

    def with_probes(self, *functions, args=()):
        """The last report on frames.nofp.c with such probes, and how often they were hit."""
        victim = self.victim("frames.nofp", harness.program("plugin.nofp.so"))
        probes = ReturnProbes(harness.program("frames.nofp"), victim.pid, functions)
        self.addCleanup(probes.close)
        report = self.primed(victim, *args, prime="DONE load", gates=["DONE cases"])
        for site in report["sites"]:
            for frame in site["frames"]:
                self.assertNotIn("[uprobes]", frame["module"])
                self.assertNotEqual(frame["module"], "", harness.functions(site))
        return report, probes.hits()

    def stacks_of(self, report, case):
        """End and outline of the stacks of a case of frames.nofp.c."""
        return [(site["stack_end"], *outline(site["frames"]))
                for site in harness.find_sites(report, case, anywhere=True)
                if site["live_bytes"] == 1000]

    def test_return_probes_up_the_stack(self):
        for args in ([], ["--stack", "dwarf"]):
            with self.subTest(args=args):
                report, hits = self.with_probes("leak", "plain", "with_alloca", "odd", "even",
                                                args=args)
                self.assertEqual(hits["odd"], 5)
                self.assertEqual(hits["even"], 6)
                self.assertEqual(hits["with_alloca"], 3)
                self.assertEqual(self.stacks_of(report, "plain"),
                                 [("complete", "leak", "plain", "main", *START)])
                self.assertEqual(self.stacks_of(report, "mutual"),
                                 [("complete", "leak", *5 * ["even", "odd"], "even", "mutual",
                                   "main", *START)])
                self.assertEqual(self.stacks_of(report, "alloca_big"),
                                 [("complete", "leak", "with_alloca", "alloca_big", "main",
                                   *START)])

    def test_two_return_probes_at_one_place_of_the_stack(self):
        """tail_caller jumps to tail_callee: one return address, replaced twice."""
        report, hits = self.with_probes("tail_caller", "tail_callee")
        self.assertEqual(hits, {"tail_caller": 1, "tail_callee": 1})
        self.assertEqual(self.stacks_of(report, "tail"),
                         [("complete", "leak", "tail_callee", "tail", "main", *START)])

    def test_more_return_probes_than_are_looked_through(self):
        """41 deep: whole, or cut and said to be. 300 deep the kernel takes no more of them, not
        even ours: that call's return is not seen, and it is said."""
        report, hits = self.with_probes("recursion_step")
        self.assertGreater(hits["recursion_step"], 41)
        blocks = sum(self.stacks(report, 1000).values())
        self.assertEqual(blocks + report["losses"].get("call_abandoned", 0), 23)
        whole = ["leak", *41 * ["recursion_step"], "recursion", "main", *START]
        for end, *names in self.stacks_of(report, "recursion_step"):
            if end == "complete":
                self.assertEqual(names, whole)
            else:
                self.assertEqual(names[1:42], (41 * ["recursion_step"])[:len(names) - 1])

    def test_another_trace_with_return_probes_at_the_same_places(self):
        """A second tool, attached in another way, with the outer malloc and the inner one."""
        wrapper = harness.program("wrapper.so")
        for mode in ("multi", "perf"):
            with self.attached_by(mode) as args:
                victim = self.victim("sites", preload=wrapper)
                tools = [self.unfreed("-p", victim.pid, "-O", wrapper),
                         self.unfreed("-p", victim.pid, "-O", wrapper, *args)]
                victim.go("DONE leaks")
                for tool in tools:
                    report = tool.last_report()
                    for function, count, size in SITES:
                        site = self.assert_site(report, function, count, count * size, count, 0)
                        self.assertEqual(outline(site["frames"]), [function, "main", *START])
                        self.assertEqual(site["stack_end"], "complete")
                    self.assert_no_loss(report)

class Modes(stacks.StackTest):
    """--stack: what each way of walking is right about, and what it says where it is not."""

    def test_frame_pointers_are_right_as_far_as_there_are_some(self):
        ends = {}
        for mode in ("fp", "dwarf", "auto"):
            report = self.trace(self.victim("symbols"), "DONE leaks", args=["--stack", mode])
            site = self.assert_site(report, "chain_3", 821, 821 * 821, 821, 0)
            self.assertEqual(harness.functions(site)[:4],
                             ["chain_3", "chain_2", "chain_1", "main"])
            ends[mode] = (site["stack_end"], harness.functions(site)[-1] == "_start")
            deep = sorted((len(site["frames"]), site["stack_end"])
                          for site in harness.find_sites(report, "deep"))
            self.assertEqual(deep[1], (127, "depth"))
            self.assertTrue(52 <= deep[0][0] <= 55, deep)
            self.assert_live(report, 2473, 821 * 821 + 823 * 823 + 827 * 827 + 2 * 839)
        self.assertEqual(ends["auto"], ("complete", True))
        self.assertEqual(ends["dwarf"], ("complete", True))
        # The C library that calls main has no frame pointers.
        self.assertFalse(ends["fp"][1], ends)

    def test_frame_pointers_where_there_are_none_are_no_help_but_counts_are(self):
        victim = self.victim("frames.nofp", harness.program("plugin.nofp.so"))
        report = self.primed(victim, "--stack", "fp", prime="DONE load", gates=["DONE cases"])
        blocks = [site for site in report["sites"] if plain_name(site["frames"][0]) == "leak"]
        self.assertEqual(harness.sums(blocks), (22, 22000), harness.describe(report))
        self.assertFalse([site for site in report["sites"]
                          if harness.functions(site)[-1] == "_start"])

    def jit(self, *args):
        """(end, names) of the blocks of jit.nofp.c by size; code of no file is (jit)."""
        report = self.trace(self.victim("jit.nofp"), "DONE jit", args=args)
        self.assert_live(report, 3, 4000)
        found = collections.Counter()
        for site in report["sites"]:
            names = [name or "(jit)" for name in outline(site["frames"])]
            found[(site["stack_end"], *names)] += site["live_count"]
        return found

    def test_frame_pointers_lead_through_code_without_tables(self):
        self.assertEqual(self.jit(), {
            ("complete", "leaks", "(jit)", "(jit)", "(jit)", "three_deep", "main", *START): 1,
            ("complete", "leaks", "(jit)", "(jit)", "calls_back", "(jit)",
             "through_compiled_code", "main", *START): 1,
            ("complete", "(jit)", "calls_malloc", "main", *START): 1})

    def test_tables_alone_end_at_code_without_tables(self):
        self.assertEqual(self.jit("--stack", "dwarf"), {
            ("no-cfi", "leaks", "(jit)"): 2, ("no-cfi", "(jit)"): 1})

    def test_most_stacks_of_a_real_jit_are_whole(self):
        """node: JavaScript compiled while it runs, between C++ that called it and that it calls."""
        node = shutil.which("node")
        if not node:
            self.skipTest("no node")
        command = [node, "--always-sparkplug", "-e", SCRIPT]
        report = harness.only_last(self.run_command(*command, stdout=subprocess.DEVNULL))
        buffers = [site for site in report["sites"]
                   if harness.functions(site)[0].startswith("node::NodeArrayBufferAllocator::")]
        self.assertGreaterEqual(harness.sums(buffers)[0], 2003, "all that the script keeps")
        jitted = [site for site in buffers
                  if any(is_jitted(frame) for frame in site["frames"])]
        self.assertGreater(harness.sums(jitted)[0], 0.95 * 2003, "not made by jitted code")
        for sites in (report["sites"], jitted):
            whole = [site for site in sites if site["stack_end"] == "complete"]
            self.assertGreater(harness.sums(whole)[0], 0.95 * harness.sums(sites)[0])
            self.assertLessEqual({harness.functions(site)[-1] for site in whole},
                                 {"_start", "clone", "clone3", "__clone3"})


class Moving(stacks.StackTest):
    """Libraries that take turns at one address."""

    def check_swap(self, threads, seconds):
        """Whatever a stack has of its frames is right; every block is there."""
        libs = [harness.program(name) for name in ("swap_a.so", "swap_b.so")]
        victim = self.victim("swap", *libs, seconds, threads)
        tool = self.unfreed("-p", victim.pid, interval="1s")
        a_turns, b_turns, same, busy = victim.go("DONE swap")
        print(f"     {a_turns + b_turns} turns, {same} at the address of the other library")
        self.assertGreater(same, 0)
        report = tool.last_report()
        # A stack that ends at once because the mappings were being changed names nothing.
        unnamed, _ = harness.sums([site for site in report["sites"] if site["live_count"] and
                                   site["stack_end"] == "busy" and len(site["frames"]) == 1])
        named = 0
        for name, turns in (("a", a_turns), ("b", b_turns)):
            count, live_bytes = harness.sums(harness.find_sites(report, f"leak_of_{name}"))
            self.assertLessEqual(count, turns)
            self.assertEqual(live_bytes, count * 1000)
            named += count
            right = [f"leak_of_{name}", f"calls_of_{name}", "turn", f"use_{name}", "main", *START]
            self.check_stacks(report, right)
        count, live_bytes = harness.sums(harness.find_sites(report, "leak_when_busy"))
        self.assertEqual(live_bytes, count * 2000)
        self.assertEqual(named + count + unnamed, a_turns + b_turns + busy)
        self.assertLess(unnamed, (a_turns + b_turns + busy) // 4)
        if not threads:
            self.assertEqual(unnamed, 0)
        if threads:
            self.check_stacks(report, ["leak_when_busy", "map_and_unmap", *stacks.THREAD])
        self.assert_no_loss(report)

    def check_stacks(self, report, right):
        """All stacks of a first function are right as far as they go; whole ones go to the end."""
        whole = 0
        for site in harness.find_sites(report, right[0]):
            names = outline(site["frames"])
            self.assertEqual(names, right[:len(names)], site["stack_end"])
            self.assertIn(site["stack_end"], ("complete", "no-table", "busy"), names)
            if site["stack_end"] == "complete":
                self.assertEqual(names, right)
                whole += site["live_count"]
        self.assertGreater(whole, 0)

    def test_two_libraries_take_turns_at_one_address(self):
        self.check_swap(0, 3)

    def test_two_libraries_take_turns_while_another_thread_changes_the_mappings(self):
        self.check_swap(1, 10)


class Workers(stacks.StackTest):
    """One place in a program is one site id, wherever it is mapped."""

    def ids(self, report, pid, *functions):
        """Site ids of these functions in a process."""
        return [self.site_by(report, function, pid=pid)["id"] for function in functions]

    def base(self, pid, name):
        """Where a process has a file mapped."""
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as text:
            return min(int(line.split("-")[0], 16) for line in text if line.endswith(name + "\n"))

    def test_forked_workers(self):
        victim = self.victim("forks", "fork")
        tool = self.unfreed("-p", victim.pid, "--follow", "--per-process")
        victim.go("DONE shared")
        child, _ = victim.go("DONE fork")
        report = tool.last_report()
        self.assertEqual(self.ids(report, victim.pid, "alloc_shared"),
                         self.ids(report, child, "alloc_shared"))

    def test_separately_started_workers(self):
        one, two = (self.victim("batches", 11, 101, 13, 103) for _ in range(2))
        if self.base(one.pid, "/batches") == self.base(two.pid, "/batches"):
            self.skipTest("no address space randomization here")
        tool = self.unfreed("-p", f"{one.pid},{two.pid}", "--per-process")
        for victim in (one, two):
            victim.go("DONE a")
            victim.go("DONE b")
        report = tool.last_report()
        ids = self.ids(report, one.pid, "batch_a", "batch_b")
        self.assertEqual(ids, self.ids(report, two.pid, "batch_a", "batch_b"))
        self.assertNotEqual(ids[0], ids[1])
        self.assertEqual(len(report["sites"]), 4)

    def test_ids_are_the_same_in_another_trace_of_the_same_place(self):
        """With the same files seen in the same order, as a service that is traced twice."""
        seen = []
        for _ in range(2):
            victim = self.victim("batches", 11, 101)
            seen.append(self.ids(self.trace(victim, "DONE a"), victim.pid, "batch_a"))
        self.assertEqual(seen[0], seen[1])
