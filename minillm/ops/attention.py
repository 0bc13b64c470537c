"""Attention: every query takes a mean of the values, weighted by how well their keys match it.

    S = scale Q Kᵀ + bias     a score for each query i and key j
    P = softmax(S)            over the keys: the weights of a query sum to 1
    out = P V                                                        (Vaswani et al. 2017, eq. 1)

Q: (B, H, Tq, D); K, V: (B, Hkv, Tk, D); S, P: (B, H, Tq, Tk); out: (B, H, Tq, D)

Hkv divides H, and query head h reads key head h // (H / Hkv). One key head for each query head is
multi-head attention, one for all is multi-query attention (Shazeer 2019), anything between is
grouped-query attention (Ainslie et al. 2023).

Attention is here twice, on purpose. `attention` computes P, to read, to plot, to apply dropout.
`streaming_attention` calls a kernel that never holds P; models use it. Its C twin is
csrc/attention.c.
"""

from typing import NamedTuple

import numpy as np

from minillm.kernels import attention as checks
from minillm.kernels import kernel
from minillm.kernels.attention import empty_heads
from minillm.ops.dropout import DropoutCache, dropout, dropout_backward
from minillm.ops.matmul import matmul
from minillm.ops.softmax import SoftmaxCache, logsumexp, softmax, softmax_backward


class AttentionBias(NamedTuple):
    """What is added to the scores. -inf hides a key from a query.

    causal:        query i sees only the keys j <= i + (Tk - Tq), so the last query sees all of them
    key_mask:      bool (B, Tk), False at keys that no query may see, such as padding
    distance_bias: (H, Tq + Tk - 1), the dtype of Q. distance_bias[h, j - i + Tq - 1] is added to
                   S_ij of head h. -inf outside a window is sliding-window attention; -slope *
                   distance is ALiBi (Press et al. 2022); learned numbers are the relative bias of
                   T5 (Raffel et al. 2020). The last query is aligned with the last key, so query i
                   and key j are |j - i - (Tk - Tq)| positions apart.
    """

    causal: bool = False
    key_mask: np.ndarray | None = None
    distance_bias: np.ndarray | None = None


def add_bias(S, bias):
    """S += bias, in place; S: (B, H, Tq, Tk)"""
    Tq, Tk = S.shape[-2:]
    distance = np.arange(Tk) - np.arange(Tq)[:, None]  # (Tq, Tk), j - i
    causal, key_mask, distance_bias = bias
    if distance_bias is not None:
        S += distance_bias[:, distance + Tq - 1]  # (H, Tq, Tk)
    if causal:
        np.copyto(S, -np.inf, where=distance > Tk - Tq)
    if key_mask is not None:
        np.copyto(S, -np.inf, where=~key_mask[:, None, None, :])


def add_bias_backward(dS, bias):
    """-> ddistance_bias (H, Tq + Tk - 1): the sum of dS along each diagonal; None without a bias"""
    _, _, distance_bias = bias
    if distance_bias is None:
        return None
    Tq, Tk = dS.shape[-2:]
    ddistance_bias = np.zeros_like(distance_bias)
    for i in range(Tq):
        ddistance_bias[:, Tq - 1 - i :][:, :Tk] += dS[:, :, i].sum(axis=0)
    return ddistance_bias


