# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Packages of other releases, by apt-get with a state of its own for each of them.

The machine's sources, keys and installed packages stay as they are; signatures are checked all the
same. Lists and packages are kept and used again: remove the folder for newer ones.
"""

import glob
import os
import re
import shutil
import subprocess

DEBIAN = "http://deb.debian.org/debian"
DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
UBUNTU = "http://archive.ubuntu.com/ubuntu"
# Debian's, but not in the release that this is written for: fetched from the next one.
UBUNTU_KEYS_PACKAGE = ("trixie", "ubuntu-keyring")
UBUNTU_KEYS = "usr/share/keyrings/ubuntu-archive-keyring.gpg"


class Unavailable(Exception):
    """Not to be had: said in one line."""


def run(*command, **kwargs):
    """The output of a command that must succeed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          **kwargs)
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        raise Unavailable(f"{' '.join(command[:1])} failed: {words}")
    return done.stdout.decode("utf-8", "replace")


class Suite:
    """One suite of an archive, with an apt state of its own under folder."""

    def __init__(self, folder, url, keys, suite):
        self.folder = folder
        self.options = []
        for option in ("Dir::Etc::sourceparts=%s/none", "Dir::Etc::preferencesparts=%s/none",
                       "Dir::Etc::sourcelist=%s/sources.list", "Dir::State::lists=%s/lists",
                       "Dir::State::status=%s/status", "Dir::Cache=%s/cache"):
            self.options += ["-o", option % folder]
        self.options += ["-o", "Acquire::Languages=none", "-o", "APT::Architecture=amd64",
                         "-o", "APT::Architectures=amd64", "-o", "APT::Sandbox::User="]
        if not os.path.exists(os.path.join(folder, "updated")):
            self.update("".join(f"{kind} [arch=amd64 signed-by={keys}] {url} {suite} main\n"
                                for kind in ("deb", "deb-src")))

    def update(self, source):
        """Fetches the list of packages."""
        for name in ("lists/partial", "cache/archives/partial", "none"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        for name, text in ("status", ""), ("sources.list", source):
            with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
                file.write(text)
        run("apt-get", "-qq", *self.options, "update")
        with open(os.path.join(self.folder, "updated"), "w", encoding="ascii"):
            pass

    def newest(self, pattern):
        """The newest package whose whole name matches."""
        listed = run("apt-cache", *self.options, "search", "--names-only", f"^{pattern}$")
        names = [line.split()[0] for line in listed.split("\n") if line]
        if not names:
            raise Unavailable(f"no package {pattern}")
        return max(names, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])

    def has(self, name):
        """Is there such a package?"""
        return bool(run("apt-cache", *self.options, "search", "--names-only",
                        f"^{re.escape(name)}$"))

    def unpack_source(self, name, target):
        """Downloads a source package and unpacks it."""
        os.makedirs(os.path.dirname(target), exist_ok=True)
        folder = target + ".download"
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        run("apt-get", "-qq", *self.options, "source", "--download-only", name, cwd=folder)
        description = glob.glob(os.path.join(folder, "*.dsc"))[0]
        run("dpkg-source", "--no-check", "-x", description, target)
        shutil.rmtree(folder)

    def unpack(self, names, target):
        """Downloads packages and unpacks them."""
        os.makedirs(target)
        run("apt-get", "-qq", *self.options, "download", *names, cwd=target)
        for deb in glob.glob(os.path.join(target, "*.deb")):
            run("dpkg-deb", "-x", deb, target)
            os.unlink(deb)


class Archives:
    """The suites of Debian and Ubuntu, each with its state under one folder."""

    def __init__(self, folder):
        self.folder = folder

    def suite(self, archive, name):
        """A suite; Ubuntu's signatures are checked with the keys that Debian's package has."""
        folder = os.path.join(self.folder, name)
        if archive == "debian":
            return Suite(folder, DEBIAN, DEBIAN_KEYS, name)
        keys = os.path.join(self.folder, "ubuntu-keyring")
        if not os.path.exists(os.path.join(keys, UBUNTU_KEYS)):
            shutil.rmtree(keys, ignore_errors=True)
            self.suite("debian", UBUNTU_KEYS_PACKAGE[0]).unpack(UBUNTU_KEYS_PACKAGE[1:], keys)
        return Suite(folder, UBUNTU, os.path.join(keys, UBUNTU_KEYS), name)
