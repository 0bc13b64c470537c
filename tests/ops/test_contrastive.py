"""Pooling, normalization and the contrastive loss: properties, gradients, PyTorch's numbers."""

from pathlib import Path

import numpy as np
import pytest
from gradcheck import check_gradients, check_op
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators, leading_shapes, scales, sizes

from minillm.ops.contrastive import contrastive, contrastive_backward
from minillm.ops.l2_normalize import l2_normalize, l2_normalize_backward
from minillm.ops.pooling import (
    mean_pooling,
    mean_pooling_backward,
    token_pooling,
    token_pooling_backward,
)

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "contrastive.npz")
POOLINGS = {
    "mean": (mean_pooling, mean_pooling_backward),
    "cls": (token_pooling, token_pooling_backward),
    "last": (lambda x, mask=None: token_pooling(x, mask, last=True), token_pooling_backward),
}


def random_mask(rng, B, T):
    """-> (B, T) with at least one token in each text, padding on either side"""
    lengths, mask = rng.integers(1, T + 1, B), np.zeros((B, T), np.int64)
    for row, n in enumerate(lengths):
        start = rng.integers(T - n + 1)
        mask[row, start : start + n] = 1
    return mask


# ---- pooling


@pytest.mark.parametrize("how", POOLINGS)
@given(rng=generators, B=sizes, T=sizes, d=sizes)
def test_gradients_of_pooling(how, rng, B, T, d):
    forward, backward = POOLINGS[how]
    mask = random_mask(rng, B, T)
    check_op(lambda x: forward(x, mask), backward, {"x": rng.standard_normal((B, T, d))}, rng)


@pytest.mark.parametrize("how", POOLINGS)
@given(rng=generators, B=sizes, T=sizes)
def test_pooling_is_that_of_the_text_alone_whatever_its_padding_holds(how, rng, B, T):
    forward, _ = POOLINGS[how]
    x, mask = rng.standard_normal((B, T, 3)), random_mask(rng, B, T)
    x[mask == 0] = 1e6
    y, _ = forward(x, mask)
    for row in range(B):
        alone, _ = forward(x[row][mask[row] == 1][None])
        np.testing.assert_allclose(y[row], alone[0], rtol=1e-12)


@given(rng=generators, T=sizes)
def test_the_mean_ignores_the_order_of_the_tokens(rng, T):
    x = rng.standard_normal((2, T, 3))
    np.testing.assert_allclose(mean_pooling(x[:, rng.permutation(T)])[0], mean_pooling(x)[0],
                               atol=1e-12)


def test_a_text_without_tokens_gives_zeros():
    y, cache = mean_pooling(np.ones((1, 2, 3), np.float32), np.zeros((1, 2)))
    assert not y.any() and not mean_pooling_backward(y + 1, cache).any()


def test_errors_of_pooling_name_the_argument():
    x = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=r"mask has shape \(3, 2\), wanted \(2, 3\)"):
        mean_pooling(x, np.ones((3, 2)))
    with pytest.raises(ValueError, match="mask contains numbers other than 0"):
        token_pooling(x, np.full((2, 3), 2))
    with pytest.raises(ValueError, match="x has shape"):
        mean_pooling(x[0])
    with pytest.raises(TypeError, match="x has dtype int64"):
        mean_pooling(np.zeros((2, 3, 4), np.int64))


# ---- normalization


@given(rng=generators, shape=leading_shapes, d=sizes, scale=scales)
def test_normalized_vectors_have_length_one_and_the_direction_of_x(rng, shape, d, scale):
    x = scale * rng.standard_normal((*shape, d))
    y, _ = l2_normalize(x)
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), 1)
    np.testing.assert_allclose(l2_normalize(7 * x)[0], y)
    np.testing.assert_allclose(y * np.linalg.norm(x, axis=-1, keepdims=True), x)


@given(rng=generators, shape=leading_shapes, d=sizes)
def test_gradients_of_normalization(rng, shape, d):
    x = rng.standard_normal((*shape, d))
    x += 0.3 * np.sign(x)  # away from 0, where the length has a kink
    check_op(l2_normalize, l2_normalize_backward, {"x": x}, rng)


@given(rng=generators, d=sizes)
def test_the_gradient_of_normalization_is_orthogonal_to_x(rng, d):
    x = rng.standard_normal((3, d))
    dx = l2_normalize_backward(rng.standard_normal((3, d)), l2_normalize(x)[1])
    np.testing.assert_allclose((x * dx).sum(axis=-1), 0, atol=1e-9)


