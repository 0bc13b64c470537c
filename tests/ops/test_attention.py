"""attention and streaming_attention: equal to each other and to the definition."""

import numpy as np
import pytest
from gradcheck import check_op
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

from minillm import kernels
from minillm.ops.attention import (
    AttentionBias,
    attention,
    attention_backward,
    attention_weights,
    attention_weights_backward,
    streaming_attention,
    streaming_attention_backward,
    streaming_attention_each,
)


@st.composite
def cases(draw, dtype=np.float64, hide=True):
    """-> rng, {"Q", "K", "V"}, AttentionBias: also T = 1, shared key heads, hidden rows

    hide: with -inf in some of the distance biases
    """
    rng = draw(generators)
    B, Tq, Tk, D = (draw(st.integers(1, high)) for high in (3, 5, 5, 4))
    H, Hkv = draw(st.sampled_from([(1, 1), (2, 2), (2, 1), (4, 2), (3, 1)]))
    scale = draw(st.sampled_from([0.3, 1.0, 3.0]))
    arrays = {
        name: (scale * rng.standard_normal(shape)).astype(dtype)
        for name, shape in (("Q", (B, H, Tq, D)), ("K", (B, Hkv, Tk, D)), ("V", (B, Hkv, Tk, D)))
    }
    key_mask = rng.random((B, Tk)) < 0.7 if draw(st.booleans()) else None
    distance_bias = None
    if draw(st.booleans()):
        distance_bias = rng.standard_normal((H, Tq + Tk - 1)).astype(dtype)
        if hide and draw(st.booleans()):
            distance_bias[rng.random(distance_bias.shape) < 0.3] = -np.inf
    return rng, arrays, AttentionBias(draw(st.booleans()), key_mask, distance_bias)


def with_bias_last(arrays, bias):
    """-> `arrays`, and the distance_bias if there is one: all inputs with a gradient, in order"""
    has_bias = bias.distance_bias is not None
    return arrays | ({"distance_bias": bias.distance_bias} if has_bias else {})


def without_none(gradients):
    return tuple(gradient for gradient in gradients if gradient is not None)


@given(cases(hide=False))
def test_gradients(case):
    rng, arrays, bias = case

    def forward(Q, K, V, distance_bias=None):
        out, _, cache = attention(Q, K, V, bias=bias._replace(distance_bias=distance_bias))
        return out, cache

    def backward(dout, cache):
        return without_none(attention_backward(dout, cache))

    check_op(forward, backward, with_bias_last(arrays, bias), rng)


@given(cases(hide=False))
def test_gradients_of_streaming_attention(case):
    rng, arrays, bias = case

    def forward(Q, K, V, distance_bias=None):
        return streaming_attention(Q, K, V, bias=bias._replace(distance_bias=distance_bias))

    def backward(dout, cache):
        return without_none(streaming_attention_backward(dout, cache))

    check_op(forward, backward, with_bias_last(arrays, bias), rng)


@given(cases(hide=False))
def test_gradients_of_the_weights(case):
    rng, arrays, bias = case
    del arrays["V"]

    def forward(Q, K, distance_bias=None):
        return attention_weights(Q, K, bias=bias._replace(distance_bias=distance_bias), scale=0.7)

    def backward(dP, cache):
        return without_none(attention_weights_backward(dP, cache))

    check_op(forward, backward, with_bias_last(arrays, bias), rng)


@given(cases(), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5]))
def test_gradients_with_dropout_and_hidden_distances(case, seed, p):
    rng, arrays, bias = case

    def forward(Q, K, V):
        out, _, cache = attention(
            Q, K, V, bias=bias, dropout_p=p, rng=np.random.default_rng(seed)
        )
        return out, cache

    check_op(forward, lambda dout, cache: attention_backward(dout, cache)[:3], arrays, rng)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-5), (np.float64, 1e-11)])
@given(data=st.data())
def test_both_forms_are_equal(dtype, tolerance, data):
    rng, arrays, bias = data.draw(cases(dtype))
    out, weights, cache = attention(**arrays, bias=bias)
    streamed, streaming_cache = streaming_attention(**arrays, bias=bias)
    assert out.dtype == streamed.dtype == weights.dtype == dtype
    np.testing.assert_allclose(streamed, out, rtol=tolerance, atol=tolerance)
    dout = rng.standard_normal(out.shape).astype(dtype)
    gradients = attention_backward(dout, cache)
    streamed = streaming_attention_backward(dout, streaming_cache)
    assert (gradients[3] is None) == (streamed[3] is None) == (bias.distance_bias is None)
    for ours, theirs in zip(without_none(gradients), without_none(streamed), strict=True):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=19 * tolerance)


