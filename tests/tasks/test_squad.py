"""SQuAD's exact match and F1: equal to its scripts; what holds for any texts; the threshold."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.tasks.squad import best_threshold, exact_match, f1, normalized

FIXTURE = json.loads((Path(__file__).parent.parent / "fixtures" / "squad.json").read_text("utf-8"))
texts = st.text(st.sampled_from("ab the-.é'"), max_size=12)


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_the_scores_of_the_official_scripts(version):
    cases = [case for case in FIXTURE["cases"] if version in case]
    assert len(cases) > 100
    for case in cases:
        arguments = case["prediction"], case["answers"], version
        assert [exact_match(*arguments), f1(*arguments)] == pytest.approx(case[version]), case


def test_the_threshold_of_the_official_script():
    for case in FIXTURE["thresholds"]:
        total, threshold = best_threshold(case["no_answer"], case["scores"], case["has_answer"])
        best, place = case["best"]
        assert total == pytest.approx(best)
        if threshold > -math.inf:  # to answer nothing, the script says 0
            assert threshold == place


@given(texts, st.lists(texts, max_size=3))
def test_what_holds_for_any_texts(prediction, answers):
    exact, overlap = exact_match(prediction, answers), f1(prediction, answers)
    assert exact <= overlap <= 1  # an exact match has all words
    assert f1(prediction, [prediction]) == exact_match(prediction, [prediction]) == 1
    assert normalized(normalized(prediction)) == normalized(prediction)
    assert exact_match(prediction, [*answers, prediction]) == (
        1 if normalized(prediction) or not any(map(normalized, answers)) else 0)
    for answer in answers:
        if normalized(answer):
            assert f1(prediction, [answer]) == pytest.approx(f1(answer, [prediction] if normalized(
                prediction) else []))


@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.sampled_from([0.0, 0.5, 1.0]),
                          st.booleans()), min_size=1, max_size=8))
def test_no_threshold_is_better(questions):
    no_answer, scores, has_answer = map(np.array, zip(*questions))

    def total(threshold):
        answered = no_answer <= threshold
        return np.where(answered, np.where(has_answer, scores, 0), ~has_answer).sum()

    best, threshold = best_threshold(no_answer, scores, has_answer)
    assert best == total(threshold) == max(map(total, [-math.inf, *no_answer]))


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="version is '3', wanted one of 1.1, 2.0"):
        f1("x", ["x"], version="3")
    with pytest.raises(ValueError, match="answers is empty, wanted at least one"):
        exact_match("x", [], version="1.1")
