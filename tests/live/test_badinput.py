# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: what cannot be done is said once, on what and what to try, with the promised status."""

import os
import shutil
import subprocess

import harness

BAD_USAGE = [
    ["--no-such-option"],
    ["-p"],
    ["-p", "abc"],
    ["-p", "0"],
    ["-p", "-5"],
    ["-p", "1x"],
    ["-p", ""],
    ["-p", "1,,2"],
    ["-p", "99999999999999999999"],
    ["-p", "1", "-i", "5x"],
    ["-p", "1", "-i", "0"],
    ["-p", "1", "-i", "-1s"],
    ["-p", "1", "-n", "x"],
    ["-p", "1", "-n", "1.5"],
    ["-p", "1", "-d", "forever"],
    ["-p", "1", "-o", "2 s"],
    ["-p", "1", "-T", "0"],
    ["-p", "1", "-T", "1000001"],
    ["-p", "1", "-S", "colour"],
    ["-p", "1", "-f", "papyrus"],
    ["-p", "1", "-z", "1Q"],
    ["-p", "1", "-z", "99999999999999999999"],
    ["-p", "1", "-z", "10", "-Z", "5"],
    ["-p", "1", "--max-blocks", "1"],
    ["-p", "1", "--max-sites", "99999999999"],
    ["--"],
]


def run_tool(*args):
    """Status, stdout and stderr of the bare tool."""
    result = subprocess.run([harness.UNFREED, *map(str, args)], capture_output=True,
                            stdin=subprocess.DEVNULL, timeout=harness.TIMEOUT_S, check=False)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


class Usage(harness.LiveTest):
    """The command line."""

    def test_bad_usage_is_said_with_status_2(self):
        for args in BAD_USAGE:
            with self.subTest(args=args):
                status, out, err = run_tool(*args)
                self.assertEqual(status, 2, err)
                self.assertEqual(out, "")
                self.assertIn("unfreed:", err)

    def test_the_message_has_the_bad_word(self):
        for args in (["-p", "1x"], ["-i", "5x"], ["-f", "papyrus"], ["-S", "colour"]):
            with self.subTest(args=args):
                self.assertIn(args[1], run_tool(*args)[2])

    def test_help_and_version_go_to_stdout(self):
        for args in (["--help"], ["--version"]):
            with self.subTest(args=args):
                status, out, _ = run_tool(*args)
                self.assertEqual(status, 0)
                self.assertIn("unfreed", out)
        for word in ("--pid", "--interval", "--older", "--top", "--sort", "--format", "--write",
                     "--object", "--prefix", "--follow", "--min-size", "--max-size"):
            self.assertIn(word, run_tool("--help")[1])


class Impossible(harness.LiveTest):
    """Things that cannot be done."""

    def cannot(self, *args, says):
        """Status 1 and a message with a word of each."""
        status, out, err = run_tool(*args)
        self.assertEqual(status, 1, err)
        self.assertEqual(out, "")
        self.assertNotIn(harness.ATTACHED, err)
        for word in says:
            self.assertRegex(err, word)

    def test_no_such_process(self):
        gone = subprocess.Popen(["/bin/true"])
        gone.wait()
        self.cannot("-p", gone.pid, says=[str(gone.pid), "(?i)no (such )?process"])

    def test_one_process_of_two_is_not_there(self):
        gone = subprocess.Popen(["/bin/true"])
        gone.wait()
        victim = self.victim("batches")
        self.cannot("-p", f"{victim.pid},{gone.pid}", says=[str(gone.pid)])

    def test_a_kernel_thread(self):
        try:
            with open("/proc/2/comm", encoding="ascii") as text:
                if text.read() != "kthreadd\n":
                    self.skipTest("pid 2 is no kernel thread here")
        except FileNotFoundError:
            self.skipTest("no pid 2 here")
        self.cannot("-p", 2, says=["2"])

    def test_command_not_found(self):
        self.cannot("--", "/no/such/command", says=["/no/such/command", "(?i)no such file"])
        self.cannot("--", "no-such-command-in-the-path", says=["no-such-command-in-the-path"])

    def test_command_not_executable(self):
        path = os.path.join(self.folder, "text")
        with open(path, "w", encoding="ascii") as text:
            text.write("not a program\n")
        self.cannot("--", path, says=["text", "(?i)permission denied"])
        self.cannot("--", self.folder, says=["(?i)permission denied"])

    def test_a_file_that_cannot_be_written(self):
        victim = self.victim("batches")
        self.cannot("-p", victim.pid, "-w", "/no/such/folder/file", says=["/no/such/folder/file"])

    def test_an_object_that_is_none(self):
        victim = self.victim("batches")
        self.cannot("-p", victim.pid, "-O", "/no/such/lib.so", says=["/no/such/lib.so"])
        path = os.path.join(self.folder, "lib.so")
        for content in (b"", b"\x7fELF", b"\x7fELF" + bytes(200), b"plain text, no program\n" * 9):
            with self.subTest(content=content[:20]):
                with open(path, "wb") as data:
                    data.write(content)
                self.cannot("-p", victim.pid, "-O", path, says=["lib.so"])

    def test_an_object_without_allocator(self):
        victim = self.victim("batches")
        lib = harness.program("prefixed.so")
        self.cannot("-p", victim.pid, "-O", lib, says=["prefixed.so", "(?i)no allocator function"])
        self.cannot("-p", victim.pid, "-O", lib, "--prefix", "yy_",
                    says=["prefixed.so", "(?i)no allocator function", "yy_"])

    def test_no_privileges_says_what_to_try(self):
        tool = os.path.join(self.folder, "unfreed")
        shutil.copy(harness.UNFREED, tool)
        os.chmod(self.folder, 0o755)
        os.chmod(tool, 0o755)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        for args in (["-p", str(os.getpid())], ["--", "/bin/true"]):
            with self.subTest(args=args):
                result = subprocess.run([*nobody, tool, *args], capture_output=True, cwd="/",
                                        timeout=harness.TIMEOUT_S, check=False)
                err = result.stderr.decode()
                self.assertEqual(result.returncode, 1, err)
                self.assertRegex(err, "(?i)root|sudo|CAP_")


class Static(harness.LiveTest):
    """Programs that carry their allocator in them."""

    def test_a_static_binary_with_symbols_is_traced(self):
        report = self.trace(self.victim("plain.static"), "DONE leaks")
        self.assert_site(report, "leak_static", 751, 751 * 181, 751, 0)
        self.assert_live(report, 751, 751 * 181)
        self.assert_no_loss(report)

    def test_a_static_binary_is_traced_from_its_start(self):
        report = harness.only_last(self.run_command(harness.program("plain.static")))
        self.assert_site(report, "leak_static", 751, 751 * 181, 751, 0)

    def test_a_stripped_static_binary_is_said_at_once(self):
        path = os.path.join(self.folder, "stripped")
        subprocess.run(["strip", "-o", path, harness.program("plain.static")], check=True)
        victim = self.victim("stripped", path=path)
        result = self.start("-p", victim.pid).wait()
        self.assertEqual(result.status, 1, result.stderr)
        self.assertRegex(result.stderr, "(?i)no allocator function")
        self.assertIn("stripped", result.stderr)
