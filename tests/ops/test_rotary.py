"""rotary: products depend on distances alone; lengths are kept; the backward rotates back."""

import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

from minillm.ops.rotary import rotary, rotary_angles, rotary_backward

pairings = pytest.mark.parametrize("interleaved", [False, True])


@st.composite
def cases(draw):
    """-> rng, x (B, H, T, D), cos, sin (T, r / 2) with r <= D"""
    rng = draw(generators)
    B, H, T, D = (draw(st.integers(1, high)) for high in (2, 3, 5, 9))
    r = 2 * draw(st.integers(1, max(1, D // 2)))
    D = max(D, r)
    start = draw(st.integers(0, 50))
    cos, sin = (table[start:] for table in rotary_angles(start + T, r, dtype=np.float64))
    return rng, rng.standard_normal((B, H, T, D)), cos, sin


def test_by_hand():
    """One position, turned by 90° and by 180°: (a, b) -> (-b, a) and (a, b) -> (-a, -b)."""
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0]).reshape(1, 1, 1, 5)  # the fifth is not turned
    cos, sin = np.array([[0.0, -1.0]]), np.array([[1.0, 0.0]])
    halves, _ = rotary(x, cos, sin)  # the pairs (1, 3) and (2, 4)
    np.testing.assert_array_equal(halves.ravel(), [-3, -2, 1, -4, 5])
    interleaved, _ = rotary(x, cos, sin, interleaved=True)  # the pairs (1, 2) and (3, 4)
    np.testing.assert_array_equal(interleaved.ravel(), [-2, 1, -3, -4, 5])


def test_angles_by_hand():
    """D = 4: the first pair turns by 1 radian per position, the second by 10000^(-1/2) = 0.01."""
    cos, sin = rotary_angles(3, 4, dtype=np.float64)
    angles = np.array([[0, 0], [1, 0.01], [2, 0.02]])
    np.testing.assert_allclose(cos, np.cos(angles), rtol=1e-15)
    np.testing.assert_allclose(sin, np.sin(angles), rtol=1e-15)
    assert rotary_angles(3, 4)[0].dtype == np.float32
    np.testing.assert_allclose(rotary_angles(2, 4, base=100.0, dtype=float)[1][1], np.sin([1, 0.1]))


@pairings
@given(
    D=st.sampled_from([2, 4, 6, 8]), m=st.integers(0, 40), n=st.integers(0, 40),
    shift=st.integers(0, 1000), rng=generators,
)
def test_only_the_distance_matters(interleaved, D, m, n, shift, rng):
    """<R_m q, R_n k> = <R_(m + s) q, R_(n + s) k>"""
    q, k = rng.standard_normal((2, 1, 1, 1, D))
    cos, sin = rotary_angles(1041, D, dtype=np.float64)

    def product(m, n):
        turned_q, _ = rotary(q, cos[m : m + 1], sin[m : m + 1], interleaved=interleaved)
        turned_k, _ = rotary(k, cos[n : n + 1], sin[n : n + 1], interleaved=interleaved)
        return np.sum(turned_q * turned_k)

    np.testing.assert_allclose(product(m + shift, n + shift), product(m, n), rtol=1e-9, atol=1e-9)


@pairings
@given(case=cases())
def test_lengths_stay_and_the_rest_is_not_turned(interleaved, case):
    _, x, cos, sin = case
    y, _ = rotary(x, cos, sin, interleaved=interleaved)
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), np.linalg.norm(x, axis=-1))
    np.testing.assert_array_equal(y[..., 2 * cos.shape[-1] :], x[..., 2 * cos.shape[-1] :])


@pairings
@given(case=cases())
def test_gradients(interleaved, case):
    rng, x, cos, sin = case
    check_op(lambda x: rotary(x, cos, sin, interleaved=interleaved), rotary_backward, {"x": x}, rng)


@given(cases())
def test_the_two_pairings_differ_by_a_permutation(case):
    _, x, cos, sin = case
    pairs = cos.shape[-1]
    order = [*range(0, 2 * pairs, 2), *range(1, 2 * pairs, 2), *range(2 * pairs, x.shape[-1])]
    interleaved, _ = rotary(x, cos, sin, interleaved=True)
    halves, _ = rotary(x[..., order], cos, sin)
    np.testing.assert_array_equal(halves, interleaved[..., order])


@given(cases())
def test_the_same_angles_for_each_sequence(case):
    """Angles with a batch axis serve sequences that start at different positions."""
    _, x, cos, sin = case
    each = [np.broadcast_to(table, (len(x), 1, *table.shape)) for table in (cos, sin)]
    np.testing.assert_array_equal(rotary(x, *each)[0], rotary(x, cos, sin)[0])


@given(cases())
def test_the_input_stays_and_the_layout_is_kept(case):
    """A view of a (B, T, H, D) buffer gives a result with the same memory layout."""
    _, x, cos, sin = case
    view = np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    view.flags.writeable = False
    y, _ = rotary(view, cos, sin)
    assert y.transpose(0, 2, 1, 3).flags.c_contiguous
    np.testing.assert_array_equal(view, x)


def test_errors_name_the_argument():
    x = np.ones((1, 2, 3, 4))
    cos = sin = np.ones((3, 2))
    with pytest.raises(ValueError, match="^D is 3, wanted an even number"):
        rotary_angles(5, 3)
    with pytest.raises(ValueError, match="^x has shape"):
        rotary(x[0], cos, sin)
    with pytest.raises(ValueError, match=r"^cos has shape \(2, 2\), wanted \(3, r / 2\)"):
        rotary(x, cos[:2], sin[:2])
    with pytest.raises(ValueError, match=r"^cos has shape \(3, 3\)"):
        rotary(x, np.ones((3, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="^sin has shape"):
        rotary(x, cos, sin[:, :1])
    with pytest.raises(TypeError, match="^cos has dtype float32, wanted float64"):
        rotary(x, cos.astype(np.float32), sin)
