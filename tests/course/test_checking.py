"""The checker: what it says about right, wrong, broken and hostile answers."""

import json

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
    ("import nothing_here", "line 1: ModuleNotFoundError"),
])
def test_a_file_that_does_not_run_is_one_line(tmp_path, code, part):
    path = tmp_path / "mine.py"
    path.write_text(code)
    with pytest.raises(ValueError, match=part):
        check_file(90, path)


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
