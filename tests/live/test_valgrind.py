# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Goal: programs that nobody wrote for this test have exactly what valgrind calls "in use at exit".

Both count what was asked for, not what the allocator rounds it up to, blocks of no bytes too, and
both see ld.so's own blocks from the moment that it calls the C library's malloc. Measured with a
counting allocator preloaded as a third witness (Debian 12, valgrind 3.19): no difference, so none
is allowed here. What makes runs of one command differ is taken away: hash seeds, locale, stdio
buffers that depend on what stdout is (both have /dev/null).
"""

import os
import re
import shutil
import subprocess

import harness

VALGRIND = ["valgrind", "--run-libc-freeres=no", "--run-cxx-freeres=no", "--leak-check=no"]
ENV = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "PYTHONHASHSEED": "0",
       "HOME": "/"}
SQL = """create table t(a, b);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 1009)
insert into t select i, hex(i) from n;
create index x on t(b);
select count(*), max(b) from t;"""
PYTHON = ["/usr/bin/python3", "-S", "-s", "-B", "-c"]


class InUseAtExit(harness.LiveTest):
    """One command each."""

    def compare(self, *command, env=None):
        """Blocks and bytes of the last report against valgrind's, which must not be run twice
        differently itself."""
        if not shutil.which("valgrind"):
            self.skipTest("no valgrind")
        if not shutil.which(command[0]):
            self.skipTest(f"no {command[0]}")
        env = {**ENV, **(env or {})}
        ran = subprocess.run([*VALGRIND, *command], env=env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True,
                             timeout=4 * harness.TIMEOUT_S)
        found = re.search(rb"in use at exit: ([\d,]+) bytes in ([\d,]+) blocks", ran.stderr)
        size, count = (int(group.replace(b",", b"")) for group in found.groups())
        result = self.run_command(*command, env=env, stdout=subprocess.DEVNULL)
        report = harness.only_last(result)
        self.assert_no_loss(report)
        # valgrind knows nothing of CPython's pools: they are mapped.
        totals, pools = report["totals"], report["pymalloc_totals"]
        self.assertEqual((totals["live_count"] - pools["live_count"],
                          totals["live_bytes"] - pools["live_bytes"]), (count, size))
        self.assertEqual(harness.sums([site for site in report["sites"]
                                       if site["kind"] == "malloc"]), (count, size))
        return report

    def test_jq(self):
        self.compare("jq", "-n", "[range(1009)] | map(tostring) | add")

    def test_jq_with_a_file(self):
        path = os.path.join(self.folder, "in.json")
        with open(path, "w", encoding="ascii") as text:
            text.write('{"a": [1, 2, {"b": "c"}]}\n' * 211)
        report = self.compare("jq", ".a[2].b", path)
        self.assertGreater(report["totals"]["alloc_count"], 1000)

    def test_sqlite3(self):
        report = self.compare("sqlite3", ":memory:", SQL)
        self.assertGreater(report["totals"]["live_count"], 0)

    def test_python_with_its_own_allocator(self):
        report = self.compare(*PYTHON, "import json; kept = [str(i) for i in range(1009)]")
        self.assertGreater(report["totals"]["live_count"], 0)

    def test_python_with_malloc_for_everything(self):
        report = self.compare(*PYTHON, "import json, re; kept = {str(i): [i] for i in range(1009)}",
                              env={"PYTHONMALLOC": "malloc"})
        self.assertGreater(report["totals"]["alloc_count"], 10000)

    def test_cxx_containers(self):
        report = self.compare(harness.program("cxx"))
        self.assertGreater(report["totals"]["live_count"], 6000)
