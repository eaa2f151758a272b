# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: of several containers of different kinds, all started while the whole host is traced, each
leak is found under its container's name, with its exact count; a quiet one is listed and clean."""

import os
import shutil
import subprocess
import time

import container
import harness
import runc

TABLE_S = 0.3 # stacks of a new file are cut until its unwind table is built
GLIBC = ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6")
MUSL = "/lib/ld-musl-x86_64.so.1"
# What each keeps: blocks and size of the sites a, b and c.
LEAKY = (211, 48, 103, 64, 11, 128)
QUIET = (307, 48, 109, 64, 0, 128)
ALPINE = (401, 56, 101, 72, 13, 136)
TRIXIE = (503, 40, 107, 80, 17, 144)


def copy_to(root, source, where):
    """A file, not what a link to it says."""
    os.makedirs(os.path.dirname(root + where), exist_ok=True)
    shutil.copy(os.path.realpath(source), root + where)


class Containers(harness.LiveTest):
    """Two that share an overlay layer, one with musl, one of another Debian."""

    def setUp(self):
        super().setUp()
        self.runc = runc.Runc(self)
        self.base = os.path.join(self.folder, "layers")
        os.mkdir(self.base)
        self.mount("-t", "tmpfs", "none", self.base)

    def mount(self, *args):
        """Gone with the test."""
        made = subprocess.run(["mount", *args], stderr=subprocess.PIPE, text=True, check=False)
        if made.returncode:
            self.skipTest(f"cannot mount: {made.stderr}")
        self.addCleanup(subprocess.run, ["umount", "-l", args[-1]], check=False)

    def name(self, kind):
        """Of a container."""
        return f"unfreed-{kind}-{os.getpid()}"

    def overlay(self, layer, name):
        """A root on that layer."""
        parts = [os.path.join(self.base, name + part) for part in ("", "-upper", "-work")]
        for part in parts:
            os.mkdir(part)
        self.mount("-t", "overlay", "overlay", "-o",
                   f"lowerdir={layer},upperdir={parts[1]},workdir={parts[2]}", parts[0])
        return parts[0]

    def glibc_layer(self):
        """A libc and the victim, as an image has them."""
        layer = os.path.join(self.base, "image")
        for path in GLIBC:
            copy_to(layer, path, path)
        copy_to(layer, harness.program("batches"), "/bin/batches")
        return layer

    def musl_root(self):
        """As small as Alpine's."""
        program = harness.program("batches.musl")
        if not os.path.exists(program) or not os.path.exists(MUSL):
            self.skipTest("no musl (musl-tools)")
        root = os.path.join(self.base, "alpine")
        copy_to(root, MUSL, MUSL)
        copy_to(root, program, "/bin/batches")
        return root

    def start_all(self):
        """The victims by their kind, at their first gates, with their pids."""
        layer = self.glibc_layer()
        trixie = self.overlay(container.Container("trixie", "python3").path, "trixie")
        copy_to(trixie, harness.program("batches"), "/bin/batches")
        roots = {
            "leaky": (self.overlay(layer, "leaky"), LEAKY),
            "quiet": (self.overlay(layer, "quiet"), QUIET),
            "alpine": (self.musl_root(), ALPINE),
            "trixie": (trixie, TRIXIE),
        }
        return {kind: self.runc.run(self.name(kind), ["/bin/batches", *numbers], root)
                for kind, (root, numbers) in roots.items()}

    def run_gates(self, victims):
        """All allocate; the quiet one frees it again."""
        for victim, _ in victims.values():
            for gate in ("DONE a", "DONE b", "DONE c"):
                victim.go(gate)
        for gate in ("DONE free a", "DONE free b"):
            victims["quiet"][0].go(gate)

    def group(self, report, kind):
        """The one group of that container."""
        groups = [group for group in report["groups"] if group["container"] == self.name(kind)]
        self.assertEqual(len(groups), 1, [group["container"] for group in report["groups"]])
        return groups[0]

    def check_leak(self, report, kind, numbers):
        """The group has the three sites, and nothing of batches is elsewhere."""
        group = self.group(report, kind)
        sites = [site for site in report["sites"] if site["group"] == group["id"]]
        for letter, count, size in zip("abc", numbers[::2], numbers[1::2]):
            site, = [site for site in sites
                     if harness.functions(site)[:1] == [f"batch_{letter}"]]
            self.assertEqual((site["live_count"], site["live_bytes"], site["alloc_count"]),
                             (count, count * size, count), (kind, letter))
            if kind != "alpine": # Debian's musl has no unwind information
                self.assertEqual(site["stack_end"], "complete", kind)
        self.assertEqual(group["live_bytes"], sum(site["live_bytes"] for site in sites))
        self.assertEqual(group["live_count"], sum(numbers[::2]))

    def check_quiet(self, report):
        """It is there, was seen to allocate, and has nothing left."""
        group = self.group(report, "quiet")
        self.assertEqual((group["processes"], group["untraced"], group["sites"]), (1, 0, 0))
        self.assertEqual((group["live_bytes"], group["live_count"]), (0, 0))
        self.assertEqual((group["alloc_count"], group["free_count"]), 2 * (sum(QUIET[::2]),))

    def check_targets(self, report, victims):
        """Each process is in its group."""
        for kind, (_, pid) in victims.items():
            target, = [target for target in report["targets"] if target["pid"] == pid]
            self.assertEqual((target["container"], target["group"]),
                             (self.name(kind), self.group(report, kind)["id"]))
        self.assertIn("", [group["container"] for group in report["groups"]])

    def test_each_leak_is_under_its_containers_name(self):
        # Made before: it takes thousands of processes, and the trace is of the whole host.
        container.Container("trixie", "python3")
        tool = self.unfreed("--group", "container")
        victims = self.start_all()
        time.sleep(TABLE_S)
        self.run_gates(victims)
        report = tool.last_report()
        self.check_targets(report, victims)
        self.check_leak(report, "leaky", LEAKY)
        self.check_leak(report, "alpine", ALPINE)
        self.check_leak(report, "trixie", TRIXIE)
        self.check_quiet(report)

    def test_the_text_says_so(self):
        tool = self.unfreed("--group", "container", fmt="text", top=3)
        layer = self.glibc_layer()
        victims = {kind: self.runc.run(self.name(kind), ["/bin/batches", *numbers],
                                       self.overlay(layer, kind))
                   for kind, numbers in (("leaky", LEAKY), ("quiet", QUIET))}
        time.sleep(TABLE_S)
        self.run_gates(victims)
        tool.stop()
        text = tool.text()
        self.assertIn(f"\ncontainer {self.name('leaky')}: 17.7 KiB in 325 blocks (", text)
        self.assertIn(f"\n  container {self.name('quiet')}: 416 blocks allocated, none outstanding; "
                      "1 process\n", text)
        self.assertRegex(text, r"\n( *host|host): ")


