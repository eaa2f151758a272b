#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Runs the live tests: run.py [-k SUBSTRING] [-v]; exits with 1 if one fails.

One line a test, and "N passed, N failed, N skipped" at the end. -v adds times, what failed tests
say goes to stdout after their line in any case.
"""

import argparse
import glob
import importlib
import os
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import harness  # noqa: E402  (needs the path)


def tests_in(suite):
    """The test cases of nested suites, in order."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from tests_in(item)
        else:
            yield item


def discover(substring):
    """All tests whose name contains substring."""
    loader = unittest.TestLoader()
    names = [os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "test_*.py"))]
    for name in sorted(names):
        suite = loader.loadTestsFromModule(importlib.import_module(name))
        for test in tests_in(suite):
            if substring in test.id():
                yield test


class Outcome(unittest.TestResult):
    """Prints a line for each test."""

    def __init__(self, verbose):
        super().__init__()
        self.verbose = verbose
        self.passed = self.failed = self.skipped_count = 0
        self.began = 0.0

    def say(self, word, test, text=""):
        """One line: the word, the test, perhaps how long it took, and text."""
        took = f" ({time.monotonic() - self.began:.1f} s)" if self.verbose else ""
        print(f"{word} {test.id()}{took}{text}", flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def addSuccess(self, test):
        self.passed += 1
        self.say("ok  ", test)

    def addSkip(self, test, reason):
        self.skipped_count += 1
        self.say("skip", test, f": {reason}")

    def fail(self, test, err):
        """Failures and errors alike."""
        self.failed += 1
        self.say("FAIL", test)
        for line in self._exc_info_to_string(err, test).rstrip().split("\n"):
            print("     " + line, flush=True)

    def addFailure(self, test, err):
        self.fail(test, err)

    def addError(self, test, err):
        self.fail(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.fail(subtest, err)


def main():
    """Runs what the arguments ask for."""
    # A job in the background is started with SIGINT ignored, and shells cannot trap that again.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", metavar="SUBSTRING", default="", help="tests whose name has it")
    parser.add_argument("-v", action="store_true", help="how long each test took")
    options = parser.parse_args()

    harness.become_subreaper()
    outcome = Outcome(options.v)
    try:
        for test in discover(options.k):
            test.run(outcome)
    finally:
        harness.kill_descendants()
    print(f"{outcome.passed} passed, {outcome.failed} failed, {outcome.skipped_count} skipped")
    return 1 if outcome.failed or not outcome.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
