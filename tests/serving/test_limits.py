"""What the server refuses, and what it survives: hostile bytes, full queues, clients that are slow
or gone, time-outs, and its own end."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from serving_models import serving

from minillm.serving import worker
from minillm.serving.guard import LARGEST_BODY

QUESTION = {"model": "pydoc-tiny", "prompt": "The module", "max_tokens": 4}


def request(server, path="/v1/completions", body=None, method=None, headers=()):
    """-> status, headers, content"""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    connection.request(method or ("GET" if body is None else "POST"), path, body,
                       {"Content-Type": "application/json", **dict(headers)})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def error_of(found):
    """-> status and code of an error, which has OpenAI's form"""
    status, headers, body = found
    assert headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"] and "\n" not in error["message"] and len(error["message"]) < 400
    assert "Traceback" not in error["message"]
    return status, error["code"]


def post(server, **fields):
    return request(server, body={**QUESTION, **fields})


@contextmanager
def gated(served, **options):
    """A server whose batch makes a step only when `gate` is released -> server, gate"""
    with serving(served, **options) as server:
        gate, read = threading.Semaphore(0), server.worker.batch.read

        def gated_read():
            gate.acquire()
            return read()

        server.worker.batch.read = gated_read
        try:
            yield server, gate
        finally:
            server.worker.batch.read = read
            gate.release(10_000)


def in_background(function, *arguments, **options):
    """-> a function that waits for the result of function(*arguments, **options)"""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*arguments, **options)))
    thread.start()

    def wait():
        thread.join(60)
        return found[0]
    return wait


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# -------------------------------------------------------------------- whom it answers


@pytest.mark.parametrize("headers, status", [
    ({"Host": "example.com"}, 403), ({"Host": "127.0.0.1"}, 403), ({"Host": ""}, 403),
    ({"Host": "example.com:{port}"}, 403), ({"Origin": "http://example.com"}, 403),
    ({"Origin": "null"}, 403), ({"Origin": "http://127.0.0.1:{port}"}, 200),
    ({"Host": "localhost:{port}"}, 200), ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "application/json; charset=utf-8"}, 200), ({"Content-Length": "-1"}, 400),
])
def test_hosts_origins_and_kinds(server, headers, status):
    headers = {name: value.format(port=server.port) for name, value in headers.items()}
    found = request(server, body=QUESTION, headers=headers)
    assert found[0] == status
    assert "access-control-allow-origin" not in found[1]


def test_keys(served):
    with serving(served, key="secret", hosts=["models.example.com"]) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"},
                        {"Authorization": "Bearer secret\u00e9"}):
            found = request(server, "/v1/models", headers=headers)
            assert error_of(found) == (401, "invalid_api_key")
            assert found[1]["www-authenticate"] == "Bearer" and b"secret" not in found[2]
        headers = {"Authorization": "Bearer secret", "Host": "models.example.com"}
        assert request(server, "/v1/models", headers=headers)[0] == 200
        assert request(server, "/health")[::2] == (200, b'{"status":"ok"}')


def test_paths_and_methods(server):
    assert error_of(request(server, "/v1/embeddings", QUESTION)) == (404, "unknown_url")
    assert error_of(request(server, "/%2e%2e/etc/passwd")) == (404, "unknown_url")
    assert error_of(request(server, "/v1/models/x%0d%0ay"))[0] == 404
    assert error_of(request(server, "/v1/completions"))[0] == 405
    assert error_of(request(server, "/v1/models", QUESTION))[0] == 405
    assert error_of(request(server, "/v1/completions", method="OPTIONS"))[0] == 405


@pytest.mark.parametrize("body", [
    b"", b"[]", b"null", b"{", b"\xff", b'{"model": NaN}', b"[" * 100_000, b'{"a":' * 100_000,
    b'{"model": "pydoc-tiny", "model": "x"}', b'{"model": "pydoc-tiny"}', b'{"prompt": "x"}',
    b'{"model": "pydoc-tiny", "prompt": "\\ud800"}', b'{"model": ["pydoc-tiny"], "prompt": "x"}',
    b'{"model": "pydoc-tiny", "prompt": {"x": 1}}', b'{"model": "pydoc-tiny", "prompt": [true]}',
    b'{"model": "pydoc-tiny", "prompt": "x", "n": ' + b"9" * 5000 + b"}",
    b'{"model": "pydoc-tiny", "prompt": "x", "seed": 1e999}',
    b'{"model": "pydoc-tiny", "prompt": "x", "\\u001b[2J": 1}',
    b'{"model": "pydoc-tiny", "prompt": "x", "temperature": -0.1}',
    b'{"model": "pydoc-tiny", "prompt": "x", "repetition_penalty": 1e308}',
    b'{"model": "pydoc-tiny", "prompt": "x", "n": 1' + b"0" * 400 + b"}",
    b'{"model": "pydoc-tiny", "prompt": "x", "stream": 1}',
    b'{"model": "pydoc-tiny", "prompt": "x", "logit_bias": {"\xc2\xb2": 1}}',
])
def test_bad_bodies_are_one_line(server, body):
    status, _ = error_of(request(server, body=body))
    assert status in (400, 404)


def test_large_bodies_are_refused_with_and_without_a_length(server):
    large = json.dumps({**QUESTION, "prompt": "x" * LARGEST_BODY}).encode()
    try:
        assert error_of(request(server, body=large))[0] == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # it hung up before all was sent
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                           "Content-Type: application/json\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(20):
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        except OSError:
            pass
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 1000,
    b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
])
def test_bytes_that_are_no_http_end_the_connection(server, data):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(data)
        try:
            answer = connection.recv(100)
        except ConnectionResetError:
            answer = b""
        assert answer == b"" or answer[9:12] in (b"400", b"403", b"431")
    assert post(server)[0] == 200


