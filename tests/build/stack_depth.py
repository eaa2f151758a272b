#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""The deepest stack that calls within a BPF object can make, as the verifier counts it.

    stack_depth.py OBJECT...     one line an object; 1 if one is deeper than the kernel allows

The verifier adds up the frames of each chain of calls, each rounded up to 32 bytes, callbacks
included, and refuses more than 512. Linux 6.13 and later give uprobe programs on x86-64 private
stacks and do not count like that, so a kernel that new does not show the problem.
"""

import re
import subprocess
import sys

LIMIT = 512
GRAIN = 32
INSTRUCTION_BYTES = 8

SECTION = re.compile(r"^Disassembly of section (\S+):")
FUNCTION = re.compile(r"^([0-9a-f]+) <(\w+)>:")
FRAME = re.compile(r"r10 - (0x[0-9a-f]+|\d+)")
COPY = re.compile(r"(r\d) = (r10\b)?")
ADDRESS = re.compile(r"(r\d) \+= -(0x[0-9a-f]+|\d+)")
CONSTANT = re.compile(r"r\d = (0x[0-9a-f]+|\d+) ll")
TARGET = re.compile(r"\bcall (-?0x[0-9a-f]+|-?\d+)$")
CALL = re.compile(r"R_BPF_64_32\s+(\S+)")
CALLBACK = re.compile(r"R_BPF_64_64\s+\.text")


class Function:
    """One function: its frame and which it calls or gives to a helper as callbacks."""

    def __init__(self):
        self.frame = 1
        self.callees = set()   # by name
        self.addresses = set() # of callbacks and static callees in .text
        self.copies = set()    # registers that hold the frame's address
        self.constant = None
        self.target = None

    def read(self, line):
        """One line of the disassembly."""
        for match in FRAME.finditer(line):
            self.frame = max(self.frame, int(match.group(1), 0))
        copy, address = COPY.search(line), ADDRESS.search(line)
        if copy and copy.group(2):
            self.copies.add(copy.group(1))
        elif copy:
            self.copies.discard(copy.group(1))
        # Any other register may have something taken from it.
        if address and address.group(1) in self.copies:
            self.frame = max(self.frame, int(address.group(2), 0))
        constant, call, target = CONSTANT.search(line), CALL.search(line), TARGET.search(line)
        if constant:
            self.constant = int(constant.group(1), 0)
        if target:
            self.target = (int(target.group(1), 0) + 1) * INSTRUCTION_BYTES
        if call and call.group(1) == ".text":
            self.addresses.add(self.target)
        elif call:
            self.callees.add(call.group(1))
        elif CALLBACK.search(line):
            self.addresses.add(self.constant)


def functions(path):
    """The functions of an object by name."""
    listing = subprocess.run(["llvm-objdump", "-dr", "--no-show-raw-insn", path],
                             stdout=subprocess.PIPE, check=True).stdout.decode()
    found, addresses, section, current = {}, {}, "", None
    for line in listing.split("\n"):
        heading, start = SECTION.match(line), FUNCTION.match(line)
        if heading:
            section = heading.group(1)
        elif start and start.group(2).startswith("LBB"):
            pass  # a label, by older clangs
        elif start:
            current = found.setdefault(start.group(2), Function())
            if section == ".text":
                addresses[int(start.group(1), 16)] = start.group(2)
        elif current:
            current.read(line)
    for function in found.values():
        function.callees |= {addresses[address] for address in function.addresses}
    return found


def deepest(found, name):
    """(bytes, chain of calls) below and with a function."""
    own = -(-found[name].frame // GRAIN) * GRAIN
    below = [deepest(found, callee) for callee in found[name].callees
             if callee in found and callee != name]
    depth, chain = max(below, default=(0, []))
    return own + depth, [name] + chain


def main():
    """Looks at the objects named."""
    too_deep = False
    for path in sys.argv[1:]:
        found = functions(path)
        depth, chain = max(deepest(found, name) for name in found)
        too_deep |= depth > LIMIT
        print(f"{path}: {depth} of {LIMIT} bytes: {' > '.join(chain)}")
    return too_deep


if __name__ == "__main__":
    sys.exit(main())
