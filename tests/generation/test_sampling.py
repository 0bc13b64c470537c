import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.generation.sampling import greedy, highest, sample, sample_without_replacement
from minillm.ops.softmax import softmax

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def test_frequencies_are_the_probabilities():
    scores = np.array([[1.0, -np.inf, 0.0, 2.0, -1.0]], np.float32)
    expected, _ = softmax(scores[0])
    n = 20_000
    drawn = sample(np.repeat(scores, n, axis=0), np.random.default_rng(0))
    frequencies = np.bincount(drawn, minlength=5) / n
    # Five standard deviations of a frequency; what has probability 0 never comes.
    assert (np.abs(frequencies - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)).all()


@given(generators, st.floats(0, 1, exclude_max=True))
def test_every_uniform_number_gives_a_possible_token(rng, u):
    class Fixed:
        def random(self, n):
            return np.full(n, u)

    scores = rng.standard_normal((3, 8)).astype(np.float32) * 30
    scores[rng.random((3, 8)) < 0.5] = -np.inf
    scores[:, rng.integers(8)] = 0
    tokens = sample(scores, Fixed())
    p, _ = softmax(scores.astype(np.float64))
    for row, token in enumerate(tokens):
        assert p[row, token] > 0
        # u lies in the token's piece of the interval from 0 to 1.
        end = p[row, : token + 1].sum()
        start = end - p[row, token]
        assert start - 1e-6 <= u <= end + 1e-6


@given(generators)
def test_greedy_is_the_limit_of_sampling_at_temperature_zero(rng):
    scores = rng.standard_normal((4, 10))
    np.testing.assert_array_equal(greedy(scores), sample(scores * 1e6, rng))
    np.testing.assert_array_equal(greedy(scores), [highest(row, 1)[0] for row in scores])


@given(generators, st.integers(1, 12))
def test_highest_is_the_start_of_the_sorted_order(rng, k):
    scores = rng.standard_normal(10)
    np.testing.assert_array_equal(highest(scores, k), np.argsort(-scores)[:k])


def test_drawing_without_replacement_is_drawing_from_what_is_left():
    p = np.array([0.5, 0.3, 0.2])
    rng, n = np.random.default_rng(1), 20_000
    drawn = [tuple(sample_without_replacement(np.log(p), 2, rng)) for _ in range(n)]
    for first in range(3):
        for second in range(3):
            expected = p[first] * p[second] / (1 - p[first]) if first != second else 0
            deviation = np.sqrt(expected * (1 - expected) / n)
            assert abs(drawn.count((first, second)) / n - expected) <= 5 * deviation


@pytest.mark.parametrize(
    "choose", [greedy, lambda scores: sample(scores, np.random.default_rng(0))])
def test_no_choice_is_an_error(choose):
    with pytest.raises(ValueError, match="every token is excluded"):
        choose(np.array([[1.0, 2.0], [-np.inf, -np.inf]]))
    with pytest.raises(ValueError, match="NaN"):
        choose(np.array([[1.0, np.nan]]))


@given(generators, st.integers(1, 30))
def test_of_equal_scores_the_first_are_the_highest(rng, k):
    scores = rng.integers(0, 4, 30).astype(np.float32)
    scores[rng.random(30) < 0.2] = -np.inf
    expected = sorted(range(30), key=lambda index: (-scores[index], index))
    assert highest(scores, k).tolist() == expected[:k]
