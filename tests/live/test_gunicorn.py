# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: of a web service with several workers and threads, under load and with nothing prepared in
it, the lines that leak are the top of the report, with the bytes that they have kept; a line that
allocates much and keeps nothing is not there. Also while workers are replaced by others."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import harness

APP = "flask_app.py"
PAGE = 4096 + 49      # a str of ASCII characters has a head of 49 bytes
EXTENSION = 1009
PAIRS = 23            # a Session and a dict each, in one request
# Of the pools' blocks: the instance and its values, the dict and its keys; the number is shared.
PAIR = 64 + 32 + 64 + 128
REQUESTS = {"page": 1009, "session": 929, "extension": 1013, "busy": 211}
ROUNDS = 2
REQUESTS_A_CONNECTION = 7
OLDER_S = 1


def app_line(marker):
    """Number of the application's line that carries # LINE: marker."""
    with open(os.path.join(harness.SOURCES, APP), encoding="utf-8") as text:
        lines = [number for number, line in enumerate(text, 1)
                 if line.rstrip().endswith(f"# LINE: {marker}")]
    if len(lines) != 1:
        raise LookupError(f"{APP}: {len(lines)} lines are marked {marker}")
    return lines[0]


def why_no_service():
    """Why the service cannot run here, or None."""
    if not shutil.which("gunicorn"):
        return "no gunicorn"
    try:
        subprocess.run(["/usr/bin/python3", "-c", "import flask"], check=True,
                       stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return "no flask"
    return None


def free_port():
    """A port on loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def app_frame(site):
    """The innermost frame of the application, or None."""
    for frame in site["frames"]:
        if frame["kind"] == "python" and os.path.basename(frame["file"]) == APP:
            return frame
    return None


class Load:
    """So many requests of each route, from one thread a route; connections are used again.
    patient: a request that a worker leaves without an answer as it ends is repeated."""

    def __init__(self, port, requests, patient=False):
        self.port = port
        self.patient = patient
        self.errors = []
        self.threads = [threading.Thread(target=self.run, args=item, daemon=True)
                        for item in requests.items()]
        for thread in self.threads:
            thread.start()

    def ask(self, connection, route, i):
        """One request; each is answered once and well, or it is an error."""
        is_last = i % REQUESTS_A_CONNECTION == REQUESTS_A_CONNECTION - 1
        connection.request("GET", f"/{route}/{i}",
                           headers={"Connection": "close"} if is_last else {})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            self.errors.append(f"{route}: {answer.status}")

    def run(self, route, count):
        """One route's requests."""
        connection, i = None, 0
        while i < count and not self.errors:
            if not connection or i % REQUESTS_A_CONNECTION == 0:
                connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=1 if self.patient else 30)
            try:
                self.ask(connection, route, i)
                i += 1
            except (OSError, http.client.HTTPException) as error:
                connection = None
                if not self.patient:
                    self.errors.append(f"{route}: {error!r}")

    def is_over(self):
        """Have all been answered?"""
        return not any(thread.is_alive() for thread in self.threads)

    def wait(self):
        """Until all have been answered."""
        deadline = time.monotonic() + 4 * harness.TIMEOUT_S
        for thread in self.threads:
            thread.join(max(0, deadline - time.monotonic()))
        if not self.is_over():
            raise AssertionError("the load is not over")
        if self.errors:
            raise AssertionError(f"requests failed: {self.errors[:5]}")


