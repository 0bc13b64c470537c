"""The checker: what it says about right, wrong, broken and hostile answers."""

import io
import json
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minillm.course import checking
from minillm.course.checking import Exercise, Mistake, check, check_file
from minillm.course.comparison import difference, same


def mean_of_rows(A):
    return A.mean(axis=-1, keepdims=True)


EXERCISES = {
    "90.1": Exercise(
        "90.1", "mean_of_rows", mean_of_rows,
        lambda rng: [(rng.normal(size=(3, 4)),), (rng.normal(size=(2, 6)),)],
        [Mistake("You averaged over the rows, axis 0.", wrong=lambda A: A.mean(axis=0)),
         Mistake("The last axis is -1.", wrong=lambda A: A.mean(axis=2)),
         Mistake("That is the sum.",
                 when=lambda got, want, A: np.allclose(got, A.sum(-1)[:, None]))]),
    "90.2": Exercise("90.2", "largest", 2, mistakes=[Mistake("Count from 0.", wrong=3)]),
    "90.3": Exercise("90.3", "swap", lambda a, b: (b, a), lambda rng: [(1.0, 2.0), (3.0, 5.0)],
                     [Mistake("Nothing is swapped.", wrong=lambda a, b: (a, b))]),
}


@pytest.fixture(autouse=True)
def three_exercises(monkeypatch):
    monkeypatch.setattr(checking, "load_exercises",
                        lambda chapter: EXERCISES if chapter == 90 else {})


def endless(A):
    while True:
        pass


@pytest.mark.parametrize("answer, part", [
    (lambda A: A.mean(axis=0), "averaged over the rows"),
    (lambda A: A.sum(axis=-1, keepdims=True), "That is the sum"),
    (lambda A: A.mean(axis=-1), "the shape is (3,), wanted (3, 1)"),
    (lambda A: -mean_of_rows(A), "wrong sign"),
    (lambda A: 2 * mean_of_rows(A), "2 times the right one"),
    (lambda A: mean_of_rows(A) + 1, "1 more than the right one"),
    (lambda A: mean_of_rows(A)[::-1], "wrong order"),
    (lambda A: mean_of_rows(A) + np.array([[0.1], [0.0], [0.0]])[: len(A)], "at [0, 0]"),
    (lambda A: mean_of_rows(A).tolist(), ""),
    (lambda A: mean_of_rows(A) * np.nan, "NaN"),
    (lambda A: "mean", "a str, wanted an array"),
    (lambda A: [[1], [2, 3]], "rows of different lengths"),
    (lambda A: mean_of_rows(A) if len(A) == 3 else A[:, :1], "Right for the first case"),
    (lambda A: A.sum() / 0, "a single number, wanted an array"),
    (lambda A: A.undefined, "raises AttributeError in line"),
    (lambda A: A.__setitem__(0, 0) or mean_of_rows(A), "changes its argument A"),
    (lambda A, B: A, "raises TypeError"),
    (lambda A: A.mean(axis=2), "The last axis is -1."),
    (lambda A: None, "returns None"),
    (5, "Pass the function mean_of_rows itself"),
    (None, "Pass the function mean_of_rows itself"),
])
def test_what_is_said_about_an_answer(answer, part):
    with np.errstate(all="ignore"):
        report = check("90.1", answer)
    assert part in repr(report)
    assert bool(report) == (part == "")


def test_right_answers():
    assert repr(check("90.1", mean_of_rows)) == "90.1: right."
    assert check("90.2", 2) and check("090.2", 2.0) and check("90.2", np.int64(2))
    assert check("90.3", lambda a, b: [b, a])
    assert repr(check("90.2", 3)) == "90.2: not yet right. Count from 0."
    assert "not solved yet" in repr(check("90.2", None))
    assert "not solved yet" in repr(check("90.2", ...))
    assert repr(check("90.2", 7)) == "90.2: not yet right. It isn't 7."  # 2 stays a secret
    assert "ends without a return" in repr(check("90.3", lambda a, b: None if a > 2 else (b, a)))
    assert "in line" in repr(check("90.1", lambda A: json.loads("{")))  # not in a line of json


def test_an_endless_loop_ends(monkeypatch):
    monkeypatch.setattr(checking, "TIME_LIMIT", 1)
    assert "takes longer than 1 seconds" in repr(check("90.1", endless))


@pytest.mark.parametrize("number", ["90.4", "9.1", "1", "", None, "x.y", 90])
def test_an_unknown_exercise_is_one_line(number):
    with pytest.raises(ValueError, match="wanted"):
        check(number, 1)


