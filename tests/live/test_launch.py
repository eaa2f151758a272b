# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: a command that the tool starts is traced from its start and notices nothing of it."""

import os
import pty
import select
import signal
import subprocess
import time

import harness
from test_accounting import CXX_SITES, MEMBER, SITES, STRDUP, total

# What a process can see of its surroundings. The limits and masks of a tool must not be its.
SURROUNDINGS = r"""
printf 'argument <%s>\n' "$@"
env | sort
pwd
umask
ulimit -a
grep -E '^(Sig[^Q]|Shd)' /proc/self/status
ls /proc/self/fd | tr '\n' ' '
cat
"""

# Reports what a terminal program needs, then counts Ctrl-C.
TERMINAL = r"""
import os, signal, sys
hits = []
signal.signal(signal.SIGINT, lambda *a: hits.append(1))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("tty", [os.isatty(fd) for fd in (0, 1, 2)])
print("foreground", os.tcgetpgrp(0) == os.getpgrp())
print("READY", flush=True)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
line = sys.stdin.readline()
print("interrupted", len(hits), "read", line.strip(), flush=True)
"""

# libstdc++ (gcc 12) takes its emergency pool for exceptions when it is loaded.
EMERGENCY_POOL = ("emergency pool", 1, 72704)


class Launch(harness.LiveTest):
    """Commands to their end."""

    def launch(self, name, *args, options=(), **kwargs):
        """The last report on a victim that is started by the tool and runs through."""
        result = self.run_command(harness.program(name), *args, args=options, **kwargs)
        return harness.only_last(result)

    def test_the_last_report_has_what_was_outstanding_at_exit(self):
        report = self.launch("sites")
        for function, count, size in SITES:
            with self.subTest(function=function):
                self.assert_site(report, function, count, count * size, count, 0,
                                 line=harness.line_of("sites.c", function))
        self.assert_live(report, *total(SITES + [STRDUP]))
        self.assert_no_loss(report)
        self.assertEqual([target["comm"] for target in report["targets"]], ["sites"])

    def test_libraries_are_traced_from_their_first_allocation(self):
        report = self.launch("sites_cxx")
        self.assert_live(report, *total(CXX_SITES + [MEMBER, EMERGENCY_POOL]))
        self.assert_no_loss(report)

    def test_a_command_that_leaks_nothing_has_an_empty_report(self):
        report = self.launch("batches", 101, 1009)
        self.assert_live(report, 0, 0)
        self.assertEqual(report["totals"]["alloc_count"], 101)
        self.assertEqual(report["totals"]["free_count"], 101)
        self.assert_no_loss(report)

    def test_a_command_is_found_in_the_path(self):
        env = {**os.environ, "PATH": harness.PROGRAMS}
        result = self.run_command("batches", 11, 7, env=env)
        self.assertEqual(harness.only_last(result)["totals"]["alloc_count"], 11)

    def test_a_library_that_the_command_loads_later_is_symbolized(self):
        report = self.launch("symbols", harness.program("plugin.so"))
        for site in self.assert_loaded(report, "plugin_leak", 811, 811 * 811):
            self.assertTrue(site["frames"][0]["module"].endswith("/plugin.so"))

    def test_children_are_followed_when_asked_for(self):
        result = self.run_command(harness.program("forks"), "serial", args=["--follow", "--per-process"])
        report = harness.only_last(result)
        parent = self.assert_site(report, "alloc_in_parent", 313, 313 * 491, 313, 0)["pid"]
        self.assert_site(report, "alloc_shared", 908, 908 * 503, pid=parent)
        self.assert_site(report, "serial_mode", 101, 101 * 503, pid=parent,
                         line=harness.line_of("forks.c", "serial_mode"))
        self.assert_no_loss(report)

    def test_the_reports_go_to_stdout_with_the_commands_own_output(self):
        result = self.run_command("/bin/echo", "said by the command", output=False)
        self.assertEqual(result.status, 0, result.stderr)
        self.assertIn("said by the command", result.stdout)
        self.assertEqual(len(result.reports), 1)


