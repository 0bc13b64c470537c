from contextlib import nullcontext

import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators, leading_shapes, sizes

from minillm import kernels
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


@pytest.mark.skipif(kernels.current() != "c", reason="the C extension isn't built")
@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 9, 40, 33), (130, 32, 96)])
@pytest.mark.parametrize("transpose_W", [False, True])
@pytest.mark.parametrize("options", [{}, {"accumulate": True}])
def test_one_call_of_c_gives_bit_for_bit_what_its_kernels_give(shape, transpose_W, options):
    rng = np.random.default_rng(0)
    *leading, d_in, d_out = shape
    x, W, b, dy = (rng.standard_normal(shape, np.float32) for shape in (
        (*leading, d_in), (d_out, d_in) if transpose_W else (d_in, d_out), d_out,
        (*leading, d_out)))
    names, results = [], []
    for dW in (np.ones_like(W), np.ones_like(W)):
        with kernels.observe(lambda name, *_: names.append(name)) if results else nullcontext():
            y, cache = linear(x, W, b, transpose_W=transpose_W)
            results.append((y, *cache, *linear_backward(dy, cache, dW=dW, **options)))
    assert names == ["matmul", "sum_rows", "matmul", "matmul"]
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other, strict=True)


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


def test_a_cache_that_does_not_fit_is_refused_before_c_reads_it():
    x, W = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    y, cache = linear(x, W)
    with pytest.raises(ValueError):
        linear_backward(y, cache._replace(x=np.ones((2, 1), np.float32)), dW=np.empty_like(W))


def test_an_example_by_hand():
    x, W, b = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([10.0, 20.0])
    y, cache = linear(x, W, b)
    assert y.tolist() == [[1 * 3 + 2 * 5 + 10, 1 * 4 + 2 * 6 + 20]]
    dx, dW, db = linear_backward(np.array([[1.0, 10.0]]), cache)
    assert dx.tolist() == [[1 * 3 + 10 * 4, 1 * 5 + 10 * 6]]
    assert dW.tolist() == [[1 * 1, 1 * 10], [2 * 1, 2 * 10]]
    assert db.tolist() == [1, 10]


def test_frozen_weights_get_no_gradient():
    x, W, b = np.ones((3, 2)), np.ones((2, 4)), np.ones(4)
    _, cache = linear(x, W, b)
    buffer = np.full((2, 4), 7.0)
    dx, dW, db = linear_backward(np.ones((3, 4)), cache, dW=buffer, with_dW=False)
    assert dx.tolist() == np.full((3, 2), 4).tolist() and dW is db is None
    assert (buffer == 7).all()


def test_the_rows_of_dy_are_counted_also_when_there_are_no_outputs():
    _, cache = linear(np.ones((3, 4), np.float32), np.ones((4, 0), np.float32))
    with pytest.raises(ValueError, match=r"^dy has shape \(2, 0\), wanted \(..., 0\) for the 3 rows"):
        linear_backward(np.ones((2, 0), np.float32), cache)