class Gunicorn(harness.LiveTest):
    """Two workers with threads."""

    def setUp(self):
        super().setUp()
        reason = why_no_service()
        if reason:
            self.skipTest(reason)
        self.port = free_port()

    def command(self, *args):
        """The service's command line."""
        return ["gunicorn", "--workers", "2", "--worker-class", "gthread", "--threads", "3",
                "--bind", f"127.0.0.1:{self.port}", "--chdir", harness.SOURCES,
                "--log-level", "warning", *args, "flask_app:app"]

    def serve(self, *args):
        """Starts the service; its master's pid."""
        proc = subprocess.Popen(self.command(*args), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(proc.wait)
        self.addCleanup(os.kill, proc.pid, signal.SIGTERM)
        self.wait_ready()
        return proc.pid

    def wait_ready(self):
        """Until it answers."""
        deadline = time.monotonic() + harness.TIMEOUT_S
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/nothing")
                connection.getresponse().read()
                connection.close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def kept_at(self, report, marker, function, least=1000):
        """The site of more than least bytes whose application frame is the marked line."""
        sites = [site for site in report["sites"] if site["live_bytes"] > least and
                 app_frame(site) and app_frame(site)["line"] == app_line(marker)]
        self.assertEqual(len(sites), 1, f"{marker}\n" + harness.describe(report))
        self.assertEqual(app_frame(sites[0])["function"], function)
        return sites[0]

    def pools_of(self, report, marker):
        """Bytes of the pools of a marked line."""
        return sum(site["live_bytes"] for site in report["sites"]
                   if site["kind"] == "pymalloc" and self.marker_of(site) == marker)

    def check_kept(self, report, since=None):
        """The leaking lines have what they have kept, in both workers. since: a report from after
        the first round, if small objects are to be compared from there on only."""
        page = self.kept_at(report, "page", "keep_page", 20000)
        extension = self.kept_at(report, "extension", "leak_in_extension")
        self.assert_within(page["live_bytes"], ROUNDS * REQUESTS["page"] * PAGE, 0.01)
        self.assert_within(extension["live_bytes"], ROUNDS * REQUESTS["extension"] * EXTENSION, 0.01)
        for site in (page, extension):
            self.assertEqual(len(site["pids"]), 2, site["pids"])
        pools = self.pools_of(report, "session") - (self.pools_of(since, "session") if since else 0)
        self.assert_within(pools, (ROUNDS - bool(since)) * REQUESTS["session"] * PAIRS * PAIR, 0.10)

    def check_top(self, report):
        """Nothing else is before the largest site of each leaking line."""
        markers = [self.marker_of(site) for site in report["sites"]]
        leaks = {"page", "session", "extension"}
        self.assertEqual(set(markers[:1 + max(map(markers.index, leaks))]), leaks)

    def marker_of(self, site):
        """Which of the marked lines a site is at."""
        frame = app_frame(site)
        lines = {app_line(marker): marker for marker in ("page", "session", "extension", "busy")}
        lines[app_line("dict")] = "session"
        return lines.get(frame["line"]) if frame else None

    def assert_within(self, value, expected, part):
        """They differ by that part at most."""
        self.assertLessEqual(abs(value - expected), expected * part, (value, expected))

    def check_nothing_kept(self, report):
        """Nothing of the lines that keep nothing has become old; but for a pool in ten, which
        others' objects keep."""
        sites = [site for site in report["sites"]
                 if app_frame(site) and app_frame(site)["function"].startswith("keep_nothing")]
        blocks = [site for site in sites if site["kind"] != "pymalloc"]
        self.assertEqual(harness.sums(blocks), (0, 0), harness.describe(report))
        pools = [site for site in report["sites"] if site["kind"] == "pymalloc"]
        self.assertLessEqual(harness.sums(site for site in pools if site in sites)[1],
                             harness.sums(pools)[1] / 10, harness.describe(report))

    def under_load(self, tool):
        """Loads it twice: a report from between, when all that the first time has left is old, one
        from the middle of the second time, and one from the end, when everything is old."""
        Load(self.port, REQUESTS).wait()
        time.sleep(OLDER_S * 1.5)
        first = tool.fresh_report()
        load = Load(self.port, REQUESTS)
        busy = tool.fresh_report()
        load.wait()
        time.sleep(OLDER_S * 1.5)
        return first, busy, tool.fresh_report()

    def test_attached_to_the_running_service(self):
        master = self.serve()
        tool = self.unfreed("--follow", "-p", master, "-o", f"{OLDER_S}s", interval="300ms", top=200)
        self.assertIn(" and 2 children: ", tool.stderr.all[-1])
        _, busy, report = self.under_load(tool)
        self.check_top(busy)
        self.check_nothing_kept(busy)
        self.check_kept(report)
        self.check_top(report)
        self.check_nothing_kept(report)
        self.assertEqual(len(report["targets"]), 3)
        self.assertEqual([target["note"] for target in report["targets"]], 3 * [""])
        self.assert_no_loss(report)
        tool.last_report()

    def test_started_with_the_service(self):
        """What the application has imported is there too, and larger; and the import has left room
        in its pools, which is filled before others are opened."""
        tool = self.unfreed("--follow", "-o", f"{OLDER_S}s", interval="1s", top=200,
                            command=self.command())
        self.wait_ready()
        first, busy, report = self.under_load(tool)
        self.check_nothing_kept(busy)
        self.check_kept(report, since=first)
        self.check_nothing_kept(report)
        self.assert_no_loss(report)
        tool.stop()

    def test_preloaded_application(self):
        """Workers forked after import: the code is the master's, at the same addresses."""
        master = self.serve("--preload")
        tool = self.unfreed("--follow", "-p", master, "-o", f"{OLDER_S}s", interval="300ms",
                            top=200)
        _, busy, report = self.under_load(tool)
        self.check_top(busy)
        self.check_nothing_kept(busy)
        self.check_kept(report)
        self.check_top(report)
        self.assert_no_loss(report)
        tool.last_report()

    def test_workers_that_are_replaced(self):
        """What a worker has kept goes with it; the sites stay the same, and what they have is
        what the living ones have kept."""
        master = self.serve("--max-requests", "307", "--graceful-timeout", "1")
        # Each worker imports the application anew: room for the stacks of all of them.
        tool = self.unfreed("--follow", "-p", master, "--max-sites", "256K", interval="300ms",
                            top=20)
        # The interpreter's debug information takes a while to read, once.
        Load(self.port, {"page": 11, "session": 11, "extension": 11, "busy": 11}).wait()
        tool.fresh_report()
        requests = {"page": 1009, "session": 53, "extension": 509, "busy": 53}
        Load(self.port, requests, patient=True).wait()
        tool.fresh_report()
        result = tool.stop()
        self.assertEqual(result.status, 0)
        self.assert_no_loss(result.reports[-1])
        pages = [site for report in result.reports for site in report["sites"]
                 if self.marker_of(site) == "page" and site["live_bytes"] > 20000]
        self.assertEqual({site["live_bytes"] - site["live_count"] * PAGE for site in pages}, {0})
        self.assertEqual(len({site["id"] for site in pages}), 1)
        self.assertLess(max(site["live_count"] for site in pages), requests["page"])
        pids = {pid for site in pages for pid in site["pids"]}
        exited = {target["pid"] for report in result.reports for target in report["targets"]
                  if target["exited"]}
        self.assertGreater(len(pids), 3, "workers were not replaced")
        self.assertGreater(len(pids & exited), 1)
        for pid in exited:
            told = [target["exited"] for report in result.reports for target in report["targets"]
                    if target["pid"] == pid]
            # Once more at the end, and then no more.
            self.assertEqual(told, [False] * (len(told) - 1) + [True])
