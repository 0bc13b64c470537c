"""Serving models to Chromium, for the tests of the explorer."""

import shutil
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from minillm.explorer.explorer import Explorer

TEXT = "The assignment statement assigns"
CHROMIUM = next(filter(None, map(shutil.which, [
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])), None)


@contextmanager
def serving(*subjects, text=TEXT):
    """A context in which these Subjects are served -> .url, .explorer, .subject"""
    pytest.importorskip("uvicorn", reason="uvicorn is missing: pip install 'minillm[explore]'")
    pytest.importorskip("starlette", reason="starlette is missing: pip install 'minillm[explore]'")
    from minillm.explorer.server import Server

    explorer = Explorer(subjects, text)
    server = Server(explorer)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield SimpleNamespace(url=server.url, explorer=explorer, subject=subjects[0], server=server)
    finally:
        server.stop()
        thread.join(10)


@contextmanager
def watched_page(browser, url, **options):
    """A page whose errors, and whose requests to elsewhere, fail the test at the end"""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    page.set_default_timeout(20_000)
    problems, here = [], url.split("/", 3)[:3]
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("console", lambda message: message.type in ("error", "warning")
            and "status of 400" not in message.text  # an error of the user's, shown on the page
            and problems.append(f"{message.type}: {message.text}"))
    page.on("request", lambda request: request.url.split("/", 3)[:3] != here
            and not request.url.startswith(("data:", "blob:"))
            and problems.append(f"a request to {request.url}"))
    page.problems = problems
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    assert problems == []


def wait_until(page, expression, seconds=20):
    """Wait until a JavaScript expression holds. (The page's policy forbids wait_for_function.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => Boolean({expression})"):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(20)
