"""The program that serves a model: Starlette for the routes, uvicorn for HTTP.

    GET  /v1/models, /v1/models/NAME
    POST /v1/completions          JSON, or with "stream": true lines of "data: JSON" (SSE)
    POST /v1/chat/completions
    GET  /health                  {"status": "ok"};  503 while the server shuts down
    GET  /metrics                 numbers for Prometheus

Status 400: a mistake in the body; 401: the key; 404: the path or the model; 408: the body comes too
slowly; 413: it is too large; 429: the queue is full; 503: shutting down; 504: out of time.
"""

import asyncio
import json
import signal
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from minillm.local_server import TooLarge, address, listen
from minillm.serving.answers import Answer
from minillm.serving.call import Call
from minillm.serving.errors import ApiError, out_of_time, shutting_down
from minillm.serving.guard import HEADERS, TOO_LARGE, Guard, answer, refuse
from minillm.serving.parameters import read_body, read_order
from minillm.serving.worker import Worker

SECONDS_FOR_A_BODY = 20
SHORT_BODY = 2048  # bytes, which are read in less time than it takes to wake another thread
MOST_CONNECTIONS = 512


class Server:
    """A model on a socket.

    served: a `Served`;  host, port: where to listen; port 0: any free one
    key: what clients have to send as `Authorization: Bearer KEY`, or None
    hosts: more names that a Host header may have;  n_slots: how many texts grow at the same time
    max_waiting: how many more may wait;  timeout: seconds for a call
    grace: seconds that running calls get when the server shuts down

    Raises OSError if the port is taken.
    """

    def __init__(self, served, host="127.0.0.1", port=0, *, key=None, hosts=(), n_slots=16,
                 max_waiting=64, timeout=60.0, grace=10.0):
        self.worker = Worker(served.model, n_slots, max_waiting)
        self.socket = listen(host, port)
        self.host, self.port = host, self.socket.getsockname()[1]
        self.api = Api(served, self.worker, timeout)
        guarded = Guard(application(self.api), host, self.port, key, hosts)
        self._uvicorn = _Uvicorn(self.api, grace, uvicorn.Config(
            guarded, log_level="critical", access_log=False, server_header=False, ws="none",
            http="h11", lifespan="off", limit_concurrency=MOST_CONNECTIONS, backlog=64,
            timeout_keep_alive=30))

    @property
    def url(self):
        return f"{address(self.host, self.port)}/v1"

    def run(self):
        """Serve until SIGTERM or Ctrl-C, or until `stop`; then let what runs end, for `grace`
        seconds."""
        self.worker.start()
        try:
            self._uvicorn.run(sockets=[self.socket])
        finally:
            self.worker.stop()

    def stop(self):
        """Shut down, from any thread."""
        self._uvicorn.should_exit = True


class _Uvicorn(uvicorn.Server):
    """uvicorn, with an end in order: no new calls, `grace` seconds for what runs, status 0"""

    def __init__(self, api, grace, config):
        config.timeout_graceful_shutdown = grace + 2  # for the answers that say why
        super().__init__(config)
        self.api, self.grace = api, grace

    def handle_exit(self, number, frame):
        # uvicorn's own would raise the signal once more at the end.
        if self.should_exit and number == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets=None):
        self.api.worker.close()
        asyncio.get_running_loop().call_later(self.grace, self.api.abort_all)
        await super().shutdown(sockets)


class Api:
    """What the routes share."""

    def __init__(self, served, worker, timeout):
        self.served, self.worker, self.timeout = served, worker, timeout
        self.calls = set()
        # Tokenizing a long prompt takes time, in which the event loop goes on.
        self.readers = ThreadPoolExecutor(2, thread_name_prefix="reader")
        self.started = int(time.time())
        self.n_calls, self.n_prompt_tokens, self.n_new_tokens = {}, 0, 0

    def abort_all(self):
        for call in list(self.calls):
            call.abort(shutting_down())

    async def complete(self, scope, receive, send, is_chat):
        """Answer one call, whole or as a stream. A client that is gone ends it."""
        call = Call(self.worker, self.timeout)
        self.calls.add(call)
        status = 499  # the client is gone, in nginx's words
        try:
            self.worker.n_coming += 1
            try:
                order = await self._read(receive, is_chat, call)
            finally:
                self.worker.n_coming -= 1
            call.submit(order.jobs)
            reply = _stream if order.streams else _whole
            answering = asyncio.ensure_future(
                reply(call, order, Answer(order, self.served.name), send))
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                # A client that doesn't read its stream blocks nobody, and not for ever.
                await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED,
                                   timeout=self.timeout + 5)
                if answering.done():
                    status = answering.result()
            finally:
                answering.cancel()
                gone.cancel()
            self.n_prompt_tokens += order.n_prompt_tokens
            self.n_new_tokens += sum(len(job.request.new_ids) for job in order.jobs)
        except ApiError as error:
            status = error.status
            await refuse(send, error)
        except ClientDisconnect:
            pass
        except Exception as error:
            status = 500
            traceback.print_exception(error)  # a defect, for whoever reads the terminal
            await refuse(send, ApiError(500, f"{type(error).__name__} in minillm; the server's "
                                        "terminal shows where", code="internal_error"))
        finally:
            call.close()
            self.calls.discard(call)
            self.n_calls[status] = self.n_calls.get(status, 0) + 1

    async def _read(self, receive, is_chat, call):
        """-> Order. Raises ApiError."""
        try:
            body = await asyncio.wait_for(_body(receive), SECONDS_FOR_A_BODY)
        except asyncio.TimeoutError:
            raise ApiError(408, f"the body took longer than {SECONDS_FOR_A_BODY} s") from None
        except TooLarge:
            raise ApiError(413, TOO_LARGE) from None
        except asyncio.CancelledError:  # uvicorn's, for a body that is still on its way at the end
            raise shutting_down() from None

        def read():
            return read_order(read_body(body, is_chat), self.served, is_chat, call.report)

        if len(body) <= SHORT_BODY:
            return read()
        reading = asyncio.get_running_loop().run_in_executor(self.readers, read)
        try:
            return await asyncio.wait_for(reading, self.timeout)
        except asyncio.TimeoutError:
            raise out_of_time(self.timeout) from None


