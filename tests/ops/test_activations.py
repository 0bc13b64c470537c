import math

import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from strategies import generators, leading_shapes, scales

from minillm.ops.erf import erf
from minillm.ops.gelu import gelu, gelu_backward, gelu_tanh, gelu_tanh_backward
from minillm.ops.relu import relu, relu_backward

PAIRS = [(relu, relu_backward), (gelu, gelu_backward), (gelu_tanh, gelu_tanh_backward)]
numbers = arrays(np.float64, st.integers(1, 20), elements=st.floats(-30, 30))


@pytest.mark.parametrize("forward, backward", PAIRS)
@given(rng=generators, shape=leading_shapes, scale=scales)
def test_gradients(forward, backward, rng, shape, scale):
    x = scale * rng.standard_normal((*shape, 3))
    assume(np.abs(x).min() > 1e-3)  # ReLU has no slope at 0
    check_op(forward, backward, {"x": x}, rng)


@given(numbers)
def test_relu_is_the_positive_part(x):
    y, _ = relu(x)
    np.testing.assert_array_equal(y - relu(-x)[0], x)
    assert (y >= 0).all()


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 4e-7), (np.float64, 1e-14)])
@given(x=arrays(np.float32, 20, elements=st.floats(-40, 40, width=32)))
def test_erf_is_that_of_the_standard_library(dtype, tolerance, x):
    y = erf(x.astype(dtype))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, [math.erf(number) for number in x], rtol=0, atol=tolerance)


def test_erf_at_the_ends_of_its_polynomial():
    x = np.array([-np.inf, -6.0, -0.0, 0.0, np.nextafter(6.0, 7.0), 6.0, np.inf])
    np.testing.assert_allclose(erf(x), [-1, -1, 0, 0, 1, 1, 1], atol=1e-14)
    assert np.isnan(erf(np.array([np.nan]))).all()


@given(numbers)
def test_gelu_is_x_times_the_normal_distribution(x):
    y, _ = gelu(x)
    wanted = [number * 0.5 * math.erfc(-number / math.sqrt(2)) for number in x]
    np.testing.assert_allclose(y, wanted, atol=1e-12)


@pytest.mark.parametrize("function", [gelu, gelu_tanh])
@given(x=numbers)
def test_gelu_minus_its_mirror_image_is_x(function, x):
    np.testing.assert_allclose(function(x)[0] - function(-x)[0], x, atol=1e-12)


@given(numbers)
def test_the_tanh_form_is_near_the_exact_one(x):
    np.testing.assert_allclose(gelu_tanh(x)[0], gelu(x)[0], atol=5e-4)


def test_gelu_wants_floats():
    for function in (gelu, gelu_tanh):
        with pytest.raises(TypeError, match="^x has dtype int64"):
            function(np.array([1]))
