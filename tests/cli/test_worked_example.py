"""`minillm worked-example` from its command line to what it prints and writes."""

import io
import re
import sys

import pytest
from matplotlib.image import imread
from rich.cells import cell_len

from minillm.cli import main


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def error_of(capsys, *arguments):
    try:
        status = main(["worked-example", *arguments])
    except SystemExit as stop:
        status = stop.code
    output = capsys.readouterr()
    assert status == 2 and output.out == ""
    assert output.err.startswith("minillm: error: ") and output.err.count("\n") == 1
    return output.err


def run(capsys, *arguments):
    assert main(["worked-example", *arguments]) == 0
    return capsys.readouterr().out


def on_a_terminal(monkeypatch, *arguments):
    """-> what is printed on a terminal of 80 columns that knows all colors"""
    screen = Terminal()
    for name, value in (("COLUMNS", "80"), ("TERM", "xterm-256color"), ("COLORTERM", "truecolor")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["worked-example", *arguments]) == 0
    return screen.getvalue()


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["worked-example", "--help"])
    assert stop.value.code == 0
    assert "examples:\n  minillm worked-example" in capsys.readouterr().out


def test_the_example_of_the_course(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = run(capsys)
    assert "  apple │ 0.027  0.149  0.824 │ 1.000" in out.splitlines()
    assert "I · apple = 0.1×0.9 + 0.2×1 + … + 1×1.8 = 8.25" in out
    assert "dQ" not in out and "\x1b" not in out
    assert "largest difference" in run(capsys, "--backward")


@pytest.mark.parametrize("columns", ["1", "40", "77", "200", "1000"])
def test_any_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    out = run(capsys, "--words", "我 喜欢 苹果 和 extraordinarily-long-words", "--heads", "2",
              "--backward")
    assert max(map(cell_len, out.splitlines())) <= max(40, min(int(columns), 200))


def test_words_may_come_as_one_text_or_several(capsys):
    assert run(capsys, "--words", "the cat sat", "--d", "4") == \
        run(capsys, "--words", "the", "cat", "sat", "--d", "4", "--seed", "0")
    assert run(capsys, "--seed", "1") != run(capsys, "--seed", "2") != run(capsys)


def test_colors_are_for_terminals(monkeypatch):
    plain = re.sub(r"\x1b\[[\d;]*m", "", colored := on_a_terminal(monkeypatch))
    assert "\x1b[" in colored and "48;2;" in colored
    monkeypatch.setenv("NO_COLOR", "1")
    without = on_a_terminal(monkeypatch)
    assert not re.search(r"[34]8;|\x1b\[3[0-7]", without)
    assert re.sub(r"\x1b\[[\d;]*m", "", without) == plain


@pytest.mark.parametrize("keys, shown", [("q\n", 1), ("\nQ\n", 2), ("\n\n", 3), ("", 1),
                                         ("\n" * 9, 6)])
def test_steps_wait_for_the_keyboard(monkeypatch, capsys, keys, shown):
    monkeypatch.setattr(sys, "stdin", keyboard := Terminal(keys))
    out = run(capsys, "--steps")
    assert len(re.findall(r"^── \d of 6", out, re.MULTILINE)) == shown
    assert keyboard.tell() <= 5  # the last step waits for nothing


@pytest.mark.parametrize("stdin", [io.StringIO("q\n"), None])
def test_without_a_keyboard_nothing_waits(monkeypatch, capsys, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert "6 of 6" in run(capsys, "--steps")


def test_exports(tmp_path, capsys):
    assert run(capsys, "--latex", "a.tex", "--markdown", "a.md", "--png", "a.png") == ""
    assert (tmp_path / "a.tex").read_text() == run(capsys, "--latex")
    assert (tmp_path / "a.md").read_text() == run(capsys, "--markdown")
    assert run(capsys, "--latex").startswith("% Compile with pdflatex")
    assert imread(tmp_path / "a.png").shape[1] == 1950
    run(capsys, "--png")
    assert (tmp_path / "worked-example.png").exists()


@pytest.mark.parametrize("arguments, message", [
    (["--words"], "argument --words: expected at least one argument"),
    (["--words", " "], "the number of words is 0"),
    (["--d", "0"], "d is 0, wanted 1 to 512"),
    (["--d", "x"], "argument --d: invalid int value"),
    (["--heads", "4"], "heads is 4, wanted a divisor of d = 10"),
    (["--seed", "-3"], "seed is -3"),
    (["--input", "nowhere.json"], "nowhere.json doesn't exist"),
    (["--input", "."], "is not a regular file"),
    (["--input", "own.json", "--d", "3"], "leave out --d"),
    (["--input", "own.json", "--heads", "1"], "--heads draws projections for X"),
    (["--latex", "--markdown"], "both write to standard output"),
    (["--latex", "x", "--png", "x"], "--latex and --png both write to x"),
    (["--latex", "no/such/folder/a.tex"], "no/such/folder/a.tex: there is no folder no/such"),
    (["--backward", "--d", "200", "--heads", "2"], "wanted at most 20,000"),
])
def test_bad_input_is_one_line(tmp_path, capsys, arguments, message):
    (tmp_path / "own.json").write_text('{"Q": [[1]], "K": [[1]], "V": [[1]]}')
    assert message in error_of(capsys, *arguments)
