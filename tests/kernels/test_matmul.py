"""matmul: naive == NumPy == C, for every variant, layout and edge."""

import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from views import copied, inside, spoiled

from minillm import kernels
from minillm.ops.matmul import matmul

IMPLEMENTATIONS = ["naive", "numpy", "c"]

# Small sizes, primes, and sizes around those of tiles (4 … 48).
sizes = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40,
                         47, 48, 49])
variants = st.fixed_dictionaries(
    {"transpose_A": st.booleans(), "transpose_B": st.booleans(), "accumulate": st.booleans()}
)
batches = st.sampled_from([(), (1,), (3,), (2, 2), (2, 0), (2, 1, 3)])


@pytest.fixture(autouse=True)
def _restore():
    name, threads = kernels.current(), kernels.get_num_threads()
    yield
    kernels.use(name)
    kernels.set_num_threads(threads)


def strided(rng, shape, layout, dtype=np.float32):
    """Random numbers of one shape in memory of different layouts."""
    *batch, rows, columns = shape
    if layout == "columns of a wider matrix":
        return rng.standard_normal((*batch, rows, columns + 5)).astype(dtype)[..., 2 : 2 + columns]
    if layout == "every second row":
        return rng.standard_normal((*batch, 2 * rows, columns)).astype(dtype)[..., ::2, :]
    if layout == "rows reversed":
        return rng.standard_normal(shape).astype(dtype)[..., ::-1, :]
    if layout == "heads":  # the batch axes lie between rows and columns
        last = len(batch)
        memory = rng.standard_normal((rows, *batch, columns)).astype(dtype)
        return np.moveaxis(memory, 0, last)
    if layout == "part of a longer batch axis" and batch:
        *outer, last = batch
        memory = rng.standard_normal((*outer, 2 * last + 1, rows, columns)).astype(dtype)
        return memory[..., :last, :, :]
    if layout == "batch axes exchanged" and batch:  # an axis of length 1 may lie between others
        memory = rng.standard_normal((batch[-1], *batch[:-1], rows, columns)).astype(dtype)
        return np.moveaxis(memory, 0, len(batch) - 1)
    if layout == "last axis not contiguous":
        return rng.standard_normal((*batch, columns, rows)).astype(dtype).swapaxes(-1, -2)
    return rng.standard_normal(shape).astype(dtype)


LAYOUTS = ["contiguous", "columns of a wider matrix", "every second row", "rows reversed", "heads",
           "part of a longer batch axis", "batch axes exchanged"]
layouts = st.sampled_from(LAYOUTS + ["last axis not contiguous"])


def operands(rng, batch, M, N, K, variant, layout_A="contiguous", layout_B="contiguous",
             batched_A=True, batched_B=True, dtype=np.float32):
    shape_A = (K, M) if variant["transpose_A"] else (M, K)
    shape_B = (N, K) if variant["transpose_B"] else (K, N)
    A = strided(rng, (batch if batched_A else ()) + shape_A, layout_A, dtype)
    B = strided(rng, (batch if batched_B else ()) + shape_B, layout_B, dtype)
    return A, B


