# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: nothing stays behind, however the tool ends: no breakpoint in a target's code, no program,
table or link of ours in the kernel."""

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import time

import harness

LIMIT_S = 30 # perf uprobes come out one after the other
LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
FILES = 19


class Ends(harness.LiveTest):
    """What stays behind."""

    def setUp(self):
        super().setUp()
        if not shutil.which("bpftool"):
            self.skipTest("no bpftool")

    def batches(self):
        """A victim with a libc of its own, as others on this host may probe the one of all."""
        shutil.copy(os.path.realpath(LIBC), os.path.join(self.folder, "libc.so.6"))
        return self.victim("", "--library-path", self.folder, harness.program("batches"), 11, 101,
                           path=LOADER)

    def held(self, pid, kind):
        """Ids of the BPF objects of a kind that a process holds, by any of its threads."""
        ids = set()
        for tid in os.listdir(f"/proc/{pid}/task"):
            folder = f"/proc/{pid}/task/{tid}/fdinfo"
            with contextlib.suppress(FileNotFoundError): # the thread has ended
                for fd in os.listdir(folder):
                    ids |= self.id_of(f"{folder}/{fd}", kind)
        return ids

    def id_of(self, path, kind):
        """The id of what a descriptor stands for, as a set; none if it has been closed."""
        with contextlib.suppress(FileNotFoundError), \
             open(path, encoding="ascii", errors="replace") as text:
            return {int(line.split()[1]) for line in text if line.startswith(f"{kind}_id:")}
        return set()

    def known(self, kind):
        """Ids of all that the kernel has."""
        done = subprocess.run(["bpftool", "-j", kind, "list"], capture_output=True, check=False)
        if done.returncode:
            self.skipTest(f"bpftool: {done.stderr.decode()}")
        return {entry["id"] for entry in json.loads(done.stdout)}

    def changed_code(self, pid, name):
        """Offsets of what differs between a file and its code in a process."""
        changed = set()
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
             open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                fields = line.split(maxsplit=5)
                if len(fields) < 6 or "x" not in fields[1] or name not in fields[5]:
                    continue
                start, end = (int(word, 16) for word in fields[0].split("-"))
                offset = int(fields[2], 16)
                memory.seek(start)
                code = memory.read(end - start)
                with open(fields[5].strip(), "rb") as file:
                    file.seek(offset)
                    original = file.read(end - start)
                changed |= {offset + i for i, (now, then) in enumerate(zip(code, original))
                            if now != then}
        return changed

    def objects(self, tool):
        """What the tool has in the kernel, once it has settled: it tries things out at the start."""
        ours, before = None, {}
        deadline = time.monotonic() + LIMIT_S
        while ours != before and time.monotonic() < deadline:
            before = ours
            time.sleep(0.3)
            ours = {kind: self.held(tool.pid, kind) for kind in ("prog", "map", "link")}
        for kind, ids in ours.items():
            self.assertGreater(len(ids), 1, kind)
            self.assertLessEqual(ids, self.known(kind))
        return ours

    def check_gone(self, ours):
        """The kernel frees its objects a moment after nobody has them any more."""
        for kind, ids in ours.items():
            deadline = time.monotonic() + LIMIT_S
            while ids & self.known(kind) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertEqual(ids & self.known(kind), set(), kind)

    def is_clean(self, pid, name):
        """Is the code as in the file? (Somebody else on this host may trace it for a moment.)"""
        deadline = time.monotonic() + LIMIT_S
        while self.changed_code(pid, name) and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.changed_code(pid, name)

    def check_clean(self, pid, name):
        """It must be."""
        self.assertTrue(self.is_clean(pid, name), self.changed_code(pid, name))

    def check_end(self, args, end):
        """A trace that ends so leaves the code as it was."""
        victim = self.batches()
        tool = self.unfreed("-p", victim.pid, *args)
        ours = self.objects(tool)
        self.assertGreaterEqual(len(self.changed_code(victim.pid, self.folder)), 5)
        end(tool)
        self.check_clean(victim.pid, self.folder)
        self.check_gone(ours)
        victim.go("DONE a")
        self.assertEqual(victim.finish(), 0)

    def for_each_mode(self, end):
        """All that this kernel has."""
        for mode in harness.ATTACH_MODES:
            with self.attached_by(mode) as args:
                self.check_end(args, end)

    def test_a_normal_end(self):
        self.for_each_mode(lambda tool: tool.last_report())

    def test_a_killed_tool(self):
        def kill(tool):
            tool.proc.kill()
            tool.proc.wait(LIMIT_S)
        self.for_each_mode(kill)

    def is_clean_or_said(self, victim, delay_ms):
        """A probe that is just being put in when the kill comes cannot be taken out by a thread that
        is to be killed: the kernel says so in its log, and leaves a breakpoint that does nothing. The
        next trace takes it out."""
        if self.is_clean(victim.pid, self.folder):
            return
        log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
        self.assertIn("unfreed", log[log.rindex("uprobe: "):], delay_ms)
        self.assertIn("failed to unregister, leaking uprobe", log, delay_ms)
        self.unfreed("-p", victim.pid).last_report()
        self.check_clean(victim.pid, self.folder)

    def test_a_tool_that_is_killed_while_it_attaches(self):
        victim = self.batches()
        for delay_ms in range(0, 600, 60):
            tool = self.start("-p", victim.pid)
            time.sleep(delay_ms / 1000)
            tool.proc.kill()
            tool.proc.wait(LIMIT_S)
            self.is_clean_or_said(victim, delay_ms)
        victim.go("DONE a")
        self.assertEqual(victim.finish(), 0)

    def test_a_file_of_which_one_function_cannot_be_probed(self):
        library = harness.program("unprobeable.so")
        victim = self.victim("hostile", "keep", library, 0)
        victim.go("DONE load")
        tool = self.start("-p", victim.pid)
        tool.wait_attached()
        self.assertIn(f"cannot probe {library}", "\n".join(tool.stderr.all))
        self.check_clean(victim.pid, "unprobeable")
        self.assertNotEqual(self.changed_code(victim.pid, "libc.so"), set())

    def test_no_room_for_the_last_probes(self):
        victim = self.batches()
        seen = False
        for limit in range(60, 100, 5):
            tool = self.start("-p", victim.pid, "--attach", "perf", preexec_fn=lambda limit=limit:
                              resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
            result = tool.wait()
            seen = seen or "raise the limit of open files" in result.stderr
            self.check_clean(victim.pid, self.folder)
        self.assertTrue(seen)

    def test_links_are_held_by_threads(self):
        """A process closes what it has one by one, and each takes the kernel a tenth of a second."""
        words = []
        for number in range(FILES):
            path = os.path.join(self.folder, f"{number}.so")
            shutil.copy(harness.program("wrapper.so"), path)
            words += ["map", path]
        victim = self.victim("hostile", *words)
        victim.go("DONE hostile")
        tool = self.unfreed("-p", victim.pid, "--attach", "multi")
        held = []
        for tid in os.listdir(f"/proc/{tool.pid}/task"):
            folder = f"/proc/{tool.pid}/task/{tid}/fdinfo"
            texts = [open(f"{folder}/{fd}", encoding="ascii", errors="replace").read()
                     for fd in os.listdir(folder)]
            held.append(len([text for text in texts
                             if re.search(r"link_type:\s+(u(ret)?probe_multi|12)\b", text)]))
        self.assertGreaterEqual(sum(held), 3 * FILES, held)
        self.assertLessEqual(max(held), 4, held)
        ours = self.objects(tool)
        tool.last_report()
        self.check_clean(victim.pid, f"{FILES - 1}.so")
        self.check_gone(ours)