class Services(harness.LiveTest):
    """Groups of processes of this host."""

    def test_a_program_in_a_control_group_is_a_service(self):
        victims = [self.victim("batches", *LEAKY) for _ in range(2)]
        other = self.victim("sites")
        tool = self.unfreed("-p", ",".join(str(one.pid) for one in (*victims, other)),
                            "--group", "service")
        for victim in victims:
            victim.go("DONE a")
        other.go("DONE leaks")
        report = tool.last_report()
        self.assertEqual(report["group_by"], "service")
        groups = {os.path.basename(group["exe"]): group for group in report["groups"]}
        self.assertEqual(sorted(groups), ["batches", "sites"])
        self.assertEqual((groups["batches"]["processes"], groups["batches"]["live_count"]),
                         (2, 2 * LEAKY[0]))
        site, = [site for site in report["sites"] if site["group"] == groups["batches"]["id"]]
        self.assertEqual((site["live_count"], site["pids"]),
                         (2 * LEAKY[0], sorted(victim.pid for victim in victims)))

    def test_each_process(self):
        victims = [self.victim("batches", *LEAKY) for _ in range(2)]
        tool = self.unfreed("-p", f"{victims[0].pid},{victims[1].pid}", "--group", "process")
        victims[0].go("DONE a")
        report = tool.last_report()
        groups = {group["pid"]: group for group in report["groups"]}
        self.assertEqual(sorted(groups), sorted(victim.pid for victim in victims))
        self.assertEqual(groups[victims[0].pid]["live_count"], LEAKY[0])
        self.assertEqual((groups[victims[1].pid]["live_count"], groups[victims[1].pid]["sites"]),
                         (0, 0))
