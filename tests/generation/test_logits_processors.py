import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.generation.logits_processors import (
    min_length,
    no_repeat_ngram,
    process,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
)
from minillm.generation.generation_config import GenerationConfig
from minillm.ops.softmax import softmax

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def draw(rng, B=None, V=None, T=None, kinds=None):
    """-> scores (B, V) and ids (B, T) of few kinds, so that they repeat"""
    B, V = B or rng.integers(1, 4), V or rng.integers(2, 40)
    T = T or rng.integers(1, 30)
    scores = (rng.standard_normal((B, V)) * rng.choice([0.1, 1, 5])).astype(np.float32)
    return scores, rng.integers(0, min(V, kinds or V), (B, T))


def kept(scores):
    return scores > -np.inf


@given(generators, st.floats(0.1, 10))
def test_temperature_raises_probabilities_to_a_power(rng, t):
    scores, _ = draw(rng)
    p, _ = softmax(scores.astype(np.float64))
    expected = p ** (1 / t) / (p ** (1 / t)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(temperature(scores, t))[0], expected, rtol=1e-3, atol=1e-7)
    assert temperature(scores, t).dtype == np.float32


@given(generators, st.integers(1, 50))
def test_top_k_keeps_the_k_highest(rng, k):
    scores, _ = draw(rng)
    result = top_k(scores, k)
    V = scores.shape[1]
    assert (kept(result).sum(axis=1) == min(k, V)).all()
    for row, before in zip(result, scores):
        assert set(row[kept(row)]) == set(np.sort(before)[-k:])


@given(generators, st.floats(0.01, 1))
def test_top_p_keeps_the_smallest_set_with_enough_mass(rng, p):
    scores, _ = draw(rng)
    result = top_p(scores, p)
    np.testing.assert_array_equal(result[kept(result)], scores[kept(result)])
    for row, before in zip(result, scores):
        everything = np.exp(before.astype(np.float64) - before.max())
        mass = np.sort(everything[kept(row)]) / everything.sum()
        assert mass.sum() >= p - 1e-6
        assert mass.sum() - mass[0] < p + 1e-6  # without its least likely token it is too little
        assert before[kept(row)].min() >= before[~kept(row)].max(initial=-np.inf)


@given(generators, st.floats(0.01, 1), st.integers(1, 5))
def test_top_p_keeps_at_least(rng, p, at_least):
    scores, _ = draw(rng)
    count = kept(top_p(scores, p, at_least)).sum(axis=1)
    expected = np.maximum(kept(top_p(scores, p)).sum(axis=1), min(at_least, scores.shape[1]))
    np.testing.assert_array_equal(count, expected)


@pytest.mark.parametrize("row", [-np.inf, np.nan])
def test_where_nothing_can_be_chosen_top_p_changes_nothing(row):
    """So that whoever chooses can say what is wrong."""
    scores = np.full((2, 5), row, np.float32)
    np.testing.assert_array_equal(top_p(scores, 0.5), scores)


@given(generators, st.floats(1, 5))
def test_repetition_penalty_lowers_what_was_there_and_nothing_else(rng, penalty):
    scores, ids = draw(rng, kinds=6)
    result = repetition_penalty(scores, ids, penalty)
    for row, before, tokens in zip(result, scores, ids):
        seen = np.isin(np.arange(len(row)), tokens)
        np.testing.assert_array_equal(row[~seen], before[~seen])
        expected = [s * penalty if s < 0 else s / penalty for s in before[seen]]
        np.testing.assert_allclose(row[seen], expected, rtol=1e-6)
        assert (row[seen] <= before[seen]).all()
    np.testing.assert_array_equal(repetition_penalty(scores, ids, 1.0), scores)


@given(generators)
def test_repetition_penalty_does_not_see_padding(rng):
    scores, ids = draw(rng, B=2, T=6)
    padded = np.concatenate([np.zeros((2, 3), int), ids], axis=1)
    np.testing.assert_array_equal(
        repetition_penalty(scores, padded, 2.0, start=np.array([3, 3])),
        repetition_penalty(scores, ids, 2.0))


@given(generators, st.integers(1, 4))
def test_no_ngram_comes_twice(rng, n):
    scores, ids = draw(rng, kinds=4)
    result = no_repeat_ngram(scores, ids, n)
    for row, tokens in zip(result, ids.tolist()):
        there = {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
        for token in range(len(row)):
            new = tuple((tokens + [token])[-n:])
            assert kept(row)[token] == (new not in there or len(tokens) < n - 1)


@given(generators, st.integers(0, 30))
def test_min_length_forbids_the_end_before(rng, minimum):
    scores, ids = draw(rng, V=20)
    result = min_length(scores, ids.shape[1], minimum, [3, 7])
    allowed = np.ones(20, bool)
    allowed[[3, 7]] = ids.shape[1] >= minimum
    np.testing.assert_array_equal(kept(result), np.broadcast_to(allowed, scores.shape))


@given(generators)
def test_inputs_stay_as_they_are(rng):
    scores, ids = draw(rng, V=20, kinds=3)
    before = scores.copy()
    options = GenerationConfig(
        do_sample=True, temperature=0.7, top_k=5, top_p=0.8, repetition_penalty=1.3,
        no_repeat_ngram_size=2, min_length=40, eos_token_id=[1], num_beams=1)
    result = process(scores, ids, options)
    np.testing.assert_array_equal(scores, before)
    assert result.dtype == np.float32 and 1 <= kept(result).sum(axis=1).min()
    assert kept(result).sum(axis=1).max() <= 5 and not kept(result)[:, 1].any()


@given(generators)
def test_each_is_what_transformers_does(rng):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.generation.logits_process")
    scores, ids = draw(rng, V=30, kinds=8)
    n, k = int(rng.integers(1, 4)), int(rng.integers(1, 35))
    t, p, penalty = rng.uniform(0.3, 3), rng.uniform(0.05, 0.99), rng.uniform(0.5, 2)
    least = int(rng.integers(1, 4))
    for ours, processor in [
        (temperature(scores, t), theirs.TemperatureLogitsWarper(t)),
        (top_k(scores, k), theirs.TopKLogitsWarper(k)),
        (top_p(scores, p), theirs.TopPLogitsWarper(p)),
        (top_p(scores, p, least), theirs.TopPLogitsWarper(p, min_tokens_to_keep=least)),
        (top_p(top_k(scores, 9), p), lambda i, s: theirs.TopPLogitsWarper(p)(
            i, theirs.TopKLogitsWarper(9)(i, s))),
        (repetition_penalty(scores, ids, penalty),
         theirs.RepetitionPenaltyLogitsProcessor(penalty)),
        (no_repeat_ngram(scores, ids, n), theirs.NoRepeatNGramLogitsProcessor(n)),
        (min_length(scores, ids.shape[1], 15, [2, 4]), theirs.MinLengthLogitsProcessor(15, [2, 4])),
    ]:
        expected = processor(torch.tensor(ids), torch.tensor(scores)).numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-6, err_msg=str(processor))
