# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What is traced: programs that do known work when they are told to, and say how much they did.

A subject is made for each row of each round, does all its workloads, says the truth of what it has
done, and ends by itself: tools that report at exit do it then.
"""

import os
import subprocess
import time

from processes import BUILD, HERE, TIMEOUT_S, BenchError, Process, cpu_ns
from truth import Truth
from which import which

PYTHON = "/usr/bin/python3"


class Subject:
    """columns: what is measured, key -> title; each in nanoseconds, less is better. row has what
    the program is to be started under, see rows.py."""

    key = ""
    title = ""
    columns = {}

    def __init__(self, argv, row, folder):
        self.process = Process([*row.wrapper(folder), *argv], env=row.environment(folder))
        self.process.expect("READY")
        self.pid = self.process.pid

    @staticmethod
    def why_missing():
        """Why there can be no such table, or None."""
        return None

    def warm_up(self, ms):
        """Unmeasured: the first events find nothing prepared, and code is seen first."""

    def measure(self, ms):
        """All the workloads, each for about so long; column -> nanoseconds."""
        raise NotImplementedError

    def truth(self):
        """Of all that it has done."""
        raise NotImplementedError

    def finish(self):
        """Lets it run to its end."""
        self.process.stop(sig=None)

    def ask(self, command, reply):
        """Has it do something; the words of its reply."""
        self.process.proc.stdin.write(command.encode() + b"\n")
        return self.process.expect(reply).split()


class Loop(Subject):
    """alloc_loop."""

    key = "loop"
    columns = {
        "tight 1": "malloc(64) + free in a loop, one thread",
        "tight 2": "the same, two threads (per pair of a thread)",
        "live 1": "100,000 live blocks of 16 to 2048 bytes, replaced at random",
    }

    def __init__(self, row, folder):
        program = os.path.join(BUILD, "alloc_loop_fp" if row.frame_pointers else "alloc_loop")
        super().__init__([program, "-D", "10"], row, folder)

    def warm_up(self, ms):
        self.ask("tight 1 20", "ns ")

    def measure(self, ms):
        return {column: float(self.ask(f"{column} {ms}", "ns ")[1]) for column in self.columns}

    def hold(self, block_count, site_count):
        """Blocks from so many call paths, kept."""
        self.ask(f"hold {block_count} {site_count}", "held")

    def truth(self):
        return Truth(*(int(word) for word in self.ask("totals", "totals ")[1:]))


class PythonWork(Subject):
    """python_work.py."""

    key = "python"
    title = "python3, CPU time an iteration: JSON, strings, dicts, sorting, instances"
    columns = {"json": "json", "strings": "strings", "dicts": "dicts", "sort": "sort",
               "classes": "classes"}

    def __init__(self, row, folder):
        super().__init__([PYTHON, *row.python_options(), os.path.join(HERE, "python_work.py")],
                         row, folder)

    def warm_up(self, ms):
        for column in self.columns:
            self.ask(f"{column} {ms // 4}", "ns ")

    def measure(self, ms):
        return {column: float(self.ask(f"{column} {ms}", "ns ")[1]) for column in self.columns}

    def truth(self):
        _, count, size, traced = (int(word) if word.isdigit() else word
                                  for word in self.ask("kept", "kept "))
        if traced != "-" and traced < size:
            raise BenchError(f"tracemalloc has seen {traced} of {size} live bytes")
        return Truth(sites={"keep": (count, size)})


class Flask(Subject):
    """flask_app.py."""

    key = "flask"
    title = "a Flask application, CPU time a request: requests answered, one after the other"
    columns = {"request": "CPU a request"}
    leak_every, leak_bytes = 4, 1009  # as in flask_app.py

    def __init__(self, row, folder):
        self.count = 0
        super().__init__([PYTHON, *row.python_options(), os.path.join(HERE, "flask_app.py")],
                         row, folder)

    @staticmethod
    def why_missing():
        if subprocess.run([PYTHON, "-c", "import flask"], capture_output=True,
                          check=False).returncode:
            return "no Flask (python3-flask)"
        return None

    def _serve(self, ms):
        _, rate, count = self.ask(f"serve {ms}", "rate ")
        self.count += int(count)
        return float(rate)

    def warm_up(self, ms):
        self._serve(2 * ms)

    def measure(self, ms):
        return {"request": 1e9 / self._serve(5 * ms)}

    def truth(self):
        leaks = self.count // self.leak_every
        return Truth(sites={"extension": (leaks, leaks * self.leak_bytes)}, units=self.count)


class Redis(Subject):
    """redis-server on a socket of its own, filled and then set at random by redis-benchmark."""

    key = "redis"
    title = ("redis-server under redis-benchmark, SET of 512 bytes at random, 8 clients: one at a "
             "time, and 16 in a pipeline")
    columns = {"cpu": "CPU a SET", "wall": "time a SET", "cpu16": "CPU, pipeline",
               "wall16": "time, pipeline"}
    key_count = 20000
    value_bytes = 512
    # Of a key, to the byte as redis asks for them: entry 24, name 20, object 16, value 518.
    blocks_per_key, bytes_per_key = 4, 578
    rate_guess = {1: 40, 16: 200}  # requests a millisecond, to be about as long as other rows

    def __init__(self, row, folder):  # pylint: disable=super-init-not-called
        self.socket = os.path.join(folder, "redis.sock")
        self.process = Process(
            [*row.wrapper(folder), which("redis-server"), "--port", "0", "--unixsocket",
             self.socket, "--save", "", "--appendonly", "no", "--dir", folder],
            env=row.environment(folder))
        self.units = 0
        self._wait_until_up()
        info = dict(line.split(":", 1) for line in self._cli("info", "server").splitlines()
                    if ":" in line)
        self.pid = int(info["process_id"])

    @staticmethod
    def why_missing():
        missing = [name for name in ("redis-server", "redis-cli", "redis-benchmark")
                   if not which(name)]
        return f"no {missing[0]} (redis-server, redis-tools)" if missing else None

    def _cli(self, *words):
        return subprocess.run([which("redis-cli"), "-s", self.socket, *words], check=False,
                              capture_output=True, text=True, timeout=TIMEOUT_S).stdout.strip()

    def _wait_until_up(self):
        deadline = time.monotonic() + TIMEOUT_S
        while not os.path.exists(self.socket) or self._cli("ping") != "PONG":
            self.process.discard_output()
            if self.process.proc.poll() is not None or time.monotonic() > deadline:
                raise BenchError("redis-server does not start: " + self.process.last_words())
            time.sleep(0.02)

    def _set(self, count, pipeline):
        """CPU and time of a request."""
        before = cpu_ns(self.pid)
        done = subprocess.run(
            [which("redis-benchmark"), "-s", self.socket, "-t", "set", "-r", str(self.key_count),
             "-n", str(count), "-d", str(self.value_bytes), "-c", "8", "-P", str(pipeline),
             "--csv"], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        rate = [line for line in done.stdout.splitlines() if line.startswith('"SET"')]
        if not rate:
            raise BenchError(f"redis-benchmark: {done.stdout}{done.stderr}")
        self.units += count
        return ((cpu_ns(self.pid) - before) / count,
                1e9 / float(rate[0].split(",")[1].strip('"')))

    def warm_up(self, ms):
        self._set(2 * self.key_count, 16)

    def measure(self, ms):
        found = {}
        for pipeline, suffix in ((1, ""), (16, "16")):
            cpu, wall = self._set(ms * self.rate_guess[pipeline], pipeline)
            found.update({"cpu" + suffix: cpu, "wall" + suffix: wall})
        return found

    def truth(self):
        keys = int(self._cli("dbsize"))
        if keys < self.key_count * 3 // 4:
            raise BenchError(f"redis has {keys} keys: it was not filled")
        return Truth(live_count=keys * self.blocks_per_key, live_bytes=keys * self.bytes_per_key,
                     units=self.units)

    def finish(self):
        self._cli("shutdown", "nosave")
        self.process.stop(sig=None)


SUBJECTS = [Loop, Redis, PythonWork, Flask]
