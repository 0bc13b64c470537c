import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.nn.module import Parameter
from minillm.training import clip_factor, grad_norm


def parameters_with_gradients(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    parameters = [Parameter(np.zeros(s, np.float32)) for s in ((3, 4), (5,), (2, 1, 2))]
    for parameter in parameters:
        parameter.add_grad((scale * rng.normal(size=parameter.shape)).astype(np.float32))
    return parameters + [Parameter(np.zeros(7, np.float32))]  # one without a gradient


def all_gradients(parameters):
    return np.concatenate([p.grad.ravel() for p in parameters if p.grad is not None])


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_the_norm_is_that_of_all_gradients_in_one_vector(seed, scale):
    parameters = parameters_with_gradients(seed, scale)
    gradients = all_gradients(parameters).astype(np.float64)
    assert grad_norm(iter(parameters)) == pytest.approx(np.linalg.norm(gradients), rel=1e-6)


@given(norm=st.floats(0, 1e30), max_norm=st.floats(1e-3, 1e3))
def test_the_factor_bounds_the_norm_and_makes_nothing_larger(norm, max_norm):
    factor = clip_factor(norm, max_norm)
    assert 0 < factor <= 1
    assert factor * norm <= max_norm * (1 + 1e-12)
    assert factor == 1 or factor * norm == pytest.approx(max_norm)


def test_infinity_only_measures():
    assert clip_factor(1e30, math.inf) == 1


def test_a_huge_gradient_does_not_overflow():
    parameter = Parameter(np.zeros(2, np.float32))
    parameter.add_grad(np.full(2, 3e38, np.float32))  # its square is beyond float32
    assert grad_norm([parameter]) == pytest.approx(3e38 * math.sqrt(2))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_gradients_that_are_not_finite_are_reported_not_spread(value):
    parameters = parameters_with_gradients(0)
    parameters[0].grad[0, 0] = value
    norm = grad_norm(parameters)
    assert not math.isfinite(norm)
    assert clip_factor(norm, 0.1) == 1  # the others would become nan or 0


@pytest.mark.parametrize("max_norm", [0, -1, math.nan])
def test_max_norm_must_be_positive(max_norm):
    with pytest.raises(ValueError, match="max_norm"):
        clip_factor(1.0, max_norm)
