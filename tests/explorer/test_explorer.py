"""How questions are checked, answered in turn, cancelled, and written as JSON."""

import json
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.explorer.encoding import decode, encode, to_json
from minillm.explorer.explorer import Cancelled, Explorer, Turns
from minillm.explorer.views import VIEWS, View, checked
from minillm.insight.subject import Subject


@given(hnp.arrays(st.sampled_from(["f4", "f8", "i4", "u1"]), hnp.array_shapes(min_dims=0, max_dims=4)))
def test_arrays_travel_bit_for_bit(x):
    back = decode(json.loads(to_json({"x": x})))["x"]
    assert back.dtype == x.dtype and back.shape == x.shape and back.tobytes() == x.tobytes()


def test_other_arrays_travel_as_what_javascript_has():
    for dtype, wanted in (("i8", "int32"), ("?", "uint8"), ("f2", "float32"), (">f4", "float32")):
        assert encode(np.ones(3, dtype))["dtype"] == wanted
    assert encode(np.array([2**40]))["dtype"] == "float64"
    assert encode({"a": (np.float32(0.5), float("nan"))}) == {"a": [0.5, None]}


@pytest.mark.parametrize("value, kind", [
    ("3", int), (True, int), (1.5, int), (True, float), (float("nan"), float), (2**60, int),
    (1, str), ("x" * 200_001, str), ("\ud800", str), ([1, "a"], list[int]), ({}, list[str]),
    ([0] * 100_001, list[int]), (1, bool), ([], dict)])
def test_fields_of_a_wrong_type_are_refused(value, kind):
    with pytest.raises(ValueError, match="^field"):
        checked("field", value, kind)


def test_fields_of_the_right_type_pass():
    assert checked("x", 2, float) == 2.0 and isinstance(checked("x", 2, float), float)
    assert checked("x", [1, 2], list[int]) == [1, 2] and checked("x", {"a": 1}, dict) == {"a": 1}


@pytest.fixture
def with_view():
    """with_view(function): register a view for one test"""
    names = []

    def register(function):
        VIEWS[function.__name__] = View(function)
        names.append(function.__name__)

    yield register
    for name in names:
        del VIEWS[name]


def test_the_server_fills_in_models(subject, with_view):
    def both(subject: Subject, other: Subject, explorer, n: int = 3):
        return subject.name, other.name, len(explorer.subjects), n

    second = Subject(subject.model, subject.tokenizer, "second")
    explorer = Explorer([subject, second])
    with_view(both)
    assert explorer.ask("both", {"other": "b"}) == (subject.name, "second", 2, 3)
    assert explorer.ask("both", {"model": "b", "n": 4, "text": "x"}) == ("second", subject.name, 2, 4)


def test_short_questions_get_a_turn_during_a_long_one(subject, with_view):
    order, started = [], threading.Event()

    def long(report):
        for i in range(200):
            started.set()
            order.append("long")
            time.sleep(0.001)
            report(i, 200)
        return 1

    def short():
        order.append("short")

    with_view(long)
    with_view(short)
    explorer = Explorer([subject])
    thread = threading.Thread(target=explorer.ask, args=("long", {}))
    thread.start()
    started.wait(10)
    for _ in range(5):
        explorer.ask("short", {})
    thread.join()
    assert order.count("short") == 5 and order[-1] == "long"


def test_a_cancelled_view_frees_the_turn(subject, with_view):
    def long(report):
        report(0, 1)

    def gone(done, total, partial):
        raise Cancelled

    with_view(long)
    explorer = Explorer([subject])
    with pytest.raises(Cancelled):
        explorer.ask("long", {}, gone)
    assert explorer.ask("long", {}) is None


def test_turns_come_in_order():
    turns, order = Turns(), []

    def take(i):
        with turns:
            order.append(i)

    with turns:
        threads = [threading.Thread(target=take, args=(i,)) for i in range(8)]
        for thread in threads:
            before = turns._last
            thread.start()
            while turns._last == before:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


@pytest.mark.parametrize("name", ["answer", "attention", "lens", "attribute", "patch_setup"])
def test_damaged_weights_are_said_in_a_line(name):
    damaged = Subject.open("pydoc-tiny")
    for parameter in damaged.model.parameters():
        parameter.data[..., 0] = np.nan
    with pytest.raises(ValueError, match="contain NaN: are the weights damaged"):
        Explorer([damaged]).ask(name, {"text": "The class"})
    assert Explorer([damaged]).ask("graph", {"text": "The class"})
