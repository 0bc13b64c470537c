import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minillm.ops.positions import sinusoidal_positions


@given(st.integers(1, 300), st.integers(1, 33))
def test_is_the_formula(n_positions, d_model):
    table = sinusoidal_positions(n_positions, d_model, np.float64)
    assert table.shape == (n_positions, d_model)
    for position in (0, n_positions // 2, n_positions - 1):
        for column in range(d_model):
            angle = position / 10000 ** (2 * (column // 2) / d_model)
            wanted = math.cos(angle) if column % 2 else math.sin(angle)
            assert math.isclose(table[position, column], wanted, abs_tol=1e-12)


@given(st.integers(1, 50), st.integers(1, 16), st.integers(0, 40), st.integers(0, 40))
def test_dot_product_depends_only_on_the_distance(distance, half, first, second):
    table = sinusoidal_positions(100, 2 * half, np.float64)
    products = [table[start] @ table[start + distance] for start in (first, second)]
    assert math.isclose(*products, rel_tol=1e-9, abs_tol=1e-9)


def test_an_example_by_hand():
    """Position 1 of 4 columns: clock hands of 1 and of 1/100 radian per position."""
    table = sinusoidal_positions(2, 4, np.float64)
    assert table[0].tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(table[1], [np.sin(1), np.cos(1), np.sin(0.01), np.cos(0.01)])


@given(st.integers(1, 12), st.integers(1, 9))
def test_sines_before_cosines(n_positions, d_model):
    paper = sinusoidal_positions(n_positions, d_model)
    np.testing.assert_array_equal(
        sinusoidal_positions(n_positions, d_model, interleaved=False),
        np.concatenate([paper[:, 0::2], paper[:, 1::2]], axis=1))
