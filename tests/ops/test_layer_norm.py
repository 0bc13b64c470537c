import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import generators, leading_shapes, scales

from minillm.ops.layer_norm import layer_norm, layer_norm_backward

widths = st.integers(1, 9)


@given(generators, leading_shapes, widths, scales)
def test_gradients(rng, leading, d, scale):
    arrays = {
        "x": scale * rng.standard_normal((*leading, d)),
        "weight": rng.standard_normal(d),
        "bias": rng.standard_normal(d),
    }
    check_op(
        lambda x, weight, bias: layer_norm(x, weight, bias, eps=1e-3), layer_norm_backward, arrays, rng
    )


def spread(rng, shape):
    """Rows with a variance so large that eps = 1e-12 has no effect."""
    x = rng.standard_normal(shape)
    assume(x.var(axis=-1).min(initial=1) > 1e-3)
    return x


def normalized(x):
    d = x.shape[-1]
    y, _ = layer_norm(x, np.ones(d, x.dtype), np.zeros(d, x.dtype), eps=1e-12)
    return y


@given(generators, leading_shapes, st.integers(2, 40), scales)
def test_mean_0_and_variance_1(rng, leading, d, scale):
    x = scale * rng.standard_normal((*leading, d)) + 3
    y = normalized(x)
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-10)
    shrunk_by_eps = x.var(axis=-1) / (x.var(axis=-1) + 1e-12)  # 1, unless all x are nearly equal
    np.testing.assert_allclose(y.var(axis=-1), shrunk_by_eps, rtol=1e-5)


@given(generators, leading_shapes, st.integers(2, 40), st.floats(-50, 50), st.floats(0.1, 50))
def test_does_not_see_shift_and_scale(rng, leading, d, shift, scale):
    x = spread(rng, (*leading, d))
    np.testing.assert_allclose(normalized(scale * x + shift), normalized(x), atol=1e-5)


@given(generators, leading_shapes, st.integers(2, 40))
def test_gradient_has_no_part_along_shift_and_scale(rng, leading, d):
    x = spread(rng, (*leading, d))
    y, cache = layer_norm(x, rng.standard_normal(d), np.zeros(d), eps=1e-12)
    dx, _, _ = layer_norm_backward(rng.standard_normal(y.shape), cache)
    np.testing.assert_allclose(dx.sum(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose((dx * x).sum(axis=-1), 0, atol=1e-5)


def test_a_constant_row_gives_the_bias():
    y, _ = layer_norm(np.full((2, 4), 7.0), np.ones(4), np.arange(4.0))
    np.testing.assert_array_equal(y, [np.arange(4.0)] * 2)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="^weight has shape"):
        layer_norm(np.ones((2, 4)), np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="^bias has shape"):
        layer_norm(np.ones((2, 4)), np.ones(4), np.ones(3))
    with pytest.raises(TypeError, match="^x has dtype"):
        layer_norm(np.ones((2, 4), np.int64), np.ones(4), np.ones(4))


def test_an_example_by_hand():
    """x = 1, 3: the mean is 2, the standard deviation 1, so x̂ = -1, 1."""
    y, cache = layer_norm(np.array([1.0, 3.0]), np.array([2.0, 5.0]), np.array([10.0, 20.0]), eps=0)
    assert y.tolist() == [2 * -1 + 10, 5 * 1 + 20]
    dx, dweight, dbias = layer_norm_backward(np.array([1.0, 1.0]), cache)
    assert dweight.tolist() == [-1, 1] and dbias.tolist() == [1, 1]
    assert dx.tolist() == [0, 0]  # two numbers always become -1 and 1
