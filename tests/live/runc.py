# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Containers by runc: a bundle with a root file system, run by a name."""

import json
import os
import shutil
import subprocess
import time

import harness

NAMESPACES = ("pid", "mount", "ipc", "uts")


def bind(path, where=None):
    """A folder of this system in the container."""
    return {"destination": where or path, "type": "bind", "source": path, "options": ["rbind", "ro"]}


class Runc:
    """Starts containers for a test, and removes them with it."""

    def __init__(self, test):
        self.path = shutil.which("runc")
        if not self.path:
            test.skipTest("no runc")
        self.test = test

    def write_bundle(self, folder, root, command, mounts):
        """What runc starts it by."""
        config = {
            "ociVersion": "1.0.0",
            "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": command,
                        "env": ["PATH=/usr/bin:/bin"], "cwd": "/"},
            "root": {"path": root},
            "hostname": "pretender",
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, *mounts],
            "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
        }
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as text:
            json.dump(config, text)

    def run(self, name, command, root=None, mounts=()):
        """A victim at its first gate, in a container; returns it with its pid as the host has it.
        Without a root it has an empty one."""
        folder = os.path.join(self.test.folder, name)
        os.mkdir(folder)
        if not root:
            root = os.path.join(folder, "rootfs")
            os.mkdir(root)
        self.write_bundle(folder, root, [str(word) for word in command], mounts)
        pid_file = os.path.join(folder, "pid")
        self.test.addCleanup(subprocess.run, [self.path, "delete", "-f", name], check=False,
                             stderr=subprocess.DEVNULL)
        try:
            victim = harness.Victim("runc", "run", "--bundle", folder, "--pid-file", pid_file, name,
                                    path=self.path)
        except AssertionError as error:
            self.test.skipTest(f"runc cannot run here: {error}")
        return victim, self.wait_pid(pid_file)

    def enter(self, name, *command):
        """One more victim in a container that runs."""
        return harness.Victim("runc", "exec", name, *command, path=self.path)

    def wait_pid(self, pid_file):
        """runc writes it when the container has started; in whole, by a rename."""
        deadline = time.monotonic() + harness.TIMEOUT_S
        while not os.path.exists(pid_file):
            self.test.assertLess(time.monotonic(), deadline, "no pid file")
            time.sleep(0.01)
        with open(pid_file, encoding="ascii") as text:
            return int(text.read())
