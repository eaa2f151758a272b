# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""A service with small objects: a line that keeps them, one that keeps none, and a forked child;
or, with the argument "requests" or "dicts", one that has many for the moment and keeps a few, time
and again.

Gates as in gate.h: a line on standard output, then one byte of standard input.
"""

import os
import sys

NODES = 40009
CHURNED = 20011
REQUESTS = 1009
KEPT = 11


class Node:
    """48 bytes: two for the collector, the type, the count, two slots."""

    __slots__ = ("key", "value")


class Row:
    """Of another size, so of other pools."""

    __slots__ = tuple("column%d" % i for i in range(16))


def gate(text):
    """Says where we are and waits to be told to go on."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    os.read(0, 1)


def keep(nodes):
    """Fills the list."""
    for i in range(len(nodes)):
        nodes[i] = Node()  # LINE: keep


def churn(rows):
    """Fills the list, and empties it."""
    for i in range(len(rows)):
        rows[i] = Row()  # LINE: churn
    for i in range(len(rows)):
        rows[i] = None


def clear(nodes):
    """Frees what keep() made."""
    for i in range(len(nodes)):
        nodes[i] = None


def block_bytes(what):
    """What the allocator gives for an object, which has a collector's header."""
    return (sys.getsizeof(what) + 15) // 16 * 16


def run_child(nodes, go):
    """Frees the copies that it has, when told to; then says so and waits to be killed."""
    os.read(go, 1)
    clear(nodes)
    sys.stdout.write("CHILD cleared\n")
    sys.stdout.flush()
    while True:
        os.read(go, 1)


def answer(number):
    """Has many objects for the moment."""
    nodes = [Node() for _ in range(307)]  # LINE: answer
    names = ["%d of them" % (number + i) for i in range(307)]
    return len(nodes) + len(" ".join(names))


def remember(kept):
    """Keeps some of the same kind."""
    for _ in range(KEPT):
        kept.append(Node())  # LINE: remember


def answer_with_dicts(number):
    """The same with dicts: 80 of those that are freed are handed out again without the allocator."""
    rows = [{"number": number, "i": i} for i in range(307)]  # LINE: answer_with_dicts
    return len(rows)


def remember_dicts(kept):
    """Keeps fewer than that at a time."""
    for i in range(KEPT):
        kept.append({"number": 0, "i": i})  # LINE: remember_dicts


def serve(answer_one, remember_some):
    """Request after request."""
    kept = []
    gate("READY")
    for number in range(REQUESTS):
        answer_one(number)
        remember_some(kept)
        answer_one(number)
    gate("DONE requests %d" % (len(kept) * block_bytes(kept[0])))


def main():
    """All of it, in order."""
    nodes, rows = [None] * NODES, [None] * CHURNED
    go, told = os.pipe()
    gate("READY")
    keep(nodes)
    churn(rows)
    gate("DONE keep %d" % (NODES * block_bytes(nodes[0])))
    churn(rows)
    gate("DONE churn %d" % (CHURNED * block_bytes(Row())))
    clear(nodes)
    gate("DONE clear")
    keep(nodes)
    gate("DONE again %d" % (NODES * block_bytes(nodes[0])))
    child = os.fork()
    if not child:
        run_child(nodes, go)
    gate("DONE fork %d" % child)
    os.write(told, b"g")
    os.read(0, 1)
    clear(nodes)
    gate("DONE parent")


if sys.argv[1:] == ["requests"]:
    serve(answer, remember)
elif sys.argv[1:] == ["dicts"]:
    serve(answer_with_dicts, remember_dicts)
else:
    main()
