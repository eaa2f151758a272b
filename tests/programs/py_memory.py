# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""A Python victim that has tracemalloc follow it while it works between two gates. After the second
it prints, as one line of JSON, what compare_to('lineno') says of the blocks over 512 bytes: a list
of [file, line, blocks more, bytes more].

What it does between the gates frees no block that was there before."""

import collections
import ctypes
import gc
import json
import os
import sys
import threading
import tracemalloc
import zlib

OVER = 512  # pymalloc's own up to here; malloc's beyond
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
kept = []


class Slots:
    __slots__ = tuple("field_%d" % i for i in range(101))


def work():
    keep = kept.append
    for i in range(1009):
        keep(bytes(1000 + i))  # a block each
    for i in range(503):
        bytearray(5000 + i)  # freed at once
    grown = []
    for i in range(10007):
        grown.append(i)  # one block, moved again and again, from pymalloc's to malloc's
    keep(grown)
    shrunk = list(range(3001))
    del shrunk[11:]  # back to a small one
    keep(shrunk)
    keep({i: i for i in range(1009)})
    table = {}
    for i in range(2003):
        table[i, i] = None  # grows by new tables
    keep(table)
    keep({str(i) for i in range(1511)})
    buffer = bytearray()
    for i in range(701):
        buffer += b"x" * 17  # realloc
    keep(buffer)
    keep("".join("ü%d" % i for i in range(997)))
    keep(("a" * 3000).encode("utf-16"))
    for i in range(499):
        keep(Slots())  # of the collector's: a header before each
    keep(tuple(range(2011)))
    keep(collections.deque(range(1013)))  # many blocks
    keep([bytes(513 + i) for i in range(307)])
    keep(zlib.compressobj(9))  # C code that allocates with PyMem_RawMalloc
    keep(json.loads("[" + ",".join(['"%s"' % ("j" * 600)] * 211) + "]"))
    keep(os.urandom(4099))
    for i in range(101):
        kept[-1] = bytes(2000 + i)  # each frees the one before
    keep(memoryview(bytes(9001)).tobytes())
    keep(int("7" * 4000))
    threads = [threading.Thread(target=in_thread, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keep(512 * b"y")  # with its header just over
    keep((OVER - bytes().__sizeof__()) * b"z")  # exactly OVER: not over
    for i in range(401):
        keep(libc.malloc(3000 + i))  # LINE: direct (tracemalloc does not see it)


def in_thread(number):
    for i in range(211):
        kept.append(bytes(number * 1000 + 700 + i))
        bytes(8000 + i)


def blocks_over(snapshot):
    return tracemalloc.Snapshot([trace for trace in snapshot.traces._traces if trace[1] > OVER], 1)


def gate(text):
    os.write(1, text)
    os.read(0, 1)


def main():
    # pymalloc's and tracemalloc's own tables are malloc's too, and tracemalloc does not tell of
    # them: room for the small objects and the traces to come, so that none has to grow.
    room = [bytes(400) for _ in range(40000)]
    threading.Thread(target=int).start()
    gc.collect()
    gc.disable()
    tracemalloc.start(int(sys.argv[1]))
    traced_room = [bytes(100) for _ in range(40000)]
    del room[1::2], traced_room[1::2]
    before = blocks_over(tracemalloc.take_snapshot())
    gate(b"READY\n")
    work()
    gate(b"DONE\n")
    after = blocks_over(tracemalloc.take_snapshot())
    print(json.dumps([[stat.traceback[0].filename, stat.traceback[0].lineno, stat.count_diff,
                       stat.size_diff]
                      for stat in after.compare_to(before, "lineno")
                      if stat.count_diff or stat.size_diff]), flush=True)
    os._exit(0)


main()
