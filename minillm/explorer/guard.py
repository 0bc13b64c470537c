"""Whom the explorer serves: the browser of the person who started it, and nobody else.

A page of another site can make a browser send requests to 127.0.0.1, too. So every request is
refused unless all of this holds:

    its path begins with the token, which only the printed address contains
    its Host is this machine's, not a name that somebody else's DNS server points here
    its Origin, if there is one, is this page's; a question (POST) is JSON and not "cross-site"
    its body is small

The answers forbid everything but the page's own scripts, styles and questions (`POLICY`): a prompt
that contains a script is text.
"""

import hmac

from minillm.local_server import is_our_host, limited

LARGEST_BODY = 2**20  # bytes
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
          "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


TOO_LARGE = f"the body is larger than {LARGEST_BODY:,} bytes"


class Guard:
    """An ASGI application around `app`, which sees only requests that pass, without the token.

    token: str, the first part of every path;  host, port: where the server listens
    """

    def __init__(self, app, token, host, port):
        self.app, self.token = app, token
        self.host, self.port = host, port

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        status, reason = self.refusal(scope)
        if status:
            return await _answer(send, status, reason)
        prefix = f"/{self.token}"
        path = scope["path"][len(prefix):]
        if not path:  # the page's addresses are relative to the folder /TOKEN/
            return await _answer(send, 307, "", [(b"location", f"{prefix}/".encode())])
        await self.app({**scope, "path": path}, limited(receive, LARGEST_BODY), _with_headers(send))

    def refusal(self, scope):
        """-> (HTTP status, reason) if the request is refused, else (0, "")"""
        headers = {}
        for name, value in scope["headers"]:
            if name in (b"host", b"origin") and name in headers:
                return 400, "a header is given twice"
            headers[name] = value.decode("latin-1")
        host = headers.get(b"host", "")
        if not is_our_host(host, self.host, self.port):
            return 403, "this Host isn't served here"
        origin = headers.get(b"origin")
        if origin is not None and origin != f"http://{host}":
            return 403, "this Origin isn't served here"
        if not self.has_token(scope["path"]):
            return 403, "wrong or missing token: open the address that minillm explore printed"
        if scope["method"] == "POST":
            if headers.get(b"sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "a question has to come from the page itself"
            kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return 415, "a question is application/json"
            length = headers.get(b"content-length", "0")
            if not length.isdecimal() or int(length) > LARGEST_BODY:
                return 413, TOO_LARGE
        return 0, ""

    def has_token(self, path):
        first = path.split("/", 2)[1] if path.startswith("/") else ""
        return hmac.compare_digest(first.encode(), self.token.encode())


def _with_headers(send):
    async def sending(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        await send(message)

    return sending


async def _answer(send, status, text, headers=()):
    send = _with_headers(send)
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"text/plain; charset=utf-8"), *headers]})
    await send({"type": "http.response.body", "body": text.encode() + b"\n"})
