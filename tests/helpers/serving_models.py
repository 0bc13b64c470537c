"""A model served from this process, for the tests of `minillm serve`."""

import threading
from contextlib import contextmanager

import pytest


@contextmanager
def serving(served, **options):
    """A context in which a `Served` is served -> its Server"""
    pytest.importorskip("uvicorn", reason="uvicorn is missing: pip install 'minillm[serve]'")
    pytest.importorskip("starlette", reason="starlette is missing: pip install 'minillm[serve]'")
    from minillm.serving.server import Server

    server = Server(served, **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()
