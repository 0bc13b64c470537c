"""Weights in bfloat16, int8 and int4: their rounding, and the product with them: naive == NumPy == C."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from views import copied, spoiled

from minillm import kernels
from minillm.kernels import c_library
from minillm.ops.matmul import matmul
from minillm.ops.quantized import (
    LARGEST_STEP,
    dequantize,
    from_bfloat16,
    quantized_matmul,
    to_bfloat16,
    to_int4,
    to_int8,
)

every_implementation = pytest.mark.parametrize("name", ["naive", "numpy", "c"])
every_type = pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4"])
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def stored(W, dtype):
    """-> weights, scale"""
    if dtype == "int8":
        return to_int8(W)
    if dtype == "int4":
        return to_int4(W)
    return (to_bfloat16(W) if dtype == "bfloat16" else W), None


# ------------------------------------------------------------------ rounding


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
@example([0.0, -0.0, np.inf, -np.inf, np.nan, 3.4028235e38, 1e-45])
def test_bfloat16_is_the_nearest_number_of_8_bits(numbers):
    x = np.array(numbers, np.float32)
    y = from_bfloat16(to_bfloat16(x))
    assert np.array_equal(np.isnan(x), np.isnan(y))
    x, y = x[~np.isnan(x)].astype(float), y[~np.isnan(y)].astype(float)
    assert np.array_equal(np.signbit(x), np.signbit(y))
    finite = np.isfinite(x) & np.isfinite(y)
    # Half a unit in the last place; below 2^-126 it is that of the numbers just above.
    bound = 2.0**-9 * np.maximum(2.0 ** np.ceil(np.log2(np.abs(x[finite]) + 1e-300)), 2.0**-125)
    assert np.all(np.abs(x[finite] - y[finite]) <= bound)
    assert np.all(np.abs(x[~finite]) > 3.38e38)  # only numbers beyond the largest become infinite


@given(st.integers(0, 2**16 - 1))
def test_every_bfloat16_is_stored_as_itself(bits):
    bits = np.array([bits], np.uint16)
    x = from_bfloat16(bits)
    assert np.array_equal(to_bfloat16(x), bits) or np.isnan(x).all()


def test_ties_go_to_even():
    ones = np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32)  # half way up
    assert to_bfloat16(ones).tolist() == [0x3F80, 0x3F82]


@given(rng=generators, N=st.integers(1, 5), K=st.integers(1, 9),
       size=st.sampled_from([1e-30, 1.0, 1e30]))
def test_int8_is_off_by_half_a_scale_at_most(rng, N, K, size):
    W = (size * rng.standard_normal((N, K))).astype(np.float32)
    q, scale = to_int8(W)
    assert q.dtype == np.int8 and q.flags.c_contiguous and q.min() >= -127
    assert np.all(np.abs(q).max(axis=1) == 127)  # the largest weight of each row uses the range
    error = np.abs(dequantize(q, scale).astype(float) - W)
    assert np.all(error <= (0.5 + 1e-4) * scale[:, None])


def test_int8_of_rows_of_zeros_and_of_no_columns():
    assert dequantize(*to_int8(np.zeros((2, 3), np.float32))).tolist() == [[0] * 3] * 2
    assert to_int8(np.ones((2, 0), np.float32))[0].shape == (2, 0)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("store", [to_int8, to_int4])
def test_infinite_weights_are_an_error(store, wrong):
    with pytest.raises(ValueError, match="W has infinite or NaN weights"):
        store(np.array([[1, wrong]], np.float32))


@given(rng=generators, N=st.integers(1, 4), K=st.sampled_from([1, 31, 32, 33, 80]),
       size=st.sampled_from([1e-30, 1.0, 1e30]))
def test_int4_is_better_than_rounding_by_the_largest_weight(rng, N, K, size):
    """Also with the scale in bfloat16, which is off by 2⁻⁸ at most."""
    W = (size * rng.standard_normal((N, K))).astype(np.float32)
    packed, scale = to_int4(W)
    groups = -(-K // 32)
    assert packed.dtype == np.uint8 and packed.shape == (N, 16 * groups)
    assert scale.dtype == np.uint16 and scale.shape == (N, groups)
    stored_W = dequantize(packed, scale, K)
    assert stored_W.shape == W.shape
    for g in range(groups):
        w = W[:, 32 * g : 32 * g + 32].astype(float)
        m = np.take_along_axis(w, np.abs(w).argmax(axis=1)[:, None], axis=1)
        s = -m / 8
        plain = s * np.clip(np.rint(w / s), -8, 7)
        error = np.square(stored_W[:, 32 * g : 32 * g + 32] - w).sum(axis=1)
        assert np.all(error <= np.square(plain - w).sum(axis=1) + 2.0**-15 * (w * w).sum(axis=1))


def test_int4_is_nearly_as_good_as_the_best_of_all_scales():
    w = np.random.default_rng(0).standard_normal((200, 32))
    found = dequantize(*to_int4(w.astype(np.float32)), 32)
    m = np.take_along_axis(w, np.abs(w).argmax(axis=1)[:, None], axis=1)
    least = np.full(200, np.inf)
    for sign in (1, -1):
        for start in np.linspace(5, 12, 400):
            s = sign * m / start
            error = np.square(s * np.clip(np.rint(w / s), -8, 7) - w).sum(axis=1)
            least = np.minimum(least, error)
    assert np.square(found - w).sum() <= 1.05 * least.sum()


def test_int4_stores_its_own_numbers_exactly():
    rng = np.random.default_rng(0)
    q = rng.integers(-8, 8, (3, 2, 32))
    q[..., 5] = -8
    W = (q * 2.0 ** rng.integers(-9, 9, (3, 2, 1))).reshape(3, 64).astype(np.float32)
    assert np.array_equal(dequantize(*to_int4(W), 64), W)
    zeros = np.zeros((2, 40), np.float32)
    assert np.array_equal(dequantize(*to_int4(zeros), 40), zeros)


# ------------------------------------------------------------------ the product


@every_implementation
@every_type
@given(rng=generators, M=st.integers(0, 10), N=st.integers(1, 9),
       K=st.sampled_from([0, 1, 3, 16, 31, 64, 67, 130, 256]), has_bias=st.booleans())
@example(rng=np.random.default_rng(0), M=5, N=70, K=200, has_bias=True)
@example(rng=np.random.default_rng(0), M=33, N=5, K=70, has_bias=True)
@example(rng=np.random.default_rng(0), M=17, N=515, K=3, has_bias=True)
def test_the_product_is_that_with_the_numbers_stored(name, dtype, rng, M, N, K, has_bias):
    x = rng.standard_normal((M, K)).astype(np.float32)
    weights, scale = stored(rng.standard_normal((N, K)).astype(np.float32), dtype)
    bias = rng.standard_normal(N).astype(np.float32) if has_bias else None
    with kernels.use(name):
        y = quantized_matmul(x, weights, scale, bias)
    W = dequantize(weights, scale, K).astype(float)
    exact = x.astype(float) @ W.T + (0 if bias is None else bias)
    bound = 1e-5 * (1 + np.abs(x).astype(float) @ np.abs(W).T)
    assert y.dtype == np.float32 and y.shape == (M, N)
    assert np.all(np.abs(y - exact) <= bound)


def test_python_and_c_agree_on_the_largest_step():
    assert c_library.lib.MINILLM_STEP_ROWS == LARGEST_STEP


@every_implementation
def test_leading_axes_views_and_float64(name):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 10)).astype(np.float32)[:, ::2, ::2]
    weights, scale = to_int8(rng.standard_normal((4, 5)).astype(np.float32))
    with kernels.use(name):
        y = quantized_matmul(x, weights[::-1], scale[::-1])
        double = quantized_matmul(x.astype(float), weights[::-1], scale[::-1])
    assert y.shape == (2, 2, 4) and double.dtype == np.float64
    assert np.allclose(y, x @ dequantize(weights, scale)[::-1].T, atol=1e-6)
    assert np.allclose(y, double, atol=1e-6)


@every_implementation
@every_type
@pytest.mark.parametrize("shape", [(2, 3, 0), (0,), (2, 0, 4), (0, 4)])
def test_nothing_to_multiply(name, dtype, shape):
    weights, scale = stored(np.ones((2, shape[-1]), np.float32), dtype)
    bias = np.array([1, 2], np.float32)
    with kernels.use(name):
        y = quantized_matmul(np.ones(shape, np.float32), weights, scale, bias)
    assert np.array_equal(y, np.broadcast_to(bias, (*shape[:-1], 2)))


@every_implementation
@every_type
def test_no_outputs(name, dtype):
    weights, scale = stored(np.ones((0, 100), np.float32), dtype)
    with kernels.use(name):
        assert quantized_matmul(np.ones((3, 100), np.float32), weights, scale).shape == (3, 0)


@every_implementation
def test_arrays_at_odd_addresses(name):
    """Arrays from the middle of a file may be misaligned; they are copied."""
    def odd(array):
        copy = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        copy[...] = array
        assert not copy.flags.aligned
        return copy

    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((3, 70)), rng.standard_normal((5, 70))
    x, W, bias = x.astype(np.float32), W.astype(np.float32), W[:, 0].astype(np.float32)
    q, scale = to_int8(W)
    with kernels.use(name):
        assert np.array_equal(quantized_matmul(odd(x), q, odd(scale), odd(bias)),
                              quantized_matmul(x, q, scale, bias))
        assert np.array_equal(quantized_matmul(x, odd(to_bfloat16(W)), None, bias),
                              quantized_matmul(x, to_bfloat16(W), None, bias))


@every_type
def test_the_same_bits_on_any_number_of_threads(dtype):
    before = kernels.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            kernels.set_num_threads(threads)
            for M in (1, 3, 8):
                x = np.random.default_rng(M).standard_normal((M, 379)).astype(np.float32)
                weights, scale = stored(
                    np.random.default_rng(9).standard_normal((700, 379)).astype(np.float32), dtype)
                plain = matmul(x, dequantize(weights, scale, 379).T.copy())
                results.append((quantized_matmul(x, weights, scale).tobytes(),
                                plain.tobytes()))
    finally:
        kernels.set_num_threads(before)
    assert results[:3] == results[3:6] == results[6:]


@every_implementation
def test_int8_products_do_not_overflow_before_the_scale(name):
    """3e38 * 100 is infinite in float32, 3e38 * (1e-4 * 100) isn't."""
    for M, K in [(1, 1), (1, 200), (3, 70), (8, 64)]:
        x = np.zeros((M, K), np.float32)
        x[:, -1] = x[:, 0] = 3e38 / (1 + (K > 1))
        q, scale = np.full((3, K), 100, np.int8), np.full(3, 1e-4, np.float32)
        with kernels.use(name):
            np.testing.assert_allclose(quantized_matmul(x, q, scale), 3e36, rtol=1e-5)


