"""The numbers in the prose: what is right passes, what is wrong or unchecked is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.course.chapters import Prose
from minillm.course.prose_numbers import run_checks

NAMES = {"x": 0.5716, "v": [0.142, 0.2857], "n": 1131008, "small": 0.0312}


@pytest.mark.parametrize("text", [
    "it gets 0.572<!-- = x --> of it",
    "it gets 57 %<!-- = x --> or 57.2%<!-- = x -->",
    "from 3.5<!-- given --> weights 0.14 and 0.29<!-- = v -->",
    "1,131,008<!-- = n --> and $1{,}131{,}008$<!-- = n -->",
    "$a = 0.3 + 0.27 = 0.57$<!-- = x -->",
    "$$A = \\begin{bmatrix} 0.142 & 0.286 \\end{bmatrix}$$\n\n<!-- = v -->",
    "about 0.6<!-- ≈ x ± 0.1 -->",
    "$3.12 \\times 10^{-2}$<!-- = small -->, 3.1 × 10⁻²<!-- = small -->",
    "-0.572<!-- = -x --> and −0.57<!-- = -x -->",
    "| 0.57<!-- = x --> | 0.14 | 0.29<!-- = v --> |",
    "# 1.5 heading\n\n`0.7` in sec. 3.2.2 and eq. 4.1, [a](b-0.3.md), exercise 3.1",
    "three words, d = 10, 12 layers, in 2017",
    "## Sources\n\nVersion of 0.5 seconds\n",
    "<details><summary>2.1 Which</summary>",
    "```sh\nx --lr 0.5\n```\n",
])
def test_right_prose(text):
    assert run_checks(Prose(text, 1), dict(NAMES)) == []


@pytest.mark.parametrize("text, part", [
    ("it gets 0.573<!-- = x -->", "the prose says 0.573, but x is 0.5716"),
    ("\n\nit gets 58 %<!-- = x -->", "line 3: the prose says 58 %"),
    ("it gets 0.572", "nothing checks the number 0.572"),
    ("it gets 0.572\n\nlater 0.57<!-- = x -->", "nothing checks the number 0.572"),
    ("0.1 and 0.572<!-- = x -->", "nothing checks the number 0.1"),
    ("0.57<!-- = v -->", "2 values for 1 number"),
    ("0.57<!-- = unknown -->", "NameError"),
    ("0.9<!-- ≈ x ± 0.1 -->", "the prose says 0.9"),
    ("$a = 0.58$<!-- = x -->", "the prose says 0.58"),
    ("$a = 0.58$", "nothing checks"),
    ("30 % of it", "nothing checks the number 30 %"),
    ("top-p 0.9 of", "nothing checks the number 0.9"),
])
def test_wrong_prose(text, part):
    (problem,) = run_checks(Prose(text, 1), dict(NAMES))
    assert part in problem


@given(st.floats(-1e6, 1e6), st.integers(1, 6))
def test_a_rounded_number_is_right_and_its_neighbor_wrong(x, digits):
    shown = f"{x:.{digits}f}"
    assert not run_checks(Prose(f"so {shown}<!-- = x -->", 1), {"x": x})
    neighbor = f"{float(shown) + 2 * 10.0**-digits:.{digits}f}"
    if abs(float(neighbor) - x) > 10.0**-digits:
        assert run_checks(Prose(f"so {neighbor}<!-- = x -->", 1), {"x": x})