def repeat_heads(K, H):
    """(B, Hkv, Tk, D) -> (B, H, Tk, D): repeat a key head for each query head that reads it"""
    Hkv = K.shape[1]
    return K if H == Hkv else np.repeat(K, H // Hkv, axis=1)


def repeat_heads_backward(dK, Hkv):
    """(B, H, Tk, D) -> (B, Hkv, Tk, D): sum over the query heads that read the same key head"""
    B, H, Tk, D = dK.shape
    return dK if H == Hkv else dK.reshape(B, Hkv, -1 if dK.size else 0, Tk, D).sum(axis=2)


# The derivation of the backward, for the whole project: the kernel below, naive_attention.py and
# csrc/attention.c use the same letters. For each query i and key j of one head:
#
#   out_i = Σ_j P_ij V_j                   dP_ij = dout_i · V_j        dV_j = Σ_i P_ij dout_i
#   P_i = softmax(S_i)                     dS_ij = P_ij (dP_ij - δ_i),   δ_i = Σ_j P_ij dP_ij
#   S_ij = scale Q_i · K_j + bias_ij       dQ_i = scale Σ_j dS_ij K_j,   dK_j = scale Σ_i dS_ij Q_i
#   bias_ij = distance_bias[j - i + Tq - 1]     ddistance_bias[n] = Σ dS_ij over j - i + Tq - 1 = n
#
# The second line is softmax_backward (ops/softmax.py): ∂P_ij'/∂S_ij = P_ij' ([j = j'] - P_ij).
# The bias is added after the scaling, so its gradient has no factor `scale`. A hidden score is the
# constant -inf: its P is 0, and so is its dS, so masks need no special case. An input that several
# outputs read gets the sum of their gradients: K and V over the query heads of their group,
# distance_bias over the batch.


class AttentionWeightsCache(NamedTuple):
    Q: np.ndarray
    K: np.ndarray
    bias: AttentionBias
    scale: float
    softmax: SoftmaxCache


def attention_weights(Q, K, *, bias=AttentionBias(), scale=None):
    """P = softmax(scale Q Kᵀ + bias)

    Q: (B, H, Tq, D), K: (B, Hkv, Tk, D)
    ->  P: (B, H, Tq, Tk), cache for `attention_weights_backward`

    scale: by default 1/√D, because the dot product of D random numbers grows like √D

    A query that sees no key gets weights 0. Raises TypeError and ValueError that name the argument.
    """
    bias, scale = checks.check_scores(Q, K, bias, scale)
    S = scale * matmul(Q, repeat_heads(K, Q.shape[1]), transpose_B=True)
    add_bias(S, bias)
    P, softmax_cache = softmax(S)
    return P, AttentionWeightsCache(Q, K, bias, scale, softmax_cache)


def attention_weights_backward(dP, cache):
    """dP: (B, H, Tq, Tk)  ->  dQ, dK, ddistance_bias (None if there was no distance_bias)"""
    Q, K, bias, scale, softmax_cache = cache
    dS = softmax_backward(dP, softmax_cache)
    dQ = scale * matmul(dS, repeat_heads(K, Q.shape[1]))
    dK = repeat_heads_backward(scale * matmul(dS, Q, transpose_A=True), K.shape[1])
    return dQ, dK, add_bias_backward(dS, bias)


class WeightedValuesCache(NamedTuple):
    P: np.ndarray
    V: np.ndarray


def weighted_values(P, V):
    """out = P V

    P: (B, H, Tq, Tk), V: (B, Hkv, Tk, D)
    ->  out: (B, H, Tq, D), cache for `weighted_values_backward`

    The memory layout of `out` is (B, Tq, H, D), so merging the heads copies nothing.
    """
    B, H, Tq, _ = P.shape
    out = matmul(P, repeat_heads(V, H), empty_heads(B, H, Tq, V.shape[3], P.dtype))
    return out, WeightedValuesCache(P, V)


def weighted_values_backward(dout, cache):
    """dout: (B, H, Tq, D)  ->  dP: (B, H, Tq, Tk), dV: (B, Hkv, Tk, D)"""
    P, V = cache
    dP = matmul(dout, repeat_heads(V, P.shape[1]), transpose_B=True)
    dV = repeat_heads_backward(matmul(P, dout, transpose_A=True), V.shape[1])
    return dP, dV


class AttentionCache(NamedTuple):
    weights: AttentionWeightsCache
    dropout: DropoutCache
    values: WeightedValuesCache


def attention(Q, K, V, *, bias=AttentionBias(), scale=None, dropout_p=0.0, rng=None):
    """out = dropout(P) V,   P = softmax(scale Q Kᵀ + bias)

    Q: (B, H, Tq, D); K, V: (B, Hkv, Tk, D)
    ->  out: (B, H, Tq, D), P: (B, H, Tq, Tk) before dropout, cache for `attention_backward`

    dropout_p: the probability of dropping a weight; rng: the Generator that decides which

    A query that sees no key gets out 0. Raises TypeError and ValueError that name the argument.
    """
    P, weights_cache = attention_weights(Q, K, bias=bias, scale=scale)
    checks.check_values(V, K)
    dropped_P, dropout_cache = dropout(P, dropout_p, rng)
    out, values_cache = weighted_values(dropped_P, V)
    return out, P, AttentionCache(weights_cache, dropout_cache, values_cache)


def attention_backward(dout, cache, *, grads=None):
    """dout: (B, H, Tq, D)  ->  dQ, dK, dV, ddistance_bias (None if there was no distance_bias)

    grads: three arrays to write dQ, dK and dV to, such as views of one fused buffer
    """
    (Q, K, bias, _, _), V = cache.weights, cache.values.V
    checks.check_like("dout", dout, Q.shape, Q.dtype)
    if grads is not None:
        checks.check_grads(grads, (Q, K, V), [("dout", dout), *checks.named(Q, K, V, bias)])
    ddropped_P, dV = weighted_values_backward(dout, cache.values)
    dP = dropout_backward(ddropped_P, cache.dropout)
    dQ, dK, ddistance_bias = attention_weights_backward(dP, cache.weights)
    if grads is None:
        return dQ, dK, dV, ddistance_bias
    for grad, value in zip(grads, (dQ, dK, dV)):
        grad[...] = value
    return *grads, ddistance_bias


# The streaming form holds neither P nor a row of it. The forward computes the softmax piece by
# piece with a running maximum and sum (Milakov and Gimelshein 2018; Rabe and Staats 2021). It keeps
# one number per query, lse_i = log Σ_j exp(S_ij), with which the backward needs no row of P either
# (Dao et al. 2022, "FlashAttention", sec. 3.1 and appendix B.2; lse: Dao 2023, sec. 3.1):
#
#   P_ij = exp(S_ij - lse_i)                    each weight is recomputed alone
#   δ_i = Σ_j P_ij (dout_i · V_j) = dout_i · Σ_j P_ij V_j = dout_i · out_i


class StreamingAttentionCache(NamedTuple):
    Q: np.ndarray
    K: np.ndarray
    V: np.ndarray
    out: np.ndarray
    lse: np.ndarray  # (B, H, Tq)
    bias: AttentionBias
    scale: float | None


def streaming_attention(Q, K, V, *, bias=AttentionBias(), scale=None):
    """The `out` of `attention`, in memory proportional to Tq + Tk instead of Tq * Tk.

    Arguments, shapes, errors and the layout of `out` are those of `attention`.
    ->  out: (B, H, Tq, D), cache for `streaming_attention_backward`
    """
    out, lse = fused_attention(Q, K, V, bias, scale)
    return out, StreamingAttentionCache(Q, K, V, out, lse, bias, scale)


def streaming_attention_backward(dout, cache, *, grads=None, with_dbias=True):
    """-> dQ, dK, dV, ddistance_bias, as `attention_backward`

    with_dbias: False leaves out ddistance_bias, which then is None: a bias that isn't learned, such
        as ALiBi's, needs none
    """
    return fused_attention_backward(dout, *cache, grads, with_dbias)


def streaming_attention_each(Q, parts, keys, values, distance_biases, *, scale=None):
    """Causal attention of B sequences with different numbers of queries and keys, for inference

    Q: (1, H, T, D), the queries of all;  parts: B slices of its T rows, one for each sequence
    keys, values: B arrays (1, Hkv, Tk_b, D);  distance_biases: B arrays (H, Tq_b + Tk_b - 1), or None
    ->  out: (1, H, T, D): part b is that of `streaming_attention` for sequence b alone
    """
    if all(bias is None for bias in distance_biases):
        out = checks.forward_each(Q, parts, keys, values, scale)
        if out is not None:
            return out
    out = empty_heads(*Q.shape, Q.dtype)
    for part, K, V, distance_bias in zip(parts, keys, values, distance_biases):
        bias = AttentionBias(True, None, distance_bias)
        fused_attention(Q[:, :, part], K, V, bias, scale, out[:, :, part])
    return out


def cache_of_example(cache, i):
    """-> the part of a cache of either form that belongs to row i of the batch, as a batch of 1"""
    if isinstance(cache, AttentionBias):  # its distance_bias is the same for all
        mask = cache.key_mask
        return cache._replace(key_mask=None if mask is None else mask[i : i + 1])
    if isinstance(cache, tuple):
        return type(cache)(*[cache_of_example(part, i) for part in cache])
    return cache[i : i + 1] if isinstance(cache, np.ndarray) else cache


@kernel(checks.forward)
def fused_attention(Q, K, V, bias, scale, out):
    """-> out: (B, H, Tq, D), lse: (B, H, Tq)

    The C kernel computes the same tile by tile; here all of S exists at once.
    out: the array to write to; by default a new one
    """
    S = scale * matmul(Q, repeat_heads(K, Q.shape[1]), transpose_B=True)
    add_bias(S, bias)
    P, _ = softmax(S)
    out[...] = matmul(P, repeat_heads(V, Q.shape[1]))
    return out, logsumexp(S)[..., 0]


@kernel(checks.backward)
def fused_attention_backward(dout, Q, K, V, out, lse, bias, scale, grads, with_dbias):
    """-> dQ, dK, dV, written to `grads`, and ddistance_bias"""
    H, Hkv = Q.shape[1], K.shape[1]
    K_of_query, V_of_query = repeat_heads(K, H), repeat_heads(V, H)
    dQ, dK, dV = grads
    S = scale * matmul(Q, K_of_query, transpose_B=True)
    add_bias(S, bias)
    P = np.exp(S - np.where(lse == -np.inf, 0, lse)[..., None])  # lse = -inf: all S = -inf, P = 0
    dP = matmul(dout, V_of_query, transpose_B=True)
    delta = (dout * out).sum(axis=-1, keepdims=True)
    dS = P * (dP - delta)
    dQ[...] = scale * matmul(dS, K_of_query)
    dK[...] = repeat_heads_backward(scale * matmul(dS, Q, transpose_A=True), Hkv)
    dV[...] = repeat_heads_backward(matmul(P, dout, transpose_A=True), Hkv)
    return dQ, dK, dV, add_bias_backward(dS, bias) if with_dbias else None