# -------------------------------------------------------------------- the queue


def test_a_full_queue_is_429(served):
    with gated(served, n_slots=1, max_waiting=2) as (server, gate):
        waiting = [in_background(post, server)]
        wait_until(lambda: server.worker.n_waiting + server.worker.n_running == 1)
        gate.release()
        wait_until(lambda: server.worker.n_running == 1)
        waiting += [in_background(post, server), in_background(post, server)]
        wait_until(lambda: server.worker.n_waiting == 2)
        found = post(server)
        assert error_of(found) == (429, "queue_full") and int(found[1]["retry-after"]) > 0
        assert error_of(post(server, n=4))[0] == 429
        gate.release(1000)
        assert [wait()[0] for wait in waiting] == [200] * 3
        assert post(server)[0] == 200


def test_a_request_that_takes_too_long_is_504(served):
    with gated(served, timeout=0.3) as (server, gate):
        assert error_of(post(server)) == (504, "timeout")
        assert error_of(post(server, stream=True)) == (504, "timeout")
        gate.release(2)
        wait_until(lambda: server.worker.n_running + server.worker.n_waiting == 0)


def test_a_stream_that_takes_too_long_ends_with_an_error(served):
    with gated(served, timeout=1.5) as (server, gate):
        gate.release(1)  # the prompt, and two tokens
        status, _, body = post(server, stream=True, max_tokens=9)
        lines = [line for line in body.decode().split("\n") if line]
        assert status == 200 and len(lines) >= 2 and "[DONE]" not in body.decode()
        assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "timeout"


def open_stream(server, **fields):
    """-> a socket with an answer that streams"""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    body = json.dumps({**QUESTION, "stream": True, "max_tokens": 100, **fields}).encode()
    connection.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                       "Content-Type: application/json\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_is_gone_frees_its_slot(served, streams):
    with gated(served, n_slots=1) as (server, gate):
        connection = open_stream(server, stream=streams)
        gate.release(3)
        if streams:
            connection.recv(100)
        wait_until(lambda: server.worker.n_running == 1)
        connection.close()
        wait_until(lambda: not server.api.calls)
        gate.release(2)
        wait_until(lambda: server.worker.n_running == 0)
        gate.release(100)
        assert post(server)[0] == 200


def test_a_client_that_doesnt_read_stalls_nobody(served):
    with serving(served, n_slots=2) as server:
        slow = [open_stream(server, max_tokens=200, n=8, logprobs=5) for _ in range(3)]
        for connection in slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        for _ in range(3):
            assert post(server)[0] == 200
        for connection in slow:
            connection.close()
        wait_until(lambda: not server.api.calls)


def test_a_defect_is_500_and_the_others_go_on(served, monkeypatch, capfd):
    with serving(served) as server:
        monkeypatch.setattr(server.worker.batch.model, "extend_each", lambda *_, **__: 1 / 0)
        assert error_of(post(server)) == (500, "internal_error")
        assert "ZeroDivisionError" in capfd.readouterr().err
        monkeypatch.undo()
        assert post(server)[0] == 200


def test_prompts_that_come_at_the_same_moment_are_read_together(served, monkeypatch):
    read, model = [], served.model
    extend_each = model.extend_each
    monkeypatch.setattr(worker, "MOST_WAITING_FOR_MORE", 60)
    monkeypatch.setattr(model, "extend_each", lambda tokens, states: (
        read.append(len(tokens)), extend_each(tokens, states))[1])
    with serving(served) as server:
        server.worker.n_coming += 1  # as if a body were on its way
        waiting = [in_background(post, server, prompt=prompt) for prompt in ("The", "Another")]
        wait_until(lambda: server.worker.n_waiting == 2)
        server.worker.n_coming -= 1
        server.worker.cancel([])  # look again
        assert [wait()[0] for wait in waiting] == [200, 200]
    assert read == [2]


# -------------------------------------------------------------------- its end


def test_shutting_down_lets_calls_end_and_takes_no_new_ones(served):
    with gated(served) as (server, gate):
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        kept.request("GET", "/health")
        assert kept.getresponse().read() == b'{"status":"ok"}'
        running = in_background(post, server)
        wait_until(lambda: server.worker.n_waiting == 1)
        server.stop()
        wait_until(lambda: server.worker.is_closing)
        with pytest.raises((OSError, http.client.HTTPException)):
            post(server)
        gate.release(1000)
        assert running()[0] == 200


def test_what_runs_longer_than_the_grace_is_told_so(served):
    with gated(served, grace=0.3) as (server, gate):
        whole, stream = in_background(post, server), in_background(post, server, stream=True)
        wait_until(lambda: server.worker.n_waiting == 2)
        server.stop()
        assert error_of(whole()) == (503, "shutting_down")
        assert error_of(stream()) == (503, "shutting_down")
        gate.release(1000)


def test_a_body_on_its_way_at_the_end_is_refused(served):
    with serving(served, grace=0.1) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                               "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{".encode())
            wait_until(lambda: server.api.calls)
            server.stop()
            assert connection.recv(1000).startswith(b"HTTP/1.1 503")


def test_metrics(server):
    post(server)
    status, _, body = request(server, "/metrics")
    lines = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if line[0] != "#")
    assert status == 200 and int(lines["minillm_generated_tokens_total"]) >= 4
    assert int(lines['minillm_calls_total{status="200"}']) >= 1
