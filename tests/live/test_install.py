# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""make install, as a packager calls it, and what was installed."""

import os
import subprocess
import tempfile

import harness

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Install(harness.LiveTest):
    def test_what_is_installed_works_and_nothing_else_is_touched(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["make", "-s", "-C", ROOT, "install", f"DESTDIR={folder}",
                            "PREFIX=/opt/u"], check=True, stdout=subprocess.DEVNULL)
            files = sorted(os.path.relpath(os.path.join(path, name), folder)
                           for path, _, names in os.walk(folder) for name in names)
            self.assertEqual(files, ["opt/u/lib/unfreed/libunfreed-gate.so", "opt/u/sbin/unfreed",
                                     "opt/u/share/man/man8/unfreed.8"])
            tool = os.path.join(folder, files[1])
            self.assertTrue(os.access(tool, os.X_OK))
            run = subprocess.run([tool, "-q", "-f", "json", "--", "/bin/true"], cwd="/",
                                 stdout=subprocess.PIPE, check=True)
            self.assertIn(b'"unfreed":1', run.stdout)
            run = subprocess.run([tool, "--gate", "-f", "json", "--", "/bin/true"], cwd="/",
                                 capture_output=True, check=True)
            self.assertIn(b"libunfreed-gate.so", run.stderr)
            with open(os.path.join(folder, files[2]), encoding="utf-8") as page:
                text = page.read()
            self.assertTrue(text.startswith(".TH"), text[:80])
            self.assertIn("older", text)
