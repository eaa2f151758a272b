# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: the report says which container and service a traced process is in."""

import json
import os
import re
import shutil
import subprocess
import time

import harness

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
        if not shutil.which("runc"):
            self.skipTest("no runc")
        self.name = f"unfreed-test-{os.getpid()}"
        self.pid_file = os.path.join(self.folder, "pid")

    def write_bundle(self, command):
        """A root of this system's own folders, and the victims."""

        def bind(path):
            return {"destination": path, "type": "bind", "source": path,
                    "options": ["rbind", "ro"]}
        folders = [path for path in ("/usr", "/lib", "/lib64", harness.PROGRAMS)
                   if os.path.isdir(path)]
        config = {
            "ociVersion": "1.0.0",
            "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": command,
                        "env": ["PATH=/usr/bin"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "hostname": "pretender",
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                       *map(bind, folders)],
            "linux": {"namespaces": [{"type": kind} for kind in
                                     ("pid", "mount", "ipc", "uts")]},
        }
        os.mkdir(os.path.join(self.folder, "rootfs"))
        with open(os.path.join(self.folder, "config.json"), "w", encoding="utf-8") as text:
            json.dump(config, text)

    def run_container(self):
        """A victim at its first gate, in a container; returns it with its pid as the host has
        it."""
        self.write_bundle([harness.program("batches"), *ARGS])
        self.addCleanup(subprocess.run, ["runc", "delete", "-f", self.name], check=False,
                        stderr=subprocess.DEVNULL)
        try:
            victim = self.victim("runc", "run", "--bundle", self.folder, "--pid-file",
                                 self.pid_file, self.name, path=shutil.which("runc"))
        except AssertionError as error:
            self.skipTest(f"runc cannot run here: {error}")
        return victim, self.wait_pid()

    def wait_pid(self):
        """runc writes it when the container has started; in whole, by a rename."""
        deadline = time.monotonic() + harness.TIMEOUT_S
        while not os.path.exists(self.pid_file):
            self.assertLess(time.monotonic(), deadline, "no pid file")
            time.sleep(0.01)
        with open(self.pid_file, encoding="ascii") as text:
            return int(text.read())

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
        later = self.victim("runc", "exec", self.name, harness.program("batches"), *ARGS,
                            path=shutil.which("runc"))
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
