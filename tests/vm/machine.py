# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""A disk with the tool, the victims and what they need, and a machine that boots from it.

The machine is emulated (TCG): much slower than this one, but it runs where KVM does not. It has one
disk, ext4, made without mounting anything; what the guest leaves in /results there is read out of
the image after it has powered off.

QEMU 7.2, Debian 12's, gets the flags wrong once in a while after cmpxchg16b, which the kernel's
allocator uses: that showed as double faults in kmem_cache_alloc, and as single words of memory
lost. (Without cmpxchg16b, Linux 7 has no kmalloc_nolock, and so no task storage.) Then a newer one
is fetched from the backports; its libraries are the same.
"""

import glob
import os
import re
import shutil
import subprocess

import packages

BOOT_LIMIT_S = 1800
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = os.path.realpath("/usr/bin/python3")
STDLIB = os.path.join("/usr/lib", os.path.basename(PYTHON))
# Large, and nobody here wants it.
STDLIB_WITHOUT = shutil.ignore_patterns("test", "idlelib", "ensurepip", "lib2to3", "pydoc_data",
                                        "distutils", "tkinter", "config-*", "*-dbg*", "*.pyc")
PYTHON_MODULES = ("_ctypes", "_json", "_bz2", "_lzma", "_contextvars", "_queue", "_posixsubprocess")
DIRECTORIES = ("proc", "sys", "dev", "tmp", "run", "root", "results", "etc", "tests")

INIT = """#!/bin/busybox sh
# The job, then off.
export PATH=/bin:/usr/bin UNFREED=/unfreed UNFREED_PROGRAMS=/programs
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t tmpfs none /tmp
/bin/busybox mount -t tmpfs none /run
/bin/busybox ifconfig lo 127.0.0.1
cd /root
. /job >/results/stdout 2>/results/stderr
echo $? >/results/status
/bin/busybox dmesg >/results/dmesg 2>&1
/bin/busybox sync
/bin/busybox mount -o remount,ro /
/bin/busybox poweroff -f
"""


def debug_file(path):
    """Where the separate debug information of a file is, if it is installed here; or None."""
    notes = subprocess.run(["readelf", "-n", path], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, check=False).stdout.decode()
    build_id = re.search(r"Build ID: (\w\w)(\w+)", notes)
    name = "/usr/lib/debug/.build-id/%s/%s.debug" % build_id.groups() if build_id else ""
    return name if os.path.exists(name) else None


def libraries(path):
    """The shared libraries of a program, the dynamic linker included."""
    listed = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            check=False).stdout.decode()
    words = [word for line in listed.split("\n") for word in line.split()]
    # Of what it does not understand (musl) it says other things.
    return [word for word in words if word.startswith("/") and os.path.isfile(word)]


class Disk:
    """The folder that becomes the disk."""

    def __init__(self, folder, tool, programs):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        for name in DIRECTORIES:
            os.makedirs(os.path.join(folder, name))
        # As on this machine: victims' stacks then end in the same libraries.
        for name in "bin", "lib", "lib64":
            os.makedirs(os.path.join(folder, "usr", name))
            os.symlink("usr/" + name, os.path.join(folder, name))
        self.add_program("/bin/busybox", "/usr/bin/busybox")
        for applet in "sh", "sleep", "cat", "true":
            os.symlink("busybox", self.path("/usr/bin/" + applet))
        self.add_program(tool, "/unfreed")
        for program in glob.glob(os.path.join(programs, "*")):
            if not program.endswith(".d"):
                self.add_program(program, "/programs/" + os.path.basename(program))
        self.add_python()
        for name in "live", "programs", "vm":
            shutil.copytree(os.path.join(ROOT, "tests", name), self.path("/tests/" + name),
                            ignore=shutil.ignore_patterns("__pycache__"))

    def path(self, inside):
        """A path on the disk, in the folder."""
        return self.folder + inside

    def add(self, source, inside):
        """Copies a file, unless it is there."""
        target = self.path(os.path.realpath(os.path.dirname(inside)) + "/"
                           + os.path.basename(inside))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            shutil.copy(source, target)

    def add_program(self, source, inside):
        """A program, with its libraries and their debug files where they are here."""
        self.add(source, inside)
        for library in libraries(source):
            debug = debug_file(library)
            self.add(library, library)
            if debug:
                self.add(debug, debug)

    def add_python(self):
        """The interpreter and its library."""
        self.add_program(PYTHON, "/usr/bin/python3")
        shutil.copytree(STDLIB, self.path(STDLIB), ignore=STDLIB_WITHOUT)
        for name in PYTHON_MODULES:
            for path in glob.glob(os.path.join(STDLIB, "lib-dynload", name + ".*")):
                for library in libraries(path):
                    self.add(library, library)

    def make_image(self, path, job):
        """The disk's image: ext4 with some room. job is what the guest's shell runs."""
        for name, text in ("/job", job + "\n"), ("/init", INIT):
            with open(self.path(name), "w", encoding="utf-8") as file:
                file.write(text)
        os.chmod(self.path("/init"), 0o755)
        used_kb = int(subprocess.run(["du", "-sk", self.folder], stdout=subprocess.PIPE,
                                     check=True).stdout.split()[0])
        if os.path.exists(path):
            os.unlink(path)
        # A file's size in KiB, and half as much again for what ext4 needs itself.
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", self.folder,
                        path, f"{used_kb * 3 // 2 + 32768}k"], check=True,
                       stdout=subprocess.DEVNULL)


class Qemu:
    """An emulator that gets it right: the machine's own, or one unpacked under folder."""

    PROGRAM = "qemu-system-x86_64"
    GOOD_VERSION = 10
    SUITE = "bookworm-backports"
    PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")

    def __init__(self, folder):
        self.command = [self.PROGRAM]
        if self.version() >= self.GOOD_VERSION:
            return
        unpacked = os.path.join(folder, "qemu")
        if not os.path.exists(unpacked):
            suite = packages.Archives(os.path.join(folder, "apt")).suite("debian", self.SUITE)
            suite.unpack(self.PACKAGES, unpacked)
        self.command = [os.path.join(unpacked, "usr", "bin", self.PROGRAM)]
        for name in "qemu", "seabios":
            self.command += ["-L", os.path.join(unpacked, "usr", "share", name)]

    def version(self):
        """The installed one's major version; 0 if there is none."""
        try:
            said = packages.run(self.PROGRAM, "--version")
        except FileNotFoundError:
            return 0
        return int(re.search(r"version (\d+)", said).group(1))

    def boot(self, kernel, image, console):
        """Boots and waits for power-off. False: it took too long. console: where it says things."""
        command = [*self.command, "-accel", "tcg", "-machine", "q35", "-cpu", "max", "-smp", "2",
                   "-m", "1024", "-nodefaults", "-display", "none", "-no-reboot",
                   "-kernel", os.path.join(kernel, "vmlinuz"),
                   "-initrd", os.path.join(kernel, "initrd"),
                   "-append", "console=ttyS0 quiet panic=-1 mitigations=off", "-serial", "stdio",
                   "-drive", f"if=virtio,file={image},format=raw,cache=unsafe"]
        with open(console, "wb") as out:
            try:
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                               timeout=BOOT_LIMIT_S, check=False)
            except subprocess.TimeoutExpired:
                return False
        return True


def read_results(image, target):
    """Copies /results from the image to the folder target."""
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    subprocess.run(["debugfs", "-R", f"rdump /results {target}", image], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=True)
    return os.path.join(target, "results")
