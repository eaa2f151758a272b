# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""load.py PORT SECONDS PATH...: asks a server on loopback for the paths, from two threads.

A path that begins with + is posted to. A new connection each ten requests. Waits for the server
to come up first; with no paths that is all.
"""
import http.client
import socket
import sys
import threading
import time

port, seconds, paths = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]


def wait():
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                sys.exit("load: nobody listens")
            time.sleep(0.05)


def ask(end):
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            for i in range(10):
                path = paths[i % len(paths)]
                if path.startswith("+"):
                    connection.request("POST", path[1:], body="a=b&c=" + "x" * (500 * i), headers={
                        "Content-Type": "application/x-www-form-urlencoded"})
                else:
                    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
                connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
        connection.close()


wait()
if paths:
    threads = [threading.Thread(target=ask, args=(time.monotonic() + seconds,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
