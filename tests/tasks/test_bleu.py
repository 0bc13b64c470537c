"""BLEU: sacrebleu's scores, and what follows from the definition."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.tasks import intervals
from minillm.tasks.bleu import (
    TOKENIZERS,
    bleu_counts,
    bleu_metric,
    bleu_of_counts,
    corpus_bleu,
    tokenize_13a,
    tokenize_char,
    tokenize_zh,
)

CASES = json.loads((Path(__file__).parents[1] / "fixtures/translation_scores.json").read_text())
CORPUS = st.lists(st.tuples(st.text("ab ,.1三百", max_size=12), st.text("ab ,.1三百", max_size=12)),
                  min_size=1, max_size=4)


@pytest.mark.parametrize("tokenize", TOKENIZERS)
def test_the_scores_are_those_of_sacrebleu(tokenize):
    for case in CASES:
        counts = sum(bleu_counts(*pair, tokenize)
                     for pair in zip(case["hypotheses"], case["references"]))
        for effective_order in (False, True):
            wanted = case["scores"][f"{tokenize} {effective_order}"]
            assert bleu_of_counts(counts, effective_order) == pytest.approx(wanted, abs=1e-7), case


def test_one_score_by_hand():
    # The cat sat | a cat sat: 2 of 3 words, 1 of 2 pairs, no triple of 1 (smoothed: 1/2 of 1).
    counts = bleu_counts("the cat sat", "a cat sat")
    assert counts.tolist() == [3, 3, 2, 1, 0, 0, 3, 2, 1, 0]
    assert bleu_of_counts(counts) == 0  # there is no 4-gram
    by_hand = 100 * math.exp((math.log(2 / 3) + math.log(1 / 2) + math.log(1 / 2)) / 3)
    assert bleu_of_counts(counts, effective_order=True) == pytest.approx(by_hand)
    # the the the: clipped at one; and half as long, so exp(1 - 2)
    assert bleu_counts("the the the", "the cat").tolist()[2:6] == [1, 0, 0, 0]
    short = bleu_of_counts(bleu_counts("a b c d", "a b c d e f g h"))
    assert short == pytest.approx(100 * math.exp(1 - 2))


@given(CORPUS, st.sampled_from(list(TOKENIZERS)), st.booleans())
def test_it_is_between_0_and_100_and_counts_add_up(pairs, tokenize, effective_order):
    hypotheses, references = zip(*pairs)
    score = corpus_bleu(hypotheses, references, tokenize, effective_order)
    assert 0 <= score <= 100 + 1e-9
    assert corpus_bleu(hypotheses[::-1], references[::-1], tokenize, effective_order) == (
        pytest.approx(score))
    examples = [{"target": reference} for reference in references]
    if not effective_order:
        metric = bleu_metric(tokenize=tokenize)
        assert metric.value(hypotheses, examples) == pytest.approx(score)


@given(st.text("ab ,.1三百", min_size=1).filter(lambda text: len(tokenize_char(text)) >= 4))
def test_a_perfect_translation_has_100(text):
    assert corpus_bleu([text], [text], "char") == pytest.approx(100)


@given(st.text())
def test_tokens_hold_all_visible_characters(text):
    for tokenize in (tokenize_zh, tokenize_char):
        assert "".join(tokenize(text)) == "".join(text.split())
    if not any(piece in text for piece in ("&", "<skipped>", "-\n")):
        assert "".join(tokenize_13a(text)) == "".join(text.split())


def test_an_unknown_tokenization_is_refused_by_name():
    with pytest.raises(ValueError, match="tokenize is 'intl', wanted one of 13a, zh, char, none"):
        corpus_bleu(["a"], ["a"], "intl")


def test_its_interval_contains_it():
    examples = [{"target": text} for text in ("a b c d e", "c d e f", "x y z w", "k l m n o p")]
    found = intervals.score(bleu_metric(), ["a b c d e", "c d e g", "x y z w", "k l q n o p"],
                            examples)
    assert 0 < found.low <= found.value <= found.high <= 100 + 1e-9
    assert np.isfinite(found).all()
