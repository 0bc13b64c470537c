import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators, leading_shapes, scales

from minillm.ops.layer_norm import layer_norm
from minillm.ops.rms_norm import rms_norm, rms_norm_backward

widths = st.integers(1, 9)


@given(generators, leading_shapes, widths, scales)
def test_gradients(rng, leading, d, scale):
    arrays = {"x": scale * rng.standard_normal((*leading, d)), "weight": rng.standard_normal(d)}
    check_op(lambda x, weight: rms_norm(x, weight, eps=1e-3), rms_norm_backward, arrays, rng)


@given(generators, leading_shapes, widths)
def test_the_mean_square_is_1(rng, leading, d):
    y, _ = rms_norm(0.1 + rng.random((*leading, d)), np.ones(d), eps=0)
    np.testing.assert_allclose((y**2).mean(axis=-1), 1)


@given(generators, leading_shapes, st.integers(2, 9))
def test_is_layer_norm_where_the_mean_is_0(rng, leading, d):
    x = rng.standard_normal((*leading, d))
    x -= x.mean(axis=-1, keepdims=True)
    wanted, _ = layer_norm(x, np.ones(d), np.zeros(d), eps=1e-6)
    np.testing.assert_allclose(rms_norm(x, np.ones(d), eps=1e-6)[0], wanted, atol=1e-9)


def test_an_example_by_hand():
    """x = 1, 7: the mean of 1 and 49 is 25, its root 5."""
    y, cache = rms_norm(np.array([1.0, 7.0]), np.array([10.0, 100.0]), eps=0)
    np.testing.assert_allclose(y, [10 * 1 / 5, 100 * 7 / 5])
    dx, dweight = rms_norm_backward(np.array([1.0, 0.0]), cache)
    np.testing.assert_allclose(dweight, [1 / 5, 0])
    # dx̂ = 10, 0; the mean of dx̂ x̂ is (10 / 5 + 0) / 2 = 1; dx = (dx̂ - x̂) / 5
    np.testing.assert_allclose(dx, [(10 - 1 / 5) / 5, (0 - 7 / 5) / 5])


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"^weight has shape \(3,\), wanted \(2,\)"):
        rms_norm(np.ones((4, 2)), np.ones(3))
    with pytest.raises(TypeError, match="^x has dtype int64"):
        rms_norm(np.ones((4, 2), int), np.ones(2))
    with pytest.raises(ValueError, match="^eps is -1.0"):
        rms_norm(np.ones((4, 2)), np.ones(2), eps=-1)
