# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Work of the kinds that Python programs do: "NAME MS" on stdin has one kind done for so long,
which says "ns NANOSECONDS-PER-ITERATION ITERATIONS"; "kept" says "kept COUNT BYTES TRACED", of what
was kept (one block in BATCH iterations), and of what tracemalloc knows ("-" if it is off).

The time is of CPU, the kernel's included: it does not double when somebody else works, too.
"""

import json
import os
import random
import sys
import time
import tracemalloc

BATCH = 4
KEPT_BYTES = 65521
DOCUMENT = {"items": [{"id": i, "name": "item %d" % i, "price": i * 1.25, "on": i % 2 == 0,
                       "tags": ["a", "b", str(i)], "note": None} for i in range(60)]}
WORDS = ["word%d" % i for i in range(400)]
NUMBERS = [random.Random(1).random() for _ in range(2000)]
kept = []


class Node:
    """An instance with attributes in a tree of such."""

    def __init__(self, depth, parent):
        self.name = "node %d" % depth
        self.parent = parent
        self.children = [Node(depth - 1, self) for _ in range(2)] if depth else []
        self.total = 0

    def add_up(self):
        self.total = 1 + sum(child.add_up() for child in self.children)
        return self.total


def work_json():
    return json.loads(json.dumps(DOCUMENT))


def work_strings():
    text = " ".join(WORDS)
    parts = [word.upper() + "," + word[::-1] for word in text.split(" ")]
    return "".join(parts).replace("WORD", "w").encode().decode()


def work_dicts():
    table = {}
    for i in range(1500):
        table["key %d" % i] = (i, i + 1)
    for i in range(0, 1500, 2):
        del table["key %d" % i]
    return {value: key for key, value in table.items()}


def work_sort():
    return sorted(sorted(NUMBERS, key=lambda number: -number), key=str)


def work_classes():
    return Node(7, None).add_up()


WORK = {"json": work_json, "strings": work_strings, "dicts": work_dicts, "sort": work_sort,
        "classes": work_classes}


def keep():
    """What a leak would be; the list of them grows elsewhere."""
    return bytes(KEPT_BYTES)


def run(work, seconds):
    """Nanoseconds of an iteration, and how many there were."""
    begin = now = time.process_time()
    count = 0
    while now - begin < seconds:
        for _ in range(BATCH):
            work()
        kept.append(keep())
        count += BATCH
        now = time.process_time()
    return (now - begin) * 1e9 / count, count


def main():
    print("READY", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "kept":
            traced = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else "-"
            print("kept", len(kept), sum(sys.getsizeof(block) for block in kept), traced,
                  flush=True)
        else:
            print("ns %.1f %d" % run(WORK[words[0]], int(words[1]) / 1000), flush=True)
    os._exit(0)  # what is live is live to the end


main()