async def _body(receive):
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def _whole(call, order, reply, send):
    """Answer when all texts have ended -> status"""
    texts = {job.index: ["", [], None] for job in order.jobs}
    async for events in call.events():
        for event in events:
            text = texts[event.job.index]
            text[0] += event.text
            text[1] += event.scores
            text[2] = event.finish_reason
    await answer(send, 200, reply.whole(texts))
    return 200


async def _stream(call, order, reply, send):
    """Send each piece of text as an event -> status. The last event is [DONE], or an error."""
    has_begun, status = False, 200

    async def put(chunks, end=""):
        data = "".join([f"data: {_json(chunk)}\n\n" for chunk in chunks]) + end
        await send({"type": "http.response.body", "body": data.encode(), "more_body": True})

    try:
        async for events in call.events():
            chunks = [reply.chunk(event) for event in events]
            if not has_begun:  # until here an error has a status of its own
                has_begun = True
                await send({"type": "http.response.start", "status": 200, "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"), *HEADERS]})
                chunks = reply.opening() + chunks
            await put(chunks)
        await put(reply.closing(), "data: [DONE]\n\n")
    except ApiError as error:
        if not has_begun:
            raise
        status = error.status
        await put([error.body()])
    await send({"type": "http.response.body", "body": b""})
    return status


_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def application(api):
    """-> the Starlette application of an Api, without a guard"""
    model = {"id": api.served.name, "object": "model", "created": api.started,
             "owned_by": "minillm"}

    async def health(scope, receive, send):
        if api.worker.is_closing:
            return await refuse(send, shutting_down())
        await answer(send, 200, {"status": "ok"})

    async def models(scope, receive, send):
        await answer(send, 200, {"object": "list", "data": [model]})

    async def one_model(scope, receive, send):
        name = scope["path_params"]["name"]
        if name != api.served.name:
            return await refuse(send, ApiError(404, f"the model {name[:100]!r} doesn't exist",
                                               param="model", code="model_not_found"))
        await answer(send, 200, model)

    async def completions(scope, receive, send):
        await api.complete(scope, receive, send, is_chat=False)

    async def chat_completions(scope, receive, send):
        await api.complete(scope, receive, send, is_chat=True)

    async def metrics(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), *HEADERS]})
        await send({"type": "http.response.body", "body": _metrics(api).encode()})

    async def not_found(request, error):
        return _Refusal(ApiError(404, f"nothing is at {request.url.path[:100]}",
                                 code="unknown_url"))

    async def wrong_method(request, error):
        return _Refusal(ApiError(405, f"{request.method[:20]} isn't allowed here",
                                 headers=dict(error.headers or {})))

    return Starlette(routes=[
        Route("/health", _Endpoint(health), methods=["GET"]),
        Route("/metrics", _Endpoint(metrics), methods=["GET"]),
        Route("/v1/models", _Endpoint(models), methods=["GET"]),
        Route("/v1/models/{name:path}", _Endpoint(one_model), methods=["GET"]),
        Route("/v1/completions", _Endpoint(completions), methods=["POST"]),
        Route("/v1/chat/completions", _Endpoint(chat_completions), methods=["POST"]),
    ], exception_handlers={404: not_found, 405: wrong_method})


class _Endpoint:
    """An ASGI application as an endpoint, to which Starlette gives the raw channels."""

    def __init__(self, function):
        self.function = function

    async def __call__(self, scope, receive, send):
        await self.function(scope, receive, send)


class _Refusal:
    """An ApiError as a Starlette response"""

    def __init__(self, error):
        self.error = error

    async def __call__(self, scope, receive, send):
        await refuse(send, self.error)


def _metrics(api):
    lines = ["# TYPE minillm_requests_running gauge",
             f"minillm_requests_running {api.worker.n_running}",
             "# TYPE minillm_requests_waiting gauge",
             f"minillm_requests_waiting {api.worker.n_waiting}",
             "# TYPE minillm_steps_total counter", f"minillm_steps_total {api.worker.n_steps}",
             "# TYPE minillm_prompt_tokens_total counter",
             f"minillm_prompt_tokens_total {api.n_prompt_tokens}",
             "# TYPE minillm_generated_tokens_total counter",
             f"minillm_generated_tokens_total {api.n_new_tokens}",
             "# TYPE minillm_calls_total counter"]
    lines += [f'minillm_calls_total{{status="{status}"}} {n}'
              for status, n in sorted(api.n_calls.items())]
    return "\n".join(lines) + "\n"
