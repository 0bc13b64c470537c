import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

from minillm.ops import (
    attention,
    attention_backward,
    streaming_attention,
    streaming_attention_backward,
    visible_keys,
)


@st.composite
def cases(draw, dtype=np.float64):
    """-> rng, {"Q", "K", "V"}, masks: also with T = 1, one head, one batch, and hidden rows"""
    rng = draw(generators)
    B, H, Tq, Tk, D = (draw(st.integers(1, high)) for high in (3, 3, 5, 5, 4))
    scale = draw(st.sampled_from([0.3, 1.0, 3.0]))
    arrays = {
        name: (scale * rng.standard_normal((B, H, T, D))).astype(dtype)
        for name, T in (("Q", Tq), ("K", Tk), ("V", Tk))
    }
    masks = {"causal": draw(st.booleans()), "key_mask": None}
    if draw(st.booleans()):
        masks["key_mask"] = rng.random((B, Tk)) < 0.7
    return rng, arrays, masks


@given(cases())
def test_gradients(case):
    rng, arrays, masks = case

    def forward(Q, K, V):
        out, _, cache = attention(Q, K, V, **masks)
        return out, cache

    check_op(forward, attention_backward, arrays, rng)


@given(cases())
def test_gradients_of_streaming_attention(case):
    rng, arrays, masks = case
    check_op(
        lambda Q, K, V: streaming_attention(Q, K, V, **masks),
        streaming_attention_backward,
        arrays,
        rng,
    )


@given(cases(), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5]))
def test_gradients_with_dropout(case, seed, p):
    rng, arrays, masks = case

    def forward(Q, K, V):
        chance = np.random.default_rng(seed)
        out, _, cache = attention(Q, K, V, **masks, dropout_p=p, rng=chance)
        return out, cache

    check_op(forward, attention_backward, arrays, rng)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-5), (np.float64, 1e-11)])
@given(data=st.data())
def test_both_forms_are_equal(dtype, tolerance, data):
    rng, arrays, masks = data.draw(cases(dtype))
    out, weights, cache = attention(**arrays, **masks)
    streamed, streaming_cache = streaming_attention(**arrays, **masks)
    assert out.dtype == streamed.dtype == weights.dtype == dtype
    np.testing.assert_allclose(streamed, out, rtol=tolerance, atol=tolerance)
    dout = rng.standard_normal(out.shape).astype(dtype)
    gradients = attention_backward(dout, cache)
    streamed = streaming_attention_backward(dout, streaming_cache)
    for name, ours, theirs in zip("QKV", gradients, streamed, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=9 * tolerance, err_msg=name)


@given(cases())
def test_is_the_definition(case):
    """One query at a time: softmax over the keys that it sees, then the weighted mean of values."""
    _, arrays, masks = case
    Q, K, V = arrays.values()
    out, weights, _ = attention(Q, K, V, **masks)
    Tq, Tk = weights.shape[-2:]
    for b, h, i in np.ndindex(Q.shape[:3]):
        seen = [
            j
            for j in range(Tk)
            if (not masks["causal"] or j <= i + Tk - Tq)
            and (masks["key_mask"] is None or masks["key_mask"][b, j])
        ]
        expected = np.zeros(Tk)
        if seen:
            scores = np.exp([Q[b, h, i] @ K[b, h, j] / np.sqrt(Q.shape[-1]) for j in seen])
            expected[seen] = scores / scores.sum()
        np.testing.assert_allclose(weights[b, h, i], expected, atol=1e-12)
        np.testing.assert_allclose(out[b, h, i], expected @ V[b, h], atol=1e-12)


@given(cases())
def test_order_of_the_keys_does_not_matter_without_causal_mask(case):
    rng, arrays, masks = case
    order = rng.permutation(arrays["K"].shape[2])
    key_mask = masks["key_mask"]
    out, weights, _ = attention(**arrays, key_mask=key_mask)
    shuffled, shuffled_weights, _ = attention(
        arrays["Q"],
        arrays["K"][:, :, order],
        arrays["V"][:, :, order],
        key_mask=None if key_mask is None else key_mask[:, order],
    )
    np.testing.assert_allclose(shuffled, out, atol=1e-12)
    np.testing.assert_allclose(shuffled_weights, weights[..., order], atol=1e-12)


@given(cases())
def test_gradients_go_where_they_are_told(case):
    rng, arrays, masks = case
    for forward, backward in (
        (lambda: attention(**arrays, **masks)[::2], attention_backward),
        (lambda: streaming_attention(**arrays, **masks), streaming_attention_backward),
    ):
        out, cache = forward()
        dout = rng.standard_normal(out.shape)
        # As in multi-head attention: strided views, each (B, H, T, D) in memory (B, T, H, D).
        grads = tuple(
            np.full((x.shape[0], x.shape[2], x.shape[1], x.shape[3]), np.nan).transpose(0, 2, 1, 3)
            for x in arrays.values()
        )
        backward(dout, cache, grads=grads)
        for given_array, fresh in zip(grads, backward(dout, cache), strict=True):
            np.testing.assert_allclose(given_array, fresh, rtol=1e-10, atol=1e-12)


def test_one_head_without_batch():
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, 4, 2))
    out, weights, _ = attention(Q, K, V, causal=True, key_mask=np.array([True, True, False, True]))
    batched, batched_weights, _ = attention(
        Q[None, None],
        K[None, None],
        V[None, None],
        causal=True,
        key_mask=np.array([[True, True, False, True]]),
    )
    np.testing.assert_allclose(out, batched[0, 0])
    np.testing.assert_allclose(weights, batched_weights[0, 0])
    np.testing.assert_array_equal(weights[0], [1, 0, 0, 0])


def test_causal_with_more_keys_than_queries_lets_the_last_query_see_all():
    np.testing.assert_array_equal(
        visible_keys((2, 4), causal=True), [[True, True, True, False], [True] * 4]
    )


def test_errors_name_the_argument():
    Q = K = V = np.ones((2, 1, 3, 4))
    with pytest.raises(ValueError, match="^Q has shape"):
        attention(Q, K[..., :3], V)
    with pytest.raises(ValueError, match="^Q has shape"):
        attention(Q, K, V[:, :, :2])
    with pytest.raises(ValueError, match=r"^key_mask has shape \(2, 4\), wanted \(2, 3\)"):
        attention(Q, K, V, key_mask=np.ones((2, 4), bool))
    with pytest.raises(TypeError, match="^key_mask has dtype int64"):
        attention(Q, K, V, key_mask=np.ones((2, 3), np.int64))
    with pytest.raises(TypeError, match="^V has dtype int64"):
        attention(Q, K, V.astype(np.int64))
