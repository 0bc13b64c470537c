"""chrF: sacrebleu's scores, and what follows from the definition."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.tasks.chrf import chrf_counts, chrf_metric, chrf_of_counts, corpus_chrf

CASES = json.loads((Path(__file__).parents[1] / "fixtures/translation_scores.json").read_text())


@pytest.mark.parametrize("word_order", [0, 2])
def test_the_scores_are_those_of_sacrebleu(word_order):
    for case in CASES:
        got = corpus_chrf(case["hypotheses"], case["references"], word_order)
        assert got == pytest.approx(case["scores"][f"chrf {word_order}"], abs=1e-7), case


def test_one_score_by_hand():
    # ab | abc: 2 of 2 letters and 1 of 1 pair are right; 2 of 3 and 1 of 2 are found.
    counts = chrf_counts("a b", "abc")
    assert counts.tolist() == [2, 3, 2, 1, 2, 1, 0, 1, 0] + [0] * 9
    P, R = 1, (2 / 3 + 1 / 2) / 2
    assert chrf_of_counts(counts) == pytest.approx(100 * 5 * P * R / (4 * P + R))


@given(st.lists(st.tuples(st.text("ab c三.", max_size=9), st.text("ab c三.", max_size=9)),
                min_size=1, max_size=4))
def test_it_is_between_0_and_100_and_ignores_white_space(pairs):
    hypotheses, references = zip(*pairs)
    score = corpus_chrf(hypotheses, references)
    assert 0 <= score <= 100 + 1e-9
    assert corpus_chrf([text.replace(" ", "") for text in hypotheses], references) == score
    assert chrf_metric().value(hypotheses, [{"target": text} for text in references]) == (
        pytest.approx(score))


@given(st.text(min_size=1).filter(str.strip))
def test_a_perfect_translation_has_100_and_one_without_a_common_letter_0(text):
    assert corpus_chrf([text], [text]) == pytest.approx(100)
    assert corpus_chrf([text], ["" if "\0" in text else "\0"]) == 0