class Status(harness.LiveTest):
    """How the command ends is how the tool ends."""

    def test_a_commands_failure_is_the_tools(self):
        result = self.run_command("/bin/sh", "-c", "exit 7")
        self.assertEqual(result.status, 7, result.stderr)
        self.assertTrue(result.reports[-1]["last"])

    def test_a_commands_success_is_the_tools(self):
        self.assertEqual(self.run_command("/bin/true").status, 0)

    def test_a_signal_that_ends_the_command_is_told(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
            with self.subTest(number=number):
                result = self.run_command("/bin/sh", "-c", f"kill -{int(number)} $$")
                self.assertEqual(result.status, 128 + number, result.stderr)
                self.assertTrue(result.reports[-1]["last"])

    def test_the_command_is_asked_to_end_when_the_trace_does(self):
        """It was started for the trace. That it ends by SIGTERM is then no failure."""
        for limit in (["-n", 2], ["-d", "300ms"]):
            with self.subTest(limit=limit):
                tool = self.start(*limit, command=["/bin/sleep", 1000], interval="100ms")
                harness.only_last(tool.wait())
                self.assertEqual(harness.children(os.getpid()), [])

    def test_signals_to_the_tool_reach_the_command(self):
        script = "trap 'exit 3' TERM; while :; do sleep .1; done"
        tool = self.start(command=["/bin/sh", "-c", script])
        tool.wait_attached()
        time.sleep(0.3)
        result = tool.stop(signal.SIGTERM)
        self.assertEqual(result.status, 3, result.stderr)
        self.assertTrue(result.reports[-1]["last"])


class Intact(harness.LiveTest):
    """What the command sees."""

    def surroundings(self, *prefix, pipe_in=b"line one\nline two"):
        """What it says of itself, started with these words in front."""
        env = {"PATH": os.environ["PATH"], "LANG": "C", "EMPTY": "", "ODD": "a b\tc=d'\""}
        command = [*prefix, "/bin/sh", "-c", SURROUNDINGS, "sh", "a b", "", "*", "--", "-p", "é"]
        result = subprocess.run(command, input=pipe_in, capture_output=True, env=env,
                                cwd=self.folder, timeout=harness.TIMEOUT_S, check=False)
        return result.returncode, result.stdout.decode("utf-8", "replace")

    def test_arguments_environment_files_and_limits_are_intact(self):
        out = os.path.join(self.folder, "reports")
        prefix = [harness.UNFREED, "-f", "json", "-w", out, "-i", "60s", "--"]
        plain = self.surroundings()
        self.assertEqual(plain[0], 0)
        self.assertIn("line two", plain[1])
        self.assertEqual(self.surroundings(*prefix), plain)
        self.assertTrue(os.path.exists(out))

    def wait_status(self, pid):
        """How a child ends, before long."""
        deadline = time.monotonic() + harness.TIMEOUT_S
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return self.fail("the tool does not end")

    def read_until(self, fd, text, seen=b""):
        """What comes from a terminal up to some text."""
        deadline = time.monotonic() + harness.TIMEOUT_S
        while text not in seen and time.monotonic() < deadline:
            if select.select([fd], [], [], 1)[0]:
                try:
                    seen += os.read(fd, 4096)
                except OSError:
                    break
        self.assertIn(text, seen)
        return seen

    def test_terminal_and_ctrl_c_reach_the_command(self):
        out = os.path.join(self.folder, "reports")
        argv = [harness.UNFREED, "-f", "json", "-i", "60s", "-w", out, "--",
                "/usr/bin/python3", "-I", "-c", TERMINAL]
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(argv[0], argv)
        seen = self.read_until(fd, b"READY")
        self.assertIn(b"tty [True, True, True]", seen)
        self.assertIn(b"foreground True", seen)
        os.write(fd, b"\x03")
        time.sleep(0.3)
        os.write(fd, b"typed\n")
        seen = self.read_until(fd, b"read typed", seen)
        self.assertIn(b"interrupted 1 read typed", seen)
        self.assertEqual(self.wait_status(pid), 0)
        with open(out, encoding="utf-8") as text:
            self.assertIn('"last":true', text.read().replace(" ", ""))

    def test_ending_the_trace_leaves_no_zombie_and_no_stopped_command(self):
        tool = self.start(command=[harness.program("churn"), "steady", 2], stdin=subprocess.PIPE)
        tool.wait_attached()
        command = harness.children(tool.pid)
        self.assertEqual(len(command), 1)
        tool.stop(signal.SIGTERM)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and os.path.exists(f"/proc/{command[0]}/stat"):
            with open(f"/proc/{command[0]}/stat", encoding="ascii") as text:
                state = text.read().rsplit(")", 1)[1].split()[0]
            if state in "RS":
                return
            self.assertNotIn(state, "Tt", "the command was left stopped")
            harness.reap()
            time.sleep(0.02)
