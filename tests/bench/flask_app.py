# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""A web application that serves itself: "serve MS" on stdin has it answer requests for so long, one
after the other, and say "rate REQUESTS-PER-SECOND REQUESTS".

The requests go in where a WSGI server would hand them over: what is measured is Flask and the
application, no network. They are of the kinds that services have: a page by a template, JSON in and
out, one that keeps a page and one whose C code leaks, which is one of LEAK_EVERY. The rate is of
CPU time, the kernel's included: it does not halve when somebody else works, too.
"""

import ctypes
import io
import json
import os
import sys
import time

import flask
import jinja2

LEAK_EVERY = 4
LEAK_BYTES = 1009
ITEMS = [{"name": "item %d" % i, "price": i * 17 % 101, "tags": ["a", "b", str(i)]}
         for i in range(20)]
PAGE = """<html><body><h1>{{ title }}</h1><ul>
{% for item in items %}<li>{{ item.name }}: {{ item.price }}{% for tag in item.tags %} {{ tag }}{%
endfor %}</li>{% endfor %}</ul></body></html>"""

app = flask.Flask(__name__)
app.jinja_loader = jinja2.DictLoader({"page.html": PAGE})
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
pages = []


@app.route("/page")
def page():
    return flask.render_template("page.html", title="All of them", items=ITEMS)


@app.route("/data", methods=["POST"])
def data():
    posted = flask.request.get_json()
    return flask.jsonify({"sum": sum(item["price"] for item in posted), "items": posted})


@app.route("/kept/<int:number>")
def kept(number):
    pages.append("%d" % (number % 10) * 4096)
    return "kept"


@app.route("/extension")
def extension():
    libc.malloc(LEAK_BYTES)
    return "leaked"


def environ(method, path, body=b""):
    """What a server would give."""
    return {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
            "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost", "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)), "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr, "wsgi.multithread": False,
            "wsgi.multiprocess": True, "wsgi.run_once": False}


def start_response(status, _headers, _exc_info=None):
    if not status.startswith("200"):
        sys.exit("flask_app: " + status)


def answer(method, path, body=b""):
    response = app(environ(method, path, body), start_response)
    for _ in response:
        pass
    response.close()


def serve(seconds):
    """Requests answered, and how much CPU time that took, the kernel's included."""
    posted = json.dumps(ITEMS).encode()
    begin = now = time.process_time()
    count = 0
    while now - begin < seconds:
        for _ in range(5):
            answer("GET", "/page")
            answer("POST", "/data", posted)
            answer("GET", "/kept/%d" % count)
            answer("GET", "/extension")
            count += LEAK_EVERY
        now = time.process_time()
    return count, now - begin


def main():
    print("READY", flush=True)
    for line in sys.stdin:
        count, seconds = serve(int(line.split()[1]) / 1000)
        print("rate %.2f %d" % (count / seconds, count), flush=True)
    os._exit(0)  # what is live is live to the end


main()
