# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: a container that means harm harms nobody but itself. Its files, their names, its links and
what it does to them while they are read crash nothing, lead nowhere outside of its root, and show
as clean text and valid JSON; what it allocates is counted all the same, to the block."""

import json
import os
import re
import shutil
import struct
import subprocess
import threading
import time

import container
import harness
import test_container

GLIBC = ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6")
KEPT = 211
KEPT_SIZE = 59
UGLY = "\x1b]0;evil\x07\n{\"}\\\u202e".encode() + b"\xff\xc3"
NAME = b"\x1b[2J\n\xff\"\\"
TERABYTE = 1 << 40
TABLE_S = 0.3
# What shows nothing, moves the cursor or turns the text around.
UNCLEAN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
SANITIZED = os.path.join(os.path.dirname(os.path.abspath(harness.UNFREED)), "build", "asan",
                         "unfreed")


def refuse(constant):
    """For json.loads: NaN and the like are not JSON."""
    raise ValueError(constant)


class Scribbler:
    """Changes a file all the time, its length too."""

    def __init__(self, path):
        self.path = path
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        with open(path, "rb") as data:
            self.whole = data.read()
        self.thread.start()

    def run(self):
        """Header, tables and end, by turns."""
        turn = 0
        while not self.stop.wait(0.001):
            turn += 1
            with open(self.path, "r+b") as data:
                data.seek((turn * 7919 * 64) % len(self.whole))
                data.write(os.urandom(64))
                if turn % 5 == 0:
                    data.truncate(turn * 4096 % len(self.whole))
                if turn % 7 == 0:
                    data.seek(0)
                    data.write(self.whole)

    def end(self):
        """No more."""
        self.stop.set()
        self.thread.join()


class InRoot(harness.LiveTest):
    """A root full of traps."""

    def setUp(self):
        super().setUp()
        self.root = os.path.join(self.folder, "root")
        self.outside = os.path.join(self.folder, "outside")
        for path in ("proc", "bin", "tmp", "srv"):
            os.makedirs(os.path.join(self.root, path))
        for path in GLIBC:
            self.put(path, path)
        self.put("/bin/hostile", harness.program("hostile"))
        self.libc = self.inside("/srv/libc.so.6")
        shutil.copy(os.path.realpath(GLIBC[1]), self.libc)
        shutil.copy(self.libc, self.outside)

    def inside(self, path):
        """A path in the root."""
        return os.path.join(self.root, path.lstrip("/"))

    def put(self, where, source):
        """A copy of a file in the root."""
        os.makedirs(os.path.dirname(self.inside(where)), exist_ok=True)
        shutil.copy(os.path.realpath(source), self.inside(where))

    def copy_libc(self, name):
        """One more file that defines an allocator; its path inside."""
        path = b"/srv/" + (name if isinstance(name, bytes) else name.encode())
        shutil.copy(self.libc, os.fsencode(self.root) + path)
        return path

    def patched_libc(self, name, offset, bytes_):
        """The same with some bytes of its own."""
        path = self.copy_libc(name)
        with open(os.fsencode(self.root) + path, "r+b") as data:
            data.seek(offset)
            data.write(bytes_)
        return path

    def files(self):
        """Files that lie about themselves, by what they are."""
        sparse = self.copy_libc("sparse")
        os.truncate(os.fsencode(self.root) + sparse, TERABYTE)
        # Its sections are told to be at the far end of it, and to be very many.
        far = self.patched_libc("far", 0x28, struct.pack("<Q", TERABYTE // 2))
        with open(os.fsencode(self.root) + far, "r+b") as data:
            data.seek(0x3c)
            data.write(struct.pack("<HH", 0xffff, 0xfffe))
        os.truncate(os.fsencode(self.root) + far, TERABYTE)
        return [sparse, far, self.patched_libc("phnum", 0x38, b"\xff\xff"),
                self.patched_libc("noise", 0x40, bytes(range(256)) * 8),
                self.copy_libc(UGLY)]

    def start_victim(self, *commands):
        """In the root, in namespaces of its own."""
        return container.enter(self.root, "/bin/hostile", *map(os.fsdecode, commands))

    def check_text(self, text):
        """Nothing in it that a terminal would obey; valid UTF-8."""
        found = UNCLEAN.search(text.replace("\n", ""))
        self.assertIsNone(found, repr(text[max(0, found.start() - 40):][:80]) if found else "")

    def stop(self, tool):
        """Its last report, strictly read."""
        result = tool.stop()
        for word in ("Sanitizer", "runtime error"):
            self.assertNotIn(word, result.stderr)
        self.assertEqual(result.status, 0, result.stderr)
        self.check_text(result.stderr)
        with open(tool.output, "rb") as data:
            text = data.read().decode("utf-8", "strict")
        self.check_text(text)
        if not tool.is_json():
            return text
        return json.loads(text.strip().split("\n")[-1], parse_constant=refuse)

    def sanitized(self, *args, **kwargs):
        """The tool under AddressSanitizer, attached."""
        if not os.path.exists(SANITIZED):
            self.skipTest("no build/asan/unfreed")
        env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:exitcode=42",
               "UBSAN_OPTIONS": "print_stacktrace=1"}
        return self.unfreed(*args, tool=SANITIZED, env=env, **kwargs)

    def check_kept(self, report):
        """What the library of the victim keeps, whatever its functions are called."""
        sites = [site for site in report["sites"]
                 if site["live_bytes"] == KEPT * KEPT_SIZE and site["live_count"] == KEPT]
        self.assertEqual(len(sites), 1, harness.describe(report))
        return sites[0]

    def commands(self):
        """All that it does to its files, then what is counted."""
        words = ["name", NAME]
        for path in self.files():
            words += ["map", path]
        words += ["pipe", self.copy_libc("pipe"),
                  "flip", self.copy_libc("flip"), self.outside,
                  "flip", self.copy_libc("flip-up"), "../" * 20 + self.outside]
        self.put("/srv/keep.so", harness.program("keep.so"))
        return [*words, "map", self.copy_libc("scribbled"), "map", self.copy_libc("short"),
                "keep", "/srv/keep.so", str(KEPT)]

    def run_all(self, tool, victim):
        """Lets it do its worst while the tool looks."""
        scribbler = Scribbler(self.inside("/srv/scribbled"))
        self.addCleanup(scribbler.end)
        victim.go("DONE load")
        os.truncate(self.inside("/srv/short"), 4096)
        # The way to its libraries leads out of its root now.
        os.rename(self.inside("/lib"), self.inside("/lib.kept"))
        os.symlink("../" * 20 + "lib", self.inside("/lib"))
        time.sleep(TABLE_S)
        victim.go("DONE hostile")
        scribbler.end()
        return self.stop(tool)


class Hostile(InRoot):
    """The tool under sanitizers looks at it."""

    def test_a_process_from_before(self):
        victim = self.start_victim(*self.commands())
        report = self.run_all(self.sanitized("-p", victim.pid), victim)
        self.check_kept(report)
        target, = report["targets"]
        self.assertEqual(target["comm"].encode("utf-8", "surrogateescape")[:5], b"\x1b[2J\n")

    def test_one_that_starts_later_among_all_of_the_host(self):
        tool = self.sanitized("--group", "service", fmt="text", top=100)
        victim = self.start_victim(*self.commands())
        text = self.run_all(tool, victim)
        self.assertIn(f" in {KEPT} blocks ", text)
        self.assertIn("\\x1b[2J\\x0a\\xff\"\\\\", text)

    def test_a_hundred_thousand_mappings(self):
        path = self.copy_libc("many")
        self.put("/srv/keep.so", harness.program("keep.so"))
        victim = self.start_victim("many", path, "60007", "churn", path, "50021",
                                   "keep", "/srv/keep.so", str(KEPT))
        tool = self.sanitized("-p", victim.pid)
        victim.go("DONE load")
        victim.go("DONE hostile")
        report = self.stop(tool)
        # Records of mappings may be lost, and stacks be cut and without names for a while: all
        # blocks are there.
        sites = [site for site in report["sites"]
                 if site["live_bytes"] == site["live_count"] * KEPT_SIZE]
        self.assertEqual(harness.sums(sites), (KEPT, KEPT * KEPT_SIZE), harness.describe(report))

    def test_a_hundred_thousand_mappings_from_before(self):
        path = self.copy_libc("many")
        self.put("/srv/keep.so", harness.program("keep.so"))
        victim = self.start_victim("many", path, "60007", "keep", "/srv/keep.so", str(KEPT))
        victim.go("DONE load")
        tool = self.sanitized("-p", victim.pid)
        victim.go("DONE hostile")
        self.check_kept(self.stop(tool))

    def test_a_control_group_with_an_odd_name(self):
        mount = test_container.cgroup2_mount()
        if not mount:
            self.skipTest("no cgroup2")
        group = os.path.join(os.fsencode(mount), b"x\x1b[31m\xff\\\"%d" % os.getpid())
        os.mkdir(group)
        self.addCleanup(os.rmdir, group)
        self.addCleanup(harness.kill_descendants)
        victim = self.start_victim("name", NAME)
        with open(os.path.join(group, b"cgroup.procs"), "w", encoding="ascii") as procs:
            procs.write(str(victim.pid))
        report = self.stop(self.sanitized("-p", victim.pid, "--group", "service"))
        self.assertIn("x\x1b[31m\ufffd\\\"", report["targets"][0]["cgroup"])
        self.stop(self.sanitized("-p", victim.pid, "--group", "service", fmt="text"))


class Escape(InRoot):
    """The same, with each file that the tool opens written down."""

    def setUp(self):
        super().setUp()
        if not shutil.which("strace"):
            self.skipTest("no strace")
        self.log = os.path.join(self.folder, "strace")

    def traced(self, *args):
        """The tool under strace, attached."""
        script = os.path.join(self.folder, "tool")
        with open(script, "w", encoding="ascii") as text:
            text.write("#!/bin/sh\nexec strace -f -y -s 4096 -e trace=open,openat,openat2 -o "
                       f"{self.log} {harness.UNFREED} \"$@\"\n")
        os.chmod(script, 0o755)
        return self.unfreed(*args, tool=script)

    def stop_traced(self, tool):
        """strace ends with its child, which is to be asked."""
        child, = harness.children(tool.pid)
        os.kill(child, 2)
        return harness.only_last(tool.wait())

    def opened(self):
        """Of each open that went well: what was asked for, and the file that it was."""
        opens = []
        with open(self.log, encoding="utf-8", errors="replace") as text:
            for line in text:
                found = re.search(r'open(?:at2?)?\((.*)\) = \d+<(.*)>$', line.rstrip("\n"))
                if found:
                    opens.append(found.groups())
        return opens

    def test_nothing_outside_of_its_root_is_opened(self):
        self.make_traps()
        victim = self.start_victim(*self.commands())
        tool = self.traced("-p", victim.pid)
        scribbler = Scribbler(self.inside("/srv/scribbled"))
        self.addCleanup(scribbler.end)
        victim.go("DONE load")
        time.sleep(TABLE_S)
        victim.go("DONE hostile")
        scribbler.end()
        report = self.stop_traced(tool)
        self.check_kept(report)
        opens = self.opened()
        self.assertGreater(len(opens), 20)
        self.assertEqual([one for one in opens if one[1].startswith(self.outside)], [])
        # By names of its own nothing was opened but within its root.
        by_name = [asked for asked, _ in opens if "/srv/" in asked]
        self.assertEqual([asked for asked in by_name if "RESOLVE_IN_ROOT" not in asked], [])

    def make_traps(self):
        """Debug files of the library that are something else."""
        library = self.inside("/srv/keep.so")
        shutil.copy(harness.program("keep.so"), library)
        notes = subprocess.run(["readelf", "-n", library], capture_output=True, text=True,
                               check=True).stdout
        build_id = re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)
        folder = self.inside(f"/usr/lib/debug/.build-id/{build_id[:2]}")
        os.makedirs(folder)
        os.symlink(self.outside, os.path.join(folder, build_id[2:] + ".debug"))
        os.symlink("../" * 20 + self.outside, self.inside("/srv/keep.debug"))

    def commands(self):
        words = super().commands()
        library = self.inside("/srv/keep.so")
        with open(os.path.join(self.folder, "keep.debug"), "wb") as data:
            data.write(b"debug")
        subprocess.run(["strip", library], check=True)
        subprocess.run(["objcopy", "--add-gnu-debuglink=keep.debug", library], check=True,
                       cwd=self.folder)
        return words


class DebugFiles(InRoot):
    """What a container has of its own, and what is no more."""

    def put_stripped(self, debug):
        """The library without names, and its debug file there."""
        library = self.inside("/srv/keep.so")
        shutil.copy(harness.program("keep.so"), library)
        notes = subprocess.run(["readelf", "-n", library], capture_output=True, text=True,
                               check=True).stdout
        build_id = re.search(r"Build ID: ([0-9a-f]+)", notes).group(1)
        if debug:
            where = self.inside(f"/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
            os.makedirs(os.path.dirname(where))
            subprocess.run(["objcopy", "--only-keep-debug", library, where], check=True)
        subprocess.run(["strip", library], check=True)

    def site(self):
        """Of what the library keeps."""
        victim = self.start_victim("keep", "/srv/keep.so", str(KEPT))
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE load")
        time.sleep(TABLE_S)
        victim.go("DONE hostile")
        return self.check_kept(self.stop(tool))

    def test_the_containers_own_debug_file_names_its_functions(self):
        self.put_stripped(debug=True)
        frame = self.site()["frames"][0]
        self.assertEqual(frame["function"], "keep_secretly")
        self.assertEqual(os.path.basename(frame["file"]), "keep.so.c")
        self.assertEqual(frame["line"], harness.line_of("keep.so.c", "keep"))

    def test_without_it_they_have_none(self):
        self.put_stripped(debug=False)
        self.assertEqual(self.site()["frames"][0]["function"], "")

    def test_a_deleted_file_has_its_names(self):
        library = self.inside("/srv/keep.so")
        shutil.copy(harness.program("keep.so"), library)
        victim = self.start_victim("keep", "/srv/keep.so", str(KEPT))
        victim.go("DONE load")
        os.unlink(library)
        os.unlink(self.inside("/bin/hostile"))
        tool = self.unfreed("-p", victim.pid)
        victim.go("DONE hostile")
        site = self.check_kept(self.stop(tool))
        self.assertEqual(harness.functions(site)[:3], ["keep_secretly", "keep_blocks", "keep"])
        self.assertIn("main", harness.functions(site))
        self.assertEqual(site["frames"][0]["line"], harness.line_of("keep.so.c", "keep"))
        self.assertEqual(site["stack_end"], "complete")
