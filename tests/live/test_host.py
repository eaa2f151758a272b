# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The whole host, and parts of it: processes that were there and that come later, in containers'
file systems, and many short ones."""

import os
import shutil
import subprocess
import tempfile
import time

import harness

OBJECTS = ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6")
CGROUPS = "/sys/fs/cgroup"
TABLE_S = 0.2 # stacks of a new file are cut until its unwind table is built
LEAKS = {"leak_malloc": 101, "leak_calloc": 103, "leak_realloc_of_null": 107}


def target(report, pid):
    """The target with that number."""
    return [target for target in report["targets"] if target["pid"] == pid]


def cgroup_folder():
    """A place for a control group of our own: the unified hierarchy or the first other one."""
    for folder in (CGROUPS, os.path.join(CGROUPS, "unified"), os.path.join(CGROUPS, "memory")):
        if os.path.exists(os.path.join(folder, "cgroup.procs")):
            return folder
    return None


class Host(harness.LiveTest):
    def leaky(self, **kwargs):
        """A victim whose counts are known."""
        victim = harness.Victim("sites", **kwargs)
        self.addCleanup(victim.proc.kill)
        return victim

    def check_leaks(self, report, pid):
        """The sites of the victim have its numbers, and all of its stacks are whole."""
        self.assertEqual(len(target(report, pid)), 1, report["targets"])
        for function, count in LEAKS.items():
            sites = harness.find_sites(report, function, pid=pid)
            self.assertEqual(sum(site["live_count"] for site in sites), count, function)
            self.assertEqual({site["stack_end"] for site in sites}, {"complete"})

    def test_processes_from_before_and_from_later(self):
        before = self.leaky()
        tool = self.start("--per-process")
        later = self.leaky()
        before.go("DONE leaks")
        later.go("DONE leaks")
        report = tool.last_report()
        self.check_leaks(report, before.pid)
        self.check_leaks(report, later.pid)
        self.assertEqual(target(report, tool.pid), [])
        self.assertEqual([one for one in report["targets"] if one["comm"] == "kthreadd"], [])

    def test_a_forked_child_has_only_its_own(self):
        tool = self.start("--per-process")
        victim = harness.Victim("forks", "fork")
        self.addCleanup(victim.proc.kill)
        victim.go("DONE shared")
        victim.go("DONE fork")
        children = harness.children(victim.pid)
        report = tool.last_report()
        for pid in children:
            self.assertEqual(len(target(report, pid)), 1)
            self.assertEqual(harness.find_sites(report, "alloc_shared", pid=pid), [])
        self.assertTrue(children)
        self.assertTrue(harness.find_sites(report, "alloc_shared", pid=victim.pid))

    def test_a_name(self):
        before = self.leaky()
        tool = self.start("--per-process", "--comm", "sites")
        later = self.leaky()
        other = harness.Victim("reallocs")
        self.addCleanup(other.proc.kill)
        before.go("DONE leaks")
        later.go("DONE leaks")
        other.go("DONE reallocs")
        report = tool.last_report()
        self.check_leaks(report, before.pid)
        self.check_leaks(report, later.pid)
        self.assertEqual({one["comm"] for one in report["targets"]}, {"sites"})

    def test_a_control_group(self):
        folder = cgroup_folder()
        self.assertTrue(folder, "no control groups are mounted here")
        group = os.path.join(folder, f"unfreed-test-{os.getpid()}")
        os.mkdir(group)
        self.addCleanup(os.rmdir, group)
        self.addCleanup(harness.kill_descendants)
        before, outside = self.leaky(), self.leaky()
        with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(before.pid))
        tool = self.start("--per-process", "--cgroup", group)
        # A shell that enters the group and then executes the victim.
        script = os.path.join(self.new_folder(), "enter")
        with open(script, "w", encoding="ascii") as text:
            text.write(f"#!/bin/sh\necho $$ >{group}/cgroup.procs\n"
                       f"exec {harness.program('sites')}\n")
        os.chmod(script, 0o755)
        later = self.leaky(path=script)
        for victim in (before, outside, later):
            victim.go("DONE leaks")
        report = tool.last_report()
        self.check_leaks(report, before.pid)
        self.check_leaks(report, later.pid)
        self.assertEqual(target(report, outside.pid), [])

    def test_a_control_group_that_is_not_there(self):
        tool = harness.Unfreed("--cgroup", "/no/such/group")
        self.addCleanup(tool.release)
        result = tool.wait()
        self.assertEqual(result.status, 1)
        self.assertIn("no control group /no/such/group", result.stderr)

    def new_folder(self):
        """Removed afterwards."""
        path = tempfile.mkdtemp(prefix="unfreed-host-")
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def start(self, *args):
        """The tool on the whole host, attached."""
        tool = harness.Unfreed("--per-process", *args)
        self.addCleanup(tool.release)
        return tool.wait_attached()

    def mount_roots(self, names):
        """Root file systems on overlays of one layer, as containers of one image have them."""
        base = self.new_folder()
        subprocess.run(["mount", "-t", "tmpfs", "none", base], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", base], check=False)
        layer = os.path.join(base, "layer")
        for path in (*OBJECTS, harness.program("sites")):
            where = "/bin/sites" if path.endswith("/sites") else path
            os.makedirs(os.path.dirname(layer + where), exist_ok=True)
            shutil.copy(os.path.realpath(path), layer + where)
        roots = []
        for name in names:
            parts = [os.path.join(base, name + part) for part in ("", "-upper", "-work")]
            for part in parts:
                os.mkdir(part)
            subprocess.run(["mount", "-t", "overlay", "overlay", parts[0], "-o",
                            f"lowerdir={layer},upperdir={parts[1]},workdir={parts[2]}"],
                           check=True)
            self.addCleanup(subprocess.run, ["umount", "-l", parts[0]], check=False)
            roots.append(parts[0])
        return roots

    def in_root(self, root):
        """A victim in another root, started by a script."""
        script = os.path.join(self.new_folder(), "enter")
        with open(script, "w", encoding="ascii") as text:
            text.write(f"#!/bin/sh\nexec chroot {root} /bin/sites\n")
        os.chmod(script, 0o755)
        return self.leaky(path=script)

    def test_containers_that_share_a_layer(self):
        first, second, third = self.mount_roots(("first", "second", "third"))
        before = self.in_root(first)
        tool = self.start("-v", "--per-process")
        later, last = self.in_root(second), self.in_root(third)
        for victim in (before, later, last):
            victim.go("DONE leaks")
        report = tool.last_report()
        for victim in (before, later, last):
            self.check_leaks(report, victim.pid)
        # One file with three names is probed once: twice would be counted twice, or cost twice.
        probed = [line for line in tool.stderr.all if "libc.so.6: glibc" in line]
        self.assertEqual(len([line for line in probed if ": /lib/" in line]), 1, probed)

    def test_a_container_that_comes_later_with_a_libc_of_its_own(self):
        tool = self.start("--per-process")
        root, = self.mount_roots(("root",))
        victim = self.in_root(root)
        time.sleep(TABLE_S)
        victim.go("DONE leaks")
        self.check_leaks(tool.last_report(), victim.pid)

    def test_short_processes_leave_nothing(self):
        tool = harness.Unfreed("--per-process", interval="500ms")
        self.addCleanup(tool.release)
        tool.wait_attached()
        victim = self.leaky()
        time.sleep(TABLE_S)
        victim.go("DONE leaks")
        subprocess.run(["/bin/sh", "-c", "i=0; while [ $i -lt 607 ]; do /bin/true & /bin/true; "
                        "i=$((i+1)); done; wait"], check=True)
        tool.fresh_report()
        report = tool.fresh_report()
        self.check_leaks(report, victim.pid)
        self.assertLess(sum(one["comm"] == "true" for one in report["targets"]), 100)
        losses = set(report["losses"]) - {"ended_unreported", "call_abandoned"}
        self.assertEqual(losses, set(), report["losses"])
