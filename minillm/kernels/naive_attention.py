"""Softmax attention in plain Python loops: the definition that the other two must equal.

    out_i = sum_j P_ij V_j,    P_ij = exp(S_ij) / sum_j' exp(S_ij'),    S_ij = scale * (Q_i . K_j)

(Vaswani et al. 2017, eq. 1.) The sums run over the keys j that the query i may see. Nothing here
is fast and nothing guards against overflow in a clever way: Python floats have 53 bits, and the
one precaution (subtracting the largest score, which cancels in the quotient) is the usual one.
"""

import math

import numpy as np

from minillm.kernels.arguments import attention_arguments, attention_backward_arguments


def attention(Q, K, V, *, causal=False, key_mask=None, scale=None, out=None):
    """-> out (B, H, Tq, D), lse (B, H, Tq): see `minillm.kernels.attention`."""
    Q, K, V, scale, out = attention_arguments(Q, K, V, key_mask, scale, out)
    B, H, Tq, D = Q.shape
    lse = np.empty((B, H, Tq), Q.dtype)
    for b in range(B):
        for h in range(H):
            queries, keys, values = Q[b, h].tolist(), K[b, h].tolist(), V[b, h].tolist()
            for i in range(Tq):
                visible = _visible_keys(i, Tq, len(keys), causal, _mask_row(key_mask, b))
                scores = [scale * _dot(queries[i], keys[j]) for j in visible]
                lse[b, h, i] = log_sum_exp = _log_sum_exp(scores)
                P = [math.exp(score - log_sum_exp) for score in scores]
                for d in range(D):
                    out[b, h, i, d] = sum(p * values[j][d] for p, j in zip(P, visible))
    return out, lse


# Backward, written as the chain rule has it. Let dout be the gradient that arrives at out.
#   out_i = sum_j P_ij V_j      =>  dV_j  += P_ij dout_i,      dP_ij = dout_i . V_j
#   P_i = softmax(S_i)          =>  dS_ij  = sum_j' dP_ij' (dP_ij' / dS_ij)
#                                          = sum_j' dP_ij' P_ij' ([j = j'] - P_ij)
#                                          = P_ij (dP_ij - sum_j' P_ij' dP_ij')
#   S_ij = scale * (Q_i . K_j)  =>  dQ_i  += scale * dS_ij K_j,  dK_j += scale * dS_ij Q_i
def attention_backward(
    dout, Q, K, V, out, lse, *, causal=False, key_mask=None, scale=None, grads=None
):
    """-> dQ, dK, dV: see `minillm.kernels.attention_backward`."""
    dout, Q, K, V, out, lse, scale, grads = attention_backward_arguments(
        dout, Q, K, V, out, lse, key_mask, scale, grads
    )
    B, H, Tq, D = Q.shape
    Tk = K.shape[2]
    for b in range(B):
        for h in range(H):
            queries, keys, values = Q[b, h].tolist(), K[b, h].tolist(), V[b, h].tolist()
            dQ = [[0.0] * D for _ in range(Tq)]
            dK = [[0.0] * D for _ in range(Tk)]
            dV = [[0.0] * D for _ in range(Tk)]
            for i, dout_i in enumerate(dout[b, h].tolist()):
                visible = _visible_keys(i, Tq, Tk, causal, _mask_row(key_mask, b))
                scores = [scale * _dot(queries[i], keys[j]) for j in visible]
                P = [math.exp(score - float(lse[b, h, i])) for score in scores]
                dP = [_dot(dout_i, values[j]) for j in visible]
                weighted_mean = _dot(P, dP)
                for p, dp, j in zip(P, dP, visible):
                    dS = p * (dp - weighted_mean)
                    for d in range(D):
                        dV[j][d] += p * dout_i[d]
                        dQ[i][d] += scale * dS * keys[j][d]
                        dK[j][d] += scale * dS * queries[i][d]
            for grad, values_of_grad in zip(grads, (dQ, dK, dV)):
                grad[b, h] = np.array(values_of_grad).reshape(-1, D)
    return grads


def _visible_keys(i, Tq, Tk, causal, mask):
    """The keys that query i may see. The last query is aligned with the last key, so that a
    causal query i sees the keys j <= i + (Tk - Tq): with a KV cache, the queries are the newest."""
    last = i + (Tk - Tq) if causal else Tk - 1
    return [j for j in range(Tk) if j <= last and (mask is None or mask[j])]


def _mask_row(key_mask, b):
    return None if key_mask is None else key_mask[b].tolist()


def _dot(x, y):
    return sum(a * b for a, b in zip(x, y))


def _log_sum_exp(scores):
    """log(sum(exp(scores))); -inf for no scores at all, the logarithm of an empty sum."""
    if not scores:
        return -math.inf
    largest = max(scores)
    return largest + math.log(sum(math.exp(score - largest) for score in scores))
