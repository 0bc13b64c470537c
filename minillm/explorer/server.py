"""The program that serves the page: Starlette for the routes, uvicorn for HTTP.

    GET  /TOKEN/                 the page
    GET  /TOKEN/static/NAME      its scripts and styles: the files of static/, no others
    POST /TOKEN/api/NAME         a question, {"model": "a", …}; the answer is JSON, or for a long view
                                 lines of JSON: {"progress": [done, total], "partial": …} …
                                 {"answer": …}
    An error of the user's is status 400 and {"error": "one line"}.
"""

import asyncio
import json
import secrets
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from minillm.explorer.encoding import to_json
from minillm.explorer.explorer import Cancelled
from minillm.explorer.guard import TOO_LARGE, Guard
from minillm.explorer.page import MEDIA_TYPES, page, static_files
from minillm.local_server import TooLarge, address, listen

MOST_LONG_VIEWS = 4  # that run at the same time
LONGEST_ERROR = 600  # characters


class Server:
    """The explorer on a socket.

    explorer: an Explorer;  host, port: where to listen; port 0: any free one

    Raises OSError if the port is taken.
    """

    def __init__(self, explorer, host="127.0.0.1", port=0, token=None):
        self.socket = listen(host, port)
        self.host, self.port = host, self.socket.getsockname()[1]
        self.token = token or secrets.token_urlsafe(24)
        guarded = Guard(application(explorer), self.token, host, self.port)
        self._uvicorn = uvicorn.Server(uvicorn.Config(
            guarded, log_level="error", access_log=False, server_header=False, ws="none",
            lifespan="off", limit_concurrency=64, timeout_graceful_shutdown=1))

    @property
    def url(self):
        return f"{address(self.host, self.port)}/{self.token}/"

    def run(self):
        """Serve until Ctrl-C, or until `stop`."""
        self._uvicorn.run(sockets=[self.socket])

    def stop(self):
        self._uvicorn.should_exit = True


def application(explorer):
    """-> the Starlette application that answers for an Explorer, without a guard"""
    files = static_files()
    start = page()
    # One thread for all short views: every thread that runs kernels has helpers of its own.
    short = ThreadPoolExecutor(1, thread_name_prefix="view")
    running = threading.Semaphore(MOST_LONG_VIEWS)

    async def get_page(request):
        return Response(start, media_type="text/html")

    async def get_static(request):
        name = request.path_params["name"]
        if name not in files:
            return PlainTextResponse("not found\n", 404)
        return Response(files[name], media_type=MEDIA_TYPES[name.rpartition(".")[2]])

    async def post_question(request):
        name = request.path_params["name"]
        try:
            fields = read_question(await request.body())
            view = explorer.view(name)
        except TooLarge:
            return PlainTextResponse(f"{TOO_LARGE}\n", 413)
        except ValueError as error:
            return _error(error)
        if not view.is_long:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(short, partial(_answer, explorer, name, fields))
        if not running.acquire(blocking=False):
            return _error(ValueError(f"{MOST_LONG_VIEWS} long questions are running, wanted fewer: "
                                     "cancel one"), 429)
        return StreamingResponse(_lines(explorer, name, fields, running),
                                 media_type="application/x-ndjson")

    return Starlette(routes=[
        Route("/", get_page),
        Route("/static/{name}", get_static),
        Route("/api/{name}", post_question, methods=["POST"]),
    ])


def read_question(body):
    """body: bytes, a JSON object -> dict; ValueError for anything else"""
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON number")

    try:
        fields = json.loads(body, parse_constant=refuse)
    except RecursionError:
        raise ValueError("the question is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"the question is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError("the question is no JSON object")
    return fields


def _answer(explorer, name, fields):
    try:
        return Response(to_json(explorer.ask(name, fields)), media_type="application/json")
    except Exception as error:
        return _error(error)


def _error(error, status=400):
    return Response(to_json({"error": _in_one_line(error)}),
                    status if _is_the_users(error) else 500, media_type="application/json")


def _is_the_users(error):
    return isinstance(error, (ValueError, MemoryError))


def _in_one_line(error):
    if _is_the_users(error):
        line = " ".join(str(error).split()) or type(error).__name__
        return line if len(line) <= LONGEST_ERROR else f"{line[:LONGEST_ERROR]} …"
    traceback.print_exception(error)  # a defect of minillm: for whoever reads the terminal
    return f"{type(error).__name__} in minillm; the terminal shows where"


async def _lines(explorer, name, fields, running):
    """Yield the lines of a long view's answer. A page that is gone cancels the view."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue()
    gone = threading.Event()

    def put(line):
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def report(done, total, partial):
        if gone.is_set():
            raise Cancelled
        put({"progress": [done, total], "partial": partial})

    def work():
        try:
            put({"answer": explorer.ask(name, fields, report)})
        except Cancelled:
            pass
        except Exception as error:
            put({"error": _in_one_line(error)})
        finally:
            running.release()
            put(None)

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        while (line := await lines.get()) is not None:
            yield to_json(line) + "\n"
    finally:
        gone.set()
