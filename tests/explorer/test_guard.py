"""Requests that the explorer refuses, sent as bytes over a socket."""

import http.client
import json
import socket

import pytest
from explorer_pages import serving

from minillm.explorer.guard import LARGEST_BODY
from minillm.explorer.page import static_files


@pytest.fixture(scope="module")
def server(subject):
    with serving(subject) as served:
        yield served.server


def request(server, path, *, method="GET", body=None, headers=None, token=None):
    """-> status, headers, body"""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Content-Type": "application/json", **(headers or {})}
    token = server.token if token is None else token
    connection.request(method, f"/{token}{path}", body, headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def ask(server, name, fields, **options):
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return request(server, f"/api/{name}", method="POST", body=body, **options)


def test_serves_its_page_and_answers(server):
    status, headers, body = request(server, "/")
    assert status == 200 and b"minillm explorer" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    status, _, body = ask(server, "tokens", {"text": "An iterator"})
    assert status == 200 and json.loads(body)["tokens"] == ["An", " iterator"]


@pytest.mark.parametrize("token", ["", "wrong", "%00", "..", "%C3%A9", "static", "api"])
def test_refuses_other_tokens(server, token):
    path = "/" if token else ""
    status, _, body = request(server, path, token=token)
    assert status == 403 and b"token" in body and server.token.encode() not in body


@pytest.mark.parametrize("host", ["example.com", "example.com:{port}", "127.0.0.1", "127.0.0.1:1",
                                  "127.0.0.1.example.com:{port}", "localhost.:{port}x", ""])
def test_refuses_other_hosts(server, host):
    status, _, _ = request(server, "/", headers={"Host": host.format(port=server.port)})
    assert status == 403


@pytest.mark.parametrize("origin", ["http://example.com", "null", "https://127.0.0.1:{port}",
                                    "http://127.0.0.1", "http://127.0.0.1:{port}.example.com"])
def test_refuses_other_origins(server, origin):
    headers = {"Origin": origin.format(port=server.port)}
    assert ask(server, "tokens", {"text": "x"}, headers=headers)[0] == 403
    assert request(server, "/", headers=headers)[0] == 403


def test_serves_its_own_origin_under_each_of_its_names(server):
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{server.port}"
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert ask(server, "tokens", {"text": "x"}, headers=headers)[0] == 200


def test_refuses_questions_that_a_form_of_another_site_could_send(server):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(server, "tokens", {"text": "x"}, headers={"Content-Type": kind})[0] == 415
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert ask(server, "tokens", {"text": "x"}, headers=headers)[0] == 403


def test_refuses_a_large_body_with_and_without_a_length(server):
    large = json.dumps({"text": "x" * LARGEST_BODY}).encode()
    assert ask(server, "tokens", large)[0] == 413
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"POST /{server.token}/api/tokens HTTP/1.1\r\n"
                           f"Host: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(40):
                connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        except OSError:
            pass  # the server has hung up already
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("path", [
    "/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/static//etc/passwd",
    "/static/", "/static", "/static/main.js/..", "/static/style.css%00.js", "/etc/passwd", "//etc/passwd",
    "/api", "/api/", "/../../etc/passwd", "/static/.", "/static/messages.json/../../page.py"])
def test_no_other_file_is_reachable(server, path):
    status, _, body = request(server, path)
    assert status in (403, 404, 405)
    assert b"root:" not in body and b"import" not in body


def test_serves_exactly_the_files_of_the_page(server):
    for name, data in static_files().items():
        assert request(server, f"/static/{name}")[::2] == (200, data)


@pytest.mark.parametrize("fields", [
    b"", b"[]", b"null", b"{", b"\xff", b'{"text": NaN}', b"[" * 100_000, b'{"text": "\\ud800"}',
    {}, {"text": 3}, {"text": None}, {"text": ["x"]}, {"text": ""}, {"text": "x" * 200_001},
    {"text": "x", "model": "z"}, {"text": "x", "model": ["a"]}, {"text": "x", "model": "__class__"},
    {"text": "x", "subject": "a"}, {"text": "x", "explorer": {}}, {"text": "x", "nothing": 1},
])
def test_bad_questions_are_one_line(server, fields):
    status, _, body = ask(server, "tokens", fields)
    error = json.loads(body)["error"]
    assert status == 400 and error and "\n" not in error and len(error) < 400


def test_unknown_views_are_one_line(server):
    for name in ("nothing", "__init__", "x" * 5000):
        status, _, body = ask(server, name, {})
        assert status == 400 and len(body) < 400
