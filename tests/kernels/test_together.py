"""Kernels that take many arrays at once give bit for bit what one call for each gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm import kernels
from minillm.kernels import dispatch
from minillm.ops.adam import adam, adam_all
from minillm.ops.sum_of_squares import sum_of_squares, sums_of_squares

shapes = st.lists(st.sampled_from([(3,), (40, 33), (5000,), (2, 3, 4), (300, 400)]), max_size=6)
dtypes = st.sampled_from([np.float32, np.float64])
implementations = st.sampled_from(["numpy", "c"])
seeds = st.integers(0, 2**32 - 1)
RATES = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "grad_scale": 0.7}


def parts_of(shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    return [(*(rng.standard_normal(shape).astype(dtype) for _ in range(3)),
             rng.random(shape).astype(dtype), *rng.random(3).tolist()) for shape in shapes]


@given(shapes, dtypes, implementations, seeds)
def test_adam_of_all_is_adam_of_each(shapes, dtype, implementation, seed):
    with kernels.use(implementation):
        together, each = parts_of(shapes, dtype, seed), parts_of(shapes, dtype, seed)
        adam_all(together, 3, **RATES)
        for w, g, m, v, lr, l2, decay in each:
            adam(w, g, m, v, 3, lr, l2=l2, decay=decay, **RATES)
    for one, other in zip(together, each):
        assert all(np.array_equal(x, y) for x, y in zip(one, other))


def test_adam_of_all_runs_in_one_call_for_a_models_arrays_only():
    parts = parts_of([(3,), (40, 33)], np.float32, 0)
    fast = dispatch.registry["adam_all"].binding.fast
    assert fast(parts, 1, *RATES.values()) == ()
    w, *others = parts[0]
    assert fast([(np.ones((3, 2), np.float32)[:, 0], *others)], 1, *RATES.values()) is None
    assert fast([(w, w, *others[1:])], 1, *RATES.values()) is None
    with pytest.raises(ValueError, match="beta1 is 1.5"):
        adam_all(parts, 1, 1.5, 0.9, 1e-8)


@given(shapes, dtypes, implementations, seeds)
def test_squares_of_all_are_those_of_each(shapes, dtype, implementation, seed):
    arrays = [part[0] for part in parts_of(shapes, dtype, seed)]
    with kernels.use(implementation):
        assert sums_of_squares(arrays) == [sum_of_squares(array) for array in arrays]
