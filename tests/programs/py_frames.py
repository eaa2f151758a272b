# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""A Python victim: allocates through ctypes in many kinds of frames, and says what its own stack
was. One line of output a case: size in bytes, then the frames, innermost first, as
"function|file|line" joined by tabs."""

import asyncio
import ctypes
import functools
import os
import re
import sys
import threading
import time

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
malloc = libc.malloc
malloc.argtypes = [ctypes.c_size_t]
records = []


def frames(frame):
    """(function, file, line) from the frame outwards, as traceback would."""
    out = []
    while frame:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        out.append(f"{name}|{code.co_filename}|{frame.f_lineno}")
        frame = frame.f_back
    return out


def leak(size):
    records.append((size, frames(sys._getframe()), malloc(size)))


def recurse(depth, size):
    if depth:
        return recurse(depth - 1, size)
    return leak(size)


class Holder:
    deleted = 0

    def method(self, size):
        leak(size)

    @staticmethod
    def static(size):
        (
            leak(
                size
            )
        )

    @functools.lru_cache(maxsize=None)
    def cached(self, size):
        leak(size)

    def __repr__(self):
        leak(20011)
        return "holder"

    def __del__(self):
        Holder.deleted += 1
        leak(20021 + 100000 * Holder.deleted)


def generator(size):
    for i in range(3):
        if i == 1:
            leak(size)
        yield i


async def coroutine(size):
    await asyncio.sleep(0)
    leak(size)


def substitute(match):
    leak(20047)
    return match.group()


class Made:
    """Made by a call that the interpreter has specialised after the first ones."""

    def __init__(self, size):
        if size:
            leak(size)


def by_thread():
    recurse(5, 20051)


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


@CALLBACK
def compare(_a, _b):
    if not any(size == 20063 for size, _, _ in records):
        leak(20063)
    return 0


def main():
    leak(20071)
    recurse(31, 20089)
    Holder().method(20101)
    Holder.static(20107)
    Holder().cached(20113)
    list(generator(20117))
    [leak(size) for size in (20123,)]
    sorted([2], key=lambda x: leak(20129) or x)
    list(map(lambda size: leak(size), [20143]))
    repr(Holder())
    asyncio.run(coroutine(20147))
    re.sub("b", substitute, "abc")
    thread = threading.Thread(target=by_thread)
    thread.start()
    thread.join()
    libc.qsort((ctypes.c_int * 2)(2, 1), 2, 4, compare)
    try:
        raise ValueError
    except ValueError:
        leak(20149)
    for size in 99 * [0] + [20173]:
        Made(size)
    exec(compile("\n\nleak(20161)\n", "/virtual/module.py", "exec"))


time.sleep(0.5)  # the interpreter is found a moment after it has come up
main()
for size, stack, _ in records:
    print(size, "\t".join(stack), sep="\t")
sys.stdout.flush()
os._exit(0)
