import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scores import draw, kept

from minillm.generation.warpers import (
    epsilon_cutoff,
    eta_cutoff,
    min_p,
    temperature,
    top_h,
    top_k,
    top_p,
    typical_p,
)
from minillm.ops.softmax import softmax

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


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
    """NaN must reach the choice of a token, which reports it."""
    scores = np.full((2, 5), row, np.float32)
    np.testing.assert_array_equal(top_p(scores, 0.5), scores)


# ---- one example each that can be checked by hand

QUARTERS = np.log([[0.5, 0.25, 0.125, 0.125]]).astype(np.float32)  # entropy: 1.75 bits


@pytest.mark.parametrize("result, expected", [
    (min_p(QUARTERS, 0.5), [1, 1, 0, 0]),  # half of 0.5, or more
    (min_p(QUARTERS, 1.0), [1, 0, 0, 0]),
    (min_p(QUARTERS, 1.0, at_least=2), [1, 1, 0, 0]),
    (epsilon_cutoff(QUARTERS, 0.2), [1, 1, 0, 0]),
    (epsilon_cutoff(QUARTERS, 0.9), [1, 0, 0, 0]),  # the likeliest always stays
    (eta_cutoff(QUARTERS, 0.3), [1, 1, 0, 0]),  # √0.3 2^-1.75 = 0.163, less than 0.3
    # |-log₂ p - 1.75| is 0.75, 0.25, 1.25, 1.25: the second token is the most typical one.
    (typical_p(QUARTERS, 0.2), [0, 1, 0, 0]),
    (typical_p(QUARTERS, 0.4), [1, 1, 0, 0]),
    (typical_p(QUARTERS, 0.8), [1, 1, 1, 1]),
    # -p log₂ p is 0.5, 0.5, 0.375, 0.375: 0.58 of 1.75 is 1.015.
    (top_h(QUARTERS, 0.58), [1, 1, 0, 0]),
    (top_h(QUARTERS, 0.1), [1, 0, 0, 0]),
])
def test_by_hand(result, expected):
    np.testing.assert_array_equal(kept(result), [expected])
    np.testing.assert_array_equal(result[kept(result)], QUARTERS[kept(result)])


# ---- all of them

WARPERS = [
    lambda scores: temperature(scores, 0.7), lambda scores: top_k(scores, 3),
    lambda scores: top_p(scores, 0.5), lambda scores: min_p(scores, 0.3),
    lambda scores: typical_p(scores, 0.5), lambda scores: epsilon_cutoff(scores, 0.1),
    lambda scores: eta_cutoff(scores, 0.3), lambda scores: top_h(scores, 0.4),
]


@given(generators)
def test_something_is_left_and_the_input_stays_as_it_is(rng):
    scores, _ = draw(rng)
    before = scores.copy()
    for warp in WARPERS:
        result = warp(scores)
        assert result.dtype == np.float32 and result.shape == scores.shape
        assert kept(result).any(axis=1).all()
        np.testing.assert_array_equal(scores, before)


@given(generators)
def test_each_is_what_transformers_does(rng):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("transformers.generation.logits_process")
    scores, ids = draw(rng, V=int(rng.choice([30, 150])))
    if rng.random() < 0.5:
        scores = top_k(scores, 12)  # many tokens are out already
    k, p, least = int(rng.integers(1, 35)), rng.uniform(0.05, 0.99), int(rng.integers(1, 4))
    t, epsilon = rng.uniform(0.3, 3), float(rng.choice([3e-4, 0.01, 0.2]))
    keep = {"min_tokens_to_keep": least}
    cases = [
        (temperature(scores, t), theirs.TemperatureLogitsWarper(t)),
        (top_h(scores, p), theirs.TopHLogitsWarper(p)),
        (top_k(scores, k), theirs.TopKLogitsWarper(k)),
        (top_p(scores, p), theirs.TopPLogitsWarper(p)),
        (top_p(scores, 0.0), theirs.TopPLogitsWarper(0.0)),
        (top_p(scores, p, least), theirs.TopPLogitsWarper(p, **keep)),
        (min_p(scores, p, least), theirs.MinPLogitsWarper(p, **keep)),
        (typical_p(scores, p, least), theirs.TypicalLogitsWarper(p, **keep)),
        (epsilon_cutoff(scores, epsilon, least), theirs.EpsilonLogitsWarper(epsilon, **keep)),
        (eta_cutoff(scores, epsilon, least), theirs.EtaLogitsWarper(epsilon, **keep)),
    ]
    for ours, warper in cases:
        expected = warper(torch.tensor(ids), torch.tensor(scores)).numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-6, err_msg=str(warper))
