"""JSON files of others: read or refused in one line, whatever is in them."""

import json
import os
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.checks import shown
from minillm.json_files import MAX_DEPTH, fields, parse_json, read_json, write_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=5)


@given(json_objects)
def test_what_is_written_is_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("json") / "x.json"
    write_json(path, content)
    assert read_json(path) == content
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # a byte-order mark
    assert read_json(path) == content


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_an_error_of_one_line(text):
    try:
        assert isinstance(parse_json("x.json", text), dict)
    except ValueError as error:
        assert str(error).startswith("x.json") and str(error).isprintable()


@pytest.mark.parametrize("text, match", [
    ("{", "x.json is not valid JSON"),
    ("", "x.json is not valid JSON"),
    ("[1]", "x.json holds a list, wanted a JSON object"),
    ("null", "x.json holds null"),
    ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' appears twice in one object"),
    ('{"a": ' + "[" * 1000 + "]" * 1000 + "}", "x.json is nested more than 64 deep"),
    ('{"a": ' * 100_000 + "1" + "}" * 100_000, "x.json is nested more than 64 deep"),
    ("[" * 1_000_000, "x.json is nested more than 64 deep"),
    ('{"a": ' + "9" * 5000 + "}", "x.json holds an integer of thousands"),
    (b'{"a": "\xff"}', "x.json is not UTF-8: invalid start byte at byte 7"),
    ('{"a": 1}'.encode("utf-16"), "x.json is not UTF-8"),
])
def test_what_is_refused(text, match):
    with pytest.raises(ValueError, match=match) as caught:
        parse_json("x.json", text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 150


@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 1, MAX_DEPTH])
def test_the_depth_that_is_read(depth):
    text = '{"a": ' * depth + "1" + "}" * depth
    content = parse_json("x.json", text)
    for _ in range(depth):
        content = content["a"]
    assert content == 1


def test_files_that_are_not_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="x.json doesn't exist"):
        read_json(tmp_path / "x.json")
    with pytest.raises(ValueError, match="is not a regular file"):
        read_json(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="fifo is not a regular file"):
        read_json(tmp_path / "fifo")
    write_json(tmp_path / "large.json", {"a": "b" * 1000})
    with pytest.raises(ValueError, match="has 1,014 bytes, wanted at most 1,000"):
        read_json(tmp_path / "large.json", max_bytes=1000)


@pytest.mark.parametrize("value, kind", [
    ("a", str), (3, int), (3, float), (2.5, float), (True, bool), (None, int | None),
    (3, int | None),
    ([], list), ([1, [2]], list), ([1, 2], list[int]), ([], list[int]), ({"a": 1}, dict[str, int]),
    ({"a": [1]}, dict[str, list[int]]), ("left", Literal["left", "right"]), (None, None),
    (7, int | list[int]), ([7], int | list[int]), (False, bool | str),
])
def test_fields_of_the_wanted_kind(value, kind):
    assert fields("x.json", {"a": value, "b": 1}, {"a": kind, "c": str}) == {"a": value}


@pytest.mark.parametrize("value, kind, message", [
    ("two", int, "x.json: a is 'two', wanted an integer"),
    (True, int, "x.json: a is True, wanted an integer"),
    (1, bool, "x.json: a is 1, wanted true or false"),
    (2.0, int, "x.json: a is 2.0, wanted an integer"),
    (float("nan"), float, "x.json: a is nan, wanted a number"),
    (float("-inf"), float, "x.json: a is -inf, wanted a number"),
    (True, float, "x.json: a is True, wanted a number"),
    (None, str, "x.json: a is None, wanted a string"),
    ([1, 2.5], list[int], "x.json: a[1] is 2.5, wanted an integer"),
    ({"b": [1, "c"]}, dict[str, list[int]], "x.json: a['b'][1] is 'c', wanted an integer"),
    ([1, "b"], int | list[int] | None, "x.json: a[1] is 'b', wanted an integer"),
    ("b", int | list[int] | None, "x.json: a is 'b', wanted an integer or a list or null"),
    ("up", Literal["left", "right"], "x.json: a is 'up', wanted 'left' or 'right'"),
    ("\x1b[31m", int, r"x.json: a is '\x1b[31m', wanted an integer"),
])
def test_fields_of_another_kind(value, kind, message):
    with pytest.raises(ValueError) as caught:
        fields("x.json", {"a": value}, {"a": kind})
    assert str(caught.value) == message


def test_numbers_beyond_float_are_no_numbers():
    with pytest.raises(ValueError, match="wanted a number"):
        fields("x.json", json.loads('{"a": 1' + "0" * 400 + "}"), {"a": float})


def test_required_fields_and_places_inside_a_file():
    with pytest.raises(ValueError, match="x.json has no field model.vocab"):
        fields("x.json", {}, {"vocab": dict}, ["vocab"], where="model")
    with pytest.raises(ValueError, match=r"x.json: model.merges\[0\] is 1, wanted a string"):
        fields("x.json", {"merges": [1]}, {"merges": list[str]}, where="model")
    with pytest.raises(ValueError, match="x.json: model is 'gpt', wanted an object"):
        fields("x.json", "gpt", {}, where="model")


@given(json_values | st.text(st.characters(), min_size=50))
def test_values_are_shown_in_less_than_a_line(value):
    text = shown(value)
    assert len(text) <= 72 and text.isprintable()
    text.encode()  # no lone surrogates, which no terminal can show


def test_showing_a_large_value_does_not_walk_through_it():
    huge = [list(range(1000))] * 10**6
    assert shown(huge) == "[[0, 1, 2, 3, ...], [0, 1, 2, 3, ...], [0, 1, 2, 3, ...], [0, 1, 2, 3..."
    assert len(shown("a" * 10**7)) <= 72