def test_zeros_stay_zeros():
    y, _ = l2_normalize(np.zeros((2, 3), np.float32))
    assert not y.any()


# ---- the loss


@given(rng=generators, n=sizes, more=st.integers(0, 3), d=sizes, symmetric=st.booleans())
def test_gradients_of_the_loss(rng, n, more, d, symmetric):
    Q, C = rng.standard_normal((n, d)), rng.standard_normal((n + more, d))

    def loss():
        return contrastive(Q, C, 0.7, symmetric)[0]

    dQ, dC = contrastive_backward(1.0, contrastive(Q, C, 0.7, symmetric)[1])
    check_gradients(loss, {"Q": Q, "C": C}, {"Q": dQ, "C": dC}, rng)


@given(rng=generators, n=sizes, d=sizes)
def test_equal_scores_cost_the_logarithm_of_the_number_of_candidates(rng, n, d):
    C = np.repeat(rng.standard_normal((1, d)), n + 2, axis=0)
    loss, _ = contrastive(rng.standard_normal((n, d)), C)
    assert loss == pytest.approx(np.log(n + 2))


@given(rng=generators, n=sizes)
def test_symmetric_is_the_mean_of_both_directions(rng, n):
    Q, C = rng.standard_normal((2, n, 4))
    both, _ = contrastive(Q, C, symmetric=True)
    assert both == pytest.approx((contrastive(Q, C)[0] + contrastive(C, Q)[0]) / 2)


@given(rng=generators, n=st.integers(2, 6))
def test_another_negative_never_lowers_the_loss_and_the_order_of_pairs_is_irrelevant(rng, n):
    Q, C = rng.standard_normal((2, n, 4))
    loss, _ = contrastive(Q, C)
    assert contrastive(Q, np.concatenate([C, rng.standard_normal((1, 4))]))[0] >= loss
    order = rng.permutation(n)
    assert contrastive(Q[order], C[order])[0] == pytest.approx(loss)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("how", POOLINGS)
def test_the_whole_chain_equals_pytorch(how, symmetric):
    forward, backward = POOLINGS[how]
    mask, case = FIXTURE["mask"], f"{how}/{symmetric}"
    (q, q_cache), (c, c_cache) = (forward(FIXTURE[f"{case}/{name}"], mask) for name in "xy")
    Q, Q_cache = l2_normalize(q)
    C, C_cache = l2_normalize(np.concatenate([c, FIXTURE["negatives"]]))
    loss, cache = contrastive(Q, C, 0.05, symmetric)
    assert loss == pytest.approx(float(FIXTURE[f"{case}/loss"]), rel=1e-12)
    dQ, dC = contrastive_backward(1.0, cache)
    dx = backward(l2_normalize_backward(dQ, Q_cache), q_cache)
    dy = backward(l2_normalize_backward(dC, C_cache)[: len(c)], c_cache)
    np.testing.assert_allclose(dx, FIXTURE[f"{case}/dx"], atol=1e-12)
    np.testing.assert_allclose(dy, FIXTURE[f"{case}/dy"], atol=1e-12)


def test_float32_stays_float32():
    Q, C = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    dQ, dC = contrastive_backward(1.0, contrastive(Q, C, symmetric=True)[1])
    assert dQ.dtype == dC.dtype == np.float32


@pytest.mark.parametrize("Q, C, temperature, message", [
    ((3, 2), (2, 2), 0.1, r"C has shape \(2, 2\), wanted at least 3 candidates of width 2"),
    ((3, 2), (3, 4), 0.1, r"C has shape \(3, 4\), wanted at least 3 candidates of width 2"),
    ((0, 2), (0, 2), 0.1, "wanted at least 1 candidates"),
    ((3, 2), (3, 2), 0, "temperature is 0.0, wanted a number over 0"),
    ((3, 2), (3, 2), float("nan"), "temperature is nan, wanted a number over 0"),
    ((3,), (3, 2), 0.1, r"Q has shape \(3,\), wanted \('any', 'any'\)"),
])
def test_errors_of_the_loss(Q, C, temperature, message):
    with pytest.raises(ValueError, match=message):
        contrastive(np.zeros(Q), np.zeros(C), temperature)
