import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.ops.rotary import rotary_frequencies
from minillm.ops.rotary_scaling import (
    dynamic_base,
    linear_scaling,
    llama3_scaling,
    yarn_amplitude,
    yarn_scaling,
)

bases = st.floats(10, 1e6)
dims = st.integers(2, 40).map(lambda n: 2 * n)
factors = st.floats(1, 16)
lengths = st.integers(8, 5000)


def turns(theta, N):
    return N * theta / (2 * math.pi)


@given(bases, dims, factors, lengths)
def test_fast_pairs_stay_and_slow_pairs_slow_down(base, D, factor, N):
    theta = rotary_frequencies(D, base)
    for scaled, low, high in (
        (llama3_scaling(theta, factor, 1.0, 4.0, N), 1.0, 4.0),
        (yarn_scaling(theta, base, factor, N, truncate=False), 1.0, 32.0),
    ):
        assert (scaled <= theta * (1 + 1e-12)).all()
        assert (scaled >= theta / factor * (1 - 1e-12)).all()
        fast, slow = turns(theta, N) > high * 1.001, turns(theta, N) < low / 1.001
        np.testing.assert_allclose(scaled[fast], theta[fast])
        if base**((D - 2) / D) < base * 0.99:
            np.testing.assert_allclose(scaled[slow], theta[slow] / factor, rtol=1e-2)
    np.testing.assert_allclose(linear_scaling(theta, factor), theta / factor)


@given(bases, dims, lengths)
def test_a_factor_of_one_changes_nothing(base, D, N):
    theta = rotary_frequencies(D, base)
    for scaled in (linear_scaling(theta, 1.0), llama3_scaling(theta, 1.0, 1.0, 4.0, N),
                   yarn_scaling(theta, base, 1.0, N)):
        np.testing.assert_allclose(scaled, theta)
    assert yarn_amplitude(1.0) == 1 and yarn_amplitude(math.e) == pytest.approx(1.1)


@given(bases, dims, factors, lengths)
def test_the_dynamic_base_grows_with_the_length(base, D, factor, N):
    assert dynamic_base(base, D, factor, N, 1) == dynamic_base(base, D, factor, N, N)
    assert dynamic_base(base, D, factor, N, N) == pytest.approx(base)
    assert dynamic_base(base, D, factor, N, 2 * N) > base
    # At twice the length and a factor of 1 the slowest pair turns at half the speed.
    doubled = rotary_frequencies(D, dynamic_base(base, D, 1.0, N, 2 * N))
    slowest = rotary_frequencies(D, base)[-1]
    np.testing.assert_allclose(doubled[-1], slowest / 2)


def test_float32_rounds_each_step():
    theta = rotary_frequencies(64, 5e5, np.float32)
    assert theta.dtype == np.float32
    np.testing.assert_allclose(theta, rotary_frequencies(64, 5e5), rtol=3e-7)
