# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""What the compiled BPF programs must be like on kernels that are not this one."""

import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "build"))

import stack_depth  # noqa: E402  (needs the path)

OBJECTS = [os.path.join(ROOT, "build", name)
           for name in ("unfreed.bpf.o", "check/x86.bpf.o", "check/arm64.bpf.o")]
TAIL_CALL = re.compile(r"\bcall (12|0xc)$", re.M)


class Object(unittest.TestCase):
    def test_no_chain_of_calls_has_a_stack_that_older_kernels_refuse(self):
        for path in OBJECTS:
            found = stack_depth.functions(path)
            depth, chain = max(stack_depth.deepest(found, name) for name in found)
            self.assertLessEqual(depth, stack_depth.LIMIT, f"{path}: {' > '.join(chain)}")

    def test_every_uprobe_program_refuses_a_private_stack(self):
        # See bpf/private_stack.bpf.h: the tail call is what keeps the kernel from giving one.
        for path in OBJECTS:
            listing = subprocess.run(["llvm-objdump", "-d", "--no-show-raw-insn", path],
                                     stdout=subprocess.PIPE, check=True).stdout.decode()
            sections = re.split(r"^Disassembly of section ", listing, flags=re.M)
            programs = [program for section in sections
                        if re.match(r"u(ret)?probe", section)
                        for program in re.split(r"^(?=[0-9a-f]{16} <(?!LBB))", section,
                                                flags=re.M)[1:]]
            self.assertGreaterEqual(len(programs), 7, path)
            for program in programs:
                self.assertRegex(program, TAIL_CALL, program.split("\n", 1)[0])
