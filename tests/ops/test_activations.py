import math

import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from strategies import generators, leading_shapes, scales

from minillm import kernels
from minillm.ops.erf import erf
from minillm.ops.gelu import (
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    quick_gelu,
    quick_gelu_backward,
)
from minillm.ops.logistic import logistic, logistic_backward
from minillm.ops.mish import mish, mish_backward
from minillm.ops.piecewise import (
    hardswish,
    hardswish_backward,
    leaky_relu,
    leaky_relu_backward,
    relu2,
    relu2_backward,
    relu6,
    relu6_backward,
)
from minillm.ops.relu import relu, relu_backward
from minillm.ops.silu import silu, silu_backward
from minillm.ops.tanh import tanh, tanh_backward

PAIRS = [(relu, relu_backward), (gelu, gelu_backward), (gelu_tanh, gelu_tanh_backward),
         (quick_gelu, quick_gelu_backward), (silu, silu_backward), (tanh, tanh_backward),
         (logistic, logistic_backward), (mish, mish_backward), (relu2, relu2_backward),
         (relu6, relu6_backward), (leaky_relu, leaky_relu_backward),
         (hardswish, hardswish_backward)]
numbers = arrays(np.float64, st.integers(1, 20), elements=st.floats(-30, 30))


@pytest.mark.parametrize("forward, backward", PAIRS)
@given(rng=generators, shape=leading_shapes, scale=scales)
def test_gradients(forward, backward, rng, shape, scale):
    x = scale * rng.standard_normal((*shape, 3))
    for corner in (0, 6, -3, 3):  # of ReLU and its relatives: no derivative
        assume(np.abs(x - corner).min() > 1e-3)
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


@pytest.mark.parametrize("forward, x, y, dx", [
    (relu, 3, 3, 1), (relu, -3, 0, 0),
    (silu, 0, 0, 1 / 2), (silu, math.log(3), math.log(3) * 3 / 4, 3 / 4 + math.log(3) * 3 / 16),
    (tanh, math.log(2), 3 / 5, 16 / 25),  # (2 - 1/2) / (2 + 1/2)
    (logistic, math.log(3), 3 / 4, 3 / 16), (relu2, 3, 9, 6), (relu2, -3, 0, 0),
    (relu6, 5, 5, 1), (relu6, 7, 6, 0), (leaky_relu, -2, -0.02, 0.01), (leaky_relu, 2, 2, 1),
    (hardswish, 1, 2 / 3, 5 / 6), (hardswish, -4, 0, 0), (hardswish, 4, 4, 1),
    # exp(softplus(0)) = 2, so T = (2 - 1/2) / (2 + 1/2) = 3/5
    (mish, 0, 0, 3 / 5),
    (gelu, 0, 0, 1 / 2), (gelu_tanh, 0, 0, 1 / 2), (quick_gelu, 0, 0, 1 / 2),
    (quick_gelu, math.log(3) / 1.702, math.log(3) / 1.702 * 3 / 4,
     3 / 4 + math.log(3) * 3 / 16),
])
def test_examples_by_hand(forward, x, y, dx):
    backward = dict(PAIRS)[forward]
    result, cache = forward(np.array([x], float))
    np.testing.assert_allclose(result, [y], atol=1e-15)
    np.testing.assert_allclose(backward(np.ones(1), cache), [dx], rtol=1e-14)


@pytest.mark.parametrize("forward, backward", PAIRS)
@pytest.mark.parametrize("implementation", ["naive", "numpy", "c"])
def test_far_out_it_neither_overflows_nor_warns(implementation, forward, backward):
    x = np.array([-1e4, -200, 200, 1e4], np.float32)
    with kernels.use(implementation), np.errstate(over="raise", invalid="raise"):
        y, cache = forward(x)
        dx = backward(np.ones_like(x), cache)
    positive = np.maximum(x, 0)
    right, slope = {
        tanh: (np.sign(x), 0), logistic: (x > 0, 0), relu2: (positive**2, 2 * positive),
        relu6: (6 * (x > 0), 0), leaky_relu: (np.maximum(x, x / 100), np.where(x > 0, 1, 0.01)),
    }.get(forward, (positive, x > 0))
    np.testing.assert_allclose(y, right, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dx, slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("implementation", ["naive", "numpy", "c"])
def test_squared_relu_lets_nan_pass(implementation):
    x = np.array([np.nan, -np.inf, np.inf, -0.0], np.float32)
    with kernels.use(implementation):
        y, cache = relu2(x)
        dx = relu2_backward(np.ones_like(x), cache)
    np.testing.assert_array_equal(y, [np.nan, 0, np.inf, 0])
    np.testing.assert_array_equal(dx, [np.nan, 0, np.inf, 0])


@pytest.mark.parametrize("forward, backward", PAIRS)
def test_wants_floats(forward, backward):
    with pytest.raises(TypeError, match="^x has dtype int64"):
        forward(np.array([1]))