@every_implementation
def test_int4_products_do_not_overflow_before_the_scale(name):
    x = np.zeros((2, 128), np.float32)
    x[:, 64:66] = 3e38
    q, scale = np.full((3, 64), 0xFF, np.uint8), np.full((3, 4), to_bfloat16(np.float32(2**-9)))
    with kernels.use(name):
        np.testing.assert_allclose(quantized_matmul(x, q, scale), 6e38 * 7 * 2.0**-9, rtol=1e-5)


@every_implementation
@given(rng=generators)
def test_any_argument_gives_the_right_result_or_an_error_that_names_it(name, rng):
    M, N, K = rng.integers(0, 6, 3)
    weights, scale = stored(rng.standard_normal((N, K)).astype(np.float32),
                            rng.choice(["float32", "bfloat16", "int8", "int4"]))
    of = {"x": rng.standard_normal((M, K)).astype(np.float32), "weights": weights, "scale": scale,
          "bias": rng.standard_normal(N).astype(np.float32)}
    for key in rng.choice([key for key in of if of[key] is not None], 2):
        if isinstance(of[key], np.ndarray):
            of[key] = spoiled(of[key], rng)
    wanted = None
    copies = dict(zip(of, copied(of.values())))
    with np.errstate(all="ignore"):
        try:
            with kernels.use("numpy"):
                wanted = quantized_matmul(**copies)
        except (TypeError, ValueError):
            pass
        try:
            with kernels.use(name):
                y = quantized_matmul(**of)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(tuple(of)) and "\n" not in str(error)
        else:
            np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)


