import numpy as np
from gradcheck import check_op
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from strategies import generators, leading_shapes, scales, sizes

from minillm.ops.softmax import log_softmax, log_softmax_backward, logsumexp, softmax, softmax_backward

numbers = arrays(np.float64, array_shapes(max_dims=3), elements=st.floats(-1e3, 1e3))


@given(generators, leading_shapes, sizes, scales)
def test_gradients(rng, leading, n, scale):
    arrays = {"x": scale * rng.standard_normal((*leading, n))}
    check_op(softmax, softmax_backward, arrays, rng)
    check_op(log_softmax, log_softmax_backward, arrays, rng)


@given(numbers)
def test_is_a_distribution(x):
    p, _ = softmax(x)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=-1), 1)


@given(numbers, st.floats(-1e3, 1e3))
def test_does_not_see_a_shift(x, shift):
    np.testing.assert_allclose(softmax(x + shift)[0], softmax(x)[0], rtol=1e-9, atol=1e-12)


@given(numbers)
def test_log_softmax_is_the_logarithm(x):
    log_p, _ = log_softmax(x)
    np.testing.assert_allclose(np.exp(log_p), softmax(x)[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(logsumexp(log_p), 0, atol=1e-9)


@given(generators, leading_shapes, sizes)
def test_gradients_of_a_row_sum_to_zero(rng, leading, n):
    x = rng.standard_normal((*leading, n))
    p, cache = softmax(x)
    dx = softmax_backward(rng.standard_normal(p.shape), cache)
    np.testing.assert_allclose(dx.sum(axis=-1), 0, atol=1e-12)


def test_minus_infinity_is_never_chosen():
    x = np.array([[0.0, -np.inf, 0.0], [-np.inf, -np.inf, -np.inf]])
    p, cache = softmax(x)
    np.testing.assert_array_equal(p, [[0.5, 0, 0.5], [0, 0, 0]])
    dx = softmax_backward(np.array([[1.0, 2.0, 3.0]] * 2), cache)
    np.testing.assert_array_equal(dx, [[-0.5, 0, 0.5], [0, 0, 0]])


def test_large_numbers_do_not_overflow():
    np.testing.assert_array_equal(softmax(np.array([1e30, 0, -1e30], np.float32))[0], [1, 0, 0])
    assert logsumexp(np.array([1e30, 1.0])) == 1e30


def test_an_example_by_hand():
    """exp(0) = 1 and exp(log 3) = 3, of 4."""
    x = np.array([0.0, np.log(3)])
    p, cache = softmax(x)
    np.testing.assert_allclose(p, [1 / 4, 3 / 4])
    np.testing.assert_allclose(softmax_backward(np.array([1.0, 0.0]), cache), [3 / 16, -3 / 16])
    log_p, cache = log_softmax(x)
    np.testing.assert_allclose(log_p, [-np.log(4), np.log(3 / 4)])
    np.testing.assert_allclose(log_softmax_backward(np.array([1.0, 0.0]), cache), [3 / 4, -3 / 4])
    np.testing.assert_allclose(logsumexp(x), [np.log(4)])
