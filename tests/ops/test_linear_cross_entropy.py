import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import generators

from minillm import kernels
from minillm.ops.cross_entropy import cross_entropy, cross_entropy_backward
from minillm.ops.linear import linear, linear_backward
from minillm.ops.linear_cross_entropy import (
    SUMMED_ROWS,
    chunks_of,
    linear_cross_entropy,
    linear_cross_entropy_backward,
)


def make(rng, N, V, d, bias, dtype=np.float32):
    x, W = rng.standard_normal((N, d)).astype(dtype), rng.standard_normal((V, d)).astype(dtype)
    targets = rng.integers(V, size=N)
    targets[rng.random(N) < 0.1] = -100
    return x, W, rng.standard_normal(V).astype(dtype) if bias else None, targets


def at_once(x, W, b, targets, smoothing, dloss, dW=None):
    logits, cache = linear(x, W, b, transpose_W=True)
    loss, of_loss = cross_entropy(logits, targets, label_smoothing=smoothing)
    dlogits = cross_entropy_backward(dloss, of_loss)
    return loss, *linear_backward(dlogits, cache, dW=dW, accumulate=dW is not None)


def in_chunks(x, W, b, targets, smoothing, dloss, dW=None):
    loss, cache = linear_cross_entropy(x, W, b, targets, label_smoothing=smoothing, chunk=1)
    return loss, *linear_cross_entropy_backward(dloss, cache, dW=dW, accumulate=dW is not None)


@pytest.mark.skipif(kernels.c_library.why_missing() is not None, reason="needs the C extension")
@settings(max_examples=15, deadline=None)
@given(rng=generators, N=st.integers(1, 1300), V=st.integers(200, 300), d=st.integers(27, 64),
       bias=st.booleans(), smoothing=st.sampled_from([0.0, 0.1]), accumulate=st.booleans())
def test_chunks_give_the_same_numbers_bit_for_bit(rng, N, V, d, bias, smoothing, accumulate):
    arguments = (*make(rng, N, V, d, bias), smoothing, 0.37)
    dW = rng.standard_normal((V, d)).astype(np.float32) if accumulate else None
    with kernels.use("c"):
        expected = at_once(*arguments, None if dW is None else dW.copy())
        found = in_chunks(*arguments, dW)
    *found, db = found
    *expected, expected_db = expected
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)
    if bias and N <= SUMMED_ROWS:
        np.testing.assert_array_equal(db, expected_db)
    elif bias:  # each chunk is a sum of its own
        np.testing.assert_allclose(db, expected_db, rtol=1e-5, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(rng=generators, N=st.integers(0, 900), V=st.integers(1, 9), d=st.integers(1, 5),
       bias=st.booleans())
def test_the_formula_in_float64(rng, N, V, d, bias):
    arguments = (*make(rng, N, V, d, bias, np.float64), 0.1, 2.0)
    for one, other in zip(in_chunks(*arguments), at_once(*arguments)):
        if other is not None:
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


@given(N=st.integers(0, 5000), row_bytes=st.integers(1, 10**6), chunk=st.integers(1, 10**8))
def test_chunks_cover_all_rows_once(N, row_bytes, chunk):
    chunks = chunks_of(N, row_bytes, chunk)
    np.testing.assert_array_equal(np.concatenate([np.arange(N)[c] for c in chunks] or [[]]),
                                  np.arange(N))
    assert all(c.start % SUMMED_ROWS == 0 for c in chunks)
    if len(chunks) > 1:
        assert chunks[-1].stop - chunks[-1].start >= SUMMED_ROWS // 4


def test_the_matrix_of_logits_never_exists():
    N, V, d = 4000, 2000, 8
    x, W, _, targets = make(np.random.default_rng(0), N, V, d, False)
    tracemalloc.start()
    try:
        loss, cache = linear_cross_entropy(x, W, None, targets, chunk=1)
        linear_cross_entropy_backward(1.0, cache)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    chunk = max(c.stop - c.start for c in cache.chunks) * V * 4
    assert chunk < N * V * 4 / 8
    assert peak < 1.5 * chunk if kernels.current() == "c" else peak < N * V * 4 + 6 * chunk


def test_frozen_weights_get_no_gradient():
    x, W, b, targets = make(np.random.default_rng(0), 50, 7, 3, True)
    _, cache = linear_cross_entropy(x, W, b, targets)
    dx, dW, db = linear_cross_entropy_backward(1.0, cache, with_dW=False)
    assert dW is None and dx.shape == x.shape and db.shape == b.shape


@pytest.mark.parametrize("change, message", [
    ({"targets": np.zeros(4, int)}, "targets has shape"),
    ({"targets": np.full(5, 7)}, "targets"),
    ({"W": np.zeros((7, 2), np.float32)}, "W has shape"),
    ({"x": np.zeros((5, 3), int)}, "x has dtype"),
])
def test_wrong_arguments(change, message):
    x, W, b, targets = make(np.random.default_rng(0), 5, 7, 3, True)
    with pytest.raises((TypeError, ValueError), match=message):
        linear_cross_entropy(**{"x": x, "W": W, "b": b, "targets": targets, **change})
