import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators, leading_shapes, sizes

from minillm.ops.linear import linear, linear_backward


@given(generators, leading_shapes, sizes, sizes, st.booleans())
def test_gradients(rng, leading, d_in, d_out, transpose_W):
    arrays = {
        "x": rng.standard_normal((*leading, d_in)),
        "W": rng.standard_normal((d_out, d_in) if transpose_W else (d_in, d_out)),
        "b": rng.standard_normal(d_out),
    }
    check_op(lambda x, W, b: linear(x, W, b, transpose_W=transpose_W), linear_backward, arrays, rng)


@given(generators, leading_shapes, sizes, sizes)
def test_is_the_sum_over_inputs(rng, leading, d_in, d_out):
    x, W = rng.standard_normal((*leading, d_in)), rng.standard_normal((d_in, d_out))
    b = np.ones(d_out)
    y, _ = linear(x, W, b)
    for index in np.ndindex(*leading):
        for j in range(d_out):
            assert y[index][j] == pytest.approx(sum(x[index] * W[:, j]) + 1)
    without_bias, _ = linear(x, W)
    np.testing.assert_allclose(without_bias + 1, y)


@given(generators, sizes, sizes, sizes, st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_dW_goes_into_columns_of_a_buffer(rng, n, d_in, d_out, accumulate, dtype):
    x = rng.standard_normal((n, d_in)).astype(dtype)
    wide = rng.standard_normal((d_in, d_out + 4)).astype(dtype)
    dy = rng.standard_normal((n, d_out)).astype(dtype)
    _, cache = linear(x, wide[:, 2:-2])
    _, expected, _ = linear_backward(dy, cache)

    buffer = rng.standard_normal(wide.shape).astype(dtype)
    before = buffer.copy()
    linear_backward(dy, cache, dW=buffer[:, 2:-2], accumulate=accumulate)
    added = before[:, 2:-2] if accumulate else 0
    np.testing.assert_allclose(buffer[:, 2:-2], expected + added, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(buffer[:, [0, 1, -2, -1]], before[:, [0, 1, -2, -1]])


def test_errors_name_the_argument():
    W = np.ones((3, 4))
    with pytest.raises(ValueError, match=r"^x has shape \(2, 4\), wanted \(\.\.\., 3\)"):
        linear(np.ones((2, 4)), W)
    with pytest.raises(ValueError, match="^b has shape"):
        linear(np.ones((2, 3)), W, np.ones(3))
    with pytest.raises(TypeError, match="^x has dtype int64"):
        linear(np.ones((2, 3), np.int64), W)
    with pytest.raises(TypeError):
        linear(np.ones((2, 3), np.float32), W)
