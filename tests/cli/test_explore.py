"""minillm explore: the command; what the page does is tested in tests/explorer."""

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

pytest.importorskip("uvicorn", reason="uvicorn is missing: pip install 'minillm[explore]'")
pytest.importorskip("starlette", reason="starlette is missing: pip install 'minillm[explore]'")


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGINT to send")
def test_serves_until_ctrl_c(tmp_path):
    process = subprocess.Popen([sys.executable, "-m", "minillm", "explore", "--port", "0", "A text"],
                               stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{20,}/", process.stderr.readline())[0]
        question = urllib.request.Request(f"{url}api/subjects", b"{}",
                                          {"Content-Type": "application/json"})
        with urllib.request.urlopen(question, timeout=30) as answer:
            found = json.load(answer)
        assert found["text"] == "A text" and found["subjects"][0]["name"] == "pydoc-tiny"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.stderr.close()


def test_writes_a_page(tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main(["explore", "--export", str(path), "--view", "tokenizer", "--language", "zh",
                 "An iterator"]) == 0
    text = path.read_text(encoding="utf-8")
    assert "An iterator" in text and '"views":["tokenizer"]' in text and '"lang":"zh"' in text
    assert "it opens without a server" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, wanted", [
    (["--port", "70000"], "--port is 70000"),
    (["--model", "nothing/here"], "nothing/here"),
    (["--view", "lens"], "--view is for --export"),
    (["--compare", "x"], "--compare is for --export"),
    (["--export", "page.html", "--view", "nothing"], "view is 'nothing'"),
    (["--export", "no/folder/page.html", "--view", "tokenizer"], "no/folder"),
    (["--export", "page.html", "word " * 300], "wanted at most 128"),
])
def test_mistakes_are_one_line(arguments, wanted, capsys):
    assert main(["explore", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("minillm: error: ") and wanted in error


def test_a_taken_port_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["explore", "--port", str(port)]) == 2
    assert f"--port {port} on 127.0.0.1" in capsys.readouterr().err


def test_a_missing_package_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "minillm.explorer.server", raising=False)
    assert main(["explore"]) == 2
    assert "pip install 'minillm[explore]'" in capsys.readouterr().err
