"""Attention as nested Python loops: the definition that NumPy and C must equal.

The formulas and the derivation of the backward are in minillm/ops/attention.py; the letters are the
same. `bias` is a tuple (causal, key_mask, distance_bias).
"""

import math

import numpy as np


def fused_attention(Q, K, V, bias, scale, out):
    """out_i = Σ_j P_ij V_j,   P_ij = exp(S_ij - lse_i),   lse_i = log Σ_j exp(S_ij)"""
    lse = np.empty(Q.shape[:3], Q.dtype)
    for b, h in np.ndindex(Q.shape[:2]):
        keys, values = _key_head(K, b, h, Q).tolist(), _key_head(V, b, h, Q).tolist()
        for i, query in enumerate(Q[b, h].tolist()):
            S = _scores(b, h, i, query, keys, Q.shape[2], bias, scale)
            lse[b, h, i] = log_total = _logsumexp(S.values())
            P = {j: _weight(S_ij, log_total) for j, S_ij in S.items()}
            for d in range(Q.shape[3]):
                out[b, h, i, d] = sum(P_ij * values[j][d] for j, P_ij in P.items())
    return out, lse


def fused_attention_backward(dout, Q, K, V, out, lse, bias, scale, grads, with_dbias):
    """dV_j = Σ_i P_ij dout_i                       dP_ij = dout_i · V_j
    dS_ij = P_ij (dP_ij - Σ_j' P_ij' dP_ij')       ddistance_bias[n] = Σ dS_ij, j - i + Tq - 1 = n
    dQ_i = scale Σ_j dS_ij K_j                     dK_j = scale Σ_i dS_ij Q_i

    Sums of dK_j and dV_j also run over the query heads that read the key head; those of
    ddistance_bias over the batch.
    """
    (B, H, Tq, D), (_, Hkv, Tk, _) = Q.shape, K.shape
    dQ, dK, dV = (np.zeros(array.shape) for array in (Q, K, V))
    ddistance_bias = np.zeros(bias[2].shape) if with_dbias and bias[2] is not None else None
    for b, h in np.ndindex(Q.shape[:2]):
        keys, values = _key_head(K, b, h, Q).tolist(), _key_head(V, b, h, Q).tolist()
        dkeys, dvalues = _key_head(dK, b, h, Q), _key_head(dV, b, h, Q)
        for i, query in enumerate(Q[b, h].tolist()):
            dout_i = dout[b, h, i].tolist()
            S = _scores(b, h, i, query, keys, Tq, bias, scale)
            P = {j: _weight(S_ij, float(lse[b, h, i])) for j, S_ij in S.items()}
            dP = {j: _dot(dout_i, values[j]) for j in P}
            delta = sum(P[j] * dP[j] for j in P)
            for j in P:
                dS = P[j] * (dP[j] - delta)
                if ddistance_bias is not None:
                    ddistance_bias[h, j - i + Tq - 1] += dS
                for d in range(D):
                    dvalues[j, d] += P[j] * dout_i[d]
                    dQ[b, h, i, d] += scale * dS * keys[j][d]
                    dkeys[j, d] += scale * dS * query[d]
    for grad, result in zip(grads, (dQ, dK, dV)):
        grad[...] = result
    return (*grads, None if ddistance_bias is None else ddistance_bias.astype(Q.dtype))


def _key_head(X, b, h, Q):
    """-> the head of K, V, dK or dV that query head h reads, a view (Tk, D)"""
    group = Q.shape[1] // X.shape[1]
    return X[b, h // group]


def _scores(b, h, i, query, keys, Tq, bias, scale):
    """-> {j: S_ij} for the keys j that query i sees, S_ij = scale (Q_i · K_j) + bias

    The last query is aligned with the last key, because with a KV cache the queries are the newest
    positions. So a causal query sees the keys j <= i + (Tk - Tq).
    """
    causal, key_mask, distance_bias = bias
    S = {}
    for j, key in enumerate(keys):
        after = causal and j > i + len(keys) - Tq
        masked = key_mask is not None and not key_mask[b, j]
        if not after and not masked:
            S[j] = scale * _dot(query, key)
            if distance_bias is not None:
                S[j] += float(distance_bias[h, j - i + Tq - 1])
    return S


def _weight(S_ij, log_total):
    """exp(S_ij - lse_i), or 0 for a key that the bias hides by -inf (-inf - -inf is nan)"""
    return 0.0 if S_ij == -math.inf else math.exp(S_ij - log_total)


def _dot(x, y):
    return sum(a * b for a, b in zip(x, y))


def _logsumexp(scores):
    """log Σ exp(S), or -inf, the logarithm of an empty sum, if no key is visible"""
    largest = max(scores, default=-math.inf)
    if largest == -math.inf:
        return -math.inf
    return largest + math.log(sum(math.exp(score - largest) for score in scores))
