# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""A small web application that leaks in three ways and in a fourth route does not.

test_gunicorn.py serves it with gunicorn and knows from the requests what each route must have
kept. Nothing in here is prepared for being looked at.
"""
import ctypes

from flask import Flask

app = Flask(__name__)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

PAGES = []
SESSIONS = []


class Session:
    """What a service may well keep of each visitor."""

    def __init__(self, number):
        self.number = number
        self.name = "visitor"


@app.route("/page/<int:number>")
def keep_page(number):
    """Keeps a string of 4 KiB."""
    PAGES.append("%d" % (number % 10) * 4096)  # LINE: page
    return "kept"


@app.route("/session/<int:number>")
def keep_session(number):
    """Keeps small objects: instances and dicts."""
    for i in range(23):
        SESSIONS.append(Session(number))  # LINE: session
        SESSIONS.append({"number": number, "i": i})  # LINE: dict
    return "kept"


@app.route("/extension/<int:number>")
def leak_in_extension(number):
    """Has C code allocate what nobody frees."""
    libc.malloc(1009)  # LINE: extension
    return str(number)


@app.route("/busy/<int:number>")
def keep_nothing(number):
    """Allocates much, for the moment."""
    pages = ["%d" % (i % 10) * 4096 for i in range(100)]  # LINE: busy
    rows = [{"number": number, "i": i} for i in range(1000)]  # LINE: rows
    return str(len(pages) + len(rows))
