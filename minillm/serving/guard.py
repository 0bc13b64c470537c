"""Whom the server answers: its clients, not a page of another site in somebody's browser.

A request is refused, with an error in OpenAI's form, unless all of this holds:

    its Host is this machine's, or one that was allowed: not a name that somebody else's DNS server
        points here
    it has no Origin but this server's own: browsers send that of the page; there is no CORS
    it has the key, if there is one
    a POST is JSON, and its body is small
"""

import hmac
import json

from minillm.local_server import is_our_host, limited
from minillm.serving.errors import ApiError

LARGEST_BODY = 2**20  # bytes
TOO_LARGE = f"the body is larger than {LARGEST_BODY:,} bytes"
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"),
           (b"cross-origin-resource-policy", b"same-origin")]
OPEN_PATHS = ("/health",)  # without a key


class Guard:
    """An ASGI application around `app`.

    host, port: where the server listens;  key: str or None;  hosts: more names that it is served as
    """

    def __init__(self, app, host, port, key=None, hosts=()):
        self.app, self.host, self.port = app, host, port
        self.key, self.hosts = key, {name.lower() for name in hosts}

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        try:
            self.check(scope)
        except ApiError as error:
            return await refuse(send, error)
        await self.app(scope, limited(receive, LARGEST_BODY), send)

    def check(self, scope):
        """Raise ApiError for a request that is refused."""
        headers = {}
        for name, value in scope["headers"]:
            if name in (b"host", b"origin", b"authorization", b"content-type") and name in headers:
                raise ApiError(400, f"the header {name.decode()} is given twice")
            headers[name] = value.decode("latin-1")
        host = headers.get(b"host", "")
        if not is_our_host(host, self.host, self.port) and host.lower() not in self.hosts:
            raise ApiError(403, "this Host isn't served here: minillm serve --allow-host NAME",
                           code="host_not_allowed")
        origin = headers.get(b"origin")
        if origin is not None and origin != f"http://{host}":
            raise ApiError(403, "requests of other sites' pages aren't answered",
                           code="origin_not_allowed")
        if scope["path"] not in OPEN_PATHS:
            self.check_key(headers.get(b"authorization", ""))
        if scope["method"] == "POST":
            kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise ApiError(415, "the body has to be application/json")
            length = headers.get(b"content-length", "0")
            if not (length.isascii() and length.isdecimal()):
                raise ApiError(400, "Content-Length is no number")
            if len(length) > 12 or int(length) > LARGEST_BODY:
                raise ApiError(413, TOO_LARGE)

    def check_key(self, authorization):
        if self.key is None:
            return
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
                key.strip().encode(), self.key.encode()):
            raise ApiError(401, "wrong or missing API key: Authorization: Bearer KEY",
                           code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


async def refuse(send, error):
    """Answer with an ApiError."""
    await answer(send, error.status, error.body(), error.headers)


async def answer(send, status, content, more_headers=()):
    """Send a dict as JSON."""
    body = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
               *HEADERS, *((name.lower().encode(), value.encode())
                           for name, value in dict(more_headers).items())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
