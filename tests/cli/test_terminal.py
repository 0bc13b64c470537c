import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.cli.terminal import for_stream, say, table, visible

EVERY_STRING = st.text(st.characters(exclude_categories=()))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@given(EVERY_STRING)
def test_what_is_visible_holds_nothing_that_a_terminal_obeys(text):
    shown = visible(text)
    assert all(char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
               for char in shown)
    shown.encode("utf-8")
    assert visible(shown) == shown


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp"))))
def test_ordinary_text_is_left_alone(text):
    assert visible(text) == text


@pytest.mark.parametrize("text, shown", [
    ("\x1b[2Jclear", "\\x1b[2Jclear"), ("\r\x07\x9b", "\\r\\x07\\x9b"), ("\u202ebackwards",
     "\\u202ebackwards"), ("two\nlines\tand tabs", "two\nlines\tand tabs"), ("\udc80", "\\udc80"),
    ("é 语 👍🏽 👩\u200d👧", "é 语 👍🏽 👩\u200d👧"),
])
def test_controls_become_escapes(text, shown):
    assert visible(text) == shown


def test_files_and_pipes_get_the_text_as_it_is(capsys, monkeypatch):
    assert for_stream("\x1b[2J", io.StringIO()) == "\x1b[2J"
    assert for_stream("\x1b[2J", Terminal()) == "\\x1b[2J"
    say("\x1b[2J")
    assert capsys.readouterr().err == "\x1b[2J\n"
    monkeypatch.setattr("sys.stderr", Terminal())
    say("\x1b[2J")
    assert sys.stderr.getvalue() == "\\x1b[2J\n"


def test_markup_in_a_table_is_text(capsys):
    table("title", [("[red]x", "[/]")])
    assert "[red]x" in capsys.readouterr().out
