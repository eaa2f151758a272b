# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""py_dumped.py WORK DUMPS [ARG...]: a Python victim that runs under py_dumps.so and does some work
between two gates. faulthandler writes its frames to the file DUMPS at every allocation.

WORK: shapes (frames of all kinds; runs on every Python from 3.8 on), redis PORT, numpy, lxml."""

import asyncio
import concurrent.futures.thread  # here: where asyncio imports it the stack is too deep on 3.8
import contextlib
import ctypes
import faulthandler
import functools
import gc
import importlib
import os
import re
import signal
import sys
import threading
import types

dumps = ctypes.CDLL(None)  # LD_PRELOAD
dumps.dumps_start.argtypes = [ctypes.c_int]
dumps.dumps_start.restype = None
dumps.dumps_gate.argtypes = [ctypes.c_char_p]
dumps.dumps_gate.restype = None
dumps.malloc.restype = ctypes.c_void_p
dumps.malloc.argtypes = [ctypes.c_size_t]


# ---- shapes ----

SIZES = iter(range(10007, 20000))


def leak():
    """One block from C and one from the interpreter, of sizes that no other has."""
    dumps.malloc(next(SIZES))
    return bytearray(next(SIZES))


def nested(depth):
    def inner(left):
        return inner(left - 1) if left else leak()
    return inner(depth)


class Everything:
    size = len(leak())  # in a class's body

    def __init__(self):
        self.kept = leak()

    @property
    def attribute(self):
        return leak()

    @functools.lru_cache(maxsize=None)
    def cached(self):
        return len(leak())

    @classmethod
    def of_class(cls):
        return (
            leak()
            + leak())

    def __getattr__(self, name):
        return leak()

    def __lt__(self, other):
        return bool(leak()) and False

    def __enter__(self):
        leak()
        return self

    def __exit__(self, *_):
        leak()

    def __iter__(self):
        leak()
        return iter((1, 2))

    def __del__(self):
        leak()


def decorator(function):
    leak()

    @functools.wraps(function)
    def decorated(*args, **kwargs):
        leak()
        return function(*args, **kwargs)
    return decorated


@decorator
def decorated_one(kept=leak(), *rest, key=None, **options):
    return leak()


def counting():
    leak()
    sent = yield 1
    while sent:
        leak()
        sent = yield 2
    try:
        yield from delegated()
    finally:
        leak()


def delegated():
    yield leak()


def run_generators():
    generator = counting()
    next(generator)
    generator.send(1)
    generator.send(None)
    generator.close()
    [leak() for _ in range(2)]
    {leak() is None: leak() for _ in range(2)}
    {len(leak()) for _ in range(2)}
    any(leak() is None for _ in range(2))
    [[leak() for _ in range(2)] for _ in range(2)]


def run_exceptions():
    try:
        try:
            raise KeyError(leak())
        except KeyError:
            leak()
            raise ValueError from None
        finally:
            leak()
    except ValueError:
        leak()
    with contextlib.suppress(ZeroDivisionError), Everything():
        leak()
        1 / 0


def run_callbacks():
    sorted(range(3), key=lambda x: len(leak()) + x)
    sorted([Everything(), Everything()])
    list(map(lambda _: leak(), range(2)))
    list(filter(leak.__call__ and (lambda _: leak()), range(2)))
    functools.reduce(lambda a, b: leak(), range(3))
    functools.partial(decorated_one, 1, key=2)(3, other=4)
    re.sub("[bc]", lambda match: leak() and match.group(), "abcd")
    max(range(3), key=lambda x: len(leak()))
    type("Made", (), {"__init_subclass__": classmethod(lambda cls: leak())})
    types.new_class("New", (Everything,), exec_body=lambda ns: leak())
    eval("leak()\n", {"leak": leak})
    exec(compile("\n\ndef of_exec():\n    return leak()\nof_exec()\nleak()\n",
                 "/virtual/ünïcode.py", "exec"), {"leak": leak})
    str.join("", (chr(65 + len(leak()) % 7) for _ in range(2)))


def compare(_a, _b):
    leak()
    return 0


def run_c_callbacks():
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    dumps.qsort((ctypes.c_int * 4)(4, 3, 2, 1), 4, 4, callback(compare))

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    def deeper(_a, _b):
        dumps.qsort((ctypes.c_int * 2)(2, 1), 2, 4, callback(compare))
        nested(3)
        return 0
    dumps.qsort((ctypes.c_int * 2)(2, 1), 2, 4, deeper)


async def sleeper(seconds):
    leak()
    await asyncio.sleep(seconds)
    return leak()


class Stream:
    def __init__(self):
        self.left = 2

    def __aiter__(self):
        return self

    async def __anext__(self):
        leak()
        await asyncio.sleep(0)
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return leak()

    async def __aenter__(self):
        leak()

    async def __aexit__(self, *_):
        leak()


async def agenerator():
    for _ in range(2):
        yield leak()
        await asyncio.sleep(0)


async def run_async():
    await asyncio.gather(sleeper(0), sleeper(0.001), sleeper(0))
    async with Stream():
        async for _ in Stream():
            leak()
    [leak() async for _ in agenerator()]
    await asyncio.get_running_loop().run_in_executor(None, leak)


def run_deaths():
    thing = Everything()
    thing.me = thing
    thing.__dict__["more"] = [leak() for _ in range(2)]
    del thing
    gc.collect()


def run_profiled():
    """A profiler is called before the first instruction (up to 3.11), and after the last."""
    kept = []

    def profiled():
        return kept

    def generator():
        yield kept

    def profile(frame, _event, _arg):
        if frame.f_code in (profiled.__code__, generator.__code__):
            leak()

    sys.setprofile(profile)
    profiled()
    list(generator())
    sys.setprofile(None)


def trace(frame, _event, _arg):
    """Its frames are of lines that the program jumps between."""
    leak()
    frame.f_trace_opcodes = True
    return trace


def run_traced():
    def traced(x):
        for i in range(2):
            x += (i +
                  len([x,
                       i]))
        return x
    sys.settrace(trace)
    traced(1)
    sys.settrace(None)


def long_lines():
    """A function whose code is longer than 255 units of every kind of table's step."""
    lines = ["def long(a):"] + ["    a = a + 1 + len([a])" for _ in range(700)] + [
        "    leak()", "\n" * 300 + "    leak(", "  )", "    return a", "long(1)"]
    exec(compile("\n".join(lines), "/virtual/long.py", "exec"), {"leak": leak})