@given(
    batch=batches, M=sizes, N=sizes, K=sizes, variant=variants, layout_A=layouts, layout_B=layouts,
    layout_out=st.sampled_from(LAYOUTS), who=st.sampled_from(["both", "A", "B"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_implementations_agree(
    batch, M, N, K, variant, layout_A, layout_B, layout_out, who, seed
):
    rng = np.random.default_rng(seed)
    A, B = operands(rng, batch, M, N, K, variant, layout_A, layout_B, who != "B", who != "A")
    start = strided(rng, batch + (M, N), layout_out)
    exact_A = A.astype(np.float64).swapaxes(-1, -2) if variant["transpose_A"] else A.astype(float)
    exact_B = B.astype(np.float64).swapaxes(-1, -2) if variant["transpose_B"] else B.astype(float)
    exact = exact_A @ exact_B + (start if variant["accumulate"] else 0)
    # The error of a sum of K products of size 1 is at most a few K units in the last place.
    bound = 1e-6 * (1 + np.abs(exact_A) @ np.abs(exact_B))
    names = IMPLEMENTATIONS if exact.size * max(K, 1) < 10_000 else ["numpy", "c"]
    for name in names:
        with kernels.use(name):
            out = _copy_with_layout(start)
            result = matmul(A, B, out, **variant)
            assert result is out
            assert np.all(np.abs(out - exact) <= bound), name
            if not variant["accumulate"]:
                fresh = matmul(A, B, **variant)
                assert fresh.shape == exact.shape and fresh.dtype == np.float32
                np.testing.assert_allclose(fresh, out, atol=1e-5)


@given(
    batch=batches, M=sizes, N=sizes, K=sizes, transpose_A=st.booleans(), transpose_B=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 2**32 - 1),
)
@example(batch=(), M=100, N=70, K=800, transpose_A=False, transpose_B=False, dtype=np.float32,
         seed=0)
@example(batch=(), M=3, N=70, K=100, transpose_A=False, transpose_B=True, dtype=np.float32, seed=0)
def test_bias_is_added_to_every_row(batch, M, N, K, transpose_A, transpose_B, dtype, seed):
    rng = np.random.default_rng(seed)
    variant = {"transpose_A": transpose_A, "transpose_B": transpose_B}
    A, B = operands(rng, batch, M, N, K, variant, dtype=dtype)
    bias = np.full(N + 50, np.nan, dtype)[2 : 2 + N]
    bias[:] = rng.standard_normal(N)
    for name in IMPLEMENTATIONS if M * N * K < 10_000 else ["numpy", "c"]:
        with kernels.use(name):
            without = matmul(A, B, **variant)
            out = np.full_like(without, np.nan)
            for result in (matmul(A, B, bias=bias, **variant),
                           matmul(A, B, out, bias=bias, **variant),
                           matmul(A, B, bias=np.repeat(bias, 2)[::2], **variant)):
                assert result.dtype == dtype
                np.testing.assert_allclose(result, without + bias, rtol=1e-5, atol=1e-5 * (1 + K))


def _copy_with_layout(array):
    """A copy with the same strides, so that `out` is a view of the same kind."""
    if array.size == 0:
        return array.copy()
    low, high = np.lib.array_utils.byte_bounds(array)
    memory = np.full((high - low) // 4, np.nan, np.float32)
    address = array.__array_interface__["data"][0]
    first = memory[(address - low) // 4 :]
    copy = np.lib.stride_tricks.as_strided(first, array.shape, array.strides)
    copy[...] = array
    return copy


@given(
    M=st.integers(1, 70), N=st.integers(1, 140), K=st.integers(1, 900), variant=variants,
    seed=st.integers(0, 2**32 - 1),
)
@example(M=200, N=70, K=769, seed=0,
         variant={"transpose_A": False, "transpose_B": True, "accumulate": True})
@example(M=33, N=4100, K=40, seed=0,
         variant={"transpose_A": True, "transpose_B": False, "accumulate": False})
@example(M=1, N=1, K=5000, seed=0,
         variant={"transpose_A": False, "transpose_B": True, "accumulate": True})
@example(M=2055, N=9, K=10, seed=0,
         variant={"transpose_A": True, "transpose_B": False, "accumulate": False})
@example(M=2055, N=9, K=10, seed=0,
         variant={"transpose_A": False, "transpose_B": False, "accumulate": True})
@example(M=30, N=799, K=400, seed=0,
         variant={"transpose_A": True, "transpose_B": False, "accumulate": False})
@example(M=30, N=799, K=400, seed=0,
         variant={"transpose_A": False, "transpose_B": True, "accumulate": False})
def test_larger_than_the_blocks(M, N, K, variant, seed):
    """Several tiles, and several blocks of K, in C; the tolerance is that of float32 sums."""
    rng = np.random.default_rng(seed)
    A, B = operands(rng, (), M, N, K, variant)
    out = rng.standard_normal((M, N)).astype(np.float32)
    exact_A = A.astype(float).T if variant["transpose_A"] else A.astype(float)
    exact_B = B.astype(float).T if variant["transpose_B"] else B.astype(float)
    exact = exact_A @ exact_B + (out if variant["accumulate"] else 0)
    kernels.set_num_threads(1)  # more of them would each have fewer blocks
    with kernels.use("c"):
        matmul(A, B, out, **variant)
    assert np.all(np.abs(out - exact) <= 1e-6 * (1 + np.abs(exact_A) @ np.abs(exact_B)))


@given(
    batch=st.sampled_from([(), (3,), (8,)]), M=st.sampled_from([1, 5, 64, 201]),
    N=st.sampled_from([1, 33, 257, 1030]), K=st.sampled_from([1, 64, 500]), variant=variants,
    seed=st.integers(0, 2**32 - 1),
)
@example(batch=(), M=1, N=5001, K=700, seed=0,
         variant={"transpose_A": False, "transpose_B": True, "accumulate": False})
@example(batch=(), M=1, N=5001, K=700, seed=0,
         variant={"transpose_A": False, "transpose_B": False, "accumulate": True})
@example(batch=(), M=521, N=523, K=541, seed=0,
         variant={"transpose_A": True, "transpose_B": True, "accumulate": True})
def test_bitwise_equal_for_any_number_of_threads(batch, M, N, K, variant, seed):
    rng = np.random.default_rng(seed)
    A, B = operands(rng, batch, M, N, K, variant)
    start = rng.standard_normal(batch + (M, N)).astype(np.float32)
    bias = None if variant["accumulate"] else rng.standard_normal(N).astype(np.float32)
    results = []
    with kernels.use("c"):
        for threads in (1, 2, 3, 7):
            kernels.set_num_threads(threads)
            results.append(matmul(A, B, start.copy(), bias=bias, **variant))
    for result in results[1:]:
        np.testing.assert_array_equal(result.view(np.int32), results[0].view(np.int32))


@given(
    M=st.integers(1, 40), N=st.integers(1, 70), K=st.integers(1, 50), variant=variants,
    batch=st.sampled_from([(), (2,)]), seed=st.integers(0, 2**32 - 1),
)
def test_nothing_is_written_outside_out(M, N, K, variant, batch, seed):
    """`out` is a window in a larger buffer: the rest of the buffer keeps its value."""
    rng = np.random.default_rng(seed)
    A, B = operands(rng, batch, M, N, K, variant)
    buffer = np.full(batch + (M + 4, N + 40), 7.5, np.float32)
    window = buffer[..., 2 : M + 2, 20 : N + 20]
    with kernels.use("c"):
        matmul(A, B, window, **variant)
    window[...] = 7.5
    assert np.all(buffer == 7.5)


@given(M=st.integers(1, 20), N=st.integers(1, 40), K=st.integers(1, 40), variant=variants)
def test_nan_outside_the_inputs_never_gets_in(M, N, K, variant):
    """The inputs are windows in buffers of NaN: no result may use what lies around them."""
    rng = np.random.default_rng(0)
    A, B = operands(rng, (), M, N, K, variant)
    windows = []
    for array in (A, B):
        buffer = np.full((array.shape[0] + 2, array.shape[1] + 16), np.nan, np.float32)
        window = buffer[1:-1, 8:-8]
        window[...] = array
        windows.append(window)
    out = np.zeros((M, N), np.float32)
    with kernels.use("c"):
        matmul(*windows, out, **variant)
    assert np.all(np.isfinite(out))


@given(variant=variants, M=sizes, N=sizes, K=sizes)
def test_float64_is_computed_in_float64(variant, M, N, K):
    rng = np.random.default_rng(0)
    A, B = operands(rng, (), M, N, K, variant, dtype=np.float64)
    start = rng.standard_normal((M, N))
    with kernels.use("c"):
        result = matmul(A, B, start.copy(), **variant)
    exact = (A.T if variant["transpose_A"] else A) @ (B.T if variant["transpose_B"] else B)
    exact = exact + (start if variant["accumulate"] else 0)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")  # NumPy's warning for inf - inf
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_infinity_and_nan_go_through(name):
    A = np.array([[np.inf, 1], [np.nan, 1], [1, 2], [-np.inf, np.inf]], np.float32)
    B = np.ones((2, 3), np.float32)
    with kernels.use(name):
        C = matmul(A, B)
    assert np.all(C[0] == np.inf) and np.all(np.isnan(C[1])) and np.all(C[2] == 3)
    assert np.all(np.isnan(C[3]))


large = st.sampled_from([17, 63, 64, 97, 128, 129, 160])


@given(M=large, N=large, K=st.sampled_from([1, 31, 33, 64, 385, 500]), variant=variants,
       spread=st.sampled_from([0, 3, 12]), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_large_products_are_as_exact_as_a_sum_in_float32(M, N, K, variant, spread, seed):
    """Where the chip multiplies in pieces of bfloat16 (csrc/amx.h), no digit may get lost. The
    numbers have up to 2 * spread orders of magnitude."""
    rng = np.random.default_rng(seed)
    A, B = operands(rng, (), M, N, K, variant)
    for array in (A, B):
        array *= (10 ** rng.uniform(-spread, spread, array.shape)).astype(np.float32)
    start = rng.standard_normal((M, N)).astype(np.float32)
    exact_A = (A.T if variant["transpose_A"] else A).astype(np.float64)
    exact_B = (B.T if variant["transpose_B"] else B).astype(np.float64)
    exact = exact_A @ exact_B + (start if variant["accumulate"] else 0)
    bound = (8 + K) * 2.0**-24 * (np.abs(start) + np.abs(exact_A) @ np.abs(exact_B))
    with kernels.use("c"):
        out = matmul(A, B, start.copy(), **variant)
    assert np.all(np.abs(out - exact) <= bound + 1e-37)


@pytest.mark.parametrize("N, K", [(64, 64), (64, 65), (128, 128), (48, 500), (512, 8)])
@pytest.mark.parametrize("options", [{}, {"transpose_A": True}, {"transpose_B": True}, {"bias": 1}])
def test_from_17_rows_on_the_rows_beside_it_do_not_change_a_row(N, K, options):
    rng = np.random.default_rng(0)
    A, B, bias = (rng.standard_normal(shape, np.float32) for shape in ((600, K), (K, N), N))
    if "bias" in options:
        options = {"bias": bias}
    if "transpose_B" in options:
        B = np.ascontiguousarray(B.T)
    with kernels.use("c"):
        few, more, many = (
            matmul(np.ascontiguousarray(A[:M].T) if "transpose_A" in options else A[:M], B, **options)
            for M in (17, 60, 600))
    assert np.array_equal(few, many[:17]) and np.array_equal(more, many[:60])


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")  # NumPy's, for inf - inf
@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan, 3e38, -1e30, 1e-40])
def test_special_numbers_in_large_products(special):
    """One special number changes its row or column as in NumPy, and nothing else."""
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal((150, 150)).astype(np.float32) for _ in range(2))
    for array in (A, B):
        changed = array.copy()
        changed[70, 33] = special
        left, right = (changed, B) if array is A else (A, changed)
        with kernels.use("c"):
            C, before = matmul(left, right), matmul(A, B)
        np.testing.assert_allclose(C, left @ right, rtol=1e-4, atol=1e-4)
        same = np.ones((150, 150), bool)
        same[(70, slice(None)) if array is A else (slice(None), 33)] = False
        np.testing.assert_allclose(C[same], before[same], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_out_may_hold_nan_when_it_is_overwritten(name):
    A, B = np.ones((2, 0), np.float32), np.ones((0, 3), np.float32)
    with kernels.use(name):
        out = matmul(A, B, np.full((2, 3), np.nan, np.float32))
        assert np.all(out == 0)
        out = matmul(A[:, :0], B, np.full((2, 3), 5, np.float32), accumulate=True)
        assert np.all(out == 5)
        one = matmul(np.ones((1, 4), np.float32), np.ones((4, 3), np.float32),
                             np.full((1, 3), np.nan, np.float32))
    assert np.all(one == 4)


def test_two_python_threads_at_once():
    rng = np.random.default_rng(0)
    problems = [
        (rng.standard_normal((90 + i, 200)).astype(np.float32),
         rng.standard_normal((200, 150)).astype(np.float32))
        for i in range(4)
    ]
    with kernels.use("c"):
        expected = [matmul(A, B) for A, B in problems]
        wrong = []

        def work(A, B, right):
            for _ in range(50):
                if not np.array_equal(matmul(A, B), right):
                    wrong.append(A.shape)

        workers = [
            threading.Thread(target=work, args=(A, B, right))
            for (A, B), right in zip(problems, expected)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert wrong == []


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@given(variant=variants, rng=st.integers(0, 2**32 - 1).map(np.random.default_rng),
       batch=st.sampled_from([(), (2,), (0,)]), has_out=st.booleans(), has_bias=st.booleans())
def test_any_argument_gives_the_right_result_or_an_error_that_names_it(
    name, variant, rng, batch, has_out, has_bias
):
    """Other layouts, types, sizes, and memory in common: see tests/helpers/views.py."""
    M, N, K = rng.integers(0, 6, 3)
    A, B = operands(rng, batch, M, N, K, variant)
    of = {"A": A, "B": B, "out": rng.standard_normal((*batch, M, N)).astype(np.float32),
          "bias": rng.standard_normal(N).astype(np.float32)}
    of = {key: array for key, array in of.items()
          if (key != "out" or has_out) and (key != "bias" or has_bias)}
    for key in rng.choice(list(of), rng.integers(1, 3)):
        if isinstance(of[key], np.ndarray):
            other = of[rng.choice(list(of))]
            if rng.random() < 0.3 and isinstance(other, np.ndarray):
                of[key] = inside(of[key], other, rng)
            else:
                of[key] = spoiled(of[key], rng)
    copies = dict(zip(of, copied(of.values())))
    wanted = None
    with np.errstate(all="ignore"):
        try:
            with kernels.use("numpy"):
                wanted = matmul(**copies, **variant)
        except (TypeError, ValueError):
            pass
        try:
            with kernels.use(name):
                C = matmul(**of, **variant)
        except (TypeError, ValueError) as error:
            assert str(error).startswith(("A", "B", "out", "bias")) and "\n" not in str(error)
        else:
            np.testing.assert_allclose(C, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_an_out_whose_rows_overlap_is_refused(name):
    out = np.lib.stride_tricks.as_strided(np.zeros(40, np.float32), (4, 6), (4, 4))
    with kernels.use(name), pytest.raises(ValueError, match="^out has strides"):
        matmul(np.ones((4, 3), np.float32), np.ones((3, 6), np.float32), out)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_long_axis_beside_an_empty_one(name):
    A, B = np.empty((2**40, 0, 3), np.float32), np.ones((3, 2), np.float32)
    with kernels.use(name):
        assert matmul(A, B).shape == (2**40, 0, 2)
