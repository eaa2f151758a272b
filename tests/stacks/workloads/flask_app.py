# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-or-later
"""flask_app.py PORT: a small application with several routes, on loopback."""
import sys

from flask import Flask, abort, jsonify, render_template_string, request, session

app = Flask(__name__)
app.secret_key = "not a secret"
KEPT = []


@app.route("/")
def index():
    return render_template_string(
        "<h1>{{ title }}</h1>{% for i in rows %}<p class='{{ loop.cycle('a', 'b') }}'>{{ i|e }}</p>"
        "{% endfor %}", title="hello", rows=[f"<row {i}>" for i in range(50)])


@app.route("/json/<int:n>")
def as_json(n):
    return jsonify(rows=[{"id": i, "text": "x" * n} for i in range(30)])


@app.route("/echo", methods=["POST"])
def echo():
    KEPT.append(request.get_data())
    del KEPT[:-100]
    return jsonify(size=len(KEPT[-1]), form=request.form.to_dict())


@app.route("/session")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@app.route("/missing")
def missing():
    abort(404)


@app.route("/error")
def error():
    raise ValueError("x" * 1000)


app.run(host="127.0.0.1", port=int(sys.argv[1]), threaded=True)
