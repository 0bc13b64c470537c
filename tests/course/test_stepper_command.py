"""The command `minillm step`."""

import io
import sys

import pytest

from minillm.cli import main


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(capsys, *arguments):
    """-> exit status, lines of stdout, the error"""
    try:
        status = main(["step", *arguments])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    errors = [line.removeprefix("minillm: error: ") for line in err.splitlines()
              if not line.startswith("recording ")]
    assert len(errors) <= 1
    return status, out.splitlines(), "".join(errors)


def test_without_a_terminal_it_prints_lines(capsys):
    status, lines, _ = run(capsys, "The class", "--layer", "1", "--depth", "3")
    assert status == 0 and lines[1].startswith("transformer.h.1: DecoderBlock.forward")


def test_the_backward(capsys):
    status, lines, _ = run(capsys, "--plain", "--backward", "The class", "--layer", "3")
    assert status == 0 and lines[1].startswith("transformer.h.3: DecoderBlock.backward")
    assert any("fused_attention_backward" in line for line in lines)


def test_the_text_may_come_from_a_pipe(capsys, monkeypatch):
    class Pipe:
        buffer = io.BytesIO(b"The class\n")

        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", Pipe())
    status, lines, _ = run(capsys, "--depth", "0")
    assert status == 0 and "(1, 2)" in "".join(lines)


@pytest.mark.parametrize("arguments, message", [
    ([""], "the text is empty"),
    (["word " * 500], "tokens, wanted at most 128"),
    (["--backward", "a"], "wanted at least 2"),
    (["--model", "no/where/at/all", "a"], "no/where/at/all"),
    (["--layer", "4", "a"], "layer is 4, wanted 0 … 3"),
    (["--layer", "-1", "a"], "layer is -1, wanted 0 … 3"),
    (["--depth", "-1", "a"], "depth is -1, wanted at least 0"),
    (["--kernels", "naive", "a"], "invalid choice: 'naive'"),
    (["--layer", "x", "a"], "invalid int value"),
])
def test_bad_input_is_one_line(capsys, arguments, message):
    status, _, error = run(capsys, *arguments)
    assert status == 2 and message in error


def on_a_terminal(monkeypatch, stdin=None):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stdin", Terminal() if stdin is None else stdin)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_without_textual(capsys, monkeypatch):
    on_a_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "textual", None)
    status, _, error = run(capsys, "The class")
    assert status == 2 and 'pip install "minillm[course]"' in error


def test_without_a_keyboard(capsys, monkeypatch):
    on_a_terminal(monkeypatch, io.StringIO())
    assert "no keyboard" in run(capsys, "The class")[2]


def test_on_a_simple_terminal(capsys, monkeypatch):
    on_a_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    assert "use --plain" in run(capsys, "The class")[2]


def test_depth_is_for_lines(capsys, monkeypatch):
    pytest.importorskip("textual")
    on_a_terminal(monkeypatch)
    assert "--depth is for --plain" in run(capsys, "The class", "--depth", "2")[2]


def test_the_screen_starts_at_the_layer(capsys, monkeypatch):
    pytest.importorskip("textual")
    from minillm.course.stepper.screen import Stepper

    on_a_terminal(monkeypatch)
    started = []
    monkeypatch.setattr(Stepper, "run", lambda self: started.append(self.walk.step))
    assert run(capsys, "The class", "--layer", "2")[0] == 0
    assert started[0].call.path == "transformer.h.2"
