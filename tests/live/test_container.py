# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: the report says which container and service a traced process is in."""

import os
import re
import shutil
import time

import harness
import runc

HASH = "0123456789abcdef" * 4
BLOCKS = ("a", 211, 48), ("b", 103, 64), ("c", 11, 128)
ARGS = [str(number) for _, *numbers in BLOCKS for number in numbers]


def cgroup2_mount():
    """Where the unified hierarchy is, or None."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    return None


class Runc(harness.LiveTest):
    """A container of runc's own, by the name that its user gave it."""

    def setUp(self):
        super().setUp()
        self.runc = runc.Runc(self)
        self.name = f"unfreed-test-{os.getpid()}"

    def run_container(self):
        """A victim at its first gate, in a container of this system's own folders; with its pid as
        the host has it."""
        folders = [runc.bind(path) for path in ("/usr", "/lib", "/lib64", harness.PROGRAMS)
                   if os.path.isdir(path)]
        return self.runc.run(self.name, [harness.program("batches"), *ARGS], mounts=folders)

    def test_a_process_in_a_container_has_its_name(self):
        victim, pid = self.run_container()
        tool = self.unfreed("-p", pid)
        victim.go("DONE a")
        report = tool.last_report()
        self.assert_site(report, "batch_a", 211, 211 * 48)
        target, = report["targets"]
        self.assertEqual((target["pid"], target["comm"]), (pid, "batches"))
        self.assertEqual(target["container"], self.name)
        self.assertEqual(target["container_id"], self.name)
        self.assertEqual((target["pod"], target["pod_namespace"]), ("", ""))
        self.assert_no_loss(report)

    def test_the_head_of_the_text_has_it_after_the_end_too(self):
        victim, pid = self.run_container()
        tool = self.unfreed("-p", pid, fmt="text")
        for gate in ("DONE a", "DONE b", "DONE c"):
            victim.go(gate)
        victim.finish()
        tool.wait()
        head = f"  pid {pid} batches in container {self.name}, exited\n"
        self.assertIn(head, tool.text())

    def test_by_its_name_with_what_comes_later_in_it_and_nothing_else(self):
        victim, pid = self.run_container()
        outside = self.victim("batches", *ARGS)
        tool = self.unfreed("--container", self.name)
        for gate in ("DONE a", "DONE b"):
            victim.go(gate)
            outside.go(gate)
        later = self.runc.enter(self.name, harness.program("batches"), *ARGS)
        time.sleep(0.2)  # the unwind tables of a program that was not there before
        later.go("DONE a")
        report = tool.last_report()
        self.assertEqual({one["container"] for one in report["targets"]}, {self.name}, report["targets"])
        batches = sorted(one["pid"] for one in report["targets"] if one["comm"] == "batches")
        self.assertEqual((len(batches), pid in batches, outside.pid in batches),
                         (2, True, False))
        site, = harness.find_sites(report, "batch_a")
        self.assertEqual((site["live_count"], sorted(site["pids"])), (2 * 211, batches))

    def test_a_name_that_is_none(self):
        self.run_container()
        tool = harness.Unfreed("--container", "unfreed-no-such-thing")
        self.addCleanup(tool.release)
        result = tool.wait()
        self.assertEqual(result.status, 1)
        self.assertIn("no container 'unfreed-no-such-thing'; there are: ", result.stderr)
        self.assertIn(self.name, result.stderr)


class Cgroups(harness.LiveTest):
    """What the kernel alone says, where there is no runtime."""

    def enter_cgroup(self, pid, path):
        """Moves the process into a new cgroup; removed at the end, when it is empty."""
        mount = cgroup2_mount()
        if not mount:
            self.skipTest("no cgroup2")
        folder = mount
        for name in path.split("/"):
            folder = os.path.join(folder, name)
            try:
                os.mkdir(folder)
            except OSError as error:
                self.skipTest(f"no cgroup can be made: {error}")
            self.addCleanup(os.rmdir, folder)
        self.addCleanup(harness.kill_descendants)
        with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(pid))

    def trace_in(self, path, fmt="json"):
        """Traces a victim in that cgroup."""
        victim = self.victim("batches", *ARGS)
        self.enter_cgroup(victim.pid, path)
        tool = self.unfreed("-p", victim.pid, fmt=fmt)
        victim.go("DONE a")
        if fmt == "json":
            return tool.last_report()["targets"][0]
        tool.stop()
        return tool.text()

    def test_a_service(self):
        target = self.trace_in(f"unfreed{os.getpid()}.slice/shop@1.service/workers")
        self.assertEqual((target["unit"], target["container"]), ("shop@1.service", ""))
        text = self.trace_in(f"unfreed{os.getpid()}t.slice/shop@1.service", "text")
        self.assertRegex(text, r"  pid \d+ batches of shop@1\.service, rss ")

    def test_a_container_that_nobody_knows(self):
        target = self.trace_in(f"docker-{HASH}.scope")
        self.assertEqual((target["container_id"], target["container"]), (HASH, HASH[:12]))

    def test_a_pod(self):
        uid = "8dbc41fd_5c44_4c2a_bb69_0f2d3a2d5b7c"
        target = self.trace_in(f"kubepods-pod{uid}.slice/crio-{HASH}.scope")
        self.assertEqual((target["container_id"], target["pod"]), (HASH, uid.replace("_", "-")))

    def test_namespaces_of_its_own(self):
        victim = self.victim("unshare", "--pid", "--mount", "--fork", "--kill-child",
                             harness.program("batches"), *ARGS, path=shutil.which("unshare"))
        pid, = harness.children(victim.pid)
        inode = os.stat(f"/proc/{pid}/ns/pid").st_ino
        tool = self.unfreed("-p", pid)
        victim.go("DONE a")
        target, = tool.last_report()["targets"]
        self.assertEqual(target["container"], f"pidns-{inode}")

    def test_a_process_of_the_host_is_in_none(self):
        with open("/proc/self/cgroup", encoding="utf-8") as cgroup:
            if re.search(r"[0-9a-f]{64}|lxc|machine-", cgroup.read()):
                self.skipTest("in a container ourselves")
        target, = self.trace(self.victim("batches", *ARGS), "DONE a")["targets"]
        self.assertEqual((target["container"], target["container_id"]), ("", ""))