def test_a_file_of_solutions(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def mean_of_rows(A):\n    return A.mean(-1)\nlargest = 2\n")
    first, second, third = check_file(90, path)
    assert "shape" in repr(first) and second and "defines no swap" in repr(third)


@pytest.mark.parametrize("code, part", [
    ("x = (", "line 1"), ("\n1 / 0", "line 2: ZeroDivisionError"), ("exit(3)", "SystemExit"),
    ("import os\nos._exit(0)", "line 2: SystemExit"),
    ("import nothing_here", "line 1: ModuleNotFoundError"),
    ("x = 1\nname = input('name? ')", r"line 2: input\(\) has nobody to ask"),
    ("while True: pass", "line 1: the file takes longer than 1 seconds"),
    ("while True:\n    try: 1\n    except Exception: pass", "longer than 1 seconds"),
    ("def f(): f()\nf()", "line 1: RecursionError"), ("x = [0] * 10**15", "line 1: MemoryError"),
    ("raise BaseException('x')", "line 1: BaseException: x"), ("x = 1\0", "null bytes"),
    ("# coding: klingon", "unknown encoding"), (b"x = '\xe9'", "utf-8|UTF-8"),
    ("class E(Exception):\n    __str__ = None\nraise E", "line 3: E"),
])
def test_a_file_that_does_not_run_is_one_line(tmp_path, monkeypatch, code, part):
    monkeypatch.setattr(checking, "FILE_TIME_LIMIT", 1)
    path = tmp_path / "mine.py"
    path.write_bytes(code if isinstance(code, bytes) else code.encode())
    with pytest.raises(ValueError, match=part) as caught:
        check_file(90, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [
    b"\xef\xbb\xbfdef mean_of_rows(A):\r\n    return A.mean(-1, keepdims=True)\r\n",
    b"# coding: latin-1\n# caf\xe9\nmean_of_rows = lambda A: A.mean(-1, keepdims=True)\n",
    b"import neighbor, random\nmean_of_rows = neighbor.mean_of_rows\nassert random.random()",
    b"import sys\nsys.path.clear()\nsys.stdout = open('out', 'w')\n"
    b"def mean_of_rows(A):\n    return A.mean(-1, keepdims=True)\n",
    b"from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n"
    b"    x: int\nmean_of_rows = lambda A: A.mean(-1, keepdims=True)\n",
    b"import numpy as np\nnp.seterr(all='raise')\nlen = print = None\n"
    b"def mean_of_rows(A):\n    return A.mean(-1, keepdims=True)\n",
])
def test_what_a_file_may_do(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neighbor.py").write_text(
        "def mean_of_rows(A): return A.mean(-1, keepdims=True)")
    (tmp_path / "random.py").write_text("1 / 0")
    (tmp_path / "mine.py").write_bytes(code)
    before = list(sys.path), sys.stdin, sys.stdout
    with np.errstate():
        assert check_file(90, tmp_path / "mine.py")[0]
    assert (list(sys.path), sys.stdin, sys.stdout) == before


class Unfriendly:
    """A result whose every method fails"""

    def __repr__(self):
        raise RuntimeError

    __array__ = __eq__ = __repr__
    __hash__ = None


@pytest.mark.parametrize("answer, part", [
    (lambda A: exit(3), "raises SystemExit"), (lambda A: Unfriendly(), "wanted an array"),
    (lambda A: [Unfriendly()], "not yet right"), (lambda A: input(), "raises"),
    (lambda A: [[0]] * 10**15, "raises MemoryError"), (lambda A: (yield A), "a generator"),
])
def test_unfriendly_answers(monkeypatch, answer, part):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert part in repr(check("90.1", answer))
    assert "not yet right" in repr(check("90.2", Unfriendly()))


def test_an_endless_loop_that_catches_errors_ends(monkeypatch):
    def catches(A):
        while True:
            try:
                A.sum()
            except Exception:
                pass

    monkeypatch.setattr(checking, "TIME_LIMIT", 1)
    assert "takes longer than 1 seconds" in repr(check("90.1", catches))


arrays = hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4),
                    elements=st.floats(-1e3, 1e3))


@given(arrays)
def test_equal_arrays_agree_and_a_changed_number_is_found(a):
    assert same(a, a.copy(), 1e-9)
    b = a.copy()
    b.flat[-1] += 1
    assert difference(b, a, 1e-6)


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
                      lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(st.text(max_size=2), inner, max_size=3), max_leaves=6)


@given(values, values)
@example(-(2**63) - 1, -(2**63) - 1)
def test_any_two_things_can_be_compared(got, want):
    assert isinstance(difference(got, want, 1e-6), str)
    assert difference(want, want, 1e-6) == ""