@given(cases())
def test_is_the_definition(case):
    """One query at a time: softmax over the keys that it sees, then the weighted mean of values."""
    _, arrays, bias = case
    Q, K, V = arrays.values()
    out, weights, _ = attention(Q, K, V, bias=bias)
    Tq, Tk = weights.shape[-2:]
    for b, h, i in np.ndindex(Q.shape[:3]):
        key_head = h // (Q.shape[1] // K.shape[1])
        expected = np.zeros(Tk)
        for j in range(Tk):
            too_late = bias.causal and j > i + Tk - Tq
            if not too_late and (bias.key_mask is None or bias.key_mask[b, j]):
                score = Q[b, h, i] @ K[b, key_head, j] / np.sqrt(Q.shape[-1])
                if bias.distance_bias is not None:
                    score += bias.distance_bias[h, j - i + Tq - 1]
                expected[j] = np.exp(score)
        expected /= expected.sum() or 1
        np.testing.assert_allclose(weights[b, h, i], expected, atol=1e-12)
        np.testing.assert_allclose(out[b, h, i], expected @ V[b, key_head], atol=1e-12)


def test_by_hand():
    """Two positions, D = 1, scale 1, one query head.

        S = [[0, -inf], [0, log 3]]    P = [[1, 0], [1/4, 3/4]]    out = [4, 4/4 + 8 * 3/4] = [4, 7]

    With dout = [0, 1]:  dV = [1/4, 3/4],  dP = [4, 8] in the second row, delta = 7,
    dS = [1/4 * (4 - 7), 3/4 * (8 - 7)] = [-3/4, 3/4]; the first row has only one key, so dS = 0.
    dQ = [0, 3/4 log 3],  dK = dS₂ * Q₂ = [-3/4, 3/4].  The sums of dS at the distances -1, 0, 1
    are [-3/4, 0 + 3/4, 0].
    """
    Q = np.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    K = np.array([0.0, np.log(3)]).reshape(1, 1, 2, 1)
    V = np.array([4.0, 8.0]).reshape(1, 1, 2, 1)
    bias = AttentionBias(causal=True, distance_bias=np.zeros((1, 3)))
    dout = np.array([0.0, 1.0]).reshape(1, 1, 2, 1)

    out, weights, cache = attention(Q, K, V, bias=bias, scale=1.0)
    streamed, streaming_cache = streaming_attention(Q, K, V, bias=bias, scale=1.0)
    np.testing.assert_allclose(weights[0, 0], [[1, 0], [1 / 4, 3 / 4]])
    np.testing.assert_allclose(out.ravel(), [4, 7])
    np.testing.assert_allclose(streamed.ravel(), [4, 7])
    np.testing.assert_allclose(streaming_cache.lse.ravel(), [0, np.log(4)])
    for gradients in (
        attention_backward(dout, cache), streaming_attention_backward(dout, streaming_cache)
    ):
        dQ, dK, dV, ddistance_bias = gradients
        np.testing.assert_allclose(dQ.ravel(), [0, 3 / 4 * np.log(3)], atol=1e-15)
        np.testing.assert_allclose(dK.ravel(), [-3 / 4, 3 / 4])
        np.testing.assert_allclose(dV.ravel(), [1 / 4, 3 / 4])
        np.testing.assert_allclose(ddistance_bias, [[-3 / 4, 3 / 4, 0]], atol=1e-15)


def test_query_heads_in_groups_read_one_key_head():
    """H = 4 and Hkv = 2: heads 0 and 1 read key head 0, heads 2 and 3 read key head 1."""
    rng = np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((2, heads, 5, 3)) for heads in (4, 2, 2))
    dout = rng.standard_normal(Q.shape)
    out, cache = streaming_attention(Q, K, V)
    dQ, dK, dV, _ = streaming_attention_backward(dout, cache)
    alone, cache = streaming_attention(Q[:, 2:3], K[:, 1:], V[:, 1:])
    dQ_2, dK_2, dV_2, _ = streaming_attention_backward(dout[:, 2:3], cache)
    _, cache = streaming_attention(Q[:, 3:4], K[:, 1:], V[:, 1:])
    _, dK_3, dV_3, _ = streaming_attention_backward(dout[:, 3:4], cache)
    np.testing.assert_allclose(out[:, 2:3], alone)
    np.testing.assert_allclose(dQ[:, 2:3], dQ_2)
    np.testing.assert_allclose(dK[:, 1:], dK_2 + dK_3)
    np.testing.assert_allclose(dV[:, 1:], dV_2 + dV_3)


def distances(T):
    return np.arange(2 * T - 1) - (T - 1)


