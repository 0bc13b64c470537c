"""Attention: every query takes a weighted average of the values, by how well the keys match it.

Twice, on purpose. `attention` builds the matrix of weights: to read, to plot, to drop out.
`streaming_attention` calls a kernel that never holds that matrix; models run on it.
"""

import math
from typing import NamedTuple

import numpy as np

from minillm import kernels
from minillm.checks import require_float
from minillm.ops.dropout import DropoutCache, dropout, dropout_backward
from minillm.ops.softmax import SoftmaxCache, softmax, softmax_backward


class AttentionCache(NamedTuple):
    Q: np.ndarray
    K: np.ndarray
    V: np.ndarray
    dropped_weights: np.ndarray  # the weights after dropout
    softmax: SoftmaxCache
    dropout: DropoutCache
    scale: float


def attention(Q, K, V, *, causal=False, key_mask=None, scale=None, dropout_p=0.0, rng=None):
    """out = weights V,   weights = dropout(softmax(Q Kᵀ * scale))      (Vaswani et al. 2017, eq. 1)

    Q: (..., Tq, D); K, V: (..., Tk, D), with equal leading axes, such as (batch, heads)
    causal:    query i sees only the keys j <= i + (Tk - Tq): the last query sees all of them
    key_mask:  bool (..., Tk), True where a key may be attended to; its leading axes are the first
               of Q's, so (batch, Tk) for Q: (batch, heads, Tq, D)
    scale:     1/√D by default: the dot product of D random numbers grows like √D
    dropout_p: probability of dropping a weight, with chance from `rng`

    ->  out: (..., Tq, D), weights: (..., Tq, Tk) before dropout, cache for `attention_backward`

    A query that sees no key gets weights 0 and out 0.
    """
    for name, array in (("Q", Q), ("K", K), ("V", V)):
        require_float(name, array)
    if Q.ndim < 2 or K.shape != Q.shape[:-2] + (K.shape[-2], Q.shape[-1]) or V.shape != K.shape:
        raise ValueError(
            f"Q has shape {Q.shape}, K {K.shape} and V {V.shape}, wanted (..., Tq, D) for Q "
            "and (..., Tk, D) for K and V"
        )
    scale = 1 / math.sqrt(Q.shape[-1]) if scale is None else scale
    scores = kernels.matmul(Q, K, transpose_B=True)
    scores *= scale
    visible = visible_keys(scores.shape, causal, key_mask)
    if visible is not None:
        np.copyto(scores, -np.inf, where=~visible)
    weights, softmax_cache = softmax(scores)
    dropped_weights, dropout_cache = dropout(weights, dropout_p, rng)
    out = kernels.matmul(dropped_weights, V)
    cache = AttentionCache(Q, K, V, dropped_weights, softmax_cache, dropout_cache, scale)
    return out, weights, cache


def visible_keys(scores_shape, causal=False, key_mask=None):
    """-> bool, broadcastable to `scores_shape` (..., Tq, Tk): which query may attend to which key

    None if every query may attend to every key. See `attention` for the two masks.
    """
    *leading, Tq, Tk = scores_shape
    visible = None
    if causal:
        visible = np.tri(Tq, Tk, k=Tk - Tq, dtype=bool)
    if key_mask is not None:
        key_mask = np.asarray(key_mask)
        if key_mask.dtype != bool:
            raise TypeError(f"key_mask has dtype {key_mask.dtype}, wanted bool")
        if key_mask.shape != (*leading[: key_mask.ndim - 1], Tk):
            wanted = (*leading[:1], Tk)
            raise ValueError(f"key_mask has shape {key_mask.shape}, wanted {wanted}")
        shared = (1,) * (len(scores_shape) - key_mask.ndim)  # the heads and the queries
        key_mask = key_mask.reshape(*key_mask.shape[:-1], *shared, Tk)
        visible = key_mask if visible is None else visible & key_mask
    return visible


# The forward is four steps, and the backward is their four backwards in reverse order:
#   out = W' V                  dW' = dout Vᵀ,    dV = W'ᵀ dout        (as for a linear map)
#   W' = dropout(W)             dW = dropout_backward(dW')
#   W = softmax(S)              dS = W * (dW - Σ_k dW W)
#   S = Q Kᵀ * scale            dQ = dS K * scale,   dK = dSᵀ Q * scale
# A masked score is the constant -inf; its weight W is 0, and with it its dS: no case of its own.
def attention_backward(dout, cache, *, grads=None):
    """-> dQ: (..., Tq, D), dK: (..., Tk, D), dV: (..., Tk, D)

    They are written into the three arrays `grads` if given.
    """
    dQ, dK, dV = (None, None, None) if grads is None else grads
    dV = kernels.matmul(cache.dropped_weights, dout, dV, transpose_A=True)
    dweights = kernels.matmul(dout, cache.V, transpose_B=True)
    dscores = softmax_backward(dropout_backward(dweights, cache.dropout), cache.softmax)
    dscores *= cache.scale
    dQ = kernels.matmul(dscores, cache.K, dQ)
    dK = kernels.matmul(dscores, cache.Q, dK, transpose_A=True)
    return dQ, dK, dV


