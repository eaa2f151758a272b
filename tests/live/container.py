# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Another Debian in a container: a root file system by debootstrap, kept for the next time, and
processes in it that have namespaces of their own.

The roots are in build/roots, or in the folder that UNFREED_ROOTS names."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness

ROOTS = os.environ.get("UNFREED_ROOTS", os.path.join(harness.ROOT, "build", "roots"))
DOWNLOAD_LIMIT_S = 900
# In namespaces of its own: $1 is the root, $2 a list of folders that are to be in there as they
# are here; the rest is the command.
ENTER = r"""
root=$1 folders=$2; shift 2
mount -t proc proc "$root/proc"
for folder in $folders; do
    mkdir -p "$root$folder" && mount --bind "$folder" "$root$folder" || exit
done
exec chroot "$root" "$@"
"""


def mirror():
    """Where this machine has its packages from."""
    for name in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        try:
            with open(name, encoding="utf-8") as text:
                found = re.search(r"^(?:deb|URIs:)\s.*?(https?://\S+/debian)/?\s", text.read(),
                                  re.MULTILINE)
        except FileNotFoundError:
            continue
        if found:
            return found[1]
    return "http://deb.debian.org/debian"


def make_root(suite, packages, path):
    """Downloads and unpacks; whole or not at all. Skips the test where it cannot be done."""
    tool = shutil.which("debootstrap", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not tool:
        raise unittest.SkipTest("debootstrap is not installed")
    os.makedirs(ROOTS, exist_ok=True)
    new = tempfile.mkdtemp(prefix=suite + ".", dir=ROOTS)
    try:
        made = subprocess.run([tool, "--variant=minbase", "--include=" + ",".join(packages), suite,
                               new, mirror()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=DOWNLOAD_LIMIT_S, check=False)
        if made.returncode:
            raise unittest.SkipTest(f"debootstrap of {suite}: "
                                    + (made.stdout.strip().split("\n") or [""])[-1])
        os.chmod(new, 0o755)
        os.rename(new, path)
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest(f"debootstrap of {suite} takes more than "
                                f"{DOWNLOAD_LIMIT_S} s") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


class Container:
    """A release of Debian, with some packages."""

    def __init__(self, suite, *packages):
        self.path = os.path.join(ROOTS, "-".join((suite, *packages)))
        if not os.path.exists(os.path.join(self.path, "usr", "bin", packages[0])):
            make_root(suite, packages, self.path)

    def victim(self, *command, folders=(), preload=None):
        """A victim in there, at its first gate; its pid is the one out here."""
        return enter(self.path, *command, folders=folders, preload=preload)


def enter(root, *command, folders=(), preload=None):
    """A victim in that root and namespaces of its own, at its first gate; its pid is the one out
    here."""
    env = ["env", f"LD_PRELOAD={preload}"] if preload else []
    victim = harness.Victim(
        "", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "sh", "-c",
        ENTER, "sh", root, " ".join(folders), *env, *command, path="unshare")
    victim.pid, = harness.children(victim.proc.pid)
    return victim
