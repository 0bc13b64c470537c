import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.text.byte_level import (
    BYTE_TO_CHARACTER,
    bytes_to_text,
    spell,
    split_words,
    text_to_bytes,
    unspell,
)

EVERY_STRING = st.text(st.characters(exclude_categories=()))  # lone surrogates too


def test_alphabet_has_a_visible_character_for_each_byte():
    assert sorted(BYTE_TO_CHARACTER) == list(range(256))
    assert len(set(BYTE_TO_CHARACTER.values())) == 256
    assert not any(char.isspace() or not char.isprintable() for char in BYTE_TO_CHARACTER.values())
    # These are known from every GPT-2 vocabulary.
    assert spell(b" the\n\xff") == "ĠtheĊÿ"


@given(st.binary())
def test_spelling_is_reversible(data):
    assert unspell(spell(data)) == data


def test_what_is_not_spelled_in_the_alphabet_has_no_bytes():
    assert unspell("two words") is None


@given(EVERY_STRING)
def test_words_joined_are_the_text(text):
    words = split_words(text)
    assert "".join(words) == text
    assert "" not in words


@pytest.mark.parametrize("text, words", [
    ("Hello world", ["Hello", " world"]),
    ("it's we'll", ["it", "'s", " we", "'ll"]),
    ("IT'S", ["IT", "'", "S"]),  # contractions are lower case in GPT-2's pattern
    ("a   b", ["a", "  ", " b"]),
    ("a\n\nb", ["a", "\n", "\n", "b"]),  # a line end is no optional space
    ("x=12.5", ["x", "=", "12", ".", "5"]),
    ("end  ", ["end", "  "]),
    ("语言 模型", ["语言", " 模型"]),
])
def test_pattern(text, words):
    assert split_words(text) == words


@given(EVERY_STRING)
def test_every_string_goes_through_bytes(text):
    assert bytes_to_text(text_to_bytes(text)) == text


def test_broken_utf8_is_replaced():
    assert bytes_to_text("é".encode()[:1]) == "\ufffd"
    with pytest.raises(UnicodeDecodeError):
        bytes_to_text(b"\xff", "strict")