@pytest.mark.parametrize("T", [1, 5, 200])
@pytest.mark.parametrize("window", [1, 3, 70])
def test_a_sliding_window_is_a_bias(T, window):
    """Each query sees itself and the window - 1 keys before it, as if there were no others."""
    rng = np.random.default_rng(T + window)
    Q, K, V = rng.standard_normal((3, 1, 2, T, 32), dtype=np.float32)
    outside = (distances(T) > 0) | (distances(T) <= -window)
    distance_bias = np.where(outside, -np.inf, 0).astype(np.float32)
    bias = AttentionBias(distance_bias=np.stack([distance_bias] * 2))
    out, _ = streaming_attention(Q, K, V, bias=bias)
    _, weights, _ = attention(Q, K, V, bias=bias)
    for i in range(T):
        first = max(0, i - window + 1)
        seen = slice(first, i + 1)
        alone, _ = streaming_attention(Q[:, :, i : i + 1], K[:, :, seen], V[:, :, seen])
        np.testing.assert_allclose(out[:, :, i : i + 1], alone, rtol=1e-4, atol=1e-5)
        assert not weights[:, :, i, :first].any() and not weights[:, :, i, i + 1 :].any()


def test_keys_far_outside_the_window_are_not_even_read():
    T, window = 512, 40
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, 1, 1, T, 32), dtype=np.float32)
    distance_bias = np.where(np.abs(distances(T)) < window, 0, -np.inf).astype(np.float32)
    bias = AttentionBias(distance_bias=distance_bias[None])
    expected, _ = streaming_attention(Q, K, V, bias=bias)
    K[:, :, :200] = V[:, :, :200] = np.nan
    out, _ = streaming_attention(Q, K, V, bias=bias)
    np.testing.assert_array_equal(out[:, :, 300:], expected[:, :, 300:])
    last = AttentionBias(distance_bias=distance_bias[None, :T])  # generation: the last query alone
    out, _ = streaming_attention(Q[:, :, -1:], K, V, bias=last)
    np.testing.assert_allclose(out, expected[:, :, -1:], rtol=1e-5, atol=1e-5)


def test_alibi_with_a_cache_of_keys():
    """The last three of ten queries, with all ten keys, see the same distances as all ten do."""
    T, new = 10, 3
    rng = np.random.default_rng(0)
    Q, K, V = rng.standard_normal((3, 2, 4, T, 8))
    slopes = 2.0 ** -np.arange(1, 5)[:, None]  # Press et al. 2022: a geometric sequence
    whole, _ = streaming_attention(
        Q, K, V, bias=AttentionBias(True, None, -slopes * np.abs(distances(T)))
    )
    offset = np.arange(new + T - 1) - (new - 1) - (T - new)  # j - (i + Tk - Tq)
    part, _ = streaming_attention(
        Q[:, :, -new:], K, V, bias=AttentionBias(True, None, -slopes * np.abs(offset))
    )
    np.testing.assert_allclose(part, whole[:, :, -new:], rtol=1e-12)


@given(cases(hide=False), st.sampled_from([-2.0, 5.0]))
def test_the_same_number_added_to_all_distances_changes_nothing(case, number):
    """The softmax cancels it, so the gradient of the bias sums to 0 for each head."""
    rng, arrays, bias = case
    if bias.distance_bias is None:
        return
    out, cache = streaming_attention(**arrays, bias=bias)
    shifted, _ = streaming_attention(
        **arrays, bias=bias._replace(distance_bias=bias.distance_bias + number)
    )
    np.testing.assert_allclose(shifted, out, rtol=1e-9, atol=1e-9)
    *_, ddistance_bias = streaming_attention_backward(rng.standard_normal(out.shape), cache)
    np.testing.assert_allclose(ddistance_bias.sum(axis=1), 0, atol=1e-9)


def test_distances_that_no_visible_pair_has_get_no_gradient():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        Q, K, V = rng.standard_normal((3, 2, 2, 40, 32)).astype(dtype)
        bias = AttentionBias(True, None, rng.standard_normal((2, 79)).astype(dtype))
        bias.distance_bias[:, :10] = -np.inf
        out, cache = streaming_attention(Q, K, V, bias=bias)
        *_, ddistance_bias = streaming_attention_backward(out, cache)
        assert not ddistance_bias[:, :10].any() and not ddistance_bias[:, 40:].any()
        assert np.all(ddistance_bias[:, 10:40] != 0)


@given(cases())
def test_order_of_the_keys_does_not_matter_without_positions(case):
    rng, arrays, bias = case
    order = rng.permutation(arrays["K"].shape[2])
    key_mask = bias.key_mask
    out, weights, _ = attention(**arrays, bias=AttentionBias(key_mask=key_mask))
    shuffled, shuffled_weights, _ = attention(
        arrays["Q"], arrays["K"][:, :, order], arrays["V"][:, :, order],
        bias=AttentionBias(key_mask=None if key_mask is None else key_mask[:, order]),
    )
    np.testing.assert_allclose(shuffled, out, atol=1e-12)
    np.testing.assert_allclose(shuffled_weights, weights[..., order], atol=1e-12)


