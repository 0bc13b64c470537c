"""minillm serve: the command; what the server does is tested in tests/serving."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from minillm.cli import main

pytest.importorskip("uvicorn", reason="uvicorn is missing: pip install 'minillm[serve]'")
pytest.importorskip("starlette", reason="starlette is missing: pip install 'minillm[serve]'")


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGTERM to send")
def test_serves_until_sigterm(tmp_path):
    process = subprocess.Popen([sys.executable, "-m", "minillm", "serve", "--model", "pydoc-tiny",
                                "--port", "0"],
                               stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+/v1", process.stderr.readline())[0]
        body = {"model": "pydoc-tiny", "prompt": "A text", "max_tokens": 3}
        question = urllib.request.Request(f"{url}/completions", json.dumps(body).encode(),
                                          {"Content-Type": "application/json"})
        with urllib.request.urlopen(question, timeout=60) as answer:
            assert json.load(answer)["usage"]["completion_tokens"] == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        rest = process.stderr.read()
        assert "Traceback" not in rest and "has ended" in rest
    finally:
        process.kill()
        process.stderr.close()


@pytest.mark.parametrize("arguments, wanted", [
    (["--port", "70000"], "--port is 70000"), (["--timeout", "0"], "--timeout is 0"),
    (["--grace", "nan"], "--grace is nan"), (["--model", "nothing/here"], "nothing/here"),
    (["--api-key", "é"], "--api-key"), (["--host", "192.0.2.1", "--port", "0"], "192.0.2.1"),
])
def test_mistakes_are_one_line(arguments, wanted, capsys):
    assert main(["serve", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("minillm: error: ") and wanted in error


def test_a_port_that_is_taken_is_an_error(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"--port {port} on 127.0.0.1" in capsys.readouterr().err


def test_a_missing_package_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "minillm.serving.server", raising=False)
    assert main(["serve"]) == 2
    assert "pip install 'minillm[serve]'" in capsys.readouterr().err
