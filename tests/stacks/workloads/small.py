# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""Allocates from many places of the interpreter and its extension modules, for a few seconds.

Callbacks from C into Python make stacks that go through both more than once: sorting keys,
regular expressions, ctypes (whose calls and callbacks are hand-written assembly), sqlite3, expat.
"""
import ctypes
import decimal
import functools
import json
import pickle
import re
import sqlite3
import sys
import threading
import time
import xml.etree.ElementTree as tree
import zlib

libc = ctypes.CDLL(None)
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))


def blocks(n):
    return [bytes(1000 + i) for i in range(n)]


def parse():
    text = json.dumps({"rows": [{"id": i, "text": "x" * 600} for i in range(5)]})
    return json.loads(text, object_hook=lambda row: dict(row, copy=bytes(700)))


def by_key():
    return sorted(range(20), key=lambda i: bytearray(600 + i))


def by_pattern():
    return re.sub(r"(\w+) (\w+)", lambda match: match.group(2) * 300, "one two three four " * 10)


def by_ctypes():
    numbers = (ctypes.c_int * 8)(*range(8, 0, -1))
    kept = []

    def compare(a, b):
        kept.append(bytes(900))
        return a[0] - b[0]

    libc.qsort(numbers, len(numbers), ctypes.sizeof(ctypes.c_int), COMPARE(compare))
    return kept


def by_database():
    database = sqlite3.connect(":memory:")
    database.create_function("grow", 1, lambda text: text * 800)
    database.execute("create table t (a, b)")
    database.executemany("insert into t values (?, grow(?))", [(i, "ab") for i in range(5)])
    return database.execute("select b, count(*) from t group by a order by b").fetchall()


def by_xml():
    return tree.fromstring("<a>" + "<b c='d'>text</b>" * 30 + "</a>").findall(".//b")


class Node:
    def __init__(self, depth):
        self.payload = bytearray(800)
        self.children = [Node(depth - 1) for _ in range(2)] if depth else []

    def __repr__(self):
        return "(" + ",".join(map(repr, self.children)) + ")" * 30


@functools.lru_cache(maxsize=10)
def cached(n):
    return bytes(2000) if n < 2 else cached(n - 1) + cached(n - 2)[:1000]


def failing(n):
    try:
        return failing(n - 1) if n else {}["missing"]
    except KeyError as error:
        raise ValueError("x" * 700) from error


def by_exception():
    try:
        failing(5)
    except ValueError as error:
        return repr(error) * 3


def generated():
    return b"".join(chunk for chunk in (bytes(600) for _ in range(10)) if chunk)


WORK = [
    lambda: blocks(10), parse, by_key, by_pattern, by_ctypes, by_database, by_xml,
    lambda: repr(Node(4)), lambda: (cached.cache_clear(), cached(12)), by_exception, generated,
    lambda: zlib.decompress(zlib.compress(bytes(50000))),
    lambda: pickle.loads(pickle.dumps([bytes(600) for _ in range(10)])),
    lambda: str(decimal.Decimal(2) ** 3000),
    lambda: compile("x = [i for i in range(10)]\n" * 20, "text", "exec"),
]


def work(end):
    while time.monotonic() < end:
        for part in WORK:
            part()


end = time.monotonic() + float(sys.argv[1])
threads = [threading.Thread(target=work, args=(end,)) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
