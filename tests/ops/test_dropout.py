import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators, leading_shapes

from minillm.ops.dropout import dropout, dropout_backward

seeds = st.integers(0, 2**32 - 1)
probabilities = st.floats(0, 0.9)


@given(generators, seeds, leading_shapes, probabilities)
def test_gradients(rng, seed, shape, p):
    arrays = {"x": rng.standard_normal((*shape, 3))}
    check_op(lambda x: dropout(x, p, np.random.default_rng(seed)), dropout_backward, arrays, rng)


@given(seeds, probabilities)
def test_keeps_the_mean(seed, p):
    n = 20_000
    y, _ = dropout(np.ones(n, np.float32), p, np.random.default_rng(seed))
    standard_error = np.sqrt(p / (1 - p) / n)
    assert abs(y.mean(dtype=np.float64) - 1) <= 7 * standard_error + 1e-6
    assert set(np.unique(y)) <= {np.float32(0), np.float32(1 / (1 - p))}


@given(seeds, leading_shapes, probabilities)
def test_the_seed_decides(seed, shape, p):
    x = np.ones(shape, np.float32)
    first, _ = dropout(x, p, np.random.default_rng(seed))
    second, _ = dropout(x, p, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, second)


def test_another_seed_drops_others():
    x = np.ones(100)
    first, second = (dropout(x, 0.5, np.random.default_rng(seed))[0] for seed in (0, 1))
    assert (first != second).any()


def test_without_dropout_nothing_is_copied_and_nothing_drawn():
    x, rng = np.ones(3), np.random.default_rng(0)
    before = rng.bit_generator.state
    y, cache = dropout(x, 0.0, rng)
    assert y is x and dropout_backward(y, cache) is y
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_p_must_be_a_probability(p):
    with pytest.raises(ValueError, match="^p is "):
        dropout(np.ones(3), p, np.random.default_rng(0))


def test_an_example_by_hand():
    """The generator's first numbers are 0.85, 0.64 and 0.51; what is below p = 0.6 is dropped."""
    rng = np.random.default_rng(0)
    drawn = np.random.default_rng(0).random(3, dtype=np.float32)
    y, cache = dropout(np.array([1.0, 2.0, 3.0]), 0.6, rng)
    np.testing.assert_allclose(y, np.array([1, 2, 3]) * (drawn >= 0.6) / 0.4)
    np.testing.assert_allclose(dropout_backward(np.ones(3), cache), (drawn >= 0.6) / 0.4)