class StreamingAttentionCache(NamedTuple):
    Q: np.ndarray
    K: np.ndarray
    V: np.ndarray
    out: np.ndarray
    log_sum_exp: np.ndarray  # (B, H, Tq)
    causal: bool
    key_mask: np.ndarray | None
    scale: float | None


def streaming_attention(Q, K, V, *, causal=False, key_mask=None, scale=None):
    """The `out` of `attention`, for Q: (B, H, Tq, D), K and V: (B, H, Tk, D), key_mask: (B, Tk)

    ->  out: (B, H, Tq, D), cache for `streaming_attention_backward`

    The kernel reads the keys once per query, with a running maximum and a running sum for the
    softmax (Milakov and Gimelshein 2018; Rabe and Staats 2021), in memory that grows like
    Tq + Tk, not Tq * Tk. It keeps the logarithm of each query's softmax denominator for the
    backward. The memory of `out` is laid out (B, Tq, H, D): merging the heads copies nothing.
    """
    out, log_sum_exp = kernels.attention(Q, K, V, causal=causal, key_mask=key_mask, scale=scale)
    cache = StreamingAttentionCache(Q, K, V, out, log_sum_exp, causal, key_mask, scale)
    return out, cache


# The same four steps as in `attention_backward`, a few rows at a time. Two things make that
# possible (Dao et al. 2022, "FlashAttention", appendix B.2):
#   W_qk = exp(S_qk - log_sum_exp_q)         each weight can be computed again on its own
#   Σ_k dW_qk W_qk = Σ_k Σ_d dout_qd V_kd W_qk = Σ_d dout_qd out_qd        needs no row of weights
def streaming_attention_backward(dout, cache, *, grads=None):
    """-> dQ, dK, dV, written into the three arrays `grads` if given"""
    Q, K, V, out, log_sum_exp, causal, key_mask, scale = cache
    return kernels.attention_backward(
        dout, Q, K, V, out, log_sum_exp, causal=causal, key_mask=key_mask, scale=scale, grads=grads
    )


class AttentionBias(NamedTuple):
    causal: bool = False
    key_mask: object = None
    distance_bias: object = None
class AttentionWeightsCache(NamedTuple):
    Q: np.ndarray; K: np.ndarray; W: np.ndarray; scale: float; bias: object
class WeightedValuesCache(NamedTuple):
    W: np.ndarray; V: np.ndarray
def _full(bias,Tq,Tk):
    j=np.arange(Tk)[None]-np.arange(Tq)[:,None]+Tq-1
    return bias[:, j]
def attention_weights(Q,K,*,bias=AttentionBias(),scale=None):
    scale = 1 / math.sqrt(Q.shape[-1]) if scale is None else scale
    G=Q.shape[1]//K.shape[1]; Kr=np.repeat(K,G,1)
    S=(Q@Kr.swapaxes(-1,-2)*Q.dtype.type(scale))
    if bias.distance_bias is not None: S=S+_full(bias.distance_bias,Q.shape[2],K.shape[2])
    vis=visible_keys(S.shape,bias.causal,bias.key_mask)
    if vis is not None: S=np.where(vis,S,S.dtype.type(-np.inf))
    W,_=softmax(S)
    return W,AttentionWeightsCache(Q,K,W,scale,bias)
def attention_weights_backward(dW,c):
    Q,K,W,scale,bias=c
    dS=W*(dW-(dW*W).sum(-1,keepdims=True))
    db=None
    B,H,Tq,Tk=W.shape
    if bias.distance_bias is not None:
        db=np.zeros_like(bias.distance_bias)
        j=np.arange(Tk)[None]-np.arange(Tq)[:,None]+Tq-1
        for h in range(H): np.add.at(db[h], j, dS[:,h].sum(0))
    dS=dS*dS.dtype.type(scale)
    G=H//K.shape[1]
    dQ=dS@np.repeat(K,G,1)
    dK=(dS.swapaxes(-1,-2)@Q).reshape(B,K.shape[1],G,Tk,-1).sum(2)
    return dQ,dK,db
def weighted_values(W,V):
    G=W.shape[1]//V.shape[1]
    return W@np.repeat(V,G,1), WeightedValuesCache(W,V)
def weighted_values_backward(dout,c):
    W,V=c
    G=W.shape[1]//V.shape[1]
    return dout@np.repeat(V,G,1).swapaxes(-1,-2), (W.swapaxes(-1,-2)@dout).reshape(V.shape[0],V.shape[1],G,V.shape[2],-1).sum(2)
_old=(attention, streaming_attention, streaming_attention_backward)
def streaming_attention(Q,K,V,*,bias=AttentionBias(),scale=None):
    if bias.distance_bias is None and K.shape[1]==Q.shape[1]:
        return _old[1](Q,K,V,causal=bias.causal,key_mask=bias.key_mask,scale=scale)
    W,c=attention_weights(Q,K,bias=bias,scale=scale)
    out,v=weighted_values(W,V)
    return out,(c,v)
def streaming_attention_backward(dout,cache,*,grads=None):
    if len(cache)==8: return (*_old[2](dout,cache,grads=grads),None)
    dW,dV=weighted_values_backward(dout,cache[1])
    dQ,dK,db=attention_weights_backward(dW,cache[0])
    if grads is not None:
        for g,d in zip(grads,(dQ,dK,dV)): g[...]=d
    return dQ,dK,dV,db
