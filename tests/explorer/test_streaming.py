"""Long views over HTTP: progress, an answer, errors, and an end when nobody listens any more."""

import http.client
import json
import threading
import time

import pytest
from explorer_pages import serving

from minillm.explorer.server import MOST_LONG_VIEWS
from minillm.explorer.views import VIEWS, View

stopped, release = threading.Event(), threading.Event()


def counting(report, n: int = 3):
    for i in range(n):
        report(i, n, {"square": i * i})
    return {"n": n}


def failing(report, kind: str = "user"):
    report(0, 1)
    raise ValueError("two\nlines") if kind == "user" else KeyError("ours")


def endless(report):
    try:
        while not release.is_set():
            report(0, 1)
            time.sleep(0.005)
    finally:
        stopped.set()


@pytest.fixture(scope="module")
def server(subject):
    ours = {function.__name__: View(function) for function in (counting, failing, endless)}
    with serving(subject) as served:
        VIEWS.update(ours)
        yield served.server
        for name in ours:
            del VIEWS[name]


def open_question(server, name, fields):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", f"/{server.token}/api/{name}", json.dumps(fields),
                       {"Content-Type": "application/json"})
    return connection, connection.getresponse()


def lines(server, name, fields):
    connection, answer = open_question(server, name, fields)
    found = [json.loads(line) for line in answer]
    connection.close()
    return found


def test_progress_comes_before_the_answer(server):
    *progress, last = lines(server, "counting", {"n": 4})
    assert progress == [{"progress": [i, 4], "partial": {"square": i * i}} for i in range(4)]
    assert last == {"answer": {"n": 4}}


def test_errors_come_in_one_line(server, capsys):
    assert lines(server, "failing", {})[-1] == {"error": "two lines"}
    assert "the terminal shows where" in lines(server, "failing", {"kind": "ours"})[-1]["error"]
    assert "KeyError: 'ours'" in capsys.readouterr().err


def test_a_view_ends_when_its_page_is_gone_and_others_are_answered_meanwhile(server):
    stopped.clear()
    connection, answer = open_question(server, "endless", {})
    assert json.loads(answer.readline())["progress"] == [0, 1]
    assert lines(server, "counting", {"n": 2})[-1] == {"answer": {"n": 2}}
    answer.close()
    connection.close()
    assert stopped.wait(20)


def test_too_many_long_views_are_refused(server):
    release.clear()
    opened = [open_question(server, "endless", {}) for _ in range(MOST_LONG_VIEWS)]
    connection, refused = open_question(server, "counting", {})
    assert refused.status == 429 and "cancel one" in json.loads(refused.read())["error"]
    connection.close()
    release.set()
    for connection, answer in opened:
        answer.read()
        connection.close()
    release.clear()
    assert lines(server, "counting", {})[-1] == {"answer": {"n": 3}}