def test_a_long_axis_beside_an_empty_one():
    x, nothing = np.empty((2**40, 0), np.float32), np.empty((0, 0), np.float32)
    for name in ("naive", "numpy", "c"):
        with kernels.use(name):
            assert quantized_matmul(x, nothing).shape == (2**40, 0)


def f32(*shape):
    return np.ones(shape, np.float32)


I8, U16 = np.ones((4, 3), np.int8), np.ones((4, 3), np.uint16)
U8 = np.ones((4, 16), np.uint8)  # int4


@every_implementation
@pytest.mark.parametrize("arguments, error, message", [
    (([[1.0]], f32(1, 1)), TypeError, "x is a list"),
    ((f32(2, 3), None), TypeError, "weights is a NoneType"),
    ((np.ones((2, 3), int), f32(4, 3)), TypeError, "x has dtype int64"),
    ((f32(2, 3), np.ones((4, 3))), TypeError, "weights has dtype float64"),
    ((f32(2, 3), f32(3)), ValueError, r"weights has shape \(3,\)"),
    ((f32(2, 4), f32(4, 3)), ValueError, r"x has shape \(2, 4\), wanted \(..., 3\)"),
    ((f32(), f32(4, 3)), ValueError, r"x has shape \(\)"),
    ((f32(2, 3), I8), ValueError, "scale is None, wanted an array with weights of int8"),
    ((f32(2, 3), U16, f32(4)), ValueError, "scale is an array, wanted None with weights of uint16"),
    ((f32(2, 3), I8, f32(3)), ValueError, r"scale has shape \(3,\), wanted \(4,\)"),
    ((f32(2, 3), I8, np.ones(4)), TypeError, "scale has dtype float64"),
    ((f32(2, 33), U8), ValueError, r"x has shape \(2, 33\), wanted \(..., K from 1 to 32\)"),
    ((f32(2, 3), U8), ValueError, "scale is None, wanted an array with weights of uint8"),
    ((f32(2, 3), U8, U16[:, :2]), ValueError, r"scale has shape \(4, 2\), wanted \(4, 1\)"),
    ((f32(2, 3), U8, f32(4, 1)), TypeError, "scale has dtype float32, wanted uint16"),
    ((f32(2, 3), U16, None, f32(2)), ValueError, r"bias has shape \(2,\), wanted \(4,\)"),
    ((f32(2, 3), U16, None, np.ones(4)), TypeError, "bias has dtype float64, wanted float32"),
])
def test_bad_input_is_one_clear_line(name, arguments, error, message):
    with kernels.use(name), pytest.raises(error, match=message) as raised:
        quantized_matmul(*arguments)
    assert "\n" not in str(raised.value)
