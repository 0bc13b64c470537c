import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.ops.orthogonalize import QUINTIC, orthogonalize

shapes = st.sampled_from([(1, 1), (3, 3), (4, 7), (7, 4), (3, 11), (11, 2), (2, 3, 5), (2, 2, 3, 9)])


def with_singular_values(rng, n, m, values):
    U, V = (np.linalg.qr(rng.normal(size=(size, size)))[0] for size in (n, m))
    return U, V, (U[:, : len(values)] * values) @ V[:, : len(values)].T


@given(shape=shapes, seed=st.integers(0, 1000), steps=st.integers(0, 6))
def test_the_polynomial_acts_on_singular_values_alone(shape, seed, steps):
    G = np.random.default_rng(seed).normal(size=shape)
    U, S, Vt = np.linalg.svd(G, full_matrices=False)
    S = S / np.sqrt((S**2).sum(axis=-1, keepdims=True))
    a, b, c = QUINTIC
    for _ in range(steps):
        S = a * S + b * S**3 + c * S**5
    np.testing.assert_allclose(orthogonalize(G, steps), (U * S[..., None, :]) @ Vt, atol=1e-9)


@given(n=st.integers(1, 6), m=st.integers(1, 20), seed=st.integers(0, 1000),
       scale=st.floats(1e-6, 1e6))
def test_singular_values_come_near_1_for_any_scale(n, m, seed, scale):
    rng = np.random.default_rng(seed)
    U, V, G = with_singular_values(rng, n, m, rng.uniform(0.05, 1, min(n, m)))
    O = orthogonalize(scale * G)
    S = np.linalg.svd(O, compute_uv=False)
    assert 0.65 < S.min() and S.max() < 1.25
    k = min(n, m)  # and O has the directions of U Vᵀ
    np.testing.assert_allclose(np.sum(O * (U[:, :k] @ V[:, :k].T)), S.sum(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (3, 20), (20, 3), (2, 6, 6)])
def test_float32_is_float64_rounded(shape):
    G = np.random.default_rng(0).normal(size=shape)
    O = orthogonalize(G.astype(np.float32))
    assert O.dtype == np.float32
    np.testing.assert_allclose(O, orthogonalize(G), atol=1e-4)


def test_a_batch_is_its_matrices_and_zeros_stay_zeros():
    G = np.random.default_rng(1).normal(size=(3, 4, 9)).astype(np.float32)
    G[1] = 0
    O = orthogonalize(G)
    assert not O[1].any()
    for each, alone in zip(O, map(orthogonalize, G)):
        np.testing.assert_allclose(each, alone, atol=1e-6)


@pytest.mark.parametrize("G, message", [
    (np.ones(3), r"G has shape \(3,\), wanted \(\.\.\., n, m\)"),
])
def test_refusals(G, message):
    with pytest.raises(ValueError, match=message):
        orthogonalize(G)