@given(cases())
def test_gradients_are_written_to_the_given_arrays(case):
    rng, arrays, bias = case
    for forward, backward in (
        (lambda: attention(**arrays, bias=bias)[::2], attention_backward),
        (lambda: streaming_attention(**arrays, bias=bias), streaming_attention_backward),
    ):
        out, cache = forward()
        dout = rng.standard_normal(out.shape)
        # As in multi-head attention: strided views, each (B, H, T, D) in memory (B, T, H, D).
        grads = tuple(
            np.full((x.shape[0], x.shape[2], x.shape[1], x.shape[3]), np.nan).transpose(0, 2, 1, 3)
            for x in arrays.values()
        )
        returned = backward(dout, cache, grads=grads)
        assert all(array is grad for array, grad in zip(returned, grads))
        for given_array, fresh in zip(grads, backward(dout, cache)):
            np.testing.assert_allclose(given_array, fresh, rtol=1e-10, atol=1e-12)


@given(cases(np.float32))
def test_inputs_stay_as_they_are(case):
    rng, arrays, bias = case
    before = {name: array.copy() for name, array in arrays.items()}
    for array in (*arrays.values(), *without_none(bias[1:])):
        array.flags.writeable = False
    out, _, cache = attention(**arrays, bias=bias, dropout_p=0.5, rng=rng)
    attention_backward(out, cache)
    out, cache = streaming_attention(**arrays, bias=bias)
    streaming_attention_backward(out, cache)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_causal_with_more_keys_than_queries_lets_the_last_query_see_all():
    weights, _ = attention_weights(
        np.ones((1, 1, 2, 1)), np.ones((1, 1, 4, 1)), bias=AttentionBias(causal=True)
    )
    np.testing.assert_allclose(weights[0, 0], [[1 / 3, 1 / 3, 1 / 3, 0], [1 / 4] * 4])


def test_merging_the_heads_copies_nothing():
    Q, K, V = np.ones((3, 2, 3, 4, 5))
    for out in (attention(Q, K, V)[0], streaming_attention(Q, K, V)[0]):
        assert np.shares_memory(out, out.transpose(0, 2, 1, 3).reshape(2, 4, 15))


def test_errors_name_the_argument():
    Q = K = V = np.ones((2, 2, 3, 4))
    for function in (attention, streaming_attention):
        with pytest.raises(ValueError, match="^K has shape"):
            function(Q, K[..., :3], V)
        with pytest.raises(ValueError, match="^K has shape .* 3 heads, wanted a divisor of Q's 2"):
            function(Q, np.ones((2, 3, 3, 4)), np.ones((2, 3, 3, 4)))
        with pytest.raises(ValueError, match="^V has shape"):
            function(Q, K, V[:, :, :2])
        with pytest.raises(ValueError, match=r"^key_mask has shape \(2, 4\), wanted \(2, 3\)"):
            function(Q, K, V, bias=AttentionBias(key_mask=np.ones((2, 4), bool)))
        with pytest.raises(TypeError, match="^key_mask has dtype int64"):
            function(Q, K, V, bias=AttentionBias(key_mask=np.ones((2, 3), np.int64)))
        with pytest.raises(ValueError, match=r"^distance_bias has shape \(2, 4\), wanted \(2, 5\)"):
            function(Q, K, V, bias=AttentionBias(distance_bias=np.ones((2, 4))))
        with pytest.raises(TypeError, match="^bias is a bool, wanted an AttentionBias"):
            function(Q, K, V, bias=True)
        with pytest.raises(TypeError, match="^V has dtype int64"):
            function(Q, K, V.astype(np.int64))
    with pytest.raises(ValueError, match="^p is 1.0, wanted a probability"):
        attention(Q, K, V, dropout_p=1.0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("implementation", ["numpy", "c"])
def test_attention_of_rows_of_different_lengths_is_that_of_each_row(implementation):
    rng = np.random.default_rng(0)
    for counts, D in (((1, 1, 1), 6), ((1, 5, 20), 6), ((1, 5, 20), 32)):
        keys, values = ([rng.normal(size=(1, 2, n + 2, D)).astype(np.float32)[:, :, :n]
                         for n in (1, 9, 40)] for _ in range(2))
        Q = rng.normal(size=(1, sum(counts), 4, D)).astype(np.float32).transpose(0, 2, 1, 3)
        parts = [slice(sum(counts[:b]), sum(counts[: b + 1])) for b in range(3)]
        with kernels.use(implementation):
            found = streaming_attention_each(Q, parts, keys, values, [None] * 3, scale=0.3)
            for part, K, V in zip(parts, keys, values):
                want, _ = streaming_attention(Q[:, :, part], K, V, bias=AttentionBias(True),
                                              scale=0.3)
                assert np.array_equal(found[:, :, part], want)
