# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Kernels to boot: from packages of Debian and Ubuntu to a kernel file and a tiny initramfs.

What was made is kept and used again: remove the folder for newer kernels.
"""

import glob
import gzip
import lzma
import os
import re
import shutil
import subprocess

import packages

# name: archive, suite, its packages' names up to the flavour (the newest is taken), the ways to
# attach that it must have. Each is here for a change in the kernel that unfreed has to do with.
KERNELS = {
    "5.15": ("ubuntu", "jammy-updates", r"5\.15\.0-", "perf"),
    "5.19": ("ubuntu", "jammy-updates", r"5\.19\.0-", "perf"),            # bpf_find_vma (5.17)
    "6.1": ("debian", "bookworm", r"6\.1\.0-", "perf"),                   # maple tree, growing maps
    "6.5": ("ubuntu", "jammy-updates", r"6\.5\.0-", "perf"),              # per-VMA locks (6.4)
    "6.8": ("ubuntu", "noble", r"6\.8\.0-", "perf multi"),                # (6.6) pid filter broken
    "6.11": ("ubuntu", "noble-updates", r"6\.11\.0-", "perf multi"),      # pid filter right (6.10)
    "6.12": ("debian", "bookworm-backports", r"6\.12\.", "perf multi"),   # kprobe sessions only
    "6.14": ("ubuntu", "noble-updates", r"6\.14\.0-", "perf multi session"),   # (6.13)
    "6.16": ("debian", "trixie-backports", r"6\.16\.", "perf multi session"),
    "7.0": ("ubuntu", "noble-updates", r"7\.0\.0-", "perf multi session"),
    "7.2": ("debian", "trixie-backports", r"7\.2\.", "perf multi session"),
    "7.3": ("debian", "trixie-backports", r"7\.3\.", "perf multi session"),    # the newest there is
}

MODULES = ("virtio_pci", "virtio_blk", "ext4")

INIT = """#!/bin/busybox sh
# From the initramfs to the disk.
/bin/busybox mount -t devtmpfs none /dev
while read -r module; do
	/bin/busybox insmod "/modules/$module" || echo "cannot load $module"
done </modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do
	/bin/busybox sleep 0.05
	tries=$((tries + 1))
done
/bin/busybox mount -t ext4 /dev/vda /root || /bin/busybox poweroff -f
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /init
"""


class Kernels:
    """What was downloaded and made, under one folder."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.archives = packages.Archives(os.path.join(self.folder, "apt"))

    def get(self, name):
        """Folder of a kernel: vmlinuz, initrd, release. Downloads it if it is not there."""
        target = os.path.join(self.folder, name)
        if os.path.exists(os.path.join(target, "release")):
            return target
        shutil.rmtree(target, ignore_errors=True)
        archive, suite_name, version, _ = KERNELS[name]
        suite = self.archives.suite(archive, suite_name)
        flavour = "cloud-amd64" if archive == "debian" else "generic"
        image = suite.newest(f"linux-image-{version}.*{flavour}")
        unpacked = os.path.join(target, "package")
        # Ubuntu, and Debian since 7.0, have the parts in packages of their own.
        parts = [image.replace("image", part) for part in ("base", "binary", "modules")]
        suite.unpack([image, *filter(suite.has, parts)], unpacked)
        make_bootable(unpacked, target)
        shutil.rmtree(unpacked)
        return target


def make_bootable(unpacked, target):
    """From a kernel's files to vmlinuz, initrd and, last of all, release."""
    modules = os.path.join(unpacked, "lib", "modules")
    if not os.path.exists(modules):  # merged /usr
        os.makedirs(os.path.dirname(modules), exist_ok=True)
        os.symlink("../usr/lib/modules", modules)
    if not os.path.exists(modules):
        raise packages.Unavailable("no modules in the packages")
    release = os.listdir(modules)[0]
    images = glob.glob(os.path.join(unpacked, "boot", "vmlinuz-*"))
    images += glob.glob(os.path.join(modules, release, "vmlinuz"))
    if not images:
        raise packages.Unavailable(f"no vmlinuz in the packages of {release}")
    shutil.copy(images[0], os.path.join(target, "vmlinuz"))
    packages.run("depmod", "-b", unpacked, release)
    make_initrd(unpacked, release, os.path.join(target, "initrd"))
    with open(os.path.join(target, "release"), "w", encoding="ascii") as file:
        file.write(release + "\n")


def read_module(path):
    """A module's bytes: busybox unpacks none."""
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(os.path.splitext(path)[1], open)
    with opener(path, "rb") as file:
        return file.read()


def make_initrd(unpacked, release, path):
    """busybox, the modules for a virtio disk with ext4 in the order of their needs, and INIT."""
    root = path + ".root"
    for name in ("bin", "dev", "modules", "root"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin", "busybox"))
    order = []
    for module in MODULES:
        needed = packages.run("modprobe", "-d", unpacked, "-S", release, "--show-depends", module)
        for file in re.findall(r"^insmod (\S+)", needed, re.M):
            name = re.sub(r"\.(xz|zst|gz)$", "", os.path.basename(file))
            if name in order:
                continue
            order.append(name)
            with open(os.path.join(root, "modules", name), "wb") as out:
                out.write(read_module(file))
    with open(os.path.join(root, "modules", "order"), "w", encoding="ascii") as file:
        file.writelines(name + "\n" for name in order)
    with open(os.path.join(root, "init"), "w", encoding="ascii") as file:
        file.write(INIT)
    os.chmod(os.path.join(root, "init"), 0o755)
    packages.run("sh", "-c", 'cd "$1" && find . | cpio -o -H newc --quiet >"$2"', "sh", root, path)
    shutil.rmtree(root)
