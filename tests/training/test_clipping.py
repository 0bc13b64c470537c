import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.nn.module import Parameter
from minillm.training import clip_grad_norm


def parameters_with_gradients(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    parameters = [Parameter(np.zeros(s, np.float32)) for s in ((3, 4), (5,), (2, 1, 2))]
    for parameter in parameters:
        parameter.add_grad((scale * rng.normal(size=parameter.shape)).astype(np.float32))
    return parameters + [Parameter(np.zeros(7, np.float32))]  # one without a gradient


def all_gradients(parameters):
    return np.concatenate([p.grad.ravel() for p in parameters if p.grad is not None])


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3), max_norm=st.floats(1e-2, 1e2))
def test_norm_is_bounded_and_direction_kept(seed, scale, max_norm):
    parameters = parameters_with_gradients(seed, scale)
    before = all_gradients(parameters).astype(np.float64)
    norm = clip_grad_norm(parameters, max_norm)
    after = all_gradients(parameters)
    assert norm == pytest.approx(np.linalg.norm(before), rel=1e-5)
    assert np.linalg.norm(after) <= max_norm * (1 + 1e-5)
    np.testing.assert_allclose(after, before * min(1, max_norm / norm), rtol=1e-5)


def test_infinity_only_measures():
    parameters = parameters_with_gradients(0, scale=1e15)
    before = all_gradients(parameters).copy()
    assert clip_grad_norm(parameters, math.inf) > 1e15
    assert np.array_equal(all_gradients(parameters), before)


def test_a_huge_gradient_does_not_overflow():
    parameter = Parameter(np.zeros(2, np.float32))
    parameter.add_grad(np.full(2, 3e38, np.float32))  # its square is beyond float32
    norm = clip_grad_norm([parameter], 1.0)
    assert norm == pytest.approx(3e38 * math.sqrt(2))
    np.testing.assert_allclose(parameter.grad, math.sqrt(0.5), rtol=1e-5)


def test_gradients_that_are_not_finite_are_reported_not_spread():
    parameters = parameters_with_gradients(0)
    parameters[0].grad[0, 0] = np.nan
    before = parameters[1].grad.copy()
    assert math.isnan(clip_grad_norm(parameters, 0.1))
    assert np.array_equal(parameters[1].grad, before)


@pytest.mark.parametrize("max_norm", [0, -1, math.nan])
def test_max_norm_must_be_positive(max_norm):
    with pytest.raises(ValueError, match="max_norm"):
        clip_grad_norm(parameters_with_gradients(0), max_norm)