def run_imports():
    """C code that allocates while its library is new: native stacks may be cut there."""
    for name in "_lsprof", "_queue", "_csv", "_elementtree", "pyexpat", "_multiprocessing":
        if name not in sys.modules:
            importlib.import_module(name)


def deep(left):
    return deep(left - 1) if left else leak()


def in_thread():
    Everything().of_class()
    run_generators()
    deep(13)


def run_threads():
    threads = [threading.Thread(target=in_thread, name="worker-%d" % i) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def shapes():
    nested(7)
    thing = Everything()
    thing.attribute
    thing.missing
    thing.cached()
    Everything.of_class()
    a, *b = thing
    decorated_one()
    run_generators()
    run_exceptions()
    run_callbacks()
    run_c_callbacks()
    asyncio.run(run_async())
    run_deaths()
    run_profiled()
    run_traced()
    run_imports()
    long_lines()
    deep(60 if sys.version_info >= (3, 11) else 20)  # before, each has C frames of its own
    run_threads()


# ---- work loads ----

def prepare_redis(port):
    import redis
    client = redis.Redis(port=int(port))
    client.ping()

    def parse(response, **options):
        return [response, bytes(len(response) + 1000)]
    client.set_response_callback("ECHO", parse)

    def work():
        for i in range(11):
            client.set("key:%d" % i, b"x" * (1000 + i))
            client.get("key:%d" % i)
            client.echo("y" * (700 + i))
        client.hset("hash", mapping={"field%d" % i: "v" * 600 for i in range(17)})
        client.hgetall("hash")
        with client.pipeline() as pipe:
            for i in range(13):
                pipe.get("key:%d" % i)
            pipe.execute()
        client.lpush("list", *range(101))
        client.lrange("list", 0, -1)
        try:
            client.lrange("hash", 0, -1)
        except redis.ResponseError:
            pass
        listener = client.pubsub()
        listener.subscribe(**{"channel": lambda message: bytearray(len(message["data"]) + 5000)})
        client.publish("channel", "z" * 1009)
        for _ in range(3):
            listener.get_message(timeout=1)
        client.eval("return {1, 2, ARGV[1]}", 0, "a" * 900)
    return work


def prepare_numpy():
    import numpy

    def scaled(x):
        return float(len(bytearray(2000))) * x

    def work():
        kept = numpy.arange(10007, dtype=numpy.float64)
        numpy.vectorize(scaled)(kept[:7])
        numpy.frompyfunc(lambda a, b: bytes(1000 + int(a)), 2, 1)(kept[:5], kept[5:10])
        numpy.apply_along_axis(lambda row: numpy.sort(row)[::-1], 0, kept[:4].reshape(2, 2))
        numpy.fromfunction(lambda i, j: i * j, (31, 33))
        numpy.fromiter((len(bytes(800 + i)) for i in range(5)), dtype=int)
        numpy.array([str(i) * 5 for i in range(300)])
        numpy.linalg.svd(kept[:400].reshape(20, 20))
        numpy.linalg.solve(numpy.eye(17) * 3, kept[:17])
        numpy.fft.fft(kept[:1009])
        (kept * 2 + kept ** 2)[kept > 3].cumsum()
        numpy.einsum("ij,jk->ik", kept[:100].reshape(10, 10), kept[:100].reshape(10, 10))
        numpy.concatenate([kept, kept]).astype(numpy.complex128)
        numpy.random.default_rng(7).permutation(kept)
        numpy.array2string(kept[:50])
        numpy.piecewise(kept, [kept < 5, kept >= 5], [lambda x: -x, lambda x: x + 1])
        numpy.unique(kept.astype(int) % 101, return_counts=True)
        memory = memoryview(kept)
        bytes(memory[:200])
    return work


def prepare_lxml():
    from lxml import etree, objectify

    class Target:
        def __init__(self):
            self.seen = []

        def start(self, tag, attributes):
            self.seen.append(bytearray(1000 + len(tag)))

        def data(self, data):
            self.seen.append(data * 300)

        def end(self, tag):
            pass

        def close(self):
            return bytes(3000)

    def extension(_context, nodes):
        return str(len(bytes(2000 + len(nodes))))

    class Lookup(etree.PythonElementClassLookup):
        def lookup(self, document, element):
            bytearray(1500)
            return None

    class Resolver(etree.Resolver):
        def resolve(self, url, public_id, context):
            return self.resolve_string("<!ENTITY e '%s'>" % ("e" * 700), context)

    text = ("<root>" + "".join("<item id='%d'>text %d</item>" % (i, i) for i in range(23))
            + "</root>")
    namespace = etree.FunctionNamespace("urn:unfreed")
    namespace["ext"] = extension

    def work():
        tree = etree.fromstring(text)
        tree.xpath("//item[f:ext(.) > 0]", namespaces={"f": "urn:unfreed"})
        etree.fromstring(text, etree.XMLParser(target=Target()))
        parser = etree.XMLParser()
        parser.set_element_class_lookup(Lookup())
        [child.tag for child in etree.fromstring(text, parser)]
        for _event, element in etree.iterparse(__import__("io").BytesIO(text.encode())):
            element.clear()
        transform = etree.XSLT(etree.fromstring(
            "<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999/XSL/Transform' "
            "xmlns:f='urn:unfreed'><xsl:template match='/'><out><xsl:value-of "
            "select='f:ext(//item)'/></out></xsl:template></xsl:stylesheet>"))
        str(transform(tree))
        etree.tostring(tree, pretty_print=True)
        objectify.fromstring(text).item[3].text
        try:
            etree.fromstring("<broken")
        except etree.XMLSyntaxError as error:
            str(error)
        resolving = etree.XMLParser(load_dtd=True)
        resolving.resolvers.add(Resolver())
        etree.fromstring("<!DOCTYPE r SYSTEM 'made.dtd'><r>&e;</r>", resolving)
    return work


PREPARE = {"shapes": lambda: shapes, "redis": prepare_redis, "numpy": prepare_numpy,
           "lxml": prepare_lxml}


def main():
    work = PREPARE[sys.argv[1]](*sys.argv[3:])
    out = open(sys.argv[2], "wb", buffering=0)
    faulthandler.register(signal.SIGUSR1, file=out, all_threads=False)
    dumps.dumps_start(out.fileno())
    dumps.dumps_gate(b"READY")
    work()
    dumps.dumps_gate(b"DONE")
    os._exit(0)


main()
